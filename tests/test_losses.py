"""Losses against torch and optax: values, gradients, second derivatives, extremes, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import losses
from kinone.errors import ShapeError

random = np.random.default_rng(0)
LOGITS = random.normal(size=(5, 4)) * 3
CLASSES = np.array([0, 3, 1, 1, 2])
PROBABILITIES = random.dirichlet(np.ones(4), 5)
BITS = random.integers(0, 2, (5, 4))
WEIGHTS = np.array([0.5, 1.0, 3.0, 10.0])
COTANGENT = random.normal(size=(5, 4))


def torch_functions() -> Any:
    return pytest.importorskip("torch").nn.functional


# name: (Kinone's loss, torch's, the cotangent's shape); the truth is bound in both.
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "integer labels": (
        lambda x: losses.softmax_cross_entropy_with_integer_labels(x, CLASSES),
        lambda f, t, x: f.cross_entropy(x, t(CLASSES), reduction="none"),
    ),
    "integer labels, first axis": (
        lambda x: losses.softmax_cross_entropy_with_integer_labels(x, BITS[0] + 3, axis=0),
        lambda f, t, x: f.cross_entropy(x.T, t(BITS[0] + 3), reduction="none"),
    ),
    "integer labels, many axes": (
        lambda x: losses.softmax_cross_entropy_with_integer_labels(
            np.reshape(x, (5, 2, 2)), BITS[:, :2], axis=1
        ),
        lambda f, t, x: f.cross_entropy(x.reshape(5, 2, 2), t(BITS[:, :2]), reduction="none"),
    ),
    "probabilities": (
        lambda x: losses.softmax_cross_entropy(x, PROBABILITIES),
        lambda f, t, x: f.cross_entropy(x, t(PROBABILITIES), reduction="none"),
    ),
    "probabilities, first axis": (
        lambda x: losses.softmax_cross_entropy(x, BITS, axis=0),
        lambda f, t, x: -(t(BITS) * f.log_softmax(x, 0)).sum(0),
    ),
    "bits": (
        lambda x: losses.sigmoid_binary_cross_entropy(x, BITS),
        lambda f, t, x: f.binary_cross_entropy_with_logits(x, t(BITS).double(), reduction="none"),
    ),
    "soft bits, weight per class": (
        lambda x: losses.sigmoid_binary_cross_entropy(x, PROBABILITIES, WEIGHTS),
        lambda f, t, x: f.binary_cross_entropy_with_logits(
            x, t(PROBABILITIES), pos_weight=t(WEIGHTS), reduction="none"
        ),
    ),
    "bits, one weight": (
        lambda x: losses.sigmoid_binary_cross_entropy(x, BITS > 0, pos_weight=2.5),
        lambda f, t, x: f.binary_cross_entropy_with_logits(
            x, t(BITS).double(), pos_weight=t(np.array(2.5)), reduction="none"
        ),
    ),
    "squared": (
        lambda x: losses.squared_error(x, COTANGENT),
        lambda f, t, x: f.mse_loss(x, t(COTANGENT), reduction="none"),
    ),
    "squared, no targets": (lambda x: losses.squared_error(x), lambda f, t, x: x**2),
    "l2": (
        lambda x: losses.l2_loss(x, COTANGENT),
        lambda f, t, x: 0.5 * f.mse_loss(x, t(COTANGENT), reduction="none"),
    ),
    "absolute": (
        lambda x: losses.absolute_error(x, COTANGENT),
        lambda f, t, x: f.l1_loss(x, t(COTANGENT), reduction="none"),
    ),
    "mse": (
        lambda x: losses.mse(x, COTANGENT),
        lambda f, t, x: f.mse_loss(x, t(COTANGENT)),
    ),
    "mae": (
        lambda x: losses.mae(x, COTANGENT),
        lambda f, t, x: f.l1_loss(x, t(COTANGENT)),
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_value_gradient_and_second_order_of_torch(name: str) -> None:
    torch, functions = pytest.importorskip("torch"), torch_functions()
    ours, theirs = CASES[name]
    x = torch.tensor(LOGITS, requires_grad=True)
    want = theirs(functions, torch.tensor, x)
    value, pullback = kn.vjp(ours, LOGITS)
    np.testing.assert_allclose(value, want.detach(), rtol=1e-12, atol=1e-15)
    # Random cotangents: a mean would hide a rule that is wrong in some elements only.
    ct = np.random.default_rng(1).normal(size=value.shape)
    (gradient,) = torch.autograd.grad((want * torch.tensor(ct)).sum(), x, create_graph=True)
    np.testing.assert_allclose(pullback(ct)[0], gradient.detach(), rtol=1e-10, atol=1e-14)
    assert np.abs(pullback(ct)[0]).max() > 0

    direction = np.random.default_rng(2).normal(size=LOGITS.shape)
    tangent = kn.jvp(ours, (LOGITS,), (direction,))[1]
    assert np.sum(tangent * ct) == pytest.approx(float(np.sum(pullback(ct)[0] * direction)))

    def slope(x: Any) -> Any:
        return np.sum(kn.vjp(ours, x)[1](ct)[0] * direction)

    second = kn.grad(slope)(LOGITS)
    if gradient.requires_grad:
        (wanted,) = torch.autograd.grad((gradient * torch.tensor(direction)).sum(), x)
        np.testing.assert_allclose(second, wanted.numpy(force=True), rtol=1e-9, atol=1e-13)
    else:
        np.testing.assert_array_equal(second, 0)


@pytest.mark.oracle
def test_values_of_optax() -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    pairs = [
        ("softmax_cross_entropy_with_integer_labels", (LOGITS, CLASSES)),
        ("softmax_cross_entropy", (LOGITS, PROBABILITIES)),
        ("sigmoid_binary_cross_entropy", (LOGITS, BITS)),
        ("squared_error", (LOGITS, COTANGENT)),
        ("squared_error", (LOGITS,)),
        ("l2_loss", (LOGITS, COTANGENT)),
    ]
    for name, args in pairs:
        with jax.enable_x64(True):
            want = np.asarray(getattr(optax, name)(*map(jax.numpy.asarray, args)))
        np.testing.assert_allclose(getattr(losses, name)(*args), want, rtol=1e-12, err_msg=name)


def test_gradient_with_respect_to_the_labels() -> None:
    """Distillation learns the labels too."""
    got = kn.grad(lambda y: np.sum(losses.softmax_cross_entropy(LOGITS, y)))(PROBABILITIES)
    log_total = np.log(np.exp(LOGITS).sum(1, keepdims=True))
    np.testing.assert_allclose(got, log_total - LOGITS, rtol=1e-12)
    zeros = np.zeros((5, 4))  # the derivative at exactly 0 too
    got = kn.grad(lambda y: np.sum(losses.sigmoid_binary_cross_entropy(LOGITS, y)))(zeros)
    np.testing.assert_allclose(got, -LOGITS, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits(dtype: Any) -> None:
    x = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    both = np.array([0, 0])
    for loss, want in (
        (lambda x: losses.softmax_cross_entropy_with_integer_labels(x, both), [0, 2e4]),
        (lambda x: losses.softmax_cross_entropy(x, np.array([[1, 0], [1, 0]])), [0, 2e4]),
        (
            lambda x: losses.sigmoid_binary_cross_entropy(x, np.array([[1, 0], [1, 0]]), 2.0),
            [[0, 0], [2e4, 1e4]],
        ),
    ):
        value, pullback = kn.vjp(loss, x)
        np.testing.assert_array_equal(value, np.array(want, dtype))
        gradient = pullback(np.ones_like(value))[0]
        assert gradient.dtype == dtype
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[1]).max() >= 1


def test_infinite_logits() -> None:
    x = np.array([[0.0, -np.inf, 0.0]])
    integer = losses.softmax_cross_entropy_with_integer_labels
    np.testing.assert_allclose(integer(x, np.array([0])), [np.log(2)])
    assert integer(x, np.array([1])) == np.inf
    np.testing.assert_allclose(
        kn.grad(lambda x: np.sum(integer(x, np.array([0]))))(x), [[-0.5, 0, 0.5]]
    )
    spread = np.array([[0.25, 0.0, 0.75]])
    np.testing.assert_allclose(losses.softmax_cross_entropy(x, spread), [np.log(2)])
    np.testing.assert_allclose(
        kn.grad(lambda x: np.sum(losses.softmax_cross_entropy(x, spread)))(x), [[0.25, 0, -0.25]]
    )
    sure, bits = np.array([np.inf, -np.inf]), np.array([1, 0])
    np.testing.assert_array_equal(losses.sigmoid_binary_cross_entropy(sure, bits), 0)
    np.testing.assert_array_equal(losses.sigmoid_binary_cross_entropy(sure, 1 - bits), np.inf)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name: str) -> None:
    value, pullback = kn.vjp(CASES[name][0], LOGITS.astype(np.float32))
    assert value.dtype == np.float32  # although the truth is float64 or int64
    assert pullback(value)[0].dtype == np.float32


@pytest.mark.parametrize("name", CASES)
def test_traces_to_the_same_bits(name: str) -> None:
    loss = CASES[name][0]
    program = kn.graph(lambda x: loss(x))(LOGITS)
    np.testing.assert_array_equal(program(LOGITS), loss(LOGITS))


def test_labels_traced_too() -> None:
    """A training step gets its labels as an argument."""
    integer = losses.softmax_cross_entropy_with_integer_labels
    program = kn.graph(kn.grad(lambda x, y: np.mean(integer(x, y))))(LOGITS, CLASSES)
    want = kn.grad(lambda x: np.mean(integer(x, CLASSES)))(LOGITS)
    np.testing.assert_array_equal(program(LOGITS, CLASSES), want)
    with pytest.raises(IndexError):
        program(LOGITS, CLASSES + 1)


@pytest.mark.parametrize(
    "loss",
    [
        losses.softmax_cross_entropy,
        losses.sigmoid_binary_cross_entropy,
        losses.squared_error,
        losses.l2_loss,
        losses.absolute_error,
        losses.mse,
        losses.mae,
    ],
)
def test_shapes_never_broadcast(loss: Callable[..., Any]) -> None:
    column, row = np.ones((4, 1)), np.ones(4)
    for first, second in ((column, row), (row, column), (column, 1.0), (row, row[:1])):
        with pytest.raises(ShapeError, match=rf"{loss.__name__}: .* must be equal, at .*test_loss"):
            loss(first, second)
        with pytest.raises(ShapeError, match="must be equal"):
            kn.grad(lambda x, y=second: np.sum(loss(x, y)))(first)


@pytest.mark.parametrize(
    "loss",
    [
        losses.mse,
        losses.mae,
        losses.squared_error,
        losses.softmax_cross_entropy,
        losses.softmax_cross_entropy_with_integer_labels,
        losses.sigmoid_binary_cross_entropy,
    ],
)
def test_the_pair_that_apply_returns(loss: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"write y, state = model\.apply\(…\)") as caught:
        loss((np.ones((2, 3)), {"bn": {}}), np.zeros(2, int))
    assert "test_losses.py:" in str(caught.value)


def test_refusals() -> None:
    integer = losses.softmax_cross_entropy_with_integer_labels
    for labels in ([0, 1, 2, 3, 4], [0, 1, 2, 3, -1]):
        with pytest.raises(IndexError, match=r"4 classes, 0 to 3, and the labels range from"):
            integer(LOGITS, np.array(labels))
    with pytest.raises(ShapeError, match=r"want labels of shape \(5,\), got \(5, 1\)"):
        integer(LOGITS, CLASSES[:, None])
    with pytest.raises(ShapeError, match="One-hot labels belong to softmax_cross_entropy"):
        integer(LOGITS, BITS)
    with pytest.raises(TypeError, match=r"labels\.astype\(np\.int64\)"):
        integer(LOGITS, CLASSES.astype(float))
    with pytest.raises(TypeError, match="The order is"):
        losses.sigmoid_binary_cross_entropy(BITS, LOGITS)  # the wrong way round
    with pytest.raises(ShapeError, match=r"pos_weight has shape \(3,\)"):
        losses.sigmoid_binary_cross_entropy(LOGITS, BITS, np.ones(3))
    with pytest.raises(ShapeError, match=r"pos_weight has shape \(2, 5, 4\)"):
        losses.sigmoid_binary_cross_entropy(LOGITS, BITS, np.ones((2, 5, 4)))
    with pytest.raises(np.exceptions.AxisError):
        losses.softmax_cross_entropy(LOGITS, PROBABILITIES, axis=2)
    assert integer(np.ones((0, 3)), np.zeros(0, int)).shape == (0,)
