"""The page on losses and metrics: its Python runs, and it names every one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kinone import losses, metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


def test_the_python_of_the_page_runs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S))
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for block in blocks:
        # The empty lines make messages point into the page itself.
        above = "\n" * text[: block.start(1)].count("\n")
        exec(compile(above + block[1], str(PAGE), "exec"), names)


def test_the_page_names_everything() -> None:
    text = PAGE.read_text(encoding="utf-8")
    results = {"CalibrationCurve", "Comparison", "Interval", "PrecisionRecallCurve", "RocCurve"}
    for name in {*losses.__all__, *metrics.__all__} - results - {"Score", "Threshold"}:
        assert f"`{name}" in text or f".{name}" in text, name
