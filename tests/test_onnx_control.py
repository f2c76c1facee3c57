"""Branches and loops exported: nested, without trips, differentiated, in batches, of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_runtime import as_tensor, check_export, run

import kinone as kn
import kinone.onnx
from kinone import cond, fori_loop, nn, ops, scan, switch, while_loop
from kinone.onnx.export.errors import ExportError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))
W = RNG.standard_normal((3, 3))
Z = RNG.standard_normal(3) + 1j * RNG.standard_normal(3)
IMAGE = RNG.standard_normal((1, 4, 4, 2)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 2, 2)).astype(np.float32)
ZERO = np.zeros(3)


def growing(x: Any) -> Any:
    return while_loop(lambda c: np.sum(c**2) < 1e3, lambda c: c * 1.5 + np.sin(c), x)


def stepped(x: Any, w: Any = 1.0) -> Any:
    return scan(lambda c, row: (np.tanh(c * w + row), c * row), ZERO, x)[1]


CASES: dict[str, tuple[Any, ...]] = {
    "a scan in a scan": (
        lambda x: scan(lambda c, r: scan(lambda d, e: (d * 0.5 + e, d), c, r), 0.0, x),
        X,
    ),
    "a branch in a scan": (
        lambda x: scan(lambda c, r: (cond(r[0] > 0, lambda: c + r, lambda: c - r), c), ZERO, x),
        X,
    ),
    "a scan in a branch": (
        lambda x: cond(
            x.sum() > 0,
            lambda: scan(lambda c, r: (c + r, c * r), ZERO, x),
            lambda: scan(lambda c, r: (c - r, c), ZERO, x),
        ),
        X,
    ),
    "a branch in a branch": (
        lambda x: cond(x[0, 0] > 9, lambda: x, lambda: cond(x[0, 0] > 0, lambda: -x, lambda: x**2)),
        X,
    ),
    "a while in a while": (
        lambda x: while_loop(
            lambda c: c.sum() < 50,
            lambda c: while_loop(lambda d: d.max() < c.sum() + 10, lambda d: d + 1, c),
            x,
        ),
        X,
    ),
    "a while in a scan": (
        lambda x: scan(
            lambda c, r: (while_loop(lambda d: d.sum() < 10, lambda d: d + 1, c + r), c), ZERO, x
        ),
        X,
    ),
    "no trips": (
        lambda x: (
            while_loop(lambda c: c.sum() > 1e9, lambda c: c + 1, x),
            fori_loop(0, 0, lambda i, c: c + i, x),
            fori_loop(5, 2, lambda i, c: c + i, x),
            scan(lambda c, r: (c + r, c * r), ZERO, x[:0]),
            scan(lambda c, _: (c * 2, c), x, None, length=0),
        ),
        X,
    ),
    "a number of trips that is an operand": (
        lambda x, n: (
            fori_loop(0, n, lambda i, c: c * 0.5 + i, x),
            fori_loop(n, 3, lambda i, c: c + i, x),
        ),
        X,
        np.int64(4),
    ),
    "scans of nothing, or backwards": (
        lambda x: (
            scan(lambda c, _: (c * 2, c), x, None, length=3),
            scan(lambda c, _: (c * 2, c), x, None, length=3, reverse=True),
            scan(lambda c, r: (c * 0.5 + r, c), ZERO, x, reverse=True),
            scan(lambda c, r: (None, r * 2), None, x),
        ),
        X,
    ),
    "results that are inputs or constants": (
        lambda x: (
            scan(lambda c, r: (r, (c, c, r, 1.0)), ZERO, x),
            scan(lambda c, r: ((c[1], c[0]), c), (ZERO, ZERO + 1), x),
            cond(x.sum() > 0, lambda: (x, x, 1.0), lambda: (x, x * 2, 2.0)),
        ),
        X,
    ),
    "trees": (
        lambda x: scan(
            lambda c, r: ({"a": c["a"] + r["p"], "b": c["b"] * 2}, {"o": c["a"], "q": r["q"]}),
            {"a": ZERO, "b": np.int64(1)},
            {"p": x, "q": x[:, 0]},
        ),
        X,
    ),
    "complex numbers": (
        lambda x, z: (
            scan(lambda c, r: (c * r + 1j, c * c), z, x),
            scan(lambda c, r: (c * r, c.real), 1 + 0j, z, reverse=True),
            while_loop(lambda c: np.all(np.abs(c) < 10), lambda c: c * (1.5 + 0.5j), z),
            cond(x[0, 0] > 0, lambda: z * 1j, lambda: z),
        ),
        X,
        Z,
    ),
    **{
        f"switch {i!r}": (lambda x, i: switch(i, [lambda: x, lambda: x * 2, lambda: -x]), X, i)
        for i in (np.int64(1), np.int32(9), np.int32(-3), np.uint8(2))
    },
    "branches of a batch": (
        kn.vmap(lambda r, i: switch(i, [lambda: r, lambda: -r, lambda: r * 3])),
        X,
        np.array([0, 2, 1, 5]),
    ),
    "while loops of a batch": (
        kn.vmap(
            lambda r, n: while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 2), (0, r))
        ),
        X,
        np.array([0, 1, 3, 2]),
    ),
    "scans of a batch": (
        kn.vmap(lambda r, w: scan(lambda c, e: (c * w + e, c * e), 0.0, r), (0, None)),
        X,
        np.float64(2.0),
    ),
    "the gradient of a scan": (
        kn.grad(lambda x, w: np.sum(stepped(x, w) ** 2), (0, 1)),
        X,
        np.float64(0.5),
    ),
    "the gradient of a gradient of a scan": (
        kn.grad(lambda x: np.sum(kn.grad(lambda y: np.sum(stepped(y) ** 2))(x) ** 2)),
        X,
    ),
    "the Hessian of a scan": (
        kn.hessian(lambda x: np.sum(scan(lambda c, r: (c * r, c + r), 1.0, x)[1] ** 3)),
        X[:, 0],
    ),
    "the gradient of branches": (
        kn.grad(lambda x, i: np.sum(switch(i, [lambda: x, lambda: x**2, lambda: x**3]))),
        X,
        np.int64(1),
    ),
    "the gradient of a while": (kn.grad(lambda x: np.sum(growing(x) ** 2)), X),
    "the gradient of a while that keeps nothing": (
        kn.grad(lambda x: np.sum(while_loop(lambda c: c.sum() < 9, lambda c: c * 2 + 1, x))),
        np.abs(X),
    ),
    "the gradient of a while without trips": (
        kn.grad(lambda x: np.sum(while_loop(lambda c: c.sum() > 1e9, np.sin, x) ** 2)),
        X,
    ),
    "the gradient of a loop of unknown length": (
        kn.grad(lambda x, n: np.sum(fori_loop(0, n, lambda i, c: np.sin(c) * i + c, x) ** 2)),
        X,
        np.int64(4),
    ),
    "the gradient of a while of a batch": (
        kn.grad(lambda x: np.sum(kn.vmap(growing)(x) ** 2)),
        X,
    ),
    **{
        f"the gradient of a while in a branch {at}": (
            kn.grad(
                lambda x, i: np.sum(
                    switch(
                        i,
                        [
                            lambda: growing(x),
                            lambda: x,
                            lambda: cond(x[0, 0] > 0, lambda: growing(x * 2) ** 2, lambda: -x),
                        ],
                    )
                )
            ),
            X,
            np.int64(at),
        )
        for at in range(3)
    },
    "gradients of whiles": (kn.vmap(kn.grad(lambda r: np.sum(growing(r) ** 2))), X),
    "forward mode": (lambda x, t: kn.jvp(growing, (x,), (t,)), X, X * 0.1),
    "checkpoints": (
        kn.grad(lambda x: np.sum(kn.checkpoint(lambda y: np.sin(np.sin(y)))(x) ** 2)),
        X,
    ),
    "images in a loop": (
        lambda x, w: scan(lambda c, _: (np.tanh(ops.conv(c, w)), None), x, None, length=3)[0],
        IMAGE,
        KERNEL,
    ),
    "the gradient of images in a loop": (
        kn.grad(
            lambda x, w: np.sum(
                scan(lambda c, _: (np.tanh(ops.conv(c, w)), None), x, None, length=3)[0] ** 2
            ),
            (0, 1),
        ),
        IMAGE,
        KERNEL,
    ),
    "images that a loop uses from outside": (
        lambda x, w: while_loop(
            lambda c: np.sum(np.abs(c)) < 100, lambda c: c * 2 + np.abs(ops.conv(x, w)), x
        ),
        IMAGE,
        KERNEL,
    ),
}


def agree(found: Any, wanted: Any, tolerance: float) -> None:
    for got, leaf in zip(found, kn.tree.leaves(wanted), strict=True):
        want = as_tensor(leaf)
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        largest = max(1.0, float(np.abs(want).max(initial=0.0)))
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("name", CASES)
def test_control_flow(name: str) -> None:
    fun, *args = CASES[name]
    single = any(arg.dtype == np.float32 for arg in args)
    model = kn.onnx.export(fun, *args, dynamic={})
    agree(run(model, *args), fun(*args), 1e-4 if single else 1e-11)


DYNAMIC: dict[str, Any] = {
    "scan": lambda x: scan(lambda c, w: (np.tanh(c @ w), c.sum()), x, np.stack([W, W * 2])),
    "fori": lambda x: fori_loop(0, 3, lambda i, c: c @ W + i, x),
    "while": lambda x: while_loop(lambda c: np.abs(c).max() < 1e3, lambda c: c @ W * 2 + 1, x),
    "cond": lambda x: cond(x.sum() > 0, lambda: x @ W, lambda: x + x.mean(0)),
    "moments": lambda x: scan(lambda c, r: (c + r @ W, c), ZERO, x),
    "the gradient of moments": kn.grad(
        lambda x: np.sum(scan(lambda c, r: (np.tanh(c + r @ W), c), ZERO, x)[1] ** 2)
    ),
    "the gradient of while": kn.grad(
        lambda x: np.sum(while_loop(lambda c: np.abs(c).max() < 1e2, lambda c: c @ W * 2 + 1, x))
    ),
    "a batch of scans": lambda x: kn.vmap(lambda r: scan(lambda c, e: (c + e, c), 0.0, r))(x),
    "a batch of whiles": lambda x: kn.vmap(
        lambda r: while_loop(lambda c: c.sum() < 10, lambda c: c * 1.5 + 1, r)
    )(x),
    "zeros": lambda x: scan(
        lambda c, w: (c + w.sum(), np.zeros(c.shape)), np.zeros(x.shape), np.stack([W, W])
    ),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_bodies_of_dynamic_sizes(name: str) -> None:
    fun = DYNAMIC[name]
    model = kn.onnx.export(fun, X, dynamic={"x": {0: "n"}})
    for n in (4, 1, 7):
        x = np.random.default_rng(n).standard_normal((n, 3))
        agree(run(model, x), fun(x), 1e-11)


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU], ids=["LSTM", "GRU"])
def test_recurrent_layers_and_their_gradients(make: Any) -> None:
    layer = make(5)
    params, state = layer.init(kn.random.key(0), (2, 6, 3))

    def outputs(params: Any, x: Any) -> Any:
        return layer.apply(params, state, x, train=False)[0]

    def gradient(params: Any, x: Any) -> Any:
        return kn.grad(lambda *args: np.sum(kn.tree.leaves(outputs(*args))[0] ** 2), (0, 1))(
            params, x
        )

    sizes = {"x": {0: "batch", 1: "time"}}
    for fun in (outputs, gradient):
        model = kn.onnx.export(fun, params, np.zeros((2, 6, 3), np.float32), dynamic=sizes)
        for batch, time in ((2, 6), (3, 4), (1, 9)):
            x = np.random.default_rng(time).standard_normal((batch, time, 3)).astype(np.float32)
            agree(run(model, params, x), fun(params, x), 1e-4)


def test_effects_are_left_out_with_a_note(capsys: Any) -> None:
    def fun(x: Any) -> Any:
        kn.debug.print("x is {}", x)
        kn.debug.check(np.all(x < 9), "large")
        return x * 2

    model = check_export(fun, (X,), dynamic={})
    capsys.readouterr()
    notes = {entry.key: entry.value for entry in model.metadata_props}["kinone.notes"]
    assert "kinone.debug.print is left out" in notes
    assert "kinone.debug.check is left out" in notes
    assert [node.op_type for node in model.graph.node] == ["Mul"]


def inside_of_a_scan(x: Any, reverse: bool = False) -> Any:
    return scan(lambda c, r: (growing(c * 0.2 + r), c * r), ZERO, x, reverse=reverse)


@pytest.mark.parametrize(
    "fun",
    [
        inside_of_a_scan,
        lambda x: inside_of_a_scan(x, reverse=True),
        lambda x: scan(lambda c, r: (growing(c * 0.1 + 1) + growing(r), c), ZERO, x),
        lambda x: scan(lambda c, _: (growing(c * 0.1), c), x[0], None, length=3),
        lambda x: scan(
            lambda c, r: (cond(r[0] > 0, lambda: growing(c * 0.2 + r), lambda: c), c), ZERO, x
        ),
    ],
    ids=["forwards", "backwards", "two", "over nothing", "in a branch"],
)
def test_the_gradient_of_a_while_inside_of_a_scan(fun: Any) -> None:
    gradient = kn.grad(lambda x: sum(np.sum(leaf**2) for leaf in kn.tree.leaves(fun(x))))
    model = kn.onnx.export(gradient, X, dynamic={"x": {0: "n"}})
    for x in (X, -X[:2], np.vstack([X, X])):
        agree(run(model, x), gradient(x), 1e-10)


@pytest.mark.parametrize("outer", ["scan", "while_loop"])
def test_the_gradient_of_a_while_further_inside_is_refused(outer: str) -> None:
    def inside(x: Any) -> Any:
        if outer == "scan":
            return scan(lambda c, r: (c + inside_of_a_scan(x + r)[0], c), ZERO, x)[0]
        return while_loop(lambda c: np.sum(c**2) < 1e5, lambda c: growing(c) * 2, x)

    with pytest.raises(ExportError, match=f"while_loop inside of a {outer}.*\n.*fori_loop"):
        kn.onnx.export(kn.grad(lambda x: np.sum(inside(x) ** 2)), X, dynamic={})
