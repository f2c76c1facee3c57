"""Convolutions, pools, norms and products exported: their numbers, and what graphs are made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_runtime import as_tensor, check_export, run

import kinone as kn
import kinone.onnx
from kinone import ops

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def pulled_back(fun: Any) -> Any:
    """The cotangents of a function's arguments for a fixed random one of its result."""

    def gradient(*args: Any) -> Any:
        y, back = kn.vjp(fun, *args)
        return back(normal(*y.shape, seed=9, dtype=y.dtype))

    return gradient


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


def agrees(fun: Any, args: Any, dtype: Any, **options: Any) -> onnx.ModelProto:
    """`check_export` with a tolerance relative to the largest number there is."""
    options = {"dynamic": {}, **options}
    largest = max([1.0, *[float(np.abs(leaf).max()) for leaf in kn.tree.leaves(fun(*args))]])
    tolerance = TOLERANCE[dtype]
    return check_export(fun, args, rtol=tolerance, atol=tolerance * largest, **options)


def agrees_at(model: onnx.ModelProto, fun: Any, args: Any, tolerance: float = 1e-4) -> None:
    """The exported model at other sizes."""
    found = run(model, *args)
    for got, leaf in zip(found, kn.tree.leaves(fun(*args)), strict=True):
        want = as_tensor(leaf)
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# ---- convolution ---------------------------------------------------------------------------------

CONVOLUTIONS = [
    {"strides": 1, "padding": "SAME"},
    {"strides": 2, "padding": "SAME"},
    {"strides": (3, 2), "padding": "VALID"},
    {"strides": 2, "padding": 1, "groups": 2},
    {"strides": 1, "padding": ((2, 0), (0, 1)), "groups": 4},
    {"strides": 1, "padding": "SAME", "dilation": 2},
    {"strides": 2, "padding": 1, "dilation": 2, "groups": 2},
]


