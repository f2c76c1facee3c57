"""The page on layers does what it says: its Python runs, prints what it shows, names what is."""

from __future__ import annotations

import contextlib
import io
import re
import types
from pathlib import Path

from kinone import nn

PAGE = Path(__file__).parent.parent / "docs" / "nn.md"
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


def test_the_table_names_what_there_is() -> None:
    table = re.findall(r"^\| .*$", PAGE.read_text(encoding="utf-8"), re.M)
    names = re.findall(r"`(\w+)`", " ".join(table))
    assert len(names) > 30
    assert not [name for name in names if not hasattr(nn, name)]
