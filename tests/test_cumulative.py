"""Running sums, products and extrema, differences, sampled functions, and the methods of ufuncs."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import torch
from surface import check_everything, check_values, same

import kinone as kn
from kinone.core import Tracer
from kinone.errors import MissingRuleError, TracerAssignmentError
from kinone.ops.samples import POSITIVE, values
from kinone.testing import check_grads

V, W = values(6), values(4, seed=1)
A, C = values(4, 5), values(2, 4, 3)
RISING = np.cumsum(values(6, domain=POSITIVE))
ZEROS = np.array([[2.0, 0.0, 3.0, 4.0], [0.0, 0.0, 1.0, 5.0], [1.0, 2.0, 3.0, 0.0]])

ONE: dict[str, tuple[Any, Any]] = {
    "cumsum": (np.cumsum, A),
    "cumsum axis": (lambda x: x.cumsum(-2), C),
    "cumsum of a number": (np.cumsum, np.array(2.5)),
    "cumsum empty": (lambda x: np.cumsum(x, axis=1), A[:, :0]),
    "cumprod": (np.cumprod, V),
    "cumprod axis": (lambda x: x.cumprod(axis=1), C),
    "cumprod zeros": (lambda x: np.cumprod(x, axis=1), ZEROS),
    "cumprod zeros 0": (lambda x: np.cumprod(x, axis=0), ZEROS),
    "cumulative_sum": (lambda x: np.cumulative_sum(x, axis=0), A),
    "cumulative_sum initial": (lambda x: np.cumulative_sum(x, include_initial=True), V),
    "cumulative_prod initial": (
        lambda x: np.cumulative_prod(x, axis=1, include_initial=True), A),
    "maximum.accumulate": (lambda x: np.maximum.accumulate(x), A),
    "maximum.accumulate axis": (lambda x: np.maximum.accumulate(x, axis=1), A),
    "minimum.accumulate": (lambda x: np.minimum.accumulate(x, axis=-1), C),
    "add.accumulate": (lambda x: np.add.accumulate(x, axis=1), A),
    "multiply.accumulate": (lambda x: np.multiply.accumulate(x), A),
    "diff": (np.diff, A),
    "diff n": (lambda x: np.diff(x, 2, axis=0), A),
    "diff none": (lambda x: np.diff(x, 0), A),
    "diff beyond": (lambda x: np.diff(x, 9, axis=0), A),
    "diff prepend": (lambda x: np.diff(x, prepend=1.0), A),
    "diff both": (lambda x: np.diff(x, axis=0, prepend=x[:1] * 2, append=0.0), A),
    "ediff1d": (np.ediff1d, A),
    "ediff1d ends": (lambda x: np.ediff1d(x, to_end=[1.0, 2.0], to_begin=x[0, 0]), A),
    "gradient": (np.gradient, V),
    "gradient all axes": (np.gradient, A),
    "gradient axis": (lambda x: np.gradient(x, axis=1), C),
    "gradient axes": (lambda x: np.gradient(x, axis=(0, -1)), C),
    "gradient spacing": (lambda x: np.gradient(x, 0.5), A),
    "gradient spacings": (lambda x: np.gradient(x, 0.5, 2.0), A),
    "gradient coordinates": (lambda x: np.gradient(x, RISING), V),
    "gradient equal coordinates": (lambda x: np.gradient(x, 2 * np.arange(6)), V),
    "gradient coordinates 2": (lambda x: np.gradient(x, RISING, edge_order=2), V),
    "gradient mixed": (lambda x: np.gradient(x, 0.5, RISING[:5], edge_order=2), A),
    "gradient of traced coordinates": (lambda x: np.gradient(V, x) if not isinstance(x, Tracer)
                                       else kn.ops.gradient(V, x, edge_order=1), RISING),
    "trapezoid": (np.trapezoid, V),
    "trapezoid dx": (lambda x: np.trapezoid(x, dx=0.5, axis=0), A),
    "trapezoid x": (lambda x: np.trapezoid(x, RISING[:5]), A),
    "trapezoid at x": (lambda x: np.trapezoid(V, x), RISING),
    "trapezoid of matrices": (lambda x: np.trapezoid(x, x**2, axis=0), A),
    "interp": (lambda x: np.interp(x, RISING, V), np.array([0.9, 2.0, 4.2, -1.0, 99.0])),
    "interp ends": (lambda x: np.interp(x, RISING, V, left=-1.0, right=7.0),
                    np.array([0.9, 2.0, 4.2, -1.0, 99.0])),
    "interp points": (lambda x: np.interp(np.array([0.9, 2.0, 4.2, -1.0, 99.0]), RISING, x), V),
    "interp coordinates": (lambda x: np.interp(np.array([0.9, 2.0, 4.2]), x, V), RISING),
    "interp period": (lambda x: np.interp(x, [0.5, 1.0, 6.0], [1.0, 3.0, 2.0], period=7.0),
                      np.array([-20.4, 0.1, 5.0, 6.9, 50.3])),
    "interp one point": (lambda x: np.interp(x, [1.0], [5.0]), V),
    "convolve": (lambda x: np.convolve(x, W), V),
    "convolve same": (lambda x: np.convolve(x, W, "same"), V),
    "convolve valid": (lambda x: np.convolve(x, W, "valid"), V),
    "convolve longer": (lambda x: np.convolve(W, x, "same"), V),
    "correlate": (lambda x: np.correlate(x, W), V),
    "correlate full": (lambda x: np.correlate(x, W, "full"), V),
    "correlate same": (lambda x: np.correlate(x, W, mode="same"), V),
    "correlate longer": (lambda x: np.correlate(W, x, "same"), V),
    "correlate longer valid": (lambda x: np.correlate(W, x, "valid"), V),
    "outer": (lambda x: np.multiply.outer(x, W), V),
    "subtract.outer": (lambda x: np.subtract.outer(x, x), V),
    "maximum.outer": (lambda x: np.maximum.outer(W, x), V),
    "add.reduceat": (lambda x: np.add.reduceat(x, [0, 2, 5]), V),
    "add.reduceat back": (lambda x: np.add.reduceat(x, [3, 1, 2, 2], axis=1), A),
    "dtype=": (lambda x: np.add(x, 1, dtype=np.float64), V),
}  # fmt: skip
TWO: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "convolve": (np.convolve, (V, W)),
    "convolve valid": (lambda a, b: np.convolve(a, b, "valid"), (W, V)),
    "correlate": (lambda a, b: np.correlate(a, b, "full"), (V, W)),
    "correlate valid": (np.correlate, (V, W)),
    "interp all": (lambda x, xp, fp: np.interp(x, np.cumsum(np.exp(xp)), fp),
                   (np.array([0.9, 2.0, 4.2, 99.0]), V, values(6, seed=2))),
    "gradient of both": (lambda f, x: np.gradient(f, np.cumsum(np.exp(x)), edge_order=2),
                         (V, values(6, seed=2))),
    "trapezoid": (np.trapezoid, (V, values(6, seed=2))),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_array(name: str) -> None:
    f, x = ONE[name]
    if name == "gradient of traced coordinates":
        check_grads(f, (x,), order=2)
        same(kn.vjp(f, x)[0], f(x))
        return
    if name in ("interp coordinates", "interp one point"):
        check_values(f, x, vmap=False)
        check_grads(f, (x,), order=2)
        return
    check_everything(f, x)


@pytest.mark.parametrize("name", TWO)
def test_functions_of_several(name: str) -> None:
    f, args = TWO[name]
    check_everything(f, *args)


@pytest.mark.parametrize("dtype", ["f2", "f4", "i1", "u1", "i4", "?", "c8"])
@pytest.mark.parametrize("f", [
    np.cumsum, np.cumprod, lambda x: np.cumsum(x, dtype=np.float32),
    lambda x: np.cumprod(x, dtype="i2"), np.diff, np.ediff1d, np.gradient, np.trapezoid,
    lambda x: np.convolve(x, x), lambda x: np.correlate(x, x[:2], "same"),
    lambda x: np.maximum.accumulate(x), lambda x: np.logical_and.accumulate(x),
    lambda x: np.logical_or.accumulate(x), lambda x: np.add.accumulate(x, dtype="f8"),
    lambda x: np.cumulative_sum(x, include_initial=True),
    lambda x: np.add(x, 1, dtype="c16"), lambda x: np.sqrt(x, dtype="f4"),
    lambda x: np.add.reduceat(x, [0, 2]),
], ids=range(18))  # fmt: skip
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_dtypes(f: Any, dtype: str) -> None:
    x = np.array([3, 0, 2, 1]).astype(dtype)
    try:
        want = f(x)
    except TypeError:
        with pytest.raises(TypeError):
            kn.graph(f)(x)
        return
    program = kn.graph(f)(x)
    assert program.outputs[0].aval.dtype == np.asarray(want).dtype
    same(program(x), want)


def test_products_with_zeros_against_torch() -> None:
    g = np.cos(np.arange(12.0)).reshape(3, 4)
    for axis in (0, 1):
        theirs = torch.tensor(ZEROS, requires_grad=True)
        torch.cumprod(theirs, axis).backward(torch.tensor(g))
        ours = kn.vjp(lambda x, a=axis: np.cumprod(x, a), ZEROS)[1](g)[0]
        np.testing.assert_allclose(ours, theirs.grad, rtol=1e-14)


def test_long_running_products() -> None:
    x = 1.0 + 0.01 * values(1000)
    g = values(1000, seed=3)
    with jax.enable_x64(True):
        want = jax.vjp(jax.numpy.cumprod, x)[1](jax.numpy.asarray(g))[0]
    np.testing.assert_allclose(kn.vjp(np.cumprod, x)[1](g)[0], want, rtol=1e-10)


def test_running_extrema_share_ties() -> None:
    x = np.array([1.0, 2.0, 2.0, 0.0, 2.0, 3.0])
    g = np.array([1.0, 1.0, 2.0, 4.0, 3.0, 7.0])
    got = kn.vjp(np.maximum.accumulate, x)[1](g)[0]
    # 2 stands alone at place 1, with one other at places 2 and 3, with two others at place 4.
    np.testing.assert_allclose(got, [1.0, 1 + 1 + 2 + 1, 1 + 2 + 1, 0.0, 1.0, 7.0])
    tangent = kn.jvp(np.maximum.accumulate, (x,), (np.arange(6.0),))[1]
    np.testing.assert_allclose(np.sum(tangent * g), np.sum(got * np.arange(6.0)))


def test_running_extrema_of_nan() -> None:
    x = np.array([1.0, np.nan, 2.0])
    y, pullback = kn.vjp(np.maximum.accumulate, x)
    np.testing.assert_array_equal(y, np.maximum.accumulate(x))
    np.testing.assert_array_equal(pullback(np.ones(3))[0], [1.0, 0.0, 0.0])


def test_interp_at_the_points_themselves() -> None:
    same(kn.vjp(lambda x: np.interp(x, RISING, V), RISING)[0], V, exact=True)
    x = np.array([np.nan, 1.0])
    same(kn.vjp(lambda x: np.interp(x, RISING, V), x)[0], np.interp(x, RISING, V))
    z = V + 1j * V[::-1]
    same(kn.vjp(lambda x: np.interp(x, RISING, z), V)[0], np.interp(V, RISING, z))


def test_gradients_of_interp_against_jax() -> None:
    x, fp, g = np.array([0.9, 2.0, 4.2, -1.0, 99.0]), V, np.arange(1.0, 6.0)
    with jax.enable_x64(True):
        want = jax.vjp(jax.numpy.interp, x, RISING, fp)[1](jax.numpy.asarray(g))
    got = kn.vjp(kn.ops.interp, x, RISING, fp)[1](g)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_complex_convolution() -> None:
    a, v = V + 1j * V[::-1], W - 0.5j * W[::-1]
    for f in (np.convolve, np.correlate, lambda a, v: np.correlate(a, v, "full")):
        same(kn.graph(f)(a, v)(a, v), f(a, v))


def test_what_ufuncs_do_not_do() -> None:
    for f, match in (
        (lambda x: np.add.at(x, 0, 1.0), r"x = x\.at\[i\]\.add\(v\)"),
        (lambda x: np.sin.at(x, [0]), r"x = x\.at\[i\]\.apply\(np\.sin\)"),
        (lambda x: np.add.accumulate(x, out=np.ones(6)), "out="),
        (lambda x: np.add.reduce(x, out=np.ones(())), "out="),
        (lambda x: np.multiply.outer(x, x, out=np.ones((6, 6))), "out="),
    ):
        with pytest.raises(TracerAssignmentError, match=match):
            kn.vjp(f, V)
    with pytest.raises(MissingRuleError, match=r"np\.where\(mask, np\.sin"):
        kn.vjp(lambda x: np.sin(x, where=V > 0), V)
    with pytest.raises(TypeError):
        kn.vjp(lambda x: np.less(x, 1.0, dtype=np.float64), V)
    same(kn.vjp(lambda x: np.sin(x, where=True, casting="same_kind", order="C"), V)[0], np.sin(V))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.cumsum(x, axis=3),
        lambda x: np.cumulative_sum(x),
        lambda x: np.diff(x, -1),
        lambda x: np.diff(x[0, 0]),
        lambda x: np.diff(x, axis=2),
        lambda x: np.ediff1d(x.astype(np.float32), to_end=1j),
        lambda x: np.gradient(x, edge_order=3),
        lambda x: np.gradient(x[:1, :1]),
        lambda x: np.gradient(x, 1.0, 2.0, 3.0),
        lambda x: np.gradient(x, np.arange(3), 1.0),
        lambda x: np.gradient(x, np.ones((2, 2)), 1.0),
        lambda x: np.interp(x, [], []),
        lambda x: np.interp(x, [1.0, 2.0], [1.0]),
        lambda x: np.interp(x, [1.0, 2.0], [1.0, 2.0], period=0),
        lambda x: np.convolve(x, x),
        lambda x: np.convolve(x[0, :0], x[0]),
        lambda x: np.convolve(x[0], x[0], "other"),
        lambda x: np.correlate(x[0], x[0, :0]),
        lambda x: np.maximum.accumulate(x[0, 0]),
        lambda x: np.add.accumulate(x, axis=4),
    ],
    ids=range(20),
)
def test_refuses_what_numpy_refuses(f: Any) -> None:
    with pytest.raises(Exception) as plain:
        f(A)
    with pytest.raises(plain.type):
        kn.vjp(f, A)
    with pytest.raises(plain.type):
        kn.graph(f)(A)


# ---- ufuncs that no function of NumPy's is named after -------------------------------------------

FOLDED = [
    np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot, np.subtract, np.divide,
]  # fmt: skip
M = values(3, 4)
MASK = np.array([[True, False, True, True], [False, False, True, True], [True, False, False, True]])


@pytest.mark.parametrize("ufunc", FOLDED, ids=lambda ufunc: ufunc.__name__)
def test_reductions_by_any_ufunc(ufunc: np.ufunc) -> None:
    check_everything(lambda x: ufunc.reduce(x), M)
    check_everything(lambda x: ufunc.reduce(x, axis=-1, keepdims=True), M)
    check_everything(lambda x: ufunc.reduce(x, 1, initial=2.0), M)
    check_everything(lambda x: ufunc.reduce(x, where=MASK, initial=1.5), M)
    check_everything(lambda x: ufunc.accumulate(x, axis=1), M)
    check_everything(lambda x: ufunc.reduceat(x, [0, 2, 1, 1]), V)
    check_values(lambda x: ufunc.reduce(x, dtype=np.float32), M)
    check_values(lambda x: ufunc.reduce(x), np.array(2.0))
    check_values(lambda x: ufunc.reduce(x, axis=()), M)
    check_values(lambda x: ufunc.accumulate(x), V[:0])
    if ufunc not in (np.subtract, np.divide):
        check_everything(lambda x: ufunc.reduce(x, axis=None), M)
        check_everything(lambda x: ufunc.reduce(x, axis=(0, 1)), M)


def test_reductions_of_integers_by_any_ufunc() -> None:
    numbers = np.array([[12, 18, 30], [8, 4, 6]], np.int16)
    for ufunc in (np.gcd, np.lcm, np.bitwise_and, np.bitwise_xor, np.subtract, np.divide):
        for f in (ufunc.reduce, ufunc.accumulate, lambda x, u=ufunc: u.reduce(x, axis=1)):
            same(kn.graph(f)(numbers)(numbers), f(numbers))
    same(kn.graph(np.logical_xor.reduce)(numbers)(numbers), np.logical_xor.reduce(numbers))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.subtract.reduce(x, axis=None),
        lambda x: np.divide.reduce(x, axis=(0, 1)),
        lambda x: np.fmax.reduce(x[:, :0], axis=1),
        lambda x: np.fmax.reduce(x, where=MASK),
        lambda x: np.less.reduce(x),
        lambda x: np.divmod.reduce(x),
        lambda x: np.divide.reduce(x, dtype=int),
        lambda x: np.fmax.reduce(x, axis=[0]),
        lambda x: np.subtract.accumulate(x, axis=None),
        lambda x: np.add.reduceat(x, [3]),
        lambda x: np.add.reduceat(x, 0),
    ],
    ids=range(11),
)
def test_reductions_that_numpy_refuses(f: Any) -> None:
    with pytest.raises(Exception) as plain:
        f(M)
    # NumPy's own subclass of TypeError, of some ufuncs once ml_dtypes has given them more loops.
    kind = TypeError if issubclass(plain.type, TypeError) else plain.type
    with pytest.raises(kind):
        kn.vjp(f, M)


def test_sums_over_no_slices() -> None:
    check_values(lambda x: np.add.reduceat(x, []), V)
    check_values(lambda x: np.add.reduceat(x, [], axis=1), M)


def test_unwrap_of_one_angle() -> None:
    for shape in ((3, 1), (1,), (2, 0)):
        check_everything(np.unwrap, values(*shape))


def test_interp_beside_infinity() -> None:
    inf = np.inf
    x = np.array([-inf, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, inf, np.nan])
    for xp, fp in (
        ([0.0, 1.0, 2.0], [10.0, inf, 3.0]),
        ([0.0, 1.0], [10.0, inf]),
        ([-inf, 1.0, 2.0], [10.0, 4.0, 3.0]),
        ([-1.0, 1.0, inf], [10.0, 4.0, 3.0]),
        ([0.0, 1.0, 2.0], [1.0, np.nan, 3.0]),
    ):
        with np.errstate(invalid="ignore"):
            check_values(lambda x, xp=xp, fp=fp: np.interp(x, xp, fp), x)
            y, pull = kn.vjp(lambda fp, xp=xp: np.interp(x[:-1], xp, fp), np.array(fp))
            assert np.isfinite(pull(np.ones_like(y))[0]).all()
    # The value of a point itself belongs to that point, whatever stands beside it.
    fp = np.array([10.0, inf])
    with np.errstate(invalid="ignore"):
        (of_fp,) = kn.vjp(lambda fp: np.interp(np.array([0.0]), [0.0, 1.0], fp), fp)[1](np.ones(1))
    np.testing.assert_array_equal(of_fp, [1.0, 0.0])
    with pytest.raises(TypeError):
        kn.vjp(lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0]), np.array([0.5j]))


def test_hypot_of_one_number() -> None:
    check_values(lambda x: np.hypot.reduce(x), np.array([-3.0]))
    check_values(lambda x: np.hypot.reduce(x, axis=()), M)
