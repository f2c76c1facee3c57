"""Means, variances and covariances."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Array, implements, is_inexact, ndim_of, shape_dtype, shape_of
from .arithmetic import stop_gradient
from .axes import as_array, mean_axes, normalize_axes
from .complex import is_complex
from .concrete import is_known, known
from .plain import composed
from .reduce import Axis, mean_p, reduced_count, selected, sum
from .shape import astype
from .signatures import signature_of
from .transcendental import root


@implements(np.mean)
def mean(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Array:
    """The arithmetic mean over axes, all of them by default; where `where` is true.

    Integers and booleans give float64; float16 sums in float32. Of no elements it is NaN, with
    NumPy's warning.

    >>> float(mean(np.array([1.0, 2.0, 6.0]), where=np.array([True, True, False])))
    1.5
    """
    a = as_array(a)
    axes = mean_axes(axis, ndim_of(a))
    if dtype is None and (where is None or where is True):
        return mean_p(a, axis=axes, keepdims=bool(keepdims))
    inner, result = _dtypes(a, dtype)
    total = sum(a, axes, inner, None, keepdims, where=where)
    return astype(total / reduced_count(a, axes, where, keepdims), result)


def _dtypes(a: Array, dtype: Any) -> tuple[Any, np.dtype[Any]]:
    """The dtypes in which a mean sums and is returned."""
    own = shape_dtype(a).dtype
    if dtype is not None:
        return dtype, np.dtype(dtype)
    if not is_inexact(a):
        return np.float64, np.dtype(np.float64)
    return (np.float32 if own == np.float16 else own), own


@composed(np.var)
def var(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Array:
    """The mean of |a - mean|² over axes; `ddof`, also called `correction`, is taken from the count.

    `mean` is the mean where it is known already, with the reduced axes kept. Of complex numbers
    the result is real. Raises `ValueError` for both `ddof` and `correction`.

    >>> float(var(np.array([1.0, 2.0, 6.0]), ddof=1))
    7.0
    """
    ddof = corrected(ddof, correction)
    a = selected(as_array(a), where, 0)  # what is left out may be NaN, and its square likewise
    if dtype is None and not is_inexact(a):
        dtype = np.float64
    axes = mean_axes(axis, ndim_of(a))
    if mean is None:
        mean = sum(a, axes, dtype, None, True, where=where)
        mean = astype(mean / reduced_count(a, axes, where, True), mean.dtype)
    total = sum(squared_length(a - mean), axes, dtype, None, keepdims, where=where)
    count = reduced_count(a, axes, where, keepdims)
    return astype(total / np.maximum(count - ddof, 0), total.dtype)


def corrected(ddof: float, correction: Any) -> Any:
    """What is taken from the count, under either of its names."""
    if correction is None:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


def squared_length(x: Array) -> Array:
    """|x|², a real number."""
    return np.square(np.real(x)) + np.square(np.imag(x)) if is_complex(x) else np.square(x)


@composed(np.std)
@signature_of(var)
def std(
    a: Array, axis: Axis = None, dtype: Any = None, out: None = None, *args: Any, **kwargs: Any
) -> Array:
    """The square root of `var`. Where all elements are equal its derivative is 0, as a norm's.

    >>> float(std(np.array([1.0, 3.0])))
    1.0
    """
    return deviation(var(a, axis, dtype, None, *args, **kwargs))


def deviation(square: Array) -> Array:
    """The square root of a variance, with derivative 0 at 0.

    That of a variance which was asked for as an integer is one, too; `TypeError` for an array of
    them, as in NumPy.
    """
    found = root(square)
    own = shape_dtype(square).dtype
    if is_inexact(square):
        return found
    if ndim_of(found):
        raise TypeError(
            f"Cannot cast ufunc 'sqrt' output from {shape_dtype(found).dtype} to {own} with "
            "casting rule 'same_kind'"
        )
    return astype(found, own)


@composed(np.average)
def average(
    a: Array,
    axis: Axis = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = False,
) -> Any:
    """Σ wᵢ aᵢ / Σ wᵢ over axes; with `returned` also the sum of the weights.

    `weights` has the shape of `a`, or that of the axes. Raises `ZeroDivisionError` for weights
    that sum to zero where their values are there, `TypeError` or `ValueError` for shapes that do
    not fit.

    >>> float(average(np.array([1.0, 2.0]), weights=np.array([1.0, 3.0])))
    1.75
    """
    a = as_array(a)
    axes = normalize_axes(axis, ndim_of(a))
    if weights is None:
        found = mean(a, axes, keepdims=keepdims)
        scale: Array = np.full((), reduced_count(a, axes, True, False), shape_dtype(found).dtype)
    else:
        weights = fitted(as_array(weights), a, axis)
        kinds = [a.dtype, weights.dtype, *([] if a.dtype.kind in "fc" else [np.float64])]
        dtype = np.result_type(*kinds)
        scale = sum(weights, axes, dtype, None, keepdims)
        if is_known(scale) and np.any(known(scale, "average") == 0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        found = sum(astype(a, dtype) * astype(weights, dtype), axes, None, None, keepdims) / scale
    if not returned:
        return found
    return found, np.broadcast_to(scale, shape_of(found))


def fitted(weights: Array, a: Array, axis: Axis) -> Array:
    """Weights in a shape that broadcasts with `a` and has the axes' lengths."""
    shape = shape_of(a)
    if shape_of(weights) == shape:
        return weights
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = normalize_axes(axis, len(shape))
    if shape_of(weights) != tuple([shape[i] for i in axes]):
        raise ValueError(
            "Shape of weights must be consistent with shape of a along specified axis."
        )
    order = sorted(range(len(axes)), key=lambda place: axes[place])
    weights = np.transpose(weights, order)
    return np.reshape(weights, [n if i in axes else 1 for i, n in enumerate(shape)])


