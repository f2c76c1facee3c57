"""Losses of scores, rankings and regions against optax, torch and their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from loss_oracle import assert_like_optax

import kinone as kn
from kinone import losses
from kinone.errors import ShapeError

random = np.random.default_rng(6)
X = random.normal(size=(5, 4))
BITS = random.integers(0, 2, (5, 4))
CLASSES = np.array([0, 3, 1, 1, 2])
SPREAD = random.dirichlet(np.ones(4), 5)
THERE = random.random((5, 4)) < 0.6
THERE[:, 0] = True
THERE[2] = False
PIXELS = X.reshape(1, 5, 4), np.eye(4)[CLASSES][None]

CALLS: list[tuple[str, Any, Any]] = [
    ("perceptron_loss", (X, 2 * BITS - 1), {}),
    ("sparsemax_loss", (X * 2, BITS), {}),
    ("multiclass_perceptron_loss", (X, CLASSES), {}),
    ("multiclass_sparsemax_loss", (X * 2, CLASSES), {}),
    ("poly_loss_cross_entropy", (X, SPREAD), {}),
    ("poly_loss_cross_entropy", (X, SPREAD), {"epsilon": -0.7, "axis": 0}),
    ("poly_loss_cross_entropy", (X, SPREAD), {"epsilon": 1.3, "axis": (0, 1)}),
    ("safe_softmax_cross_entropy", (X, SPREAD), {}),
    ("ranking_softmax_loss", (X, BITS), {}),
    ("ranking_softmax_loss", (X, BITS), {"where": THERE, "weights": SPREAD}),
    ("ranking_softmax_loss", (X, BITS), {"weights": SPREAD[:, :1]}),
    ("binary_dice_loss", (X, BITS), {}),
    ("binary_dice_loss", (X, BITS[..., None]), {"smooth": 0.3}),
    ("dice_loss", (X[..., None], BITS), {}),
    ("multiclass_generalized_dice_loss", PIXELS, {}),
    ("multiclass_generalized_dice_loss", PIXELS, {"smooth": 0.1, "ignore_background": True}),
]


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "args", "options"), CALLS)
def test_value_and_gradient_of_optax(name: str, args: Any, options: Any) -> None:
    assert_like_optax(name, args, options)


@pytest.mark.parametrize(("name", "args", "options"), CALLS)
def test_vmap_jit_and_float32(name: str, args: Any, options: Any) -> None:
    def slope(x: Any) -> Any:
        return np.sum(getattr(losses, name)(x, *args[1:], **options) ** 2)

    many = np.stack([args[0], -args[0]])
    want = np.stack([kn.grad(slope)(x) for x in many])
    np.testing.assert_allclose(kn.vmap(kn.grad(slope))(many), want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kn.jit(kn.grad(slope))(args[0]), want[0], rtol=1e-9, atol=1e-12)
    assert kn.grad(slope)(args[0].astype(np.float32)).dtype == np.float32


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    scores = np.array([[3.0, 1.0, 0.5], [0.4, 0.5, 0.3], [1.0, 1.0, 1.0], [1e4, -1e4, 0.0]])
    labels = np.array([0, 2, 1, 2])
    slope = kn.grad(lambda s: losses.multiclass_sparsemax_loss(s, labels, reduction="sum"))(scores)
    p = slope + np.eye(3)[labels]
    want = [[1, 0, 0], [1 / 3, 13 / 30, 7 / 30], [1 / 3] * 3, [1, 0, 0]]
    np.testing.assert_allclose(p, want, atol=1e-12)
    value = losses.multiclass_sparsemax_loss(scores, labels)
    assert value[0] == 0
    assert value[3] == 1e4
    unknown = losses.multiclass_sparsemax_loss(np.array([[np.nan, 1.0]]), np.array([0]))
    assert np.isnan(unknown).all()
    impossible = np.array([[2.0, -np.inf, 0.0]])
    assert losses.multiclass_sparsemax_loss(impossible, np.array([0])) == 0


def test_second_derivatives() -> None:
    for loss in (
        lambda x: losses.multiclass_sparsemax_loss(x, CLASSES, reduction="sum"),
        lambda x: losses.poly_loss_cross_entropy(x, SPREAD, reduction="sum"),
        lambda x: losses.ranking_softmax_loss(x, BITS, where=THERE),
    ):
        kn.testing.check_grads(loss, (X,), order=2)


def test_extremes() -> None:
    huge = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    truth = np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)

    def poly(x: Any) -> Any:
        return losses.poly_loss_cross_entropy(x, truth, reduction="sum")

    assert poly(huge) == 20002
    np.testing.assert_array_equal(kn.grad(poly)(huge), [[1, -1], [0, 0]])
    # A class of probability 0 may be impossible, and a list without an item costs nothing.
    impossible = np.array([[0.0, -np.inf]])
    assert losses.safe_softmax_cross_entropy(impossible, np.array([[1.0, 0.0]])) == 0
    nobody = np.zeros((5, 4), bool)
    value, slope = kn.value_and_grad(lambda x: losses.ranking_softmax_loss(x, BITS, where=nobody))(
        X
    )
    assert value == 0
    assert not slope.any()


def test_fenchel_young_is_cross_entropy_without_the_entropy() -> None:
    loss = losses.make_fenchel_young_loss(kn.ops.logsumexp)
    scores = X.reshape(5, 2, 2)
    want = losses.softmax_cross_entropy(scores, np.abs(scores) / np.abs(scores).sum(-1)[..., None])
    got = loss(scores, np.abs(scores) / np.abs(scores).sum(-1)[..., None])
    np.testing.assert_allclose(got, want, rtol=1e-12)
    slope = kn.grad(lambda x: np.sum(loss(x, SPREAD)))(X)
    np.testing.assert_allclose(slope, kn.ops.softmax(X) - SPREAD, atol=1e-12)


@pytest.mark.oracle
def test_ctc_forward_probabilities() -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    logits = random.normal(size=(2, 6, 4))
    paddings = np.array([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1]])
    labels, without = np.array([[1, 1, 2], [3, 0, 0]]), np.array([[0, 0, 0], [0, 1, 1]])
    got = losses.ctc_loss_with_forward_probs(logits, paddings, labels, without)
    with jax.enable_x64(True):
        want = optax.losses.ctc_loss_with_forward_probs(
            *(jax.numpy.asarray(each) for each in (logits, paddings, labels, without))
        )
    np.testing.assert_array_equal(got[0], losses.ctc_loss(logits, paddings, labels, without))
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(np.exp(-np.abs(ours)), np.exp(-np.abs(theirs)), atol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match=r"float64\[5,4\].*int64\[4\].*test_losses_margins"):
        losses.perceptron_loss(X, BITS[0])
    with pytest.raises(ShapeError, match=r"want labels of shape \(5,\), got \(5, 4\)"):
        losses.multiclass_perceptron_loss(X, BITS)
    with pytest.raises(IndexError, match="there are 4 classes"):
        losses.multiclass_sparsemax_loss(X, CLASSES + 1)
    with pytest.raises(ShapeError, match=r"weights have shape \(5,\)"):
        losses.ranking_softmax_loss(X, BITS, weights=np.ones(5))
    with pytest.raises(ValueError, match="1 in all along the classes"):
        losses.dice_loss(np.full((2, 3, 4), 0.5), np.ones((2, 3, 4)), apply_softmax=False)
    with pytest.raises(ShapeError, match="the shapes must be equal"):
        losses.binary_dice_loss(X, BITS[:, :2])


@pytest.mark.oracle
def test_the_page_says_right_what_torch_means() -> None:
    """The table of `docs/metrics.md` for those who come from `torch.nn.functional`."""
    torch = pytest.importorskip("torch")
    f, t = torch.nn.functional, torch.tensor
    signs, y = np.where(BITS, 1.0, -1.0), X[::-1].copy()
    pairs = np.where(CLASSES > 0, 1, -1)
    apart = losses.cosine_distance(X, y)
    near = np.maximum(losses.cosine_similarity(X, y) - 0.1, 0)
    log_p = np.log(SPREAD)
    for got, want in (
        (
            losses.softmax_cross_entropy_with_integer_labels(
                X.reshape(5, 2, 2), CLASSES[:, None] % [2, 1], axis=1, reduction="mean"
            ),
            f.cross_entropy(t(X).reshape(5, 2, 2), t(CLASSES[:, None] % [2, 1])),
        ),
        (
            losses.softmax_cross_entropy_with_integer_labels(log_p, CLASSES, reduction="mean"),
            f.nll_loss(t(log_p), t(CLASSES)),
        ),
        (
            np.mean(losses.sigmoid_binary_cross_entropy(X, BITS), axis=-1),
            f.multilabel_soft_margin_loss(t(X), t(BITS), reduction="none"),
        ),
        (kn.ops.softplus(-X * signs), f.soft_margin_loss(t(X), t(signs), reduction="none")),
        (
            losses.huber_loss(X, y, delta=0.3) / 0.3,
            f.smooth_l1_loss(t(X), t(y), beta=0.3, reduction="none"),
        ),
        (
            np.where(pairs > 0, apart, near),
            f.cosine_embedding_loss(t(X), t(y), t(pairs), margin=0.1, reduction="none"),
        ),
        (
            losses.kl_divergence(log_p, SPREAD[::-1].copy(), reduction="mean"),
            f.kl_div(t(log_p), t(SPREAD[::-1].copy()), reduction="batchmean"),
        ),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-11)  # torch adds 1e-12
