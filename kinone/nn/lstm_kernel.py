"""An LSTM's run over all moments, forward and backward, in plain NumPy on buffers of its own.

A step of a small network is a dozen short NumPy calls, and what counts is how many. So one tanh
serves all gates, σ(x) = ½ + ½ tanh(x / 2), and the backward run computes what no step before it
decides for blocks of moments at once.
"""

from __future__ import annotations

import numpy as np

from ..core import Array

Arrays = tuple[Array, ...]
_BLOCK = 1 << 17  # numbers of the gates that the steps backward prepare at once, in cache


def forward(
    gates: Array, h: Array, c: Array, kernel: Array, *alive: Array, reverse: bool
) -> Arrays:
    dtype, features = gates.dtype, h.shape[-1]
    half = np.full(4 * features, 0.5, dtype)
    half[2 * features : 3 * features] = 1
    offset = 1 - half
    activated = np.empty(gates.shape, dtype)
    hs, cs = np.empty((2, *gates.shape[:-1], features), dtype)
    i, f, g, o = np.split(activated, 4, axis=-1)
    part = np.empty(hs.shape[1:], dtype)
    for t in _trips(len(gates), reverse):
        a, new_h, new_c = activated[t], hs[t], cs[t]
        np.matmul(h, kernel, out=a)
        a += gates[t]
        a *= half
        np.tanh(a, out=a)
        a *= half
        a += offset
        np.multiply(f[t], c, out=new_c)
        new_c += np.multiply(i[t], g[t], out=part)
        np.tanh(new_c, out=part)
        np.multiply(o[t], part, out=new_h)
        if alive:
            dead = ~alive[0][t]
            np.copyto(new_h, h, where=dead)
            np.copyto(new_c, c, where=dead)
        h, c = new_h, new_c
    return hs, cs, activated


def backward(
    c: Array,
    kernel: Array,
    cells: Array,
    activated: Array,
    gh: Array,
    gc: Array,
    *alive: Array,
    reverse: bool,
) -> Arrays:
    length, features = len(cells), c.shape[-1]
    d_gates = np.empty(activated.shape, activated.dtype)
    each = d_gates.reshape(*cells.shape[:-1], 4, features)
    by_cell, by_output = each[..., :3, :], each[..., 3, :]
    back = np.swapaxes(kernel, -1, -2)
    starts = before(c, cells, reverse)
    dh, dc, part = (np.zeros(c.shape, activated.dtype) for _ in range(3))
    block = max(1, _BLOCK * length // max(activated.size, 1))
    trips = _trips(length, not reverse)
    for start in range(0, length, block):
        some = trips[start : start + block]
        low = min(some[0], some[-1])
        here = slice(low, low + len(some))
        dead = ~alive[0][here] if alive else None
        through, f = _slopes(activated[here], cells[here], starts[here], dead, d_gates[here])
        for t in some:
            dh += gh[t]
            dc += gc[t]
            dc += np.multiply(dh, through[t - low], out=part)
            by_cell[t] *= dc[..., None, :]
            by_output[t] *= dh
            if dead is not None:
                np.multiply(dh, dead[t - low], out=part)
            np.matmul(d_gates[t], back, out=dh)
            if dead is not None:
                dh += part
            dc *= f[t - low]
    return d_gates, dh, dc


def _slopes(
    activated: Array, cells: Array, before: Array, dead: Array | None, out: Array
) -> tuple[Array, Array]:
    """What the steps backward multiply with: the derivatives of c by the gates i, f and g, and of h
    by o, into `out`; that of h by c; and that of c by the one before."""
    i, f, g, o = np.split(activated, 4, axis=-1)
    di, df, dg, do = np.split(out, 4, axis=-1)
    squashed = np.tanh(cells)
    np.multiply(activated, activated, out=out)
    np.subtract(1, dg, out=dg)
    dg *= i
    for slope, gate, factor in ((di, i, g), (df, f, before), (do, o, squashed)):
        np.subtract(gate, slope, out=slope)
        slope *= factor
    through = np.multiply(squashed, squashed, out=squashed)
    np.subtract(1, through, out=through)
    through *= o
    if dead is not None:  # a step that is none; and what padding holds, be it NaN, goes nowhere
        np.copyto(out, 0, where=dead)
        np.copyto(through, 0, where=dead)
        f = np.where(dead, 1, f)
    return through, f


def _trips(length: int, reverse: bool) -> range:
    return range(length - 1, -1, -1) if reverse else range(length)


def before(start: Array, carried: Array, reverse: bool) -> Array:
    """What each step began with."""
    first = start[None]
    return np.concatenate([carried[1:], first] if reverse else [first, carried[:-1]])
