"""What the checks of primitives share: samples, and a primitive as a function of some operands."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, is_inexact, shape_dtype
from ..errors import MissingRuleError
from ..graph import Graph
from ..ops.samples import Sample

FLOATS = (np.float64, np.float32, np.float16)


def describe_sample(sample: Any) -> str:
    """`float64[3,4], float64[4], axis=1`"""
    operands = [str(shape_dtype(x)) for x in sample.args]
    params = [f"{key}={value}" for key, value in sample.params.items()]
    return ", ".join([*operands, *params])


def samples_of(primitive: Primitive) -> Sequence[Sample]:
    """The samples. Raises `AssertionError` when there are none, `TypeError` for another form."""
    samples = [_sample(primitive, each) for each in (primitive.samples or tuple)()]
    if not samples:
        raise AssertionError(f"{primitive.name} has no samples, so nothing checks its rules")
    if (primitive.vjp is None) != (primitive.jvp is None):
        raise AssertionError(f"{primitive.name} has one of the two derivative rules and not both")
    return samples


def _sample(primitive: Primitive, given: Any) -> Sample:
    if isinstance(given, tuple) and len(given) in (1, 2):
        args, params = given if len(given) == 2 else (given[0], {})
        if isinstance(args, (tuple, list)) and isinstance(params, dict):
            return Sample(tuple(args), params)
    raise TypeError(
        f"{primitive.name}: a sample is {given!r:.60}, and (operands,) or (operands, parameters) "
        "is wanted, a tuple of a tuple and a dict, such as ((x, y), {'axis': 0})"
    )


def traced_subsets(sample: Any) -> Iterator[tuple[int, ...]]:
    """The sets of floating operands that may be traced together: each alone, and all."""
    positions = [i for i, x in enumerate(sample.args) if is_inexact(x)]
    return subsets(positions)


def subsets(positions: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All sets of up to three positions, none empty; of more, each alone, and all."""
    if len(positions) <= 3:
        for size in range(1, len(positions) + 1):
            yield from itertools.combinations(positions, size)
    else:
        yield from ((i,) for i in positions)
        yield tuple(positions)


def restricted(
    primitive: Primitive, sample: Any, traced: Sequence[int]
) -> tuple[Callable[..., Any], tuple[Array, ...]]:
    """The primitive as a function of some of its operands, and those operands."""

    def apply(*xs: Array) -> Any:
        args = list(sample.args)
        for position, x in zip(traced, xs, strict=True):
            args[position] = x
        return primitive(*args, **sample.params)

    apply.__name__ = primitive.name
    return apply, tuple(sample.args[i] for i in traced)


def cast_sample(sample: Any, dtype: Any) -> Any:
    """The sample with its floating operands in another dtype, complex ones in the complex dtype of
    that precision; as it is, where its parameters hold programs, which were traced for the dtypes
    that it has."""
    if any(_holds_program(value) for value in sample.params.values()):
        return sample
    complexes = np.result_type(dtype, np.complex64)
    args = tuple(
        np.asarray(x).astype(complexes if shape_dtype(x).dtype.kind == "c" else dtype)
        if is_inexact(x)
        else x
        for x in sample.args
    )
    return sample._replace(args=args)


def _holds_program(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_program(each) for each in value)
    return isinstance(value, Graph) or isinstance(getattr(value, "graph", None), Graph)


def or_refused(run: Callable[[], None], traced: Sequence[int]) -> None:
    """A rule may refuse operands that it calls data, aloud, but never the first one."""
    try:
        run()
    except MissingRuleError:
        if traced == (0,):
            raise


def flat(value: Any) -> list[Array]:
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in flat(each)]
    return [value]
