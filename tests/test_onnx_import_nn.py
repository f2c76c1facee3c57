"""Imported operators of networks: convolution, pools, resizing, recurrence, attention, images,
detection, spectra. ONNX Runtime and PyTorch are the oracles."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_runtime import run as run_in_onnx_runtime
from onnx_runtime import session

import kinone as kn
import kinone.onnx
from kinone.testing import check_grads

Arrays = Sequence[Any]
Case = tuple[str, int, Arrays, dict[str, Any], int]


def numbers(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed + len(shape)).standard_normal(shape).astype(dtype)


def model_of(
    op: str, opset: int, operands: Arrays, attributes: dict[str, Any], outputs: int = 1
) -> onnx.ModelProto:
    """A model of one node; an operand of None is left out."""
    names = ["" if each is None else f"x{i}" for i, each in enumerate(operands)]
    results = [f"y{i}" for i in range(outputs)]
    ports = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.asarray(each).dtype), np.shape(each)
        )
        for name, each in zip(names, operands, strict=True)
        if name
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, results, **attributes)],
        "one",
        ports,
        [onnx.ValueInfoProto(name=name) for name in results],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def given(operands: Arrays) -> list[Any]:
    return [each for each in operands if each is not None]


def run(model: onnx.ModelProto, operands: Arrays) -> tuple[Any, ...]:
    function, params = kn.onnx.load(model)
    found = function(params, *given(operands))
    return found if isinstance(found, tuple) else (found,)


def check_against_onnx_runtime(
    op: str, opset: int, operands: Arrays, attributes: dict[str, Any], outputs: int = 1
) -> None:
    model = model_of(op, opset, operands, attributes, outputs)
    running = session(model)
    inputs = zip(running.get_inputs(), given(operands), strict=True)
    wanted = running.run(None, {port.name: each for port, each in inputs})
    for found, want in zip(run(model, operands), wanted, strict=True):
        assert np.shape(found) == want.shape
        assert np.asarray(found).dtype == want.dtype
        np.testing.assert_allclose(found, want, rtol=2e-4, atol=2e-5)


# ---- random nodes --------------------------------------------------------------------------------


class Draw:
    """Draws of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def sizes(self, count: int, low: int, high: int) -> list[int]:
        return [self.size(low, high) for _ in range(count)]

    def one(self, *choices: Any) -> Any:
        return choices[self.size(0, len(choices) - 1)]

    def array(self, *shape: int) -> np.ndarray[Any, Any]:
        return self.rng.standard_normal(shape).astype(np.float32)


