"""`jit`: the bits of eager mode, whatever the arguments; and everything around the call."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import linecache
import pickle
import re
import sys
import threading
import traceback
import tracemalloc
import types
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone.compile import blocks
from kinone.errors import LeafError, RetraceError, StaticArgumentError
from kinone.testing.programs import same_bits

rng = np.random.default_rng(0)
X = rng.normal(size=(6, 5))


def check(f: Any, *args: Any, **kwargs: Any) -> Any:
    """`jit(f)` has the bits of `f`, three times, and the last result is returned."""
    jitted = kn.jit(f)
    want = kn.tree.leaves(f(*args, **kwargs))
    for _ in range(3):
        got = jitted(*args, **kwargs)
        same_bits(kn.tree.leaves(got), want, "jit")
    assert len(jitted.traces) == 1
    return got


# ---- the arguments' memory -----------------------------------------------------------------------


def sums(x: Any) -> Any:
    y = np.exp(x) * 1.1 + x
    return np.sum(y), np.sum(y, axis=0), np.mean(y * y, axis=-1), y @ np.swapaxes(y, -1, -2), y


BIG = rng.normal(size=(24, 20))
LAYOUTS = {
    "C": BIG[:12, :10].copy(),
    "Fortran": np.asfortranarray(BIG[:12, :10]),
    "every second": BIG[::2, ::2],
    "backwards": BIG[11::-1, 9::-1],
    "a transpose": BIG[:10, :12].T,
    "three axes, turned": rng.normal(size=(3, 4, 5)).transpose(2, 0, 1),
    "a broadcast row": np.broadcast_to(BIG[0, :10], (12, 10)),
    "a broadcast column": np.broadcast_to(BIG[:12, :1], (12, 10)),
    "a column": BIG[:, 3:4],
    "not aligned": np.frombuffer(b"x" + BIG[:12, :10].tobytes(), np.float64, 120, 1).reshape(
        12, 10
    ),
    "size zero": BIG[:0, :10],
    "one element": BIG[:1, :1],
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "c16", "i4", "?", ">f8"])
def test_any_memory_order(name: str, dtype: str) -> None:
    x = LAYOUTS[name]
    if dtype != "f8":
        x = x.astype(dtype, order="K")
    with np.errstate(all="ignore"):
        check(sums, x)


def test_memory_orders_take_turns() -> None:
    f = kn.jit(sums)
    for _ in range(2):
        for name in ("C", "Fortran", "every second", "a transpose", "a broadcast row"):
            x = LAYOUTS[name]
            if x.shape == (12, 10):
                same_bits(list(f(x)), list(sums(x)), "jit")


def test_overlapping_and_read_only_arguments() -> None:
    base = rng.normal(size=20)
    frozen = base[2:14]
    frozen.flags.writeable = False
    before = base.copy()
    check(lambda a, b, c: (a * b + c, np.cumsum(a)), base[:12], base[4:16], frozen)
    check(lambda a, b: a + b, base, base)
    np.testing.assert_array_equal(base, before)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (1, 1)], ids=str)
def test_small_shapes(shape: tuple[int, ...]) -> None:
    x = np.asarray(rng.normal(size=shape))
    check(lambda x: (x + 1, np.sum(x), x * x, np.reshape(x, -1), np.stack([x, x])), x)


@pytest.mark.parametrize(
    "x", [1.5, 3, True, 2j, np.float32(1.5), np.int8(3), np.array(2.0), np.bool_(1)], ids=repr
)
def test_numbers(x: Any) -> None:
    """A Python number adapts to the arrays that it meets, a NumPy scalar does not."""
    single = np.ones(3, np.float32)
    check(lambda x, s: (x * s, x * 2, x), x, single)
    if not isinstance(x, bool):  # of two of Python's truth values it makes an integer, NumPy not
        f = kn.jit(lambda x: x + x)
        assert type(f(x)) is type(x + x)


def test_numbers_of_two_kinds_are_two_signatures() -> None:
    f = kn.jit(lambda x, s: x * s)
    single = np.ones(2, np.float32)
    assert f(2.0, single).dtype == np.float32
    assert f(np.float64(2), single).dtype == np.float64
    assert f(2, single).dtype == np.float32
    assert len(f.traces) == 3
    assert f(5.0, single)[0] == 5
    assert len(f.traces) == 3


def test_a_long_chain_in_blocks() -> None:
    """Rows, columns, scalars and sizes that no block divides."""

    def f(x: Any, row: Any, column: Any, s: Any) -> Any:
        y = np.exp(-np.abs(x)) * row + column
        z = np.where(y > 0.3, np.sqrt(np.abs(y)), y * s) - kn.ops.sigmoid(x)
        return np.tanh(z) * 0.5, np.sum(z * y)

    for shape in ((301, 257), (65536,), (1, 40000), (40000, 1), (7, 90, 91), (3, 5, 17, 211)):
        x = rng.normal(size=shape)
        row, column = rng.normal(size=shape[-1:]), rng.normal(size=(*shape[:-1], 1))
        for dtype in (np.float64, np.float32):
            args = [v.astype(dtype) for v in (x, row, column)]
            check(f, *args, dtype(0.3))
    source = kn.jit(f).lower(x, row, column, 0.3).source
    assert "for _i in range(" in source


# ---- results -------------------------------------------------------------------------------------

TABLE = np.arange(6.0).reshape(2, 3)

ALIASING = {
    "the argument": lambda x: x,
    "twice the argument": lambda x: (x, x),
    "a view": lambda x: (x.T, np.reshape(x, -1), x[1:], x[..., None], np.squeeze(x)),
    "views of one value": lambda x: (lambda y: (y, y.T, y[0], np.ravel(y)))(np.sin(x)),
    "broadcast": lambda x: (np.broadcast_to(x, (2, *x.shape)), np.broadcast_to(x[0], x.shape)),
    "a constant": lambda x: (TABLE, TABLE.T, TABLE[0], np.broadcast_to(TABLE, (2, 2, 3))),
    "a folded constant": lambda x: (np.sin(TABLE), np.zeros(3), np.ones(3)),
    "pieces": lambda x: (*np.split(x, 2), *x),
    "the same value": lambda x: (lambda y: (y, y, [y]))(np.exp(x)),
    "elements": lambda x: (x[0, 0], np.reshape(x[:1, :1], ())),
    "real": lambda x: (np.real(x), x.astype(x.dtype), np.positive(x)),
    "branches": lambda x: (
        kn.cond(x[0, 0] > -9, lambda v: v, np.sin, x),
        kn.checkpoint(np.ravel)(x),
    ),
    "loops": lambda x: kn.scan(lambda c, v: (c, v), x, x),
    "no trips": lambda x: kn.while_loop(lambda v: v[0, 0] > 9e9, lambda v: v + 1, x),
}


@pytest.mark.parametrize("name", ALIASING)
def test_results_share_no_memory(name: str) -> None:
    """With each other, with the arguments, with the constants, with those of the next call."""
    x = rng.normal(size=(6, 5))
    f = ALIASING[name]
    jitted = kn.jit(f)
    seen: list[Any] = [x, TABLE]
    for _ in range(3):
        results = kn.tree.leaves(jitted(x))
        same_bits(results, kn.tree.leaves(f(x)), "jit")
        for result in results:
            if isinstance(result, np.ndarray):
                assert result.flags.writeable
                assert not any(np.shares_memory(result, other) for other in seen)
                seen.append(result)
    for result in seen[2:]:
        result[...] = -7.0  # nothing of it shows in the next call
    same_bits(kn.tree.leaves(jitted(x)), kn.tree.leaves(f(x)), "jit")


def test_a_result_of_no_axes_is_not_the_argument() -> None:
    x = np.array(3.0)
    y = kn.jit(lambda x: x)(x)
    assert y is not x
    assert not np.shares_memory(x, y)


def test_results_that_are_no_arrays() -> None:
    f = kn.jit(lambda x: {"a": None, "b": 3, "c": True, "d": 2.5, "e": (), "f": x})
    result = f(1.0)
    assert result == {"a": None, "b": 3, "c": True, "d": 2.5, "e": (), "f": 1.0}
    assert [type(v) for v in result.values()] == [type(None), int, bool, float, tuple, float]
    with pytest.raises(LeafError, match=r"d is a str, .* under jit"):
        kn.jit(lambda x: {"d": "text"})(1.0)
    assert kn.jit(lambda: None)() is None


class Pair(NamedTuple):
    left: Any
    right: Any


@kn.tree.register_dataclass
@dataclass
class Affine:
    w: Any
    b: Any


def test_trees() -> None:
    def f(pair: Any, affine: Any, ordered: Any, *rest: Any, **named: Any) -> Any:
        return (
            Pair(pair.right, [pair.left]),
            Affine(affine.b * 2, affine.w),
            OrderedDict(z=ordered["z"], a=1.0),
            rest[::-1],
            dict(reversed(named.items())),
        )

    args = Pair(X, 2.0), Affine(1.0, X[0]), OrderedDict(z=X), X[1], {"k": X[2]}
    check(f, *args, u=X, t=3)
    got = kn.jit(f)(*args, u=X, t=3)
    assert type(got[0]) is Pair
    assert type(got[1]) is Affine
    assert list(got[2]) == ["z", "a"]
    assert list(got[4]) == ["t", "u"]


def test_a_dict_in_another_order_is_another_argument() -> None:
    """The function can see the order."""
    f = kn.jit(lambda d: np.subtract(*d.values()))
    for _ in range(2):
        assert f({"a": 3.0, "b": 1.0}) == 2.0
        assert f({"b": 1.0, "a": 3.0}) == -2.0
    assert len(f.traces) == 2


# ---- every kind of function ----------------------------------------------------------------------


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def bound(self, x: Any) -> Any:
        return x * self.scale

    @functools.partial(kn.jit, static_argnums=0)
    def jitted(self, x: Any) -> Any:
        return x * self.scale

    @staticmethod
    @kn.jit
    def still(x: Any) -> Any:
        return x + 1

    @kn.jit
    def without_static(self, x: Any) -> Any:
        return x

    def __call__(self, x: Any) -> Any:
        return x - self.scale


def test_methods() -> None:
    two, three = Model(2.0), Model(3.0)
    assert kn.jit(two.bound)(4.0) == 8.0
    assert two.jitted(4.0) == 8.0
    assert three.jitted(4.0) == 12.0
    assert len(Model.jitted.traces) == 2
    assert len(two.jitted.traces) == 2
    assert "x * 2.0" in two.jitted.lower(4.0).source
    assert Model.still(1.0) == two.still(1.0) == 2.0
    assert kn.jit(three)(4.0) == 1.0
    with pytest.raises(LeafError, match="self is a Model") as caught:
        two.without_static(1.0)
    assert "static_argnames='self'" in "".join(caught.value.__notes__)


def test_kinds_of_parameters() -> None:
    def f(a: Any, /, b: Any, c: Any = 3.0, *rest: Any, d: Any, e: Any = 5.0, **others: Any) -> Any:
        return [a, b, c, *rest, d, e, *[others[k] for k in sorted(others)]]

    for args, kwargs in [
        ((1.0, 2.0), {"d": 4.0}),
        ((1.0,), {"b": 2.0, "d": 4.0}),
        ((1.0, 2.0, 9.0, X, 7.0), {"d": 4.0, "e": X, "z": 1, "y": 2}),
    ]:
        check(f, *args, **kwargs)
    partial = functools.partial(f, 1.0, d=4.0)
    check(partial, X)
    check(functools.partial(f, d=4.0), X, 2.0)
    with pytest.raises(TypeError, match="missing"):
        kn.jit(f)(1.0)


def test_recursion_of_the_function_itself() -> None:
    @functools.partial(kn.jit, static_argnames="n")
    def power(x: Any, n: int) -> Any:
        return x * power(x, n=n - 1) if n else 1.0

    assert power(3.0, n=4) == 81.0
    assert kn.grad(lambda x: power(x, n=4))(3.0) == 108.0


def test_numpys_and_primitive_functions() -> None:
    check(np.tanh, X)
    check(np.linalg.inv, X[:5] @ X[:5].T + np.eye(5))
    check(kn.ops.softmax, X)
    check(kn.grad(np.sum), X)


def test_wrapping_twice() -> None:
    check(kn.jit(kn.jit(lambda x: np.sin(x) + 1)), X)
    f = kn.jit(lambda x: np.sin(x))
    g = kn.jit(lambda x: f(x) + f(2 * x))
    same_bits(g(X), np.sin(X) + np.sin(2 * X), "jit")
    assert "np.sin" in g.source, "the inner program has dissolved"


# ---- static arguments ----------------------------------------------------------------------------


def test_static_values_of_all_sorts() -> None:
    seen: list[Any] = []

    @functools.partial(kn.jit, static_argnames="how")
    def f(x: Any, how: Any = "default") -> Any:
        seen.append(how)
        return x

    values: list[Any] = [
        1, 1.0, True, 0.0, -0.0, float("nan"), "1", None, (1,), (True,), (1.0,), ((1, 2), "a"),
        np.float32, np.dtype("f4"), np.float32(1), np.float64(1), np.sin, f, frozenset({1}), b"1",
    ]  # fmt: skip
    for value in values:
        before = len(seen)
        for _ in range(2):
            f(1.0, value)
            f(1.0, how=value)
        assert 1 <= len(seen) - before <= 2, value  # by place and by name
        assert seen[-1] is value or seen[-1] == value
    f(1.0)
    assert seen[-1] == "default"


def test_static_arrays_count_by_their_bytes() -> None:
    @functools.partial(kn.jit, static_argnums=1)
    def f(x: Any, table: Any) -> Any:
        return x * table

    table = np.arange(3.0)
    one = f(np.ones(3), table)
    assert f(np.ones(3), table.copy()).tolist() == one.tolist()
    assert len(f.traces) == 1
    table[0] = 10.0  # the very array, changed
    assert f(np.ones(3), table).tolist() == [10.0, 1.0, 2.0]
    assert len(f.traces) == 2
    assert f(np.ones(3), np.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
    assert len(f.traces) == 2
    f(np.ones(3), table.astype(np.float32))
    assert len(f.traces) == 3


def test_static_arguments_that_cannot_be() -> None:
    of_n = kn.jit(f_of_n, static_argnames="n")
    with pytest.raises(StaticArgumentError, match="n of f is a list, which has no hash"):
        of_n(1.0, [1])
    with pytest.raises(StaticArgumentError, match="'m', which is no parameter of f"):
        kn.jit(f_of_n, static_argnames="m")
    with pytest.raises(StaticArgumentError, match="static_argnums has 2"):
        kn.jit(f_of_n, static_argnums=2)
    with pytest.raises(StaticArgumentError, match="static_argnums wants integers, and got 'n'"):
        kn.jit(f_of_n, static_argnums="n")
    with pytest.raises(StaticArgumentError, match="Count from the front"):
        kn.jit(lambda *args: args, static_argnums=-1)
    with pytest.raises(ValueError, match="backend is 'native'"):
        kn.jit(f_of_n, backend="native")


def f_of_n(x: Any, n: Any) -> Any:
    return x


f_of_n.__name__ = "f"


def test_static_arguments_that_are_traced() -> None:
    f = kn.jit(lambda x, n: x**n, static_argnums=1)
    with pytest.raises(StaticArgumentError, match="n of <lambda> is a value that grad traces"):
        kn.grad(lambda x: f(x, x))(3.0)
    assert kn.grad(lambda x: f(x, 3))(2.0) == 12.0


def test_as_a_decorator_with_arguments() -> None:
    @kn.jit(static_argnames="n", max_traces=1)
    def power(x: Any, n: int) -> Any:
        return x**n

    assert power(2.0, n=3) == 8.0
    assert power.__name__ == "power"
    with pytest.raises(RetraceError):
        power(2.0, n=4)


def test_negative_static_place() -> None:
    f = kn.jit(lambda x, n: x**n, static_argnums=-1)
    assert f(2.0, 3) == f(2.0, n=3) == 8.0
    assert "static 3" in repr(f.traces)


# ---- signatures ----------------------------------------------------------------------------------


def test_the_traces_tell_their_differences() -> None:
    @kn.jit
    def scaled(params: Any, x: Any) -> Any:
        return params["w"] * x

    assert repr(scaled.traces) == "not traced yet"
    scaled({"w": X}, 2.0)
    scaled({"w": X.astype("f4")}, 2.0)
    scaled({"w": X}, X[0])
    lines = repr(scaled.traces).splitlines()
    assert lines[0].startswith("params/w: float64[6,5], x: Python float64  # at tests/test_jit.py:")
    assert lines[2] == "    params/w: float32[6,5] (was float64[6,5])"
    assert lines[4] == "    x: float64[5] (was Python float64)"
    assert repr(scaled) == "<jit of scaled, 3 traced>"
    scaled.clear_cache()
    assert repr(scaled) == "<jit of scaled, 0 traced>"
    assert scaled({"w": X}, 2.0) is not None


def test_max_traces() -> None:
    f = kn.jit(lambda x: x, max_traces=2)
    f(1.0), f(X)
    with pytest.raises(RetraceError, match=r"(?s)traced 3 times.*max_traces is 2.*x: float64\[5\]"):
        f(X[0])
    f(2.0)


def test_lowering_for_shapes() -> None:
    lowered = kn.jit(lambda x, s: np.sum(x * s)).lower(kn.ShapeDtype((3,), "float32"), 2.0)
    assert lowered(np.ones(3, np.float32), 3.0) == 9.0
    assert "np.multiply" in lowered.source
    assert len(lowered.graph.equations) == 2
    for bad in (np.ones(3), np.ones(4, np.float32)):
        with pytest.raises(RetraceError, match="x is float"):
            lowered(bad, 2.0)
    with pytest.raises(RetraceError, match=r"s is float64\[\], and .*\(a Python number\)"):
        lowered(np.ones(3, np.float32), np.float64(2.0))
    with pytest.raises(RetraceError, match="lowered for other arguments"):
        lowered([1.0], 2.0)
    f = kn.jit(lambda x: x + 1)
    with pytest.raises(TypeError, match=r"(?s)x is a ShapeDtype.*f\.lower"):
        f(kn.ShapeDtype((3,), "float32"))
    assert f(np.ones(3, np.float32)).dtype == np.float32
    assert len(f.traces) == 1


def test_many_signatures() -> None:
    f = kn.jit(lambda x: np.sum(x) + x)
    for _ in range(2):
        for n in range(20):
            same_bits(
                f(np.arange(float(n))), np.sum(np.arange(float(n))) + np.arange(float(n)), "jit"
            )
    assert len(f.traces) == 20


def test_a_traced_function_that_raises_is_not_kept() -> None:
    calls = []

    @kn.jit
    def f(x: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("once")
        return x

    with pytest.raises(KeyError):
        f(1.0)
    assert f(1.0) == 1.0
    assert len(f.traces) == 1


# ---- closures ------------------------------------------------------------------------------------


def test_captured_arrays_are_constants_of_the_moment() -> None:
    table = np.arange(3.0)
    f = kn.jit(lambda x: x * table)
    f(1.0)
    table[0] = 5.0
    assert f(1.0).tolist() == [0.0, 1.0, 2.0]


def test_captured_traced_values_get_their_gradient() -> None:
    def outer(a: Any, x: Any) -> Any:
        inner = kn.jit(lambda v: np.sum(np.sin(v) * a))
        return inner(x) + inner(2 * x)

    for args in ((X[0], X[1]), (X[2], X[3])):
        for got, want in zip(
            kn.grad(outer, (0, 1))(*args),
            kn.grad(lambda a, x: np.sum(np.sin(x) * a) + np.sum(np.sin(2 * x) * a), (0, 1))(*args),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-14)


def test_captured_traced_values_leave_nothing_behind() -> None:
    cell: list[Any] = [None]
    f = kn.jit(lambda v: v * cell[0])

    def outer(a: Any) -> Any:
        cell[0] = a
        return np.sum(f(X[0]))

    for k in range(5):
        gradient = kn.grad(outer)(X[1] + k)
        np.testing.assert_array_equal(gradient, X[0])
    assert len(f.traces) == 1
    assert not f.traces[0].captured
    cell[0] = 2.0
    np.testing.assert_array_equal(f(X[0]), X[0] * 2)


# ---- transformations -----------------------------------------------------------------------------


def loss(w: Any, x: Any) -> Any:
    return np.sum(np.tanh(x @ w) ** 2)


W = rng.normal(size=(5, 3))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: kn.grad(f),
        lambda f: kn.value_and_grad(f, (0, 1)),
        lambda f: kn.hessian(f),
        lambda f: kn.jacfwd(f),
        lambda f: lambda w, x: kn.jvp(f, (w, x), (w, x)),
        lambda f: kn.vmap(f, (None, 0)),
        lambda f: kn.vmap(kn.grad(f), (None, 0)),
        lambda f: kn.grad(lambda w, x: np.sum(kn.grad(f)(w, x) ** 2)),
    ],
    ids=["grad", "value_and_grad", "hessian", "jacfwd", "jvp", "vmap", "vmap grad", "grad grad"],
)
def test_transformed_before_and_after(transform: Any) -> None:
    want = kn.tree.leaves(transform(loss)(W, X))
    for f in (kn.jit(transform(loss)), transform(kn.jit(loss)), kn.jit(transform(kn.jit(loss)))):
        for _ in range(2):
            for a, b in zip(kn.tree.leaves(f(W, X)), want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_gradients_have_the_bits_of_eager_mode() -> None:
    for dtype in (np.float64, np.float32):
        args = W.astype(dtype), X.astype(dtype)
        for f in (kn.jit(kn.grad(loss)), kn.grad(kn.jit(loss))):
            same_bits(f(*args), kn.grad(loss)(*args), "jit")


def test_the_pullback_keeps_its_values() -> None:
    """What a compiled forward run hands on is not in memory that the next run writes over."""
    f = kn.jit(lambda x: np.sin(np.exp(x)) * np.tanh(x))
    y1, pull1 = kn.vjp(f, X)
    _, pull2 = kn.vjp(f, X + 1)
    want = kn.vjp(lambda x: np.sin(np.exp(x)) * np.tanh(x), X)[1](np.ones_like(y1))[0]
    np.testing.assert_allclose(pull1(np.ones_like(y1))[0], want, rtol=1e-14)
    assert not np.allclose(pull2(np.ones_like(y1))[0], want)
    np.testing.assert_allclose(pull1(np.ones_like(y1))[0], want, rtol=1e-14)


def test_keys() -> None:
    f = kn.jit(lambda key, x: kn.random.normal(key, x.shape) + x)
    for seed in (0, 1):
        key = kn.random.key(seed)
        same_bits(f(key.clone(), X), kn.random.normal(key.clone(), X.shape) + X, "jit")
    assert len(f.traces) == 1

    @kn.jit
    def split(key: Any) -> Any:
        return key.split(3)

    got = split(kn.random.key(0))
    same_bits(got[1].data, kn.random.key(0).split(3)[1].data, "jit")


def test_printing_inside(capsys: pytest.CaptureFixture[str]) -> None:
    @kn.jit
    def f(x: Any) -> Any:
        kn.debug.print("x is {}", x)
        return x

    for value in (1.0, 2.0):
        f(value)
    assert capsys.readouterr().out == "x is 1.0\nx is 2.0\n"


# ---- errors, warnings, debuggers -----------------------------------------------------------------


def test_errors_name_the_users_line() -> None:
    f = kn.jit(lambda x, i: x[i])
    f(np.arange(3.0), np.array([0]))
    with pytest.raises(IndexError) as caught:
        f(np.arange(3.0), np.array([7]))
    told = "".join(traceback.format_exception(caught.value))
    assert "x[i]" in told
    assert "test_jit.py" in told
    assert "/kinone/" not in told.replace("<kinone>/", ""), "the engine's frames are left out"
    same_bits(f(np.arange(3.0), np.array([2])), np.array([2.0]), "after an error, the jit")


def test_the_generated_source_is_to_be_read() -> None:
    f = kn.jit(lambda x: np.sqrt(np.sum(x * x)))
    lowered = f.lower(X)
    function = lowered._traced.compiled.planned.function
    assert inspect.getsource(function).rstrip() == f.source.rstrip()
    assert "# tests/test_jit.py:" in f.source
    name = function.__code__.co_filename
    assert linecache.getline(name, 2).strip() in f.source
    assert f.source.startswith("def _lambda_(x")
    linecache.checkcache()
    assert inspect.getsource(function)


def test_warnings_point_into_the_generated_source() -> None:
    f = kn.jit(lambda x: np.log(x) + 1)
    f(np.ones(3))
    with pytest.warns(RuntimeWarning, match="divide by zero") as caught:
        f(np.zeros(3))
    assert "np.log" in linecache.getline(caught[0].filename, caught[0].lineno)


def test_source_before_the_first_call() -> None:
    assert kn.jit(loss).source == "# loss has not been called yet"


# ---- life and death ------------------------------------------------------------------------------


def test_pickling() -> None:
    again = pickle.loads(pickle.dumps(importable))
    assert again is importable
    other = pickle.loads(pickle.dumps(kn.jit(f_two, static_argnums=1)))
    assert other(3.0, 2) == 9.0
    assert copy.deepcopy(importable) is importable
    assert copy.copy(kn.jit(f_two))(3.0, 2) == 9.0
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(kn.jit(lambda x: x))


@kn.jit
def importable(x: Any) -> Any:
    return x


def f_two(x: Any, n: Any) -> Any:
    return x**n


def test_a_program_that_nobody_holds_is_gone() -> None:
    gc.collect()
    before = {name for name in linecache.cache if name.startswith("<kinone>")}
    f = kn.jit(lambda x: np.exp(x) @ x.T)
    f(X)
    kn.grad(functools.partial(lambda f, x: np.sum(f(x)), f))(X)
    function = weakref.ref(f.traces[0].compiled.planned)
    assert {name for name in linecache.cache if name.startswith("<kinone>")} > before
    del f
    gc.collect()
    assert function() is None
    assert {name for name in linecache.cache if name.startswith("<kinone>")} <= before


def test_two_threads() -> None:
    def f(x: Any) -> Any:
        for _ in range(20):
            x = np.tanh(x @ np.eye(40) * 1.01) + np.sum(x) * 1e-3
        return x, np.sum(x, axis=0)

    jitted = kn.jit(f)
    inputs = [rng.normal(size=(30, 40)) for _ in range(4)]
    want = [f(x) for x in inputs]
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work(index: int) -> None:
        start.wait()
        for _ in range(30):
            got = jitted(inputs[index])
            if any(a.tobytes() != b.tobytes() for a, b in zip(got, want[index], strict=True)):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(jitted.traces) == 1


def test_an_interrupt_leaves_it_usable() -> None:
    stop: list[bool] = [True]

    class Loud:
        def __repr__(self) -> str:
            if stop:
                raise KeyboardInterrupt
            return "loud"

    def f(x: Any) -> Any:
        y = np.exp(x) * 2
        kn.debug.print("{} {}", x, Loud())
        return y + 1

    jitted = kn.jit(f)
    with pytest.raises(KeyboardInterrupt):
        jitted(X)
    stop.clear()
    same_bits(jitted(X), np.exp(X) * 2 + 1, "jit")


# ---- memory --------------------------------------------------------------------------------------


def test_the_arena_is_smaller_than_what_it_holds() -> None:
    def f(x: Any) -> Any:
        for _ in range(50):
            x = np.sin(x @ W) @ W.T
        return np.sum(x)

    plan = kn.jit(f).lower(X)._traced.compiled.planned.plan
    written = sum(var.aval.size * var.aval.dtype.itemsize for var in plan.places)
    assert plan.nbytes < written / 20
    gradient = kn.jit(kn.grad(f)).lower(X)._traced.compiled.planned.plan
    assert gradient.nbytes < sum(v.aval.size * 8 for v in gradient.places) / 1.5


def test_a_deep_chain_needs_little_memory() -> None:
    def f(x: Any) -> Any:
        for _ in range(100):
            x = np.sin(x) * 1.01
        return x

    x = rng.normal(size=1 << 18)
    jitted = kn.jit(f)
    assert "for _i in" in jitted.lower(x).source
    assert peak(jitted, x) < 2.5 * x.nbytes  # the result, a block or two, and no 200 arrays


def peak(function: Any, x: Any) -> int:
    """The memory that a call takes, in bytes."""
    tracemalloc.start()
    try:
        function(x)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_blocks_write_outside_of_the_arena_goes_after_its_last_use() -> None:
    """The loops over blocks see a value through views, which must not outlive it."""
    kernel = np.ones((1, 1, 16, 16), np.float32) / 16

    def f(x: Any) -> Any:
        for _ in range(12):
            x = kn.ops.relu(kn.ops.conv(x, kernel) * 2 + 1)
        return x

    x = np.ones((4, 64, 64, 16), np.float32)
    for function in (f, kn.grad(lambda x: np.sum(f(x)))):
        jitted = kn.jit(function)
        same_bits(jitted(x), function(x), "jit")
        assert peak(jitted, x) < 4 * x.nbytes


def test_ten_thousand_operations_compile() -> None:
    def f(x: Any) -> Any:
        for _ in range(2500):
            x = np.sin(x) * 0.5 + x - 0.1
        return x

    x = np.ones(4)
    same_bits(kn.jit(f)(x), f(x), "jit")


# ---- random programs -----------------------------------------------------------------------------

UNARY = [np.sin, np.exp, np.tanh, np.abs, np.negative, np.square, np.transpose, np.ravel]
UNARY += [lambda x: x[::-1], lambda x: x[..., 1:], lambda x: np.sum(x, axis=0), lambda x: x * 2]
UNARY += [lambda x: np.cumsum(x, axis=-1), lambda x: x.astype(np.float32), lambda x: x[..., None]]
BINARY = [np.add, np.multiply, np.maximum, np.subtract, lambda a, b: np.where(a > b, a, b)]


@given(st.data(), st.booleans())
def test_programs(data: st.DataObject, in_blocks: bool) -> None:
    """Random straight-line programs, of any memory order: the bits, and no sharing of memory.

    With thresholds for tiny arrays, half of them run in blocks.
    """
    with pytest.MonkeyPatch.context() as patch:
        if in_blocks:
            patch.setattr(blocks, "LARGE", 4)
            patch.setattr(blocks, "_BLOCK", 5)
        check_program(data)


def check_program(data: st.DataObject) -> None:
    steps = data.draw(
        st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 19)), max_size=14)
    )
    returned = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=4))

    def program(x: Any, y: Any) -> Any:
        values = [x, y]
        for first, second, kind in steps:
            a, b = values[first % len(values)], values[second % len(values)]
            if np.ndim(a) == 0 and kind in (8, 9, 10, 12, 14):  # NumPy lets axis 0 of a scalar pass
                continue
            try:
                if kind < len(UNARY):
                    values.append(UNARY[kind](a))
                else:
                    values.append(BINARY[kind % len(BINARY)](a, b))
            except (ValueError, IndexError):
                continue
        return [values[i % len(values)] for i in returned]

    order = data.draw(st.sampled_from("CF"))
    x = np.array(rng.normal(size=(4, 3)), order=order)
    y = rng.normal(size=(3,))[:: data.draw(st.sampled_from([1, -1]))]
    with np.errstate(all="ignore"):
        jitted, want = kn.jit(program), program(x, y)
        first = jitted(x, y)
        kept = [np.array(r) for r in first]
        second = jitted(x, y)
    same_bits(first, want, "jit")
    same_bits(first, kept, "the second call changed the first, which")
    same_bits(second, want, "jit, again,")
    arrays = [r for r in (*first, *second, x, y) if isinstance(r, np.ndarray)]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[:i])


# ---- the pages -----------------------------------------------------------------------------------

PAGES = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(
    ("page", "parts"),
    [
        ("jit.md", ["c = np.tanh(b, out=_0)", "(was float64[4,3])", "compiled to NumPy alone."]),
        ("control-flow.md", ["carry: float64[3] goes in, float32[3] comes out", "[  0   8 111]"]),
    ],
)
def test_the_python_of_the_pages_runs(
    page: str,
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (PAGES / page).read_text(encoding="utf-8")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S):
        above = "\n" * text[: block.start(1)].count("\n")  # messages point into the page
        exec(compile(above + block[1], str(PAGES / page), "exec"), module.__dict__)
    out = capsys.readouterr().out
    for part in parts:
        assert part in out
        assert part in text


# ---- Python numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 2**63 - 1, -(2**63), 2**64, 2**70, -(2**70), 2.5, -0.0])
@pytest.mark.parametrize(
    "f",
    [
        lambda n: (n + 1, 1 - n, n * 3, n / 7, -n, +n, abs(n), n**2),
        lambda n: (n // 7, n % 7, 7 // (n + 1.5), (n - 2) * (n + 2)),
    ],
)
def test_python_numbers_compute_as_python_does(f: Any, n: Any) -> None:
    """No integer is too large, none wraps round, and each result has Python's type."""
    want, found = f(n), kn.jit(f)(n)
    assert list(map(type, found)) == list(map(type, want))
    assert list(map(repr, found)) == list(map(repr, want))


