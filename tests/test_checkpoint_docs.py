"""The page on checkpoints does what it says: its Python runs, and it names what there is."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

from kinone.training import checkpoint

PAGE = Path(__file__).parent.parent / "docs" / "checkpoints.md"


def test_the_python_of_the_page_runs_as_one_program(monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    found = list(re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S))
    assert len(found) == 7
    for block in found:
        # The empty lines make messages point into the page itself.
        above = text[: block.start(1)].count("\n")
        exec(compile("\n" * above + block[1], str(PAGE), "exec"), module.__dict__)
    assert capsys.readouterr().out in text  # the printed diff


def test_the_page_names_every_function():
    text = PAGE.read_text(encoding="utf-8")
    for name in checkpoint.__all__:
        if name not in {"Checkpoint", "PartialCheckpoint", "Diff"}:
            assert name in text, name
