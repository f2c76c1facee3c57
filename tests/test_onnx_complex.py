"""Complex numbers in exported models: pairs of real tensors, along a last axis of 2 at the ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_runtime import as_tensor, check_export, run

import kinone as kn
import kinone.onnx
from kinone import ops
from kinone.core import Primitive, is_inexact, registry
from kinone.onnx.export.rules import complex_rules
from kinone.ops.samples import Sample
from kinone.testing.gradients import random_like
from kinone.testing.operands import describe_sample, samples_of

ops.load_all()
assert kinone.onnx.lower.FAMILIES  # its import filled in the rules

# Of which the answer is one of several, or which test_onnx_linalg.py and others look at.
ELSEWHERE = {"eigh", "svd", "qr", "eig", "partition", "argpartition", "fft", "rfft", "irfft"}
ELSEWHERE |= {"custom_jvp", "composite", "while_record", "while_replay", "checkpoint", "pinv"}
ELSEWHERE |= {"det", "inv", "solve", "slogdet", "cholesky", "cofactors"}
FUNCTIONS = [
    *("absolute", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh"),
    *("tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "square", "sign"),
    *("log2", "log10", "exp2", "conj", "real", "imag", "root", "reciprocal"),
]


def _complex(sample: Sample) -> tuple[Any, ...] | None:
    """The sample's operands with imaginary parts; None where NumPy does not take them."""
    rng = np.random.default_rng(1)
    found = []
    for x in map(np.asarray, sample.args):
        found.append(x + 0.7j * rng.normal(size=x.shape) if x.dtype.kind == "f" else x)
    return tuple(found) if any(np.asarray(x).dtype.kind == "c" for x in found) else None


def _cases() -> list[Any]:
    found = []
    for one in complex_rules:
        if one.name in ELSEWHERE or one.samples is None:
            continue
        for sample in samples_of(one):
            args = _complex(sample)
            if args is not None:
                name = f"{one.name}-{describe_sample(sample)[:60]}"
                found.append(pytest.param(one, args, sample.params, id=name))
    return found


@pytest.mark.parametrize(("one", "args", "params"), _cases())
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_every_rule(one: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> None:
    try:
        with np.errstate(all="ignore"):
            one(*args, **params)
    except (TypeError, ValueError):
        return  # not for complex numbers, as in NumPy

    def apply(*xs: Any) -> Any:
        return one(*xs, **params)

    check_export(apply, args, rtol=1e-12, atol=1e-13, dynamic={})
    singles = [x.astype(np.complex64) if np.asarray(x).dtype.kind == "c" else x for x in args]
    if "dtype" not in params and one.name not in ("sinc", "scan", "cond", "while"):
        check_export(apply, singles, rtol=2e-5, atol=2e-5, dynamic={})


@pytest.mark.slow
@pytest.mark.parametrize(("one", "args", "params"), _cases())
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_vjp_and_vmap(one: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> None:
    def apply(*xs: Any) -> Any:
        return one(*xs, **params)

    def pulled(g: Any, *xs: Any) -> Any:
        def partial(*traced: Any) -> Any:
            given = dict(zip(floats, traced, strict=True))
            return apply(*[given.get(i, x) for i, x in enumerate(xs)])

        return kn.vjp(partial, *[xs[i] for i in floats])[1](g)

    with np.errstate(all="ignore"):
        try:
            found = apply(*args)
        except (TypeError, ValueError):
            return
        floats = [i for i, x in enumerate(args) if is_inexact(x)]
        if one.vjp is not None:
            cotangent = random_like(np.random.default_rng(0), found)
            check_export(pulled, (cotangent, *args), rtol=1e-11, atol=1e-11, dynamic={})
        pair = np.stack([args[0], args[0]]) if is_inexact(args[0]) else None
        if pair is not None:
            pair[1] *= 0.9
            batched = kn.vmap(apply, (0, *[None] * (len(args) - 1)))
            check_export(batched, (pair, *args[1:]), rtol=1e-12, atol=1e-13, dynamic={})


def _grid(numbers: list[float]) -> np.ndarray[Any, Any]:
    x, y = np.meshgrid(numbers, numbers)
    found = np.empty(x.size, np.complex128)
    found.real, found.imag = x.ravel(), y.ravel()
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_sides_of_branch_cuts(name: str) -> None:
    """Zeros of both signs, numbers near the singular ones, tiny and huge ones."""
    sizes = [0.0, 1e-8, 0.5, 1, 2, 3, 20, 700, 1e150]
    if name in ("expm1", "log1p"):  # where NumPy's own lose digits, and overflow before their time
        sizes = sizes[2:7]
    z = _grid([*sizes, *[-x for x in sizes]])
    if name == "reciprocal":
        z = z[z != 0]
    one = registry[name]
    with np.errstate(all="ignore"):
        want = as_tensor(one(z))
        (got,) = run(kn.onnx.export(one, z, dynamic={}), z)
        size = np.abs(want)
        if want.ndim > 1:  # relative to the larger part
            size = np.max(np.where(np.isfinite(want), size, 0), -1, keepdims=True)
        error = np.abs(got - want)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    wrong = ~(same | (error <= 1e-13 * size))
    assert not wrong.any(), [(z[i], got[i], want[i]) for i in np.argwhere(wrong)[:3, 0]]


PROGRAMS: list[tuple[str, Callable[..., Any]]] = [
    ("polynomial", lambda z, w: z * z * w + 2 * z - 1j / w),
    ("python_numbers", lambda z, w: (1j * z, z + 1, 2.5 - z, w / 2j, z**2, z**-1, z**0.5)),
    ("powers", lambda z, w: (z**w, np.power(z, 3), 2.0**z, z ** (1 + 1j))),
    ("parts", lambda z, w: (z.real * w.imag, np.conj(z) * w, np.abs(z - w), np.angle(z * w))),
    ("choice", lambda z, w: np.where(np.abs(z) > 1, z, 0)),
    ("comparison", lambda z, w: (z == w, z != w, z == z[0, 0], np.isfinite(z), z.real == 1j)),
    ("product", lambda z, w: (z @ np.conj(w).T, np.real(z) @ w.T, np.vdot(z, w))),
    ("einsum", lambda z, w: np.einsum("ij,kj->ik", z, w)),
    ("shapes", lambda z, w: np.concatenate([z.T, w.reshape(4, 3)[::-1]])[1:, ::-1]),
    ("sums", lambda z, w: (z.sum(0), np.mean(w), np.cumsum(z, 1), np.prod(w[:, :2], 1))),
    ("types", lambda z, w: (z.real.astype(np.complex64), z.astype(np.complex64) * w)),
    ("root_of_a_sum", lambda z, w: np.sqrt(np.sum(z * np.conj(z)).real)),
    ("logic", lambda z, w: (np.logical_and(z, w), ~(z == 0), np.any(z), np.all(z * 0))),
    ("norm", lambda z, w: np.linalg.norm(z, axis=1)),
]


def _operands() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    z, w = (rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4)) for _ in range(2))
    return z, w


