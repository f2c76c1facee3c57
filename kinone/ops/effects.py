"""Operations that are run for what they do: `print_values` and `check_values`.

Both take any trees of values and return nothing. Under `grad` and `jvp` they see the value of the
forward run and pass no derivative; under `vmap` they act once for each example; a traced program
has them as equations, which no pass leaves away or moves past one another. (With no traced value
among the operands there is nothing to wait for: they act at once, while the program is traced.)

`kinone.debug.print` and `kinone.debug.check` are their public names.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import source, tree
from ..core import Array, Primitive, ShapeDtype, is_number
from ..core.messages import ToldError
from .samples import Sample, values


class CheckError(ToldError, AssertionError):
    """A condition of `kinone.debug.check` that did not hold."""


class Report:
    """A text with places for values: what a program keeps of a call of `print` or `check`.

    `format` is None where the values follow one another, as in Python's `print`. `treedef` and
    `fixed` are those of `(args, kwargs)`: a leaf that is a number is an operand of the equation,
    and None in `fixed`; any other stays here.
    """

    __slots__ = ("fixed", "format", "place", "treedef")

    def __init__(self, text: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.place = source.capture()
        fields = list(_fields(text)) if isinstance(text, str) else []
        self.format = text if fields else None
        if fields:
            _check_fields(fields, len(args), kwargs)
        elif kwargs:
            raise ValueError(
                f"the text has no place for {', '.join(kwargs)}, at {source.here()}\n"
                f"  Write {{{next(iter(kwargs))}}} where the value belongs."
            )
        else:
            args = (text.format() if isinstance(text, str) else text, *args)
        leaves, self.treedef = tree.flatten((tuple(args), kwargs))
        self.fixed = [None if is_number(leaf) else _Fixed(leaf) for leaf in leaves]

    def text(self, operands: Sequence[Array]) -> str:
        """The text with the values in their places."""
        numbers = iter(operands)
        leaves = [_plain(next(numbers)) if one is None else one.value for one in self.fixed]
        args, kwargs = tree.unflatten(self.treedef, leaves)
        if self.format is None:
            return " ".join(map(str, args))
        return _Formatter().vformat(self.format, args, kwargs)

    def __repr__(self) -> str:
        return repr(self.format or "")


def _operands(text: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Array]:
    """The numbers among what is to be reported, in the order of the report's leaves."""
    return [leaf for leaf in tree.leaves(((text, *args), kwargs)) if is_number(leaf)]


class _Fixed:
    """A leaf that is no number: a string, an object."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Formatter(string.Formatter):
    """`str.format`, with `{x:.3f}` for arrays too: element by element."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, np.ndarray) and format_spec:
            return np.array2string(value, formatter={"all": lambda each: format(each, format_spec)})
        return str(super().format_field(value, format_spec))


def _plain(x: Array) -> Any:
    return x[()] if isinstance(x, np.ndarray) and x.ndim == 0 else x


def _fields(text: str) -> Iterator[str]:
    """The names of a format's places, "" for `{}`. Raises `ValueError` for a malformed one."""
    for _, name, spec, _ in string.Formatter().parse(text):
        if name is not None:
            yield name.partition(".")[0].partition("[")[0]
            if spec:
                yield from _fields(spec)


def _check_fields(fields: Sequence[str], count: int, kwargs: dict[str, Any]) -> None:
    """Says at once, at the user's line, what formatting would say when the program runs."""
    automatic = iter(range(len(fields)))
    wanted = {str(next(automatic)) if name == "" else name for name in fields}
    given = {str(i) for i in range(count)} | set(kwargs)
    for problem, names in (("is not given", wanted - given), ("has no place", given - wanted)):
        if names:
            raise ValueError(
                f"{'{' + min(names) + '}'} {problem} in the text, at {source.here()}\n"
                f"  The text has {', '.join('{' + name + '}' for name in sorted(wanted))}."
            )


# ---- once for each example -----------------------------------------------------------------------

# The batch axes of the operands, outermost first: the size of each, and which operands have it.
Axes = tuple[tuple[int, tuple[bool, ...]], ...]


