"""Export, load, and go on: the results and gradients of the original, learning, exporting again,
and models that ONNX Runtime's own tools made int8."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_runtime import run
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

import kinone as kn
import kinone.onnx
from kinone import losses, models, nn, optim, random, tree
from kinone.testing.gradients import random_like

Numbers = np.ndarray[Any, Any]
Made = tuple[Callable[..., Any], Any, Any, Numbers]

RNG = np.random.default_rng
IMAGES = RNG(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
SEQUENCES = RNG(1).normal(size=(2, 7, 6)).astype(np.float32)
WORDS = RNG(2).integers(0, 20, (3, 5))
ROWS = RNG(3).normal(size=(4, 5)).astype(np.float32)

MODELS: dict[str, tuple[Callable[[], nn.Layer], Numbers]] = {
    "mlp": (lambda: models.mlp((16, 8, 3), norm=nn.LayerNorm), ROWS),
    "resnet18": (lambda: models.resnet18(10, stem="small", width=4), IMAGES),
    "resnet50": (lambda: models.resnet50(10, width=4), IMAGES),
    "cifar_resnet20": (lambda: models.cifar_resnet20(10), IMAGES),
    "efficientnet": (lambda: models.efficientnet(0.25, 0.5, 10, stem="small"), IMAGES),
    "efficientnet_lite0": (lambda: models.efficientnet_lite0(10), IMAGES),
    "hard_swish": (
        lambda: models.efficientnet(0.25, 0.5, 10, stem="small", act="hard_swish"),
        IMAGES,
    ),
    "vision_transformer": (
        lambda: models.vision_transformer(10, patch=8, features=16, num_heads=2, num_layers=2),
        IMAGES,
    ),
    "lstm": (lambda: models.lstm_classifier(3, features=8, bidirectional=True), SEQUENCES),
    "lstm_of_words": (lambda: models.lstm_classifier(3, features=8, vocabulary=20), WORDS),
    "gru": (lambda: models.gru_classifier(3, features=8, num_layers=2), SEQUENCES),
    "transformer": (lambda: nn.TransformerEncoder(2, 2, 12), SEQUENCES),
}
SLOW = {"resnet50", "efficientnet_lite0", "cifar_resnet20"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MODELS]


def made(name: str) -> Made:
    """A model in eval mode with parameters that are nowhere zero: f(params, state, x)."""
    make, x = MODELS[name]
    layer, rng = make(), RNG(7)
    params, state = layer.init(random.key(0), x)
    params = tree.map(lambda a: (a + 0.1 * rng.normal(size=a.shape)).astype(a.dtype), params)
    state = tree.map(lambda a: (a + 0.1 * rng.random(a.shape)).astype(a.dtype), state)
    return (lambda params, state, x: layer.apply(params, state, x)[0]), params, state, x


def assert_close(found: Any, wanted: Any, tolerance: float, what: str = "") -> None:
    assert found.shape == wanted.shape, what
    assert found.dtype == wanted.dtype, what
    size = np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= tolerance * size, what


def as_layer(found: Numbers, shape: tuple[int, ...]) -> Numbers:
    """A tensor of ONNX in a layer's shape: kernels are (K, C, …) there and (…, C, K) here."""
    if found.ndim > 2 and found.ndim == len(shape):
        return np.transpose(found, (*range(2, found.ndim), 1, 0))
    if found.ndim == 2 and found.shape != shape:
        return found.T
    return found.reshape(shape)


# ---- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_results_and_gradients_come_back(name: str) -> None:
    """Folded parameters are loaded under their paths; each gets the original's gradient."""
    f, params, state, x = made(name)
    model = kn.onnx.export(f, params, state, x, fold=("params", "state"))
    fn, loaded = kn.onnx.load(model)
    wanted = f(params, state, x)
    assert_close(fn(loaded, x), wanted, 2e-6)
    w = random_like(RNG(8), wanted)
    original = kn.grad(lambda params: np.sum(w * f(params, state, x)))(params)
    gradients = kn.grad(lambda loaded: np.sum(w * fn(loaded, x)))(loaded)
    missing = []
    for path, gradient in tree.leaves_with_path(original):
        if f"params/{path}" in gradients:
            found = as_layer(gradients[f"params/{path}"], gradient.shape)
            assert_close(found, gradient, 2e-5, path)
        elif gradient.any():  # the exporter leaves out what changes nothing
            missing.append(path)
    # An LSTM node wants its gates in another order, with two biases: test_parameters_as_inputs.
    assert not [path for path in missing if "recurrent/" not in path]
    if x.dtype.kind == "f":
        of_x = kn.grad(lambda x: np.sum(w * f(params, state, x)))(x)
        assert_close(kn.grad(lambda x: np.sum(w * fn(loaded, x)))(x), of_x, 2e-5)