@DTYPES
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_a_convolution_and_its_gradients(dtype: Any, options: dict[str, Any]) -> None:
    x = normal(2, 7, 6, 4, dtype=dtype)
    w = normal(3, 2, 4 // options.get("groups", 1), 8, dtype=dtype)

    def conv(x: Any, w: Any) -> Any:
        return ops.conv(x, w, **options)

    agrees(conv, (x, w), dtype)
    agrees(pulled_back(conv), (x, w), dtype)


@DTYPES
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("extra", [0, 1])
def test_a_transposed_convolution_and_its_gradients(
    dtype: Any, options: dict[str, Any], extra: int
) -> None:
    x = normal(2, 4, 5, 4, dtype=dtype)
    w = normal(3, 2, 8 // options.get("groups", 1), 4, dtype=dtype)
    if options["strides"] == options.get("dilation", 1) == 1:
        extra = 0

    def conv(x: Any, w: Any) -> Any:
        return ops.conv_transpose(x, w, output_padding=extra, **options)

    agrees(conv, (x, w), dtype)
    agrees(pulled_back(conv), (x, w), dtype)


@DTYPES
@pytest.mark.parametrize("shape", [(2, 9, 4), (1, 4, 5, 3, 2)])
def test_convolutions_of_other_ranks(dtype: Any, shape: tuple[int, ...]) -> None:
    x, w = normal(*shape, dtype=dtype), normal(*[2] * (len(shape) - 2), shape[-1], 3, dtype=dtype)

    def conv(x: Any, w: Any) -> Any:
        return ops.conv(x, w, strides=2)

    agrees(conv, (x, w), dtype)
    agrees(pulled_back(conv), (x, w), dtype)


def test_whole_numbers_and_four_dimensions_are_convolved_too() -> None:
    x, w = np.arange(50).reshape(1, 5, 5, 2), np.arange(36).reshape(3, 3, 2, 2)
    check_export(lambda x, w: ops.conv(x, w), (x, w), dynamic={})
    agrees(
        lambda x, w: ops.conv(x, w),
        (normal(1, 3, 3, 3, 3, 2), normal(2, 2, 2, 2, 2, 3)),
        np.float64,
    )


def test_a_convolution_of_a_convolution_has_no_transpose_between() -> None:
    w, v = normal(3, 3, 3, 4, dtype=np.float32), normal(3, 3, 4, 5, seed=1, dtype=np.float32)
    bias = normal(4, dtype=np.float32)
    model = agrees(
        lambda x: ops.conv(np.maximum(ops.conv(x, w) + bias, 0), v, strides=2),
        (normal(2, 8, 8, 3, dtype=np.float32),),
        np.float32,
    )
    assert kinds(model) in (
        {"Transpose": 2, "Conv": 2, "Relu": 1},
        {"Transpose": 2, "Conv": 2, "Max": 1},
    )


def test_a_bias_that_has_another_use_keeps_its_axes_there() -> None:
    w, v = normal(3, 3, 3, 3, dtype=np.float32), normal(3, 3, 3, 3, seed=1, dtype=np.float32)
    bias = normal(1, 1, 1, 3, dtype=np.float32)

    def twice(x: Any) -> Any:
        y = ops.conv(x, w) + bias
        return ops.conv(y, v) + bias, np.sum(y, (1, 2), keepdims=True) * bias

    agrees(twice, (normal(2, 5, 5, 3, dtype=np.float32),), np.float32)


@DTYPES
def test_images_of_any_size(dtype: Any) -> None:
    w = normal(3, 3, 4, 2, dtype=dtype)

    def conv(x: Any, w: Any) -> Any:
        return np.tanh(ops.conv(x, w, padding=1, strides=2))

    def gradient(x: Any, w: Any) -> Any:
        return kn.grad(lambda x, w: np.sum(ops.conv(x, w, padding=1) ** 2), (0, 1))(x, w)

    args = (normal(2, 6, 7, 4, dtype=dtype), w)
    for fun in (conv, gradient):
        model = agrees(fun, args, dtype, dynamic={"x": {0: "n", 1: "height", 2: "width"}})
        for n, height, width in ((1, 5, 9), (3, 11, 4)):
            agrees_at(model, fun, (normal(n, height, width, 4, dtype=dtype), w))


def test_same_padding_follows_the_size() -> None:
    w = normal(3, 3, 2, 2, dtype=np.float32)

    def conv(x: Any) -> Any:
        return ops.max_pool(ops.conv(x, w, strides=2), 2, strides=2, padding="SAME")

    x = normal(2, 7, 9, 2, dtype=np.float32)
    model = agrees(conv, (x,), np.float32, dynamic={"x": {1: "height", 2: "width"}})
    for height, width in ((5, 9), (12, 4), (7, 7)):
        agrees_at(model, conv, (normal(2, height, width, 2, dtype=np.float32),))


# ---- pools ---------------------------------------------------------------------------------------

POOLS = [
    {"window": 2},
    {"window": 3, "strides": 2, "padding": 1},
    {"window": 3, "strides": 2, "padding": "SAME"},
    {"window": (3, 2), "strides": (1, 2), "padding": ((1, 0), (0, 1))},
    {"window": 2, "strides": 3, "padding": 0, "ceil_mode": True},
    {"window": 3, "strides": 2, "padding": 1, "ceil_mode": True},
]


@DTYPES
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("options", POOLS, ids=str)
@pytest.mark.parametrize("name", ["max", "avg", "avg of padding"])
def test_a_pool_and_its_derivatives(
    name: str, options: dict[str, Any], layout: str, dtype: Any
) -> None:
    options = {**options, "layout": layout}
    if name == "avg of padding":
        options["count_include_pad"] = True

    def pool(x: Any) -> Any:
        return (ops.max_pool if name == "max" else ops.avg_pool)(x, **options)

    x, t = normal(2, 6, 7, 4, dtype=dtype), normal(2, 6, 7, 4, seed=1, dtype=dtype)
    agrees(pool, (x,), dtype)
    agrees(pulled_back(pool), (x,), dtype)
    agrees(lambda x, t: kn.jvp(pool, (x,), (t,))[1], (x, t), dtype)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_])
