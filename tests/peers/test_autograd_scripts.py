"""Programs as people write them for HIPS autograd, with the imports alone replaced.

Each runs twice, on autograd itself and on Kinone, and both must come to the same numbers. The
programs use what such scripts use: global random draws, lists of scalars in `np.array`, flat
parameter vectors, loops, `elementwise_grad`, and the optimisers of `misc`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import kinone
import kinone.numpy
from kinone.misc import flatten, optimizers

autograd = pytest.importorskip("autograd")
autograd_misc = pytest.importorskip("autograd.misc")
autograd_optimizers = pytest.importorskip("autograd.misc.optimizers")

KINONE = SimpleNamespace(
    np=kinone.numpy,
    flatten=flatten,
    adam=optimizers.adam,
    sgd=optimizers.sgd,
    **{
        name: getattr(kinone, name)
        for name in ("grad", "elementwise_grad", "jacobian", "value_and_grad", "hessian")
    },
    make_hvp=kinone.make_hvp,
)
AUTOGRAD = SimpleNamespace(
    np=autograd.numpy,
    flatten=autograd_misc.flatten,
    adam=autograd_optimizers.adam,
    sgd=autograd_optimizers.sgd,
    **{
        name: getattr(autograd, name)
        for name in ("grad", "elementwise_grad", "jacobian", "value_and_grad", "hessian")
    },
    make_hvp=autograd.make_hvp,
)


def derivatives_of_tanh(ag: Any) -> Any:
    np = ag.np

    def tanh(x: Any) -> Any:
        return (1.0 - np.exp(-x)) / (1.0 + np.exp(-x))

    f, found = tanh, []
    x = np.linspace(-4.0, 4.0, 9)
    for _ in range(4):
        f = ag.elementwise_grad(f)
        found.append(f(x))
    return found


def taylor_series_of_sine(ag: Any) -> Any:
    np = ag.np

    def sine(x: Any) -> Any:
        total = term = x
        k = 0
        while np.max(np.abs(term)) > 1e-4:  # Python's own control flow, on values
            term = -term * x * x / ((2 * k + 3) * (2 * k + 2))
            total = total + term
            k += 1
        return total

    return [ag.grad(sine)(0.9), ag.grad(ag.grad(sine))(0.9), ag.elementwise_grad(sine)(np.ones(3))]


def rosenbrock_by_newton(ag: Any) -> Any:
    np = ag.np

    def rosenbrock(x: Any) -> Any:
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    x = np.array([-1.2, 1.0])
    for _ in range(5):
        x = x - np.linalg.solve(ag.hessian(rosenbrock)(x), ag.grad(rosenbrock)(x))
    return x, ag.make_hvp(rosenbrock)(x)[0](np.array([1.0, -2.0]))


def logistic_regression(ag: Any) -> Any:
    np = ag.np
    inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30]])
    targets = np.array([True, True, False])

    def sigmoid(x: Any) -> Any:
        return 0.5 * (np.tanh(x / 2.0) + 1)

    def loss(weights: Any) -> Any:
        preds = sigmoid(np.dot(inputs, weights))
        return -np.sum(np.log(preds * targets + (1 - preds) * (1 - targets)))

    weights, gradient = np.zeros(3), ag.grad(loss)
    for _ in range(20):
        weights -= gradient(weights) * 0.1
    return loss(weights), weights


def network_of_nested_lists(ag: Any) -> Any:
    np = ag.np
    rs = np.random.RandomState(0)
    sizes = [3, 5, 2]
    params = [(0.3 * rs.randn(m, n), 0.3 * rs.randn(n)) for m, n in itertools.pairwise(sizes)]
    inputs, targets = rs.randn(7, 3), np.eye(2)[rs.randint(0, 2, 7)]

    def loss(params: Any, step: int) -> Any:
        x = inputs
        for w, b in params:
            outputs = np.dot(x, w) + b
            x = np.tanh(outputs)
        flat, _ = ag.flatten(params)
        logits = outputs - np.log(np.sum(np.exp(outputs), axis=1, keepdims=True))
        return 0.01 * np.dot(flat, flat) - np.sum(logits * targets)

    seen: list[float] = []
    trained = ag.adam(
        ag.grad(loss), params, step_size=0.1, num_iters=5, callback=lambda p, i, g: seen.append(i)
    )
    return trained, ag.sgd(ag.grad(loss), params, num_iters=3), seen


def recurrent_network(ag: Any) -> Any:
    np = ag.np
    rs = np.random.RandomState(1)
    params = {"start": rs.randn(1, 4), "change": 0.3 * rs.randn(6, 4), "predict": rs.randn(5, 2)}
    inputs = rs.randn(5, 3, 1)

    def concat_and_multiply(weights: Any, *args: Any) -> Any:
        state = np.hstack((*args, np.ones((args[0].shape[0], 1))))
        return np.dot(state, weights)

    def loss(params: Any) -> Any:
        hiddens = np.repeat(params["start"], inputs.shape[1], axis=0)
        total = 0.0
        for x in inputs:
            hiddens = np.tanh(concat_and_multiply(params["change"], x, hiddens))
            total += np.sum(concat_and_multiply(params["predict"], hiddens) ** 2)
        return total

    return ag.value_and_grad(loss)(params)


def gaussian_process(ag: Any) -> Any:
    np = ag.np
    rs = np.random.RandomState(2)
    inputs, targets = rs.randn(6, 1), rs.randn(6)

    def log_marginal(params: Any) -> Any:
        noise, scale, lengths = np.exp(params[0]) + 1e-3, np.exp(params[1]), np.exp(params[2:])
        diffs = np.expand_dims(inputs / lengths, 1) - np.expand_dims(inputs / lengths, 0)
        cov = scale * np.exp(-0.5 * np.sum(diffs**2, axis=2)) + noise * np.eye(6)
        _, logdet = np.linalg.slogdet(cov)
        return -0.5 * (np.dot(targets, np.linalg.solve(cov, targets)) + logdet)

    at = np.array([0.1, -0.2, 0.3])
    return ag.grad(log_marginal)(at), ag.jacobian(ag.grad(log_marginal))(at)


def fluid_step(ag: Any) -> Any:
    np = ag.np
    rs = np.random.RandomState(3)
    vx, vy = rs.randn(6, 6), rs.randn(6, 6)

    def project(vx: Any, vy: Any) -> Any:
        p = np.zeros(vx.shape)
        h = 1.0 / vx.shape[0]
        div = -0.5 * h * (np.roll(vx, -1, axis=0) - np.roll(vx, 1, axis=0)
                          + np.roll(vy, -1, axis=1) - np.roll(vy, 1, axis=1))  # fmt: skip
        for _ in range(4):
            p = (div + np.roll(p, 1, axis=0) + np.roll(p, -1, axis=0)
                 + np.roll(p, 1, axis=1) + np.roll(p, -1, axis=1)) / 4.0  # fmt: skip
        vx = vx - 0.5 * (np.roll(p, -1, axis=0) - np.roll(p, 1, axis=0)) / h
        vy = vy - 0.5 * (np.roll(p, -1, axis=1) - np.roll(p, 1, axis=1)) / h
        return vx, vy

    def advect(f: Any, vx: Any, vy: Any) -> Any:
        rows, cols = f.shape
        cell_ys, cell_xs = np.meshgrid(np.arange(rows), np.arange(cols))
        xs, ys = (cell_xs - vx).ravel(), (cell_ys - vy).ravel()
        left, top = np.floor(xs).astype(int), np.floor(ys).astype(int)
        rw, bw = xs - left, ys - top
        left, right = np.mod(left, rows), np.mod(left + 1, rows)
        top, bottom = np.mod(top, cols), np.mod(top + 1, cols)
        flat = (1 - rw) * ((1 - bw) * f[left, top] + bw * f[left, bottom]) + rw * (
            (1 - bw) * f[right, top] + bw * f[right, bottom]
        )
        return np.reshape(flat, (rows, cols))

    def objective(params: Any) -> Any:
        vx, vy = np.reshape(params[:36], (6, 6)), np.reshape(params[36:], (6, 6))
        for _ in range(2):
            vx, vy = project(advect(vx, vx, vy), advect(vy, vx, vy))
        return np.mean(vx**2) + np.mean(np.abs(vy))

    return ag.value_and_grad(objective)(np.concatenate([vx.ravel(), vy.ravel()]))


def mixture_with_log_sum_exp(ag: Any) -> Any:
    np = ag.np
    rs = np.random.RandomState(4)
    data = rs.randn(8, 2)

    def logsumexp(x: Any, axis: int) -> Any:
        top = np.max(x, axis=axis, keepdims=True)
        return np.squeeze(top, axis) + np.log(np.sum(np.exp(x - top), axis=axis))

    def loglike(params: Any) -> Any:
        parts = []
        for weight, mean, root in zip(
            params["weights"], params["means"], params["roots"], strict=True
        ):
            cov = np.dot(root.T, root)
            centred = data - mean
            quadratic = np.sum(centred * np.linalg.solve(cov, centred.T).T, axis=1)
            parts.append(weight - 0.5 * (quadratic + np.log(np.linalg.det(cov))))
        return np.sum(logsumexp(np.vstack(parts), axis=0))

    params = {
        "weights": 0.3 * rs.randn(3),
        "means": rs.randn(3, 2),
        "roots": np.eye(2) + 0.1 * rs.randn(3, 2, 2),
    }
    return ag.grad(loglike)(params)


def arrays_of_scalars(ag: Any) -> Any:
    np = ag.np

    def f(x: Any, y: Any) -> Any:
        rotation = np.array([[np.cos(x), -np.sin(x)], [np.sin(x), np.cos(x)]])
        padded = np.concatenate([np.array([x]), np.array([y, 1.0, x * y])])
        return np.sum(np.dot(rotation, np.array([y, y**2]))) + np.mean([x, y]) * np.std(padded)

    return ag.grad(f, 0)(0.7, 1.3), ag.grad(f, 1)(0.7, 1.3), ag.jacobian(lambda x: f(x, 2.0))(0.5)


def complex_numbers(ag: Any) -> Any:
    np = ag.np

    def power_spectrum(x: Any) -> Any:
        spectrum = np.fft.fft(x * np.exp(0.5j * x))
        return np.sum(np.abs(spectrum[1:]) ** 2) + np.real(spectrum[0]) * np.imag(spectrum[1])

    return ag.grad(power_spectrum)(np.array([0.3, -1.0, 0.7, 0.2]))


SCRIPTS: list[Callable[[Any], Any]] = [
    derivatives_of_tanh,
    taylor_series_of_sine,
    rosenbrock_by_newton,
    logistic_regression,
    network_of_nested_lists,
    recurrent_network,
    gaussian_process,
    fluid_step,
    mixture_with_log_sum_exp,
    arrays_of_scalars,
    complex_numbers,
]


@pytest.mark.oracle
@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script: Callable[[Any], Any]) -> None:
    found = kinone.tree.leaves(script(KINONE))
    wanted = kinone.tree.leaves(script(AUTOGRAD))
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert np.shape(b) == () or np.any(b), "a derivative of nothing but zeros shows nothing"
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
