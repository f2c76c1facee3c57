"""The page on debugging does what it says: its Python runs, and it names what there is."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from kinone import debug

PAGE = Path(__file__).parent.parent / "docs" / "debugging.md"


def test_the_python_of_the_page_runs_as_one_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    found = list(re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S))
    assert found
    for block in found:
        # The empty lines make messages point into the page itself.
        above = text[: block.start(1)].count("\n")
        exec(compile("\n" * above + block[1], str(PAGE), "exec"), module.__dict__)
    out = capsys.readouterr().out
    for part in (
        "the backward pass of multiply made a NaN",  # nans
        "in all",  # profile
        "input x",  # residuals
        "loss widens 1 times",  # dtypes
        "= g * (1 - y * y)",  # explain
        "[1] loss ",  # print under vmap
    ):
        assert part in out, part


def test_the_page_names_every_tool() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in debug.__all__:
        if name not in {"CheckError", "env"}:
            assert f"debug.{name}" in text, name
