"""The primitives of `kinone.scipy`, by formulas; of the others the slot says why not.

This module is imported when the first of them is met, see `export.rules.rule_of`: they are declared
where SciPy is installed and somebody uses it. Functions of one real number are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Array, registry, shape_of
from ...ops.random_bits import ndtri
from ...scipy import integrate, linalg, signal, special  # noqa: F401  they declare
from ...transforms.control.scans import fori_loop
from ...transforms.control.whiles import while_loop
from ..export.builder import Builder
from ..export.merge import Step
from ..export.rules import Lowered, cannot, lowers, lowers_complex, through
from ..export.values import Value
from . import elimination
from .common import out
from .error_function import erf_of_doubles, erfc_of_doubles

# ---- integrals of the normal density, logarithms -------------------------------------------------


def _ndtr(x: Array) -> Array:
    return 0.5 * erfc_of_doubles(x * -math.sqrt(0.5))


def _erfcx(x: Array) -> Array:
    """exp(x²) erfc(x): a continued fraction far to the right, where both factors vanish."""
    near = np.exp(np.minimum(x * x, 700)) * erfc_of_doubles(np.minimum(x, 4))
    t = np.maximum(x, 4)
    fraction = t
    for k in range(40, 0, -1):
        fraction = t + 0.5 * k / fraction
    return np.where(x < 4, np.where(x < -26, np.inf, near), 1 / (math.sqrt(math.pi) * fraction))


def _log_ndtr(x: Array) -> Array:
    left = np.log(0.5 * _erfcx(np.maximum(x * -math.sqrt(0.5), 0))) - 0.5 * x * x
    return np.where(x < -1, left, np.log1p(-_ndtr(-np.maximum(x, -1))))


def _erfinv(y: Array) -> Array:
    """By the normal quantile of the smaller tail, and near 0 a step of Newton's for the digits."""
    size = np.abs(y)
    x = -ndtri(0.5 * (1 - size)) * math.sqrt(0.5)
    near = size < 0.5
    start = np.where(near, x, 0)
    slope = 2 / math.sqrt(math.pi) * np.exp(-start * start)
    return np.copysign(np.where(near, start - (erf_of_doubles(start) - size) / slope, x), y)


def _xlogy(a: Array, b: Array) -> Array:
    nothing = (a == 0) & ~np.isnan(b)
    return np.where(nothing, 0, a * np.log(np.where(nothing, 1, b)))


def _xlog1py(a: Array, b: Array) -> Array:
    nothing = (a == 0) & ~np.isnan(b)
    return np.where(nothing, 0, a * np.log1p(np.where(nothing, 1, b)))


def _entr(x: Array) -> Array:
    return np.where(x < 0, -np.inf, -_xlogy(x, x))


def _rel_entr(a: Array, b: Array) -> Array:
    inside = (a > 0) & (b > 0)
    found = np.where(inside, a * np.log(np.where(inside, a / np.where(inside, b, 1), 1)), np.inf)
    found = np.where((a == 0) & (b >= 0), 0, found)
    return np.where(np.isnan(a) | np.isnan(b), np.nan, found)


def _kl_div(a: Array, b: Array) -> Array:
    outside = (a < 0) | (b < 0) | ((b == 0) & (a != 0))
    return np.where(outside, _rel_entr(a, b), _rel_entr(a, b) - a + b)


# ---- the gamma function --------------------------------------------------------------------------

_SHIFT = 9  # x is raised above it, where Stirling's series has 16 figures
# B₂ₖ / (2k (2k - 1)) for ln Γ, and B₂ₖ / 2k for ψ.
_STIRLING = (
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
    -3617 / 122400,
)
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)


def _series(x: Array, coefficients: tuple[float, ...]) -> Array:
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _gammaln_right(x: Array) -> Array:
    """ln Γ(x) for x > 0."""
    product: Any = 1.0
    raised = x
    for _ in range(_SHIFT):
        low = raised < _SHIFT
        product = product * np.where(low, raised, 1)
        raised = np.where(low, raised + 1, raised)
    finite = np.where(np.isinf(raised), 1, raised)
    tail = _series(1 / (finite * finite), _STIRLING) / finite
    large = (finite - 0.5) * np.log(finite) - finite + 0.5 * math.log(2 * math.pi) + tail
    return np.where(np.isinf(raised), np.inf, large - np.log(product))


