"""Checks of a primitive's batching rule: it is the loop over examples."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..core import Array, Primitive, is_inexact, shape_dtype
from ..errors import BatchLoopWarning, MissingRuleError
from ..ops.samples import Sample
from ..transforms import jvp, vjp, vmap
from .examples import Operands, examples, stacked, taken
from .gradients import random_like
from .operands import cast_sample, flat, restricted, subsets
from .programs import compare_graph, compare_jit

# Largest error, relative to the largest element: batched sums may add in another order.
_TOLERANCES = {"float16": 2e-2, "float32": 2e-5, "float64": 2e-12}
_SIZE = 3
# Besides float64, where the primitive takes them.
_OTHERS = (np.float32, np.float16, np.complex128, np.int64, np.uint8, np.bool_)


def check_batch(primitive: Primitive, sample: Any) -> None:
    """`vmap` of the primitive and of its derivatives is the loop over examples.

    For every set of operands that may be batched (of more than three, each alone, and all):
    values, shapes and dtypes; of three examples, one and none; with the batch axis last; nested;
    under `vjp` and `jvp` and over them; traced and compiled. A primitive without the rule passes:
    vmap runs the loop itself, and says so.
    """
    if primitive.batch is None:
        return
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A rule that calls a primitive without one would loop in a nested vmap.
        warnings.simplefilter("error", BatchLoopWarning)
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        many = examples(primitive, sample, 2 * _SIZE)
        for batched in subsets(range(len(sample.args))):
            _check_values(primitive, sample, many, batched)
        _check_axes(primitive, sample, many)
        _check_nested(primitive, sample, many)
        _check_program(primitive, sample, many)
        if primitive.vjp is not None and any(is_inexact(x) for x in sample.args):
            _check_derivatives(primitive, sample, many)


# ---- values --------------------------------------------------------------------------------------


def _check_values(
    primitive: Primitive, sample: Sample, many: Sequence[Operands], batched: Sequence[int]
) -> None:
    apply = functools.partial(primitive, **sample.params)
    axes = _axes(sample, batched)
    for size in (_SIZE, 1):
        with _case(batched, f"{size} examples"):
            got = vmap(apply, axes)(*stacked(many[:size], batched))
            _compare(got, _loop(apply, many[:size], batched))
    with _case(batched, "no examples"):
        none = [x[:0] if i in batched else x for i, x in enumerate(stacked(many, batched))]
        for one, each in zip(flat(vmap(apply, axes)(*none)), flat(apply(*many[0])), strict=True):
            _same_kind(one, (0, *np.shape(each)), shape_dtype(each).dtype)
    for dtype in _OTHERS if any(is_inexact(x) for x in sample.args) else ():
        with _case(batched, np.dtype(dtype).name):
            narrow = [cast_sample(Sample(one), dtype).args for one in many[:_SIZE]]
            try:
                want = _loop(apply, narrow, batched)
            except (TypeError, ValueError):
                continue  # not for this dtype, as in NumPy
            _compare(vmap(apply, axes)(*stacked(narrow, batched)), want)


def _check_axes(primitive: Primitive, sample: Sample, many: Sequence[Operands]) -> None:
    """The batch axis last, in operands and results."""
    apply = functools.partial(primitive, **sample.params)
    everything = range(len(sample.args))
    with _case(everything, "in_axes=-1, out_axes=-1"):
        xs = [np.moveaxis(x, 0, -1) for x in stacked(many[:_SIZE], everything)]
        want = [np.moveaxis(y, 0, -1) for y in _loop(apply, many[:_SIZE], everything)]
        _compare(vmap(apply, -1, -1)(*xs), want)


def _check_nested(primitive: Primitive, sample: Sample, many: Sequence[Operands]) -> None:
    """One vmap in another, over the same operands and over different ones."""
    apply = functools.partial(primitive, **sample.params)
    count = len(sample.args)
    everything = tuple(range(count))
    pairs = [(everything, everything)]
    if count > 1:
        pairs += [((0,), everything[1:]), (everything[1:], (0,))]
    for outer, inner in pairs:
        with _case(outer, f"in an outer vmap, {list(inner)} in an inner one"):
            grid = [many[:_SIZE], many[_SIZE:]]
            xs = []
            for i in everything:
                if i in outer and i in inner:
                    xs.append(np.stack([stacked(row, everything)[i] for row in grid]))
                elif i in outer:
                    xs.append(np.stack([row[0][i] for row in grid]))
                else:
                    xs.append(stacked(grid[0], everything)[i])
            mapped = vmap(vmap(apply, _axes(sample, inner)), _axes(sample, outer))
            rows = []
            for j in range(len(grid)):
                row = tuple(x[j] if i in outer else x for i, x in enumerate(xs))
                cells = [taken(row, inner, k) for k in range(_SIZE)]
                rows.append(_loop(apply, cells, everything))
            want = [np.stack(column) for column in zip(*rows, strict=True)]
            _compare(mapped(*xs), want)


def _check_program(primitive: Primitive, sample: Sample, many: Sequence[Operands]) -> None:
    """The rule can be traced: nothing in it asks a value that is not there yet."""
    apply = functools.partial(primitive, **sample.params)
    everything = tuple(range(len(sample.args)))
    floats = tuple(i for i in everything if is_inexact(sample.args[i]))
    for batched in dict.fromkeys([everything, floats]):
        if not batched:
            continue
        mapped, held = vmap(apply, _axes(sample, batched)), stacked(many, batched)

        def program(
            *xs: Array,
            batched: Sequence[int] = batched,
            mapped: Callable[..., Any] = mapped,
            held: Sequence[Array] = held,
        ) -> Any:
            given = dict(zip(batched, xs, strict=True))
            return mapped(*[given.get(i, x) for i, x in enumerate(held)])

        with _case(batched, "in a traced program"):
            xs = tuple(held[i] for i in batched)
            compare_graph(program, xs, needed=batched == floats)
            compare_jit(program, xs, needed=batched == floats)


# ---- derivatives ---------------------------------------------------------------------------------


def _check_derivatives(primitive: Primitive, sample: Sample, many: Sequence[Operands]) -> None:
    """vmap of the pullback and of the pushforward, and the pullback of vmap."""
    many = many[:_SIZE]
    count = len(sample.args)
    floats = [i for i in range(count) if is_inexact(sample.args[i])]
    f, xs = restricted(primitive, sample, floats)
    try:
        vjp(f, *xs)
    except MissingRuleError:  # data in its further operands
        floats = floats[:1]
    rng = np.random.default_rng(5)

    def inner_of(args: Sequence[Array]) -> tuple[Callable[..., Any], tuple[Array, ...]]:
        return restricted(primitive, Sample(tuple(args), sample.params), floats)

    def pulled(g: Any, *args: Array) -> Any:
        f, xs = inner_of(args)
        return vjp(f, *xs)[1](g)

    def pushed(ts: Any, *args: Array) -> Any:
        f, xs = inner_of(args)
        return jvp(f, xs, ts)[1]

    results = primitive(*sample.args, **sample.params)
    everything = tuple(range(count))
    patterns = [
        (True, chosen) for chosen in dict.fromkeys([everything, *((i,) for i in everything)])
    ]
    for name, derivative, like in (
        ("vjp", pulled, results),
        ("jvp", pushed, tuple(sample.args[i] for i in floats)),
    ):
        seeds = [random_like(rng, like) for _ in many]
        for seeded, batched in [*patterns, (True, ()), (False, everything)]:
            with _case(batched, f"vmap of {name}, {'with' if seeded else 'without'} its argument"):
                seed = _stack_trees(seeds) if seeded else seeds[0]
                mapped = vmap(derivative, (0 if seeded else None, *_axes(sample, batched)))
                try:
                    got = mapped(seed, *stacked(many, batched))
                except MissingRuleError:
                    # Where the forward run is another one, its derivative may refuse aloud.
                    if primitive.run_vjp is None:
                        raise
                    continue
                columns = [
                    flat(derivative(seeds[k] if seeded else seeds[0], *one))
                    for k, one in enumerate(_repeated(many, batched))
                ]
                want = [np.stack(column) for column in zip(*columns, strict=True)]
                _compare(got, want)

    for batched in dict.fromkeys([tuple(floats), *((i,) for i in floats)]):
        with _case(batched, "vjp of vmap"):
            seeds = [random_like(rng, results) for _ in many]
            held = stacked(many, batched)
            axes = _axes(Sample(tuple(floats)), [floats.index(i) for i in batched])
            f, _ = inner_of(many[0])
            _, pullback = vjp(vmap(f, axes), *[held[i] for i in floats])
            columns = [
                list(pulled(seeds[k], *one)) for k, one in enumerate(_repeated(many, batched))
            ]
            stacks = [np.stack(column) for column in zip(*columns, strict=True)]
            _compare(
                pullback(_stack_trees(seeds)),
                [s if i in batched else s.sum(0) for i, s in zip(floats, stacks, strict=True)],
            )


# ---- small tools ---------------------------------------------------------------------------------


@contextmanager
def _case(batched: Sequence[int], what: str) -> Iterator[None]:
    """Puts the case before the message of what fails in it."""
    case = f"operands {list(batched)} batched, {what}"
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}") from error
    except Exception as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error


def _axes(sample: Sample, batched: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(0 if i in batched else None for i in range(len(sample.args)))


def _repeated(many: Sequence[Operands], batched: Sequence[int]) -> list[Operands]:
    """The examples, of which operands that are not batched are those of the first."""
    return [
        tuple(x if i in batched else many[0][i] for i, x in enumerate(example)) for example in many
    ]


def _loop(f: Callable[..., Any], many: Sequence[Operands], batched: Sequence[int]) -> list[Array]:
    """Each result, stacked over the examples."""
    rows = [flat(f(*example)) for example in _repeated(many, batched)]
    return [np.stack([np.asarray(y) for y in column]) for column in zip(*rows, strict=True)]


def _stack_trees(values: Sequence[Any]) -> Any:
    if isinstance(values[0], (tuple, list)):
        return tuple(np.stack(column) for column in zip(*values, strict=True))
    return np.stack(values)


def _compare(got: Any, want: Sequence[Array]) -> None:
    for one, other in zip(flat(got), want, strict=True):
        _same_kind(one, other.shape, other.dtype)
        if not is_inexact(other):
            if not np.array_equal(one, other):
                raise AssertionError("vmap gives other numbers than the loop over examples")
            continue
        finite = np.abs(other[np.isfinite(other)])
        largest = float(finite.max()) if finite.size else 0.0
        tolerance = _TOLERANCES.get(np.zeros((), other.dtype).real.dtype.name, 2e-12)
        if not np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True):
            raise AssertionError(
                f"vmap gives {_short(one)}, and the loop over examples {_short(other)}"
            )


def _same_kind(value: Array, shape: tuple[int, ...], dtype: Any) -> None:
    known = shape_dtype(value)
    if (known.shape, known.dtype) != (shape, dtype):
        raise AssertionError(
            f"vmap gives {known}, and the loop over examples {np.dtype(dtype).name}{list(shape)}"
        )


def _short(value: Array) -> str:
    return np.array2string(np.asarray(value), precision=6, threshold=8, edgeitems=2)
