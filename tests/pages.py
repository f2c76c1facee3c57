"""The pages of `docs/` as programs: what their Python prints, and what they say that it prints."""

from __future__ import annotations

import contextlib
import io
import re
import types
from pathlib import Path

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.M | re.S)


def page(name: str) -> Path:
    return Path(__file__).parent.parent / "docs" / name


def run(path: Path) -> tuple[str, str, int]:
    """The Python of a page as one program: what it prints, what the page shows, how many blocks."""
    text = path.read_text(encoding="utf-8")
    module = types.ModuleType("page")
    printed, shown, count = io.StringIO(), "", 0
    for block in BLOCK.finditer(text):
        if block[1] == "text":
            shown += block[2]
            continue
        # The empty lines make messages point into the page itself.
        above = text[: block.start(2)].count("\n")
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * above + block[2], str(path), "exec"), module.__dict__)
        count += 1
    return printed.getvalue(), shown, count
