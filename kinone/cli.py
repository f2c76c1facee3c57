"""`python -m kinone`: what a person types.

python -m kinone rules           every primitive, its rules, and where they stand
python -m kinone rules conv      those whose name contains "conv"
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from . import __version__
from .core import Primitive, registry


def rules(pattern: str = "") -> str:
    """The table primitive × rules, with the file and line where each primitive is declared.

    >>> print(rules("tanh").splitlines()[1].split()[0])
    arctanh
    """
    found = [p for name, p in sorted(registry.items()) if pattern in name]
    rows = [("primitive", "vjp", "jvp", "declared at")]
    rows += [(p.name, _mark(p.vjp), _mark(p.jvp), _where(p)) for p in found]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _mark(rule: object) -> str:
    # A primitive without derivative rules is piecewise constant: there is nothing to follow.
    return "constant" if rule is None else "yes"


def _where(primitive: Primitive) -> str:
    place = primitive.declared
    if place is None:
        return ""
    return f"{os.path.relpath(place.filename)}:{place.line}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kinone", description="Looks into Kinone.")
    parser.add_argument("--version", action="version", version=f"kinone {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("rules", help="every primitive, its rules, and where they stand")
    table.add_argument("pattern", nargs="?", default="", help="a part of the primitive's name")
    arguments = parser.parse_args(argv)
    text = rules(arguments.pattern)
    print(text)
    return 0
