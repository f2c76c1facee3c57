"""Random programs: small expression graphs that Hypothesis draws, under every transformation.

A program is a list of steps on a pool of values; each takes one or two of the values that are there
and adds one. All values keep the shape (2, 3), so any sequence of steps is a program. The steps are
smooth, so finite differences are an oracle for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

import kinone as kn
from kinone.testing import check_grads

MATRIX = np.array([[0.3, -0.5, 0.2], [0.1, 0.4, -0.6], [-0.2, 0.7, 0.5]])
MASK = np.array([[True, False, True], [False, True, False]])
START = np.array([[0.4, -0.9, 0.7], [-0.3, 0.8, 0.5]])
WEIGHTS = np.array([[1.0, -0.7, 0.4], [0.2, 0.9, -1.1]])

UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "sin": np.sin,
    "exp of minus square": lambda a: np.exp(-(a**2)),
    "log1p of square": lambda a: np.log1p(a * a),
    "sqrt": lambda a: np.sqrt(a * a + 1.0),
    "matmul": lambda a: a @ MATRIX,
    "transposes": lambda a: (a.T * 0.5).T,
    "reshape and back": lambda a: np.reshape(np.reshape(a, (3, 2)) * np.array([1.0, 2.0]), (2, 3)),
    "centre": lambda a: a - np.mean(a, axis=1, keepdims=True),
    "sum over rows": lambda a: a / (1.0 + np.sum(a * a, axis=0)),
    "reverse": lambda a: a[:, ::-1],
    "gather": lambda a: a[np.array([1, 0])][:, np.array([2, 0, 0])],
    "roll by concatenation": lambda a: np.concatenate([a[:, 1:], a[:, :1]], axis=1),
    "stack and sum": lambda a: np.sum(np.stack([a, a * 0.3]), axis=0),
    "set": lambda a: a.at[0, 1].set(a[1, 2] * 2.0) if hasattr(a, "at") else _set(a),
    "softmax": lambda a: kn.ops.softmax(a, axis=1),
    "logsumexp": lambda a: a - kn.ops.logsumexp(a, axis=0, keepdims=True),
    "pad and cut": lambda a: np.pad(a, 1)[1:-1, :-2],
    "scalar": lambda a: 0.5 * a + 0.1,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / (2.0 + b * b),
    "where": lambda a, b: np.where(MASK, a, b),
    "arctan2": lambda a, b: np.arctan2(a, 2.0 + b * b),
    "row of the other": lambda a, b: a * b[:1],
    "inner products": lambda a, b: (a @ b.T) @ a,
    "logaddexp": np.logaddexp,
}


def _set(a: Any) -> Any:
    a = np.array(a)
    a[0, 1] = a[1, 2] * 2.0
    return a


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 100), st.integers(0, 100)),
    min_size=1,
    max_size=8,
)


def program(drawn: list[Step]) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        pool = [x]
        for name, first, second in drawn:
            a, b = pool[first % len(pool)], pool[-1 - second % len(pool)]
            pool.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
        return np.sum(sum(pool) * WEIGHTS)

    return function


def bits(value: Any) -> bytes:
    return np.asarray(value).tobytes()


@settings(max_examples=120, deadline=None)
@given(steps)
def test_derivatives_agree_with_finite_differences(drawn: list[Step]) -> None:
    check_grads(program(drawn), (START,), order=2, atol=1e-5, rtol=1e-5)


@settings(max_examples=120, deadline=None)
@given(steps)
def test_compiled_programs_have_the_bits_of_eager_ones(drawn: list[Step]) -> None:
    f = program(drawn)
    for make in (lambda f: f, kn.grad, lambda f: lambda x: kn.jvp(f, (x,), (WEIGHTS,))):
        g = make(f)
        for want, got in zip(
            kn.tree.leaves(g(START)), kn.tree.leaves(kn.jit(g)(START)), strict=True
        ):
            assert bits(want) == bits(got)
    assert bits(kn.grad(kn.jit(f))(START)) == bits(kn.grad(f)(START))


@settings(max_examples=120, deadline=None)
@given(steps)
def test_batches_agree_with_loops(drawn: list[Step]) -> None:
    f = program(drawn)
    batch = np.stack([START, START * 0.5, -START])
    for g in (f, kn.grad(f), kn.jit(kn.grad(f))):
        want = np.stack([g(x) for x in batch])
        assert np.allclose(kn.vmap(g)(batch), want, rtol=1e-11, atol=1e-11)
        last = np.moveaxis(batch, 0, -1)
        assert np.allclose(kn.vmap(g, in_axes=-1)(last), want, rtol=1e-11, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_hessian_vector_products_agree_in_both_orders(drawn: list[Step]) -> None:
    f = program(drawn)
    forward = kn.jvp(kn.grad(f), (START,), (WEIGHTS,))[1]
    reverse = kn.grad(lambda x: np.sum(kn.grad(f)(x) * WEIGHTS))(START)
    assert np.allclose(forward, reverse, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_a_program_traced_is_the_function(drawn: list[Step]) -> None:
    f = program(drawn)
    traced = kn.graph(f)(START)
    assert bits(traced(START)) == bits(f(START))
    assert bits(kn.graph(traced)(START)(START)) == bits(f(START))
    assert bits(kn.grad(traced)(START)) == bits(kn.grad(f)(START))
