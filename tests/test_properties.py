"""Properties that hold for all shapes, dtypes, strides, axes and indices; Hypothesis draws them."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import kinone as kn
from kinone import ops
from kinone.core import shape_dtype
from kinone.testing import check_grads
from kinone.testing.gradients import inner, random_like

FLOATS = st.sampled_from([np.float64, np.float32, np.float16])


def numbers(shape: tuple[int, ...], seed: int = 0, dtype: Any = np.float64) -> Any:
    """Distinct, away from zero and from one another: no ties, no kinks."""
    size = int(np.prod(shape))
    flat = np.random.default_rng(seed).permutation(size) * 0.37 - size * 0.185 + 0.11
    return flat.reshape(shape).astype(dtype)


@st.composite
def restrided(draw: st.DrawFn, shape: tuple[int, ...], seed: int) -> Any:
    """The same numbers in some memory layout: C, Fortran, reversed, with gaps, zero strides."""
    x = numbers(shape, seed)
    kind = draw(st.sampled_from(["c", "f", "reversed", "gaps", "zero"]))
    if kind == "f":
        return np.asfortranarray(x)
    if not x.ndim:
        return x
    if kind == "reversed":
        return np.ascontiguousarray(x[::-1])[::-1]
    if kind == "gaps":
        wide = np.zeros([2 * n for n in shape])
        wide[tuple(slice(None, None, 2) for _ in shape)] = x
        return wide[tuple(slice(None, None, 2) for _ in shape)]
    if kind == "zero":
        return np.broadcast_to(x[:1], shape) if shape[0] else x
    return x


def check(f: Any, *xs: Any) -> None:
    """Value in both modes and by graph; ⟨g, jvp(t)⟩ = ⟨vjp(g), t⟩; derivative by differences;
    cotangents like their arguments."""
    want = f(*xs)
    y, pullback = kn.vjp(f, *xs)
    rng = np.random.default_rng(0)
    t = random_like(rng, xs)
    again, tangent = kn.jvp(f, xs, t)
    program = kn.graph(f)(*xs)
    for got in (y, again, program(*xs)):
        for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
            assert shape_dtype(a).dtype == shape_dtype(b).dtype
            np.testing.assert_array_equal(a, b)
    for atom, b in zip(program.outputs, kn.tree.leaves(want), strict=True):
        assert atom.aval.shape == np.shape(b)
        assert atom.aval.dtype == shape_dtype(b).dtype
    g = random_like(rng, y)
    cts = pullback(g)
    for x, ct in zip(xs, cts, strict=True):
        assert np.shape(ct) == np.shape(x)
        assert shape_dtype(ct).dtype == shape_dtype(x).dtype
    left, right = inner(g, tangent), inner(cts, t)
    scale = sum(
        float(np.sum(np.abs(np.asarray(c) * np.asarray(d)))) for c, d in zip(cts, t, strict=True)
    )
    assert abs(left - right) <= 1e-11 * max(scale, abs(left), 1e-12)
    size = max(
        (float(np.max(np.abs(leaf), initial=1.0)) for leaf in kn.tree.leaves(want)), default=1
    )
    check_grads(f, xs, order=1, modes=("fwd",), atol=1e-8 * max(size, 1), rtol=1e-7)


# ---- broadcasting --------------------------------------------------------------------------------

BINARY = [np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.logaddexp, np.hypot]


@given(
    st.data(),
    npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0),
    st.sampled_from(BINARY),
)
def test_binary_broadcasting(data: Any, shapes: Any, f: Any) -> None:
    a = data.draw(restrided(shapes.input_shapes[0], 1))
    b = data.draw(restrided(shapes.input_shapes[1], 2)) + 0.05
    check(f, a, b)


@given(st.data(), npst.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3))
def test_where_broadcasting(data: Any, shapes: Any) -> None:
    flags, a, b = (data.draw(restrided(s, i)) for i, s in enumerate(shapes.input_shapes))
    check(lambda a, b: np.where(flags > 0, a, b), a, b)


@given(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), FLOATS, FLOATS)
def test_binary_dtypes(shapes: Any, first: Any, second: Any) -> None:
    a = (np.abs(numbers(shapes.input_shapes[0], 1)) * 0.1 + 0.5).astype(first)
    b = (np.abs(numbers(shapes.input_shapes[1], 2)) * 0.1 + 0.5).astype(second)
    for f in (np.add, np.multiply, np.divide, np.power, np.maximum, np.arctan2, np.remainder):
        y, pullback = kn.vjp(f, a, b)
        assert y.dtype == f(a, b).dtype
        ca, cb = pullback(np.ones_like(y))
        assert (ca.dtype, ca.shape) == (a.dtype, a.shape)
        assert (cb.dtype, cb.shape) == (b.dtype, b.shape)
        value, tangent = kn.jvp(f, (a, b), (np.ones_like(a), np.ones_like(b)))
        assert tangent.dtype == value.dtype
        assert tangent.shape == value.shape


@given(npst.array_shapes(min_dims=0, max_dims=3, max_side=3), FLOATS, st.data())
def test_python_scalars_are_weak(shape: Any, dtype: Any, data: Any) -> None:
    x = (np.abs(numbers(shape)) * 0.1 + 0.5).astype(dtype)
    scalar = data.draw(st.sampled_from([2, 1.5, True, 3]))
    for f in (
        np.add,
        np.multiply,
        np.divide,
        np.power,
        np.maximum,
        np.arctan2,
        np.hypot,
        np.logaddexp,
        np.remainder,
        np.subtract,
    ):
        for g in (lambda x, f=f: f(x, scalar), lambda x, f=f: f(scalar, x)):
            want = g(x)
            y, pullback = kn.vjp(g, x)
            assert y.dtype == want.dtype
            if want.dtype.kind == "f":
                assert pullback(np.ones_like(y))[0].dtype == dtype
                assert kn.jvp(g, (x,), (x,))[1].dtype == want.dtype
            assert kn.eval_shape(g, x).dtype == want.dtype


# ---- reductions ----------------------------------------------------------------------------------


@st.composite
def reductions(draw: st.DrawFn, min_side: int = 1) -> Any:
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=min_side, max_side=3))
    axis = draw(
        st.one_of(
            st.none(),
            npst.valid_tuple_axes(len(shape)),
            *([st.integers(-len(shape), len(shape) - 1)] if shape else []),
        )
    )
    return draw(restrided(shape, 3)), axis, draw(st.booleans())


@given(reductions(min_side=0))
def test_sums(drawn: Any) -> None:
    x, axis, keepdims = drawn
    check(lambda x: np.sum(x, axis=axis, keepdims=keepdims), x)
    want = np.prod(0.1 * x, axis=axis, keepdims=keepdims)
    got = kn.vjp(lambda x: np.prod(0.1 * x, axis=axis, keepdims=keepdims), x)[0]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert np.shape(got) == np.shape(want)


@given(reductions(), st.sampled_from([np.mean, np.max, np.min, np.var]))
def test_means_and_extrema(drawn: Any, f: Any) -> None:
    x, axis, keepdims = drawn
    hypothesis.assume(0 not in x.strides or f in (np.mean, np.var))  # ties have no derivative
    if f is np.var:
        want = np.var(x, axis=axis, keepdims=keepdims)
        got = kn.vjp(lambda x: np.var(x, axis=axis, keepdims=keepdims), x)[0]
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
        check_grads(lambda x: np.var(x, axis=axis, keepdims=keepdims), (x,), order=1)
        return
    check(lambda x: f(x, axis=axis, keepdims=keepdims), x)


@given(reductions())
def test_logsumexp_is_what_it_says(drawn: Any) -> None:
    x, axis, keepdims = drawn
    want = np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))
    np.testing.assert_allclose(ops.logsumexp(x, axis, keepdims), want, rtol=1e-12, atol=1e-13)
    check(lambda x: ops.logsumexp(x, axis, keepdims), x)


@given(reductions())
def test_positions(drawn: Any) -> None:
    x, axis, keepdims = drawn
    axis = axis if isinstance(axis, int) else None
    for f in (np.argmax, np.argmin):
        got = kn.vjp(lambda x, f=f: f(x, axis=axis, keepdims=keepdims), x)[0]
        np.testing.assert_array_equal(got, f(x, axis=axis, keepdims=keepdims))


# ---- indexing ------------------------------------------------------------------------------------


@st.composite
def basic_indices(draw: st.DrawFn) -> Any:
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, max_side=4))
    index = draw(npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    return draw(restrided(shape, 4)), index


@st.composite
def fancy_indices(draw: st.DrawFn) -> Any:
    """Integer arrays, boolean masks, slices, integers, None and Ellipsis together."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, max_side=4))
    common = draw(npst.array_shapes(min_dims=1, max_dims=2, max_side=3))
    entries: list[Any] = []
    position = 0
    while position < len(shape):
        n = shape[position]
        kind = draw(st.sampled_from(["array", "list", "slice", "integer", "none", "stop"]))
        if kind == "stop":
            break
        if kind == "none":
            entries.append(None)
            continue
        if kind == "array":
            inner_shape = draw(st.sampled_from([common, common[-1:], (1,), ()]))
            entries.append(
                draw(npst.arrays(np.int64, inner_shape, elements=st.integers(-n, n - 1)))
            )
        elif kind == "list":
            entries.append(
                draw(st.lists(st.integers(-n, n - 1), min_size=common[-1], max_size=common[-1]))
            )
        elif kind == "slice":
            entries.append(draw(st.slices(n)))
        else:
            entries.append(draw(st.integers(-n, n - 1)))
        position += 1
    if position < len(shape) and draw(st.booleans()):
        entries.insert(draw(st.integers(0, len(entries))), Ellipsis)
    return draw(restrided(shape, 5)), tuple(entries)