def draw_conv(draw: Draw) -> Case:
    rank, groups = draw.size(1, 3), draw.one(1, 1, 2, 3)
    kernel, spatial = draw.sizes(rank, 1, 3), draw.sizes(rank, 5, 9)
    channels, features = groups * draw.size(1, 2), groups * draw.size(1, 2)
    attributes: dict[str, Any] = {"group": groups, "strides": draw.sizes(rank, 1, 3)}
    mode = draw.one("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    if mode == "NOTSET":
        attributes |= {"pads": draw.sizes(2 * rank, 0, 2), "dilations": draw.sizes(rank, 1, 2)}
    else:
        attributes |= {"auto_pad": mode, "strides": [1] * rank}
    operands = [
        draw.array(draw.size(1, 2), channels, *spatial),
        draw.array(features, channels // groups, *kernel),
        draw.one(None, draw.array(features)),
    ]
    return "Conv", 21, operands, attributes, 1


def draw_conv_transpose(draw: Draw) -> Case:
    rank, groups = draw.size(1, 2), draw.one(1, 1, 2, 3)
    kernel, spatial = draw.sizes(rank, 1, 4), draw.sizes(rank, 3, 6)
    strides = [min(s, k) for s, k in zip(draw.sizes(rank, 1, 3), kernel, strict=True)]
    channels, features = groups * draw.size(1, 2), draw.size(1, 2)
    attributes: dict[str, Any] = {"group": groups, "strides": strides}
    mode = draw.one("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "shape")
    if mode == "NOTSET":
        extra = [draw.size(0, s - 1) for s in strides]
        attributes |= {"output_padding": extra, "dilations": draw.sizes(rank, 1, 2)}
        attributes["pads"] = [min(draw.size(0, 1), k // 2) for k in kernel] * 2
    elif mode == "shape":
        sizes = zip(spatial, strides, kernel, strict=True)
        attributes["output_shape"] = [(n - 1) * s + k - draw.size(0, k - 1) for n, s, k in sizes]
    else:
        attributes["auto_pad"] = mode
    operands = [
        draw.array(draw.size(1, 2), channels, *spatial),
        draw.array(channels, features, *kernel),
        draw.one(None, draw.array(features * groups)),
    ]
    return "ConvTranspose", 21, operands, attributes, 1


def draw_pool(draw: Draw) -> Case:
    rank, op = draw.size(1, 3), draw.one("MaxPool", "AveragePool", "LpPool")
    kernel, spatial = draw.sizes(rank, 1, draw.one(3, 3, 7)), draw.sizes(rank, 7, 9)
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    mode = draw.one("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    if mode == "NOTSET":
        attributes |= {"strides": draw.sizes(rank, 1, 3)}
        attributes["dilations"] = draw.sizes(rank, 1, 1 if max(kernel) > 3 else 2)
        attributes["pads"] = [draw.size(0, k - 1) for k in kernel * 2]
        attributes["ceil_mode"] = draw.size(0, 1)
    else:
        attributes |= {"auto_pad": mode, "strides": [draw.size(1, k) for k in kernel]}
    outputs = 1
    if op == "MaxPool":
        outputs = draw.size(1, 2)
        attributes["storage_order"] = draw.size(0, outputs - 1)
    elif op == "AveragePool":
        attributes["count_include_pad"] = draw.size(0, 1)
    else:
        attributes["p"] = draw.size(1, 3)
    return op, 21, [draw.array(draw.size(1, 2), draw.size(1, 2), *spatial)], attributes, outputs


def draw_resize(draw: Draw) -> Case:
    rank = draw.size(1, 2)
    mode = draw.one("nearest", "linear", "cubic") if rank == 2 else draw.one("nearest", "linear")
    way = draw.one("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": way}
    if mode == "nearest":
        attributes["nearest_mode"] = draw.one(
            "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"
        )
    if mode == "cubic":
        attributes |= {"cubic_coeff_a": draw.one(-0.75, -0.5), "exclude_outside": draw.size(0, 1)}
    if mode != "nearest" and rank == 2 and way != "align_corners":
        attributes["antialias"] = draw.size(0, 1)
    x = draw.array(draw.size(1, 2), draw.size(1, 2), *draw.sizes(rank, 4, 9))
    if way == "align_corners" or draw.size(0, 1):
        sizes = np.array([*x.shape[:2], *draw.sizes(rank, 2, 14)])
        return "Resize", 19, [x, None, None, sizes], attributes, 1
    scales = [draw.one(0.5, 2, 1.5, 0.6, 0.3, 3, 4 / 3, 0.7) for _ in range(rank)]
    return "Resize", 19, [x, None, np.array([1, 1, *scales], np.float32)], attributes, 1


def draw_grid_sample(draw: Draw) -> Case:
    rank, images = draw.one(2, 2, 3), draw.size(1, 2)
    mode = draw.one("linear", "nearest", "cubic") if rank == 2 else draw.one("linear", "nearest")
    x = draw.array(images, 2, *draw.sizes(rank, 2, 5))
    grid = draw.array(images, *draw.sizes(rank, 1, 4), rank)
    outside = draw.one("zeros", "border", "reflection")
    attributes = {"mode": mode, "padding_mode": outside, "align_corners": draw.size(0, 1)}
    return "GridSample", 20, [x, grid], attributes, 1


_NAMED = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
_OTHERS = ("Relu", "Tanh", "Sigmoid", "Softsign")


def draw_recurrent(draw: Draw) -> Case:
    op, gates, functions = draw.one(("RNN", 1, 1), ("GRU", 3, 2), ("LSTM", 4, 3))
    direction = draw.one("forward", "reverse", "bidirectional")
    count = 2 if direction == "bidirectional" else 1
    moments, examples, inputs, hidden = draw.sizes(4, 1, 4)
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": hidden}
    if draw.size(0, 2) == 0:
        names = [draw.one(*_NAMED, *_OTHERS) for _ in range(functions * count)]
        attributes["activations"] = names
        if alphas := [name for name in names if name in _NAMED]:
            attributes["activation_alpha"] = [0.3] * len(alphas)
        if any(name in ("Affine", "ScaledTanh", "HardSigmoid") for name in names):
            attributes["activation_beta"] = [0.4] * len(names)
    if draw.size(0, 3) == 0:
        attributes["clip"] = 0.5
    if op == "GRU":
        attributes["linear_before_reset"] = draw.size(0, 1)
    if op == "LSTM":
        attributes["input_forget"] = draw.one(0, 0, 0, 1)
    operands = [
        draw.array(moments, examples, inputs),
        draw.array(count, gates * hidden, inputs),
        draw.array(count, gates * hidden, hidden),
        draw.one(None, draw.array(count, 2 * gates * hidden)),
        draw.one(None, np.array(draw.sizes(examples, 1, moments), np.int32)),
        draw.one(None, draw.array(count, examples, hidden)),
    ]
    if op == "LSTM":
        operands += [
            draw.one(None, draw.array(count, examples, hidden)),
            draw.one(None, draw.array(count, 3 * hidden)),
        ]
    return op, 14, operands, attributes, 3 if op == "LSTM" else 2


def draw_regions(draw: Draw) -> Case:
    x, count = draw.array(2, 3, draw.size(4, 8), draw.size(4, 8)), draw.size(1, 4)
    if draw.size(0, 1):
        low = draw.rng.integers(0, 6, (count, 2))
        high = low + draw.rng.integers(0, 6, (count, 2))
        images = draw.rng.integers(0, 2, (count, 1))
        rois = np.concatenate([images, low, high], 1).astype(np.float32)
        scale = draw.one(1.0, 0.5, 0.4)
        attributes = {"pooled_shape": draw.sizes(2, 1, 3), "spatial_scale": scale}
        return "MaxRoiPool", 20, [x, rois], attributes, 1
    corner = draw.rng.random((count, 2)) * 6
    rois = np.concatenate([corner, corner + draw.rng.random((count, 2)) * 8 - 0.5], 1)
    attributes = {
        "mode": draw.one("avg", "max"),
        "output_height": draw.size(1, 3),
        "output_width": draw.size(1, 3),
        "sampling_ratio": draw.size(0, 2),
        "spatial_scale": draw.one(1.0, 0.5),
        "coordinate_transformation_mode": draw.one("half_pixel", "output_half_pixel"),
    }
    return (
        "RoiAlign",
        16,
        [x, rois.astype(np.float32), draw.rng.integers(0, 2, count)],
        attributes,
        1,
    )


def draw_boxes(draw: Draw) -> Case:
    count = draw.one(draw.size(1, 20), draw.size(200, 400))
    operands = [
        draw.rng.random((2, count, 4)).astype(np.float32),
        draw.rng.random((2, 3, count)).round(1).astype(np.float32),  # with equal scores
        np.array([draw.one(0, 3, 300)]),
        np.array([draw.rng.random()], np.float32),
        draw.one(None, np.array([0.3], np.float32)),
    ]
    return "NonMaxSuppression", 11, operands, {"center_point_box": draw.size(0, 1)}, 1


def draw_spectrum(draw: Draw) -> Case:
    if draw.size(0, 2) == 0:
        window = draw.one(None, draw.array(8))
        attributes = {"onesided": draw.size(0, 1)}
        step = np.array(draw.size(1, 4))
        return "STFT", 17, [draw.array(2, 20, 1), step, window, np.array(8)], attributes, 1
    x = draw.array(2, draw.size(2, 8), draw.size(2, 8), draw.size(1, 2))
    inverse = draw.size(0, 1)
    half = 0 if inverse or x.shape[-1] == 2 else draw.size(0, 1)
    length = draw.one(None, np.array(draw.size(1, 11)))
    attributes = {"inverse": inverse, "onesided": half}
    return "DFT", 20, [x, length, np.array(draw.size(1, 2))], attributes, 1


def draw_pixels(draw: Draw) -> Case:
    kind = draw.size(0, 4)
    if kind == 0:
        size = np.array([2, 1, draw.size(2, 5), draw.size(2, 5)])
        return "AffineGrid", 20, [draw.array(2, 2, 3), size], {"align_corners": draw.size(0, 1)}, 1
    if kind == 1:
        shape = np.array(draw.sizes(2, 1, 9))
        return "CenterCropPad", 18, [draw.array(5, 6, 7), shape], {"axes": [0, -1]}, 1
    if kind == 2:
        kernel, strides, dilation = draw.sizes(2, 1, 3), draw.sizes(2, 1, 2), draw.sizes(2, 1, 2)
        pads, image = draw.sizes(4, 0, 1), draw.sizes(2, 7, 9)
        out = [
            (image[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilation[i] - 1) // strides[i] + 1
            for i in range(2)
        ]
        x = draw.array(2, 3 * kernel[0] * kernel[1], out[0] * out[1])
        attributes = {"strides": strides, "dilations": dilation, "pads": pads}
        return "Col2Im", 18, [x, np.array(image), np.array(kernel)], attributes, 1
    scales = np.array([1, 1, draw.one(1, 2, 1.5), draw.one(1, 2, 3)], np.float32)
    mode = draw.one("nearest", "linear")
    x = draw.array(1, 2, *draw.sizes(2, 2, 5))
    if kind == 3:
        return "Upsample", 9, [x, scales], {"mode": mode}, 1
    return "Resize", 10, [x, scales], {"mode": mode}, 1


DRAWN: list[Callable[[Draw], Case]] = [
    draw_conv,
    draw_conv_transpose,
    draw_pool,
    draw_resize,
    draw_grid_sample,
    draw_recurrent,
    draw_regions,
    draw_boxes,
    draw_spectrum,
    draw_pixels,
]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("draw", DRAWN, ids=lambda function: function.__name__)
def test_a_random_node_is_as_in_onnx_runtime(draw: Callable[[Draw], Case], seed: int) -> None:
    check_against_onnx_runtime(*draw(Draw(seed)))


# ---- derivatives, jit and vmap -------------------------------------------------------------------

_HALF = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1}
_BOTH = {"direction": "bidirectional", "hidden_size": 3}
_ROIS = np.array([[0.3, 0.7, 4.4, 4.2], [1.1, 0.0, 5.0, 3.3]])
_LAYERS = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent_operands(op: str, **shapes: Any) -> list[Any]:
    gates = _LAYERS[op]
    found: list[Any] = [
        numbers(3, 2, 4),
        numbers(2, gates * 3, 4, seed=1),
        numbers(2, gates * 3, 3, seed=2),
        numbers(2, 2 * gates * 3, seed=3),
        np.array([3, 2], np.int32),
        numbers(2, 2, 3, seed=4),
    ]
    return [*found, numbers(2, 2, 3, seed=5)] if op == "LSTM" else found


def between(*shape: int) -> np.ndarray[Any, Any]:
    """Offsets whose sums with whole numbers are far from whole."""
    rng = np.random.default_rng(0)
    return rng.integers(-1, 1, shape) + rng.uniform(0.2, 0.8, shape)


# (operator, operator set, operands, attributes, outputs), differentiated by all floating-point
# operands but those of `KNOWN`.
SMOOTH: list[Case] = [
    ("Conv", 22, [numbers(2, 4, 6, 5), numbers(6, 2, 3, 2), numbers(6)],
     {"group": 2, "pads": [1, 0, 1, 1], "strides": [2, 1], "dilations": [1, 2]}, 1),
    ("Conv", 22, [numbers(2, 4, 6), numbers(6, 4, 3)], {"auto_pad": "SAME_LOWER"}, 1),
    ("ConvTranspose", 22, [numbers(2, 4, 4, 3), numbers(4, 2, 3, 3), numbers(4)],
     {"group": 2, "strides": [2, 2], "output_padding": [1, 0], "pads": [1, 0, 1, 1]}, 1),
    ("ConvTranspose", 22, [numbers(1, 2, 4, 3), numbers(2, 2, 3, 3)],
     {"strides": [3, 2], "output_shape": [10, 8]}, 1),
    ("DeformConv", 22,
     [numbers(2, 4, 5, 5), numbers(6, 2, 2, 2), between(2, 16, 4, 4), numbers(6),
      numbers(2, 8, 4, 4)], {"group": 2, "offset_group": 2}, 1),
    ("MaxPool", 22, [numbers(2, 3, 7, 6)], _HALF, 2),
    ("MaxPool", 22, [numbers(2, 3, 7, 6)],
     {"kernel_shape": [3, 2], "dilations": [2, 2], "pads": [1, 1, 1, 1]}, 2),
    ("AveragePool", 22, [numbers(2, 3, 7, 6)], {**_HALF, "dilations": [2, 1]}, 1),
    ("AveragePool", 22, [numbers(2, 3, 7, 6)], {**_HALF, "count_include_pad": 1}, 1),
    ("AveragePool", 22, [numbers(2, 3, 7, 6)], {"kernel_shape": [7, 6], "pads": [3, 2, 1, 5]}, 1),
    ("AveragePool", 22, [numbers(2, 3, 7, 6)], {"kernel_shape": [7, 6]}, 1),
    ("MaxPool", 22, [numbers(2, 3, 9, 9)], {"kernel_shape": [7, 8], "pads": [3, 2, 1, 5]}, 1),
    ("LpPool", 22, [numbers(2, 3, 7, 6)], {"kernel_shape": [3, 2]}, 1),
    ("LpPool", 22, [numbers(2, 3, 7, 6)], {"kernel_shape": [3, 2], "p": 3, "strides": [2, 3]}, 1),
    ("GlobalAveragePool", 22, [numbers(2, 3, 4, 5)], {}, 1),
    ("GlobalMaxPool", 22, [numbers(2, 3, 4, 5)], {}, 1),
    ("GlobalLpPool", 22, [numbers(2, 3, 4, 5)], {}, 1),
    ("MaxUnpool", 22,
     [numbers(1, 2, 2, 2), np.array([5, 7, 13, 15, 21, 23, 29, 31]).reshape(1, 2, 2, 2)],
     {"kernel_shape": [2, 2], "strides": [2, 2]}, 1),
    ("MaxRoiPool", 22, [numbers(2, 3, 6, 6), np.array([[0, 1, 1, 4, 4.0], [1, 0, 0, 5, 3]])],
     {"pooled_shape": [2, 2]}, 1),
    ("RoiAlign", 22, [numbers(2, 3, 6, 6), _ROIS, np.array([0, 1])],
     {"output_height": 2, "output_width": 3, "sampling_ratio": 2}, 1),
    *[("Resize", 19, [numbers(1, 2, 9, 6), None, None, np.array([1, 2, 4, 9])],
       {"mode": mode, "antialias": antialias}, 1)
      for mode, antialias in (("nearest", 0), ("linear", 0), ("cubic", 0), ("linear", 1),
                              ("cubic", 1))],
    ("Resize", 19,
     [numbers(1, 2, 9, 6), np.array([0, 0, 0.2, -0.3, 1, 1, 0.7, 1.2]), None,
      np.array([1, 2, 4, 9])],
     {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize",
      "extrapolation_value": 3.0}, 1),
    ("Upsample", 9, [numbers(1, 2, 3, 3), np.array([1, 1, 2, 2], np.float32)],
     {"mode": "linear"}, 1),
    ("GridSample", 20, [numbers(2, 3, 4, 5), between(2, 3, 3, 2) / 4], {"align_corners": 0}, 1),
    ("GridSample", 20, [numbers(2, 3, 4, 5), between(2, 3, 3, 2) / 4],
     {"mode": "cubic", "padding_mode": "reflection"}, 1),
    ("AffineGrid", 20, [numbers(2, 2, 3), np.array([2, 3, 4, 5])], {}, 1),
    ("AffineGrid", 20, [numbers(2, 3, 4), np.array([2, 3, 2, 4, 5])], {"align_corners": 1}, 1),
    ("CenterCropPad", 18, [numbers(5, 6), np.array([3, 9])], {}, 1),
    ("Col2Im", 18, [numbers(2, 12, 9), np.array([4, 4]), np.array([2, 2])], {}, 1),
    *[(op, 14, recurrent_operands(op), _BOTH, 3 if op == "LSTM" else 2) for op in _LAYERS],
    ("GRU", 14, recurrent_operands("GRU"), {**_BOTH, "linear_before_reset": 1}, 2),
    ("RNN", 14, recurrent_operands("RNN"), {**_BOTH, "activations": ["Softsign"] * 2}, 2),
    ("LSTM", 14, [*recurrent_operands("LSTM"), numbers(2, 9)], {**_BOTH, "input_forget": 1}, 3),
    ("Attention", 23,
     [numbers(2, 4, 3, 8), numbers(2, 2, 5, 8, seed=1), numbers(2, 2, 5, 6), numbers(3, 5),
      numbers(2, 2, 4, 8), numbers(2, 2, 4, 6)], {"is_causal": 1, "softcap": 2.0}, 4),
    ("Attention", 23,
     [numbers(2, 3, 8), numbers(2, 5, 4, seed=1), numbers(2, 5, 6),
      np.arange(15).reshape(3, 5) % 4 > 0], {"q_num_heads": 4, "kv_num_heads": 2}, 1),
    ("Attention", 25,
     [numbers(2, 4, 3, 8), numbers(2, 2, 5, 8, seed=1), numbers(2, 2, 5, 6), None, None, None,
      np.array([3, 4])], {"is_causal": 1, "left_window_size": 2}, 4),
    ("RotaryEmbedding", 23,
     [numbers(2, 3, 8), numbers(7, 2), numbers(7, 2, seed=1), np.array([[0, 6, 2], [3, 3, 1]])],
     {"num_heads": 2, "interleaved": 1}, 1),
    ("RotaryEmbedding", 23, [numbers(2, 2, 3, 8), numbers(2, 3, 2), numbers(2, 3, 2, seed=1)],
     {"rotary_embedding_dim": 4}, 1),
    *[("DFT", 20, [numbers(2, 6, 5, parts), np.array(7), np.array(1)],
       {"onesided": half, "inverse": inverse}, 1)
      for parts in (1, 2) for half in (0, 1) for inverse in (0, 1)],
    ("STFT", 17, [numbers(2, 20, 1), np.array(3), numbers(8)], {}, 1),
]  # fmt: skip

# The operands of floating-point numbers that shapes and places depend on.
KNOWN = {"Resize": 1, "Upsample": 1, "MaxRoiPool": 1}


def as_function(case: Case) -> tuple[Callable[..., tuple[Any, ...]], list[Any]]:
    """The node as a function of what it is differentiated by, and that."""
    op, opset, operands, attributes, outputs = case
    function, params = kn.onnx.load(model_of(op, opset, operands, attributes, outputs))
    values = given(operands)
    free = [i for i, each in enumerate(values) if each.dtype.kind == "f"][: KNOWN.get(op)]

    def of(*moving: Any) -> tuple[Any, ...]:
        inputs = list(values)
        for i, each in zip(free, moving, strict=True):
            inputs[i] = each
        found = function(params, *inputs)
        found = found if isinstance(found, tuple) else (found,)
        return tuple([each for each in found if each.dtype.kind == "f"])

    return of, [values[i] for i in free]


def name_of(case: Case) -> str:
    return case[0] + "".join(f"-{key}" for key in case[3])


@pytest.mark.parametrize("case", SMOOTH, ids=name_of)
def test_derivatives(case: Case) -> None:
    of, moving = as_function(case)
    check_grads(of, tuple(moving), 1, eps=1e-5, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("case", SMOOTH, ids=name_of)
def test_jit_and_vmap(case: Case) -> None:
    of, moving = as_function(case)
    wanted = of(*moving)
    for found, want in zip(kn.jit(of)(*moving), wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12)
    batch = [np.stack([each, 0.9 * each]) for each in moving]
    rows = [of(*[each[i] for each in batch]) for i in range(2)]
    for found, *want in zip(kn.vmap(of)(*batch), *rows, strict=True):
        np.testing.assert_allclose(found, np.stack(want), rtol=1e-9, atol=1e-9)
    shared = kn.vmap(of, in_axes=(0, *[None] * (len(moving) - 1)))(batch[0], *moving[1:])
    for found, want in zip(shared, wanted, strict=True):
        np.testing.assert_allclose(found[0], want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", SMOOTH, ids=name_of)
def test_a_compiled_gradient_is_the_eager_one(case: Case) -> None:
    of, moving = as_function(case)

    def loss(*xs: Any) -> Any:
        return sum(np.sum(np.sin(each)) for each in of(*xs))

    gradient = kn.grad(loss, argnums=tuple(range(len(moving))))
    for found, want in zip(kn.jit(gradient)(*moving), gradient(*moving), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", SMOOTH, ids=name_of)
def test_what_was_imported_is_exported_again(case: Case) -> None:
    op, opset, operands, attributes, outputs = case
    singles = [
        each.astype(np.float32) if each is not None and each.dtype == np.float64 else each
        for each in operands
    ]
    of, moving = as_function((op, opset, singles, attributes, outputs))
    model = kn.onnx.export(of, *moving, dynamic={})
    for found, want in zip(run_in_onnx_runtime(model, *moving), of(*moving), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


# ---- against PyTorch -----------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("outside", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample_is_pytorchs_with_its_gradients(mode: str, outside: str, corners: int) -> None:
    torch = pytest.importorskip("torch")
    x, grid, cotangent = numbers(2, 3, 4, 5), numbers(2, 3, 3, 2), numbers(2, 3, 3, 3)
    attributes = {"mode": mode, "padding_mode": outside, "align_corners": corners}
    function, params = kn.onnx.load(model_of("GridSample", 20, [x, grid], attributes))
    y, pullback = kn.vjp(lambda *xs: function(params, *xs), x, grid)
    twins = [torch.tensor(each, requires_grad=True) for each in (x, grid)]
    name = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}[mode]
    z = torch.nn.functional.grid_sample(*twins, name, outside, bool(corners))
    z.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(y, z.detach().numpy(), atol=1e-13)
    for found, twin in zip(pullback(cotangent), twins, strict=True):
        np.testing.assert_allclose(found, twin.grad.numpy(), atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_of_equal_elements_in_a_large_window_the_first_gets_the_gradient(
    strides: tuple[int, int],
) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 4, (2, 3, 14, 15)).astype(np.float64)
    attributes = {"kernel_shape": [9, 9], "strides": list(strides), "pads": [4, 4, 4, 4]}
    function, params = kn.onnx.load(model_of("MaxPool", 22, [x], attributes))
    y, pullback = kn.vjp(lambda x: function(params, x), x)
    cotangent = numbers(*y.shape)
    twin = torch.tensor(x, requires_grad=True)
    z = torch.nn.functional.max_pool2d(twin, 9, strides, 4)
    z.backward(torch.tensor(cotangent))
    np.testing.assert_array_equal(y, z.detach().numpy())
    np.testing.assert_allclose(pullback(cotangent)[0], twin.grad.numpy(), atol=1e-12)


def mobile_block(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


def upsampler(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.GELU(),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.InstanceNorm2d(4, affine=True),
        nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1), nn.LeakyReLU(0.1),
        nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=False),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Upsample((7, 9), mode="bicubic"),
    )  # fmt: skip


def volumes(nn: Any) -> Any:
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Tanh(),
        nn.MaxPool3d((1, 2, 2)), nn.Upsample(scale_factor=2, mode="trilinear"),
    )  # fmt: skip


def recurrent_network(kind: str) -> Callable[[Any], Any]:
    def make(nn: Any) -> Any:
        class Network(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.layers = getattr(nn, kind)(9, 5, 2, bidirectional=True, batch_first=True)

            def forward(self, x: Any) -> Any:
                return self.layers(x.flatten(1, 2))[0]

        return Network()

    make.__name__ = kind
    return make


def transformer(nn: Any) -> Any:
    layer = nn.TransformerEncoderLayer(9, 3, 16, batch_first=True, activation="gelu")
    return nn.Sequential(nn.Flatten(1, 2), layer, nn.LayerNorm(9), nn.Linear(9, 2))


NETWORKS = [
    mobile_block,
    upsampler,
    volumes,
    *[recurrent_network(kind) for kind in _LAYERS],
    transformer,
]


@pytest.mark.oracle
@pytest.mark.parametrize("opset", [14, 20])
@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_what_pytorch_exports_is_what_pytorch_computes(
    make: Callable[[Any], Any], opset: int
) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = make(torch.nn).eval()
    x = torch.randn(2, 3, 8, 9, requires_grad=True)
    wanted = network(x)
    cotangent = torch.randn_like(wanted)
    wanted.backward(cotangent)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), file, dynamo=False, opset_version=opset)
    function, params = kn.onnx.load(file.getvalue())
    y, pullback = kn.vjp(function, params, x.detach().numpy())
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-4, atol=1e-5)
    by_params, by_x = pullback(cotangent.numpy())
    np.testing.assert_allclose(by_x, x.grad.numpy(), rtol=1e-3, atol=1e-4)
    theirs = {name: each.grad.numpy() for name, each in network.named_parameters()}
    same = [name for name in by_params if name in theirs and make is not transformer]
    for name in same:
        np.testing.assert_allclose(by_params[name], theirs[name], rtol=1e-3, atol=1e-3)
    compiled = kn.jit(function)(params, x.detach().numpy())
    np.testing.assert_allclose(compiled, y, rtol=1e-5, atol=1e-5)


# ---- what the oracles do not say -----------------------------------------------------------------


def test_regions_of_traced_places_are_sampled_with_a_stated_ratio() -> None:
    x = numbers(2, 3, 6, 6)
    attributes = {"output_height": 2, "output_width": 3}
    operands = [x, _ROIS, np.array([0, 1])]
    adaptive, _ = kn.onnx.load(model_of("RoiAlign", 16, operands, attributes))
    with pytest.raises(kn.onnx.LoadError, match="sampling_ratio=0"):
        kn.jit(lambda rois: adaptive({}, x, rois, np.array([0, 1])))(_ROIS)
    assert kn.grad(lambda rois: np.sum(adaptive({}, x, rois, np.array([0, 1]))))(_ROIS).any()


def test_boxes_have_to_be_known() -> None:
    operands = [numbers(1, 4, 4), numbers(1, 1, 4), np.array([2])]
    function, _ = kn.onnx.load(model_of("NonMaxSuppression", 11, operands, {}))
    with pytest.raises(kn.onnx.LoadError, match="boxes"):
        kn.jit(lambda boxes: function({}, boxes, *operands[1:]))(operands[0])


def test_a_padded_sequence_gives_its_states_no_gradient_from_padding() -> None:
    operands = recurrent_operands("LSTM")
    operands[0][2, 1] = np.nan  # behind the end of the second sequence
    function, params = kn.onnx.load(model_of("LSTM", 14, operands, _BOTH, 3))

    def loss(w: Any) -> Any:
        return sum(np.sum(each) for each in function(params, operands[0], w, *operands[2:]))

    assert np.isfinite(loss(operands[1]))


def test_half_precision_and_bfloat16_stay() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        operands = [numbers(2, 4, 3, 8, dtype=dtype)] * 3
        y = run(model_of("Attention", 23, operands, {"is_causal": 1}), operands)[0]
        assert y.dtype == dtype
    operands = [numbers(1, 2, 5, 5, dtype=np.float16), numbers(3, 2, 3, 3, dtype=np.float16)]
    assert run(model_of("Conv", 22, operands, {}), operands)[0].dtype == np.float16
    for op in _LAYERS:
        operands = [
            each.astype(np.float16) if each.dtype.kind == "f" else each
            for each in recurrent_operands(op)
        ]
        assert run(model_of(op, 14, operands, _BOTH, 2), operands)[0].dtype == np.float16


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integers_are_pooled_and_resized(dtype: Any) -> None:
    x = np.arange(36).reshape(1, 1, 6, 6).astype(dtype) - dtype(3)
    check_against_onnx_runtime("MaxPool", 21, [x], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]})
    sizes = np.array([1, 1, 4, 9])
    check_against_onnx_runtime("Resize", 19, [x, None, None, sizes], {"mode": "nearest"})
    found = run(model_of("Resize", 19, [x, None, None, sizes], {"mode": "linear"}), [x, sizes])
    assert found[0].dtype == dtype


def test_an_image_is_decoded_and_a_damaged_one_refused() -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    file = io.BytesIO()
    image.fromarray(pixels).save(file, "PNG")
    data = np.frombuffer(file.getvalue(), np.uint8)
    for kind, wanted in (("RGB", pixels), ("BGR", pixels[:, :, ::-1])):
        model = model_of("ImageDecoder", 20, [data], {"pixel_format": kind})
        np.testing.assert_array_equal(run(model, [data])[0], wanted)
    grey = run(model_of("ImageDecoder", 20, [data], {"pixel_format": "Grayscale"}), [data])[0]
    assert grey.shape == (4, 4, 1)
    model = model_of("ImageDecoder", 20, [data[:20]], {})
    with pytest.raises(kn.onnx.LoadError, match="image"):
        run(model, [data[:20]])


# ---- errors --------------------------------------------------------------------------------------

_X = numbers(1, 2, 5, 5)
_W = numbers(3, 2, 3, 3)
WRONG: list[tuple[str, str, int, Arrays, dict[str, Any]]] = [
    ("does not fit", "Conv", 22, [_X, numbers(3, 2, 7, 7)], {}),
    ("channels", "Conv", 22, [_X, numbers(3, 4, 3, 3)], {}),
    ("groups", "Conv", 22, [_X, _W], {"group": 0}),
    ("pads", "Conv", 22, [_X, _W], {"pads": [1, 1]}),
    ("strides", "Conv", 22, [_X, _W], {"strides": [0, 1]}),
    ("kernel", "Conv", 22, [_X, _W], {"kernel_shape": [2, 2]}),
    ("auto_pad", "Conv", 22, [_X, _W], {"auto_pad": "SOME"}),
    ("pads", "MaxPool", 22, [_X], {"kernel_shape": [10**9] * 2, "pads": [10**9 - 1] * 4}),
    ("spatial", "Conv", 22, [numbers(2, 2), _W], {}),
    ("sizes", "ConvTranspose", 22, [_X, numbers(2, 3, 1, 1)], {"pads": [4, 4, 4, 4]}),
    ("kernel_shape", "MaxPool", 22, [_X], {}),
    ("axes", "MaxPool", 22, [_X], {"kernel_shape": [2]}),
    ("kernel", "AveragePool", 22, [_X], {"kernel_shape": [0, 1]}),
    ("mode", "Resize", 19, [_X, None, None, np.array([1, 2, 3, 3])], {"mode": "best"}),
    ("coordinate", "Resize", 19, [_X, None, None, np.array([1, 2, 3, 3])],
     {"coordinate_transformation_mode": "middle"}),
    ("sizes", "Resize", 19, [_X, None, None, np.array([3, 3])], {}),
    ("scales", "Resize", 19, [_X, None, np.array([1, 1, -1, 1], np.float32)], {}),
    ("sizes", "Resize", 19, [_X, None, None, np.array([1, 2, 2**40, 3])], {}),
    ("sizes", "Resize", 19, [_X, None, np.array([1, 1, 1e20, 1e20], np.float32)], {}),
    ("sizes", "CenterCropPad", 18, [_X, np.array([1, 2, 2**40, 3])], {}),
    ("sizes", "AffineGrid", 20, [numbers(1, 2, 3), np.array([1, 2, 2**40, 3])], {}),
    ("sizes", "DFT", 20, [numbers(1, 4, 1), np.array(2**40)], {}),
    ("sizes", "ConvTranspose", 22, [_X, numbers(2, 3, 1, 1)], {"strides": [2**30, 2**30]}),
    ("sizes", "RoiAlign", 16, [_X, np.ones((1, 4)), np.array([0])], {"output_height": 2**40}),
    ("scales", "Resize", 19, [_X, None, np.array([1, 1, np.nan, 1], np.float32)], {}),
    ("neither", "Resize", 19, [_X], {}),
    ("roi", "Resize", 19, [_X, None, None, np.array([1, 2, 3, 3])],
     {"coordinate_transformation_mode": "tf_crop_and_resize"}),
    ("grid", "GridSample", 20, [_X, numbers(1, 3, 3, 3)], {}),
    ("mode", "GridSample", 20, [_X, numbers(1, 3, 3, 2)], {"mode": "best"}),
    ("direction", "RNN", 14, recurrent_operands("RNN"), {"direction": "up"}),
    ("activation", "RNN", 14, recurrent_operands("RNN"), {**_BOTH, "activations": ["A", "B"]}),
    ("activations", "LSTM", 14, recurrent_operands("LSTM"), {**_BOTH, "activations": ["Tanh"]}),
    ("hidden_size", "GRU", 14, recurrent_operands("GRU"), {**_BOTH, "hidden_size": 4}),
    ("wants", "GRU", 14, recurrent_operands("RNN"), _BOTH),
    ("heads", "Attention", 23, [numbers(1, 3, 4, 4), numbers(1, 2, 4, 4), numbers(1, 2, 4, 4)],
     {}),
    ("q_num_heads", "Attention", 23, [numbers(1, 3, 4)] * 3, {}),
    ("rotate", "RotaryEmbedding", 23, [numbers(1, 2, 3, 8), numbers(1, 3, 3), numbers(1, 3, 3)],
     {}),
    ("axis", "DFT", 20, [numbers(1, 4, 1), None, np.array(2)], {}),
    ("parts", "DFT", 20, [numbers(1, 4, 3)], {}),
    ("frames", "STFT", 17, [numbers(1, 4, 1), np.array(0), None, np.array(2)], {}),
    ("columns", "Col2Im", 18, [numbers(1, 4, 4), np.array([4, 4]), np.array([2, 2])], {}),
    ("iou_threshold", "NonMaxSuppression", 11,
     [numbers(1, 4, 4), numbers(1, 1, 4), np.array([1]), np.array([2.0])], {}),
    ("boxes", "NonMaxSuppression", 11, [numbers(1, 4, 4), numbers(1, 1, 3), np.array([1])], {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "op", "opset", "operands", "attributes"),
    WRONG,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_run_says_why(
    text: str, op: str, opset: int, operands: Arrays, attributes: dict[str, Any]
) -> None:
    model = model_of(op, opset, operands, attributes)
    with pytest.raises(kn.onnx.LoadError, match=text):
        run(model, operands)
