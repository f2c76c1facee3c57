"""What works element by element as ONNX, on grids of awkward numbers, in every type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_runtime import check_export, run

import kinone as kn
import kinone.onnx
from kinone import ops
from kinone.core import Primitive, registry
from kinone.testing.operands import samples_of

ops.load_all()
FLOATS = ("float64", "float32", "float16")
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
_OTHERS = {"real", "imag", "conj", "where"}  # in test_onnx_complex.py, and below
PRIMITIVES = [
    one
    for one in registry.values()
    if (one.elementwise or one.name in ("frexp", "modf"))
    and one.name not in _OTHERS
    and one.declared.filename.startswith(kn.__path__[0])
]

# Units in the last place; besides, an error of this many units of 1 is as good as none, where a
# formula's or a kernel's error is an absolute one.
ULPS = {"float64": 8, "float32": 32, "float16": 1}
ABSOLUTE: dict[str, float] = {
    "sin": 4.0,  # ONNX Runtime's own kernel
    "cos": 4.0,
    "tan": 1000.0,
    "gelu": 8.0,
    "gelu_slope": 8.0,
    "logaddexp": 4.0,
    "logaddexp2": 4.0,
    "sigmoid": 2.0,
    "swish": 32.0,
    "tanh": 2.0,
}
# Numbers at which ONNX's own node has another answer than NumPy.
EXCUSED: dict[str, Callable[..., Any]] = {
    "gelu": lambda x: x == -np.inf,  # NaN
    "leaky_relu": lambda x, slope: x == 0,  # 0, whatever the slope is
}


def floats(dtype: str) -> np.ndarray[Any, Any]:
    limits = np.finfo(dtype)
    rng = np.random.default_rng(0)
    special = [0.0, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 6, 7, 8, 10, 20, 27, 50, 100, 700, 1024]
    special += [limits.tiny, limits.max, np.inf, np.pi / 2, np.pi, 1e-3, 1e-5]
    drawn = [rng.normal(size=40), rng.normal(size=40) * 10, np.exp(rng.uniform(-20, 9, 30))]
    both = [*special, *[-x for x in special], np.nan]
    with np.errstate(all="ignore"):
        return np.concatenate([np.array(both), *drawn]).astype(dtype)


def integers(dtype: str) -> np.ndarray[Any, Any]:
    if dtype == "bool":
        return np.array([True, False])
    limits = np.iinfo(dtype)
    high, low = int(limits.max), int(limits.min)
    found = {low, low + 1, high, high - 1, high // 2, high // 2 + 1, low // 2}
    found |= {0, 1, 2, 3, 5, 7, 12, 16, 63, 64, 100}
    found |= {-1, -2, -3, -7, -8, -100} if low else set()
    return np.array(sorted(found), dtype)


def operands(one: Primitive, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    numbers = floats(dtype) if dtype in FLOATS else integers(dtype)
    count = len(samples_of(one)[0].args)
    if count == 1:
        return (numbers,)
    first, second = (grid.ravel() for grid in np.meshgrid(numbers[:60], numbers[:60]))
    if one.name == "ldexp":
        return first, (np.arange(first.size) % 2400 - 1200).astype(np.int32)
    if one.name == "power" and dtype in INTEGERS:  # NumPy refuses others
        return first[second >= 0], second[second >= 0]
    return first, second


@np.errstate(all="ignore")
def compare(one: Primitive, got: Any, want: Any, args: Sequence[Any]) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    if want.dtype.kind != "f":
        wrong = got != want
    else:
        both = np.isfinite(got) & np.isfinite(want)
        error = np.abs(got.astype(np.longdouble) - want.astype(np.longdouble))
        limits = np.finfo(want.dtype)
        allowed = ULPS[want.dtype.name] * np.spacing(np.abs(np.where(both, want, 1)))
        least = ABSOLUTE.get(one.name, 0.0) * float(limits.eps) + float(limits.tiny)
        close = error <= np.maximum(allowed.astype(np.longdouble), least)
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        wrong = np.where(both, ~close, ~same)
    if one.name in EXCUSED:
        wrong = wrong & ~EXCUSED[one.name](*args)
    for place in np.flatnonzero(wrong)[:3]:
        at = ", ".join(repr(x[place]) for x in args)
        pytest.fail(
            f"{one.name}({at}) is {got[place]!r}, and should be {want[place]!r}; "
            f"{np.count_nonzero(wrong)} of {wrong.size} are wrong"
        )


QUICK = ["float64", "float32", "float16", "int8", "int64", "uint64"]
TYPES = [
    pytest.param(dtype, marks=() if dtype in QUICK else pytest.mark.slow)
    for dtype in [*FLOATS, *INTEGERS]
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_awkward_numbers(one: Primitive, dtype: str) -> None:
    """NaN, infinities, zeros, the largest and least of every type; division by zero among them."""
    args = operands(one, dtype)
    with np.errstate(all="ignore"):
        try:
            wanted = one(*args)
        except (TypeError, ValueError):
            return  # not for this type, as in NumPy
        found = run(kn.onnx.export(lambda *xs: one(*xs), *args, dynamic={}), *args)
    for got, want in zip(found, wanted if one.multiple else (wanted,), strict=True):
        compare(one, got, np.asarray(want), args)


ODD = ["sin", "arcsin", "arctan", "sinh", "arcsinh", "arctanh", "cbrt", "erf", "trunc", "rint"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ODD)
def test_odd_functions_keep_the_sign_of_zero(name: str, dtype: str) -> None:
    x = np.array([0.0, -0.0], dtype)
    (found,) = run(kn.onnx.export(registry[name], x, dynamic={}), x)
    assert np.signbit(found).tolist() == [False, True]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arctan2_knows_the_signs_of_zeros(dtype: str) -> None:
    y = np.array([0.0, -0.0, 0.0, -0.0], dtype)
    x = np.array([0.0, 0.0, -0.0, -0.0], dtype)
    (found,) = run(kn.onnx.export(lambda y, x: np.arctan2(y, x), y, x, dynamic={}), y, x)
    want = np.arctan2(y, x)
    np.testing.assert_allclose(found, want, rtol=1e-6)
    assert np.signbit(found).tolist() == np.signbit(want).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_any_bits(dtype: str) -> None:
    """Subnormal numbers too: what looks at the parts of a number has NumPy's very bits."""
    rng = np.random.default_rng(0)
    size = np.dtype(dtype).itemsize
    x = rng.integers(0, 2**63, 3000).astype(f"uint{8 * size}").view(dtype)
    x = np.concatenate([x, -x])
    y = np.roll(x, 7)
    places = rng.integers(-60, 60, x.size).astype(np.int32)
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (np.frexp, (x,)),
        (np.modf, (x,)),
        (np.spacing, (x,)),
        (np.trunc, (x,)),
        (np.rint, (x,)),
        (np.ldexp, (x, places)),
        (np.nextafter, (x, y)),
        (np.floor_divide, (x, y)),
        (np.remainder, (x, y)),
        (np.copysign, (x, np.where(np.isnan(y), x.dtype.type(-2), y))),  # no node tells NaN's sign
        (np.fmax, (x, y)),
    ]
    for fun, args in calls:
        with np.errstate(all="ignore"):
            found = run(kn.onnx.export(lambda *xs, f=fun: f(*xs), *args, dynamic={}), *args)
            wanted = fun(*args)
        for got, want in zip(found, wanted if type(wanted) is tuple else (wanted,), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("one", PRIMITIVES, ids=lambda one: one.name)
def test_bfloat16(one: Primitive) -> None:
    """ONNX Runtime has next to no kernels for it: computed in float32, and rounded."""
    short = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    count = len(samples_of(one)[0].args)
    x = np.array([0.0, 0.3, 1, 2.5, 7, 30, -0.3, -1, -2.5, -30], np.float32)
    args = (x, np.roll(x, 3))[:count]
    if one.name == "ldexp":
        args = (x, np.arange(10, dtype=np.int32))

    def apply(*xs: Any) -> Any:
        found = one(*[x.astype(short) if x.dtype == np.float32 else x for x in xs])
        parts = found if one.multiple else (found,)
        return [p.astype(np.float32) if p.dtype == short else p for p in map(_array, parts)]

    with np.errstate(all="ignore"):
        try:
            wanted = apply(*args)
        except (TypeError, ValueError):
            return
    found = run(kn.onnx.export(apply, *args, dynamic={}), *args)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-2, atol=1e-3)


