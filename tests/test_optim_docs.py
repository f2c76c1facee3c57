"""The page on optimisers does what it says: its Python runs, prints what it shows, names all."""

from __future__ import annotations

import contextlib
import io
import re
import types
from pathlib import Path

from kinone import optim

PAGE = Path(__file__).parent.parent / "docs" / "optim.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.M | re.S)


def test_the_python_of_the_page_runs_as_one_program() -> None:
    text = PAGE.read_text(encoding="utf-8")
    module = types.ModuleType("page")
    printed, shown = io.StringIO(), ""
    for block in BLOCK.finditer(text):
        if block[1] == "text":
            shown += block[2]
            continue
        # The empty lines make messages point into the page itself.
        above = text[: block.start(2)].count("\n")
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * above + block[2], str(PAGE), "exec"), module.__dict__)
    assert printed.getvalue() == shown


def test_the_page_names_every_function() -> None:
    text = PAGE.read_text(encoding="utf-8")
    helpers = {"select", "all_finite", "global_norm", "incremental_update", "multi_transform"}
    named = [name for name in optim.__all__ if not name.startswith("scale_by_")]
    missing = {name for name in named if not re.search(rf"\b{name}\b", text)}
    assert missing == helpers
