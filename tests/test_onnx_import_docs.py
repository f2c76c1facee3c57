"""The page on importing ONNX does what it says: its Python runs, its tables are what there is."""

from __future__ import annotations

import onnx_import_page
import pytest
from pages import page, run

PAGE = page("onnx-import.md")


def test_the_python_of_the_page_runs_as_one_program() -> None:
    printed, shown, count = run(PAGE)
    assert printed == shown
    assert count > 1


def test_the_table_of_operators_is_the_registry() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = onnx_import_page.marked("operators").search(text)
    assert found is not None
    assert found[0] == onnx_import_page.operators()


def test_nothing_is_missing() -> None:
    assert not onnx_import_page.missing()


@pytest.mark.slow
def test_the_counts_are_those_of_the_tests() -> None:
    """With the onnx that the page was written with; another one has other tests."""
    text = PAGE.read_text(encoding="utf-8")
    found = onnx_import_page.marked("counts").search(text)
    assert found is not None
    assert found[0] == onnx_import_page.counts()