def _array(x: Any) -> Any:
    return x if hasattr(x, "dtype") else np.asarray(x)


# ---- types ---------------------------------------------------------------------------------------

CASTS = [*FLOATS, *INTEGERS]


@pytest.mark.parametrize("to", CASTS)
@pytest.mark.parametrize("of", CASTS)
@np.errstate(all="ignore")
def test_astype(of: str, to: str) -> None:
    x = integers(of) if of in INTEGERS else floats(of)
    if of in FLOATS and to in INTEGERS:
        # What the type cannot hold is for C to say, and for the processor.
        limits = np.iinfo(to) if to != "bool" else np.iinfo("int64")
        with np.errstate(invalid="ignore"):
            x = x[(x > float(limits.min) / 2 - 1) & (x < float(limits.max) / 2)]
    (found,) = run(kn.onnx.export(lambda x: x.astype(to), x, dynamic={}), x)
    np.testing.assert_array_equal(found, x.astype(to))


@pytest.mark.parametrize("compare_by", [np.less, np.less_equal, np.greater, np.equal, np.not_equal])
def test_comparisons_across_signedness(compare_by: Any) -> None:
    x, y = (each.ravel() for each in np.meshgrid(integers("int64"), integers("uint64")))
    check_export(lambda x, y: (compare_by(x, y), compare_by(y, x)), (x, y), dynamic={})