def _to_right(x: Array) -> tuple[Array, Array]:
    """Whether x lies on the left of 1/2, and x or its mirror 1 - x."""
    left = x < 0.5
    return left, np.where(left, 1 - x, x)


def _sine(x: Array) -> Array:
    """sin(πx), 0 at whole numbers."""
    rest = x - 2 * np.floor(0.5 * x)
    rest = np.where(rest > 1, rest - 2, rest)
    return np.where(np.abs(rest) == 1, 0, np.sin(np.pi * rest))


def _gammaln(x: Array) -> Array:
    left, right = _to_right(x)
    found = _gammaln_right(right)
    size = np.abs(_sine(x))
    mirrored = math.log(math.pi) - np.log(np.where(left, size, 1)) - found
    return np.where(np.isinf(x), np.inf, np.where(left, mirrored, found))


def _gammasgn(x: Array) -> Array:
    whole = np.floor(x)
    odd = whole - 2 * np.floor(0.5 * whole) != 0
    sign = np.where((x < 0) & odd, -1.0, 1.0)
    pole = (x < 0) & (x == whole)
    sign = np.where(pole | np.isnan(x), np.nan, sign)
    return np.where(x == 0, np.where(np.signbit(x), -1.0, 1.0), sign)


def _gamma(x: Array) -> Array:
    found = _gammasgn(x) * np.exp(_gammaln(x))
    return np.where((x < 0) & np.isinf(x), np.nan, found)


def _rgamma(x: Array) -> Array:
    pole = (x <= 0) & (x == np.floor(x))
    return np.where(pole, 0, _gammasgn(np.where(pole, 1, x)) * np.exp(-_gammaln(x)))


def _psi(x: Array) -> Array:
    left, right = _to_right(x)
    total: Any = 0.0
    raised = right
    for _ in range(_SHIFT):
        low = raised < _SHIFT
        total = total + np.where(low, 1 / np.where(low, raised, 1), 0)
        raised = np.where(low, raised + 1, raised)
    square = 1 / (raised * raised)
    found = np.log(raised) - 0.5 / raised - square * _series(square, _DIGAMMA) - total
    sine = _sine(x)
    nothing = sine == 0
    cotangent = _sine(x + 0.5) / np.where(nothing, 1, sine)
    mirrored = np.where(nothing, np.nan, found - np.pi * cotangent)
    mirrored = np.where(x == 0, -np.copysign(np.inf, x), mirrored)
    return np.where(left, mirrored, found)


def _betaln(a: Array, b: Array) -> Array:
    return _gammaln(a) + _gammaln(b) - _gammaln(a + b)


def _beta(a: Array, b: Array) -> Array:
    return _gammasgn(a) * _gammasgn(b) * _gammasgn(a + b) * np.exp(_betaln(a, b))


def _poch(z: Array, m: Array) -> Array:
    return _gammasgn(z + m) * _gammasgn(z) * np.exp(_gammaln(z + m) - _gammaln(z))


_SPECIAL: dict[str, Callable[..., Array]] = {
    "erf": erf_of_doubles,
    "erfc": erfc_of_doubles,
    "erfcx": _erfcx,
    "ndtr": _ndtr,
    "log_ndtr": _log_ndtr,
    "hazard": lambda x: math.sqrt(2 / math.pi) / _erfcx(x * -math.sqrt(0.5)),
    "ndtri": ndtri,
    "erfinv": _erfinv,
    "log": np.log,
    "logit": lambda x: np.log(x) - np.log1p(-x),
    "log_expit": lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    "xlogy": _xlogy,
    "xlog1py": _xlog1py,
    "entr": _entr,
    "rel_entr": _rel_entr,
    "kl_div": _kl_div,
    "gammaln": _gammaln,
    "gammasgn": _gammasgn,
    "gamma": _gamma,
    "rgamma": _rgamma,
    "loggamma": lambda x: np.where(x < 0, np.nan, _gammaln(x)),
    "psi": _psi,
    "beta": _beta,
    "betaln": _betaln,
    "poch": _poch,
    "i0": np.i0,
}


