"""Kinone's importer as a backend of the `onnx` package's own test runner.

`python tests/onnx_backend.py [PATTERN]` runs its lists and prints the counts that
docs/onnx.md states, by list and by operator.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import re
import sys
import tempfile
import unittest
import unittest.mock
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

import kinone as kn
import kinone.onnx

# The lists of the package, by the name that its runner gives them.
LISTS = {
    "NodeModel": "node",
    "SimpleModel": "simple",
    "PyTorchConvertedModel": "pytorch-converted",
    "PyTorchOperatorModel": "pytorch-operator",
    "RealModel": "light",
}


# The tests that need not pass, by a pattern of their names, and why.
JUSTIFIED = {
    r"^test_bernoulli": "random numbers of NumPy's global generator are expected: no seed gives "
    "them to another implementation (shapes, dtypes and the mean are tested by "
    "test_onnx_import_math.py)",
    r"^test_loop16_seq_none$": "the runner of onnx 1.23 takes len() of a number in the sequence "
    "that it expects, and fails for every backend (the outputs are compared by test_onnx_load.py)",
}


def justification(name: str) -> str | None:
    """Why a test need not pass."""
    return next((why for pattern, why in JUSTIFIED.items() if re.search(pattern, name)), None)


class Representation(BackendRep):  # type: ignore[misc]
    """A loaded model, as the runner calls it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.function, self.params = kn.onnx.load(model)

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> list[Any]:
        found = self.function(self.params, *inputs)
        outputs = found if len(self.function.outputs) > 1 else (found,)
        return [as_value(each) for each in outputs]


def as_value(value: Any) -> Any:
    """An output as the runner compares it: arrays, lists of arrays, None."""
    if isinstance(value, (list, tuple)):
        return [as_value(each) for each in value]
    return None if value is None else np.asarray(value)


class KinoneBackend(Backend):  # type: ignore[misc]
    """`kn.onnx.load` as a backend."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Representation:
        return Representation(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


@dataclass
class Outcome:
    """What became of one test: `passed`, `failed` or `skipped`."""

    list: str
    name: str
    operator: str
    outcome: str
    text: str = ""


def outcomes(pattern: str = "", lists: Sequence[str] = tuple(LISTS.values())) -> Iterator[Outcome]:
    """Runs the tests whose name or operator fits a pattern."""
    operators = {case.name: _operator(case.model) for case in node_cases()}
    with (
        tempfile.TemporaryDirectory() as folder,  # where the runner puts the light models' data
        unittest.mock.patch.dict(os.environ, ONNX_MODELS=folder),
    ):
        items = Runner(KinoneBackend)._test_items
        for kind, where in LISTS.items():
            if where not in lists:
                continue
            for name, item in sorted(items[kind].items()):
                if not name.endswith("_cpu"):
                    continue
                short = name.removesuffix("_cpu")
                operator = operators.get(short, "") if where == "node" else ""
                if not re.search(pattern, f"{short} {operator}"):
                    continue
                yield Outcome(where, short, operator, *_run(item.func))


def node_cases() -> list[Any]:
    """The node tests, whose modules compute what they expect, with warnings, as they are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases: list[Any] = load_model_tests(kind="node")
    return cases


def _run(function: Any) -> tuple[str, str]:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            function(unittest.TestCase())
    except unittest.SkipTest as reason:
        return "skipped", str(reason)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


def _operator(model: onnx.ModelProto | None) -> str:
    """The operator that a node test is about: its only node, or the one that its nodes expand."""
    if model is None or not model.graph.node:
        return ""
    node = model.graph.node[0] if len(model.graph.node) == 1 else model.graph.node[-1]
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def table(found: Sequence[Outcome]) -> str:
    """The counts by list, as a table of Markdown."""
    lines = ["| list | tests | passed | not passed, justified | failed |", "|---|---|---|---|---|"]
    for where in LISTS.values():
        some = [each for each in found if each.list == where]
        others = [each for each in some if each.outcome != "passed"]
        excused = sum(justification(each.name) is not None for each in others)
        counts = len(some), len(some) - len(others), excused, len(others) - excused
        if some:
            lines.append(f"| {where} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def reasons(found: Sequence[Outcome]) -> str:
    """The tests that did not pass, with the reason of each, as a list of Markdown."""
    excused = collections.defaultdict(list)
    for each in found:
        if each.outcome != "passed":
            excused[justification(each.name) or "no reason"].append(f"`{each.name}`")
    return "\n".join(f"- {', '.join(names)}: {why}." for why, names in excused.items())


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--lists", nargs="*", default=list(LISTS.values()))
    parser.add_argument("--long", action="store_true", help="the whole text of every failure")
    options = parser.parse_args(arguments)
    found = list(outcomes(options.pattern, options.lists))
    by_operator: dict[str, list[Outcome]] = collections.defaultdict(list)
    for each in found:
        by_operator[each.operator or each.list].append(each)
    for operator, some in sorted(by_operator.items()):
        passed = sum(each.outcome == "passed" for each in some)
        print(f"{'  ' if passed == len(some) else '! '}{operator}: {passed} of {len(some)}")
        for each in some:
            if each.outcome != "passed":
                text = each.text if options.long else " ".join(each.text.split())[:200]
                print(f"      {each.name} {each.outcome}: {text}")
    print(table(found))
    print(reasons(found))
    return int(any(each.outcome != "passed" and not justification(each.name) for each in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
