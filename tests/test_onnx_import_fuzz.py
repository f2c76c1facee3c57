"""Random graphs of five to ten operators beside ONNX Runtime, eager and compiled.

A graph grows node by node: a recipe takes a value that is there, draws attributes and constants
that fit its shape, and the imported node says the shape of the next value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_runtime import session

import kinone as kn
import kinone.onnx

Numbers = np.ndarray[Any, Any]


class Growing:
    """A graph while it grows, with the numbers of all its values."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        shapes = {"image": (2, 4, 6, 6), "sequence": (3, 4, 5), "rows": (4, 5)}
        self.inputs = {
            name: self.rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
        }
        self.values = dict(self.inputs)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int) -> str:
        return self.constant(self.rng.normal(size=shape).astype(np.float32))

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def flag(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def one_of(self, *choices: Any) -> Any:
        return choices[self.whole(0, len(choices))]

    def value(self, low: int = 1, high: int = 4) -> tuple[str, tuple[int, ...]]:
        """One of the youngest values whose number of axes is from `low` to `high`."""
        fitting = [name for name, each in self.values.items() if low <= each.ndim <= high]
        name = self.one_of(*fitting[-3:]) if self.flag() else self.one_of(*fitting)
        return name, self.values[name].shape

    def axis(self, shape: tuple[int, ...]) -> int:
        return self.whole(-len(shape), len(shape))

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        ports = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, each.shape)
            for name, each in self.inputs.items()
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "fuzz", ports, results, self.constants)
        opset = helper.make_opsetid("", 21)
        return helper.make_model(graph, opset_imports=[opset], ir_version=10)

    def grow(self) -> None:
        """One node more."""
        op, operands, attributes = self.one_of(*RECIPES)(self)
        name = f"v{len(self.nodes)}"
        node = helper.make_node(op, operands, [name], **attributes)
        given = {each: self.values[each] for each in operands if each in self.values}
        ports = [
            helper.make_tensor_value_info(key, TensorProto.FLOAT, each.shape)
            for key, each in given.items()
        ]
        result = helper.make_empty_tensor_value_info(name)
        graph = helper.make_graph([node], "node", ports, [result], self.constants)
        opset = helper.make_opsetid("", 21)
        fn, params = kn.onnx.load(helper.make_model(graph, opset_imports=[opset], ir_version=10))
        found = fn(params, *given.values())
        if 0 < found.size <= 5000:
            self.nodes.append(node)
            self.values[name] = found


# ---- recipes -------------------------------------------------------------------------------------

Recipe = tuple[str, list[str], dict[str, Any]]
UNARY = (
    "Abs Neg Tanh Sigmoid Relu Elu Selu Softplus Softsign Erf Sin Cos Atan HardSigmoid HardSwish"
)
UNARY += " LeakyRelu Celu ThresholdedRelu Mish Gelu Identity Shrink"


def unary(g: Growing) -> Recipe:
    op = g.one_of(*UNARY.split())
    alpha = {"alpha": g.one_of(0.3, 1.5)} if op in ("Elu", "LeakyRelu", "Celu") else {}
    return op, [g.value()[0]], alpha


def binary(g: Growing) -> Recipe:
    x, shape = g.value()
    shape = tuple([size if g.flag() else 1 for size in shape][g.whole(0, len(shape)) :])
    pair = [x, g.constant(g.rng.uniform(0.5, 2, shape).astype(np.float32))]
    op = g.one_of("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")
    return op, pair, {}


def transpose(g: Growing) -> Recipe:
    x, shape = g.value()
    return "Transpose", [x], {"perm": g.rng.permutation(len(shape)).tolist()}


def reshape(g: Growing) -> Recipe:
    x, shape = g.value(2)
    i = g.whole(0, len(shape) - 1)
    joined = [*[0] * i, -1 if g.flag() else shape[i] * shape[i + 1], *shape[i + 2 :]]
    return "Reshape", [x, g.constant(joined)], {}


def unsqueeze(g: Growing) -> Recipe:
    x, shape = g.value(1, 3)
    return "Unsqueeze", [x, g.constant([g.axis((*shape, 1))])], {}


def concat(g: Growing) -> Recipe:
    x, shape = g.value()
    axis = g.axis(shape)
    other = list(shape)
    other[axis] = g.whole(0, 3)
    return "Concat", [x, g.normal(*other), x], {"axis": axis}


