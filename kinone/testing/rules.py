"""A primitive's rules against each other and against finite differences: `check_primitive`.

Every check takes the primitive and one of its samples and raises `AssertionError`. Together they
are what a primitive promises:

    shape       the shape rule says what `impl` returns: shape and dtype, for every float dtype
    integers    and for integers and booleans, unless `impl` refuses them
    forward     `jvp` is the derivative, by finite differences
    reverse     `vjp` is the transpose of `jvp`, whichever of the operands are traced
    second      both again, of the derivatives themselves
    dtypes      a cotangent has its operand's shape and dtype, a tangent its result's
    graph       the traced program returns the same bits, and so does the derivative's
    jit         and the compiled ones
    batch       `batch` is the loop over examples, whichever operands are batched
    sensitive   on some sample, some derivative with respect to each operand is not zero
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, is_inexact, shape_dtype
from ..errors import TracerConversionError
from .batching import check_batch
from .derivatives import (
    check_dtypes,
    check_forward,
    check_reverse,
    check_second,
    check_sensitive,
)
from .operands import (
    FLOATS,
    cast_sample,
    describe_sample,
    restricted,
    samples_of,
    traced_subsets,
)
from .programs import check_graph, check_jit

OTHERS = (np.int64, np.int32, np.int8, np.uint8, np.bool_)


def check_primitive(primitive: Primitive, *, order: int = 2, integers: bool = True) -> None:
    """Runs every check on every sample of a primitive.

    The primitive's `samples` is a function without arguments that returns a list of tuples:
    `(operands,)`, or `(operands, parameters)` with a dict of keyword arguments. Operands are
    float64; the checks make other dtypes of them.

    `order` is that of the derivatives: 1 for a primitive whose rules cannot be differentiated.
    `integers=False` is for a primitive of floating-point numbers alone.

    Raises `AssertionError` naming the primitive, the sample, and what is wrong; also when there
    are no samples, and when no sample has a derivative that is not zero.

        >>> from kinone.ops.declare import elementwise
        >>> my_cube = elementwise(
        ...     "my_cube",
        ...     lambda x: x * x * x,
        ...     lambda g, x: 3 * x * x * g,  # the cotangent g times the local derivative
        ...     samples=lambda: [((np.array([0.5, -2.0]),),)],
        ... )
        >>> check_primitive(my_cube)
    """
    checks = [
        check_shape,
        check_forward,
        check_reverse,
        check_dtypes,
        check_graph,
        check_jit,
        check_batch,
    ]
    if integers:
        checks.insert(1, check_integers)
    if order > 1:
        checks.append(check_second)
    for index, sample in enumerate(samples_of(primitive)):
        for rule in checks:
            _named(rule, primitive, index, sample)
    check_sensitive(primitive)


def _named(rule: Callable[..., None], primitive: Primitive, index: int, sample: Any) -> None:
    try:
        rule(primitive, sample)
    except AssertionError as error:
        raise AssertionError(
            f"{primitive.name}, sample {index} ({describe_sample(sample)}): {error}"
        ) from error


def check_shape(primitive: Primitive, sample: Any) -> None:
    """The shape rule says what `impl` returns, in shape and dtype, for every floating dtype."""
    for dtype in FLOATS:
        casted = cast_sample(sample, dtype)
        _compare_shape(primitive, casted.args, sample.params, required=dtype is not np.float16)
    # Python numbers in place of scalars adapt to the arrays that they meet.
    for dtype in (np.float64, np.float32):
        casted = cast_sample(sample, dtype).args
        scalars = [i for i, x in enumerate(casted) if is_inexact(x) and np.shape(x) == ()]
        for position in scalars:
            args = [float(x) if i == position else x for i, x in enumerate(casted)]
            _compare_shape(primitive, args, sample.params, required=True)


def check_integers(primitive: Primitive, sample: Any) -> None:
    """For integers and booleans too, the shape rule says what `impl` returns, or `impl` refuses
    them as NumPy would: with a `TypeError` or a `ValueError`."""
    for dtype in OTHERS:
        casted = cast_sample(sample, dtype)
        try:
            _compare_shape(primitive, casted.args, sample.params, required=False)
        except AssertionError as error:
            raise AssertionError(
                f"{error} (integers=False is for a primitive of floating-point numbers alone)"
            ) from error


def _compare_shape(
    primitive: Primitive, args: Sequence[Array], params: dict[str, Any], *, required: bool
) -> None:
    said: Any
    avals = [shape_dtype(x) for x in args]
    with np.errstate(all="ignore"):
        try:
            result = primitive(*args, **params)
        except (TypeError, ValueError):
            if required:
                raise
            return  # not for this dtype, as in NumPy
        try:
            said = primitive.shape(*avals, **params)
        except TracerConversionError:
            return  # a shape that depends on values
    results = result if primitive.multiple else (result,)
    said = said if primitive.multiple else (said,)
    if len(results) != len(said):
        raise AssertionError(f"{len(results)} results, and the shape rule says {len(said)}")
    for value, aval in zip(results, said, strict=True):
        known = shape_dtype(value)
        if known.shape != aval.shape or known.dtype != aval.dtype:
            raise AssertionError(f"of {avals} gives {known}, and the shape rule says {aval}")


__all__ = [
    "FLOATS",
    "OTHERS",
    "cast_sample",
    "check_batch",
    "check_dtypes",
    "check_forward",
    "check_graph",
    "check_integers",
    "check_jit",
    "check_primitive",
    "check_reverse",
    "check_second",
    "check_sensitive",
    "check_shape",
    "describe_sample",
    "restricted",
    "samples_of",
    "traced_subsets",
]