@pytest.mark.parametrize("dtype", INTEGERS[:-1])
def test_comparisons_with_python_numbers_beyond_the_type(dtype: str) -> None:
    x = integers(dtype)
    check_export(lambda x: (x < 300, x >= -1, x == 2**40, x != -5, x < 1000), (x,), dynamic={})


def test_python_numbers_adapt() -> None:
    """NEP 50: a Python number takes the array's type."""
    for dtype in FLOATS:
        x = floats(dtype)[:20]
        with np.errstate(all="ignore"):
            model = check_export(
                lambda x: (x * 2, x + 0.5, 2 / (1 + x * x), np.where(x > 0, x, 0), x**2),
                (x,),
                rtol=1e-3 if dtype == "float16" else 1e-6,
                atol=1e-3 if dtype == "float16" else 0,  # not each step is rounded to float16
                dynamic={},
            )
        types = {value.type.tensor_type.elem_type for value in model.graph.output}
        assert types == {onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))}
    check_export(lambda x: (x * 2, x // 2, x % 3, x + 1), (integers("int8"),), dynamic={})


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, 10, 63])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint64"])
def test_whole_powers_wrap(dtype: str, exponent: int) -> None:
    check_export(lambda x: np.power(x, exponent), (integers(dtype),), dynamic={})


