"""NumPy's functions on traced values against NumPy, over dtypes, shapes, axes and keywords.

In the manner of the surface tests of NumPy's other reimplementations: for each call the result has
NumPy's shape, dtype and values, and where NumPy raises, so do we, with its type of error. Traced
by a graph (which knows no values) and by vjp; the derivatives are other tests' matter.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import kinone as kn

KINDS = "? b B i l e f d F D"
DTYPES = [np.dtype(kind) for kind in KINDS.split()]
SHAPES = [(), (4,), (3, 4), (2, 1, 4), (0,), (0, 4)]
PAIRS = [((), ()), ((4,), (4,)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((3, 4), ()), ((0,), (1,))]
NUMBERS: list[Any] = [True, 2, -1, 0.5, 1.5j]


def array(seed: int, shape: tuple[int, ...], dtype: Any) -> Any:
    """Numbers of either sign, of which unsigned types take the size."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 3
    kind = np.dtype(dtype).kind
    if kind == "c":
        x = x + 2j * rng.normal(size=shape)
    return np.asarray(x > 0 if kind == "b" else abs(x) if kind == "u" else x).astype(dtype)


def agrees(f: Callable[..., Any], *args: Any) -> str | None:
    """What is wrong with `f` on traced values, or None."""
    wanted_error: Exception | None = None
    want: Any = None
    try:
        want = f(*args)
    except Exception as error:
        wanted_error = error
    inexact = [i for i, x in enumerate(args) if np.asarray(x).dtype.kind in "fc"]

    def of_inexact(*xs: Any) -> Any:
        filled = list(args)
        for place, x in zip(inexact, xs, strict=True):
            filled[place] = x
        return f(*filled)

    ways: dict[str, Callable[[], Any]] = {"graph": lambda: kn.graph(f)(*args)(*args)}
    if inexact:
        ways["vjp"] = lambda: kn.vjp(of_inexact, *[args[i] for i in inexact])[0]
    for way, run in ways.items():
        try:
            got = run()
        except Exception as error:
            if wanted_error is None:
                return f"{way}: raised {type(error).__name__}: {error}"
            kinds = {type(wanted_error), type(wanted_error).__mro__[1]} - {Exception}
            if not isinstance(error, tuple(kinds)):
                return f"{way}: raised {type(error).__name__}, NumPy {type(wanted_error).__name__}"
            continue
        if wanted_error is not None:
            return f"{way}: no error where NumPy raises {type(wanted_error).__name__}"
        wrong = differs(got, want)
        if wrong:
            return f"{way}: {wrong}"
    return None


def differs(got: Any, want: Any) -> str | None:
    found, wanted = kn.tree.leaves(got), kn.tree.leaves(want)
    if len(found) != len(wanted):
        return f"{len(found)} results, want {len(wanted)}"
    for a, b in zip(map(np.asarray, found), map(np.asarray, wanted), strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"{a.dtype}{list(a.shape)}, want {b.dtype}{list(b.shape)}"
        if b.dtype.kind in "fc":
            near = 200 * float(np.finfo(b.dtype).eps)
            wide = np.promote_types(b.dtype, np.float64)  # half precision overflows in `allclose`
            if not np.allclose(a.astype(wide), b.astype(wide), near, near, equal_nan=True):
                return f"values {a}, want {b}"
        elif not np.array_equal(a, b):
            return f"values {a}, want {b}"
    return None


def wrong_calls(calls: Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]) -> list[str]:
    found = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # NumPy's remarks on empty slices
        for text, f, args in calls:
            wrong = agrees(f, *args)
            if wrong:
                found.append(f"{text}: {wrong}")
    return found


def told(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}"


UNARY = [
    name
    for name in sorted(np.__all__)
    if isinstance(getattr(np, name), np.ufunc)
    and getattr(np, name).nin == 1
    and getattr(np, name).__name__ == name
    and name != "isnat"
]
BINARY = [
    name
    for name in sorted(np.__all__)
    if isinstance(getattr(np, name), np.ufunc)
    and getattr(np, name).nin == 2
    and getattr(np, name).signature is None
    and getattr(np, name).__name__ == name
]


