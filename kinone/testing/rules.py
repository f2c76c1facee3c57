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
    sensitive   on some sample, some derivative with respect to each operand is not zero
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..core import Array, Primitive, is_inexact, shape_dtype
from ..errors import MissingRuleError, TracerConversionError
from ..graph import check, graph
from ..ops.samples import Sample
from ..transforms import jvp, vjp
from .gradients import check_grads, inner, random_like

FLOATS = (np.float64, np.float32, np.float16)
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
    checks = [check_shape, check_forward, check_reverse, check_dtypes, check_graph]
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
    if not positions:
        return
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
    """The sample with its floating operands in another dtype."""
    args = tuple(np.asarray(x).astype(dtype) if is_inexact(x) else x for x in sample.args)
    return sample._replace(args=args)


# ---- the checks ----------------------------------------------------------------------------------


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


def check_forward(primitive: Primitive, sample: Any) -> None:
    """`jvp` against finite differences, in each set of operands."""
    if primitive.vjp is None:
        return
    for traced in traced_subsets(sample):
        f, xs = restricted(primitive, sample, traced)
        _or_refused(functools.partial(check_grads, f, xs, 1, modes=("fwd",)), traced)


def check_reverse(primitive: Primitive, sample: Any) -> None:
    """⟨g, jvp(t)⟩ = ⟨vjp(g), t⟩ for random `g` and `t`, to rounding, in each set of operands."""
    if primitive.vjp is None:
        return
    for traced in traced_subsets(sample):
        f, xs = restricted(primitive, sample, traced)
        _or_refused(functools.partial(_check_transposed, f, xs), traced)


def _or_refused(run: Callable[[], None], traced: Sequence[int]) -> None:
    """A rule may refuse operands that it calls data, aloud, but never the first one."""
    try:
        run()
    except MissingRuleError:
        if traced == (0,):
            raise


def _check_transposed(f: Callable[..., Any], xs: tuple[Array, ...]) -> None:
    rng = np.random.default_rng(1)
    direction = random_like(rng, xs)
    y, pullback = vjp(f, *xs)
    _, tangent = jvp(f, xs, direction)
    cotangents = [random_like(rng, y)]
    if isinstance(y, tuple):
        # Each result alone: the others' cotangents do not arrive.
        full = cotangents[0]
        cotangents += [
            tuple(g if i == j else np.zeros_like(g) for j, g in enumerate(full))
            for i in range(len(full))
        ]
        for i in range(len(y)):
            if is_inexact(y[i]):
                _check_transposed(functools.partial(_result, f, i), xs)
    for cotangent in cotangents:
        found = pullback(cotangent)
        left, right = inner(cotangent, tangent), inner(found, direction)
        scale = sum(
            float(np.sum(np.abs(np.asarray(c) * np.asarray(t))))
            for c, t in zip((*found,), direction, strict=True)
        )
        if not abs(left - right) <= 1e-12 * max(scale, abs(left), 1e-300):
            raise AssertionError(f"<g, jvp(t)> = {left!r}, and <vjp(g), t> = {right!r}")
        # One operand at a time: what one lacks another could make up for by chance only.
        for i, x in enumerate(xs):
            alone = tuple(t if i == j else np.zeros_like(t) for j, t in enumerate(direction))
            left, right = inner(cotangent, jvp(f, xs, alone)[1]), inner(found[i], direction[i])
            if not abs(left - right) <= 1e-12 * max(scale, abs(left), 1e-300):
                raise AssertionError(
                    f"operand {i} {shape_dtype(x)}: <g, jvp(t)> = {left!r}, "
                    f"and <vjp(g), t> = {right!r}"
                )


def _result(f: Callable[..., Any], index: int, *xs: Array) -> Array:
    return f(*xs)[index]


def check_second(primitive: Primitive, sample: Any) -> None:
    """Derivatives of the derivatives, all four mixtures, against finite differences."""
    if primitive.vjp is None:
        return
    for traced in traced_subsets(sample):
        f, xs = restricted(primitive, sample, traced)
        _or_refused(functools.partial(check_grads, f, xs, 2, atol=1e-7, rtol=1e-7), traced)


def check_dtypes(primitive: Primitive, sample: Any) -> None:
    """Cotangents are like their operands and tangents like their results, in every dtype."""
    if primitive.vjp is None:
        return
    for dtype in FLOATS:
        casted = cast_sample(sample, dtype)
        for traced in traced_subsets(casted):
            f, xs = restricted(primitive, casted, traced)

            with np.errstate(all="ignore"):
                _or_refused(functools.partial(_check_kinds, f, xs), traced)


