"""ONNX's operators of numbers as Kinone loads them: as in ONNX Runtime, compiled and mapped, and
their derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import kinone as kn
import kinone.onnx
from kinone.testing import check_grads

Tensor = np.ndarray[Any, Any]


def one_node(
    op: str,
    inputs: Sequence[Tensor | None],
    opset: int = 21,
    fixed: Sequence[int] = (),
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model with one node; the inputs whose places are `fixed` are initialisers."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name="it", **attributes)
    elements = [0 if x is None else helper.np_dtype_to_tensor_dtype(x.dtype) for x in inputs]
    ports = [
        helper.make_tensor_value_info(f"x{i}", elements[i], x.shape)
        for i, x in enumerate(inputs)
        if x is not None and i not in fixed
    ]
    graph = helper.make_graph(
        [node],
        "graph",
        ports,
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
        [numpy_helper.from_array(inputs[i], f"x{i}") for i in fixed],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def in_runtime(model: onnx.ModelProto, *inputs: Tensor) -> list[Tensor]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    running = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    named = {port.name: x for port, x in zip(running.get_inputs(), inputs, strict=True)}
    found: list[Tensor] = running.run(None, named)
    return found


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


@dataclass
class Case:
    """A node with its inputs: arrays, or the shapes of normal ones."""

    op: str
    inputs: Sequence[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 21
    fixed: Sequence[int] = ()
    outputs: int = 1
    positive: bool = False  # logarithms and roots
    smooth: bool = True  # is differentiated
    order: int = 2
    vmap: bool = True
    rtol: float = 2e-6

    def __str__(self) -> str:
        attributes = ",".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.op}-{self.opset}({attributes})"

    def arrays(self, dtype: Any) -> list[Tensor | None]:
        rng = np.random.default_rng(3)
        found: list[Tensor | None] = []
        for each in self.inputs:
            if isinstance(each, tuple):
                x = rng.normal(size=each)
                found.append(np.asarray(0.2 + np.abs(x) if self.positive else x, dtype))
            else:
                found.append(each if each is None else np.asarray(each))
        return found

    def model(self, arrays: Sequence[Tensor | None]) -> onnx.ModelProto:
        return one_node(self.op, arrays, self.opset, self.fixed, self.outputs, **self.attributes)

    def given(self, arrays: Sequence[Tensor | None]) -> list[Tensor]:
        return [x for i, x in enumerate(arrays) if x is not None and i not in self.fixed]


def ints(*values: int) -> Tensor:
    return np.array(values, np.int64)


def words(text: str) -> list[str]:
    return text.split()


REDUCTIONS = words(
    "ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
    "ReduceSumSquare ReduceMax ReduceMin"
)
IMAGE = (2, 4, 3, 5)
TIES = np.array([[3, 1, 3, 2, 1], [0, 0, 0, 0, 0]], np.float32)
WHOLE = np.array([[-7, -3, 0], [5, 2, 9]], np.int32)
DIVISOR = np.array([2, -3, 4], np.int32)
BYTES = np.array([[1, 200, 7], [255, 0, 90]], np.uint8)
BITS = np.array([[0, 1, 5], [3, 8, 9]], np.uint8)
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 1.5], np.float32)

SMOOTH = [
    *[Case(op, [(3, 4)]) for op in words("Exp Sin Cos Tanh Sinh Cosh Atan Asinh Erf Neg")],
    *[Case(op, [(3, 4)], positive=True) for op in words("Log Sqrt Reciprocal Abs")],
    *[Case(op, [(2, 3)]) for op in words("Sigmoid Softplus Softsign Mish")],
    *[Case(op, [(2, 3), (3,)]) for op in words("Add Sub Mul")],
    Case("Tan", [np.array([0.5, -1.0], np.float32)], rtol=1e-5),
    Case("Acosh", [np.array([1.5, 3.0], np.float32)]),
    *[Case(op, [np.array([0.5, -0.3], np.float32)]) for op in ("Asin", "Acos", "Atanh")],
    Case("Div", [(2, 3), (3,)], positive=True),
    Case("Pow", [(2, 3), (3,)], positive=True),
    Case("Pow", [(2, 3), np.array(3, np.int64)]),
    Case("Pow", [(2, 3), np.array([[[2.0]]], np.float32)], fixed=(1,), positive=True),
    Case("Pow", [(3,), np.array([[[2]]], np.int64)], fixed=(1,)),
    *[Case(op, [(2, 3), (3,), (2, 1)]) for op in words("Sum Mean Max Min")],
    Case("Mean", [(2, 3)]),
    Case("Sum", [(2, 3), (2, 3)], opset=7),
    Case("Mod", [np.array([5.5, -7.2], np.float32), np.array([2, 3], np.float32)], {"fmod": 1}),
    Case("Clip", [(4, 5)], {"min": -0.3, "max": 0.6}, opset=7),
    Case("Clip", [(4, 5)], {"max": 0.6}, opset=10),
    Case("Clip", [(4, 5), np.float32(-0.3), np.float32(0.6)]),
    Case("Clip", [(4, 5), None, np.float32(0.6)], opset=11),
    Case("Clip", [(4, 5), np.float32(0), np.float32(6)], fixed=(1, 2)),
    Case("Clip", [(4, 5), np.float32(2), np.float32(-1)]),  # they cross
    Case("Relu", [(2, 3)]),
    Case("LeakyRelu", [(2, 3)], {"alpha": 0.2}),
    Case("LeakyRelu", [(2, 3)]),
    Case("PRelu", [(2, 3, 4), (3, 1)]),
    Case("PRelu", [(2, 3, 4), (1,)], opset=7),
    Case("Elu", [(2, 3)], {"alpha": 0.7}),
    Case("Celu", [(2, 3)], {"alpha": 0.7}),
    Case("Selu", [(2, 3)]),
    Case("Selu", [(2, 3)], {"alpha": 1.2, "gamma": 2.0}),
    Case("ThresholdedRelu", [(2, 3)], {"alpha": 0.3}),
    Case("Shrink", [(2, 6)], {"lambd": 0.4, "bias": 0.2}),
    Case("HardSigmoid", [(2, 6)]),
    Case("HardSigmoid", [(2, 6)], {"alpha": 1 / 6, "beta": 0.4}),
    Case("HardSwish", [(2, 6)]),
    Case("Gelu", [(2, 6)], rtol=1e-5),
    Case("Gelu", [(2, 6)], {"approximate": "tanh"}, rtol=1e-5),
    # Softmax and its kin: before opset 13 over all axes from one on.
    *[
        Case(op, [(2, 3, 4)], {"axis": axis} if axis is not None else {}, opset)
        for op in ("Softmax", "LogSoftmax")
        for opset in (7, 11, 13)
        for axis in (None, 0, 2, *([-2] if opset > 7 else []))
    ],
    # Reductions: axes as an attribute, then as an input.
    *[
        Case(op, [(2, 3, 4)], {"keepdims": keep, **({"axes": axes} if axes else {})}, opset,
             positive=True, order=1)
        for op in REDUCTIONS
        for opset in (7, 11)
        for keep, axes in ((1, [1]), (0, [2, 0]), (0, None))
    ],
    *[
        Case(op, [(2, 3, 4), ints(*axes)], {"keepdims": keep}, 18, fixed=(1,), positive=True)
        for op in REDUCTIONS
        for keep, axes in ((1, [-1]), (0, [0, 2]), (1, []))
    ],
    Case("ReduceSum", [(2, 3)], {"noop_with_empty_axes": 1}),
    Case("ReduceMean", [()], opset=18),
    *[
        Case(op, [(2, 3, 4), np.array(axis)], {"exclusive": exclusive, "reverse": reverse},
             fixed=(1,))
        for op in ("CumSum",)
        for axis in (1, -1)
        for exclusive in (0, 1)
        for reverse in (0, 1)
    ],
    Case("TopK", [(3, 6), ints(3)], {"axis": 1}, fixed=(1,), outputs=2),
    Case("TopK", [(3, 6), ints(2)], {"axis": 0, "largest": 0}, fixed=(1,), outputs=2),
    Case("TopK", [(3, 6)], {"k": 2}, opset=9, outputs=2),
    # Products.
    Case("MatMul", [(2, 1, 3, 4), (5, 4, 2)], rtol=1e-5),
    Case("MatMul", [(4,), (4, 2)], rtol=1e-5),
    Case("MatMul", [(3, 4), (4,)], rtol=1e-5),
    Case("Gemm", [(3, 4), (4, 2), (2,)], rtol=1e-5),
    Case("Gemm", [(4, 3), (2, 4), (3, 1)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
         rtol=1e-5),
    Case("Gemm", [(3, 4), (4, 2)], {"alpha": 0.5}, rtol=1e-5),
    Case("Gemm", [(3, 4), (4, 2), ()], opset=9, rtol=1e-5),
    Case("Einsum", [(2, 3, 4), (2, 4, 5)], {"equation": "bij , bjk -> bik"}, rtol=1e-5),
    Case("Einsum", [(2, 3, 4), (4, 5)], {"equation": "...j,jk"}, rtol=1e-5),
    Case("Einsum", [(3, 3)], {"equation": "ii->i"}),
    Case("Det", [(2, 3, 3)], rtol=1e-4),
    # Normalisation.
    *[
        Case("BatchNormalization", [IMAGE, (4,), (4,), (4,), (4,)], {"epsilon": 1e-3}, opset,
             positive=True, order=1, rtol=1e-5)
        for opset in (7, 9, 14, 15)
    ],
    Case("BatchNormalization", [(6, 3), (3,), (3,), (3,), (3,)], positive=True, order=1, rtol=1e-5),
    Case("BatchNormalization", [IMAGE, (4,), (4,), (4,), (4,)],
         {"training_mode": 1, "momentum": 0.7}, 15, outputs=3, positive=True, order=1, rtol=1e-5),
    Case("BatchNormalization", [(6,), (1,), (1,), (1,), (1,)], positive=True, order=1, rtol=1e-5),
    Case("InstanceNormalization", [IMAGE, (4,), (4,)], rtol=1e-5, order=1),
    Case("InstanceNormalization", [(2, 3, 7), (3,), (3,)], {"epsilon": 1e-2}, rtol=1e-5, order=1),
    Case("LayerNormalization", [(2, 3, 4), (4,), (4,)], rtol=1e-5, order=1),
    Case("LayerNormalization", [(2, 3, 4), (3, 4)], {"axis": 1, "epsilon": 1e-3}, rtol=1e-5,
         order=1),
    Case("GroupNormalization", [IMAGE, (2,), (2,)], {"num_groups": 2}, 18, rtol=1e-5, order=1),
    Case("GroupNormalization", [IMAGE, (4,), (4,)], {"num_groups": 2}, 21, rtol=1e-5, order=1),
    Case("MeanVarianceNormalization", [IMAGE], rtol=1e-5, order=1),
    Case("MeanVarianceNormalization", [IMAGE], {"axes": [1, 2]}, rtol=1e-5, order=1),
    Case("LpNormalization", [(2, 3, 4)], {"axis": 1, "p": 1}),
    Case("LpNormalization", [(2, 3, 4)]),
    *[
        Case("LRN", [(2, 7, 3, 3)], {"size": size, "alpha": 0.5, "bias": 1.5, "beta": 0.6})
        for size in (1, 3, 5, 13, 99)  # an even size has other neighbours in ONNX Runtime
    ],
    # Losses.
    *[
        Case(op, [(3, 4, 2), np.array([[0, 3], [2, 1], [1, 1]]), *([(4,)] * weighted)],
             {"reduction": reduction, **({} if ignored is None else {"ignore_index": ignored})},
             13, positive=True, order=1, rtol=1e-5)
        for op in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
        for weighted in (0, 1)
        for reduction in ("none", "sum", "mean")
        for ignored in (None, 1)
    ],
    Case("SoftmaxCrossEntropyLoss", [(3, 5), np.array([0, -1, 2])], {"ignore_index": -1}, 13,
         outputs=2, rtol=1e-5),
    Case("Dropout", [(2, 3)], opset=7),
    Case("Dropout", [(2, 3)], {"ratio": 0.3}, opset=10),  # ONNX Runtime's mask is False here
    Case("Dropout", [(2, 3), np.float32(0.3)], outputs=2),
    Case("Dropout", [(2, 3), np.float32(0), np.array(True)], outputs=2, fixed=(1, 2)),
]  # fmt: skip

CONSTANT = [
    *[Case(op, [(4, 5)], smooth=False) for op in words("Ceil Floor Sign")],
    Case("Sign", [WHOLE]),
    Case("Round", [np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, np.inf], np.float32)]),
    Case("IsNaN", [SPECIAL]),
    *[
        Case("IsInf", [SPECIAL], {"detect_negative": low, "detect_positive": high})
        for low in (0, 1)
        for high in (0, 1)
    ],
    Case("Erf", [SPECIAL]),
    Case("Abs", [SPECIAL]),
    Case("Abs", [WHOLE]),
    Case("Neg", [WHOLE]),
    Case("Div", [WHOLE, DIVISOR]),
    Case("Div", [BYTES, np.array([3, 7, 2], np.uint8)], opset=14),
    *[Case("Mod", [WHOLE, DIVISOR], {"fmod": fmod}) for fmod in (0, 1)],
    Case("Mod", [np.array([5.5, -5.5], np.float32), np.array([2, 2], np.float32)], {"fmod": 1}),
    *[Case(op, [WHOLE, DIVISOR]) for op in words("Add Sub Mul Max Min")],
    Case("Pow", [WHOLE, np.array([2, 0, 1], np.int32)]),
    Case("Pow", [WHOLE, np.array([2.0, 0.5, 1.0], np.float32)], opset=15),
    Case("Pow", [np.array([2, 1, -1, 3], np.int64), np.array([3, -2, -3, 0], np.int64)]),
    Case("Pow", [np.array([2, 3], np.float32), np.array([2, -1], np.int64)]),
    Case("Max", [np.array([np.nan, 1], np.float32), np.array([0, np.nan], np.float32)]),
    Case("Min", [BYTES, np.array([100], np.uint8)]),
    Case("Clip", [WHOLE, np.int32(-2), np.int32(4)], opset=12),
    Case("Clip", [BYTES, np.uint8(9), None]),
    *[
        Case(op, [(2, 3), np.zeros(3, np.float32)], smooth=False)
        for op in words("Greater Less GreaterOrEqual LessOrEqual Equal")
    ],
    *[Case(op, [WHOLE, DIVISOR]) for op in words("Greater Less GreaterOrEqual LessOrEqual")],
    Case("Equal", [WHOLE, WHOLE[:1]]),
    *[Case(op, [WHOLE > 0, DIVISOR > 0]) for op in words("And Or Xor Equal")],
    Case("Not", [WHOLE > 0]),
    *[Case(op, [BYTES, BITS]) for op in words("BitwiseAnd BitwiseOr BitwiseXor")],
    Case("BitwiseNot", [WHOLE]),
    *[
        Case("BitShift", [BYTES, np.array([1, 2, 7], np.uint8)], {"direction": way})
        for way in ("LEFT", "RIGHT")
    ],
    *[
        Case(op, [TIES], {"axis": axis, "keepdims": keep, "select_last_index": last}, 13)
        for op in ("ArgMax", "ArgMin")
        for axis in (0, -1)
        for keep in (0, 1)
        for last in (0, 1)
    ],
    Case("ArgMax", [TIES], opset=7),
    *[
        Case("TopK", [TIES, ints(k)], {"largest": largest}, fixed=(1,), outputs=2)
        for k in (1, 4, 5)
        for largest in (0, 1)
    ],
    Case("TopK", [np.array([3, 250, 250, 0], np.int64), ints(2)], fixed=(1,), outputs=2),
    *[
        Case(op, [WHOLE, ints(1)], opset=18, fixed=(1,))
        for op in REDUCTIONS if op not in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
    ],
    Case("ReduceMax", [WHOLE > 0, ints(0)], opset=20, fixed=(1,)),
    Case("ReduceMax", [np.array([[-3, 2]], np.int8), ints(1)], opset=20, fixed=(1,)),
    Case("CumSum", [WHOLE, np.array(1)], fixed=(1,)),
    Case("CumSum", [WHOLE, np.array(0)], {"exclusive": 1, "reverse": 1}, fixed=(1,)),
    *[Case("Hardmax", [TIES], opset=opset) for opset in (7, 11, 13)],
    Case("Hardmax", [TIES], {"axis": 0}, opset=13),
    Case("MatMul", [WHOLE, WHOLE.T.copy()]),
    # Quantisation.
    Case("QuantizeLinear", [(3, 40), np.float32(0.02), np.uint8(117)], smooth=False),
    Case("QuantizeLinear", [(3, 40), np.float32(0.02)], opset=10, smooth=False),
    Case("QuantizeLinear", [np.array([0.5, 1.5, 2.5, -0.5], np.float32), np.float32(1),
                            np.int8(3)]),
    Case("QuantizeLinear", [np.array([np.inf, -np.inf, 1e30], np.float32), np.float32(1),
                            np.int8(3)]),
    Case("QuantizeLinear", [(3, 40), np.array([0.02, 0.05, 1], np.float32), np.array([3, 9, 0],
                            np.int8)], {"axis": 0}, smooth=False),
    Case("QuantizeLinear", [(4, 3), np.float32(1e-4), np.int16(5)], smooth=False),
    Case("DequantizeLinear", [BYTES, np.float32(0.02), np.uint8(117)]),
    Case("DequantizeLinear", [BYTES, np.float32(0.02)], opset=10),
    Case("DequantizeLinear", [BYTES, np.array([1, 2, 0.5], np.float32), np.array([0, 4, 90],
                              np.uint8)], opset=13),
    Case("DequantizeLinear", [np.arange(-6, 6, dtype=np.int8).reshape(2, 6),
                              np.array([[1, 2], [3, 4]], np.float32)], {"block_size": 3}),
    Case("DequantizeLinear", [np.array([2**25 + 1, -9], np.int32), np.float32(0.5)]),
    Case("DynamicQuantizeLinear", [(3, 7)], outputs=3, smooth=False, opset=11),
    Case("DynamicQuantizeLinear", [np.zeros((2, 2), np.float32)], outputs=3, opset=11),
    Case("DynamicQuantizeLinear", [np.array([3, 4], np.float32)], outputs=3, opset=11),
    Case("MatMulInteger", [BYTES, BYTES.T.copy().view(np.int8), np.uint8(12), np.int8(-3)]),
    Case("MatMulInteger", [BYTES, BYTES.T.copy()]),
    Case("MatMulInteger", [BYTES, BYTES.T.copy().view(np.int8), np.uint8(12),
                           np.array([-3, 2], np.int8)]),
    Case("QLinearMatMul", [BYTES, np.float32(0.02), np.uint8(113), BYTES.T.copy(), np.float32(0.01),
                           np.uint8(90), np.float32(0.05), np.uint8(120)]),
    Case("QLinearMatMul", [BYTES, np.float32(0.02), np.uint8(113), BYTES.T.copy().view(np.int8),
                           np.array([0.01, 0.02], np.float32), np.array([0, 0], np.int8),
                           np.float32(0.05), np.uint8(120)]),
    Case("ConvInteger", [np.arange(2 * 3 * 5 * 5, dtype=np.uint8).reshape(2, 3, 5, 5),
                         np.arange(4 * 3 * 9, dtype=np.uint8).reshape(4, 3, 3, 3), np.uint8(17),
                         np.uint8(5)], {"pads": [1, 0, 1, 0], "strides": [2, 1]}, vmap=False),
]  # fmt: skip


def quantised_conv(**attributes: Any) -> Case:
    rng = np.random.default_rng(0)
    return Case(
        "QLinearConv",
        [
            rng.integers(0, 256, (2, 4, 6, 6)).astype(np.uint8),
            np.float32(0.02),
            np.uint8(121),
            rng.integers(-127, 128, (6, 4 // attributes.get("group", 1), 3, 3)).astype(np.int8),
            rng.uniform(0.001, 0.01, 6).astype(np.float32),
            np.zeros(6, np.int8),
            np.float32(0.05),
            np.uint8(128),
            rng.integers(-900, 900, 6).astype(np.int32),
        ],
        attributes,
        10,
        fixed=(1, 2, 3, 4, 5, 6, 7, 8),
    )


CONSTANT += [
    quantised_conv(pads=[1, 1, 1, 1]),
    quantised_conv(strides=[2, 2], auto_pad="SAME_UPPER"),
    quantised_conv(group=2, dilations=[2, 1]),
]


def agree(got: Sequence[Any], want: Sequence[Tensor], rtol: float) -> None:
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        one = np.asarray(one)
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol, rtol)


@pytest.mark.parametrize("case", [*SMOOTH, *CONSTANT], ids=str)
def test_as_in_onnx_runtime(case: Case) -> None:
    arrays = case.arrays(np.float32)
    model, given = case.model(arrays), case.given(arrays)
    want = in_runtime(model, *given)
    fn, params = kn.onnx.load(model)
    with np.errstate(all="ignore"):
        agree(as_list(fn(params, *given)), want, case.rtol)


@pytest.mark.parametrize("case", [*SMOOTH, *CONSTANT], ids=str)
def test_compiled_and_mapped(case: Case) -> None:
    arrays = case.arrays(np.float32)
    given = case.given(arrays)
    fn, params = kn.onnx.load(case.model(arrays))

    def run(*inputs: Any) -> Any:
        return fn(params, *inputs)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        want = [np.asarray(each) for each in as_list(run(*given))]
        if given:
            agree(as_list(kn.jit(run)(*given)), want, case.rtol)
        if given and case.vmap:
            others = [np.stack([x, x[::-1] if x.ndim else x]) for x in given]
            found = as_list(kn.vmap(run)(*others))
            agree([np.asarray(each)[0] for each in found], want, case.rtol)
            second = [np.asarray(each) for each in as_list(run(*[x[1] for x in others]))]
            agree([np.asarray(each)[1] for each in found], second, case.rtol)


@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_derivatives(case: Case) -> None:
    arrays = [
        x.astype(np.float64) if x is not None and x.dtype == np.float32 else x
        for x in case.arrays(np.float64)
    ]
    fn, params = kn.onnx.load(case.model(arrays))
    given = case.given(arrays)

    def run(params: Any, *inputs: Any) -> Any:
        results = as_list(fn(params, *inputs))
        return [each for each in results if np.dtype(each.dtype).kind == "f"]

    # Exponents and bounds are differentiated with all else where they are inputs.
    check_grads(run, (params, *given), order=case.order, atol=1e-6, rtol=1e-6)


# ---- what ONNX Runtime has not, or does not do alike ---------------------------------------------


def loaded(op: str, inputs: Sequence[Tensor | None], **options: Any) -> Any:
    """The result of a node, with all inputs given but those that are `fixed`."""
    fn, params = kn.onnx.load(one_node(op, inputs, **options))
    fixed = options.get("fixed", ())
    with np.errstate(all="ignore"):
        return fn(params, *[x for i, x in enumerate(inputs) if x is not None and i not in fixed])


def in_reference(op: str, inputs: Sequence[Tensor], **options: Any) -> Tensor:
    model = one_node(op, inputs, **options)
    fixed = options.get("fixed", ())
    names = {f"x{i}": x for i, x in enumerate(inputs) if i not in fixed}
    with np.errstate(all="ignore"):
        found: Tensor = ReferenceEvaluator(model).run(None, names)[0]
    return found


@pytest.mark.parametrize(
    "dtype",
    ["int2", "uint2", "int4", "uint4", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
     "float8_e5m2fnuz", "float4_e2m1fn"],
)  # fmt: skip
def test_narrow_types_are_quantised_and_back(dtype: str) -> None:
    narrow = np.dtype(getattr(ml_dtypes, dtype))
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32) * 20
    x[0, :2] = np.inf, -np.inf
    scale, zero = np.array([1, 2, 0.5], np.float32), np.zeros(3, narrow)
    options: dict[str, Any] = {"opset": 25, "axis": 0}
    q = loaded("QuantizeLinear", [x, scale, zero], **options)
    want = in_reference("QuantizeLinear", [x, scale, zero], **options)
    assert q.dtype == narrow
    np.testing.assert_array_equal(
        q.astype(np.float32)[:, 2:], want.astype(np.float32)[:, 2:]
    )  # the reference casts an infinity to an integer by way of int32
    limits = (ml_dtypes.iinfo if "int" in dtype else ml_dtypes.finfo)(narrow)
    assert float(q[0, 0]) == limits.max
    assert float(q[0, 1]) == limits.min
    y = loaded("DequantizeLinear", [q, scale, zero], **options)
    np.testing.assert_array_equal(y, q.astype(np.float32) * scale[:, None])


def test_float8_without_saturation_overflows() -> None:
    x, one = np.array([1e6, 3.0], np.float32), np.float32(1)
    for dtype, check in ((ml_dtypes.float8_e4m3fn, np.isnan), (ml_dtypes.float8_e5m2, np.isinf)):
        q = loaded("QuantizeLinear", [x, one, np.array(0, dtype)], saturate=0)
        assert check(q.astype(np.float32)).tolist() == [True, False]


def test_blocks_of_scales() -> None:
    x = np.arange(14, dtype=np.float32).reshape(2, 7)
    scale, zero = np.array([[1, 2, 3], [4, 5, 6]], np.float32), np.full((2, 3), 2, np.uint8)
    spread = np.repeat(scale, 3, 1)[:, :7]
    q = loaded("QuantizeLinear", [x, scale, zero], block_size=3)
    np.testing.assert_array_equal(q, np.rint(x / spread) + 2)
    y = loaded("DequantizeLinear", [q, scale, zero], block_size=3)
    np.testing.assert_array_equal(y, (q.astype(np.float32) - 2) * spread)


def test_a_dequantised_weight_differentiates_the_input_under_jit() -> None:
    w = np.array([[1, -2], [3, 4]], ml_dtypes.int4)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
            helper.make_node("MatMul", ["x", "d"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.float32(0.5), "s")],
    )
    fn, params = kn.onnx.load(helper.make_model(graph))
    x = np.array([[1.0, 2.0]], np.float32)
    g = kn.jit(kn.grad(lambda params, x: np.sum(fn(params, x)), argnums=(0, 1)))(params, x)
    np.testing.assert_allclose(g[0]["s"], (x @ w.astype(np.float32)).sum())
    np.testing.assert_allclose(g[1], w.astype(np.float32).sum(1)[None] * 0.5)


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
def test_cumulative_product(reverse: int, exclusive: int) -> None:
    x = np.array([[2.0, 3.0, 4.0], [0.0, 5.0, -1.0]])
    axis = np.array(1)
    options: dict[str, Any] = {"opset": 26, "reverse": reverse, "exclusive": exclusive}
    y = loaded("CumProd", [x, axis], fixed=(1,), **options)
    flipped = x[:, ::-1] if reverse else x
    want = np.cumprod(np.c_[np.ones(2), flipped][:, :3] if exclusive else flipped, 1)
    np.testing.assert_array_equal(y, want[:, ::-1] if reverse else want)
    fn, params = kn.onnx.load(one_node("CumProd", [x, axis], fixed=(1,), **options))
    check_grads(lambda x: fn(params, x), (x,), order=1)


def test_newer_normalisation_and_gates() -> None:
    rng = np.random.default_rng(0)
    x, scale = rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4))
    y = loaded("RMSNormalization", [x, scale], opset=23, axis=1)
    mean = np.mean(x * x, (1, 2), keepdims=True)
    np.testing.assert_allclose(y, x / np.sqrt(mean + np.float32(1e-5)) * scale, 1e-12)
    half = loaded("RMSNormalization", [x.astype(np.float32), scale.astype(np.float16)], opset=23,
                  axis=1)  # fmt: skip
    assert half.dtype == np.float16
    y = loaded("Swish", [x], opset=24, alpha=0.5)
    np.testing.assert_allclose(y, x / (1 + np.exp(-0.5 * x)), 1e-12)
    y = loaded("SwiGLU", [x, 2 * x], opset=28)
    np.testing.assert_allclose(y, 2 * x * x / (1 + np.exp(-x)), 1e-12)


def test_layer_normalisation_gives_its_statistics() -> None:
    x, scale = np.random.default_rng(0).normal(size=(3, 5)), np.ones(5)
    y, mean, inverse = loaded("LayerNormalization", [x, scale, scale], outputs=3)
    np.testing.assert_allclose(y - 1, (x - mean) * inverse, 1e-5)
    assert mean.dtype == inverse.dtype == np.float32
    assert mean.shape == (3, 1)
    assert y.dtype == np.float64


@pytest.mark.parametrize("opset", [7, 9])
def test_batch_normalisation_with_outputs_is_in_training(opset: int) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    one, zero = np.ones(2), np.zeros(2)
    y, mean, var, now, spread = loaded(
        "BatchNormalization", [x, one, zero, one, zero], opset=opset, outputs=5, momentum=0.5
    )
    np.testing.assert_allclose(now, x.mean((0, 2)))
    np.testing.assert_allclose(spread, x.var((0, 2)))
    np.testing.assert_allclose(mean, (1 + now) / 2)
    np.testing.assert_allclose(var, spread / 2)
    scaled = (x - now[:, None]) / np.sqrt(spread + np.float32(1e-5))[:, None]
    np.testing.assert_allclose(y, scaled, 1e-12)


def test_batch_normalisation_of_every_element_on_its_own() -> None:
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    scale, bias, mean = np.random.default_rng(1).normal(size=(3, 2, 3))
    y = loaded("BatchNormalization", [x, scale, bias, mean, mean**2], opset=7, spatial=0)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(mean**2 + np.float32(1e-5)) * scale + bias)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal"])
def test_broadcasting_before_opset_7(op: str) -> None:
    a, b = np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 5)), np.array([1.0, 2.0, 3.0])
    y = loaded(op, [a, b], opset=6, broadcast=1, axis=1)
    np.testing.assert_array_equal(y, loaded(op, [a, b[:, None, None]]))
    c = a[0, 0, 0]
    np.testing.assert_array_equal(loaded(op, [a, c], opset=6, broadcast=1), loaded(op, [a, c]))
    with pytest.raises(kn.onnx.LoadError, match="at axis 3"):
        loaded(op, [a, a[0]], opset=6, broadcast=1, axis=3)


def test_reductions_of_nothing() -> None:
    x, axes = np.zeros((2, 0), np.float32), ints(1)
    options: dict[str, Any] = {"opset": 20, "fixed": (1,), "keepdims": 0}
    for op, value in (
        ("ReduceSum", 0), ("ReduceProd", 1), ("ReduceMax", -np.inf), ("ReduceMin", np.inf),
        ("ReduceL1", 0), ("ReduceL2", 0), ("ReduceSumSquare", 0), ("ReduceLogSum", -np.inf),
        ("ReduceLogSumExp", -np.inf),
    ):  # fmt: skip
        assert loaded(op, [x, axes], **options).tolist() == [value, value], op
    assert loaded("ReduceMax", [x.astype(np.int8), axes], **options).tolist() == [-128, -128]
    assert loaded("ReduceMin", [x.astype(bool), axes], **options).tolist() == [True, True]


def test_lengths_have_a_derivative_at_zero() -> None:
    x = np.zeros((2, 3))
    for op in ("ReduceL2", "LpNormalization", "MeanVarianceNormalization"):
        fn, params = kn.onnx.load(one_node(op, [x], axes=[0, 1]) if op == "MeanVariance"
                                  "Normalization" else one_node(op, [x], opset=13))  # fmt: skip
        g = kn.grad(lambda x, fn=fn, params=params: np.sum(fn(params, x)))(x)
        assert np.isfinite(g).all(), op


def test_a_square_of_negative_numbers_differentiates() -> None:
    """The exponent of `x ** 2.0` is no parameter, whose derivative would be NaN."""
    x = np.array([-2.0, 3.0], np.float32)
    fn, params = kn.onnx.load(one_node("Pow", [x, np.array(2, np.float32)], fixed=(1,)))
    assert not params
    np.testing.assert_allclose(kn.grad(lambda x: np.sum(fn(params, x)))(x), 2 * x)
    fn, params = kn.onnx.load(one_node("Pow", [x, np.array(2.5, np.float32)], fixed=(1,)))
    assert list(params) == ["x1"]


def test_shifts_beyond_the_width() -> None:
    x, by = np.array([-5, 5, -5, 7], np.int16), np.array([16, 20, 1, -1], np.int16)
    right = loaded("BitShift", [x, by], opset=28, direction="RIGHT")
    assert right.tolist() == [-1, 0, -3, 0]
    assert loaded("BitShift", [x, by], opset=28, direction="LEFT").tolist() == [0, 0, -10, 0]


def test_bfloat16_stays_bfloat16() -> None:
    x = np.array([[0.5, -1.5], [2.0, 0.25]], ml_dtypes.bfloat16)
    for op, count, options in (
        ("Elu", 1, {"opset": 22, "alpha": 0.3}), ("LeakyRelu", 1, {"alpha": 0.3}),
        ("Gemm", 2, {"alpha": 0.5}), ("Einsum", 2, {"equation": "ij,jk->ik", "opset": 28}),
        ("Mean", 2, {}), ("ReduceMean", 1, {}), ("Softmax", 1, {}), ("MatMul", 2, {}),
        ("HardSigmoid", 1, {"opset": 22}),
    ):  # fmt: skip
        y = loaded(op, [x] * count, **options)
        wide = loaded(op, [x.astype(np.float32)] * count, **options)
        assert y.dtype == x.dtype, op
        np.testing.assert_allclose(y.astype(np.float32), wide, 0.02, 0.02)


def test_products_of_half_precision_are_rounded_once() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 40, 40)).astype(np.float16)
    want = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.float16)
    for op, options in (("MatMul", {}), ("Gemm", {}), ("Einsum", {"equation": "ij,jk"})):
        np.testing.assert_allclose(loaded(op, [a, b], **options), want, 1e-3)


@pytest.mark.parametrize("window", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(window: str) -> None:
    for options in ({}, {"periodic": 0}, {"output_datatype": TensorProto.DOUBLE}):
        model = one_node(window, [np.array(9)], fixed=(0,), **options)
        fn, params = kn.onnx.load(model)
        got, want = fn(params), in_runtime(model)[0]
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, 1e-6, 1e-6)
    assert loaded(window, [np.array(1)], fixed=(0,), periodic=0).shape == (1,)
    assert loaded(window, [np.array(0)], fixed=(0,)).shape == (0,)


# ---- random numbers ------------------------------------------------------------------------------


def test_random_numbers_of_a_seed_are_those_of_the_reference() -> None:
    x = np.random.default_rng(0).uniform(size=(40, 5))
    for op, inputs, options in (
        ("RandomUniform", [], {"shape": [3, 4], "low": -1.0, "high": 3.0}),
        ("RandomNormal", [], {"shape": [3, 4], "mean": 2.0, "scale": 0.5}),
        ("RandomUniformLike", [x], {"high": 2.0}),
        ("RandomNormalLike", [x], {"dtype": TensorProto.FLOAT}),
        ("Bernoulli", [x], {}),
        ("Bernoulli", [x], {"dtype": TensorProto.INT32}),
    ):
        got = loaded(op, inputs, seed=5.0, **options)
        want = in_reference(op, inputs, seed=5.0, **options)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, 1e-6)


def test_random_numbers_without_a_seed_differ_between_nodes_only() -> None:
    names = ["a", "b"]
    nodes = [helper.make_node("RandomNormal", [], [n], name=n, shape=[50]) for n in names]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [50]) for n in names]
    fn, params = kn.onnx.load(helper.make_model(helper.make_graph(nodes, "g", [], ports)))
    a, b = fn(params)
    assert np.abs(a - b).max() > 0.1
    np.testing.assert_array_equal(fn(params)[0], a)


def test_multinomial_draws_as_often_as_is_probable() -> None:
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    drawn = loaded("Multinomial", [np.log(p + 1e-30)], sample_size=4000, seed=1.0)
    assert drawn.shape == (2, 4000)
    assert drawn.dtype == np.int32
    shares = np.stack([(drawn == i).mean(1) for i in range(3)], 1)
    np.testing.assert_allclose(shares, p, atol=0.03)


def test_dropout_in_training() -> None:
    x, ratio, training = np.ones((300, 4)), np.array(0.25), np.array(True)
    y, mask = loaded("Dropout", [x, ratio, training], outputs=2, seed=3)
    assert mask.dtype == bool
    assert 0.7 < mask.mean() < 0.8
    np.testing.assert_allclose(y, mask / 0.75)
    fn, params = kn.onnx.load(one_node("Dropout", [x, ratio, training], outputs=2, seed=3))
    for flag in (True, False):  # a flag that is not known while the program is traced
        found = kn.jit(lambda *inputs: fn(params, *inputs))(x, ratio, np.array(flag))
        np.testing.assert_allclose(found[0], y if flag else x)
        np.testing.assert_array_equal(found[1], mask if flag else np.ones_like(mask))
    g = kn.grad(lambda x: np.sum(fn(params, x, ratio, training)[0]))(x)
    np.testing.assert_allclose(g, mask / 0.75)


def test_dropout_before_opset_7() -> None:
    x = np.ones((50, 4))
    assert loaded("Dropout", [x], opset=6, is_test=1).tolist() == x.tolist()
    y, mask = loaded("Dropout", [x], opset=6, outputs=2)
    np.testing.assert_array_equal(y, 2 * mask)
    assert mask.dtype == x.dtype


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (Case("ReduceSum", [(2, 3), ints(2)], fixed=(1,)), "axis 2 of an input with 2 axes"),
        (Case("ReduceSum", [(2, 3), ints(0, 0)], fixed=(1,)), "an axis twice"),
        (Case("TopK", [(2, 3), ints(4)], fixed=(1,), outputs=2), "wants 4 of 3 elements"),
        (Case("ArgMax", [(2, 0)], {"axis": 1}), "position in nothing"),
        (Case("Gemm", [(2, 3, 4), (4, 2)]), "not two matrices"),
        (Case("GroupNormalization", [IMAGE, (4,), (4,)], {"num_groups": 3}), "3 groups of 4"),
        (Case("BatchNormalization", [IMAGE, (3,), (4,), (4,), (4,)]), "for each channel"),
        (Case("LpNormalization", [(2, 3)], {"p": 3}), "neither 1 nor 2"),
        (Case("QuantizeLinear", [(2, 3), (2,)]), "scale or zero point of shape"),
        (Case("SoftmaxCrossEntropyLoss", [(2, 3), np.array([1])]), "does not fit"),
        (Case("BitShift", [BYTES, BYTES], {"direction": "UP"}), "neither LEFT nor RIGHT"),
        (Case("RandomNormal", [], {"shape": [-1]}), "has the shape"),
        (Case("LRN", [IMAGE], {"size": 0}), "has the size 0"),
        (Case("QuantizeLinear", [(2, 3), np.float32(1)], {"output_dtype": 1}), "no quantised type"),
        (Case("DequantizeLinear", [BYTES, np.float32(1)], {"output_dtype": 6}, 23), "dequantises"),
        (Case("RandomUniform", [], {"shape": [1], "dtype": 7}), "no floating-point type"),
        (Case("Softmax", [(2, 3)], {"axis": 4}, 11), "axis 4"),
    ],
    ids=str,
)
def test_what_cannot_be_computed_says_so(case: Case, text: str) -> None:
    arrays = case.arrays(np.float32)
    fn, params = kn.onnx.load(case.model(arrays))
    with pytest.raises(kn.onnx.LoadError, match=text):
        fn(params, *case.given(arrays))


def test_numbers_that_jit_has_not_got() -> None:
    x, axes = np.ones((2, 3)), ints(1)
    fn, params = kn.onnx.load(one_node("ReduceSum", [x, axes]))
    with pytest.raises(kn.onnx.LoadError, match="needs the numbers of its axes"):
        kn.jit(lambda x, axes: fn(params, x, axes))(x, axes)