@st.composite
def masks(draw: st.DrawFn) -> Any:
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, max_side=4))
    ndim = draw(st.integers(1, len(shape)))
    mask = draw(npst.arrays(np.bool_, shape[:ndim]))
    return draw(restrided(shape, 6)), draw(
        st.sampled_from([mask, (mask,), (mask, ...), (None, mask)])
    )


@given(st.one_of(basic_indices(), fancy_indices(), masks()))
@settings(max_examples=300)
def test_indexing_and_its_transpose(drawn: Any) -> None:
    x, index = drawn
    try:
        want = x[index]
    except IndexError:
        with pytest.raises(IndexError):
            kn.vjp(lambda x: x[index], x)
        return
    y, pullback = kn.vjp(lambda x: x[index], x)
    np.testing.assert_array_equal(y, want)
    assert np.shape(y) == np.shape(want)
    g = np.asarray(numbers(np.shape(want), 7))
    scattered = np.zeros(x.shape)
    np.add.at(scattered, index, g)
    np.testing.assert_allclose(pullback(g[()])[0], scattered, rtol=1e-13)
    tangent = kn.jvp(lambda x: x[index], (x,), (x * 2,))[1]
    np.testing.assert_array_equal(tangent, (x * 2)[index])
    # The transpose of the transpose is the indexing again.
    twice = kn.vjp(lambda g: pullback(g)[0], g[()])[1](x * 3)[0]
    np.testing.assert_allclose(twice, (x * 3)[index])
    if not any(
        getattr(i, "dtype", None) == np.bool_
        for i in (index if isinstance(index, tuple) else (index,))
    ):
        assert kn.eval_shape(lambda x: x[index], x).shape == want.shape
        program = kn.graph(lambda x: x[index])(x)
        np.testing.assert_array_equal(program(x), want)


