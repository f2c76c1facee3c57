"""The losses' options and the further losses against torch and optax: values, both derivatives,
`vmap`, `jit`, float32, extremes, masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loss_oracle import assert_like_optax

import kinone as kn
from kinone import losses
from kinone.errors import ShapeError

random = np.random.default_rng(5)
X = random.normal(size=(6, 4)) * 2
Y = random.normal(size=(6, 4))
Z = random.normal(size=(6, 4))
CLASSES = np.array([0, 3, 1, 1, 2, 0])
SOME = np.array([0, -100, 1, -100, 2, 0])
SPREAD = random.dirichlet(np.ones(4), 6)
BITS = random.integers(0, 2, (6, 4))
SIGNS = 2 * BITS - 1
WEIGHTS = np.array([0.5, 1.0, 3.0, 10.0])
THERE = random.random((6, 4)) < 0.6
THERE[:, 0] = True
ROWS = np.array([True, False, True, True, False, True])
LOG_P = np.log(random.dirichlet(np.ones(4), 6))
integer = losses.softmax_cross_entropy_with_integer_labels

Case = tuple[Callable[..., Any], Callable[..., Any]]

# name: (Kinone's loss of x, torch's of (functional, tensor, x)).
TORCH: dict[str, Case] = {
    f"integer, {reduction}, {'weights' if weights is not None else 'plain'}, {smooth}": (
        lambda x, r=reduction, w=weights, s=smooth: integer(
            x, SOME, class_weights=w, label_smoothing=s, ignore_index=-100, reduction=r
        ),
        lambda f, t, x, r=reduction, w=weights, s=smooth: f.cross_entropy(
            x, t(SOME), None if w is None else t(w), label_smoothing=s, reduction=r
        ),
    )
    for reduction in ("none", "mean", "sum")
    for weights in (None, WEIGHTS)
    for smooth in (0.0, 0.1)
} | {
    "probabilities, weights, smooth, mean": (
        lambda x: losses.softmax_cross_entropy(
            x, SPREAD, class_weights=WEIGHTS, label_smoothing=0.1, reduction="mean"
        ),
        lambda f, t, x: f.cross_entropy(x, t(SPREAD), t(WEIGHTS), label_smoothing=0.1),
    ),
    "bits, both weights, mean": (
        lambda x: losses.sigmoid_binary_cross_entropy(
            x, BITS, WEIGHTS, class_weights=WEIGHTS[::-1], reduction="mean"
        ),
        lambda f, t, x: f.binary_cross_entropy_with_logits(
            x, t(BITS).double(), t(WEIGHTS[::-1].copy()), pos_weight=t(WEIGHTS)
        ),
    ),
    "bits, masked, mean": (
        lambda x: losses.sigmoid_binary_cross_entropy(
            x, np.where(THERE, BITS, np.nan), where=THERE, reduction="mean"
        ),
        lambda f, t, x: f.binary_cross_entropy_with_logits(x[t(THERE)], t(BITS[THERE]).double()),
    ),
    "binary of probabilities": (
        lambda x: losses.binary_cross_entropy(
            kn.ops.sigmoid(x), SPREAD, class_weights=WEIGHTS, reduction="none"
        ),
        lambda f, t, x: f.binary_cross_entropy(
            x.sigmoid(), t(SPREAD), t(WEIGHTS).expand(6, 4), reduction="none"
        ),
    ),
    "huber": (
        lambda x: losses.huber_loss(x, Y, delta=0.7),
        lambda f, t, x: f.huber_loss(x, t(Y), delta=0.7, reduction="none"),
    ),
    "squared, masked": (
        lambda x: losses.squared_error(
            x, np.where(THERE, Y, np.nan), where=THERE, reduction="mean"
        ),
        lambda f, t, x: f.mse_loss(x[t(THERE)], t(Y[THERE])),
    ),
    "gaussian": (
        lambda x: losses.gaussian_nll_loss(x, Y, np.exp(x / 3) * 0.1, full=True),
        lambda f, t, x: f.gaussian_nll_loss(
            x, t(Y), (x / 3).exp() * 0.1, full=True, reduction="none"
        ),
    ),
    "gaussian, one variance a row, clamped": (
        lambda x: losses.gaussian_nll_loss(x, Y, x[:, :1] ** 2, epsilon=0.5, reduction="mean"),
        lambda f, t, x: f.gaussian_nll_loss(x, t(Y), x[:, :1] ** 2, eps=0.5),
    ),
    "poisson": (
        lambda x: losses.poisson_nll_loss(x, BITS * 3, full=True),
        lambda f, t, x: f.poisson_nll_loss(x, t(BITS * 3.0), full=True, reduction="none"),
    ),
    "poisson of rates": (
        lambda x: losses.poisson_nll_loss(x**2, BITS, log_input=False),
        lambda f, t, x: f.poisson_nll_loss(x**2, t(BITS * 1.0), log_input=False, reduction="none"),
    ),
    "divergence": (
        lambda x: losses.kl_divergence(kn.ops.log_softmax(x), SPREAD, reduction="mean"),
        lambda f, t, x: f.kl_div(f.log_softmax(x, -1), t(SPREAD), reduction="batchmean"),
    ),
    "divergence, log targets": (
        lambda x: losses.kl_divergence_with_log_targets(x, LOG_P),
        lambda f, t, x: f.kl_div(x, t(LOG_P), log_target=True, reduction="none").sum(-1),
    ),
    "cosine": (
        lambda x: losses.cosine_similarity(x, Y, epsilon=1e-12),
        lambda f, t, x: f.cosine_similarity(x, t(Y), dim=-1),
    ),
    "margin ranking": (
        lambda x: losses.margin_ranking_loss(x, Y, SIGNS, margin=0.3),
        lambda f, t, x: f.margin_ranking_loss(x, t(Y), t(SIGNS), margin=0.3, reduction="none"),
    ),
    "multi-class hinge": (
        lambda x: losses.multiclass_hinge_loss(x, CLASSES),
        lambda f, t, x: (
            (x + 1 - f.one_hot(t(CLASSES), 4)).amax(-1) - x.gather(1, t(CLASSES)[:, None])[:, 0]
        ),
    ),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", TORCH)
def test_value_gradient_and_second_order_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = TORCH[name]
    x = torch.tensor(X, requires_grad=True)
    want = theirs(torch.nn.functional, torch.tensor, x)
    value, pullback = kn.vjp(ours, X)
    np.testing.assert_allclose(value, want.detach(), rtol=1e-12, atol=1e-14)
    ct = np.random.default_rng(1).normal(size=np.shape(value))
    (gradient,) = torch.autograd.grad((want * torch.tensor(ct)).sum(), x, create_graph=True)
    np.testing.assert_allclose(pullback(ct)[0], gradient.detach(), rtol=1e-10, atol=1e-13)
    assert np.abs(pullback(ct)[0]).max() > 0

    def slope(x: Any) -> Any:
        return np.sum(kn.vjp(ours, x)[1](ct)[0] * Z)

    second = kn.grad(slope)(X)
    if gradient.requires_grad:
        (wanted,) = torch.autograd.grad((gradient * torch.tensor(Z)).sum(), x)
        np.testing.assert_allclose(second, wanted.numpy(force=True), rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose(second, 0, atol=1e-15)


# name: (positional arguments, the first differentiated; keyword arguments), in both libraries.
OPTAX: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "softmax_cross_entropy": [
        ((X, SPREAD, -1, THERE), {}),
        ((X, SPREAD), {"axis": (0, 1)}),
        ((X, SPREAD), {"axis": None}),
        ((X, SPREAD), {"axis": 0}),
    ],
    "softmax_cross_entropy_with_integer_labels": [
        ((X, CLASSES), {"where": ROWS}),
        ((X, np.zeros(6, int), -1, THERE), {}),
        ((X.reshape(2, 3, 4), np.array([3, 11])), {"axis": (1, 2)}),
        ((X.reshape(2, 3, 4), np.array([5, 1, 0])), {"axis": (2, 0)}),
    ],
    "smooth_labels": [((SPREAD, 0.1), {}), ((SPREAD, 0.1), {"axis": 0})],
    "sigmoid_focal_loss": [
        ((X, BITS), {}),
        ((X, SPREAD), {"alpha": 0.25, "gamma": 1.5}),
        ((X, BITS), {"alpha": 0.7, "gamma": 0.5}),
    ],
    "huber_loss": [((X, Y), {"delta": 1.3}), ((X,), {})],
    "log_cosh": [((X, Y), {}), ((X,), {})],
    "kl_divergence": [((LOG_P, SPREAD), {}), ((LOG_P, SPREAD, 0, THERE), {})],
    "kl_divergence_with_log_targets": [((X, LOG_P), {}), ((X, LOG_P, -1, THERE), {})],
    "generalized_kl_divergence": [((X, SPREAD), {}), ((X, SPREAD, None, THERE), {})],
    "hinge_loss": [((X, SIGNS), {})],
    "multiclass_hinge_loss": [((X, CLASSES), {})],
    "cosine_similarity": [((X, Y), {}), ((X, Y), {"axis": 0, "where": THERE, "epsilon": 9.0})],
    "cosine_distance": [((X, Y), {}), ((X, Y), {"axis": None})],
    "triplet_margin_loss": [((X, Y, Z), {}), ((X, Y, Z, 0, 4, 0.3, 1e-3), {})],
    "ntxent": [((X, np.array([0, 1, 0, 2, 2, 2])), {}), ((X, CLASSES, 0.5), {})],
    "dice_loss": [
        ((X.reshape(2, 3, 4), np.eye(4)[CLASSES].reshape(2, 3, 4)), {}),
        (
            (X.reshape(2, 3, 4), np.eye(4)[CLASSES].reshape(2, 3, 4)),
            {
                "class_weights": WEIGHTS,
                "smooth": 0.1,
                "alpha": 0.3,
                "beta": 0.8,
                "reduction": "none",
                "ignore_background": True,
            },
        ),
        ((X[:, :, None], BITS[:, :, None]), {"reduction": "sum"}),
    ],
}
CALLS = [(name, *call) for name, calls in OPTAX.items() for call in calls]


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "args", "options"), CALLS)
def test_value_and_gradient_of_optax(name: str, args: Any, options: Any) -> None:
    assert_like_optax(name, args, options)


# Every loss of one input, for what all must do alike.
EVERY: dict[str, Callable[..., Any]] = {name: case[0] for name, case in TORCH.items()} | {
    f"{name} {index}": lambda x, n=name, a=args, o=options: getattr(losses, n)(
        np.reshape(x, np.shape(a[0])), *a[1:], **o
    )
    for name, calls in OPTAX.items()
    for index, (args, options) in enumerate(calls)
    if name != "smooth_labels"
}


@pytest.mark.parametrize("name", EVERY)
def test_vmap_jit_and_float32(name: str) -> None:
    loss = EVERY[name]
    many = np.stack([X, Y])
    slow = [kn.value_and_grad(lambda x: np.sum(loss(x) ** 2))(x) for x in many]
    fast = kn.vmap(kn.value_and_grad(lambda x: np.sum(loss(x) ** 2)))(many)
    for index in (0, 1):
        want = np.stack([one[index] for one in slow])
        np.testing.assert_allclose(fast[index], want, rtol=1e-9, atol=1e-12)
    compiled = kn.jit(kn.grad(lambda x: np.sum(loss(x) ** 2)))(X)
    np.testing.assert_allclose(compiled, slow[0][1], rtol=1e-10, atol=1e-12)
    value, pullback = kn.vjp(loss, X.astype(np.float32))
    assert value.dtype == np.float32
    assert pullback(value)[0].dtype == np.float32
    np.testing.assert_allclose(value, loss(X), rtol=2e-3, atol=1e-5)


HUGE = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [0.0, -1e4]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_values(dtype: Any) -> None:
    """Finite, without a warning, to the second derivative."""
    x, first, bits = HUGE.astype(dtype), np.zeros(4, int), np.array([[1, 0]] * 4)
    for loss in (
        lambda x: integer(x, first, label_smoothing=0.1, class_weights=np.array([1.0, 2])),
        lambda x: losses.softmax_cross_entropy(x, bits, label_smoothing=0.1),
        lambda x: losses.sigmoid_binary_cross_entropy(x, bits, 3.0),
        lambda x: losses.sigmoid_focal_loss(x, bits),
        lambda x: losses.sigmoid_focal_loss(x, bits, gamma=0.5, alpha=0.25),
        lambda x: losses.huber_loss(x),
        lambda x: losses.log_cosh(x),
        lambda x: losses.hinge_loss(x, 2 * bits - 1),
        lambda x: losses.multiclass_hinge_loss(x, first),
        lambda x: losses.kl_divergence(kn.ops.log_softmax(x), bits),
        lambda x: losses.cosine_similarity(x, bits, epsilon=1e-6),
        lambda x: losses.triplet_margin_loss(x, x + 1, x - 2),
        lambda x: losses.dice_loss(x[:, None], bits[:, None]),
        lambda x: losses.ctc_loss(x[None], np.zeros((1, 4)), np.array([[1]]), np.zeros((1, 1))),
    ):
        value, gradient = kn.value_and_grad(lambda x, loss=loss: np.sum(loss(x)))(x)
        assert value.dtype == gradient.dtype == dtype
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        second = kn.hvp(lambda x, loss=loss: np.sum(loss(x)), (x,), (np.ones_like(x),))
        assert all(np.isfinite(leaf).all() for leaf in kn.tree.leaves(second))
    wrong = np.array([[-1e4]], dtype)
    slope = kn.grad(lambda x: np.sum(losses.sigmoid_focal_loss(x, np.ones((1, 1)))))(wrong)
    assert slope.item() == pytest.approx(-1)


def test_contrastive_pairs() -> None:
    distances, together = np.array([0.3, 0.3, 2.5]), np.array([1, 0, 0])

    def loss(d: Any) -> Any:
        return losses.contrastive_loss(d, together, margin=2.0)

    np.testing.assert_allclose(loss(distances), [0.09, 1.7**2, 0])
    slope = kn.grad(lambda d: np.sum(loss(d)))(distances)
    np.testing.assert_allclose(slope, [0.6, -3.4, 0])


def test_the_cosine_of_a_zero_vector() -> None:
    def loss(x: Any) -> Any:
        return np.sum(losses.cosine_similarity(x, Y, epsilon=1e-8))

    gradient = kn.grad(loss)(np.where(ROWS[:, None], X, 0.0))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[~ROWS]).min() > 0


def test_log_cosh_keeps_its_digits() -> None:
    small = np.array([1e-3, 1e-6, 1e-9])
    np.testing.assert_allclose(losses.log_cosh(small), small**2 / 2, rtol=1e-6)
    around = np.array([1 - 1e-9, 1 + 1e-9, -1.0, 0.0])
    np.testing.assert_allclose(losses.log_cosh(around), np.log(np.cosh(around)), rtol=1e-14)
    slope = kn.grad(lambda x: np.sum(losses.log_cosh(x)))
    np.testing.assert_allclose(slope(around), np.tanh(around), rtol=1e-13, atol=1e-16)


def test_what_does_not_count_spoils_nothing() -> None:
    """NaN in a masked place reaches neither the value nor a gradient."""
    holed = np.where(THERE, X, np.nan)
    for loss in (
        lambda x: losses.squared_error(x, Y, where=THERE),
        lambda x: losses.log_cosh(x, Y, where=THERE),
        lambda x: losses.sigmoid_binary_cross_entropy(x, BITS, where=THERE),
        lambda x: losses.sigmoid_focal_loss(x, BITS, where=THERE),
        lambda x: losses.kl_divergence(x, SPREAD, where=THERE),
        lambda x: losses.cosine_similarity(x, Y, where=THERE),
        lambda x: losses.softmax_cross_entropy(x, SPREAD, where=THERE),
    ):
        gradient = kn.grad(lambda x, loss=loss: np.sum(loss(x)))(holed)
        np.testing.assert_array_equal(gradient[~THERE], 0)
        assert np.abs(gradient[THERE]).max() > 0
        assert np.isfinite(gradient).all()
    lines = np.where(ROWS[:, None], X, np.nan)
    for loss in (
        lambda x: integer(x, CLASSES, where=ROWS, reduction="mean"),
        lambda x: integer(x, np.where(ROWS, CLASSES, -1), ignore_index=-1, reduction="mean"),
        lambda x: losses.softmax_cross_entropy(x, np.eye(4)[CLASSES], where=ROWS, reduction="mean"),
    ):
        value, gradient = kn.value_and_grad(loss)(lines)
        want = kn.value_and_grad(lambda x: np.mean(integer(x, CLASSES[ROWS])))(X[ROWS])
        np.testing.assert_allclose(value, want[0], rtol=1e-13)
        np.testing.assert_allclose(gradient[ROWS], want[1], rtol=1e-12)
        np.testing.assert_array_equal(gradient[~ROWS], 0)


@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_any_shape_and_axis(shape: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    axis = int(generator.integers(-len(shape), len(shape)))
    x = generator.normal(size=shape)
    classes = shape[axis]
    labels = generator.integers(0, classes, np.delete(shape, axis))
    one_hot = np.moveaxis(np.eye(classes)[labels], -1, axis)
    got = integer(x, labels, axis, label_smoothing=0.2)
    want = losses.softmax_cross_entropy(x, losses.smooth_labels(one_hot, 0.2, axis=axis), axis)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
    for reduction, fold in (("mean", np.mean), ("sum", np.sum)):
        got = losses.squared_error(x, one_hot, reduction=reduction)
        np.testing.assert_allclose(got, fold((x - one_hot) ** 2), rtol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"reduction='avg' must be .*, at .*test_losses_options"):
        losses.squared_error(X, Y, reduction="avg")
    with pytest.raises(ShapeError, match=r"class_weights has shape \(3,\)"):
        integer(X, CLASSES, class_weights=np.ones(3))
    with pytest.raises(ShapeError, match=r"where is .* must be booleans"):
        losses.squared_error(X, Y, where=np.ones((6, 4)))
    with pytest.raises(ShapeError, match="where is"):
        losses.huber_loss(X, Y, where=ROWS)
    with pytest.raises(ValueError, match="between 0 and 1"):
        integer(X, CLASSES, label_smoothing=1.5)
    with pytest.raises(ValueError, match="the classes along one axis"):
        losses.softmax_cross_entropy(X, SPREAD, None, class_weights=WEIGHTS)
    with pytest.raises(IndexError, match="range from -100"):
        integer(X, SOME)
    with pytest.raises(ValueError, match="Logits belong to sigmoid_binary_cross_entropy"):
        losses.binary_cross_entropy(X, BITS)
    with pytest.raises(ValueError, match="variance must not be negative"):
        losses.gaussian_nll_loss(X, Y, -np.ones_like(X))
    with pytest.raises(ShapeError, match="want labels of shape"):
        losses.multiclass_hinge_loss(X, CLASSES[:, None])
    for name in (
        *("huber_loss", "log_cosh", "hinge_loss", "kl_divergence", "cosine_similarity"),
        *("cosine_distance", "poisson_nll_loss", "binary_cross_entropy", "contrastive_loss"),
        *("sigmoid_focal_loss", "dice_loss"),
    ):
        with pytest.raises(
            ShapeError, match=r".*\[6,4\] and .*\[6,1\]; the shapes must be equal, at .*test_loss"
        ):
            getattr(losses, name)(np.abs(X), Y[:, :1])
