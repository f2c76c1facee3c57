"""The page on models does what it says: its Python runs, and its numbers are the models'."""

from __future__ import annotations

import contextlib
import io
import re
import types
from pathlib import Path

import pytest

from kinone import models, nn
from kinone.models.registry import ARCHITECTURES

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.M | re.S)
ROW = re.compile(r"^\| `(\w+)` *\| *(\d+) \| (\d+) × (\d+) *\| *([\d,]+) \| *([\d,]+) \|$", re.M)
ROWS = {row[1]: row for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
QUICK = ("resnet18", "resnet50", "cifar_resnet20", "vit_tiny")


def test_the_python_of_the_page_runs_as_one_program():
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


def test_the_table_has_every_model_that_loads_weights():
    assert ROWS.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize(
    "name",
    [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in ROWS],
)
def test_the_numbers_of_the_table(name):
    _, _, classes, height, width, parameters, macs = (ROWS[name][i] for i in range(7))
    found = nn.summary(getattr(models, name)(int(classes)), (1, int(height), int(width), 3))
    assert f"{found.parameters:,}" == parameters
    assert f"{found.macs:,}" == macs