@pytest.mark.parametrize("name", [*UNARY, "angle", "nan_to_num", "sinc", "fix", "isreal", "round"])
def test_unary(name: str) -> None:
    function = getattr(np, name)
    calls = (
        (f"{name}({told(x)})", function, (x,))
        for dtype in DTYPES
        for x in (array(0, (), dtype), array(1, (3, 4), dtype), array(2, (0, 4), dtype))
    )
    assert not wrong_calls(calls)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    """All pairs of dtypes, and Python's numbers on either side."""
    function = getattr(np, name)

    def calls() -> Iterator[Any]:
        pairs = itertools.cycle(PAIRS)
        for a, b in itertools.product(DTYPES, DTYPES):
            left, right = next(pairs)
            x, y = array(0, left, a), array(1, right, b)
            yield f"{name}({told(x)}, {told(y)})", function, (x, y)
        for dtype, number in itertools.product(DTYPES, NUMBERS):
            x = array(2, (3,), dtype)
            yield f"{name}({told(x)}, {number})", lambda x, c=number: function(x, c), (x,)
            yield f"{name}({number}, {told(x)})", lambda x, c=number: function(c, x), (x,)

    assert not wrong_calls(calls())


REDUCTIONS = (
    "sum prod mean max min var std any all argmax argmin median count_nonzero nansum nanprod "
    "nanmean nanmax nanmin nanvar nanstd cumsum cumprod sort argsort flip"
)
MASK = np.array([[True, False, True, True], [True, True, False, False], [True] * 4])
KEYWORDS: list[dict[str, Any]] = [
    *({"dtype": np.dtype(kind)} for kind in "fd"),
    {"where": MASK},
    {"where": MASK, "initial": 1},
    {"where": MASK[:, :1], "axis": 0},
    {"initial": 2},
    {"ddof": 1},
    {"ddof": 1, "where": MASK, "axis": 0},
    {"correction": 1},
    {"axis": 1.0},
]
# NumPy lets a ufunc reduce the axis of an array that has none: np.sum(2.0, axis=0).
LENIENT = {0, -1}


@pytest.mark.parametrize("name", REDUCTIONS.split())
def test_reductions(name: str) -> None:
    function = getattr(np, name)
    parameters = inspect.signature(function).parameters

    def calls() -> Iterator[Any]:
        axes = (None, 0, -1, (0, 1), (), 5)
        for dtype, shape, axis, keep in itertools.product(DTYPES, SHAPES, axes, (False, True)):
            if (keep and "keepdims" not in parameters) or (shape == () and axis in LENIENT):
                continue
            if name == "median" and axis == () and 0 in shape:
                continue  # an accident of its reshape
            options: dict[str, Any] = {"axis": axis}
            if keep:
                options["keepdims"] = True
            x = array(3, shape, dtype)
            yield f"{name}({told(x)}, {options})", lambda x, o=options: function(x, **o), (x,)
        for dtype, options in itertools.product(DTYPES, KEYWORDS):
            if not set(options) <= set(parameters):
                continue
            if name in ("nanvar", "nanstd") and dtype.kind == "c" and "dtype" in options:
                continue  # a complex variance in a real dtype loses the imaginary part half way
            x = array(4, (3, 4), dtype)
            yield f"{name}({told(x)}, {options})", lambda x, o=options: function(x, **o), (x,)

    assert not wrong_calls(calls())


PRODUCTS = "matmul dot inner vdot outer kron vecdot cross tensordot1 tensordot0 solve"
FORMS: dict[str, Callable[..., Any]] = {
    "tensordot1": lambda x, y: np.tensordot(x, y, 1),
    "tensordot0": lambda x, y: np.tensordot(x, y, 0),
    "solve": lambda x, y: np.linalg.solve(x, y),
}
OPERANDS = [
    *(((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 3)), ((3, 4), (4, 2)), ((2, 3, 4), (2, 4, 2))),
    *(
        ((2, 3, 4), (4, 2)),
        ((3, 0), (0, 2)),
        ((4,), (5,)),
        ((3,), (3,)),
        ((3, 3), (3, 3)),
        ((), ()),
    ),
]


@pytest.mark.parametrize("name", PRODUCTS.split())
def test_products(name: str) -> None:
    function = FORMS.get(name) or getattr(np, name)

    def calls() -> Iterator[Any]:
        for (a, b), (left, right) in itertools.product(
            [*zip(DTYPES, DTYPES, strict=True), *zip(DTYPES, DTYPES[3:], strict=False)], OPERANDS
        ):
            if name == "tensordot1" and () in (left, right):
                continue  # NumPy's IndexError is its search for the axis; ours is a ValueError
            x, y = array(5, left, a), array(6, right, b)
            yield f"{name}({told(x)}, {told(y)})", function, (x, y)

    assert not wrong_calls(calls())
