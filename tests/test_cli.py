"""`python -m kinone`: the tables of rules, on the terminal and as a page."""

from __future__ import annotations

import operator
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinone import cli
from kinone.core import implements, numpy_functions
from kinone.ops import multiply, sum
from kinone.testing.probe import Answer, probe, title

ROOT = Path(cli.__file__).parent.parent
PAGE = ROOT / "docs" / "rules.md"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kinone", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    return done.stdout


def test_the_page_is_what_the_command_prints() -> None:
    pytest.importorskip("onnx", reason="the page says what is exported")
    if not PAGE.exists():
        pytest.skip("an installed package has no docs")
    assert PAGE.read_text(encoding="utf-8") == run("rules", "--markdown"), (
        "write it again: python -m kinone rules --markdown > docs/rules.md"
    )


def test_the_page_goes_stale_with_rules_alone() -> None:
    text = cli.markdown()
    assert str(ROOT) not in text
    assert not re.search(r"\.py:\d", text)
    assert "| `conv` | yes | yes | yes | yes | kinone/ops/conv.py |" in text
    assert "| `floor` | constant | constant | yes | yes | kinone/ops/arithmetic.py |" in text


def test_the_table_on_the_terminal() -> None:
    lines = cli.rules().splitlines()
    assert lines[0].split() == ["primitive", "vjp", "jvp", "vmap", "onnx", "declared", "in"]
    (tanh,) = [line for line in lines if line.split()[:1] == ["tanh"]]
    assert tanh.split()[1:5] == ["yes", "yes", "yes", "yes"]
    assert re.search(r"kinone/ops/transcendental\.py:\d+$", tanh)
    assert all(line == line.rstrip() for line in lines)


def test_without_onnx_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kinone.onnx.lower", None)  # which fails to import then
    row = cli.rules("arctanh").splitlines()[1]
    assert row.split()[1:6] == ["yes", "yes", "yes", "not", "installed"]


def test_what_numpy_does_not_ask_is_said() -> None:
    for name in ("array", "asarray", "full"):
        (line,) = [row for row in cli.rules().splitlines() if row.startswith(f"np.{name} ")]
        assert f"as kinone.numpy.{name}, or with like=x" in line


def test_a_reader_may_stop_early() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kinone", "rules"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    process.stdout.close()  # as `| head` does, sooner or later
    assert process.stderr is not None
    with process.stderr as said:
        assert not said.read()
    assert process.wait() == 1


def test_a_pattern_chooses_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "conv_tr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["primitive", "conv_transpose"]
    assert cli.rules("arctanh").count("arctanh") >= 2  # the primitive and the NumPy function
    assert cli.main(["rules", "no such thing"]) == 0


def test_functions_say_what_they_are_made_of() -> None:
    assert probe(np.tanh) == Answer(("tanh",), True)
    assert probe(np.transpose) == Answer(("transpose",), True)
    assert probe(np.argmax).differentiable is False
    assert probe(np.invert) == Answer(("invert",), False)
    assert probe(np.shape) == Answer((), False)
    deviation = probe(np.std)
    assert deviation.differentiable
    assert "root" in deviation.primitives
    assert probe(operator.getitem).differentiable


def test_names_are_what_a_user_writes() -> None:
    assert title(np.tanh) == "np.tanh"
    assert title(np.linalg.norm) == "np.linalg.norm"
    assert title(np.fft.fft) == "np.fft.fft"
    assert title(np.add.at) == "np.add.at"
    assert title(operator.getitem) == "x[i]"


def test_every_function_is_understood() -> None:
    """Where the answer is unknown, `kinone/testing/probe.py` lacks a call that fits."""
    unknown = {title(f) for f in numpy_functions if probe(f) is None}
    assert unknown <= {"np.tri", "np.loadtxt", "np.genfromtxt", "np.isnat"}


def test_probing_leaves_nothing_behind() -> None:
    """Not even after functions that write into their operands."""
    before = [probe(f) for f in numpy_functions]
    assert before == [probe(f) for f in numpy_functions]


def test_a_derivative_that_is_cut_is_not_shown_as_one() -> None:
    before = dict(numpy_functions)
    try:

        @implements(np.cov)
        def cut(m: object) -> object:
            return sum(multiply(np.zeros(3), 2.0)) if m is not None else None

        assert probe(np.cov) == Answer((), False)
    finally:
        numpy_functions.clear()
        numpy_functions.update(before)
