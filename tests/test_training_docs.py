"""The page on training does what it says: its Python runs, and it names what there is."""

from __future__ import annotations

import re

from pages import page, run

import kinone as kn
from kinone import training

TEXT = page("training.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs_as_one_program():
    printed, shown, count = run(page("training.md"))
    assert printed == shown
    assert count > 5


def test_the_page_names_what_there_is():
    for name in training.__all__:
        assert name in TEXT, name
    tools = re.findall(r"`(?:with )?kn\.(\w+)\.(\w+)", TEXT)
    assert len(tools) > 5
    assert not [name for home, name in tools if not hasattr(getattr(kn, home), name)]
