"""Branches and loops against JAX, as ordinary Python and in compiled functions."""

from __future__ import annotations

import functools
import re
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kinone as kn
from kinone.errors import ControlFlowError, LeafError
from kinone.testing.programs import same_bits

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
W = rng.normal(size=(3, 3)) * 0.5
C = rng.normal(size=3)
XS = rng.normal(size=(5, 3))


class Library(NamedTuple):
    """The same names in both libraries."""

    np: Any
    lax: Any


OURS, THEIRS = Library(np, kn), Library(jnp, jax.lax)


def close(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    a, b = kn.tree.leaves(got), jax.tree.leaves(want)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


# ---- programs that both libraries run ------------------------------------------------------------


def recurrent(lib: Library, reverse: bool = False) -> Callable[..., Any]:
    def f(w: Any, c: Any, xs: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            c = lib.np.tanh(w @ c + x)
            return c, {"sum": lib.np.sum(c * x), "twice": (c * 2, x)}

        carry, ys = lib.lax.scan(body, c, xs, reverse=reverse)
        return (
            lib.np.sum(carry**2)
            + lib.np.sum(ys["sum"] ** 2)
            + lib.np.sum(lib.np.sin(ys["twice"][0]) * ys["twice"][1])
        )

    return f


def trees(lib: Library) -> Callable[..., Any]:
    """A carry and slices that are trees; integers along; a constant that is an array."""

    def f(w: Any, c: Any, xs: Any) -> Any:
        table = lib.np.arange(5.0) + c[0]

        def body(carry: Any, x: Any) -> Any:
            i, (a, b) = carry["i"], carry["ab"]
            a = a * lib.np.sin(x["u"]) + b * lib.np.take(table, i)
            return {"i": i + 1, "ab": (a, b + x["v"])}, a[0]

        carry, ys = lib.lax.scan(body, {"i": 0, "ab": (c, w[0])}, {"u": xs, "v": xs[:, ::-1]})
        return lib.np.sum(carry["ab"][0] * carry["ab"][1]) + lib.np.sum(ys**2) + carry["i"]

    return f


def nested(lib: Library) -> Callable[..., Any]:
    """A scan in a scan, with a branch inside, over values of the function around it."""

    def f(w: Any, c: Any, xs: Any) -> Any:
        def outer(total: Any, x: Any) -> Any:
            def inner(v: Any, row: Any) -> Any:
                v = lib.lax.cond(row[0] > 0, lambda v: lib.np.sin(v) * x, lambda v: v + row, v)
                return v, None

            v, _ = lib.lax.scan(inner, total * x, w)
            return lib.np.tanh(v), lib.np.sum(v)

        total, sums = lib.lax.scan(outer, c, xs)
        return lib.np.sum(total) + lib.np.sum(sums**2)

    return f


def branches(lib: Library) -> Callable[..., Any]:
    def f(w: Any, c: Any, xs: Any) -> Any:
        options = [lambda v: v * v, lambda v: lib.np.sin(v) * c, lambda v: w @ v]
        total = lib.lax.switch(1, options, xs[0]) + lib.lax.switch(7, options, xs[1])
        total += lib.lax.cond(c[0] > 0, lambda a, b: a * b, lambda a, b: a - b, xs[2], c)
        total += lib.lax.cond(c[0] <= 0, lambda a, b: a * b, lambda a, b: a - b, xs[2], c)
        return lib.np.sum(total**2)

    return f


def counted(lib: Library) -> Callable[..., Any]:
    def f(w: Any, c: Any, xs: Any) -> Any:
        v = lib.lax.fori_loop(
            1, 4, lambda i, v: lib.np.sin(w @ v) * i + lib.np.take(xs, i, axis=0), c
        )
        return lib.np.sum(v**2) + lib.np.sum(
            lib.lax.map(lambda x: x[0] * lib.np.sum(x * c), xs) ** 2
        )

    return f


def of_one_trip(lib: Library) -> Callable[..., Any]:
    def f(w: Any, c: Any, xs: Any) -> Any:
        carry, ys = lib.lax.scan(lambda c, x: (w @ c * x, c * x), c, xs[:1])
        return lib.np.sum(carry * ys[0])

    return f


def of_no_trip(lib: Library) -> Callable[..., Any]:
    def f(w: Any, c: Any, xs: Any) -> Any:
        carry, ys = lib.lax.scan(lambda c, x: (w @ c * x, c * x), c, xs[:0])
        return lib.np.sum(carry**2) + lib.np.sum(ys) + lib.np.sum(w) * ys.shape[0]

    return f


PROGRAMS: dict[str, Callable[[Library], Callable[..., Any]]] = {
    "scan": recurrent,
    "scan in reverse": lambda lib: recurrent(lib, True),
    "trees": trees,
    "nested": nested,
    "branches": branches,
    "fori and map": counted,
    "one trip": of_one_trip,
    "no trip": of_no_trip,
}


def while_program(lib: Library) -> Callable[..., Any]:
    def f(w: Any, c: Any, xs: Any) -> Any:
        def going(state: Any) -> Any:
            return lib.np.sum(state[1] ** 2) < 50.0

        def step(state: Any) -> Any:
            i, v = state
            return i + 1, v * 1.3 + lib.np.sin(w @ v) + xs[0] ** 2 + 0.1

        i, v = lib.lax.while_loop(going, step, (0, c))
        return lib.np.sum(v * xs[1]) + i

    return f


EVERYTHING = {**PROGRAMS, "while": while_program}
ARGS = (W, C, XS)
BATCH = tuple(np.stack([x, 0.5 * x, -x]) for x in ARGS)


@pytest.mark.oracle
@pytest.mark.parametrize("compiled", [False, True], ids=["Python", "jit"])
@pytest.mark.parametrize("name", EVERYTHING)
class TestAgainstJax:
    def both(self, name: str, compiled: bool) -> tuple[Any, Any]:
        ours, theirs = EVERYTHING[name](OURS), EVERYTHING[name](THEIRS)
        return (kn.jit(ours) if compiled else ours), theirs

    def test_values(self, name: str, compiled: bool) -> None:
        ours, theirs = self.both(name, compiled)
        close(ours(*ARGS), theirs(*ARGS))

    def test_jvp(self, name: str, compiled: bool) -> None:
        ours, theirs = self.both(name, compiled)
        tangents = tuple(np.cos(x) for x in ARGS)
        close(kn.jvp(ours, ARGS, tangents), jax.jvp(theirs, ARGS, tangents), 1e-10)

    def test_grad(self, name: str, compiled: bool) -> None:
        ours, theirs = self.both(name, compiled)
        if name == "while":  # of which JAX has no reverse mode
            want = jax.jacfwd(theirs, (0, 1, 2))(*ARGS)
        else:
            want = jax.grad(theirs, (0, 1, 2))(*ARGS)
        for f in (kn.grad(ours, (0, 1, 2)), kn.jit(kn.grad(ours, (0, 1, 2)))):
            close(f(*ARGS), want, 1e-10)

    def test_vmap(self, name: str, compiled: bool) -> None:
        ours, theirs = self.both(name, compiled)
        want = np.stack([theirs(*[x[i] for x in BATCH]) for i in range(3)])
        for f in (kn.vmap(ours), kn.jit(kn.vmap(ours))):
            close(f(*BATCH), want, 1e-10)
        want = np.stack([theirs(W, C, x) for x in BATCH[2]])
        close(kn.vmap(ours, (None, None, 0))(W, C, BATCH[2]), want, 1e-10)

    def test_vmap_of_grad(self, name: str, compiled: bool) -> None:
        ours, theirs = self.both(name, compiled)
        derivative = jax.jacfwd(theirs) if name == "while" else jax.grad(theirs)
        want = np.stack([derivative(*[x[i] for x in BATCH]) for i in range(3)])
        for f in (kn.vmap(kn.grad(ours)), kn.jit(kn.vmap(kn.grad(ours)))):
            close(f(*BATCH), want, 1e-10)

    def test_second_order(self, name: str, compiled: bool) -> None:
        ours, theirs = self.both(name, compiled)
        if name == "while":
            want = jax.jacfwd(lambda c: jnp.sum(jax.jacfwd(theirs, 1)(W, c, XS) ** 2))(C)
        else:
            want = jax.grad(lambda c: jnp.sum(jax.grad(theirs, 1)(W, c, XS) ** 2))(C)

        def twice(c: Any, w: Any = W, xs: Any = XS) -> Any:
            return np.sum(kn.grad(lambda c: ours(w, c, xs))(c) ** 2)

        close(kn.grad(twice)(C), want, 1e-9)
        close(kn.jit(kn.grad(twice))(C, W, XS), want, 1e-9)
        outer = jax.jacfwd if name == "while" else jax.jacrev
        hessian = jax.jacfwd(outer(lambda c: theirs(W, c, XS)))(C)
        for first in (kn.jacfwd, kn.jacrev):
            for second in (kn.jacfwd, kn.jacrev):
                close(second(first(lambda c: ours(W, c, XS)))(C), hessian, 1e-9)


@pytest.mark.parametrize("name", EVERYTHING)
def test_compiled_loops_have_the_bits_of_python(name: str) -> None:
    f = EVERYTHING[name](OURS)
    for g in (f, kn.grad(f, (0, 1, 2)), lambda *args: kn.jvp(f, args, args)):
        for want, got, args in (
            (g, kn.jit(g), ARGS),
            (kn.vmap(g), kn.jit(kn.vmap(g)), BATCH),
            (kn.vmap(g), kn.vmap(kn.jit(g)), BATCH),
        ):
            same_bits(kn.tree.leaves(got(*args)), kn.tree.leaves(want(*args)), "jit")


# ---- predicates and lengths that differ within a batch -------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
def test_every_example_takes_its_own_branch(wrap: Any) -> None:
    def f(i: Any, x: Any) -> Any:
        y = kn.switch(i, [np.sin, lambda v: v * v, lambda v: -v], x)
        return y + kn.cond(x[0] > 0, lambda v: v * 2, lambda v: v * 3, x)

    which = np.array([0, 1, 2, 5, -3])
    want = np.stack([f(i, x) for i, x in zip(which, XS, strict=True)])
    for g in (wrap(kn.vmap(f)), kn.vmap(wrap(f))):
        close(g(which, XS), want)
        gradient = kn.vmap(kn.grad(lambda x, i: np.sum(wrap(f)(i, x) ** 2)), (0, 0))
        expected = [
            kn.grad(lambda x, i=i: np.sum(f(i, x) ** 2))(x) for i, x in zip(which, XS, strict=True)
        ]
        close(gradient(XS, which), np.stack(expected))


@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
def test_every_example_loops_as_long_as_it_wants(wrap: Any) -> None:
    def f(x: Any) -> Any:
        return np.sum(kn.while_loop(lambda v: np.sum(v) < 20.0, lambda v: v * 1.5 + 1.0, x))

    xs = np.abs(XS)
    xs[3] += 100.0  # no trip at all
    close(kn.vmap(wrap(f))(xs), np.stack([f(x) for x in xs]))
    close(wrap(kn.vmap(kn.grad(f)))(xs), np.stack([kn.grad(f)(x) for x in xs]))

    def counted(n: Any, x: Any) -> Any:
        return kn.fori_loop(0, n, lambda i, v: np.sin(v) + i, x)

    trips = np.array([0, 3, 1, 7, 2])
    want = np.stack([counted(int(n), x) for n, x in zip(trips, XS, strict=True)])
    close(kn.vmap(wrap(counted))(trips, XS), want)


# The body is infinite or NaN, and so is its derivative, for an example that has had its last trip.
def poisonous(n: Any, x: Any, checkpoint: int | None = None) -> Any:
    def step(state: Any) -> Any:
        i, v = state
        return i + 1, v * np.sqrt(n - i + 0.0) * np.log(n - i) + np.sin(v) / (n - i)

    return kn.while_loop(lambda s: s[0] < n, step, (0, x), checkpoint=checkpoint)[1]


ORDERS = {
    "vmap(f)": lambda d, f: kn.vmap(d(f, 1)),
    "vmap(jit(f))": lambda d, f: kn.vmap(d(kn.jit(f), 1)),
    "jit(vmap(f))": lambda d, f: kn.jit(kn.vmap(d(f, 1))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("checkpoint", [None, 2])
def test_a_finished_example_computes_nothing(order: str, checkpoint: int | None) -> None:
    trips, xs = np.array([0, 3, 5, 2]), np.array([1.3, 0.7, 2.0, -0.4])

    def second(f: Any, argnums: int) -> Any:
        return kn.grad(kn.grad(f, argnums), argnums)

    for derivative in (kn.grad, kn.jacfwd, kn.hessian, second):
        want = [derivative(poisonous, 1)(int(n), x) for n, x in zip(trips, xs, strict=True)]
        f = functools.partial(poisonous, checkpoint=checkpoint)
        close(ORDERS[order](derivative, f)(trips, xs), np.stack(want), 1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("inner", [lambda f: f, kn.jit], ids=["Python", "jit"])
@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
def test_the_derivatives_of_a_batch_know_no_poison(wrap: Any, inner: Any) -> None:
    trips, xs = np.array([0, 3, 5, 2]), np.array([1.3, 0.7, 2.0, -0.4])

    def total(xs: Any) -> Any:
        return np.sum(kn.vmap(inner(poisonous))(trips, xs) ** 2)

    def single(n: Any, x: Any) -> Any:
        return poisonous(n, x) ** 2

    pairs = [(int(n), x) for n, x in zip(trips, xs, strict=True)]
    close(wrap(kn.grad(total))(xs), np.stack([kn.grad(single, 1)(*p) for p in pairs]), 1e-10)
    close(wrap(kn.hessian(total))(xs), np.diag([kn.hessian(single, 1)(*p) for p in pairs]), 1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
@pytest.mark.parametrize("xs", [[0.0, 4.0, -1.0], [0.0, -4.0, -1.0], [1.0, 4.0, 9.0]])
def test_the_other_branch_leaves_no_nan(wrap: Any, xs: list[float]) -> None:
    def f(x: Any) -> Any:
        return kn.cond(x > 0, np.sqrt, lambda x: np.exp(x) * 2, x)

    for g in (kn.grad(lambda x: np.sum(kn.vmap(f)(x))), kn.vmap(kn.grad(f))):
        close(wrap(g)(np.array(xs)), np.stack([kn.grad(f)(x) for x in xs]))
    twice = kn.vmap(lambda a: kn.vmap(lambda b: f(a * b))(np.array(xs)))
    total = wrap(kn.grad(lambda x: np.sum(twice(x))))
    want = [sum(kn.grad(lambda a, b=b: f(a * b))(a) for b in xs) for a in xs]
    close(total(np.array(xs)), np.stack(want))


def test_switch_with_one_branch() -> None:
    f = kn.vmap(lambda i, x: kn.switch(i, [lambda v: v * v], x))
    close(f(np.array([0, 3, -2]), np.arange(3.0)), np.arange(3.0) ** 2)


@pytest.mark.parametrize("checkpoint", [None, 1, 2])
def test_any_derivative_of_a_loop_without_known_end(checkpoint: int | None) -> None:
    def f(x: Any) -> Any:
        def step(state: Any) -> Any:
            return state[0] + 1, np.sin(state[1]) * x + state[1]

        return kn.while_loop(lambda s: s[0] < 5, step, (0, x), checkpoint=checkpoint)[1]

    def plain(x: Any) -> Any:
        v = x
        for _ in range(5):
            v = np.sin(v) * x + v
        return v

    third = kn.grad(kn.grad(kn.grad(plain)))(1.3)
    close(kn.jit(kn.grad(kn.grad(kn.grad(f))))(1.3), third, 1e-9)
    close(kn.grad(kn.jit(kn.grad(kn.grad(f))))(1.3), third, 1e-9)
    close(kn.jit(kn.jacfwd(kn.grad(kn.jacfwd(f))))(1.3), third, 1e-9)
    close(kn.jit(kn.grad(kn.jacfwd(kn.grad(f))))(1.3), third, 1e-9)
    close(kn.hessian(f)(1.3), kn.hessian(plain)(1.3), 1e-10)
    xs = np.linspace(0.5, 1.5, 3)
    want = np.stack([kn.grad(kn.grad(plain))(x) for x in xs])
    close(kn.jit(kn.vmap(kn.grad(kn.grad(f))))(xs), want, 1e-10)


def test_the_second_derivative_of_a_loop_in_a_scan() -> None:
    def f(w: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            v = kn.while_loop(lambda v: np.sum(v**2) < 4.0, lambda v: v * 1.4 + w, c * x)
            return np.sin(v), kn.cond(v[0] > 0, inner_loop, lambda v: v * w, v)

        c, ys = kn.scan(step, w, xs)
        return np.sum(c) + np.sum(ys**2)

    def twice(w: Any) -> Any:
        return np.sum(kn.grad(f)(w, XS) ** 2)

    close(kn.jit(kn.grad(twice))(C), kn.grad(twice)(C), 1e-8)


def inner_loop(v: Any) -> Any:
    return kn.while_loop(lambda u: np.sum(u**2) < 4.0, lambda u: u * 1.4 + 0.3, v)


NESTED = {
    "while in scan": lambda w, x: kn.scan(
        lambda c, v: (np.sin(inner_loop(c * v)), inner_loop(v) * w), x, np.stack([x, w])
    ),
    "while in cond": lambda w, x: kn.cond(
        np.sum(x) > 0, lambda v: inner_loop(v * w), lambda v: v - inner_loop(w), x
    ),
    "while in while": lambda w, x: kn.while_loop(
        lambda s: s[0] < 3, lambda s: (s[0] + 1, np.sin(inner_loop(s[1] * w)) + 0.2), (0, x)
    )[1],
    "while of the shared alone": lambda w, x: inner_loop(w) * x,
    "cond in while": lambda w, x: kn.while_loop(
        lambda s: np.sum(s**2) < 9.0,
        lambda s: kn.cond(s[0] > 0, lambda s: s * 1.5 + w, lambda s: s * w - 0.8, s),
        x,
    ),
    "checkpoint in while": lambda w, x: kn.while_loop(
        lambda s: np.sum(s**2) < 9.0, lambda s: kn.checkpoint(lambda v: v * 1.5 + np.sin(w))(s), x
    ),
    "jit in while": lambda w, x: (
        kn.while_loop(lambda s: np.sum(s**2) < 9.0, kn.jit(lambda s: s * 1.5 + 0.1), x) * w
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_loops_in_loops(name: str) -> None:
    """Every combination of the transformations gives what ordinary Python gives."""

    def f(w: Any, x: Any) -> Any:
        return sum(np.sum(np.sin(y)) for y in kn.tree.leaves(NESTED[name](w, x)))

    w = np.array([0.9, 1.1])
    xs = np.array([[0.3, 0.5], [-0.7, 0.2], [0.1, -0.9], [2.0, 3.0]])
    grad = kn.grad(f, (0, 1))
    each = [grad(w, x) for x in xs]
    kn.testing.check_grads(f, (w, xs[0]), order=1)
    for x, want in zip(xs, each, strict=True):
        close(kn.jit(f)(w, x), f(w, x))
        close(kn.jit(grad)(w, x), want)
        close(kn.grad(kn.jit(f), (0, 1))(w, x), want)
    stacked = [np.stack(column) for column in zip(*each, strict=True)]
    for g in (kn.vmap(grad, (None, 0)), kn.jit(kn.vmap(grad, (None, 0)))):
        close(list(g(w, xs)), stacked)
    close(list(kn.vmap(kn.grad(kn.jit(f), (0, 1)), (None, 0))(w, xs)), stacked)
    close(list(kn.vmap(kn.jit(grad), (None, 0))(w, xs)), stacked)
    shared = kn.grad(lambda w: np.sum(kn.vmap(kn.jit(f), (None, 0))(w, xs)))(w)
    close(shared, np.sum(stacked[0], axis=0))
    many = np.stack([xs, xs[::-1]])
    twice = kn.vmap(kn.vmap(kn.grad(kn.jit(f), (0, 1)), (None, 0)), (None, 0))(w, many)
    close(list(twice), [np.stack([g, g[::-1]]) for g in stacked])
    directions = np.cos(xs)
    want = [np.sum(g[1] * d) for g, d in zip(each, directions, strict=True)]
    got = kn.vmap(lambda x, d: kn.jvp(lambda x: kn.jit(f)(w, x), (x,), (d,))[1])(xs, directions)
    close(got, np.stack(want))


def test_traced_bounds() -> None:
    f = kn.jit(lambda n, x: kn.fori_loop(2, n, lambda i, v: v * i, x))
    assert [float(f(n, 1.0)) for n in (0, 2, 3, 5)] == [1.0, 1.0, 2.0, 24.0]
    assert len(f.traces) == 1
    g = kn.jit(kn.grad(lambda x, n: kn.fori_loop(0, n, lambda i, v: v * x, x)))
    assert float(g(2.0, 3)) == 32.0


# ---- kinds of carries ----------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
def test_python_numbers_in_the_carry(wrap: Any) -> None:
    """They take the dtype that the body makes of them."""
    single = np.ones(3, np.float32)

    def f(x: Any) -> Any:
        total, _ = kn.scan(lambda c, v: (c + np.sum(v), None), 0.0, x)
        i, y = kn.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * np.sum(x)), (0, 1))
        return total, i, y

    total, i, y = wrap(f)(single)
    assert total.dtype == np.float32
    assert (total, i, y) == (3.0, 3, 27.0)
    assert kn.fori_loop(0, 3, lambda i, v: v + i, 0) == 3


@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
@pytest.mark.parametrize("trips", [0, 1, 2, 5])
def test_one_dtype_for_every_number_of_trips(wrap: Any, trips: int) -> None:
    xs = np.ones(trips, np.float32)
    carry, ys = wrap(lambda xs: kn.scan(lambda c, x: (c + x, c), 0, xs))(xs)
    assert (carry.dtype, ys.dtype) == (np.float32, np.float32)
    assert carry == trips
    assert list(ys) == list(range(trips))
    counted = wrap(lambda: kn.fori_loop(0, trips, lambda i, v: v * np.float32(2), 1))()
    assert counted.dtype == np.float32
    assert counted == 2**trips
    kept, _ = wrap(lambda xs: kn.scan(lambda c, x: (1.0, None), np.float32(1), xs))(xs)
    assert kept.dtype == np.float32


@pytest.mark.parametrize("trips", [0, 1, 2])
def test_the_counter_is_an_int64(trips: int) -> None:
    x = np.ones(3, np.float32)
    for f in (lambda g: g, kn.jit, kn.vmap):
        y = f(lambda x: kn.fori_loop(0, trips, lambda i, v: v * i.astype(v.dtype), x))(x)
        assert y.dtype == np.float32


CLOSING = {
    "cond": lambda s, x: kn.cond(x[0] > 0, lambda v: np.sin(v) * s, lambda v: v, x),
    "switch": lambda s, x: kn.switch((x[0] > 0) * 1, [lambda v: np.sin(v) * s, lambda v: v], x),
    "while": lambda s, x: kn.while_loop(lambda v: v[0] < 9, lambda v: v * s, x),
    "scan": lambda s, x: kn.scan(lambda c, _: (c * s, c), x, None, length=2)[0],
}


@pytest.mark.parametrize("name", CLOSING)
def test_python_numbers_that_a_body_closes_over_stay_weak(name: str) -> None:
    x = np.ones(3, np.float32)

    def total(s: Any, x: Any) -> Any:
        return np.sum(CLOSING[name](s, x))

    def several(s: Any, x: Any) -> Any:
        return kn.vmap(kn.grad(lambda v: total(s, v)))(np.stack([x, 2 * x]))

    def second(s: Any, x: Any) -> Any:
        return kn.grad(lambda v: np.sum(kn.grad(lambda u: total(s, u) ** 2)(v)))(x)

    for f in (CLOSING[name], kn.grad(total, 1), several, second):
        got, want = kn.jit(f)(2.0, x), f(2.0, x)
        assert got.dtype == want.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_bodies_that_close_over_much_compile_in_linear_time() -> None:
    """What grows faster than the program: a hundred copies of a constant for each branch, or for
    each array all the others that it might overlap with."""

    def captured(arrays: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            for array in arrays:
                c = c * array
            return c, None

        return np.sum(kn.scan(step, np.ones(3), None, length=2)[0])

    def switched(count: int) -> Any:
        options = [lambda v, k=k: np.sin(v) * np.cos(v * k) for k in range(count)]
        return lambda x, i: np.sum(kn.switch(i, options, x))

    def length(f: Any, *args: Any) -> int:
        return len(kn.jit(kn.grad(f)).lower(*args).source)

    few, many = [[np.full(3, 1.0 + i) for i in range(n)] for n in (20, 80)]
    assert length(captured, many) < 6 * length(captured, few)
    assert length(switched(32), few[0], 1) < 6 * length(switched(8), few[0], 1)


def test_no_results_and_no_slices() -> None:
    for wrap in (lambda f: f, kn.jit):
        assert wrap(lambda x: kn.scan(lambda c, _: (c * 2, None), x, None, length=4))(1.0) == (
            16.0,
            None,
        )
        carry, ys = wrap(lambda x: kn.scan(lambda c, v: ((), v * 2), (), x))(XS)
        assert carry == ()
        np.testing.assert_array_equal(ys, XS * 2)
        got = wrap(lambda x: kn.scan(lambda c, v: (c, (c, 3)), x[0], x, length=5)[1])(XS)
        assert got[1].tolist() == [3] * 5


def test_results_keep_their_dtype() -> None:
    xs = np.arange(4, dtype=np.int8)
    for wrap in (lambda f: f, kn.jit):
        carry, ys = wrap(lambda xs: kn.scan(lambda c, x: (c + x, x > 1), np.int8(0), xs))(xs)
        assert np.asarray(carry).dtype == np.int8
        assert ys.dtype == bool
        empty = wrap(lambda xs: kn.scan(lambda c, x: (c + x, {"b": x > 1}), np.int8(0), xs[:0]))(
            xs
        )[1]
        assert empty["b"].dtype == bool
        assert empty["b"].shape == (0,)


def test_complex_loops() -> None:
    z = XS[0] + 1j * XS[1]
    for f in (
        lambda z: kn.scan(lambda c, v: (c * v, c + v), z[0], z)[0],
        lambda z: kn.fori_loop(0, 2, lambda i, v: v * v, z)[0],
    ):
        got = kn.grad(lambda z, f=f: np.real(f(z)))(z)
        np.testing.assert_allclose(kn.grad(kn.jit(lambda z, f=f: np.real(f(z))))(z), got)


# ---- closures, effects, keys ---------------------------------------------------------------------


def test_closed_over_values_get_gradients() -> None:
    def f(a: Any, b: Any) -> Any:
        limit = np.sum(b) * 0 + 20.0

        def step(v: Any) -> Any:
            return v * a[0] + b

        v = kn.while_loop(lambda v: np.sum(v) < limit, step, b)
        v = kn.cond(v[0] > 0, lambda: v * a, lambda: v - b)
        return np.sum(kn.fori_loop(0, 2, lambda i, u: u * a + b[i], v))

    a, b = np.array([1.5, 0.7, 0.2]), np.array([1.0, 2.0, 0.5])
    want = kn.grad(f, (0, 1))(a, b)
    kn.testing.check_grads(f, (a, b), order=1)
    close(kn.grad(kn.jit(f), (0, 1))(a, b), want)
    close(kn.jit(kn.grad(f, (0, 1)))(a, b), want)
    tangent = kn.jvp(kn.jit(f), (a, b), (a, b))[1]
    np.testing.assert_allclose(tangent, np.sum(want[0] * a) + np.sum(want[1] * b))


def test_effects_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            kn.debug.print("carry {}", c)
            return c + v, None

        def talk(v: Any) -> Any:
            kn.debug.print("positive {}", v)
            return v

        total, _ = kn.scan(body, 0.0, x)
        total = kn.cond(total > 0, talk, lambda v: v, total)
        return kn.while_loop(lambda v: v < 10.0, lambda v: talk(v) * 2, total)

    x = np.array([1.0, 2.0])
    f(x)
    want = capsys.readouterr().out
    assert want.splitlines() == ["carry 0.0", "carry 1.0", *[f"positive {v}.0" for v in (3, 3, 6)]]
    jitted = kn.jit(f)
    for _ in range(2):
        jitted(x)
        assert capsys.readouterr().out == want


def test_keys_in_loops() -> None:
    def f(key: Any) -> Any:
        def body(key: Any, _: Any) -> Any:
            key, draw = key.split()
            return key, kn.random.normal(draw, (2,))

        return kn.scan(body, key, None, length=3)[1]

    got = f(kn.random.key(1))
    np.testing.assert_array_equal(kn.jit(f)(kn.random.key(1)), got)
    assert len(np.unique(got)) == 6


# ---- checkpoint ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_checkpoint_changes_no_derivative(wrap: Any, k: int, reverse: bool) -> None:
    def f(w: Any, c: Any, checkpoint: int | None) -> Any:
        def body(c: Any, x: Any) -> Any:
            c = np.tanh(w @ c + x)
            return c, c * x

        carry, ys = kn.scan(body, c, XS, reverse=reverse, checkpoint=checkpoint)
        u = kn.fori_loop(0, 4, lambda i, v: np.sin(w @ v) + i, carry, checkpoint=checkpoint)
        v = kn.while_loop(
            lambda v: np.sum(v**2) < 30.0, lambda v: v * 1.4 + w[0] ** 2, u, checkpoint=checkpoint
        )
        return np.sum(v) + np.sum(ys**2)

    want = kn.value_and_grad(lambda w, c: f(w, c, None), (0, 1))(W, C)
    close(kn.value_and_grad(wrap(lambda w, c: f(w, c, k)), (0, 1))(W, C), want)
    close(wrap(kn.value_and_grad(lambda w, c: f(w, c, k), (0, 1)))(W, C), want)


def test_checkpoint_saves_memory() -> None:
    def f(x: Any, checkpoint: int | None) -> Any:
        def body(c: Any, _: Any) -> Any:
            for _ in range(5):
                c = np.tanh(np.sin(c) * 1.1)
            return c, None

        return np.sum(kn.scan(body, x, None, length=64, checkpoint=checkpoint)[0])

    x = rng.normal(size=20_000)
    peaks = []
    for checkpoint in (None, 8):
        tracemalloc.start()
        kn.grad(lambda x, k=checkpoint: f(x, k))(x)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] / 3


# ---- errors --------------------------------------------------------------------------------------


def told(f: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(ControlFlowError) as caught:
        f(*args)
    assert isinstance(caught.value, TypeError)
    text = re.sub(r"test_control_flow\.py:\d+", "test_control_flow.py:N", str(caught.value))
    return re.sub(r"tests/", "", text)


@pytest.mark.parametrize("wrap", [lambda f: f, kn.jit], ids=["Python", "jit"])
class TestErrors:
    def test_the_carry_changes_its_kind(self, wrap: Any) -> None:
        f = wrap(lambda x: kn.scan(lambda c, v: ({"a": c["a"][:1], "b": c["b"]}, v), x, XS))
        carry = {"a": np.ones(2), "b": np.ones(3)}
        assert told(f, carry).startswith(
            "the body of scan changes the kind of the carry, at test_control_flow.py:N  kn.scan("
        )
        assert "\n  a: float64[2] goes in, float64[1] comes out\n" in told(f, carry)
        f = wrap(lambda x: kn.while_loop(lambda v: v[0] < 9, lambda v: v.astype(np.float32), x))
        assert "\n  carry: float64[2] goes in, float32[2] comes out\n" in told(f, np.ones(2))

    def test_the_carry_changes_its_tree(self, wrap: Any) -> None:
        f = wrap(lambda x: kn.fori_loop(0, 3, lambda i, v: (v[0],), x))
        text = told(f, (1.0, 2.0))
        assert text.startswith("the body of fori_loop changes the tree of the carry, at ")

    def test_the_body_returns_no_pair(self, wrap: Any) -> None:
        f = wrap(lambda x: kn.scan(lambda c, v: c, x, XS))
        assert "returns (carry, y), and <lambda> returned a " in told(f, 1.0)

    def test_no_one_length(self, wrap: Any) -> None:
        f = wrap(lambda x: kn.scan(lambda c, v: (c, None), x, {"a": XS, "b": XS[:2]}, length=4))
        assert told(f, 1.0).splitlines()[1:] == [
            "  4: length",
            "  5: a float64[5,3]",
            "  2: b float64[2,3]",
        ]
        f = wrap(lambda x: kn.scan(lambda c, v: (c, None), x))
        assert "give xs or length" in told(f, 1.0)
        f = wrap(lambda x: kn.scan(lambda c, v: (c, None), x, 3.0))
        assert "runs over the first axis of xs, and xs is float64[]" in told(f, 1.0)

    def test_predicates(self, wrap: Any) -> None:
        f = wrap(lambda x: kn.cond(x > 0, np.sin, np.cos, x))
        assert told(f, C).startswith("cond wants a scalar predicate, got bool[3], at ")
        assert "np.where(pred, a, b)" in told(f, C)
        f = wrap(lambda x: kn.switch(x, [np.sin], x))
        assert "switch wants an integer, got float64[]" in told(f, 1.0)
        f = wrap(lambda x: kn.switch(0, [], x))
        assert "at least one branch" in told(f, 1.0)
        f = wrap(lambda x: kn.while_loop(lambda v: v > 0, lambda v: v, x))
        assert "the condition of while_loop is one boolean, and <lambda> returned bool[3]" in told(
            f, C
        )
        f = wrap(lambda x: kn.scan(lambda c, v: (c, v), x, XS, checkpoint=0)[0])
        assert "checkpoint is 0" in told(f, C)
        f = wrap(lambda x: kn.while_loop(lambda v: v[0] > 9, lambda v: v, x, checkpoint=-1))
        assert "checkpoint is -1" in told(f, C)


def test_branches_that_differ() -> None:
    f = kn.jit(lambda p, x: kn.cond(p, lambda x: x, lambda x: x[:2], x))
    text = told(f, True, C)
    assert "the branches of cond return float64[2], float64[3], at " in text
    f = kn.jit(lambda p, x: kn.cond(p, lambda x: {"a": x}, lambda x: {"b": x}, x))
    assert "the branches of cond return different trees, at " in told(f, True, C)
    f = kn.jit(lambda p, x: kn.cond(p, lambda x: x, lambda x: 0.0 * x[0] + x[0], x[0]))
    with pytest.raises(IndexError):
        f(True, C)
    # A Python number takes the other branch's dtype.
    f = kn.jit(lambda p, x: kn.cond(p, lambda x: x, lambda x: 0, x))
    assert f(False, np.float32(1)).dtype == np.float32
    with pytest.raises(LeafError, match="operands/0 is a str"):
        kn.jit(lambda p: kn.cond(p, lambda t: 1.0, lambda t: 2.0, "text"))(True)


def test_an_error_in_a_body_names_its_line() -> None:
    def body(c: Any, v: Any) -> Any:
        return c @ v, None

    for transform in (kn.jit, lambda f: kn.grad(lambda x: np.sum(f(x)[0]))):
        with pytest.raises(ValueError, match=r"test_control_flow\.py:\d+  c @ v"):
            transform(lambda x: kn.scan(body, x, XS))(np.ones((2, 2)))


# ---- names ---------------------------------------------------------------------------------------


def test_names() -> None:
    for name in ("cond", "switch", "scan", "map", "fori_loop", "while_loop"):
        assert getattr(kn, name) is getattr(kn.transforms, name)
        assert name in kn.__all__


def test_the_loop_of_the_source_is_readable() -> None:
    source = kn.jit(lambda x: kn.scan(lambda c, v: (np.sin(c) + v, c), x[0], x)[0]).lower(XS).source
    assert re.search(r"^def body\(", source, re.MULTILINE)
    assert "scan(" in source
    assert source.count("def ") == 2
