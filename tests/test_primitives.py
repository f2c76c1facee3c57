"""Every rule of every primitive in the registry, on every one of its samples.

The driver is the registry, so a new primitive is under test as soon as it is declared. The second
half turns the checks on themselves: with a rule zeroed, or off by one part in a million, they must
fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
import kinone.nn  # which has primitives of its own
from kinone.core import Primitive, ShapeDtype, is_inexact, numpy_functions, registry, shape_dtype
from kinone.errors import MissingRuleError
from kinone.ops.declare import constant, elementwise, primitive
from kinone.ops.samples import REAL, Sample, broadcasting, values
from kinone.testing import check_grads, check_primitive, numeric_jvp, programs, rules

# Halves of `while` in reverse mode: what passes between them is no array, so no sample holds it,
# and the checks of `while` run them. And the mark of a composite, which no transformation meets.
WITHOUT = {"while_record", "while_replay", "while_forward", "while_backward", "composite"}
PRIMITIVES = [one for one in registry.values() if one.name not in WITHOUT]
CASES = [
    pytest.param(one, sample, id=f"{one.name}-{rules.describe_sample(sample)[:60]}")
    for one in PRIMITIVES
    for sample in (one.samples() if one.samples else ())
]
DIFFERENTIABLE = [one for one in PRIMITIVES if one.vjp is not None]
# `impl` and NumPy's own function differ in the last bit where ours is faster.
UFUNCS = [
    (function, one)
    for function, one in numpy_functions.items()
    if isinstance(function, np.ufunc) and isinstance(one, Primitive)
]
# Constant by decree, not by mathematics.
DECREED = {"stop_gradient"}


@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_has_samples_and_both_rules(one: Primitive) -> None:
    assert rules.samples_of(one)


@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_is_sensitive_to_each_operand(one: Primitive) -> None:
    rules.check_sensitive(one)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_shape_rule(one: Primitive, sample: Sample) -> None:
    rules.check_shape(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_shape_rule_of_integers(one: Primitive, sample: Sample) -> None:
    rules.check_integers(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_forward_rule(one: Primitive, sample: Sample) -> None:
    rules.check_forward(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_reverse_rule(one: Primitive, sample: Sample) -> None:
    rules.check_reverse(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_second_order(one: Primitive, sample: Sample) -> None:
    rules.check_second(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_derivative_dtypes(one: Primitive, sample: Sample) -> None:
    rules.check_dtypes(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_graph_has_the_bits_of_eager(one: Primitive, sample: Sample) -> None:
    rules.check_graph(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_compiled_programs_have_the_bits_of_eager(one: Primitive, sample: Sample) -> None:
    rules.check_jit(one, sample)


@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_has_a_batching_rule(one: Primitive) -> None:
    """`vmap` loops over the examples of a user's primitive alone, and says so."""
    assert one.batch is not None


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_batching_rule_is_the_loop_over_examples(one: Primitive, sample: Sample) -> None:
    rules.check_batch(one, sample)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_impl_leaves_its_operands_alone(one: Primitive, sample: Sample) -> None:
    """Neither the operation nor its pullback writes into what it was given."""
    before = [np.array(x) for x in sample.args]
    if one.vjp is None:
        one(*sample.args, **sample.params)
    else:
        for traced in rules.traced_subsets(sample):
            f, xs = rules.restricted(one, sample, traced)
            try:
                y, pullback = kn.vjp(f, *xs)
            except MissingRuleError:
                continue
            g = kn.tree.map(np.ones_like, y)
            g_before = kn.tree.map(np.array, g)
            first = pullback(g)
            again = pullback(g)
            for a, b in zip(kn.tree.leaves(g), kn.tree.leaves(g_before), strict=True):
                assert np.array_equal(a, b)
            for a, b in zip(first, again, strict=True):
                assert np.array_equal(a, b)
    for x, copy in zip(sample.args, before, strict=True):
        assert np.array_equal(x, copy)


