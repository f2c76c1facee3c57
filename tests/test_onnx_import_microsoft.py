"""The operators that ONNX Runtime's quantiser and optimisers write, as Kinone loads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from test_onnx_import_math import agree, as_list, in_runtime

import kinone as kn
import kinone.onnx

Tensor = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
float32 = np.float32


def one_node(
    op: str, inputs: Sequence[Tensor | None], outputs: int, fixed: Sequence[int], **attributes: Any
) -> onnx.ModelProto:
    domain = "" if op == "SimplifiedLayerNormalization" else "com.microsoft"
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="it", domain=domain, **attributes)
    ports = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for i, x in enumerate(inputs)
        if x is not None and i not in fixed
    ]
    graph = helper.make_graph(
        [node],
        "graph",
        ports,
        [helper.make_empty_tensor_value_info(name) for name in results],
        [numpy_helper.from_array(np.asarray(inputs[i]), f"x{i}") for i in fixed],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def bytes_(*shape: int) -> Tensor:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def chars(*shape: int) -> Tensor:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def normal(*shape: int) -> Tensor:
    return RNG.normal(size=shape).astype(float32)


A, B = bytes_(3, 40), bytes_(3, 40)
SCALED = [float32(0.02), np.uint8(120)]
RESULT = [float32(0.05), np.uint8(128)]
BIAS = RNG.integers(-900, 900, 5).astype(np.int32)
CHANNELS = RNG.uniform(0.01, 0.02, 5).astype(float32)

EXACT: list[tuple[str, list[Any], dict[str, Any]]] = [
    *[(op, [A, *SCALED, B, float32(0.03), np.uint8(100), *RESULT], {}) for op in
      ("QLinearAdd", "QLinearMul")],
    ("QLinearAdd", [A.view(np.int8), float32(0.02), np.int8(12), B.view(np.int8), float32(0.03),
                    np.int8(10), float32(0.05), np.int8(2)], {}),
    ("QLinearSigmoid", [bytes_(3, 400), *SCALED, float32(1 / 200), np.uint8(5)],
     {"fixed": (1, 2, 3, 4)}),
    ("QLinearLeakyRelu", [bytes_(3, 400), *SCALED, *RESULT], {"fixed": (1, 2, 3, 4), "alpha": 0.2}),
    ("QLinearSoftmax", [A, *SCALED, float32(1 / 256), np.uint8(0)],
     {"fixed": (1, 2, 3, 4), "axis": -1, "opset": 13}),
    ("QLinearGlobalAveragePool", [bytes_(2, 3, 5, 5), *SCALED, *RESULT], {"channels_last": 0}),
    ("QLinearGlobalAveragePool", [bytes_(2, 5, 5, 3), *SCALED, *RESULT], {"channels_last": 1}),
    ("QLinearConcat", [float32(0.03), np.uint8(7), A, *SCALED, B, float32(0.03), np.uint8(9)],
     {"axis": 1}),
    ("QLinearWhere", [A > 100, A, *SCALED, B, *RESULT, *RESULT], {}),
    ("QLinearConv", [bytes_(2, 6, 6, 4), *SCALED, chars(6, 4, 3, 3), float32(0.01), np.int8(0),
                     float32(0.4), np.uint8(128)],
     {"fixed": (1, 2, 3, 4, 5, 6, 7), "channels_last": 1, "pads": [1, 1, 1, 1]}),
    ("QGemm", [A, *SCALED, chars(40, 5), float32(0.03), np.int8(0), BIAS, float32(0.5),
               np.uint8(100)], {"fixed": range(1, 9)}),
    ("QGemm", [A, *SCALED, chars(5, 40), CHANNELS, np.zeros(5, np.int8), None, float32(0.5),
               np.uint8(100)], {"fixed": (1, 2, 3, 4, 5, 7, 8), "transB": 1}),
    ("QuantizeLinear", [normal(3, 4), *SCALED], {}),
    ("DequantizeLinear", [A, *SCALED], {}),
]  # fmt: skip

CLOSE: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("QGemm", [A, *SCALED, chars(40, 5), float32(0.03), np.int8(0), BIAS], {"fixed": range(1, 7)}),
    ("MatMulIntegerToFloat", [A, chars(40, 5), float32(0.02), float32(0.03), np.uint8(100),
                              np.int8(0), normal(5)], {}),
    ("MatMulIntegerToFloat", [A, chars(40, 5), float32(0.02), CHANNELS, np.uint8(100)], {}),
    ("DynamicQuantizeMatMul", [normal(3, 40), chars(40, 5), float32(0.03), np.int8(0), normal(5)],
     {}),
    *[
        ("MatMulNBits", [normal(3, 40), bytes_(6, 3, 2 * bits),
                         RNG.uniform(0.01, 0.1, 18).astype(float32),
                         *[bytes_(6 * -(-3 * bits // 8))] * zeros],
         {"fixed": (1, 2, 3)[: 2 + zeros], "K": 40, "N": 6, "bits": bits, "block_size": 16})
        for bits in (4, 8)
        for zeros in (0, 1)
    ],
    *[(op, [normal(3, 8)], {}) for op in ("Gelu", "FastGelu", "QuickGelu")],
    *[(op, [normal(3, 8), normal(8)], {}) for op in ("BiasGelu", "FastGelu")],
    *[
        ("FusedConv", [normal(2, 4, 5, 5), normal(6, 4, 3, 3), normal(6)],
         {"activation": name, "pads": [1] * 4, **({"activation_params": v} if v else {})})
        for name, v in (("Relu", []), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.5]),
                        ("HardSigmoid", [0.2, 0.4]), ("Tanh", []))
    ],
    ("FusedConv", [normal(2, 4, 5, 5), normal(6, 4, 3, 3), normal(6), normal(2, 6, 5, 5)],
     {"activation": "Relu", "pads": [1] * 4}),
    ("FusedGemm", [normal(3, 4), normal(4, 5), normal(5)],
     {"activation": "LeakyRelu", "activation_alpha": 0.3}),
    ("FusedMatMul", [normal(2, 4, 3), normal(2, 5, 4)], {"transA": 1, "transB": 1, "alpha": 0.5}),
    ("FusedMatMul", [normal(4, 2, 3), normal(5, 2, 3)],
     {"transBatchA": 1, "transBatchB": 1, "transB": 1}),
    ("Inverse", [np.eye(3, dtype=float32) + 0.1 * normal(2, 3, 3)], {}),
    ("SimplifiedLayerNormalization", [normal(2, 3, 8), normal(8)], {"axis": -1}),
    ("SkipLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8), normal(8), normal(8), normal(8)],
     {"epsilon": 1e-5, "outputs": 4}),
    ("SkipLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8), normal(8)], {}),
    ("SkipSimplifiedLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8), normal(8)], {}),
    ("EmbedLayerNormalization",
     [np.array([[1, 2, 3]], np.int32), np.array([[0, 0, 1]], np.int32), normal(9, 8), normal(6, 8),
      normal(2, 8), normal(8), normal(8), np.array([[1, 1, 0]], np.int32)],
     {"outputs": 2, "epsilon": 1e-5}),
]  # fmt: skip


def int32(*values: Any) -> Tensor:
    return np.array(values, np.int32)


def grouped(rows: int = 4, batch: int = 2) -> list[Tensor]:
    """Queries of two heads, keys and values of one."""
    return [normal(batch, rows, 32), normal(batch, rows, 16), normal(batch, rows, 16)]


X, WEIGHTS, PROJECTED = normal(2, 4, 16), normal(16, 48) * float32(0.2), normal(48)
MEMORY, CACHES = normal(2, 5, 16), [normal(20, 4), normal(20, 4)]
WIDE_CACHES = [normal(20, 8), normal(20, 8)]
HEADS = {"num_heads": 2}
GROUPS = {"num_heads": 2, "kv_num_heads": 1, "outputs": 3, "fixed": (6,)}

ATTENTION: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Attention", [X, WEIGHTS, PROJECTED], HEADS),
    ("Attention", [X, WEIGHTS, PROJECTED], {**HEADS, "unidirectional": 1, "scale": 0.3}),
    *[
        ("Attention", [X, WEIGHTS, PROJECTED, mask], HEADS)
        for mask in (
            int32(3, 2), int32(3, 4, 1, 0), int32([1, 1, 1, 0], [1, 1, 0, 0]),
            (RNG.integers(0, 2, (2, 4, 4)) | np.eye(4, dtype=int)).astype(np.int32),
        )
    ],
    ("Attention", [normal(2, 1, 16), WEIGHTS, PROJECTED, None, normal(2, 2, 2, 3, 8)],
     {**HEADS, "unidirectional": 1, "outputs": 2}),
    ("Attention", [X, WEIGHTS, PROJECTED, int32(3, 2), None, normal(2, 2, 4, 4)], HEADS),
    ("Attention", [X, normal(16, 40), normal(40)], {**HEADS, "qkv_hidden_sizes": [16, 16, 8]}),
    *[
        ("QAttention", [bytes_(2, 4, 16), chars(16, 48), PROJECTED, float32(0.02), float32(0.01),
                        mask, np.uint8(120), np.int8(0)], {**HEADS, "fixed": (1,)})
        for mask in (None, int32(3, 2))
    ],
    ("MultiHeadAttention", [X, MEMORY, MEMORY, PROJECTED], HEADS),
    ("MultiHeadAttention", [X, MEMORY, MEMORY, None, int32(3, 4)], HEADS),
    ("MultiHeadAttention", [X, normal(2, 2, 5, 8), normal(2, 2, 5, 8)], HEADS),
    ("MultiHeadAttention", [X, X, X, PROJECTED, None, normal(1, 2, 4, 7), normal(2, 2, 3, 8),
                            normal(2, 2, 3, 8)], {**HEADS, "unidirectional": 1, "outputs": 3}),
    *[
        ("RotaryEmbedding", [x, places, *CACHES], {"interleaved": mixed})
        for x, places in ((X, np.arange(8).reshape(2, 4)), (normal(2, 2, 4, 8), np.array([2])))
        for mixed in (0, 1)
    ],
    ("RotaryEmbedding", [X, np.array([2]), normal(20, 2), normal(20, 2)],
     {**HEADS, "rotary_embedding_dim": 4}),
    ("GroupQueryAttention", [*grouped(), None, None, int32(3, 3), int32(4)[0]], GROUPS),
    ("GroupQueryAttention", [*grouped(), None, None, int32(3, 3), int32(4)[0], *WIDE_CACHES],
     {**GROUPS, "do_rotary": 1, "rotary_interleaved": 1, "local_window_size": 2, "softcap": 5.0}),
    ("GroupQueryAttention", [*grouped(1), normal(2, 1, 6, 16), normal(2, 1, 6, 16), int32(6, 6),
                             int32(7)[0], *WIDE_CACHES], {**GROUPS, "do_rotary": 1}),
    ("GroupQueryAttention", [*grouped(1), normal(2, 1, 9, 16), normal(2, 1, 9, 16), int32(6, 4),
                             int32(7)[0], *WIDE_CACHES], {**GROUPS, "do_rotary": 1, "check": 1}),
    ("GroupQueryAttention", [normal(2, 4, 64), None, None, None, None, int32(3, 3), int32(4)[0]],
     {**GROUPS, "smooth_softmax": 1}),
    ("GroupQueryAttention", [*grouped(4, 1), normal(1, 1, 3, 16), normal(1, 1, 3, 16), int32(6),
                             int32(7)[0]], GROUPS),
]  # fmt: skip


def check(
    op: str, inputs: Sequence[Any], options: dict[str, Any], rtol: float, atol: float
) -> None:
    arrays = [None if x is None else np.asarray(x) for x in inputs]
    outputs, fixed = options.get("outputs", 1), options.get("fixed", ())
    rest = {key: v for key, v in options.items() if key not in ("outputs", "fixed", "check")}
    model = one_node(op, arrays, outputs, fixed, **rest)
    given = [x for i, x in enumerate(arrays) if x is not None and i not in fixed]
    want = in_runtime(model, *given)
    fn, params = kn.onnx.load(model)
    got = as_list(fn(params, *given))
    compiled = as_list(kn.jit(lambda *inputs: fn(params, *inputs))(*given))
    count = options.get("check", outputs)  # what comes after a text's end is any
    for found in (got, compiled):
        agree(found[:count], want[:count], max(rtol, atol))


@pytest.mark.parametrize(("op", "inputs", "options"), EXACT)
def test_quantised_results_are_those_of_onnx_runtime(
    op: str, inputs: list[Any], options: dict[str, Any]
) -> None:
    check(op, inputs, options, 0, 0)


@pytest.mark.parametrize(("op", "inputs", "options"), [*CLOSE, *ATTENTION])
def test_fused_results_are_those_of_onnx_runtime(
    op: str, inputs: list[Any], options: dict[str, Any]
) -> None:
    check(op, inputs, options, 1e-5, 1e-5)


def test_a_quantised_average_is_within_one_quantum() -> None:
    options = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}
    check("QLinearAveragePool", [bytes_(2, 3, 6, 6), *SCALED, *RESULT], options, 0, 1)


def test_a_quantised_recurrence_is_near() -> None:
    hidden, inputs = 4, 5
    weights = [chars(1, n, 4 * hidden) for n in (inputs, hidden)]
    scale, zero = np.array([0.01], float32), np.array([0], np.int8)
    arrays = [normal(7, 2, inputs), *weights, normal(1, 8 * hidden), *[None] * 4]
    options = {"fixed": (1, 2, 3, 8, 9, 10, 11), "outputs": 3, "hidden_size": hidden}
    check("DynamicQuantizeLSTM", [*arrays, scale, zero, scale, zero], options, 0, 0.02)