@pytest.mark.parametrize("divisor", [1, 2, -1, -3, 7])
def test_division_by_a_constant_looks_at_no_divisor(divisor: int) -> None:
    x = integers("int64")
    model = check_export(lambda x: (x // divisor, x % divisor), (x,), dynamic={})
    if divisor != -1:
        assert "Where" not in {node.op_type for node in model.graph.node}


def test_choosing() -> None:
    condition = np.array([True, False, True])
    for dtype in [*FLOATS, *INTEGERS]:
        x, y = np.array([1, 0, 1], dtype), np.array([0, 1, 1], dtype)
        check_export(lambda c, x, y: (np.where(c, x, y), np.where(x, y, x)), (condition, x, y))
    check_export(lambda c, x: np.where(c, x, 0), (condition, np.arange(3, dtype=np.int8)))
    # The type of the condition is not that of the result.
    wide = np.array([0.5, 0.0, -2.0])
    check_export(lambda c, x: np.where(c, x, 1), (wide, np.arange(3, dtype=np.int8)))
    check_export(lambda c, x: np.where(c * 1j, x, 2.5), (wide, np.arange(3, dtype=np.float32)))


# ---- single nodes --------------------------------------------------------------------------------

NODES: list[tuple[str, Callable[..., Any], list[str]]] = [
    ("relu", ops.relu, ["Relu"]),
    ("relu6", ops.relu6, ["Clip"]),
    ("clip", lambda x: np.clip(x, -1, 1), ["Clip"]),
    ("clip_by_hand", lambda x: np.maximum(np.minimum(x, 2), 0), ["Clip"]),
    ("hard_tanh", ops.hard_tanh, ["Clip"]),
    ("hard_tanh_by_name", lambda x: ops.hard_tanh(x, minimum=0.0, maximum=6.0), ["Clip"]),
    ("sigmoid", ops.sigmoid, ["Sigmoid"]),
    ("swish", ops.swish, ["Sigmoid", "Mul"]),
    ("hard_sigmoid", ops.hard_sigmoid, ["HardSigmoid"]),
    ("hard_swish", ops.hard_swish, ["HardSwish"]),
    ("leaky_relu", ops.leaky_relu, ["LeakyRelu"]),
    ("elu", ops.elu, ["Elu"]),
    ("celu", lambda x: ops.celu(x, 2.0), ["Celu"]),
    ("celu_by_name", lambda x: ops.celu(x, alpha=0.5), ["Celu"]),
    ("selu", ops.selu, ["Selu"]),
    ("gelu", ops.gelu, ["Gelu"]),
    ("gelu_tanh", lambda x: ops.gelu(x, approximate=True), ["Gelu"]),
    ("mish", ops.mish, ["Mish"]),
    ("softplus", ops.softplus, ["Softplus"]),
    ("softsign", ops.softsign, ["Softsign"]),
    ("tanh", np.tanh, ["Tanh"]),
    ("erf", ops.erf, ["Erf"]),
    ("power", lambda x: x**3, ["Pow"]),
]


@pytest.mark.parametrize(("fun", "nodes"), [row[1:] for row in NODES], ids=[r[0] for r in NODES])
def test_activations_are_single_nodes(fun: Callable[..., Any], nodes: list[str]) -> None:
    x = np.linspace(-7, 7, 41, dtype=np.float32)
    model = check_export(fun, (x,), rtol=1e-5, atol=1e-6)
    assert [node.op_type for node in model.graph.node] == nodes
    check_export(fun, (x.astype(np.float64),))
    check_export(fun, (x.astype(np.float16),), rtol=4e-3, atol=4e-3)
    for opset in (17, 20, 23):
        check_export(fun, (x,), rtol=1e-5, atol=1e-6, opset=opset)


@pytest.mark.parametrize("fun", [row[1] for row in NODES[:20]], ids=[r[0] for r in NODES[:20]])
def test_gradients_of_activations(fun: Callable[..., Any]) -> None:
    x = np.linspace(-5.3, 5.3, 20)

    def slope(x: Any) -> Any:
        return kn.grad(lambda x: np.sum(np.sin(fun(x)) * x))(x)

    check_export(slope, (x,), dynamic={})
    check_export(slope, (x.astype(np.float32),), rtol=2e-5, atol=2e-5, dynamic={})


def test_a_slope_for_each_channel_is_prelu() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    model = check_export(ops.leaky_relu, (x, slope), rtol=1e-6, atol=1e-6, dynamic={})
    assert [node.op_type for node in model.graph.node] == ["PRelu"]
    check_export(ops.leaky_relu, (x.astype(float), slope.astype(float)), dynamic={})


def test_bits_of_integers_need_opset_18() -> None:
    x = np.arange(4)
    with pytest.raises(kn.onnx.ExportError, match="BitwiseAnd in ONNX, from opset 18 on"):
        kn.onnx.export(lambda x: x & 3, x, opset=17)
    check_export(lambda x: (x > 1) & (x < 3), (x,), opset=17)


def test_the_nodes_of_a_formula_name_the_users_line() -> None:
    def fun(x: Any, n: Any) -> Any:
        with kn.named_scope("head"):
            return np.arctan(x), np.gcd(n, 12)

    model = kn.onnx.export(fun, np.ones(3), np.arange(3), dynamic={})
    nodes = [*model.graph.node]
    for node in model.graph.node:
        nodes += [inner for attribute in node.attribute for inner in attribute.g.node]
    assert len(nodes) > 40
    for node in nodes:
        assert "np.arctan(x)" in node.doc_string or "np.gcd(n, 12)" in node.doc_string, node
        assert node.name.startswith("head/"), node
