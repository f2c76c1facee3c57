"""Whole models as ONNX: prediction, and steps of training whose results go in again, beside eager.

Networks that are small in every direction stand for their families; `pytest -m slow` runs the
published sizes, and a full step of ResNet-18.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_runtime import as_tensor, session
from whole_networks import CASES, make_optimizer, make_step, setting

import kinone as kn
import kinone.onnx
from kinone import losses, models, nn, optim, random, tree

SLOW = {"resnet50", "efficientnet", "efficientnet lite", "resnet18 imagenet", "vit"}


def some(names: Any, slow: set[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]


class Exported:
    """An exported function: called with the same arguments it gives the same tree."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **options: Any) -> None:
        self.model: onnx.ModelProto = kn.onnx.export(fun, *args, **options)
        self.structure = tree.structure(kn.eval_shape(fun, *args))
        self.session = session(self.model)

    def __call__(self, *args: Any) -> Any:
        leaves = [as_tensor(leaf) for leaf in tree.leaves(args)]
        ports = self.session.get_inputs()
        found = self.session.run(
            None, {port.name: leaf for port, leaf in zip(ports, leaves, strict=True)}
        )
        return tree.unflatten(self.structure, found)


def close(found: Any, wanted: Any, tolerance: float, floor: float = 0.0) -> None:
    """Leaf by leaf, to the largest number of each; `floor` is as good as nothing everywhere."""
    assert tree.structure(found) == tree.structure(wanted)
    for (path, want), got in zip(tree.leaves_with_path(wanted), tree.leaves(found), strict=True):
        got, want = np.asarray(got), np.asarray(want)
        assert (got.dtype, got.shape) == (want.dtype, want.shape), path
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=path)
            continue
        atol = tolerance * np.abs(want).max(initial=0) + floor
        np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=path)


def predictor(model: nn.Layer) -> Callable[..., Any]:
    def predict(params: Any, state: Any, x: Any) -> Any:
        return model.apply(params, state, x)[0]

    return predict


def shaken(params: Any, seed: int = 0) -> Any:
    """Numbers that are not initial ones, such as the zeros of a head, which hide mistakes."""
    rng = np.random.default_rng(seed)

    def shake(leaf: Any) -> Any:
        if leaf.dtype.kind != "f":
            return leaf
        return (leaf + 0.1 * rng.random(leaf.shape)).astype(leaf.dtype)

    return tree.map(shake, params)


# ---- prediction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_prediction(name: str) -> None:
    """Parameters folded, and parameters as inputs; the exported batch, and two others."""
    case = CASES[name]
    params, state = shaken(case.model.init(random.key(0), case.x))
    predict = predictor(case.model)
    batch = {"x": {0: "batch"}}
    folded = Exported(
        predict,
        params,
        state,
        case.x,
        fold=("params", "state") if state else ("params",),
        dynamic=batch,
    )
    open_ = Exported(predict, params, state, case.x, dynamic=batch)
    names = {tensor.name for tensor in folded.model.graph.initializer}
    paths = [path for path, _ in tree.leaves_with_path(params)]
    assert {f"params/{path}" for path in paths if path.endswith("kernel")} <= names
    for size in (len(case.x), 1, 3):
        x = case.x[:size]
        wanted = predict(params, state, x)
        close(folded(x), wanted, 1e-5)
        close(open_(params, state, x), wanted, 1e-5)


