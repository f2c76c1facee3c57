"""The page on checkpoints does what it says: its Python runs, and it names what there is."""

from __future__ import annotations

from pages import page, run

from kinone.training import checkpoint

TEXT = page("checkpoints.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs_as_one_program():
    printed, _, count = run(page("checkpoints.md"))
    assert printed.startswith("4 loaded")
    assert printed in TEXT  # the other texts that it shows are formats
    assert count == 8


def test_the_page_names_every_function():
    for name in checkpoint.__all__:
        if name not in {"Checkpoint", "PartialCheckpoint", "Diff"}:
            assert name in TEXT, name
