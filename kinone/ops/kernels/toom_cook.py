"""The bilinear algorithms behind `winograd`, in one dimension: few multiplications for 3 taps.

Each computes `tile` outputs from `taps` inputs with `taps` multiplications (times channels):

    y = A' [(G w) * (B' x)]    and transposed    dw = G' [(A g) * (B' x)]    dx = B [(G w) * (A g)]

The matrices are applied as sums and differences of lines: a line holds one position of every tile.

Stride 1, F(m, 3): polynomials evaluated and interpolated at m + 1 points and at infinity.
The points decide the error: 0, 1, -1 for m = 2. For m = 4 the usual 0, +-1, +-2 lose 7e-6 of the
largest output in float32, but 0, +-3/4, +-4/3 only 1 to 2e-6 (im2col and F(2, 3): 4e-7); and since
3/4 * 4/3 = 1 half of the coefficients coincide.

Stride 2: the even inputs see the outer taps (two outputs in three multiplications), the odd ones
the middle tap: 5 multiplications for 6, whose error is im2col's.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016); the choice of
points: Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution" (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy import add, multiply, subtract

from .scratch import Array

Lines = Sequence[Array] | Array
# (lines in, lines out, two lines of scratch); a line is all tiles' element of one tile position.
Transform = Callable[[Lines, Lines, Array], None]


class Algorithm(NamedTuple):
    """One axis of a convolution with 3 taps: its transforms, and G (taps, 3)."""

    stride: int
    tile: int
    input: Transform  # B' x: taps lines to taps
    output: Transform  # A' m: taps lines to tile
    cotangent: Transform  # A g: tile lines to taps
    weight: Array
    spread: Transform | None = None  # B m: taps lines to taps

    @property
    def step(self) -> int:
        """Inputs from one tile to the next."""
        return self.stride * self.tile

    @property
    def taps(self) -> int:
        """Inputs that a tile reads, and multiplications."""
        return self.stride * (self.tile - 1) + 3


def _input_2(d: Lines, v: Lines, _: Array) -> None:
    subtract(d[2], d[0], out=v[0])
    add(d[2], d[1], out=v[1])
    subtract(d[2], d[1], out=v[2])
    subtract(d[3], d[1], out=v[3])


def _output_2(m: Lines, y: Lines, _: Array) -> None:
    add(m[1], m[2], out=y[0])
    add(y[0], m[0], out=y[0])
    subtract(m[1], m[2], out=y[1])
    add(y[1], m[3], out=y[1])


def _cotangent_2(g: Lines, v: Lines, _: Array) -> None:
    np.copyto(v[0], g[0])
    add(g[0], g[1], out=v[1])
    subtract(g[0], g[1], out=v[2])
    np.copyto(v[3], g[1])


_P, _Q = 3 / 4, 4 / 3  # the points are 0, +-p, +-q and infinity, with p q = 1
_PP, _QQ = _P * _P, _Q * _Q


def _input_4(d: Lines, v: Lines, t: Array) -> None:
    # v1, v2 = (d4 - q2 d2) +- q (p2 d3 - d1)       v0 = d0 - (p2 + q2) d2 + d4
    # v3, v4 = (d4 - p2 d2) +- p (q2 d3 - d1)       v5 = d1 - (p2 + q2) d3 + d5
    even, odd = t
    multiply(d[2], _QQ, out=v[0])
    subtract(d[4], v[0], out=even)
    multiply(d[3], _PP, out=v[5])
    subtract(v[5], d[1], out=odd)
    subtract(d[5], odd, out=v[5])
    multiply(odd, _Q, out=odd)
    add(even, odd, out=v[1])
    subtract(even, odd, out=v[2])
    multiply(d[2], _PP, out=even)
    subtract(d[4], even, out=even)
    subtract(even, v[0], out=v[0])
    add(v[0], d[0], out=v[0])
    multiply(d[3], _QQ, out=odd)
    subtract(v[5], odd, out=v[5])
    subtract(odd, d[1], out=odd)
    multiply(odd, _P, out=odd)
    add(even, odd, out=v[3])
    subtract(even, odd, out=v[4])


def _output_4(m: Lines, y: Lines, t: Array) -> None:
    # With s = m1 + m2, S = m3 + m4 and the differences d, D of the same pairs:
    # y0 = m0 + s + S     y1 = p d + q D     y2 = p2 s + q2 S     y3 = p3 d + q3 D + m5
    small, large = t
    add(m[1], m[2], out=small)
    add(m[3], m[4], out=large)
    add(m[0], small, out=y[0])
    add(y[0], large, out=y[0])
    multiply(small, _PP, out=small)
    multiply(large, _QQ, out=large)
    add(small, large, out=y[2])
    subtract(m[1], m[2], out=small)
    subtract(m[3], m[4], out=large)
    multiply(small, _P, out=small)
    multiply(large, _Q, out=large)
    add(small, large, out=y[1])
    multiply(small, _PP, out=small)
    multiply(large, _QQ, out=large)
    add(small, large, out=y[3])
    add(y[3], m[5], out=y[3])


def _cotangent_4(g: Lines, v: Lines, t: Array) -> None:
    even, odd = t
    np.copyto(v[0], g[0])
    np.copyto(v[5], g[3])
    for point, plus, minus in ((_P, 1, 2), (_Q, 3, 4)):
        multiply(g[2], point**2, out=even)
        add(even, g[0], out=even)
        multiply(g[3], point**2, out=odd)
        add(odd, g[1], out=odd)
        multiply(odd, point, out=odd)
        add(even, odd, out=v[plus])
        subtract(even, odd, out=v[minus])


def _input_strided(d: Lines, v: Lines, _: Array) -> None:
    subtract(d[0], d[2], out=v[0])
    np.copyto(v[1], d[2])
    subtract(d[4], d[2], out=v[2])
    np.copyto(v[3], d[1])
    np.copyto(v[4], d[3])


def _output_strided(m: Lines, y: Lines, _: Array) -> None:
    add(m[0], m[1], out=y[0])
    add(y[0], m[3], out=y[0])
    add(m[1], m[2], out=y[1])
    add(y[1], m[4], out=y[1])


def _cotangent_strided(g: Lines, v: Lines, _: Array) -> None:
    add(g[0], g[1], out=v[1])
    for output, taps in enumerate(((0, 3), (2, 4))):
        for tap in taps:
            np.copyto(v[tap], g[output])


def _spread_strided(m: Lines, d: Lines, _: Array) -> None:
    np.copyto(d[0], m[0])
    np.copyto(d[1], m[3])
    subtract(m[1], m[0], out=d[2])
    subtract(d[2], m[2], out=d[2])
    np.copyto(d[3], m[4])
    np.copyto(d[4], m[2])


def _weight_transform(points: Sequence[float]) -> Array:
    """G (points + 1, 3): the taps' polynomial at each point over the product of its differences."""
    rows = [
        [point**power / np.prod([point - q for q in points if q != point]) for power in range(3)]
        for point in points
    ]
    return np.array([*rows, [0.0, 0.0, 1.0]])


F2 = Algorithm(1, 2, _input_2, _output_2, _cotangent_2, _weight_transform((0, 1, -1)))
F4 = Algorithm(1, 4, _input_4, _output_4, _cotangent_4, _weight_transform((0, _P, -_P, _Q, -_Q)))
STRIDED = Algorithm(
    2,
    2,
    _input_strided,
    _output_strided,
    _cotangent_strided,
    np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]]),
    _spread_strided,
)
