"""NumPy's `poly…` functions on traced coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from surface import check_everything, check_values, same

import kinone as kn
from kinone.ops.samples import values
from kinone.testing import check_grads

P, Q, X = values(4), values(3, seed=2), values(2, 3, seed=5)

CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "polyval": (np.polyval, (P, X)),
    "polyval of a number": (lambda p: np.polyval(p, 2), (P,)),
    "polyadd": (np.polyadd, (P, Q)),
    "polysub": (np.polysub, (Q, P)),
    "polymul": (np.polymul, (P, Q)),
    "polydiv": (np.polydiv, (P, Q)),
    "polydiv by a longer one": (np.polydiv, (Q, P)),
    "polyder": (np.polyder, (P,)),
    "polyder twice": (lambda p: np.polyder(p, 2), (P,)),
    "polyint": (np.polyint, (P,)),
    "polyint twice": (lambda p: np.polyint(p, 2, [1.0, 2.0]), (P,)),
    "polyint one constant": (lambda p: np.polyint(p, 2, 1.0), (P,)),
    "poly": (np.poly, (P,)),
}


@pytest.mark.parametrize("name", CASES)
def test_polynomials(name: str) -> None:
    f, args = CASES[name]
    check_everything(f, *args)


def test_fits() -> None:
    x, y = values(7), values(7, seed=4)
    w = 1 + values(7, seed=2) ** 2
    check_everything(lambda y: np.polyfit(x, y, 2), y)
    check_everything(lambda x, y: np.polyfit(x, y, 1), x, y)
    check_grads(lambda w: np.polyfit(w * 0 + x, y, 2, w=w), (w,), order=2)
    same(kn.vjp(lambda y: np.polyfit(x, np.stack([y, x], 1), 2), y)[0],
         np.polyfit(x, np.stack([y, x], 1), 2))  # fmt: skip


def test_roots() -> None:
    p = np.array([2.0, -3.0, -11.0, 6.0])

    def f(p: Any) -> Any:
        return np.sort(np.real(np.roots(p)))

    same(kn.vjp(f, p)[0], f(p))
    check_grads(f, (p,), order=1)
    same(kn.vjp(lambda p: np.real(np.roots(p * np.array([0.0, 1.0, 1.0, 0.0]))), p)[0],
         np.roots(p * np.array([0.0, 1.0, 1.0, 0.0])))  # fmt: skip


def test_polynomial_of_a_matrix() -> None:
    a = values(3, 3)
    check_values(np.poly, a, graph=False, vmap=False)


@pytest.mark.parametrize(
    "f",
    [
        lambda p: np.polyder(p, -1),
        lambda p: np.polyint(p, -1),
        lambda p: np.polyint(p, 3, [1.0, 2.0]),
        lambda p: np.poly(p[None]),
        lambda p: np.roots(p[None]),
        lambda p: np.polyfit(p, p[:2], 1),
        lambda p: np.polyfit(p, p, -1),
        lambda p: np.polyfit(p[None], p, 1),
    ],
    ids=range(8),
)
def test_refuses_what_numpy_refuses(f: Any) -> None:
    with pytest.raises(Exception) as plain:
        f(P)
    with pytest.raises(plain.type):
        kn.vjp(f, P)


def test_polynomials_of_other_numbers() -> None:
    for dtype in (np.int64, np.float16, np.bool_, np.float32):
        zeros = np.array([1, 0, 1], dtype)
        same(kn.graph(np.poly)(zeros)(zeros), np.poly(zeros))
    pair = np.array([1 + 2j, 1 - 2j, 3])
    same(kn.vjp(np.poly, pair)[0], np.poly(pair))
    same(kn.vjp(lambda a: np.polymul(a, a), P[:0])[0], np.polymul(P[:0], P[:0]))
    with pytest.raises(ValueError, match="1d"):
        kn.vjp(lambda a: np.polymul(a, a), P[None])


@pytest.mark.parametrize(
    "ends", [(1j, 16j), (1 + 2j, -3 + 1j), (-2.0 + 0j, 5j)], ids=["turn", "spiral", "quarter"]
)
def test_geomspace_of_complex_numbers(ends: Any) -> None:
    start, stop = (np.array(end) for end in ends)
    check_values(lambda a, b: np.geomspace(a, b, 5), start, stop, vmap=False)
    check_values(lambda a, b: np.geomspace(a, b, 4, endpoint=False), start, stop, vmap=False)
    check_grads(lambda a, b: np.geomspace(a, b, 5), (start, stop), order=2)


def test_geomspace() -> None:
    check_everything(lambda a, b: np.geomspace(a, b, 5), np.array(-2.0), np.array(-7.0))
    check_everything(
        lambda a, b: np.geomspace(a, b, 4, axis=-1), np.array([1.0, 2.0]), np.array(5.0)
    )
    check_values(lambda a: np.geomspace(a, 3.0, 1), np.array(2.0))
    with pytest.raises(ValueError, match="zero"):
        kn.vjp(lambda a: np.geomspace(a, 3.0, 4), np.array(0.0))


def test_logspace_of_several_bases() -> None:
    base = np.array([2.0, 3.0])
    for axis in (0, -1):
        check_everything(lambda b, axis=axis: np.logspace(0, 2, 4, base=b, axis=axis), base)
        check_everything(
            lambda a, axis=axis: np.logspace(a, 2.0, 4, base=base, axis=axis), np.array(1.5)
        )
