"""The page on optimisers does what it says: its Python runs, prints what it shows, names all."""

from __future__ import annotations

import re

from pages import page, run

from kinone import optim

PAGE = page("optim.md")


def test_the_python_of_the_page_runs_as_one_program() -> None:
    printed, shown, count = run(PAGE)
    assert printed == shown
    assert count > 3


def test_the_page_names_every_function() -> None:
    text = PAGE.read_text(encoding="utf-8")
    helpers = {"select", "all_finite", "global_norm", "incremental_update", "multi_transform"}
    helpers |= {"periodic_update", "skip_large_updates", "skip_not_finite"}
    named = [name for name in optim.__all__ if not name.startswith("scale_by_")]
    missing = {name for name in named if not re.search(rf"\b{name}\b", text)}
    assert missing == helpers
