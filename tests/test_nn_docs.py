"""The page on layers does what it says: its Python runs, prints what it shows, names what is."""

from __future__ import annotations

import re

from pages import page, run

from kinone import nn

PAGE = page("nn.md")


def test_the_python_of_the_page_runs_as_one_program() -> None:
    printed, shown, count = run(PAGE)
    assert printed == shown
    assert count > 3


def test_the_table_names_what_there_is() -> None:
    table = re.findall(r"^\| .*$", PAGE.read_text(encoding="utf-8"), re.M)
    names = re.findall(r"`(\w+)`", " ".join(table))
    assert len(names) > 30
    assert not [name for name in names if not hasattr(nn, name)]