def slices(g: Growing) -> Recipe:
    x, shape = g.value()
    bounds = [g.whole(-9, 9)], [g.one_of(100, -100, g.whole(-9, 9))], [g.axis(shape)]
    return "Slice", [x, *map(g.constant, bounds), g.constant([g.one_of(1, 2, -1, -2)])], {}


def gather(g: Growing) -> Recipe:
    x, shape = g.value(1, 3)
    axis = g.axis(shape)
    places = g.rng.integers(-shape[axis], shape[axis], g.one_of((), (2,), (2, 1)))
    return "Gather", [x, g.constant(places)], {"axis": axis}


def gather_elements(g: Growing) -> Recipe:
    x, shape = g.value()
    axis = g.axis(shape)
    places = g.rng.integers(-shape[axis], shape[axis], shape)
    return "GatherElements", [x, g.constant(places)], {"axis": axis}


def scatter_elements(g: Growing) -> Recipe:
    x, shape = g.value()
    axis = g.axis(shape)
    places = np.argsort(g.rng.random(shape), axis=axis)
    how = g.one_of("none", "add", "mul", "max", "min")
    return (
        "ScatterElements",
        [x, g.constant(places), g.normal(*shape)],
        {"axis": axis, "reduction": how},
    )


def scatter_nd(g: Growing) -> Recipe:
    x, shape = g.value()
    depth = g.whole(1, len(shape) + 1)
    places = np.stack([g.rng.integers(0, size, 3) for size in shape[:depth]], -1)
    how = g.one_of("add", "mul", "max", "min")
    return (
        "ScatterND",
        [x, g.constant(places), g.normal(3, *shape[depth:])],
        {"reduction": how},
    )


def pad(g: Growing) -> Recipe:
    x, shape = g.value()
    mode = g.one_of("constant", "edge", "reflect", "wrap")
    widths = [g.whole(-1 if mode == "constant" and n > 2 else 0, min(n, 3)) for n in shape * 2]
    return "Pad", [x, g.constant(widths)], {"mode": mode}


def expand(g: Growing) -> Recipe:
    x, shape = g.value(1, 3)
    return "Expand", [x, g.constant([2, *[1] * len(shape)])], {}


def tile(g: Growing) -> Recipe:
    x, shape = g.value(1, 3)
    return "Tile", [x, g.constant(g.rng.integers(1, 3, len(shape)))], {}


def reduce(g: Growing) -> Recipe:
    kinds = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"]
    x, shape = g.value()
    axes = g.rng.permutation(len(shape))[: g.whole(0, len(shape) + 1)]
    attributes = {"keepdims": g.whole(0, 2), "noop_with_empty_axes": g.whole(0, 2)}
    return f"Reduce{g.one_of(*kinds)}", [x, g.constant(axes)], attributes


def cumulative(g: Growing) -> Recipe:
    x, shape = g.value()
    attributes = {"exclusive": g.whole(0, 2), "reverse": g.whole(0, 2)}
    return "CumSum", [x, g.constant(np.array(g.axis(shape)))], attributes


def along_an_axis(g: Growing) -> Recipe:
    x, shape = g.value()
    return g.one_of("Softmax", "LogSoftmax", "LpNormalization"), [x], {"axis": g.axis(shape)}


def layer_norm(g: Growing) -> Recipe:
    x, shape = g.value(2)
    axis = g.whole(0, len(shape))
    return "LayerNormalization", [x, g.normal(*shape[axis:])], {"axis": axis}


def channel_norm(g: Growing) -> Recipe:
    x, shape = g.value(3)
    ones = [g.constant(g.rng.uniform(0.5, 1.5, shape[1]).astype(np.float32)) for _ in range(4)]
    op, wanted = g.one_of(("BatchNormalization", 4), ("InstanceNormalization", 2))
    return op, [x, *ones[:wanted]], {}


def matmul(g: Growing) -> Recipe:
    x, shape = g.value()
    n = shape[-1]
    return "MatMul", [x, g.normal(*g.one_of((n,), (n, 3), (2, 1, n, 2)))], {}


def gemm(g: Growing) -> Recipe:
    x, shape = g.value(2, 2)
    a, b = g.whole(0, 2), g.whole(0, 2)
    inner = shape[0 if a else 1]
    operands = [x, g.normal(*((3, inner) if b else (inner, 3))), g.normal(1, 3)]
    return "Gemm", operands, {"transA": a, "transB": b, "alpha": 0.5, "beta": 2.0}