@given(st.one_of(basic_indices(), fancy_indices(), masks()))
def test_updates(drawn: Any) -> None:
    x, index = drawn
    try:
        shape = np.shape(x[index])
    except IndexError:
        return
    v = numbers(shape, 8)
    want = np.array(x)
    np.add.at(want, index, v)
    got, pullback = kn.vjp(lambda x, v: x.at[index].add(v), x, v)
    np.testing.assert_allclose(got, want, rtol=1e-13)
    g = numbers(x.shape, 9)
    gx, gv = pullback(g)
    np.testing.assert_array_equal(gx, g)
    np.testing.assert_array_equal(gv, g[index])
    hit = np.zeros(x.shape, int)
    np.add.at(hit, index, 1)
    if hit.max(initial=0) <= 1:  # of a place set twice, which value counts is NumPy's business
        check(lambda x, v: ops.set_at(x, index, v), x, v)
        replaced = np.array(x)
        replaced[index] = v
        np.testing.assert_array_equal(kn.vjp(lambda x: x.at[index].set(v), x)[0], replaced)


# ---- matmul --------------------------------------------------------------------------------------


@given(
    st.data(),
    npst.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=2, max_side=3),
)
def test_matmul(data: Any, shapes: Any) -> None:
    a, b = (data.draw(restrided(s, i)) for i, s in enumerate(shapes.input_shapes))
    f = np.matmul
    np.testing.assert_allclose(kn.vjp(f, a, b)[0], f(a, b), rtol=1e-13, atol=1e-14)
    y, pullback = kn.vjp(f, a, b)
    assert [np.shape(ct) for ct in pullback(np.ones_like(y))] == [a.shape, b.shape]
    check_grads(f, (a, b), order=2, atol=1e-6, rtol=1e-7)
    program = kn.graph(f)(a, b)
    np.testing.assert_array_equal(program(a, b), f(a, b))