def test_max_pools_of_whole_numbers(dtype: Any) -> None:
    x = (normal(2, 6, 6, 2) * 3).astype(dtype)
    check_export(lambda x: ops.max_pool(x, 2), (x,), dynamic={})


def test_the_place_of_the_maximum_is_computed_only_where_it_is_used() -> None:
    x = normal(2, 6, 6, 2, dtype=np.float32)
    model = agrees(lambda x: ops.max_pool(x, 2), (x,), np.float32)
    assert kinds(model) == {"Transpose": 2, "MaxPool": 1}
    (pool,) = [node for node in model.graph.node if node.op_type == "MaxPool"]
    assert len(pool.output) == 1


def test_pools_of_four_dimensions() -> None:
    x = normal(1, 3, 3, 3, 3, 2)
    agrees(lambda x: ops.max_pool(x, 2), (x,), np.float64)
    agrees(lambda x: ops.avg_pool(x, 2, padding=1), (x,), np.float64)


# ---- norms ---------------------------------------------------------------------------------------


def vectors(count: int, size: int, dtype: Any) -> list[Any]:
    return [np.abs(normal(size, seed=i, dtype=dtype)) + dtype(0.5) for i in range(count)]


@DTYPES
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_batch_norm_in_training_and_after(dtype: Any, layout: str) -> None:
    x = normal(3, 4, 4, 5, dtype=dtype) if layout == "NHWC" else normal(3, 5, 4, 4, dtype=dtype)
    four = vectors(4, 5, dtype)
    model = agrees(
        lambda *args: ops.batch_norm_inference(*args, epsilon=1e-3, layout=layout),
        (x, *four),
        dtype,
    )
    assert kinds(model)["BatchNormalization"] == 1

    def train(*args: Any) -> Any:
        return ops.batch_norm(*args, epsilon=1e-3, layout=layout)

    agrees(train, (x, *four[:2]), dtype)
    agrees(pulled_back(lambda *args: train(*args)[0]), (x, *four[:2]), dtype)


@DTYPES
@pytest.mark.parametrize("axis", [-1, (2, 3), (1, 3), 1])
def test_layer_and_rms_norm(dtype: Any, axis: Any) -> None:
    x = normal(2, 3, 4, 5, dtype=dtype)
    shape = [x.shape[a] for a in np.atleast_1d(axis)]
    scale, bias = normal(*shape, seed=1, dtype=dtype), normal(*shape, seed=2, dtype=dtype)

    def layer(x: Any, *factors: Any) -> Any:
        return ops.layer_norm(x, *factors, axis=axis)

    model = agrees(layer, (x, scale, bias), dtype)
    if dtype is np.float32:
        assert kinds(model)["LayerNormalization"] == 1
    agrees(layer, (x, scale), dtype)
    agrees(layer, (x,), dtype)
    agrees(lambda x, bias: ops.layer_norm(x, None, bias, axis=axis), (x, bias), dtype)
    agrees(pulled_back(layer), (x, scale, bias), dtype)
    agrees(lambda x, scale: ops.rms_norm(x, scale, axis=axis), (x, scale), dtype)
    agrees(lambda x, scale: ops.rms_norm(x, scale, axis=axis), (x, scale), dtype, opset=23)


