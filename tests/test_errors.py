"""Errors: of the right type, with the user's file and line, the leaf's path, and the fix."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core import messages, registry
from kinone.errors import (
    GradientError,
    KinoneError,
    LeafError,
    LeakedTracerError,
    MissingRuleError,
    ShapeError,
    TracerAssignmentError,
    TracerConversionError,
    TreeError,
)
from kinone.ops import declare

X = np.ones(3)
IMAGES, KERNEL = np.ones((1, 8, 8, 3)), np.ones((3, 3, 4, 8))


def raised(kind: type[Exception], run: Callable[[], Any], *parts: str, lines: bool = True) -> str:
    """The message of the error that `run` raises: of exactly this type, with these parts, and, with
    `lines`, naming a line of this file inside `run`."""
    with pytest.raises(kind) as caught:
        run()
    assert type(caught.value) is kind
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    if lines:
        source, first = inspect.getsourcelines(run)
        found = [int(n) for n in re.findall(r"test_errors\.py:(\d+)", text)]
        assert any(first <= n < first + len(source) for n in found), text
    return text


# ---- what is asked of grad, vjp and jvp ----------------------------------------------------------


def test_loss_that_is_not_a_scalar() -> None:
    raised(GradientError, lambda: kn.grad(lambda x: x * 2)(X), "float64[3]", "np.mean or np.sum")
    raised(GradientError, lambda: kn.grad(lambda x: None)(X), "NoneType", "has_aux=True")
    raised(GradientError, lambda: kn.grad(lambda x: {"a": x})(X), "a dict")
    raised(GradientError, lambda: kn.grad(lambda x: (np.sum(x), x))(X), "a tuple", "has_aux=True")
    raised(GradientError, lambda: kn.grad(lambda x: np.ones(2))(X), "float64[2]")
    raised(GradientError, lambda: kn.grad(lambda x: 3)(X), "int64")
    raised(GradientError, lambda: kn.grad(lambda x: np.sum(x) > 0)(X), "bool")
    assert issubclass(GradientError, TypeError)


def test_integer_argument() -> None:
    raised(GradientError, lambda: kn.grad(lambda x: x * 2)(3), "x is int64[]", "Write 3.0")
    raised(
        GradientError,
        lambda: kn.grad(lambda x, ids: np.sum(x), argnums=1)(X, np.arange(3)),
        "ids is int64[3]",
        "astype(np.float32)",
        "argnums",
    )
    raised(GradientError, lambda: kn.grad(lambda flag: 1.0)(True), "flag is bool")


def test_leaf_that_is_no_number() -> None:
    raised(
        LeafError,
        lambda: kn.grad(lambda params: 1.0)({"layers": [{"act": "relu"}]}),
        "params/layers/0/act is a str",
        "None for nothing",
    )
    raised(LeafError, lambda: kn.grad(lambda p: 1.0)({"a": np.array(["x"])}), "p/a", "dtype <U1")
    raised(LeafError, lambda: kn.vjp(lambda p: p, {"f": print}), "p/f is a builtin")
    raised(LeafError, lambda: kn.jvp(lambda p: p, ({"o": object()},), ({"o": 1.0},)), "p/o")
    assert issubclass(LeafError, TypeError)


def test_selection_of_arguments() -> None:
    raised(GradientError, lambda: kn.grad(lambda x: 1.0, argnums=1)(X), "argnums=1", "1 positional")
    raised(GradientError, lambda: kn.grad(lambda x: 1.0, argnums=-2)(X), "argnums=-2")
    raised(
        GradientError,
        lambda: kn.grad(lambda x: np.sum(x))(x=X),
        "argnums=0",
        "0 positional arguments",
        "Pass x by position, or select it with argnames='x'.",
    )
    raised(GradientError, lambda: kn.make_vjp(np.sin, 1)(X), "argnum=1", "sin", "1 positional arg")


@pytest.mark.parametrize("name", ["jacrev", "jacfwd", "jacobian", "hessian"])
def test_a_result_in_place_of_a_function(name: str) -> None:
    raised(GradientError, lambda: getattr(kn, name)(np.sin(X)), "wants a function", "ndarray")


def test_numpy_integers_are_positions() -> None:
    for number in (np.int64(1), [np.int32(1)], range(1, 2)):
        found = kn.grad(lambda x, y: x * y, argnums=number)(2.0, 3.0)
        assert found in (2.0, (2.0,))
    raised(GradientError, lambda: kn.grad(np.sin, X), "argnums wants integers", "grad(f)(x, y)")


N = np.arange(3)
FLOAT0 = np.dtype([("float0", np.void, 0)])


@pytest.mark.parametrize("zeros", [np.zeros(3, int), np.zeros(3), np.zeros(3, FLOAT0)])
def test_tangents_of_integers(zeros: Any) -> None:
    assert np.array_equal(kn.jvp(np.multiply, (X, N), (X, zeros))[1], N)
    assert np.array_equal(kn.linearize(np.multiply, X, N)[1](X, zeros), N)


@pytest.mark.parametrize("wrong", [np.zeros(2, int), 0, 0.0, np.zeros(2, FLOAT0), "a"])
def test_tangents_of_integers_of_another_shape(wrong: Any) -> None:
    raised(
        ValueError, lambda: kn.jvp(np.multiply, (X, N), (X, wrong)), "but the primal is int64[3]"
    )


def test_tangents_of_integers_that_move() -> None:
    def scaled(t: Any) -> Any:
        return kn.jvp(lambda x, n: x * n, (X, N), (X, t))[1]

    for ones in (np.ones(3), np.ones(3, int)):
        raised(GradientError, lambda t=ones: scaled(t), "n is int64[3]", "not zero", lines=False)
    for traced in (kn.jit(scaled), kn.grad(lambda t: np.sum(scaled(t)))):
        raised(
            GradientError,
            lambda f=traced: f(X),
            "n is int64[3]",
            "its tangent is traced",
            lines=False,
        )
    # A program knows the kind of an integer's tangent, and that is all there is to it.
    assert np.array_equal(kn.jit(scaled)(np.zeros(3, int)), N)
    raised(GradientError, lambda: kn.grad(lambda x: 1.0, argnames="w")(X), "'w'", "It got: x")


def test_has_aux_wants_a_pair() -> None:
    text = raised(
        GradientError,
        lambda: kn.grad(lambda x: np.sum(x), has_aux=True)(X),
        "(value, aux)",
        "float64[]",
        "Return (loss, aux)",
    )
    assert "Tracer" not in text
    raised(GradientError, lambda: kn.vjp(lambda x: (x, x, x), X, has_aux=True), "a tuple of 3")


def test_mismatched_trees() -> None:
    raised(TreeError, lambda: kn.vjp(lambda x: {"a": x}, X)[1]({"b": X}), "a: missing", "b: not in")
    raised(TreeError, lambda: kn.jvp(lambda p: p, ({"a": X},), ({"b": X},)), "a: missing")
    raised(
        ValueError,
        lambda: kn.vjp(lambda x: {"a": x}, X)[1]({"a": np.ones(2)}),
        "the cotangent of a is float64[2], but the value is float64[3]",
    )
    raised(
        ValueError,
        lambda: kn.vjp(lambda x: x, X)[1](X.astype(np.float32)),
        "the cotangent is float32[3]",
    )
    raised(
        ValueError,
        lambda: kn.jvp(lambda p: p, ({"a": X},), ({"a": np.ones(2)},)),
        "the tangent of p/a is float64[2]",
    )
    raised(GradientError, lambda: kn.jvp(np.sin, X, X), "jvp(f, (x, y), (tx, ty))")


# ---- shapes --------------------------------------------------------------------------------------


def test_shapes_of_matmul() -> None:
    w, x = np.ones((10, 784)), np.ones((32, 784))
    raised(
        ShapeError,
        lambda: kn.grad(lambda params, x: np.sum(x @ params["w"]))({"w": w}, x),
        "the last axis of (32, 784) has length 784",
        "has 10",
        "did you mean to transpose the second (x @ w.T)?",
        "params/w: float64[10,784]",
        'x @ params["w"]',
    )
    raised(ShapeError, lambda: kn.ops.matmul(x.T, w.T), "matmul")
    raised(ShapeError, lambda: kn.graph(lambda w: x @ w)(w), "did you mean")
    raised(ShapeError, lambda: kn.jvp(lambda w: x @ w, (w,), (w,)), "w: float64[10,784]")
    raised(ShapeError, lambda: kn.grad(lambda w: np.sum(w @ 2.0))(w), "at least one axis")
    assert issubclass(ShapeError, ValueError)


def test_shapes_of_elementwise() -> None:
    raised(
        ValueError,
        lambda: kn.grad(lambda p: np.sum(p["w"] + np.ones(3)))({"w": np.ones((10, 784))}),
        "could not be broadcast",
        "p/w: float64[10,784]",
        "float64[3]",
    )


def test_shapes_of_conv() -> None:
    raised(
        ShapeError,
        lambda: kn.grad(lambda p: np.sum(kn.ops.conv(IMAGES, p["kernel"])))({"kernel": KERNEL}),
        "3 channels",
        "p/kernel: float64[3,3,4,8]",
    )
    raised(ShapeError, lambda: kn.ops.conv(IMAGES, KERNEL), "3 channels")
    raised(ShapeError, lambda: kn.graph(kn.ops.conv)(IMAGES, KERNEL), "3 channels")


def test_nested_transforms_name_the_innermost_parameter_once() -> None:
    w = np.ones((10, 784))

    def inner(v: Any) -> Any:
        return np.sum(np.ones((2, 3)) @ v)

    text = raised(
        ShapeError,
        lambda: kn.grad(lambda params: np.sum(kn.grad(inner)(params["w"])))({"w": w}),
        "v: float64[10,784]",
        "np.ones((2, 3)) @ v",
        lines=False,
    )
    assert text.count("in matmul at") == 1


def test_index_out_of_bounds() -> None:
    text = raised(IndexError, lambda: kn.grad(lambda x: x[7])(X), "out of bounds", "x: float64[3]")
    assert text.count(" in getitem at ") == 1
    raised(IndexError, lambda: kn.grad(lambda x: x[1.5])(X), "only integers", lines=False)
    raised(IndexError, lambda: kn.grad(lambda x: np.sum(x[[5]]))(X), "out of bounds")


@pytest.mark.parametrize(
    "run",
    [
        lambda: kn.grad(lambda x: np.sum(x.reshape(2, -1)))(X),
        lambda: kn.grad(lambda x: np.sum(np.concatenate([x, x[None]])))(X),
        lambda: kn.grad(lambda x: np.sum(np.broadcast_to(x, (2, 2))))(X),
        lambda: kn.grad(lambda x: np.sum(np.transpose(x, (0, 1))))(X),
    ],
)
def test_functions_that_are_not_primitives_name_the_line(run: Any) -> None:
    with pytest.raises(ValueError, match=r"test_errors\.py"):
        run()


# ---- conversions ---------------------------------------------------------------------------------

CONVERSIONS = {
    "float": lambda x: float(np.sum(x)),
    "int": lambda x: int(np.sum(x)),
    "complex": lambda x: complex(np.sum(x)),
    "item": lambda x: np.sum(x).item(),
    "tolist": lambda x: sum(x.tolist()),
    "asarray": lambda x: np.sum(np.asarray(x)),
    "array of tracers": lambda x: np.sum(np.array([x, x])),
    "array of scalars": lambda x: np.sum(np.array([x[0], 1.0])),
    "object array": lambda x: np.sum(np.array([x[0], None], dtype=object)),
    "math": lambda x: math.sin(x[0]),
    "round": lambda x: math.floor(x[0]),
    "index": lambda x: [1, 2, 3][x[0]],
    "range": lambda x: sum(range(x[0])),
    "assign into an array": lambda x: np.zeros(3).__setitem__(slice(None), x),
    "linspace": lambda x: np.sum(np.arange(x[0])),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_taking_the_number_out(name: str) -> None:
    f = CONVERSIONS[name]
    for run in (
        lambda: kn.grad(f)(X),
        lambda: kn.jvp(f, (X,), (X,)),
        lambda: kn.graph(f)(X),
        lambda: kn.grad(lambda x: np.sum(kn.grad(f)(x)))(X),
    ):
        with pytest.raises(TracerConversionError) as caught:
            run()
        text = str(caught.value)
        assert "test_errors.py" in text
        assert any(verb in text for verb in ("Write", "write", "Leave", "Call"))
        assert isinstance(caught.value, TypeError)


def test_conversion_says_what_to_write() -> None:
    raised(
        TracerConversionError,
        lambda: kn.grad(lambda x: math.sin(x))(1.0),
        "traced by grad",
        "math.sin(x)",
        "Write np.sin for math.sin.",
        "stop_gradient",
        "has_aux",
    )
    raised(
        TracerConversionError,
        lambda: kn.graph(lambda x: 1 if x[0] > 0 else 2)(X),
        "bool(x)",
        "numbers are not there yet",
        "np.where(condition, a, b)",
    )
    raised(TracerConversionError, lambda: kn.graph(lambda x: x[x > 0])(X), "np.where(mask")
    text = raised(
        TracerConversionError, lambda: kn.graph(lambda x: float(x[0]))(X), "not there yet"
    )
    assert "gradient" not in text


W = np.ones((2, 3))


@pytest.mark.parametrize(
    ("function", "fix"),
    [
        (lambda x: np.full(2, x[0]), "Write x * np.ones(shape) for np.full(shape, x)"),
        (lambda x: np.array([x[0], x[1]]), "Write np.stack([a, b]) for a list"),
        (lambda x: np.sum([x, x]), "Write np.stack([a, b]) for a list"),
        (lambda x: np.asarray(x), "x by itself is an array already"),
        (lambda x: [1, 2][x[0]], "Write kinone.ops.getitem"),
        (lambda x: sum(range(x[0])), "Write kinone.fori_loop"),
        (lambda x: W.dot(x), "Write W @ x for W.dot(x)"),
        (lambda x: x[0].item(), "Leave .item() away"),
        (lambda x: float(x[0]), "Leave float() away"),
        (lambda x: math.exp(x[0]), "Write np.exp for math.exp"),
    ],
)
def test_conversions_say_the_fix_for_what_was_written(function: Any, fix: str) -> None:
    for run in (kn.grad, kn.jit, kn.vmap):
        value = X if run is not kn.vmap else X[None]
        with pytest.raises(TracerConversionError, match=re.escape(fix)):
            run(lambda x: np.sum(function(x)))(value)


def test_names_of_pytorch_are_answered() -> None:
    raised(AttributeError, lambda: kn.grad(lambda x: x.detach())(1.0), "kinone.stop_gradient(x)")
    raised(AttributeError, lambda: kn.grad(lambda x: x.backward())(1.0), "kinone.grad(f)(x)")
    raised(AttributeError, lambda: kn.jit(lambda x: x.numpy())(1.0), "on x itself")


def test_element_assigned_into_an_array() -> None:
    """NumPy answers with an error of its own, ours is its cause."""

    def f(x: Any) -> Any:
        buffer = np.zeros(3)
        buffer[0] = x[0]
        return np.sum(buffer)

    with pytest.raises((ValueError, TypeError)) as caught:
        kn.grad(f)(X)
    chain = [caught.value, caught.value.__cause__]
    assert any(isinstance(e, TracerConversionError) and "test_errors.py" in str(e) for e in chain)


# ---- assignment ----------------------------------------------------------------------------------


def test_assignment() -> None:
    def assign(x: Any) -> Any:
        x[0] = 1.0
        return np.sum(x)

    def add_in_place(x: Any) -> Any:
        buffer = np.zeros(3)
        buffer += x
        return np.sum(buffer)

    for transform in (kn.grad, kn.graph):
        with pytest.raises(TracerAssignmentError) as caught:
            transform(assign)(X)
        text = str(caught.value)
        assert "x = x.at[i].set(v)" in text
        assert f"test_errors.py:{assign.__code__.co_firstlineno + 1}" in text
        with pytest.raises(TracerAssignmentError) as caught:
            transform(add_in_place)(X)
        text = str(caught.value)
        assert "y = y + x" in text
        assert f"test_errors.py:{add_in_place.__code__.co_firstlineno + 2}" in text
    assert issubclass(TracerAssignmentError, TypeError)


def test_out_is_refused() -> None:
    raised(
        TracerAssignmentError,
        lambda: kn.grad(lambda x: np.sum(np.sin(x, out=np.ones(3))))(X),
        "np.sin",
        "out=",
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x, out=np.ones(())),
        lambda x: np.max(x, out=np.ones(())),
        lambda x: np.sum(np.concatenate([x, x], out=np.ones(6))),
        lambda x: np.sum(np.clip(x, 0, 1, np.ones(3))),
    ],
)
def test_out_of_functions_is_refused(f: Any) -> None:
    with pytest.raises(TracerAssignmentError):
        kn.grad(f)(X)


# ---- leaks ---------------------------------------------------------------------------------------


def leak(transform: Any = kn.grad) -> Any:
    """A value that outlived its trace."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2)
        return np.sum(x)

    transform(f)(X)
    return kept[0]