# ---- moving elements -----------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=30)
def test_moving_elements(data: Any) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=4, max_side=3, min_side=0))
    x = data.draw(restrided(shape, 1))
    n = len(shape)
    axes = tuple(data.draw(st.permutations(range(-n, 0))))
    widths = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=n, max_size=n)
    )
    place = data.draw(st.integers(-n - 1, n))
    i, j = data.draw(st.integers(-n, n - 1)), data.draw(st.integers(-n, n - 1))
    count = data.draw(st.integers(1, 3))
    check(lambda x: np.transpose(x, axes), x)
    check(lambda x: np.pad(x, widths), x)
    check(lambda x: np.pad(x, widths, constant_values=2.5), x)
    check(lambda x: np.expand_dims(x, place), x)
    check(lambda x: np.moveaxis(x, i, j), x)
    check(lambda x: np.swapaxes(x, i, j), x)
    check(lambda x: np.squeeze(x), x)
    check(lambda x: np.reshape(x, shape[::-1]), x)
    check(lambda x: np.ravel(x), x)
    check(lambda x: np.concatenate([x] * count, axis=i), x)
    check(lambda x, y: np.stack([x, y, x], axis=place), x, numbers(shape, 2))
    check(lambda x: np.broadcast_to(x, (2, *shape)), x)
    check(lambda x, y: np.concatenate([x, y, x[:1]], axis=0), x, numbers((2, *shape[1:]), 2))


# ---- random programs -----------------------------------------------------------------------------

STEPS: dict[str, Any] = {
    "sin": np.sin,
    "tanh": np.tanh,
    "softplus": ops.softplus,
    "sigmoid": ops.sigmoid,
    "square": lambda x: 0.3 * x * x,
    "scale": lambda x: 1.5 * x - 0.25,
    "inverse": lambda x: 1 / (2 + x * x),
    "centre": lambda x: x - np.mean(x, axis=-1, keepdims=True),
    "matmul": lambda x: x @ np.cos(np.arange(9.0)).reshape(3, 3),
    "outer": lambda x: x.T @ x,
    "roll": lambda x: np.concatenate([x[:, 1:], x[:, :1]], axis=1),
    "gather": lambda x: x[np.array([2, 0, 0])],
    "lse": lambda x: x + ops.logsumexp(x, axis=0),
    "branch": lambda x: np.where(x > 0.123, x, 0.5 * x * x),
    "root": lambda x: np.sqrt(1 + x * x),
    "log": lambda x: np.log(1.1 + x * x),
    "power": lambda x: (1.5 + np.tanh(x)) ** 2.5,
    "update": lambda x: x.at[1].add(np.sin(x[0])) if hasattr(x, "at") else x,
    "python": lambda x: x * 2 if x[0, 0] > 0.05 else np.cos(x),
    "total": lambda x: x * np.sum(x) / 9,
}


@given(
    st.lists(st.sampled_from([s for s in STEPS if s != "update"]), min_size=1, max_size=6),
    st.integers(0, 2**16),
)
@settings(max_examples=150)
def test_random_programs(steps: list[str], seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1, 1, (3, 3))
    weights = np.cos(np.arange(9.0)).reshape(3, 3)

    def run(x: Any) -> Any:
        kept = [x]
        for k, step in enumerate(steps):
            x = STEPS[step](x)
            kept.append(x)
            if k % 2:
                x = x + 0.1 * kept[k // 2]  # fan-out
        return np.tanh(0.1 * x)

    def loss(x: Any) -> Any:
        return np.sum(weights * run(x))

    y, pullback = kn.vjp(run, x)
    np.testing.assert_array_equal(y, run(x))
    direction = np.random.default_rng(seed + 1).standard_normal((3, 3))
    _, tangent = kn.jvp(run, (x,), (direction,))
    left, right = np.sum(weights * tangent), np.sum(pullback(weights)[0] * direction)
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)
    gradient = kn.grad(loss)(x)
    np.testing.assert_allclose(gradient, pullback(weights)[0], rtol=1e-12, atol=1e-14)
    forward = kn.jvp(kn.grad(loss), (x,), (direction,))[1]
    reverse = kn.grad(lambda x: np.sum(kn.grad(loss)(x) * direction))(x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-11)
    smooth = not {"python", "branch"} & set(steps)
    if smooth:
        check_grads(loss, (x,), order=1, atol=1e-6, rtol=1e-6)
    if "python" not in steps:
        program = kn.graph(run)(x)
        np.testing.assert_array_equal(program(x), y)
        backward = kn.graph(kn.grad(loss))(x)
        np.testing.assert_array_equal(backward(x), gradient)
        np.testing.assert_array_equal(kn.grad(kn.graph(loss)(x))(x), gradient)


@given(
    npst.arrays(
        st.sampled_from([np.float64, np.float32]),
        npst.array_shapes(max_dims=3, max_side=3),
        elements=st.floats(-8, 8, width=16),
    )
)
def test_linear_functions_have_their_own_derivative(x: Any) -> None:
    def f(x: Any) -> Any:
        return np.sum(x, axis=0) - 2 * x[..., ::-1] + np.mean(x) + x.T.T

    _, tangent = kn.jvp(f, (x,), (x,))
    np.testing.assert_allclose(tangent, f(x), rtol=1e-5, atol=1e-5)
    assert tangent.dtype == x.dtype