def _check_kinds(f: Callable[..., Any], xs: tuple[Array, ...]) -> None:
    rng = np.random.default_rng(2)
    y, pullback = vjp(f, *xs)
    for x, ct in zip(xs, pullback(random_like(rng, y)), strict=True):
        _same_kind("the cotangent", ct, x)
    value, tangent = jvp(f, xs, random_like(rng, xs))
    for v, t in zip(_flat(value), _flat(tangent), strict=True):
        _same_kind("the tangent", t, v)


def _same_kind(what: str, derivative: Array, primal: Array) -> None:
    got, want = shape_dtype(derivative), shape_dtype(primal)
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise AssertionError(f"{what} is {got} where the primal is {want}")


def check_graph(primitive: Primitive, sample: Any) -> None:
    """The traced program, and that of the derivatives, give the bits of eager mode."""
    for dtype in FLOATS[:2]:
        casted = cast_sample(sample, dtype)
        everything = tuple(range(len(casted.args)))
        floats = tuple(i for i in everything if is_inexact(casted.args[i]))
        for traced in dict.fromkeys([everything, floats]):
            f, xs = restricted(primitive, casted, traced)
            _compare_graph(f, xs, needed=traced == floats)
        if primitive.vjp is None or not floats:
            continue
        f, xs = restricted(primitive, casted, floats)
        rng = np.random.default_rng(3)
        try:
            y, _ = vjp(f, *xs)
        except MissingRuleError:
            f, xs = restricted(primitive, casted, floats[:1])
            y, _ = vjp(f, *xs)
        _compare_graph(functools.partial(_pulled, f), (random_like(rng, y), *xs))
        _compare_graph(functools.partial(_pushed, f), (random_like(rng, xs), *xs))


def _pulled(f: Callable[..., Any], g: Any, *xs: Array) -> Any:
    return vjp(f, *xs)[1](g)


def _pushed(f: Callable[..., Any], tangents: Any, *xs: Array) -> Any:
    return jvp(f, xs, tangents)


def _compare_graph(f: Callable[..., Any], xs: tuple[Any, ...], *, needed: bool = True) -> None:
    try:
        program = graph(f)(*xs)
    except TracerConversionError:
        if needed:
            raise
        return
    check(program)
    got, want = program(*xs), f(*xs)
    for a, b in zip(_flat(got), _flat(want), strict=True):
        left, right = np.asarray(a), np.asarray(b)
        if left.dtype != right.dtype or left.shape != right.shape:
            raise AssertionError(
                f"the graph returns {shape_dtype(left)}, eager mode {shape_dtype(right)}"
            )
        if left.tobytes() != right.tobytes():
            raise AssertionError("the graph returns other bits than eager mode")
    for atom, value in zip(program.outputs, _flat(want), strict=True):
        if (atom.aval.shape, atom.aval.dtype) != (np.shape(value), shape_dtype(value).dtype):
            raise AssertionError(
                f"the graph says {atom.aval}, and eager mode returns {shape_dtype(value)}"
            )


def _flat(value: Any) -> list[Array]:
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in _flat(each)]
    return [value]


def check_sensitive(primitive: Primitive) -> None:
    """On some sample, the derivative with respect to each floating operand is not zero."""
    if primitive.vjp is None:
        return
    rng = np.random.default_rng(4)
    seen: dict[int, bool] = {}
    for sample in samples_of(primitive):
        for traced in traced_subsets(sample):
            if len(traced) != 1:
                continue
            f, xs = restricted(primitive, sample, traced)
            try:
                y, pullback = vjp(f, *xs)
            except MissingRuleError:
                continue
            (cotangent,) = pullback(random_like(rng, y))
            (position,) = traced
            if np.size(cotangent) == 0:
                continue
            seen[position] = seen.get(position, False) or bool(np.any(np.asarray(cotangent) != 0))
    if not seen:
        raise AssertionError(f"{primitive.name} has no sample with a floating operand")
    for position, found in seen.items():
        if not found:
            raise AssertionError(
                f"{primitive.name}: on every sample the derivative with respect to operand "
                f"{position} is zero; declare it constant, or give it a sample that shows it"
            )