def test_bits_of_python_integers() -> None:
    def f(n: Any, k: Any) -> Any:
        return n & k, n | k, n ^ k, ~n, n << k, n >> k

    assert kn.jit(f)(2**70 + 5, 3) == f(2**70 + 5, 3)
    assert "n << k" in kn.jit(f).lower(5, 3).source


def test_integers_of_any_size_have_one_signature() -> None:
    f = kn.jit(lambda n: (n, n + 1))
    assert [f(n) for n in (1, 2**63, 2**70)] == [(n, n + 1) for n in (1, 2**63, 2**70)]
    assert len(f.traces) == 1


def test_a_large_integer_that_meets_an_array_is_as_in_numpy() -> None:
    def f(n: Any) -> Any:
        return np.arange(3.0) * n

    np.testing.assert_array_equal(kn.jit(f)(2**70), f(2**70))
    with pytest.raises(OverflowError):
        kn.jit(lambda n: np.arange(3) * n)(2**70)


@pytest.mark.parametrize(
    "f",
    [
        lambda n: np.zeros(n),
        lambda n: np.zeros((n, 2)),
        lambda n: np.full(n, 1.0),
        lambda n: np.arange(n),
        lambda n: np.ones((2, 3)).reshape(n, -1),
        lambda n: sum(range(n)),
        lambda n: [1.0, 2.0, 3.0][n],
        lambda n: np.sum(np.ones((2, 3)), axis=n),
    ],
)
def test_a_traced_length_says_static_argnames(f: Any) -> None:
    with pytest.raises(kn.errors.TracerConversionError, match=r"name 'n' in static_argnames") as e:
        kn.jit(f)(1)
    assert "n is int64[]" in str(e.value)
    kn.jit(f, static_argnames="n")(1)


def test_a_length_computed_of_an_argument_says_static_argnames() -> None:
    with pytest.raises(kn.errors.TracerConversionError, match="static_argnames"):
        kn.jit(lambda n: np.zeros(n + 1))(1)
    with pytest.raises(kn.errors.TracerConversionError, match="plain Python value"):
        kn.graph(lambda n: np.zeros(n))(1)