def _special(fun: Callable[..., Array]) -> Callable[..., Any]:
    def rule(b: Builder, step: Step, *operands: Value) -> Value:
        wide = [b.cast(x, np.float64) for x in operands]
        found: Value = through(b, lambda *xs: fun(*xs), *wide)[0]
        return b.cast(found, out(step)[1])

    return rule


for _name, _fun in _SPECIAL.items():
    lowers(f"scipy.special.{_name}")(_special(_fun))

# ---- linear algebra ------------------------------------------------------------------------------


def solve_triangular(
    a: Array, b: Array, *, dtype: Any, transposed: bool, lower: bool, unit: bool
) -> Array:
    """x with a @ x = b, or with aᵀ @ x = b, of which one triangle counts."""
    a, b = a.astype(dtype), b.astype(dtype)
    if 0 in shape_of(b)[-2:]:
        return elimination.solve(a, b, dtype=dtype)
    below = np.tri(shape_of(a)[-1], dtype=bool)
    a = np.where(below if lower else below.T, a, 0)
    if unit:
        a = np.where(np.eye(shape_of(a)[-1], dtype=bool), 1, a)
    if transposed:
        a, lower = a.mT, not lower
    if not lower:
        return elimination.substituted(a, b)
    return elimination.substituted(a[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]


def solve_banded(ab: Array, b: Array, *, dtype: Any, below: int) -> Array:
    """x with a @ x = b, of a banded matrix, which is written out."""
    rows, n = shape_of(ab)[-2:]
    i, j = np.indices((n, n))
    place = rows - 1 - below + i - j
    inside = (place >= 0) & (place < rows)
    whole = np.where(inside, ab[..., np.clip(place, 0, rows - 1), j], 0)
    return elimination.solve(whole, b, dtype=dtype)


def solve_sylvester(a: Array, b: Array, q: Array, *, dtype: Any) -> Array:
    """x with a @ x + x @ b = q, as one system of all of its elements."""
    m, n = shape_of(q)[-2:]
    front = np.broadcast_shapes(*[shape_of(x)[:-2] for x in (a, b, q)])
    left = a[..., :, None, :, None] * np.eye(n, dtype=dtype)[:, None, :]
    right = np.eye(m, dtype=dtype)[:, None, :, None] * b.mT[..., None, :, None, :]
    system = np.reshape(np.broadcast_to(left + right, (*front, m, n, m, n)), (*front, m * n, m * n))
    column = np.reshape(np.broadcast_to(q, (*front, m, n)), (*front, m * n, 1))
    return np.reshape(elimination.solve(system, column, dtype=dtype), (*front, m, n))


# The coefficients of Padé's quotient of order 13 for eˣ, and the norm up to which it is exact.
_PADE = [
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
    10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
]  # fmt: skip
_PADE_NORM = 5.371920351148152


def expm(a: Array, *, dtype: Any) -> Array:
    """The exponential: Padé's quotient of a / 2ˢ, squared s times (Higham 2005)."""
    a = a.astype(dtype)
    n = shape_of(a)[-1]
    if n == 0:
        return a
    norm = np.max(np.sum(np.abs(a), axis=-2), axis=-1)
    squarings = np.maximum(np.ceil(np.log2(np.where(norm == 0, 1, norm) / _PADE_NORM)), 0)
    scaled = a * np.exp2(-squarings).astype(dtype)[..., None, None]
    square = scaled @ scaled
    power = np.broadcast_to(np.eye(n, dtype=dtype), shape_of(a))
    even = odd = power * 0
    for k in range(0, 14, 2):
        even = even + (_PADE[k] / _PADE[0]) * power
        odd = odd + (_PADE[k + 1] / _PADE[0]) * power
        power = power @ square
    odd = scaled @ odd
    found = elimination.solve(even - odd, even + odd, dtype=dtype)

    def further(state: tuple[Array, Array]) -> Array:
        return np.any(state[1] > 0)

    def squared(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, left = state
        return np.where((left > 0)[..., None, None], x @ x, x), left - 1

    result: Array = while_loop(further, squared, (found, squarings))[0]
    return result


def sqrtm(a: Array, *, dtype: Any) -> Array:
    """The principal square root, by Denman and Beavers' iteration with scaling (Higham 1997)."""
    a = a.astype(dtype)
    if shape_of(a)[-1] == 0:
        return a
    n = shape_of(a)[-1]

    def step(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        y, z = state
        size = np.abs(elimination.det(y, dtype=dtype) * elimination.det(z, dtype=dtype))
        factor = (size ** (-0.5 / n))[..., None, None].astype(dtype)
        inverse_y = elimination.inv(y, dtype=dtype)
        inverse_z = elimination.inv(z, dtype=dtype)
        return (
            0.5 * (factor * y + inverse_z / factor),
            0.5 * (factor * z + inverse_y / factor),
        )

    unit = np.broadcast_to(np.eye(n, dtype=dtype), shape_of(a))
    root: Array = fori_loop(0, 24, step, (a, unit))[0]
    return root


def convolve(a: Array, b: Array, *, dtype: Any, pads: Any) -> Array:
    """A sum over the window's places of products of matrices; see `kinone.scipy.signal`."""
    a, b = a.astype(dtype), b.astype(dtype)
    sizes = [(max(low, 0), max(high, 0)) for low, high in pads]
    a = np.pad(a, [(0, 0)] * 3 + sizes)
    for axis, (low, high) in enumerate(pads, 3):
        keep = slice(max(-low, 0), shape_of(a)[axis] - max(-high, 0))
        a = a[(*[slice(None)] * axis, keep)]
    window = shape_of(b)[3:]
    outs = [n - k + 1 for n, k in zip(shape_of(a)[3:], window, strict=True)]
    total: Any = None
    for place in np.ndindex(*window):
        here = (..., *[slice(p, p + n) for p, n in zip(place, outs, strict=True)])
        tap = b[(..., *[k - 1 - p for k, p in zip(window, place, strict=True)])]
        rows = np.moveaxis(a[here], 2, -1)[:, :, None]  # (batch, i, 1, *out, d)
        column = np.reshape(
            np.swapaxes(tap, 1, 2), (*shape_of(tap)[:1], shape_of(tap)[2], shape_of(tap)[1])
        )
        product = np.moveaxis(
            np.matmul(
                np.reshape(rows, (shape_of(rows)[0], -1, shape_of(rows)[-1])), column
            ).reshape(
                max(shape_of(rows)[0], shape_of(b)[0]), shape_of(a)[1], *outs, shape_of(b)[1]
            ),
            -1,
            2,
        )
        total = product if total is None else total + product
    return total


def _matrices(fun: Callable[..., Any]) -> Callable[..., Any]:
    def rule(b: Builder, step: Step, *operands: Lowered) -> Any:
        found = through(b, fun, *operands, dtype=out(step)[1], **step.params)
        return found[0]

    return rule


_MATRICES: dict[str, Callable[..., Any]] = {
    "linalg.solve_triangular": solve_triangular,
    "linalg.solve_banded": solve_banded,
    "linalg.solve_sylvester": solve_sylvester,
    "linalg.expm": expm,
    "linalg.sqrtm": sqrtm,
    "signal.convolve": convolve,
}
for _name, _fun in _MATRICES.items():
    lowers(f"scipy.{_name}")(_matrices(_fun))
    lowers_complex(f"scipy.{_name}")(_matrices(_fun))

for _name, _primitive in registry.items():
    if _name.startswith("scipy.") and _primitive.onnx is None:
        cannot("what SciPy computes by a library of its own has no ONNX form", _name)