def clip(g: Growing) -> Recipe:
    low, high = g.constant(np.float32(-0.5)), g.constant(np.float32(1.2))
    return "Clip", [g.value()[0], *g.one_of([low, high], [low], ["", high], [])], {}


def where(g: Growing) -> Recipe:
    x, shape = g.value()
    return "Where", [g.constant(g.rng.random(shape) < 0.5), x, g.normal()], {}


def convolution(g: Growing) -> Recipe:
    x, shape = g.value(3)
    channels, rank = shape[1], len(shape) - 2
    groups, kernel = g.one_of(1, channels), [g.whole(1, 4) for _ in range(rank)]
    attributes: dict[str, Any] = {"group": groups, "strides": g.rng.integers(1, 3, rank).tolist()}
    attributes["pads"] = g.rng.integers(1, 4, 2 * rank).tolist()
    attributes["dilations"] = g.rng.integers(1, 3, rank).tolist()
    weight = g.normal(2 * groups, channels // groups, *kernel)
    if g.flag() and min(shape[2:]) > 3:
        attributes["pads"] = [0] * (2 * rank)
        return "ConvTranspose", [x, g.normal(channels, 2, *kernel)], attributes
    attributes["pads"] = [size + 2 for size in attributes["pads"]]  # room for any window
    return "Conv", [x, weight, g.normal(2 * groups)], attributes


def pool(g: Growing) -> Recipe:
    x, shape = g.value(3)
    kernel = [min(g.whole(1, 4), size) for size in shape[2:]]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "ceil_mode": g.whole(0, 2)}
    attributes["strides"] = [g.whole(1, 4) for _ in kernel]
    attributes["pads"] = [g.whole(0, size) for size in kernel * 2]
    op = g.one_of("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    if op == "AveragePool":
        attributes["count_include_pad"] = g.whole(0, 2)
    return op, [x], {} if op.startswith("Global") else attributes


def resize(g: Growing) -> Recipe:
    x, shape = g.value(3)
    mode = g.one_of("nearest", "linear", *(["cubic"] if len(shape) == 4 else []))
    how = g.one_of("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    attributes = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        attributes["nearest_mode"] = g.one_of("round_prefer_floor", "floor", "ceil")
    sizes = [*shape[:2], *[g.whole(1, 9) for _ in shape[2:]]]
    return "Resize", [x, "", "", g.constant(sizes)], attributes


def einsum(g: Growing) -> Recipe:
    x, shape = g.value(2, 3)
    if len(shape) == 2:
        equation, other = g.one_of(("ij,jk->ik", (shape[1], 2)), ("ij,ij->i", shape))
    else:
        equation, other = g.one_of(
            ("bij,bjk->bik", (shape[0], shape[2], 2)), ("...ij,j", shape[2:])
        )
    return "Einsum", [x, g.normal(*other)], {"equation": equation}


RECIPES: list[Callable[[Growing], Recipe]] = [
    unary, unary, binary, binary, transpose, reshape, unsqueeze, concat, slices, gather,
    gather_elements, scatter_elements, scatter_nd, pad, expand, tile, reduce, cumulative,
    along_an_axis, layer_norm, channel_norm, matmul, gemm, clip, where, convolution, pool, resize,
    einsum,
]  # fmt: skip


# ---- the test ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 60 else []) for seed in range(300)],
)
def test_random_graphs(seed: int) -> None:
    g = Growing(seed)
    wanted_nodes = 5 + seed % 6
    while len(g.nodes) < wanted_nodes:
        g.grow()
    names = [node.output[0] for node in g.nodes]
    model = g.model(names)
    wanted = session(model).run(None, g.inputs)
    fn, params = kn.onnx.load(model)
    inputs = list(g.inputs.values())
    for run in (fn, kn.jit(fn)):
        found = run(params, *inputs)
        for node, got, want in zip(g.nodes, found, wanted, strict=True):
            assert got.shape == want.shape, node.op_type
            assert got.dtype == want.dtype, node.op_type
            finite = np.abs(want[np.isfinite(want)])
            scale = finite.max(initial=0) + 1e-3
            np.testing.assert_allclose(
                got / scale, want / scale, rtol=2e-3, atol=2e-4, err_msg=node.op_type
            )