PUBLISHED: dict[str, tuple[Callable[[], nn.Layer], tuple[int, ...]]] = {
    "resnet18": (models.resnet18, (1, 64, 64, 3)),
    "resnet50": (models.resnet50, (1, 64, 64, 3)),
    "resnet152": (models.resnet152, (1, 64, 64, 3)),
    "cifar_resnet110": (models.cifar_resnet110, (1, 32, 32, 3)),
    "efficientnet_b0": (models.efficientnet_b0, (1, 64, 64, 3)),
    "efficientnet_b3": (models.efficientnet_b3, (1, 64, 64, 3)),
    "efficientnet_lite0": (models.efficientnet_lite0, (1, 64, 64, 3)),
    "vit_tiny": (models.vit_tiny, (1, 224, 224, 3)),
    "vit_small": (models.vit_small, (1, 224, 224, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_prediction_of_published_sizes(name: str) -> None:
    make, shape = PUBLISHED[name]
    model = make()
    params, state = model.init(random.key(0), shape)
    params, state = shaken_a_little(params), shaken_a_little(state)
    x = np.random.default_rng(0).normal(size=(2, *shape[1:])).astype(np.float32)
    predict = predictor(model)
    fold = ("params", "state") if tree.leaves(state) else ("params",)
    exported = Exported(predict, params, state, x, fold=fold)
    for size in (2, 1, 3):
        given = np.concatenate([x, x])[:size]
        close(exported(given), predict(params, state, given), 1e-5)


def shaken_a_little(params: Any) -> Any:
    """As `shaken`, and the numbers stay of order 1 through many layers."""
    rng = np.random.default_rng(0)
    return tree.map(
        lambda leaf: (leaf + 0.01 * rng.normal(size=leaf.shape)).astype(leaf.dtype), params
    )


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", some(CASES, SLOW))
def test_three_steps_of_training(name: str) -> None:
    """Parameters, state, the optimiser's state and the key go out, and in again; in float64."""
    model, params, state, x, labels, key = setting(name)
    state = tree.map(
        lambda leaf: leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf, state
    )
    optimizer = make_optimizer(CASES[name].rate)
    eager: Any = {
        "params": params,
        "state": state,
        "optimizer": optimizer.init(params),
        "key": key,
    }
    step = make_step(model, optimizer)
    exported = Exported(step, eager, x, labels, dynamic={})
    found = eager
    for _ in range(3):
        eager, loss = step(eager, x, labels)
        found, other = exported(found, x, labels)
        close(other, loss, 1e-10)
        # A gradient that is 0 but for rounding is so in both, and Adam divides by its size.
        close(found, eager, 1e-8, 1e-9)


def _training(model: nn.Layer, optimizer: Callable[[Any], Any]) -> Callable[..., Any]:
    """A step of everything that changes, and of the learning rate."""

    def step(
        params: Any, state: Any, memory: Any, x: Any, y: Any, learning_rate: Any, key: Any
    ) -> Any:
        now, later = key.split()

        def loss_of(params: Any) -> Any:
            logits, new_state = model.apply(params, state, x, train=True, key=now)
            each = losses.softmax_cross_entropy_with_integer_labels(logits, y)
            return np.mean(each), new_state

        (loss, new_state), grads = kn.value_and_grad(loss_of, has_aux=True)(params)
        updates, memory = optimizer(learning_rate).update(grads, memory, params)
        return optim.apply_updates(params, updates), new_state, memory, later, loss

    return step


def _optimizer(rate: Any) -> Any:
    return optim.sgd(rate, momentum=0.9, nesterov=True)


def _resnet_steps(
    model: nn.Layer, dtype: Any, check: Callable[..., None], batch: int = 16, rate: float = 0.05
) -> None:
    """Three steps of an exported step beside eager ones: `check(exported's results, eager's)`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, 32, 32, 3)).astype(dtype)
    y = rng.integers(0, 10, batch)
    params, state = tree.map(
        lambda leaf: leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf,
        model.init(random.key(0), x),
    )
    step = _training(model, _optimizer)
    eager: Any = params, state, _optimizer(dtype(rate)).init(params)
    key, other_key = random.key(1), random.key(1)
    exported = Exported(step, *eager, x, y, dtype(rate), key, dynamic={})
    found = eager
    for share in (1.0, 0.8, 0.6):
        now = dtype(share * rate)
        *wanted, key, loss = step(*eager, x, y, now, key)
        *got, other_key, other = exported(*found, x, y, now, other_key)
        close(other_key, key, 0)
        check((*got, other), (*wanted, loss))
        eager, found = tuple(wanted), tuple(got)


def test_three_steps_of_a_narrow_resnet18() -> None:
    model = models.resnet18(10, stem="small", width=4)
    _resnet_steps(model, np.float64, lambda got, want: close(got, want, 1e-10, 1e-10), batch=4)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_three_steps_of_resnet18(stem: Any) -> None:
    """In float64, where rounding decides no ReLU."""
    model = models.resnet18(10, stem=stem)
    _resnet_steps(model, np.float64, lambda got, want: close(got, want, 1e-8, 1e-10))


@pytest.mark.slow
def test_three_steps_of_resnet18_in_float32() -> None:
    """A number near 0 has another sign in each, and so has its gradient; so the gradients are
    compared as a whole, and what a small step makes of them number by number."""

    def check(got: Any, want: Any) -> None:
        close(got[-1], want[-1], 1e-5)
        close(got[0], want[0], 1e-4, 1e-6)
        close(got[1], want[1], 1e-3, 1e-6)
        for (path, one), other in zip(
            tree.leaves_with_path(want[2]), tree.leaves(got[2]), strict=True
        ):
            if one.dtype.kind == "f":
                missed = np.linalg.norm(one - other)
                assert missed <= 0.03 * np.linalg.norm(one), path

    _resnet_steps(models.resnet18(10, stem="small"), np.float32, check, rate=1e-4)


# ---- optimisers ----------------------------------------------------------------------------------


def _optimizers() -> dict[str, Any]:
    """Everything in `optim` that a rate, nothing, or another optimiser makes an optimiser of."""
    found: dict[str, Any] = {}
    for name in optim.__all__:
        if name.startswith("conditionally"):  # their condition is a function
            continue
        for args in ((1e-2,), (), (1.0,), (optim.adam(1e-2),), (optim.adam(1e-2), 2)):
            try:
                made = getattr(optim, name)(*args)
                made.init(_matrix_and_vector())
            except Exception:
                continue
            found[name] = made
            break
    schedule = optim.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 10)
    found["a chain"] = optim.chain(optim.clip_by_global_norm(0.1), optim.lamb(schedule))
    return found


def _matrix_and_vector() -> Any:
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=(3,))}


OPTIMIZERS = _optimizers()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.filterwarnings("ignore")
def test_three_steps_of_an_optimizer(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    rng = np.random.default_rng(1)
    params, x, y = _matrix_and_vector(), rng.normal(size=(8, 4)), rng.normal(size=(8, 3))

    def loss(params: Any) -> Any:
        return np.mean((np.tanh(x @ params["w"] + params["b"]) - y) ** 2)

    def step(params: Any, memory: Any) -> Any:
        value, grads = kn.value_and_grad(loss)(params)
        try:
            updates, memory = optimizer.update(grads, memory, params)
        except TypeError:  # a search along a line
            updates, memory = optimizer.update(
                grads, memory, params, value=value, grad=grads, value_fn=loss
            )
        return optim.apply_updates(params, updates), memory

    eager = found = params, optimizer.init(params)
    exported = Exported(step, *eager, dynamic={})
    for _ in range(3):
        eager, found = step(*eager), exported(*found)
        close(found, eager, 1e-11, 1e-14)


# ---- derivatives and other transformations -------------------------------------------------------


def _transformer() -> tuple[Callable[..., Any], Any, Any]:
    model = nn.TransformerEncoder(2, 2, hidden_features=12)
    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    params, state = model.init(random.key(0), x)
    params = tree.map(lambda leaf: leaf.astype(np.float64), shaken(params))
    return (lambda params, x: np.sum(model.apply(params, state, x)[0] ** 3)), params, x


def _lstm() -> tuple[Callable[..., Any], Any, Any]:
    model = nn.LSTM(5, num_layers=2, bidirectional=True)
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    params, state = model.init(random.key(0), x)
    params = tree.map(lambda leaf: leaf.astype(np.float64), shaken(params))

    def loss(params: Any, x: Any) -> Any:
        y, _ = model.apply(params, state, x)
        return sum(np.sum(leaf**3) for leaf in tree.leaves(y))

    return loss, params, x


def _perceptron() -> tuple[Callable[..., Any], Any, Any]:
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=(4, 2))}

    def loss(params: Any, x: Any) -> Any:
        return np.sum(np.sin(np.tanh(x @ params["a"]) @ params["b"]))

    return loss, params, rng.normal(size=(5, 3))


NETWORKS = {"transformer": _transformer, "lstm": _lstm, "perceptron": _perceptron}
TRANSFORMED: dict[str, Callable[[Any], Any]] = {
    "grad": lambda loss: kn.grad(loss, argnums=(0, 1)),
    "jit of grad": lambda loss: kn.jit(kn.grad(loss)),
    "grad of jit": lambda loss: kn.grad(kn.jit(loss)),
    "each example's gradient": lambda loss: kn.vmap(
        lambda params, x: kn.grad(loss)(params, x[None]), in_axes=(None, 0)
    ),
    "with checkpoints": lambda loss: kn.grad(kn.checkpoint(loss)),
    "jvp": lambda loss: (
        lambda params, x: kn.jvp(
            lambda x: loss(params, x), (x,), (np.cos(np.arange(x.size)).reshape(x.shape),)
        )
    ),
    "hvp": lambda loss: (
        lambda params, x: kn.hvp(
            lambda x: loss(params, x), (x,), (np.cos(np.arange(x.size)).reshape(x.shape),)
        )
    ),
    "hessian": lambda loss: lambda params, x: kn.hessian(lambda x: loss(params, x))(x[:1]),
}


@pytest.mark.parametrize("transformed", TRANSFORMED)
@pytest.mark.parametrize("network", NETWORKS)
def test_transformations(network: str, transformed: str) -> None:
    loss, params, x = NETWORKS[network]()
    fun = TRANSFORMED[transformed](loss)
    exported = Exported(fun, params, x, dynamic={})
    close(exported(params, x), fun(params, x), 1e-10, 1e-13)


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_of_any_batch(network: str) -> None:
    loss, params, x = NETWORKS[network]()
    fun = kn.value_and_grad(loss)
    exported = Exported(fun, params, x, dynamic={"x": {0: "batch"}})
    for size in (len(x), 1, 7):
        given = np.resize(x, (size, *x.shape[1:]))
        close(exported(params, given), fun(params, given), 1e-10, 1e-13)
