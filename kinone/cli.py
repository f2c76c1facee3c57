"""`python -m kinone`: what a person types.

python -m kinone rules               every primitive and its rules; every NumPy function and its own
python -m kinone rules conv          those whose name contains "conv"
python -m kinone rules --markdown    the same as a page: docs/rules.md
python -m kinone env                 versions, BLAS, CPU and threads, for a bug report
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import __version__, debug, ops
from .core import Primitive, numpy_functions, registry
from .testing.probe import probe, title

Rows = list[tuple[str, ...]]


# NumPy turns what these are given into an array by itself, and asks nobody but `like=` before.
_MAKERS = (
    *(np.array, np.asanyarray, np.asarray, np.ascontiguousarray, np.asfortranarray, np.full),
    np.require,
)


def rules(pattern: str = "") -> str:
    """Two tables: each primitive with its rules and the file and line where it is declared; each
    NumPy function on traced values, the primitives that it is made of, and whether it has a
    derivative.

    >>> print(rules("tanh").splitlines()[1].split()[0])
    arctanh
    """
    ops.load_all()
    primitives = _primitives(pattern, _line)
    functions = _functions(pattern)
    return "\n\n".join(_aligned(rows) for rows in (primitives, functions) if len(rows) > 1)


def markdown() -> str:
    """The tables as a page, without line numbers, which change with every edit."""
    ops.load_all()
    table = _piped(_primitives("", _file))
    reasons = _not_exported()
    return "\n".join(
        [
            "# What Kinone differentiates and maps",
            "",
            "`python -m kinone rules` prints these tables with line numbers, and",
            "`python -m kinone rules --markdown > docs/rules.md` writes this page.",
            "",
            "## Primitives",
            "",
            '"constant" is piecewise constant: there is no derivative to follow. "loop" is called',
            'once for each example under `vmap`, with a warning. "onnx" says whether',
            "`kn.onnx.export` writes it; what it does not:",
            "",
            *reasons,
            "",
            *table,
            "",
            "## NumPy functions on traced values",
            "",
            "Each is a primitive or composed of primitives; what is composed differentiates, maps",
            "and compiles by their rules. What makes an array of its operands (`np.array`,",
            "`np.full`) never asks them: `kinone.numpy` does, see numpy.md.",
            "",
            *_piped(_functions("")),
            "",
        ]
    )


def _primitives(pattern: str, where: Callable[[Primitive], str]) -> Rows:
    found = [p for name, p in sorted(registry.items()) if pattern in name]
    installed = _onnx_rules()
    return [
        ("primitive", "vjp", "jvp", "vmap", "onnx", "declared in"),
        *[
            (p.name, _mark(p.vjp), _mark(p.jvp), _mapped(p), _exported(p, installed), where(p))
            for p in found
        ],
    ]


def _mark(rule: object) -> str:
    # A primitive without derivative rules is piecewise constant: there is nothing to follow.
    return "constant" if rule is None else "yes"


def _mapped(primitive: Primitive) -> str:
    return "loop" if primitive.batch is None else "yes"


def _onnx_rules() -> bool:
    """Fills in the ONNX rules; whether that is possible, for `kinone[onnx]` is an extra."""
    try:
        importlib.import_module("kinone.onnx.lower")
    except ImportError:
        return False
    rules = importlib.import_module("kinone.onnx.export.rules")
    for primitive in list(registry.values()):
        rules.rule_of(primitive)  # some are read when they are asked for
    return True


def _exported(primitive: Primitive, installed: bool) -> str:
    if not installed:
        return "not installed"
    # What dissolves into others needs no rule of its own.
    return "yes" if callable(primitive.onnx) or primitive.expand is not None else "no"


def _not_exported() -> list[str]:
    """Why primitives have no ONNX rule, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, primitive in sorted(registry.items()):
        if isinstance(primitive.onnx, str):
            reasons.setdefault(primitive.onnx, []).append(f"`{name}`")
    return [f"- {', '.join(names)}: {reason}." for reason, names in reasons.items()]


def _functions(pattern: str) -> Rows:
    named = ((title(f), f) for f in numpy_functions if pattern in title(f))
    found = sorted(named, key=lambda row: row[0])
    return [("NumPy function", "is", "derivative"), *[(name, *_answer(f)) for name, f in found]]


def _answer(function: Callable[..., Any]) -> tuple[str, str]:
    known = numpy_functions[function]
    if isinstance(known, Primitive):
        return "primitive", _mark(known.vjp)
    answer = probe(function)
    if answer is None:
        return "not for arrays of numbers", ""
    if answer.refused:
        return "refused, with what to write instead", ""
    derivative = "yes" if answer.differentiable else "constant"
    if answer.primitives:
        what = f"composed of {', '.join(answer.primitives)}"
    else:
        what = "the operand" if answer.differentiable else "asked of the array itself"
    if function in _MAKERS:
        what += f"; as kinone.numpy.{function.__name__}, or with like=x"
    return what, derivative


def _line(primitive: Primitive) -> str:
    place = primitive.declared
    return "" if place is None else f"{os.path.relpath(place.filename)}:{place.line}"


def _file(primitive: Primitive) -> str:
    place = primitive.declared
    if place is None:
        return ""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.relpath(place.filename, root).replace(os.sep, "/")


def _aligned(rows: Rows) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _piped(rows: Rows) -> list[str]:
    head, *body = rows
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *[f"| `{name}` | {' | '.join(rest)} |" for name, *rest in body],
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kinone", description="Looks into Kinone.")
    parser.add_argument("--version", action="version", version=f"kinone {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser(
        "rules", help="every primitive and NumPy function, with rules and places"
    )
    table.add_argument("pattern", nargs="?", default="", help="a part of the name")
    table.add_argument("--markdown", action="store_true", help="all of them, as docs/rules.md")
    commands.add_parser("env", help="versions, BLAS, CPU and threads, for a bug report")
    arguments = parser.parse_args(argv)
    if arguments.command == "env":
        print(debug.env())
        return 0
    print(markdown() if arguments.markdown else rules(arguments.pattern))
    return 0
