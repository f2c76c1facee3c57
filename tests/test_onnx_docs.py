"""The page on ONNX does what it says: its Python runs, and prints what it shows."""

from __future__ import annotations

from pages import page, run


def test_the_python_of_the_page_runs_as_one_program() -> None:
    printed, shown, count = run(page("onnx.md"))
    assert printed == shown
    assert count > 3