@composed(np.cov)
def cov(
    m: Array,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Array:
    """The covariances of variables, which are the rows (columns unless `rowvar`) of `m` and `y`.

    C = Σₖ wₖ (mₖ - mean)(mₖ - mean)ᴴ / (Σ w - ddof); `ddof` is 1, or 0 with `bias`. `fweights` say
    how often each observation is there, `aweights` how much it weighs. Raises as `np.cov`.

    >>> cov(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    m = as_array(m)
    parts = [m] if y is None else [m, as_array(y)]
    for name, part in zip("my", parts, strict=False):
        if ndim_of(part) > 2:
            raise ValueError(f"{name} has more than 2 dimensions")
    dtype = np.result_type(*[part.dtype for part in parts], np.float64) if dtype is None else dtype
    rows = [astype(np.atleast_2d(part), dtype) for part in parts]
    if not rowvar:
        rows[0] = rows[0].T if ndim_of(m) != 1 else rows[0]
        rows[1:] = [part.T if shape_of(part)[0] != 1 else part for part in rows[1:]]
    if shape_of(rows[0])[0] == 0:
        return np.zeros((0, 0))
    x = rows[0] if y is None else np.concatenate(rows, axis=0)
    count = shape_of(x)[1]
    if ddof is None:
        ddof = 0 if bias else 1
    repeats = None if fweights is None else _observations(fweights, count, "fweights")
    masses = None if aweights is None else _observations(aweights, count, "aweights")
    weights = repeats if masses is None else masses if repeats is None else repeats * masses
    centre, total = average(x, 1, weights, True)
    freedom: Any
    if weights is None:
        freedom = max(count - ddof, 0)
    elif ddof == 0:
        freedom = total[0]
    elif masses is None:
        freedom = total[0] - ddof
    else:
        freedom = total[0] - ddof * np.sum(weights * masses) / total[0]
    x = x - centre[:, None]
    other = x if weights is None else x * weights
    product = np.matmul(x, np.conj(other.T))
    found = product * np.true_divide(1, np.maximum(freedom, 0))
    return np.squeeze(astype(found, shape_dtype(product).dtype))


def _observations(weights: Any, count: int, name: str) -> Array:
    """The weights of the observations, checked where their values are there."""
    weights = astype(as_array(weights), np.float64)
    if ndim_of(weights) > 1:
        raise RuntimeError(f"cannot handle multidimensional {name}")
    if shape_of(weights)[0] != count:
        raise RuntimeError(f"incompatible numbers of samples and {name}")
    if is_known(weights):
        numbers = known(weights, "cov")
        if name == "fweights" and np.any(numbers != np.around(numbers)):
            raise TypeError("fweights must be integer")
        if np.any(numbers < 0):
            raise ValueError(f"{name} cannot be negative")
    return weights


@composed(np.corrcoef)
def corrcoef(x: Array, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Array:
    """The correlations of variables: the covariances over the standard deviations.

    >>> corrcoef(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    found = cov(x, y, rowvar, dtype=dtype)
    if ndim_of(found) == 0:
        return found / found
    spread = np.sqrt(np.real(np.diagonal(found)))
    found = found / spread[:, None] / spread[None, :]
    if is_complex(found):
        return _bounded(np.real(found)) + 1j * _bounded(np.imag(found))
    return _bounded(found)


def _bounded(x: Array) -> Array:
    """In [-1, 1]: rounding may lead a little outside, and the derivative is that of inside."""
    return x - stop_gradient(x - np.clip(x, -1, 1))