def _examples(xs: Sequence[Array], axes: Axes) -> Iterator[tuple[tuple[int, ...], list[Array]]]:
    """Each example's index and operands."""
    for index in np.ndindex(*[size for size, _ in axes]):
        yield (
            index,
            [
                x[tuple([i for i, (_, flags) in zip(index, axes, strict=True) if flags[k]])]
                if any(flags[k] for _, flags in axes)
                else x
                for k, x in enumerate(xs)
            ],
        )


def _print(*xs: Array, report: Report, axes: Axes) -> tuple[()]:
    """Writes a line to the standard output, one for each example."""
    for index, operands in _examples(xs, axes):
        sys.stdout.write(_at(index) + report.text(operands) + "\n")
    return ()


def _check(*xs: Array, report: Report, axes: Axes) -> tuple[()]:
    """Raises `CheckError` unless every element of the first operand is true."""
    for index, (condition, *operands) in _examples(xs, axes):
        if not np.all(condition):
            example = f" (example {_at(index).strip()})" if index else ""
            text = report.text(operands).strip() or "a condition does not hold"
            where = source.describe(report.place)
            raise CheckError(f"{text}{example}\n  checked at {where}{_failures(condition)}")
    return ()


def _at(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}] " if index else ""


def _failures(condition: Array) -> str:
    """Where the condition is false: the first element, and how many."""
    failed = np.argwhere(np.logical_not(condition))
    if np.ndim(condition) == 0:
        return ""
    first = ", ".join(map(str, failed[0]))
    return f"\n  false at [{first}], in {len(failed)} of {np.size(condition)} elements"


def _effect(name: str, impl: Any, samples: Any) -> Primitive:
    def shape(*avals: ShapeDtype, report: Report, axes: Axes) -> tuple[()]:
        return ()

    def batch(
        size: int, batched: Sequence[bool], *xs: Array, report: Report, axes: Axes
    ) -> tuple[()]:
        made(*xs, report=report, axes=((size, tuple(batched)), *axes))
        return ()

    made = Primitive(
        name,
        impl,
        shape=shape,
        vjp=None,
        jvp=None,
        batch=batch,
        multiple=True,
        effect=True,
        samples=samples,
    )
    return made


_print_p = _effect(
    "print",
    _print,
    lambda: [
        Sample((values(2), values()), {"report": Report("{} {}", (0, 0), {}), "axes": ()}),
    ],
)
_check_p = _effect(
    "check",
    _check,
    lambda: [
        Sample((values(3) < 5, values()), {"report": Report("{}", (0,), {}), "axes": ()}),
    ],
)


def print_values(text: Any, *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """Prints values while a program runs: `print_values("loss {x:.3f}", x=loss)`.

    The text has the places of `str.format`, and `{x:.3f}` works for arrays, element by element; a
    text without a place, or a value in its stead, is printed as Python's `print` would. Values may
    be trees. Under `grad` the forward run prints; under `vmap` each example prints its line, which
    begins with the example's number. `ordered` is accepted as in JAX; lines always come in order.

    Raises `ValueError` when the text and the values do not fit together.

        >>> print_values("x = {x:.2f}, n = {}", 3, x=np.array([1.0, 2.5]))
        x = [1.00 2.50], n = 3
        >>> print_values("norm", 2.0)
        norm 2.0
    """
    report = Report(text, args, kwargs)
    _print_p(*_operands(text, args, kwargs), report=report, axes=())


def check_values(condition: Any, message: str = "", *args: Any, **kwargs: Any) -> None:
    """Raises `CheckError` (an `AssertionError`) where a condition does not hold, when it is known.

    Unlike `assert` it works on traced values: under `vmap` each example is checked, in a compiled
    program each run. All elements of `condition` must be true. `message` and its values are those
    of `print_values`; the error names your line and the first element that failed.

        >>> x = np.array([1.0, -1.0])
        >>> try:
        ...     check_values(x > 0, "x must be positive, got {x}", x=x)
        ... except CheckError as error:
        ...     print(str(error).splitlines()[0])
        x must be positive, got [ 1. -1.]
    """
    report = Report(message, args, kwargs)
    if not is_number(condition):
        condition = np.asarray(condition)
    _check_p(condition, *_operands(message, args, kwargs), report=report, axes=())