@DTYPES
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("opset", [17, 21])
def test_group_norm(dtype: Any, groups: int, opset: int) -> None:
    scale, bias = normal(4, seed=1, dtype=dtype), normal(4, seed=2, dtype=dtype)
    for layout, shape in (("NHWC", (2, 3, 5, 4)), ("NCHW", (2, 4, 3, 5))):

        def norm(x: Any, *factors: Any, layout: str = layout) -> Any:
            return ops.group_norm(x, groups, *factors, layout=layout)

        x = normal(*shape, dtype=dtype)
        for factors in ((), (scale,), (scale, bias)):
            model = agrees(norm, (x, *factors), dtype, opset=opset)
        if dtype is np.float32:
            name = "InstanceNormalization" if groups == 4 or opset < 21 else "GroupNormalization"
            assert kinds(model)[name] == 1


# ---- products ------------------------------------------------------------------------------------

PRODUCTS: dict[str, Any] = {
    "first transposed": lambda x, y: x.T @ y.T,
    "second transposed": lambda x, y: x @ y.swapaxes(-1, -2) @ y,
    "vectors": lambda x, y: (x.T @ x[:, 0], y[0] @ y.T, x[0] @ x.T, y.T @ y[:, 1]),
    "batches": lambda x, y: np.stack([x, 2 * x]).transpose(0, 2, 1) @ np.stack([x, x]),
    "a batch and a vector": lambda x, y: np.stack([x, 2 * x]).transpose(0, 2, 1) @ x[:, 0],
    "a vector and a batch": lambda x, y: x[:, 0] @ np.stack([x.T, 2 * x.T]).transpose(0, 2, 1),
    "moved axes": lambda x, y: np.stack([x, 2 * x]).transpose(1, 2, 0) @ np.stack([y] * 4)[:, :2],
    "a batch and a matrix": lambda x, y: np.stack([x, 2 * x]).transpose(0, 2, 1) @ x,
    "of one": lambda x, y: np.stack([x]).transpose(0, 2, 1) @ np.stack([x, x, x]),
    "a sum": lambda x, y: x @ y.T + y[:, 0],
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_transposed_matrices(name: str, dtype: Any) -> None:
    """ONNX Runtime fuses Transpose and MatMul, which for vectors and float64 goes wrong."""
    x, y = (normal(4, 3) * 5).astype(dtype), (normal(4, 3, seed=1) * 5).astype(dtype)
    if name == "first transposed":
        y = (normal(5, 4, seed=2) * 5).astype(dtype)
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    model = check_export(PRODUCTS[name], (x, y), rtol=tolerance, atol=tolerance * 100, dynamic={})
    if dtype is np.float64:
        transposed = {
            output
            for node in model.graph.node
            if node.op_type == "Transpose"
            for output in node.output
        }
        for node in model.graph.node:
            assert node.op_type != "MatMul" or not transposed.intersection(node.input)


def test_a_dense_layer_is_one_gemm() -> None:
    w, b = normal(3, 5, dtype=np.float32), normal(5, dtype=np.float32)
    x = normal(4, 3, dtype=np.float32)
    assert kinds(agrees(lambda x: x @ w + b, (x,), np.float32)) == {"Gemm": 1}
    assert kinds(agrees(lambda x: x @ w, (x,), np.float32)) == {"MatMul": 1}
    turned = agrees(lambda x: x @ w.T + b[:3], (normal(4, 5, dtype=np.float32),), np.float32)
    assert kinds(turned) == {"Gemm": 1}
    wide = agrees(lambda x: x @ w[:, :1] + b, (x,), np.float32)  # more columns than the product
    assert "Gemm" not in kinds(wide)
    integers = np.arange(6).reshape(2, 3)
    whole = check_export(lambda x: x @ integers.T + np.arange(2), (integers,), dynamic={})
    assert "Gemm" not in kinds(whole)


@pytest.mark.parametrize(("layout", "nodes"), [(None, 70), ("NCHW", 69)])
def test_resnet_has_as_many_nodes_as_pytorch_gives_it(layout: str | None, nodes: int) -> None:
    """20 Conv, 20 BatchNormalization, 17 Relu, 8 Add, MaxPool, GlobalAveragePool, Flatten, Gemm."""
    layer = kn.models.resnet18(10, width=8)
    params, state = layer.init(kn.random.key(0), (1, 32, 32, 3))

    def predict(params: Any, state: Any, x: Any) -> Any:
        return layer.apply(params, state, x, train=False)[0]

    x = normal(2, 32, 32, 3, dtype=np.float32)
    options: dict[str, Any] = {"fold": ("params", "state"), "input_layout": layout}
    model = kn.onnx.export(predict, params, state, x, **options)
    assert len(model.graph.node) == nodes
    folded = kn.onnx.export(predict, params, state, x, fold_batchnorm=True, **options)
    assert len(folded.graph.node) == nodes - 20
    assert kinds(model)["Flatten"] == kinds(model)["Gemm"] == kinds(model)["GlobalAveragePool"] == 1


def test_norms_are_folded_into_the_convolutions_before_them() -> None:
    w, v = (normal(3, 3, 4, 4, seed=i, dtype=np.float32) / 6 for i in range(2))
    grouped = normal(3, 3, 2, 4, dtype=np.float32)
    four, bias = vectors(4, 4, np.float32), normal(4, dtype=np.float32)

    def norm(x: Any) -> Any:
        return ops.batch_norm_inference(x, *four)

    cases: list[tuple[Any, int]] = [
        (lambda x: norm(ops.conv(x, w) + bias), 0),
        (lambda x: norm(norm(ops.conv(x, w))), 0),
        (lambda x: norm(ops.conv(x, w)) + norm(ops.conv(x, v)), 0),  # one norm of two kernels
        (lambda x: norm(ops.conv(norm(ops.conv(x, w)), w)), 0),  # and of one kernel twice
        (lambda x: norm(ops.conv(x, grouped, groups=2)), 0),
        (lambda x: norm(ops.conv_transpose(x, w, strides=2)), 0),
        (lambda x: norm(ops.conv_transpose(x, grouped, strides=2, groups=2)), 0),
        (lambda x: norm(np.maximum(ops.conv(x, w), 0)), 1),
        (lambda x: (norm(ops.conv(x, w)), ops.conv(x, w)), 1),  # what else is read stays
    ]
    for fun, left in cases:
        x = normal(2, 6, 6, 4, dtype=np.float32)
        model = agrees(fun, (x,), np.float32, fold_batchnorm=True)
        assert kinds(model).get("BatchNormalization", 0) == left


def test_a_bias_that_is_an_input_is_one_of_the_convolution() -> None:
    x, w = normal(2, 6, 6, 4, dtype=np.float32), normal(3, 3, 4, 5, dtype=np.float32)
    bias = normal(5, dtype=np.float32)
    model = agrees(lambda x, w, bias: ops.conv(x, w) + bias, (x, w, bias), np.float32)
    assert kinds(model) == {"Transpose": 3, "Conv": 1}


def test_one_window_is_a_global_pool() -> None:
    x = normal(2, 6, 5, 4, dtype=np.float32)
    model = agrees(lambda x: ops.adaptive_avg_pool(x, (1, 1)), (x,), np.float32)
    assert kinds(model)["GlobalAveragePool"] == 1
    pooled = agrees(lambda x: ops.max_pool(x, (6, 5)), (x,), np.float32)
    assert kinds(pooled) == {"Transpose": 1, "GlobalMaxPool": 1, "Reshape": 1}
    for dtype in (np.float32, np.float64):
        for pool in (ops.adaptive_avg_pool, ops.adaptive_max_pool):
            agrees(pulled_back(lambda x, f=pool: f(x, (1, 1))), (x.astype(dtype),), dtype)


def test_composites_are_seen_by_the_exporter_alone() -> None:
    x, scale = np.ones((2, 3)), np.ones(3)
    for fun in (ops.layer_norm, ops.rms_norm):
        program = kn.graph(fun)(x, scale)
        assert "composite" not in [equation.primitive.name for equation in program.equations]
