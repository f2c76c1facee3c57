"""The full text of every kind of error, compared with the files of `tests/golden`.

`KINONE_WRITE_GOLDEN=1 pytest tests/test_errors_golden.py` writes them anew; read the difference.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "golden"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("golden_sample", FOLDER / "sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["golden_sample"] = module
    spec.loader.exec_module(module)
    return module


CASES = load().CASES


def text_of(error: BaseException) -> str:
    """Type, message and notes, without the folders that the test runs in."""
    parts = [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
    return re.sub(r"[^\s\"'(]*sample\.py:", "sample.py:", "\n".join(parts)) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_text(name: str) -> None:
    with pytest.raises(Exception) as caught:
        CASES[name]()
    text = text_of(caught.value)
    path = FOLDER / f"{name}.txt"
    if os.environ.get("KINONE_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_text_is_of_use(name: str) -> None:
    """It names the user's line, no internal file, and no internal class."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert "sample.py:" in text
    assert "kinone/" not in text
    for internal in ("Tracer ", "ReverseTrac", "BatchTrac", "GraphTrac", "NoneType object"):
        assert internal not in text
    assert max(map(len, text.splitlines())) <= 220


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES)
