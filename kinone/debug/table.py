"""Columns of text, and numbers in units that a person reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table(
    head: str,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    foot: Sequence[str] | None = None,
) -> str:
    """A head line, and aligned columns under their titles; those in `right` align to the right.

    >>> print(table("two", ("n", "name"), [("1", "one"), ("20", "twenty")], right=(0,)))
    two
       n  name
       1  one
      20  twenty
    """
    if not rows:
        return head
    lines = [titles, *rows, *([foot] if foot else [])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    text = [head]
    for line in lines:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  " + "  ".join(cells).rstrip())
    return "\n".join(text)


def _scaled(number: float, unit: str, steps: Sequence[str]) -> str:
    for step in steps:
        if number < 1000 or step == steps[-1]:
            break
        number /= 1000
    else:
        step = ""
    digits = f"{number:.0f}" if step == steps[0] and number == int(number) else f"{number:.3g}"
    if "e" in digits:
        digits = f"{number:.0f}"
    return f"{digits} {step}{unit}"


def megabytes(count: float) -> str:
    """
    >>> megabytes(8000), megabytes(12), megabytes(3_221_000_000)
    ('8 kB', '12 B', '3.22 GB')
    """
    return _scaled(count, "B", ("", "k", "M", "G", "T"))


def operations(count: float) -> str:
    """
    >>> operations(2.5e9)
    '2.5 GFLOP'
    """
    return _scaled(count, "FLOP", ("", "k", "M", "G", "T"))


def milliseconds(seconds: float) -> str:
    """
    >>> milliseconds(0.0123), milliseconds(0)
    ('12.3', '')
    """
    if not seconds:
        return ""
    value = 1000 * seconds
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"
