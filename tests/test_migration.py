"""docs/migration.md is true: what stands in the Kinone columns runs, row by row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "migration.md"
SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")


def rows(section: str) -> list[str]:
    """The code of the second column of a section's table, without the head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[2].strip() for line in lines[2:]]
    for cell in cells:
        assert re.fullmatch(r"`[^`]+`", cell), f"no single piece of code: {cell}"
    return [cell.strip("`") for cell in cells]


@pytest.mark.parametrize("section", SECTIONS[1:5], ids=lambda text: text.partition("\n")[0])
def test_each_row_runs(section: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    (prelude,) = re.findall(r"^```python\n(.*?)^```$", SECTIONS[0], re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(prelude, str(PAGE), "exec"), names)
    found = rows(section)
    assert len(found) > 10
    for code in found:
        exec(compile(code, f"{PAGE.name}: {code}", "exec"), names)