@pytest.mark.parametrize(("one", "sample"), CASES)
def test_strides_do_not_matter(one: Primitive, sample: Sample) -> None:
    """Operands in Fortran order, reversed, and with gaps give the values and derivatives of
    contiguous ones."""
    for restride in (np.asfortranarray, _backwards, _with_gaps):
        args = tuple(restride(x) if np.ndim(x) else x for x in sample.args)
        for want, got in zip(
            _everything(one, sample.args, sample.params),
            _everything(one, args, sample.params),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def _backwards(x: Any) -> Any:
    return np.ascontiguousarray(x[::-1])[::-1]


def _with_gaps(x: Any) -> Any:
    wide = np.zeros([2 * n + 1 for n in x.shape], x.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def _everything(one: Primitive, args: Any, params: Any) -> list[Any]:
    """The value, and the cotangents for a fixed cotangent."""
    y = one(*args, **params)
    found = list(y) if one.multiple else [y]
    if one.vjp is None:
        return found
    floats = [i for i, x in enumerate(args) if is_inexact(x)]
    for traced in (floats, floats[:1]):
        f, xs = rules.restricted(one, Sample(args, params), traced)
        try:
            y, pullback = kn.vjp(f, *xs)
        except MissingRuleError:
            continue
        g = kn.tree.map(
            lambda leaf: (
                np.cos(np.arange(np.size(leaf)))
                .reshape(np.shape(leaf))
                .astype(shape_dtype(leaf).dtype)
            ),
            y,
        )
        return [*found, *pullback(g)]
    return found


@pytest.mark.parametrize(
    ("ufunc", "one"), UFUNCS, ids=[f"{u.__name__}-{one.name}" for u, one in UFUNCS]
)
def test_impl_is_numpys(ufunc: np.ufunc, one: Primitive) -> None:
    for sample in one.samples():
        for dtype in (np.float64, np.float32, np.float16, np.int64, np.bool_):
            args = rules.cast_sample(sample, dtype).args
            with np.errstate(all="ignore"):
                try:
                    want = ufunc(*args)
                except (TypeError, ValueError) as error:
                    with pytest.raises(type(error)):
                        one(*args)
                    continue
                got = one(*args)
            assert np.asarray(got).dtype == np.asarray(want).dtype
            precision = {"float16": 1e-3, "float32": 1e-6}.get(str(np.asarray(want).dtype), 1e-15)
            np.testing.assert_allclose(got, want, rtol=precision)


@pytest.mark.parametrize("scalar", [2, 1.5, True], ids=str)
@pytest.mark.parametrize(
    "one",
    [one for one in dict.fromkeys(one for _, one in UFUNCS) if one.vjp is not None],
    ids=lambda one: one.name,
)
def test_python_scalars_do_not_widen_derivatives(one: Primitive, scalar: Any) -> None:
    """A float32 operand that meets a Python number gets a float32 cotangent, straight from the
    rule: a rule that computes in float64 would be slow where nobody looks."""
    x = np.array([0.25, 0.5], np.float32)
    for sample in one.samples()[:1]:
        if len(sample.args) != 2:
            continue
        for f in (lambda x: one(x, scalar), lambda x: one(scalar, x)):
            try:
                y, pullback = kn.vjp(f, x)
            except (TypeError, ValueError):
                continue
            assert y.dtype == np.float32
            assert pullback(np.ones_like(y))[0].dtype == np.float32
            assert kn.jvp(f, (x,), (x,))[1].dtype == np.float32


@pytest.mark.parametrize(
    "one",
    [one for one in PRIMITIVES if one.vjp is None and one.name not in DECREED],
    ids=lambda one: one.name,
)
def test_constant_is_constant(one: Primitive) -> None:
    """What is declared without a derivative has none where it is smooth."""
    for sample in one.samples():
        floats = [i for i, x in enumerate(sample.args) if is_inexact(x)]
        f, xs = rules.restricted(one, sample, floats)
        slope = numeric_jvp(f, xs, kn.tree.map(np.ones_like, xs), eps=1e-6)
        for leaf in kn.tree.leaves(slope):
            assert not np.any(leaf)


# ---- the checks, checked -------------------------------------------------------------------------


def change_vjp(
    monkeypatch: pytest.MonkeyPatch, one: Primitive, operand: int, change: Callable[[Any], Any]
) -> None:
    """Puts a change of one operand's cotangent into the reverse rule."""

    def changed(pullback: Callable[..., Any], wanted: Any) -> Callable[..., Any]:
        positions = [i for i, flag in enumerate(wanted) if flag]

        def pull(g: Any) -> list[Any]:
            found = list(pullback(g))
            if operand in positions and found[positions.index(operand)] is not None:
                found[positions.index(operand)] = change(found[positions.index(operand)])
            return found

        return pull

    rule, run = one.vjp, one.run_vjp
    if run is not None:

        def reverse_run(wanted: Any, xs: Any, params: Any) -> Any:
            y, pullback = run(wanted, xs, params)
            return y, None if pullback is None else changed(pullback, wanted)

        monkeypatch.setattr(one, "run_vjp", reverse_run)
        return

    def reverse(wanted: Any, y: Any, xs: Any, params: Any) -> Any:
        return changed(rule(wanted, y, xs, params), wanted)

    monkeypatch.setattr(one, "vjp", reverse)


def change_jvp(
    monkeypatch: pytest.MonkeyPatch, one: Primitive, change: Callable[[Any], Any]
) -> None:
    """Puts a change of the tangent, of each result, into the forward rule."""

    def changed(tangent: Any) -> Any:
        if one.multiple and tangent is not None:
            return tuple(None if t is None else change(t) for t in tangent)
        return None if tangent is None else change(tangent)

    rule, run = one.jvp, one.run_jvp
    if run is not None:

        def forward_run(xs: Any, tangents: Any, params: Any) -> Any:
            y, tangent = run(xs, tangents, params)
            return y, changed(tangent)

        monkeypatch.setattr(one, "run_jvp", forward_run)
        return

    def forward(y: Any, xs: Any, tangents: Any, params: Any) -> Any:
        return changed(rule(y, xs, tangents, params))

    monkeypatch.setattr(one, "jvp", forward)


def mutants() -> list[Any]:
    found = []
    for one in DIFFERENTIABLE:
        operands: set[int] = set()
        for sample in one.samples() if one.samples else ():
            for traced in rules.traced_subsets(sample):
                if len(traced) == 1 and np.size(sample.args[traced[0]]):
                    try:
                        f, xs = rules.restricted(one, sample, traced)
                        kn.vjp(f, *xs)
                    except MissingRuleError:
                        continue
                    operands.update(traced)
        found += [pytest.param(one, i, id=f"{one.name}-{i}") for i in sorted(operands)]
    return found


MUTANTS = mutants()


def fails(one: Primitive, check: Callable[..., None]) -> bool:
    """Whether a check fails on some sample."""
    for sample in one.samples():
        try:
            check(one, sample)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize(("one", "operand"), MUTANTS)
def test_a_zeroed_reverse_rule_fails(
    one: Primitive, operand: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_vjp(monkeypatch, one, operand, lambda cotangent: None)
    assert fails(one, rules.check_reverse)
    with pytest.raises(AssertionError, match="is zero"):
        rules.check_sensitive(one)


@pytest.mark.parametrize(("one", "operand"), MUTANTS)
def test_a_slightly_wrong_reverse_rule_fails(
    one: Primitive, operand: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_vjp(monkeypatch, one, operand, lambda cotangent: cotangent * (1 + 1e-9))
    assert fails(one, rules.check_reverse)


@pytest.mark.parametrize("one", DIFFERENTIABLE, ids=lambda one: one.name)
def test_a_zeroed_forward_rule_fails(one: Primitive, monkeypatch: pytest.MonkeyPatch) -> None:
    change_jvp(monkeypatch, one, lambda tangent: None)
    assert fails(one, rules.check_forward)
    assert fails(one, rules.check_reverse)


@pytest.mark.parametrize("one", DIFFERENTIABLE, ids=lambda one: one.name)
def test_a_slightly_wrong_forward_rule_fails(
    one: Primitive, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_jvp(monkeypatch, one, lambda tangent: tangent * (1 + 1e-6))
    assert fails(one, rules.check_forward)


@pytest.mark.parametrize("one", DIFFERENTIABLE, ids=lambda one: one.name)
def test_a_wrong_shape_rule_fails(one: Primitive, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = one.shape

    def wider(*avals: Any, **params: Any) -> Any:
        said = rule(*avals, **params)
        first = said[0] if one.multiple else said
        other = np.float32 if first.dtype == np.float64 else np.float64
        wrong = ShapeDtype(first.shape, other)
        return (wrong, *said[1:]) if one.multiple else wrong

    monkeypatch.setattr(one, "shape", wider)
    assert fails(one, rules.check_shape)


def changed_batches() -> list[Any]:
    """What a wrong batching rule makes of right results."""
    return [
        pytest.param(lambda y: y[::-1], id="examples in reverse"),
        pytest.param(lambda y: np.broadcast_to(y[:1], y.shape), id="the first for all"),
        pytest.param(lambda y: np.moveaxis(y, 0, -1), id="the batch axis last"),
        pytest.param(lambda y: y[:, None], id="one axis more"),
        pytest.param(lambda y: _other_dtype(y), id="another dtype"),
        pytest.param(lambda y: _off(y), id="slightly off"),
    ]


def _other_dtype(y: Any) -> Any:
    return np.astype(y, np.float32 if y.dtype == np.float64 else np.float64)


def _off(y: Any) -> Any:
    return y * (1 + 1e-9) if y.dtype.kind in "fc" else ~y if y.dtype == bool else y + 1


@pytest.mark.parametrize("change", changed_batches())
@pytest.mark.parametrize(
    "name",
    [
        "add",
        "where",
        "sum",
        "transpose",
        "conv",
        "max_pool",
        "softmax",
        "batch_norm",
        "random_bits",
    ],
)
def test_a_wrong_batching_rule_fails(
    name: str, change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = registry[name]
    rule = one.batch
    assert rule is not None

    def wrong(size: int, batched: Any, *xs: Any, **params: Any) -> Any:
        y = rule(size, batched, *xs, **params)
        return tuple(change(each) for each in y) if one.multiple else change(y)

    monkeypatch.setattr(one, "batch", wrong)
    assert fails(one, rules.check_batch)


@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_a_batching_rule_that_mixes_up_examples_fails(
    one: Primitive, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = one.batch
    assert rule is not None
    changed: list[bool] = []

    def flipped(y: Any) -> Any:
        if isinstance(y, np.ndarray):
            changed.append(not np.array_equal(y, y[::-1], equal_nan=y.dtype.kind in "fc"))
        return np.flip(y, 0)

    def wrong(size: int, batched: Any, *xs: Any, **params: Any) -> Any:
        y = rule(size, batched, *xs, **params)
        return tuple(flipped(each) for each in y) if one.multiple else flipped(y)

    monkeypatch.setattr(one, "batch", wrong)
    # Where all examples give the same (isnan of numbers) no mistake about them can show.
    assert fails(one, rules.check_batch) or not any(changed)


@pytest.mark.parametrize("right", [0, 1], ids=["at once", "the second time"])
def test_a_wrong_compiled_program_fails(right: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def jit(f: Callable[..., Any]) -> Callable[..., Any]:
        runs: list[int] = []

        def compiled(*xs: Any) -> Any:
            runs.append(1)
            y = f(*xs)
            return y if len(runs) <= right else kn.tree.map(lambda y: np.nextafter(y, np.inf), y)

        return compiled

    monkeypatch.setattr(programs, "jit", jit)
    with pytest.raises(AssertionError, match=r"run again" if right else "the compiled program re"):
        rules.check_jit(registry["tanh"], registry["tanh"].samples()[0])


@pytest.fixture
def scratch_registry() -> Any:
    """Primitives that a test declares do not stay."""
    before, functions = dict(registry), dict(numpy_functions)
    yield
    registry.clear()
    registry.update(before)
    numpy_functions.clear()
    numpy_functions.update(functions)


@pytest.mark.usefixtures("scratch_registry")
class TestCheckPrimitive:
    def test_a_good_one_passes(self) -> None:
        def triple(x: Any) -> Any:
            return 3 * x

        made = elementwise("triple", triple, lambda g: 3 * g, samples=broadcasting(REAL))
        check_primitive(made, integers=False)

    def test_integers_are_checked(self) -> None:
        def triple(x: Any) -> Any:
            return 3 * x

        made = elementwise("triple", triple, lambda g: 3 * g, samples=broadcasting(REAL))
        with pytest.raises(AssertionError, match=r"int64.*says bool.*integers=False"):
            check_primitive(made)

    def test_samples_are_plain_tuples(self) -> None:
        def scaled(x: Any, *, by: float) -> Any:
            return x * by

        def make(name: str, samples: Any) -> Primitive:
            return primitive(
                name,
                scaled,
                shape=lambda x, by: x,
                vjp=lambda y, x, by: lambda g: (g * by,),
                jvp=lambda y, x, by: lambda t: t * by,
                samples=lambda: samples,
            )

        check_primitive(make("scaled", [((values(3),), {"by": 2.0})]), integers=False)
        wrong = [values(3)], (values(3), values(3)), ((values(3),), {}, 1), (values(3),)
        for number, sample in enumerate(wrong):
            with pytest.raises(TypeError, match=r"\(operands, parameters\)"):
                check_primitive(make(f"scaled{number}", [sample]))

    def test_several_results(self) -> None:
        def sine_cosine(x: Any) -> Any:
            return np.sin(x), np.cos(x)

        def make(sign: float) -> Primitive:
            return primitive(
                f"sine_cosine{sign}",
                sine_cosine,
                shape=lambda x: (x, x),
                vjp=lambda y, x: lambda g: (g[0] * np.cos(x) - sign * g[1] * np.sin(x),),
                jvp=lambda y, x: lambda t: (t * np.cos(x), -t * np.sin(x)),
                multiple=True,
                samples=lambda: [Sample((values(3),))],
            )

        check_primitive(make(1.0), integers=False)
        with pytest.raises(AssertionError, match=r"<vjp\(g\), t>"):
            check_primitive(make(0.0), integers=False)  # the second result's cotangent dropped

    def test_without_samples(self) -> None:
        with pytest.raises(AssertionError, match="has no samples"):
            check_primitive(elementwise("bare", np.sin, lambda g, x: g * np.cos(x)))

    def test_with_a_wrong_partial(self) -> None:
        def cube(x: Any) -> Any:
            return x * x * x

        wrong = elementwise("cube", cube, lambda g, x: 2 * g * x * x, samples=broadcasting(REAL))
        with pytest.raises(
            AssertionError, match=r"cube, sample 0 \(float64\[3,4\]\): .*tangent is wrong"
        ):
            check_primitive(wrong)

    def test_with_one_rule_of_two(self) -> None:
        made = constant(
            "half", lambda x: x, shape=lambda x: x, samples=lambda: [Sample((values(2),))]
        )
        made.jvp = lambda y, xs, tangents, params: tangents[0]
        with pytest.raises(AssertionError, match="one of the two"):
            check_primitive(made)

    def test_wrong_dtype(self) -> None:
        def doubled(x: Any) -> Any:
            return np.asarray(x, np.float64) * 2

        made = primitive(
            "doubled",
            doubled,
            shape=lambda x: x,
            vjp=lambda y, x: lambda g: (g * 2,),
            jvp=lambda y, x: lambda t: t * 2,
            samples=lambda: [Sample((values(2),))],
        )
        with pytest.raises(AssertionError, match="the shape rule says float32"):
            check_primitive(made)

    def test_a_batching_rule_that_loops_below_is_refused(self) -> None:
        def twice(x: Any) -> Any:
            return 2 * x

        def make(name: str, batch: Any) -> Primitive:
            return primitive(
                name,
                twice,
                shape=lambda x: x,
                vjp=lambda y, x: lambda g: (2 * g,),
                jvp=lambda y, x: lambda t: 2 * t,
                batch=batch,
                samples=lambda: [Sample((values(3),))],
            )

        check_primitive(make("looping", None), integers=False)  # by vmap's own loop
        looping = registry["looping"]
        nested = make("nested", lambda size, batched, x: looping(x))
        with pytest.raises(AssertionError, match=r"outer vmap.*BatchLoopWarning: looping"):
            check_primitive(nested, integers=False)
        asking = make("asking", lambda size, batched, x: np.multiply(np.asarray(x), 2))
        with pytest.raises(AssertionError, match=r"nested|outer vmap"):
            check_primitive(asking, integers=False)

    def test_second_order_is_followed(self) -> None:
        """A rule that computes outside of tracing is right at first order and wrong at second."""

        def sine(x: Any) -> Any:
            return np.sin(x)

        def slope(g: Any, x: Any) -> Any:
            return g * np.cos(kn.stop_gradient(x))

        made = elementwise("sine", sine, slope, samples=broadcasting(REAL))
        check_primitive(made, order=1, integers=False)
        with pytest.raises(AssertionError, match=r"of JVP|of VJP"):
            check_primitive(made, integers=False)


class TestCheckGrads:
    def test_trees_and_orders(self) -> None:
        def f(p: Any, x: Any) -> Any:
            return {"y": np.tanh(x @ p["w"] + p["b"][0]), "n": np.sum(x)}

        p = {"w": values(3, 2), "b": [values(2), np.array([1, 2])]}
        check_grads(f, (p, values(4, 3)), order=3)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
    def test_dtypes(self, dtype: Any) -> None:
        check_grads(lambda x: np.tanh(x * x), (values(5).astype(dtype),), order=1)

    def test_python_floats(self) -> None:
        check_grads(lambda a, b: a * np.exp(b), (2.0, 0.5), order=4)

    def test_names_the_leaf_and_the_worst_element(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def f(params: Any) -> Any:
            return np.sum(np.sin(params["a"])) + np.sum(np.tanh(params["b"]["w"]))

        rule = registry["tanh"].vjp

        def broken(wanted: Any, y: Any, xs: Any, params: Any) -> Any:
            pullback = rule(wanted, y, xs, params)

            def pull(g: Any) -> Any:
                (ct,) = pullback(g)
                ct = np.array(ct)
                ct[1, 2] += 0.25
                return [ct]

            return pull

        monkeypatch.setattr(registry["tanh"], "vjp", broken)
        with pytest.raises(AssertionError) as caught:
            check_grads(f, ({"a": values(2), "b": {"w": values(2, 3)}},), order=1)
        text = str(caught.value)
        assert "args[0]/b/w" in text
        assert "worst at [1, 2]" in text
        assert "VJP" in text

    def test_forward_names_the_worst_element(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = registry["sin"].jvp
        spike = np.array([0.0, 0.0, 0.5])
        monkeypatch.setattr(
            registry["sin"], "jvp", lambda y, xs, ts, params: rule(y, xs, ts, params) + spike
        )
        with pytest.raises(AssertionError, match=r"JVP: tangent of out .*1 of 3.*worst at \[2\]"):
            check_grads(lambda x: {"out": np.sin(x)}, (values(3),), order=1, modes=["fwd"])

    def test_modes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry["sin"], "jvp", lambda y, xs, ts, params: 0 * ts[0])
        check_grads(np.sin, (values(3),), order=1, modes=["rev"])
        check_grads(np.sin, (values(3),), order=1, modes="rev")
        with pytest.raises(AssertionError):
            check_grads(np.sin, (values(3),), order=1, modes=["fwd"])
        with pytest.raises(ValueError, match="modes"):
            check_grads(np.sin, (values(3),), order=1, modes=["backward"])
        with pytest.raises(ValueError, match="order"):
            check_grads(np.sin, (values(3),), order=0)

    def test_tolerances_and_step(self) -> None:
        f = lambda x: x + 1e-4 * kn.stop_gradient(x)  # noqa: E731
        with pytest.raises(AssertionError):
            check_grads(f, (values(3),), order=1)
        check_grads(f, (values(3),), order=1, atol=1e-3, rtol=1e-3)
        check_grads(np.abs, (np.array([1e-3]),), order=1, eps=1e-5)

    @pytest.mark.parametrize("mode", ["fwd", "rev"])
    def test_a_function_that_is_nan(self, mode: str) -> None:
        def f(x: Any) -> Any:
            return {"y": np.log(x)}

        with np.errstate(all="ignore"):
            with pytest.raises(AssertionError, match=r"f itself is NaN at these arg.* result y"):
                check_grads(f, (np.array([1.0, -1.0]),), order=1, modes=[mode])
            with pytest.raises(AssertionError, match="f is NaN or infinite within"):
                check_grads(f, (np.array([1e-9]),), order=1, modes=[mode])

    def test_nan_is_not_close(self) -> None:
        """The classic: the branch that was not taken has no derivative, and 0 · NaN is NaN."""

        def f(x: Any) -> Any:
            return np.where(x > 0, np.sqrt(x), x)

        with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match="nan"):
            check_grads(f, (np.array([-1.0]),), order=1, modes=["rev"])