@pytest.mark.parametrize("fun", [row[1] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS])
def test_programs(fun: Callable[..., Any]) -> None:
    z, w = _operands()
    check_export(fun, (z, w), dynamic={})
    check_export(fun, (z.astype(np.complex64), w.astype(np.complex64)), rtol=1e-5, atol=1e-5)


REAL: list[tuple[str, Callable[..., Any]]] = [
    ("square", lambda z, w: np.sum(np.abs(z * w) ** 2)),
    ("functions", lambda z, w: np.sum(np.real(np.exp(z) * np.sin(w) + np.log(z) / w))),
    ("roots", lambda z, w: np.sum(np.abs(np.sqrt(z) - w))),
    ("angles", lambda z, w: np.sum(np.angle(z) * np.imag(w))),
    ("products", lambda z, w: np.sum(np.abs(z @ np.conj(w).T))),
    ("powers", lambda z, w: np.sum(np.real(z**3 * w**-2))),
    ("indices", lambda z, w: np.sum(np.imag(z[1:] * w[[0, 2]]))),
]


@pytest.mark.parametrize("fun", [row[1] for row in REAL], ids=[row[0] for row in REAL])
def test_gradients(fun: Callable[..., Any]) -> None:
    """Of real functions of complex numbers, and of maps of real numbers through complex ones."""
    z, w = _operands()
    check_export(kn.grad(fun, argnums=(0, 1)), (z, w), dynamic={}, atol=1e-11)

    def slope(x: Any) -> Any:
        return kn.grad(lambda x: fun(x + 0.3j * x * x, np.conj(x) + 2j))(x)

    check_export(slope, (z.real,), dynamic={}, atol=1e-11)


def test_vjp_of_a_holomorphic_map() -> None:
    z, w = _operands()
    check_export(lambda g, z: kn.vjp(lambda z: np.exp(z) * np.tanh(z), z)[1](g), (w, z))


def test_a_batch_of_another_size() -> None:
    z, _ = _operands()

    def spectrum(z: Any) -> Any:
        return np.exp(1j * z) / (1 + np.abs(z).sum(1, keepdims=True))

    model = kn.onnx.export(spectrum, z)
    for count in (1, 5):
        given = np.resize(z, (count, 4))
        (found,) = run(model, given)
        np.testing.assert_allclose(found, as_tensor(spectrum(given)), rtol=1e-12, atol=1e-13)


def test_complex_carries() -> None:
    z, w = _operands()

    def rotate(z: Any, w: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            carry = carry * np.exp(1j * row.real) + row
            return carry, np.abs(carry)

        return kn.scan(step, z[0], w)

    check_export(rotate, (z, w), dynamic={})
    check_export(
        lambda z: kn.fori_loop(0, 5, lambda i, c: c * z + 1j, np.ones_like(z)), (z,), dynamic={}
    )
    check_export(
        lambda z: kn.cond(np.abs(z[0, 0]) > 1, lambda z: z * 1j, lambda z: np.conj(z), z),
        (z,),
        dynamic={},
    )


def test_what_has_no_complex_rule_says_so() -> None:
    with pytest.raises(kn.onnx.ExportError, match="relu cannot be written as ONNX: complex"):
        kn.onnx.export(lambda z: ops.relu(z), _operands()[0])
