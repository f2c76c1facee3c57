"""Inputs that drive the automatic checks of every primitive.

A primitive's `samples()` is a list of `Sample`s: operands in float64 and keyword parameters. The
checks draw other dtypes from them by casting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Domain = tuple[float, float]

REAL: Domain = (-2.0, 2.0)
POSITIVE: Domain = (0.2, 3.0)
UNIT: Domain = (-0.9, 0.9)


class Sample(NamedTuple):
    """One application: `primitive(*args, **params)`."""

    args: tuple[Any, ...]
    params: dict[str, Any] = {}  # noqa: RUF012 (never written to)


def values(*shape: int, domain: Domain = REAL, seed: int = 0) -> Any:
    """Distinct float64 numbers, scattered over the domain, none of them near zero or a tie.

    They are the multiples of the golden ratio modulo 1: evenly spread, no two alike.
    """
    count = int(np.prod(shape, dtype=int))
    steps = (np.arange(1 + seed * 7, 1 + seed * 7 + count) * 0.6180339887498949) % 1.0
    low, high = domain
    flat = low + (high - low) * (0.003 + 0.994 * steps)
    return flat.reshape(shape)


def broadcasting(
    *domains: Domain, flags: Sequence[bool] | None = None
) -> Callable[[], list[Sample]]:
    """Samples of an elementwise primitive: equal shapes, broadcast shapes, scalars.

    A flag set makes that operand boolean.
    """
    patterns: list[list[tuple[int, ...]]] = [
        [(3, 4)] * len(domains),
        [()] * len(domains),
        [(0, 2)] * len(domains),
    ]
    if len(domains) > 1:
        rotating: list[tuple[int, ...]] = [(4,), (3, 1), (2, 3, 4)]
        patterns += [
            [rotating[(i + k) % 3] for i in range(len(domains))] for k in range(len(domains))
        ]
        patterns.append([(2, 3)] + [()] * (len(domains) - 1))

    def make() -> list[Sample]:
        found = []
        for pattern in patterns:
            operands = [
                values(*shape, domain=domain, seed=i)
                for i, (shape, domain) in enumerate(zip(pattern, domains, strict=True))
            ]
            if flags:
                operands = [x > 0 if flag else x for x, flag in zip(operands, flags, strict=True)]
            found.append(Sample(tuple(operands)))
        return found

    return make
