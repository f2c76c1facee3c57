"""The page on losses and metrics: its Python runs, and it names every one of them."""

from __future__ import annotations

from pages import page, run

from kinone import losses, metrics

PAGE = page("metrics.md")


def test_the_python_of_the_page_runs_as_one_program() -> None:
    printed, shown, count = run(PAGE)
    assert printed == shown
    assert count > 3


def test_the_page_names_everything() -> None:
    text = PAGE.read_text(encoding="utf-8")
    results = {"CalibrationCurve", "Comparison", "Interval", "PrecisionRecallCurve", "RocCurve"}
    for name in {*losses.__all__, *metrics.__all__} - results - {"Score", "Threshold"}:
        assert f"`{name}" in text or f".{name}" in text, name
