"""Every primitive of the registry as ONNX: forward, vjp and vmap programs of its samples, run in
ONNX Runtime beside eager, in float64 and float32.

The driver is the registry: a primitive without a rule fails, unless its slot says why there is
none. The first sample of each is in the default run, the others are slow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_runtime import as_tensor, check_export, run

import kinone as kn
import kinone.onnx
from kinone import ops
from kinone.core import Primitive, is_inexact, registry
from kinone.errors import MissingRuleError
from kinone.onnx.export.rules import rule_of
from kinone.ops.samples import Sample
from kinone.testing.examples import examples, stacked
from kinone.testing.gradients import random_like
from kinone.testing.operands import cast_sample, describe_sample, samples_of

ops.load_all()
assert kinone.onnx.lower.FAMILIES  # its import filled in the rules

# Halves of `while` in reverse mode, whose record is no array, and calls of programs, which samples
# hold in part only: test_onnx_control.py runs them. A test may declare primitives of its own.
WITHOUT = {"while_record", "while_replay", "while_forward", "while_backward", "composite"}
WITHOUT |= {"custom_jvp", "custom_vjp"}
PRIMITIVES = [
    one
    for one in registry.values()
    if one.name not in WITHOUT and one.declared.filename.startswith(kn.__path__[0])
]


def _slow_after_first(one: Primitive) -> list[Any]:
    return [
        pytest.param(
            one,
            sample,
            id=f"{one.name}-{describe_sample(sample)[:60]}",
            marks=[pytest.mark.slow] if i and len(samples_of(one)) > 1 else [],
        )
        for i, sample in enumerate(samples_of(one))
    ]


OPSETS = range(17, onnx.defs.onnx_opset_version() + 1)
CASES = [case for one in PRIMITIVES for case in _slow_after_first(one)]

# Relative to the largest number of a result, by dtype; where ONNX Runtime is coarser than that, or
# works in float32, what it reaches.
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}
COARSER: dict[tuple[str, str], float] = {}

# Results that are one of several right ones, as a function of them that is the same for all.
CANONICAL: dict[str, Callable[..., Any]] = {
    "eigh": lambda w, v: (w, np.matmul(v * w[..., None, :], np.conj(np.swapaxes(v, -1, -2)))),
    "svd": lambda u, s, vh, *rest: (
        s,
        np.matmul(u[..., : s.shape[-1]] * s[..., None, :], vh[..., : s.shape[-1], :]),
    ),
    "qr": lambda q, r, *rest: np.matmul(q, r),
}


def _applied(one: Primitive, sample: Any) -> Callable[..., Any]:
    """The primitive of its operands, with results that say the same whoever computes them."""
    canonical = CANONICAL.get(one.name)
    chosen = sample.params.get("kth", ())

    def apply(*xs: Any) -> Any:
        found = one(*xs, **sample.params)
        if canonical is not None:
            return canonical(*found)
        if one.name == "partition":
            return np.take(found, chosen, sample.params["axis"])
        if one.name == "argpartition":
            axis = sample.params["axis"]
            return np.take(np.take_along_axis(xs[0], found, axis), chosen, axis)
        return (found, *xs) if one.effect else found

    apply.__name__ = one.name
    return apply


def compare(
    one: Primitive,
    fun: Callable[..., Any],
    args: Sequence[Any],
    least: float = 0.0,
    **options: Any,
) -> None:
    """Exports a function, runs it in ONNX Runtime, and compares with eager: relative to the largest
    number of a result, or to `least`."""
    with np.errstate(all="ignore"):
        wanted = [as_tensor(leaf) for leaf in kn.tree.leaves(fun(*args))]
    found = run(kn.onnx.export(fun, *args, dynamic={}, **options), *args)
    assert len(found) == len(wanted)
    name = next(
        (np.asarray(x).real.dtype.name for x in args if is_inexact(x)),
        "float64",
    )
    tolerance = COARSER.get((one.name, name), TOLERANCES[name])
    for got, want in zip(found, wanted, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want)
            continue
        finite = np.abs(want[np.isfinite(want)])
        largest = max(float(finite.max()) if finite.size else 0.0, least)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * largest)


def _skip_without_rule(one: Primitive) -> None:
    rule_of(one)  # of kinone.scipy's they are read when they are asked for
    if one.onnx is None and one.expand is not None:
        return  # in a traced program there are others in its place
    assert one.onnx is not None, f"{one.name} has no ONNX rule, and nothing says why"
    if isinstance(one.onnx, str):
        assert len(one.onnx.split()) > 3, f"{one.name}: {one.onnx!r} is no reason"
        pytest.skip(one.onnx)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("one", "sample"), CASES)
def test_forward(one: Primitive, sample: Sample, dtype: Any) -> None:
    _skip_without_rule(one)
    casted = cast_sample(sample, dtype)
    compare(one, _applied(one, casted), casted.args)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("one", "sample"), CASES)
def test_vjp(one: Primitive, sample: Sample, dtype: Any) -> None:
    _skip_without_rule(one)
    if one.vjp is None or one.effect:
        return
    casted = cast_sample(sample, dtype)
    floats = [i for i, x in enumerate(casted.args) if is_inexact(x)]
    if not floats:
        return
    apply = _applied(one, casted)
    for chosen in (floats, floats[:1]):

        def pulled(g: Any, *xs: Any, chosen: Sequence[int] = chosen) -> Any:
            def partial(*traced: Any) -> Any:
                given = dict(zip(chosen, traced, strict=True))
                return apply(*[given.get(i, x) for i, x in enumerate(xs)])

            return kn.vjp(partial, *[xs[i] for i in chosen])[1](g)

        with np.errstate(all="ignore"):
            cotangent = random_like(np.random.default_rng(3), apply(*casted.args))
        try:
            compare(one, pulled, (cotangent, *casted.args))
        except MissingRuleError:  # what is data in its further operands
            continue
        return


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("one", "sample"), CASES)
def test_vmap(one: Primitive, sample: Sample, dtype: Any) -> None:
    """Batched in the first operand."""
    _skip_without_rule(one)
    if one.effect or not sample.args:
        return
    many = examples(one, cast_sample(sample, dtype), 3)
    axes = tuple(None if i else 0 for i in range(len(sample.args)))
    compare(one, kn.vmap(_applied(one, sample), axes), stacked(many, (0,)))


@pytest.mark.slow
@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_derivatives_of_derivatives(one: Primitive) -> None:
    """grad of grad, and jvp, in the first operand."""
    _skip_without_rule(one)
    sample = samples_of(one)[0]
    place = next((i for i, x in enumerate(sample.args) if is_inexact(x)), None)
    if one.vjp is None or one.effect or place is None:
        return
    apply = _applied(one, sample)

    def of_first(x: Any) -> Any:
        return apply(*[x if i == place else each for i, each in enumerate(sample.args)])

    x = sample.args[place]
    with np.errstate(all="ignore"):
        weights = random_like(np.random.default_rng(1), of_first(x))

    def total(x: Any) -> Any:
        pairs = zip(kn.tree.leaves(of_first(x)), kn.tree.leaves(weights), strict=True)
        return sum(np.sum(np.real(y * w)) for y, w in pairs if is_inexact(y))

    def second(x: Any) -> Any:
        return kn.grad(lambda x: np.sum(np.sin(np.real(kn.grad(total)(x)))))(x)

    def pushed(x: Any) -> Any:
        return kn.jvp(of_first, (x,), (np.ones_like(x),))[1]

    for derivative in (second, pushed):
        try:
            with np.errstate(all="ignore"):
                derivative(x)
        except (MissingRuleError, TypeError):
            continue  # there is none
        compare(one, derivative, (x,), least=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [opset for opset in OPSETS if opset != 21])
@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_every_opset(one: Primitive, opset: int) -> None:
    _skip_without_rule(one)
    sample = samples_of(one)[0]
    if opset == 17 and one.name in ("bitwise_count", "random_bits", "normal_from_bits"):
        with pytest.raises(kn.onnx.ExportError, match="18"):  # has operators for bits of integers
            compare(one, _applied(one, sample), sample.args, opset=opset)
    else:
        compare(one, _applied(one, sample), sample.args, opset=opset)


@pytest.mark.slow
@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_loaded_again_it_has_the_same_gradient(one: Primitive, tmp_path: Path) -> None:
    _skip_without_rule(one)
    if one.effect:
        return
    sample = samples_of(one)[0]
    apply = _applied(one, sample)
    onnx.save(kn.onnx.export(apply, *sample.args, dynamic={}), tmp_path / "model.onnx")
    loaded, params = kn.onnx.load(tmp_path / "model.onnx")

    def again(*xs: Any) -> Any:
        return loaded(params, *xs)

    with np.errstate(all="ignore"):
        wanted = kn.tree.leaves(apply(*sample.args))
        found = kn.tree.leaves(again(*map(as_tensor, sample.args)))
    for got, want in zip(found, map(as_tensor, wanted), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)
    place = next((i for i, x in enumerate(sample.args) if is_inexact(x)), None)
    kinds = {np.asarray(x).dtype.kind for x in (*sample.args, *wanted)}
    if one.vjp is None or place is None or "c" in kinds:
        return

    def total(fun: Callable[..., Any]) -> Callable[..., Any]:
        def weighed(x: Any) -> Any:
            rng = np.random.default_rng(0)
            args = [x if i == place else each for i, each in enumerate(sample.args)]
            ys = [y for y in kn.tree.leaves(fun(*args)) if is_inexact(y)]
            return sum(np.sum(y * random_like(rng, y)) for y in ys)

        return weighed

    x = sample.args[place]
    try:
        want = kn.grad(total(apply))(x)
    except (MissingRuleError, TypeError):
        return  # there is none
    np.testing.assert_allclose(kn.grad(total(again))(x), want, rtol=1e-9, atol=1e-10)


def test_a_wrong_rule_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks see a rule that gives zeros, and one that is off by one part in 10⁸."""
    tanh = registry["tanh"]
    sample = samples_of(tanh)[0]

    def zeros(b: Any, step: Any, x: Any) -> Any:
        return b.node("Sub", [x, x], x.shape, x.dtype)

    right: Any = tanh.onnx

    def slightly_off(b: Any, step: Any, x: Any) -> Any:
        y = right(b, step, x)  # times 1 + 1e-8 would not do: ONNX Runtime takes that for 1
        part = b.node("Mul", [y, b.constant(1e-8, y.dtype)], y.shape, y.dtype)
        return b.node("Add", [y, part], y.shape, y.dtype)

    for wrong in (zeros, slightly_off):
        monkeypatch.setattr(tanh, "onnx", wrong)
        for check in (test_forward, test_vjp, test_vmap):
            with pytest.raises(AssertionError):
                check(tanh, sample, np.float64)
    monkeypatch.setattr(tanh, "onnx", None)
    with pytest.raises(AssertionError, match="tanh has no ONNX rule"):
        test_forward(tanh, sample, np.float64)


def test_a_users_primitive_is_the_code_that_it_runs() -> None:
    @kn.extend.primitive
    def weighed(x: Any, k: Any) -> Any:
        return np.sin(x) * k

    @kn.extend.primitive
    def opaque(x: Any) -> Any:
        return np.array([float(v) for v in x])

    x = np.linspace(-1, 1, 5)
    model = check_export(lambda x: weighed(x, 2.0), (x,))
    assert [node.op_type for node in model.graph.node] == ["Sin", "Mul"]
    with pytest.raises(kn.onnx.ExportError, match=r"opaque cannot be .*\n?.*test_onnx_primitives"):
        kn.onnx.export(lambda x: opaque(x), x)