TRANSFORMS = {
    "grad": kn.grad,
    "vjp": lambda f: lambda x: kn.vjp(f, x),
    "jvp": lambda f: lambda x: kn.jvp(f, (x,), (x,)),
    "graph": kn.graph,
    "grad of grad": lambda f: kn.grad(lambda x: np.sum(kn.grad(f)(x) * x)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_leaked_values_are_found(name: str) -> None:
    leaked = leak(TRANSFORMS[name])
    for use in (
        lambda: leaked + 1,
        lambda: 1 + leaked,
        lambda: np.sin(leaked),
        lambda: np.sum(leaked),
        lambda: leaked[0],
        lambda: leaked @ X,
        lambda: leaked.reshape(3, 1),
        lambda: list(leaked),
        lambda: bool(leaked[0] > 0),
        lambda: np.where(X > 0, leaked, X),
        lambda: np.concatenate([X, leaked]),
        lambda: leaked.at[0].set(1.0),
        lambda: kn.grad(lambda x: np.sum(x * leaked))(X),
        lambda: kn.jvp(lambda x: x * leaked, (X,), (X,)),
        lambda: kn.graph(lambda x: x * leaked)(X),
        lambda: kn.graph(lambda x: leaked)(X),
        lambda: kn.grad(lambda x: np.sum(x * x))(leaked),
        lambda: kn.stop_gradient(leaked),
    ):
        with pytest.raises(LeakedTracerError) as caught:
            use()
        text = str(caught.value)
        assert "used at " in text
        assert "made at " in text
        assert text.count("test_errors.py:") >= 2
        assert "x * 2" in text
        assert "has_aux=True" in text
    assert issubclass(LeakedTracerError, RuntimeError)


@pytest.mark.parametrize("convert", [float, np.asarray, lambda x: x.item(), lambda x: x.tolist()])
def test_leaked_values_are_found_in_conversions(convert: Any) -> None:
    with pytest.raises(LeakedTracerError):
        convert(leak())


def test_leaks_by_every_way() -> None:
    class Model:
        cache: Any = None

    model, store = Model(), {}

    def by_attribute(x: Any) -> Any:
        model.cache = np.tanh(x)
        return np.sum(x)

    def by_dict(x: Any) -> Any:
        store["h"] = np.tanh(x)
        return np.sum(x)

    def by_generator(x: Any) -> Any:
        def steps() -> Any:
            y = x
            while True:
                y = y * 2
                yield y

        store["steps"] = steps()
        next(store["steps"])
        return np.sum(x)

    def by_closure(x: Any) -> Any:
        store["later"] = lambda: x + 1
        return np.sum(x)

    def by_exception(x: Any) -> Any:
        raise KeyError(np.tanh(x))

    kn.grad(by_attribute)(X)
    raised(LeakedTracerError, lambda: model.cache * 1, "np.tanh(x)")
    kn.grad(by_dict)(X)
    raised(LeakedTracerError, lambda: store["h"] * 1, "np.tanh(x)")
    kn.grad(by_generator)(X)
    raised(LeakedTracerError, lambda: next(store["steps"]), "y * 2", lines=False)
    kn.grad(by_closure)(X)
    raised(LeakedTracerError, lambda: store["later"](), "x + 1", lines=False)
    with pytest.raises(KeyError) as caught:
        kn.grad(by_exception)(X)
    raised(LeakedTracerError, lambda: caught.value.args[0] + 1, "np.tanh(x)")


def test_leaked_values_may_still_be_looked_at() -> None:
    leaked = leak()
    assert leaked.shape == (3,)
    assert leaked.dtype == np.float64
    assert "traced by grad" in repr(leaked)


# ---- what has no rule ----------------------------------------------------------------------------


def test_functions_without_a_rule() -> None:
    """The examples are functions that will not get one: of dates, of files, of the user's."""
    raised(
        MissingRuleError,
        lambda: kn.grad(lambda x: np.sum(np.is_busday(x)))(X),
        "np.is_busday",
        "np.is_busday(x)",
        "lose the gradient",
        "python -m kinone rules",
    )
    odd = np.frompyfunc(lambda x: x, 1, 1)  # a ufunc that nobody knows
    raised(MissingRuleError, lambda: kn.grad(lambda x: odd(x))(1.0), "(vectorized) has no rule")
    raised(
        MissingRuleError,
        lambda: kn.grad(lambda x: np.savetxt("never.txt", x))(X),
        "has_aux=True, and save what comes back",
    )
    assert issubclass(MissingRuleError, TypeError)


def test_the_nearest_name_is_said_with_its_module() -> None:
    text = str(messages.no_rule(np.linalg.tensorsolve, [np.linalg.solve, np.sum, print]))
    assert "The nearest name that has a rule is np.linalg.solve;" in text
    assert "nearest" not in str(messages.no_rule(np.printoptions, [np.sum, print]))


def test_scipy_is_refused_in_the_users_line() -> None:
    pytest.importorskip("scipy.special")
    script = """
import numpy as np, scipy.special, scipy.integrate, kinone as kn
for f in (
    lambda x: scipy.special.erf(x),
    lambda x: scipy.special.logsumexp(x),
    lambda x: scipy.integrate.quad(lambda t: t * x[0], 0, 1)[0],
):
    try:
        kn.grad(f)(np.ones(2))
    except (kn.errors.MissingRuleError, kn.errors.TracerConversionError) as error:
        print(error)
import kinone.scipy
try:
    kn.grad(lambda x: scipy.special.zeta(x, 2.0)[0])(np.ones(2))
except kn.errors.MissingRuleError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert "scipy.special.erf has no rule for traced values, at <string>:4" in run.stdout
    assert "Write `import kinone.scipy`" in run.stdout
    assert "SciPy would take the number out of a value traced by grad, at <string>:5" in run.stdout
    assert "Take the function of that name from kinone.scipy" in run.stdout
    assert "at <string>:6" in run.stdout
    assert "site-packages" not in run.stdout
    # Once it has rules for some, those without are told by the names of SciPy alone.
    assert "scipy.special.zeta has no rule for traced values, at <string>:14" in run.stdout
    assert "The nearest name that has a rule is scipy.special." in run.stdout


def test_errors_that_format_themselves_are_explained_in_a_note() -> None:
    def f(p: Any) -> Any:
        return np.sum(kn.grad(lambda x: np.sum(np.sum(x, axis=3)))(p["w"]))

    with pytest.raises(np.exceptions.AxisError) as caught:
        kn.grad(f)({"w": X})
    assert str(caught.value) == "axis 3 is out of bounds for array of dimension 1"
    assert (caught.value.axis, caught.value.ndim) == (3, 1)
    (note,) = caught.value.__notes__
    assert "x: float64[3]" in note or "p/w: float64[3]" in note
    assert f"test_errors.py:{f.__code__.co_firstlineno + 1}  np.sum(x, axis=3)" in note


def test_shapes_that_do_not_broadcast_are_compared() -> None:
    wide, rows = np.ones((2, 3, 5)), np.ones((3, 4))
    raised(ValueError, lambda: kn.grad(lambda x: np.sum(x * rows))(wide), "Axis -1", "5 and 4")
    raised(
        ValueError,
        lambda: kn.grad(lambda x: np.sum(x - np.mean(x, axis=1)))(rows),
        "Axis -1 of the operands has the lengths 4 and 3. Write y[:, None] for the (3,)",
    )
    raised(
        ValueError,
        lambda: kn.grad(lambda x: np.sum(np.ones((4, 2, 1)) * x))(rows),
        "Axis -2 of the operands has the lengths 2 and 3.",
    )


def test_an_element_stored_in_an_array_is_told_as_such() -> None:
    def f(x: Any) -> Any:
        buffer = np.zeros(3)
        buffer[1] = x[0]
        return np.sum(buffer)

    with pytest.raises(TracerConversionError) as caught:
        kn.grad(f)(X)
    text = str(caught.value)
    assert text.startswith("y[i] = x would take the number out")
    assert "buffer[1] = x[0]" in text
    assert "kinone.ops.set_at(y, i, x)" in text


def test_every_error_is_a_kinone_error_and_explained() -> None:
    for kind in (
        GradientError,
        LeafError,
        LeakedTracerError,
        MissingRuleError,
        ShapeError,
        TracerAssignmentError,
        TracerConversionError,
        TreeError,
    ):
        assert issubclass(kind, KinoneError)
        assert kind.__doc__
        assert len(kind.__doc__) > 40


def test_errors_of_the_user_pass_unchanged() -> None:
    class Custom(Exception):
        pass

    def f(x: Any) -> Any:
        raise Custom("mine", 3)

    with pytest.raises(Custom) as caught:
        kn.grad(f)(X)
    assert caught.value.args == ("mine", 3)


def test_locations_do_not_name_kinones_files() -> None:
    def f(x: Any) -> Any:
        return np.sum(kn.ops.softplus(x) @ np.ones((4, 2)))

    with pytest.raises(ShapeError) as caught:
        kn.grad(f)(X)
    assert "kinone/" not in str(caught.value).replace("tests/", "")
    assert f"test_errors.py:{f.__code__.co_firstlineno + 1}" in str(caught.value)


# ---- arguments and operands that cannot be differentiated ----------------------------------------


def test_an_argument_selected_twice() -> None:
    for options in ({"argnums": (0, 0)}, {"argnums": (0,), "argnames": "a"}):
        with pytest.raises(GradientError, match="selected twice"):
            kn.grad(lambda a, b: a * b, **options)(2.0, 3.0)


def test_an_explicit_argument_stays_beside_a_name() -> None:
    def f(a: Any, b: Any) -> Any:
        return a * b

    assert kn.grad(f, argnums=0, argnames="b")(2.0, b=3.0) == (3.0, 2.0)
    assert kn.grad(f, argnames="b")(2.0, b=3.0) == 2.0


def test_data_of_a_linear_primitive_has_no_silent_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry, "scaled", None)
    del registry["scaled"]  # and afterwards, what is declared here
    scaled = declare.linear(
        "scaled",
        lambda x, factor: x * factor,
        shape=lambda x, factor: x,
        transpose=lambda g, x, factor: g * factor,
    )
    assert kn.grad(scaled)(2.0, 3.0) == 3.0
    for run in (
        lambda: kn.grad(scaled, argnums=(0, 1))(2.0, 3.0),
        lambda: kn.grad(scaled, argnums=1)(2.0, 3.0),
        lambda: kn.jvp(scaled, (2.0, 3.0), (1.0, 1.0)),
    ):
        with pytest.raises(MissingRuleError, match="further operands"):
            run()


def test_axes_of_take() -> None:
    for f in (
        lambda x: np.take(x, 0, axis=5),
        lambda x: np.take_along_axis(x, np.zeros((1, 1), int), axis=7),
    ):
        with pytest.raises(np.exceptions.AxisError):
            kn.grad(lambda x, f=f: np.sum(f(x)))(np.ones((2, 2)))
    with pytest.raises(ValueError, match="same number of dimensions"):
        kn.grad(lambda x: np.sum(np.take_along_axis(x, np.zeros(2, int), axis=0)))(np.ones((2, 2)))


def test_leaves_of_a_graph_are_numbers() -> None:
    with pytest.raises(LeafError, match="p/x is a str"):
        kn.graph(lambda p: p["x"])({"x": "a"})
    with pytest.raises(LeafError, match="object"):
        kn.eval_shape(lambda p: p, object())


def test_integers_have_no_tangent_and_no_gradient() -> None:
    with pytest.raises(GradientError, match=r"3\.0 for 3"):
        kn.jvp(lambda x: x**2.0, (3,), (1.0,))
    with pytest.raises(GradientError, match="differentiates with respect to"):
        kn.grad(lambda a: a[0] * 2.0)([1, 2, 3])
    assert kn.grad(lambda p: p["w"] * p["n"])({"w": 2.0, "n": 3}) == {"w": 3.0, "n": 0}


def test_missing_methods_say_so() -> None:
    with pytest.raises(AttributeError, match=r"no \.byteswap.*test_errors"):
        kn.grad(lambda x: x.byteswap())(X)
    with pytest.raises(ValueError, match="x: float64"):
        kn.grad(lambda x: np.sum(np.concatenate([x, x[None]])))(X)


def test_partials_are_checked_when_they_are_declared() -> None:
    with pytest.raises(ValueError, match="q is none of them"):
        declare.elementwise("wrong", np.sin, lambda g, q: g * q)
    with pytest.raises(ValueError, match="2 operands and 1 partial"):
        declare.elementwise("wrong", np.add, lambda g: g)
