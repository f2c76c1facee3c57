"""Counting into bins. Counts are constants; weights that are summed into bins have derivatives.

How many bins there are and what falls into which depends on the numbers, so `vmap` over them and
tracing to a program raise `TracerConversionError`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import source
from ..core import Array, shape_of
from ..errors import MissingRuleError
from .axes import as_array
from .concrete import known
from .plain import composed, is_traced
from .shape import astype
from .update import add_at


@composed(np.bincount)
def bincount(x: Array, /, weights: Any = None, minlength: int = 0) -> Array:
    """How often each non-negative integer occurs, or the sum of the weights that go with it.

    >>> bincount(np.array([0, 2, 2]), weights=np.array([1.0, 0.5, 0.25]))
    array([1.  , 0.  , 0.75])
    """
    numbers = known(x, "np.bincount")
    counts = np.bincount(numbers, minlength=minlength)  # raises for what cannot be counted
    if weights is None:
        return counts
    weights = as_array(weights)
    if shape_of(weights) != numbers.shape:
        raise ValueError("The weights and list don't have the same length.")
    return add_at(np.zeros(len(counts)), numbers, astype(weights, np.float64))


@composed(np.histogram_bin_edges)
def histogram_bin_edges(a: Array, bins: Any = 10, range: Any = None, weights: Any = None) -> Array:
    """The edges of the bins that `histogram` would use; constants.

    >>> histogram_bin_edges(np.array([0.0, 1.0]), bins=2)
    array([0. , 0.5, 1. ])
    """
    weights = None if weights is None else known(weights, "np.histogram_bin_edges")
    return np.histogram_bin_edges(
        known(a, "np.histogram_bin_edges"), _plain(bins), _plain(range), weights
    )


def _plain(x: Any) -> Any:
    """Edges and ranges without tracers: an array, a number, a name, or a list of such."""
    if isinstance(x, (list, tuple)):
        return [_plain(each) for each in x]
    return known(x, "np.histogram") if is_traced([x]) else x


@composed(np.histogram)
def histogram(
    a: Array, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Array, Array]:
    """How many elements fall into each bin, or the sum of their weights; and the bins' edges.

    With `density` the result is divided by the bins' widths and its total. The last bin includes
    its right edge. Derivatives pass to the weights alone.

    >>> histogram(np.array([0.5, 1.5, 1.7]), bins=2, range=(0, 2))
    (array([1, 2]), array([0., 1., 2.]))
    """
    numbers = known(a, "np.histogram")
    if not is_traced([weights]):
        return np.histogram(numbers, _plain(bins), _plain(range), density, weights)
    if shape_of(weights) != numbers.shape:
        raise ValueError("weights should have the same shape as a.")
    if isinstance(bins, str):
        raise TypeError(
            "Automated estimation of the number of bins is not supported for weighted data"
        )
    edges = np.histogram_bin_edges(numbers, _plain(bins), _plain(range))
    flat = numbers.ravel()
    place = np.searchsorted(edges, flat, side="right") - 1
    place = np.where(flat == edges[-1], len(edges) - 2, place)
    inside = np.flatnonzero((flat >= edges[0]) & (flat <= edges[-1]))
    totals = add_at(
        np.zeros(len(edges) - 1, weights.dtype), place[inside], np.ravel(weights)[inside]
    )
    if density:
        return totals / np.diff(edges) / np.sum(totals), edges
    return totals, edges


def _refuse_weights(name: str, weights: Any) -> None:
    if is_traced([weights]):
        raise MissingRuleError(
            f"np.{name} has no derivative in its weights, at {source.here()}\n"
            "  Write np.bincount(bin, weights=w), with the bins from np.digitize."
        )


@composed(np.histogram2d)
def histogram2d(
    x: Array,
    y: Array,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Any = None,
) -> tuple[Array, Array, Array]:
    """How many pairs fall into each bin of a grid, and the edges along `x` and `y`; constants.

    >>> histogram2d(np.array([0.2, 0.8]), np.array([0.1, 0.9]), bins=2)[0]
    array([[1., 0.],
           [0., 1.]])
    """
    _refuse_weights("histogram2d", weights)
    x, y = known(x, "np.histogram2d"), known(y, "np.histogram2d")
    return np.histogram2d(x, y, _plain(bins), _plain(range), density, weights)


@composed(np.histogramdd)
def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Any = None,
) -> tuple[Array, Any]:
    """How many points, the rows of `sample`, fall into each bin of a grid; and the edges.

    >>> histogramdd(np.array([[0.2, 0.1], [0.8, 0.9]]), bins=2)[0]
    array([[1., 0.],
           [0., 1.]])
    """
    _refuse_weights("histogramdd", weights)
    if isinstance(sample, (list, tuple)):
        sample = [known(each, "np.histogramdd") for each in sample]
    else:
        sample = known(sample, "np.histogramdd")
    return np.histogramdd(sample, _plain(bins), _plain(range), density, weights)
