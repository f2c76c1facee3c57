"""Models that other tools wrote: their results, and what Kinone's transformations make of them.

Three are real ones with stored inputs and outputs (a text-direction classifier from Paddle, a
file-type classifier from JAX, a speech detector from PyTorch); nine are the ImageNet networks of
the `onnx` package, whose weights are one number each there and random ones here. That the nine give
the stored results with their own weights is seen by test_onnx_node_tests.py.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_runtime import session

import kinone as kn
import kinone.onnx
from kinone.testing.gradients import random_like

Find = Callable[[str], Path]
Numbers = np.ndarray[Any, Any]

REAL = ("ppocr_cls_mobilenetv3", "magika_v3_3", "silero_vad_16k_sequence")
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    initial = {each.name for each in model.graph.initializer}
    return [each for each in model.graph.input if each.name not in initial]


def as_tuple(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def assert_close(found: Any, wanted: Any, tolerance: float) -> None:
    """Within a share of the largest number."""
    found, wanted = as_tuple(found), as_tuple(wanted)
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        error = np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()
        assert error <= tolerance, error


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    return {}


def real(name: str, shared_data: Find, loaded: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """The function, its parameters, stored inputs and stored outputs of a real model."""
    if name not in loaded:
        path = shared_data(f"onnx/{name}.onnx")
        stored = np.load(shared_data(f"onnx/{name}_io.npz"))
        model = onnx.load(path)
        inputs = [stored[f"in_{each.name}"] for each in inputs_of(model)]
        outputs = tuple([stored[f"out_{each.name}"] for each in model.graph.output])
        loaded[name] = (*kn.onnx.load(path), inputs, outputs)
    return loaded[name]  # type: ignore[no-any-return]


# ---- the real ones -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_the_stored_outputs(name: str, shared_data: Find, loaded: dict[str, Any]) -> None:
    fn, params, inputs, outputs = real(name, shared_data, loaded)
    assert_close(fn(params, *inputs), outputs, 1e-5)


@pytest.mark.parametrize("name", REAL)
def test_jit_has_the_same_bits(name: str, shared_data: Find, loaded: dict[str, Any]) -> None:
    fn, params, inputs, _ = real(name, shared_data, loaded)
    compiled = kn.jit(fn)(params, *inputs)
    for got, want in zip(as_tuple(compiled), as_tuple(fn(params, *inputs)), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", REAL)
def test_vmap_is_a_loop(name: str, shared_data: Find, loaded: dict[str, Any]) -> None:
    fn, params, inputs, _ = real(name, shared_data, loaded)
    several = [np.stack([each, each[::-1]]) for each in inputs]
    mapped = as_tuple(kn.vmap(fn, in_axes=(None, *[0] * len(several)))(params, *several))
    for i in range(2):
        one = fn(params, *[each[i] for each in several])
        assert_close(tuple(each[i] for each in mapped), one, 1e-5)


@pytest.mark.parametrize("name", REAL)
def test_reverse_and_forward_derivatives_agree(
    name: str, shared_data: Find, loaded: dict[str, Any]
) -> None:
    """⟨w, J v⟩ = ⟨Jᵀ w, v⟩, for the parameters and the inputs that have derivatives."""
    fn, params, inputs, _ = real(name, shared_data, loaded)
    rng = np.random.default_rng(0)
    floats = [i for i, each in enumerate(inputs) if each.dtype.kind == "f"]

    def of_floats(params: Any, given: list[Numbers]) -> Any:
        whole = list(inputs)
        for i, each in zip(floats, given, strict=True):
            whole[i] = each
        return fn(params, *whole)

    point = (params, [inputs[i] for i in floats])
    v = kn.tree.map(lambda a: 0.1 * random_like(rng, a), point)
    y, pushed = kn.jvp(of_floats, point, v)
    w = kn.tree.map(lambda a: random_like(rng, a), y)
    _, pull = kn.vjp(of_floats, *point)
    back = pull(w)

    def inner(a: Any, b: Any) -> float:
        pairs = zip(kn.tree.leaves(a), kn.tree.leaves(b), strict=True)
        return sum(float(np.sum(p.astype(np.float64) * q)) for p, q in pairs)

    left, right = inner(w, pushed), inner(back, v)
    size = np.sqrt(inner(back, back) * inner(v, v))
    assert abs(left) > 0
    assert abs(left - right) <= 1e-4 * max(abs(left), 1e-2 * size)


# What these models never use for their results, or only to say which of two is larger.
IDLE = {"magika_v3_3": 2}


@pytest.mark.parametrize("name", REAL)
def test_every_parameter_has_a_gradient(
    name: str, shared_data: Find, loaded: dict[str, Any]
) -> None:
    fn, params, inputs, outputs = real(name, shared_data, loaded)
    weights = [random_like(np.random.default_rng(1), each) for each in outputs]

    def loss(params: Any) -> Any:
        found = as_tuple(fn(params, *inputs))
        return sum(np.sum(w * each) for w, each in zip(weights, found, strict=True))

    gradients = kn.grad(loss)(params)
    assert all(np.isfinite(each).all() for each in gradients.values())
    assert sum(not each.any() for each in gradients.values()) == IDLE.get(name, 0)
    compiled = kn.jit(kn.grad(loss))(params)
    for key, each in gradients.items():
        np.testing.assert_array_equal(compiled[key], each)


def test_other_sizes(shared_data: Find, loaded: dict[str, Any]) -> None:
    """Sizes that are free in the file are free in the function."""
    rng = np.random.default_rng(2)
    for name, shapes in (
        ("ppocr_cls_mobilenetv3", [(3, 3, 64, 100)]),
        ("silero_vad_16k_sequence", [(1, 576), (1, 1, 128), (1, 1, 128)]),
    ):
        fn, params, _, _ = real(name, shared_data, loaded)
        inputs = [0.1 * rng.normal(size=shape).astype(np.float32) for shape in shapes]
        running = session(onnx.load(shared_data(f"onnx/{name}.onnx")))
        feed = {port.name: each for port, each in zip(fn.inputs, inputs, strict=True)}
        assert_close(fn(params, *inputs), tuple(running.run(None, feed)), 2e-5)
    fn, params, (text,), _ = real("magika_v3_3", shared_data, loaded)
    longer = np.concatenate([text, text[:1]])
    assert_close(fn(params, longer)[:2], fn(params, text), 1e-6)


def test_a_wrong_input_is_named(shared_data: Find, loaded: dict[str, Any]) -> None:
    fn, params, (image,), _ = real("ppocr_cls_mobilenetv3", shared_data, loaded)
    with pytest.raises(kn.onnx.LoadError, match=r"wants x: float32\[.*,3,.*\].*test_onnx_real_mod"):
        fn(params, image[:, :2])
    with pytest.raises(kn.onnx.LoadError, match=r"float64"):
        fn(params, image.astype(np.float64))


# ---- the nine of the package ---------------------------------------------------------------------


def with_random_weights(path: Path) -> onnx.ModelProto:
    """The model with random numbers where it has weights of one number."""
    model = onnx.load(path)
    rng = np.random.default_rng(0)
    shapes = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = tuple(shapes[node.input[0]])
        if len(shape) > 1:
            weight = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            weight = rng.uniform(0.5, 1.5, shape)
        tensor = numpy_helper.from_array(weight.astype(np.float32), node.output[0])
        model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    last = model.graph.node[-1]
    if last.op_type == "Softmax":  # which hides what it is given
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(last.input[0], 1, None))
    return model


QUICK = {"light_shufflenet", "light_squeezenet"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow])
        for path in LIGHT
    ],
)
def test_networks_with_random_weights(path: Path) -> None:
    model = with_random_weights(path)
    (port,) = inputs_of(model)
    shape = [size.dim_value for size in port.type.tensor_type.shape.dim]
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    (wanted,) = session(model).run(None, {port.name: x})
    fn, params = kn.onnx.load(model)
    found = fn(params, x)
    assert wanted.std() > 1e-3 * np.abs(wanted).max()
    assert_close(found, wanted, 5e-6)
    np.testing.assert_array_equal(kn.jit(fn)(params, x), found)
    if path.stem in QUICK:
        gradients = kn.grad(lambda params: np.sum(fn(params, x) * wanted))(params)
        idle = [name for name, each in gradients.items() if not each.any()]
        assert not idle
        mapped = kn.vmap(fn, in_axes=(None, 0))(params, np.stack([x, -x]))
        assert_close(mapped[0], found, 1e-5)
        assert_close(mapped[1], fn(params, -x), 1e-5)


def test_values_are_freed_after_their_last_use() -> None:
    """Memory is that of the widest place of the network, not of all its activations."""
    model = with_random_weights(next(path for path in LIGHT if path.stem == "light_squeezenet"))
    fn, params = kn.onnx.load(model)
    x = np.ones((1, 3, 224, 224), np.float32)
    fn(params, x)  # what is kept from call to call: scratch memory of convolutions
    tracemalloc.start()
    try:
        fn(params, x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    largest = 64 * 111 * 111 * 4  # of the first convolution
    assert peak < 5 * largest  # all together are 12 times as much