@pytest.mark.parametrize("name", ["resnet18", "vision_transformer", "lstm"])
def test_parameters_as_inputs(name: str) -> None:
    """Nothing folded: parameters are inputs, by name, and have the original's gradients."""
    f, params, state, x = made(name)
    model = kn.onnx.export(f, params, state, x)
    fn, loaded = kn.onnx.load(model)
    assert not [path for path in loaded if path.startswith(("params/", "state/"))]
    leaves = tree.leaves(params)
    names = [port.name for port in fn.inputs if port.name.startswith("params/")]
    assert names == [f"params/{path}" for path in tree.paths(params)]
    others = {port.name: None for port in fn.inputs if port.name not in names}
    for key, value in zip(others, tree.leaves((state, x)), strict=True):
        others[key] = value
    wanted = f(params, state, x)
    w = random_like(RNG(8), wanted)

    def loss(given: list[Any]) -> Any:
        return np.sum(w * fn(loaded, **dict(zip(names, given, strict=True)), **others))

    original = kn.grad(lambda params: np.sum(w * f(params, state, x)))(params)
    for found, gradient in zip(kn.grad(loss)(leaves), tree.leaves(original), strict=True):
        if gradient.any():
            assert_close(found, gradient, 2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_model_is_exported_again(name: str) -> None:
    f, params, state, x = made(name)
    first = kn.onnx.export(f, params, state, x, fold=("params", "state"))
    fn, loaded = kn.onnx.load(first)
    second = kn.onnx.export(fn, loaded, x, fold=("params",))
    onnx.checker.check_model(second, full_check=True)
    assert_close(run(second, x)[0], run(first, x)[0], 1e-5)
    assert len(second.graph.node) <= 2 * len(first.graph.node)


def test_a_gradient_is_exported_loaded_and_differentiated_again() -> None:
    f, params, state, x = made("mlp")
    slope = kn.grad(lambda x: np.sum(np.tanh(f(params, state, x))))
    fn, loaded = kn.onnx.load(kn.onnx.export(slope, x))
    assert_close(fn(loaded, x), slope(x), 2e-6)
    w = random_like(RNG(8), x)
    twice = kn.grad(lambda x: np.sum(w * slope(x)))(x)
    assert_close(kn.grad(lambda x: np.sum(w * fn(loaded, x)))(x), twice, 2e-5)


def test_a_train_step_trains_after_a_round_trip() -> None:
    f, params, state, x = made("mlp")
    y, optimizer = np.array([0, 2, 1, 1]), optim.adam(1e-2)

    def step(params: Any, memory: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = f(params, state, x)
            return np.mean(losses.softmax_cross_entropy_with_integer_labels(logits, y))

        value, gradients = kn.value_and_grad(loss)(params)
        updates, memory = optimizer.update(gradients, memory, params)
        return optim.apply_updates(params, updates), memory, value

    memory = optimizer.init(params)
    fn, loaded = kn.onnx.load(kn.onnx.export(step, params, memory, x, y))
    leaves = tree.leaves((params, memory))
    for _ in range(3):
        params, memory, value = step(params, memory, x, y)
        *leaves, found = fn(loaded, *leaves, x, y)
        np.testing.assert_allclose(found, value, rtol=1e-5)
    for got, want in zip(leaves, tree.leaves((params, memory)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


# ---- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "vision_transformer", "lstm"])
def test_fine_tuning_lowers_the_loss(name: str) -> None:
    f, params, state, x = made(name)
    fn, loaded = kn.onnx.load(kn.onnx.export(f, params, state, x, fold=("params", "state")))
    frozen = {key: value for key, value in loaded.items() if key.startswith("state/")}
    trained = {key: value for key, value in loaded.items() if key not in frozen}
    y = np.arange(len(x)) % 3
    optimizer = optim.adam(3e-3 if name != "lstm" else 3e-2)

    def loss(trained: Any, x: Any, y: Any) -> Any:
        logits = fn({**frozen, **trained}, x)
        return np.mean(losses.softmax_cross_entropy_with_integer_labels(logits, y))

    @kn.jit
    def step(trained: Any, memory: Any, x: Any, y: Any) -> Any:
        value, gradients = kn.value_and_grad(loss)(trained, x, y)
        updates, memory = optimizer.update(gradients, memory, trained)
        return optim.apply_updates(trained, updates), memory, value

    memory, values = optimizer.init(trained), []
    for _ in range(12):
        trained, memory, value = step(trained, memory, x, y)
        values.append(float(value))
    assert np.isfinite(values).all()
    assert values[-1] < 0.6 * values[0]


# ---- int8 ----------------------------------------------------------------------------------------


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """What static quantisation measures ranges on."""

    def __init__(self, name: str, x: Numbers) -> None:
        self.batches = iter([{name: x}, {name: x * 0.5}])

    def get_next(self) -> dict[str, Numbers] | None:
        return next(self.batches, None)


U8, S8 = QuantType.QUInt8, QuantType.QInt8
QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator
WAYS: dict[str, tuple[QuantFormat, QuantType, QuantType, bool] | None] = {
    "dynamic": None,
    "QDQ-u8s8": (QDQ, U8, S8, False),
    "QDQ-s8s8-channels": (QDQ, S8, S8, True),
    "QOperator-u8u8": (OPERATORS, U8, U8, False),
    "QOperator-s8s8-channels": (OPERATORS, S8, S8, True),
}


def int8_quantum(model: onnx.ModelProto) -> float:
    """The scale of the last DequantizeLinear, whose result is the output; 0 where there is none."""
    last = model.graph.node[-1]
    scales = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    return float(scales[last.input[1]]) if last.op_type == "DequantizeLinear" else 0.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        "resnet18",
        pytest.param("efficientnet", marks=pytest.mark.slow),
        pytest.param("vision_transformer", marks=pytest.mark.slow),
        "gru",
    ],
)
def test_int8_models_agree(name: str, way: str, tmp_path: Path) -> None:
    """Within one quantum of the output, a 255th of its range, of ONNX Runtime as the file says; its
    optimiser joins nodes and so rounds fewer times."""
    f, params, state, x = made(name)
    float_path, int8_path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    model = kn.onnx.export(
        f, params, state, x, fold=("params", "state"), fold_batchnorm=True, path=str(float_path)
    )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that one should have run another tool first
    try:
        chosen = WAYS[way]
        if chosen is None:
            quantize_dynamic(float_path, int8_path)
        else:
            form, activations, weights, channels = chosen
            quantize_static(
                float_path,
                int8_path,
                Batches(model.graph.input[0].name, x),
                quant_format=form,
                activation_type=activations,
                weight_type=weights,
                per_channel=channels,
            )
    finally:
        logging.disable(before)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    running = onnxruntime.InferenceSession(int8_path, options, ["CPUExecutionProvider"])
    (wanted,) = running.run(None, {model.graph.input[0].name: x})
    fn, loaded = kn.onnx.load(int8_path)
    found = fn(loaded, x)
    quantum = int8_quantum(onnx.load(int8_path)) or np.ptp(wanted) / 255
    # QLinearAdd and QLinearMul round in float32: a tie may fall to the other side, layer by layer.
    most = 3 if way.startswith("QOperator") else 1
    assert np.ptp(wanted) > 10 * quantum
    assert np.abs(found - wanted).max() <= 1.01 * most * quantum
    assert np.mean(np.abs(found - wanted) > 0.01 * quantum) < 0.5
    np.testing.assert_array_equal(kn.jit(fn)(loaded, x), found)
