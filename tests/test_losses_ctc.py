"""CTC against all alignments one by one, torch and optax."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import losses
from kinone.errors import ShapeError

random = np.random.default_rng(7)
LOGITS = random.normal(size=(5, 7, 4)) * 2
LABELS = np.array([[1, 2, 3], [1, 1, 2], [2, 2, 2], [3, 0, 0], [0, 0, 0]])
LENGTHS = np.array([3, 3, 3, 1, 0])  # repeats, one label, none at all
FRAMES = np.array([7, 6, 5, 4, 7])
LABEL_PADDINGS = (np.arange(3) >= LENGTHS[:, None]).astype(float)
LOGIT_PADDINGS = (np.arange(7) >= FRAMES[:, None]).astype(float)
COTANGENT = random.normal(size=5)


def loss(x: Any, **options: Any) -> Any:
    return losses.ctc_loss(x, LOGIT_PADDINGS, LABELS, LABEL_PADDINGS, **options)


def test_all_alignments() -> None:
    probability = np.exp(LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True)))
    want = np.zeros(5)
    for row in (2, 3, 4):
        target, count = LABELS[row, : LENGTHS[row]].tolist(), min(FRAMES[row], 5)
        paddings = (np.arange(7) >= count).astype(float)[None]
        for path in itertools.product(range(4), repeat=int(count)):
            merged = [c for c, _ in itertools.groupby(path) if c]
            if merged == target:
                want[row] += np.prod(probability[row, np.arange(count), path])
        got = losses.ctc_loss(LOGITS[[row]], paddings, LABELS[[row]], LABEL_PADDINGS[[row]])
        np.testing.assert_allclose(np.exp(-got), want[row], rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("blank", [0, 3])
def test_torch(blank: int) -> None:
    torch = pytest.importorskip("torch")
    labels = LABELS if blank == 0 else 3 - LABELS
    x = torch.tensor(LOGITS, requires_grad=True)
    want = torch.nn.functional.ctc_loss(
        x.log_softmax(-1).transpose(0, 1),
        torch.tensor(labels),
        torch.tensor(FRAMES),
        torch.tensor(LENGTHS),
        blank=blank,
        reduction="none",
    )
    (want * torch.tensor(COTANGENT)).sum().backward()

    def ours(x: Any) -> Any:
        return losses.ctc_loss(x, LOGIT_PADDINGS, labels, LABEL_PADDINGS, blank_id=blank)

    value, pullback = kn.vjp(ours, LOGITS)
    np.testing.assert_allclose(value, want.detach(), rtol=1e-12)
    np.testing.assert_allclose(pullback(COTANGENT)[0], x.grad, rtol=1e-9, atol=1e-13)
    assert np.all(pullback(COTANGENT)[0][LOGIT_PADDINGS == 1] == 0)


@pytest.mark.oracle
def test_optax() -> None:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        want = jax.jit(optax.losses.ctc_loss)(LOGITS, LOGIT_PADDINGS, LABELS, LABEL_PADDINGS)
    np.testing.assert_allclose(loss(LOGITS), want, rtol=1e-11)


def test_transformations() -> None:
    gradient = kn.grad(lambda x: np.sum(loss(x) * COTANGENT))(LOGITS)
    compiled = kn.jit(kn.grad(lambda x: np.sum(loss(x) * COTANGENT)))(LOGITS)
    np.testing.assert_allclose(compiled, gradient, rtol=1e-10, atol=1e-14)

    def one(x: Any, frames: Any, labels: Any, missing: Any) -> Any:
        return losses.ctc_loss(x[None], frames[None], labels[None], missing[None])[0]

    batched = kn.vmap(one)(LOGITS, LOGIT_PADDINGS, LABELS, LABEL_PADDINGS)
    np.testing.assert_allclose(batched, loss(LOGITS), rtol=1e-12)
    kn.testing.check_grads(loss, (LOGITS,), 2, modes=("rev",), atol=1e-5, rtol=1e-5)
    value, pullback = kn.vjp(loss, LOGITS.astype(np.float32))
    assert value.dtype == pullback(value)[0].dtype == np.float32
    np.testing.assert_allclose(value, loss(LOGITS), rtol=1e-5)


def test_what_padding_holds_does_not_matter() -> None:
    holed = np.where(LOGIT_PADDINGS[..., None] == 1, 50.0, LOGITS)
    np.testing.assert_array_equal(loss(holed), loss(LOGITS))
    labels = np.where(LABEL_PADDINGS == 1, -1, LABELS)
    got = losses.ctc_loss(LOGITS, LOGIT_PADDINGS == 1, labels, LABEL_PADDINGS == 1)
    np.testing.assert_array_equal(got, loss(LOGITS))
    nothing = np.zeros((5, 0))
    got = losses.ctc_loss(LOGITS, LOGIT_PADDINGS, nothing.astype(int), nothing)
    np.testing.assert_allclose(got[4], loss(LOGITS)[4])


def test_what_does_not_fit_is_huge_and_finite() -> None:
    """Three equal labels need five frames."""
    frames = (np.arange(7) >= 4).astype(float)[None]
    labels, there = np.array([[2, 2, 2]]), np.zeros((1, 3))
    value, gradient = kn.value_and_grad(
        lambda x: losses.ctc_loss(x, frames, labels, there, reduction="mean")
    )(LOGITS[:1])
    assert 9e4 < value < 4e5
    assert np.isfinite(gradient).all()


def test_refusals() -> None:
    with pytest.raises(
        ShapeError, match=r"logit_paddings has shape \(5, 6\) and must have \(5, 7\)"
    ):
        losses.ctc_loss(LOGITS, LOGIT_PADDINGS[:, :6], LABELS, LABEL_PADDINGS)
    with pytest.raises(IndexError, match="4 classes, 0 to 3"):
        losses.ctc_loss(LOGITS, LOGIT_PADDINGS, LABELS + 1, LABEL_PADDINGS)
    with pytest.raises(TypeError, match="must be integers"):
        losses.ctc_loss(LOGITS, LOGIT_PADDINGS, LABELS * 1.0, LABEL_PADDINGS)
    with pytest.raises(ShapeError, match=r"\[batch, frames, classes\]"):
        losses.ctc_loss(LOGITS[0], LOGIT_PADDINGS, LABELS, LABEL_PADDINGS)
    with pytest.raises(IndexError, match="blank_id=4"):
        loss(LOGITS, blank_id=4)
