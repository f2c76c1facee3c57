"""`nans` stops where the first NaN is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..core import Array, is_inexact, shape_dtype
from ..core.messages import ToldError
from ..core.observe import Event, Forward, observing


class NaNError(ToldError, FloatingPointError):
    """A NaN (or, where asked for, an infinity) made from operands that had none.

    `primitive` is the name of the operation, `phase` one of "forward", "backward" and "tangent",
    `location` the user's line.
    """

    def __init__(self, event: Event, wanted: str, story: Callable[[Sequence[str | None]], str]):
        self.primitive = event.primitive.name
        self.phase = event.phase
        self.location = event.location
        self.wanted = wanted
        self._story = story
        super().__init__(story(()))

    def label(self, name: str, labels: Sequence[str | None]) -> None:
        """Names the operands, as the transformation that passes the error on knows them."""
        if name == self.primitive and self.phase == "forward" and any(labels):
            self.args = (self._story(labels),)


class nans:
    """`with nans():` stops at the first operation that makes a NaN from operands without one.

    Forward and backward, inside `grad`, `vmap`, `jit` and their nests. With `infs` an infinity
    made from finite operands counts too; with `nans=False` it alone does. NumPy's own warnings are
    silent meanwhile.

    Raises `NaNError` (a `FloatingPointError`), which names the operation, the line, the operands
    and the first element that is wrong; in a backward pass the line of the operation that was
    differentiated and the line that asked for the derivative.

        >>> import numpy as np, kinone as kn
        >>> try:
        ...     with kn.debug.nans():
        ...         slope = kn.grad(lambda x: np.sum(np.log(x)))(np.array([1.0, -1.0]))
        ... except NaNError as error:
        ...     print(str(error).splitlines()[1])
            x: float64[2], from -1 to 1; -1 at [1]
    """

    def __init__(self, *, infs: bool = False, nans: bool = True) -> None:
        self.infs = infs
        self.nans = nans
        self._seen = False  # a NaN that somebody else made has come by
        self._listening = observing(self._check)
        self._quiet = np.errstate(all="ignore")

    def __enter__(self) -> nans:
        self._quiet.__enter__()
        self._listening.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._listening.__exit__(*error)
        self._quiet.__exit__(*error)

    def _check(self, event: Event) -> None:
        if self.nans:
            self._look(event, np.isnan, "NaN")
        if self.infs:
            self._look(event, np.isinf, "infinity")

    def _look(self, event: Event, test: Callable[[Any], Any], wanted: str) -> None:
        operands = list(event.operands)
        if event.forward is not None:
            operands += [*event.forward.operands, *event.forward.results]
        given = any(_has(test, x) for x in operands)
        if wanted == "infinity":
            # Of a NaN or of an infinity, another one is no news.
            given = given or any(_has(np.isnan, x) for x in operands)
        if given:
            arrived = event.phase == "backward" and any(_has(test, x) for x in event.operands)
            if arrived and not self._seen:
                raise NaNError(event, wanted, lambda labels: _sum_story(event, test, wanted))
            self._seen = True
            return
        for result in event.results:
            if _has(test, result):
                raise NaNError(event, wanted, lambda labels: _story(event, test, wanted, labels))


def _has(test: Callable[[Any], Any], x: Array) -> bool:
    if x is None or isinstance(x, (bool, int, str)):
        return False
    x = np.asarray(x)
    return is_inexact(x) and bool(test(x).any())


def _story(
    event: Event, test: Callable[[Any], Any], wanted: str, labels: Sequence[str | None]
) -> str:
    name = event.primitive.name
    where = source.describe(event.location)
    bad = next(np.asarray(x) for x in event.results if _has(test, x))
    index = _first(test, bad)
    if event.forward is None:
        phase = {"backward": " in a backward pass", "tangent": " in a tangent"}.get(event.phase, "")
        lines = [f"{name} made {_article(wanted)}{phase}, at {where}"]
        if event.within is not None:
            lines.append(
                f"  differentiating {event.within.primitive.name}, {_called(event.within)}"
            )
        lines += _operands(event.operands, labels, index, bad.shape)
    else:
        what = "backward pass" if event.phase == "backward" else "tangent"
        lines = [f"the {what} of {name} made {_article(wanted)}", f"  differentiating {where}"]
        lines.append(f"  {_called(event.forward)}")
        word = "cotangent" if event.phase == "backward" else "tangent"
        lines += [f"    {word}: {_summary(x)}" for x in event.operands if x is not None]
        lines += [
            f"    forward {line.strip()}"
            for line in _operands(event.forward.operands, (), index, bad.shape)
        ]
        lines += [f"    forward result: {_summary(x)}" for x in event.forward.results]
    count = int(np.count_nonzero(test(bad)))
    lines.append(
        f"    result: {_summary(bad)}; {wanted} in {count} of {bad.size}{_first_at(index)}"
    )
    if event.forward is not None and event.phase == "backward":
        lines.append(
            "  Where an infinite derivative meets a zero cotangent, guard the operand too, not the "
            "result alone:\n  np.where(x > 0, np.sqrt(np.where(x > 0, x, 1)), 0)."
        )
    return "\n".join(lines)


def _sum_story(event: Event, test: Callable[[Any], Any], wanted: str) -> str:
    assert event.forward is not None
    bad = next(np.asarray(x) for x in event.operands if _has(test, x))
    return (
        f"the cotangent that arrives at {event.primitive.name} is {wanted}, and no operation made "
        f"it\n  differentiating {source.describe(event.location)}\n  {_called(event.forward)}\n"
        f"    cotangent: {_summary(bad)}{_first_at(_first(test, bad))}\n"
        "  Either it was passed to the pullback so, or the cotangents of a value that is used "
        "several times add up to it."
    )


def _called(forward: Forward) -> str:
    """For which call of a transformation an operation is differentiated."""
    if forward.called is None:
        return f"for {forward.transformation}"
    return f"for {forward.transformation} called at {source.describe(forward.called)}"


def _operands(
    operands: Sequence[Array],
    labels: Sequence[str | None],
    index: tuple[int, ...],
    shape: tuple[int, ...],
) -> list[str]:
    lines = []
    for number, x in enumerate(operands):
        label = labels[number] if number < len(labels) else None
        text = f"    {label or f'operand {number}'}: {_summary(x)}"
        if np.shape(x) == shape and shape:
            text += f"; {np.asarray(x)[index]:.6g}{_at(index)}"
        lines.append(text)
    return lines


def _article(wanted: str) -> str:
    return f"an {wanted}" if wanted == "infinity" else f"a {wanted}"


def _first(test: Callable[[Any], Any], x: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(test(x))[0])


def _first_at(index: tuple[int, ...]) -> str:
    return f", first{_at(index)}" if index else ""


def _at(index: tuple[int, ...]) -> str:
    return f" at [{', '.join(map(str, index))}]" if index else ""


def _summary(x: Array) -> str:
    """`float32[3,4], from -1.2 to 3`, with what is not finite counted apart."""
    if type(x) in (bool, int, float, complex):
        return repr(x)
    known = shape_dtype(x)
    array = np.asarray(x)
    if known.dtype.kind not in "fiub" or array.size == 0:
        return str(known)
    finite = array[np.isfinite(array)] if known.dtype.kind == "f" else array
    if array.shape == ():
        return f"{known} {array[()]:.6g}"
    if finite.size == 0:
        return f"{known}, none finite"
    text = f"{known}, from {finite.min():.6g} to {finite.max():.6g}"
    return text if finite.size == array.size else f"{text}, {array.size - finite.size} not finite"
