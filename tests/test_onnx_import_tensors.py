"""Tensor operators in every version of theirs, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_runtime
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper

import kinone as kn
import kinone.onnx

SMALLEST, LARGEST = -(2**63), 2**63 - 1


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


X, EMPTY = normal(2, 3, 4), normal(0, 3)
SEVEN = helper.make_tensor("value", TensorProto.INT64, [1], [7])
TEXTS = np.array(["1.5", "-3", "NaN", "INF", "-inf"], object)
FLOATS = np.array([0.4, -1.7, 3.5, 255.6, -0.0, 1e10], np.float32)
WIDTHS = [0, 1, 2, 1, 0, 1]

# The operator, its inputs, the versions, and its attributes; "outputs" is how many it has.
CASES = [
    ("Slice", [X], (7, 9), {"starts": [0, 1], "ends": [1, 3], "axes": [0, 2]}),
    ("Slice", [X], (7, 9), {"starts": [-2, -100], "ends": [100, -1]}),
    ("Slice", [X, ints(0, 1), ints(1, 3)], (10, 13), {}),
    *[
        ("Slice", [X, *[np.array(each, np.int64) for each in where]], (10, 11, 13, 17), {})
        for where in [
            ((1, 0), (3, 2), (1, 2), (1, 1)),
            ((-1, -1), (-100, -100), (1, 2), (-1, -2)),
            ((5,), (0,), (-1,), (-1,)),
            ((SMALLEST,), (LARGEST,), (0,), (1,)),
            ((LARGEST,), (SMALLEST,), (2,), (-1,)),
            ((2,), (1,), (1,), (1,)),
            ((3,), (-5,), (2,), (-2,)),
        ]
    ],
    *[("Pad", [X], (7, 10), {"mode": m, "pads": WIDTHS}) for m in ("constant", "reflect", "edge")],
    *[
        ("Pad", [X, ints(*WIDTHS)], (11, 13, 18, 19, 21), {"mode": m})
        for m in ("constant", "reflect", "edge")
    ],
    ("Pad", [X], (7, 10), {"mode": "constant", "pads": WIDTHS, "value": 2.5}),
    ("Pad", [X, ints(0, -1, 2, 1, 0, -1)], (11, 13, 18), {}),
    ("Pad", [X, ints(*WIDTHS), np.float32(3)], (11, 13, 18), {}),
    ("Pad", [X, ints(*WIDTHS), np.array([3], np.float32)], (11, 13, 18), {}),
    ("Pad", [X, ints(1, 2), np.float32(3), ints(-1)], (18, 19, 21), {}),
    ("Pad", [X, ints(0, 0, 5, 0, 0, 6)], (19, 21), {"mode": "wrap"}),
    ("Squeeze", [normal(1, 2, 1)], (7, 11, 12), {"axes": [0]}),
    ("Squeeze", [normal(1, 2, 1)], (7, 13, 21), {}),
    ("Squeeze", [normal(1, 2, 1), ints(-1)], (13, 21), {}),
    ("Unsqueeze", [normal(2, 3)], (7, 11), {"axes": [0, 3]}),
    ("Unsqueeze", [normal(2, 3), ints(-1, 0)], (13, 21), {}),
    ("Unsqueeze", [normal(2, 3), ints(3, 0)], (13, 21), {}),
    ("Split", [normal(4, 6)], (7, 11), {"axis": 1, "split": [2, 4], "outputs": 2}),
    ("Split", [normal(4, 6)], (7, 11, 13), {"axis": 1, "outputs": 3}),
    ("Split", [normal(4, 6), ints(1, 5)], (13, 18), {"axis": -1, "outputs": 2}),
    ("Split", [normal(4, 7)], (18,), {"axis": 1, "num_outputs": 3, "outputs": 3}),
    ("Concat", [X, X], (7, 11, 13), {"axis": 2}),
    ("Concat", [X, X], (11, 13), {"axis": -2}),
    ("Reshape", [X, ints(0, -1)], (7, 13, 14, 19), {}),
    ("Reshape", [X, ints(4, 3, -1)], (7, 14), {}),
    ("Reshape", [EMPTY, ints(3, 0)], (14,), {"allowzero": 1}),
    ("Flatten", [X], (7, 9, 13), {"axis": 2}),
    ("Flatten", [X], (7, 13), {"axis": 0}),
    ("Flatten", [X], (11, 13), {"axis": -1}),
    ("Gather", [X, ints(0, 2)], (7,), {"axis": 1}),
    ("Gather", [X, ints(-1, 2)], (11, 13), {"axis": 1}),
    ("Gather", [X, np.array([[0], [1]], np.int32)], (7,), {"axis": 0}),
    ("GatherElements", [normal(3, 3), np.array([[0, 2], [1, -1]])], (11, 13), {"axis": 1}),
    ("GatherElements", [normal(3, 3), np.array([[0, 2]])], (11, 13), {"axis": 0}),
    ("GatherND", [X, np.array([[0, 1], [1, 2]])], (11, 12, 13), {}),
    ("GatherND", [X, np.array([[1], [-1]])], (12, 13), {"batch_dims": 1}),
    (
        "Scatter",
        [np.zeros((3, 3), np.float32), np.array([[1, 0, 2], [0, 2, 1]]), normal(2, 3)],
        (9, 10),
        {"axis": 0},
    ),
    (
        "ScatterElements",
        [np.zeros((3, 3), np.float32), np.array([[1, 0, -1], [0, 2, 1]]), normal(2, 3)],
        (11, 13, 16, 18),
        {"axis": 0},
    ),
    *[
        (
            "ScatterElements",
            [normal(3, 3), np.array([[1, 1], [0, 0]]), normal(2, 2)],
            (16, 18) if how in ("add", "mul") else (18,),
            {"axis": 1, "reduction": how},
        )
        for how in ("add", "mul", "max", "min")
    ],
    *[
        (
            "ScatterND",
            [normal(4, 3), np.array([[1], [1], [0]]), normal(3, 3)],
            (16, 18) if how in ("add", "mul") else (18,),
            {"reduction": how},
        )
        for how in ("add", "mul", "max", "min")
    ],
    ("ScatterND", [normal(4, 3), np.array([[1], [-1]]), normal(2, 3)], (11, 13, 16), {}),
    ("Expand", [normal(3, 1), ints(2, 1, 6)], (8, 13), {}),
    ("Expand", [normal(3, 1), ints(1)], (8, 13), {}),
    ("Tile", [normal(2, 3), ints(2, 2)], (7, 13), {}),
    ("OneHot", [ints(0, 2, -1, 5), ints(3), np.float32([2, 5])], (9, 11), {"axis": 0}),
    ("OneHot", [np.float32([[0, 2], [1, -4]]), np.float32(3), np.float32([2, 5])], (9, 11), {}),
    ("Shape", [X], (7, 13), {}),
    ("Shape", [X], (15, 19, 21), {"start": -2}),
    ("Shape", [X], (15,), {"start": 1, "end": -1}),
    ("Shape", [X], (15,), {"start": -9, "end": 9}),
    ("Size", [X], (7, 13), {}),
    ("ConstantOfShape", [ints(2, 3)], (9,), {}),
    ("ConstantOfShape", [np.zeros(0, np.int64)], (9,), {"value": SEVEN}),
    ("EyeLike", [normal(3, 4)], (9,), {"k": -1}),
    ("EyeLike", [np.zeros((3, 4), np.int32)], (9,), {"k": 1, "dtype": TensorProto.DOUBLE}),
    ("Range", [np.int32(10), np.int32(4), np.int32(-2)], (11,), {}),
    ("Range", [np.float32(1), np.float32(4), np.float32(0.5)], (11,), {}),
    ("Trilu", [X], (14,), {"upper": 0}),
    ("Trilu", [normal(3, 4), np.array(-1)], (14,), {}),
    ("Trilu", [normal(3, 4), ints(1)], (14,), {}),
    ("DepthToSpace", [normal(1, 8, 2, 3)], (7, 11, 13), {"blocksize": 2}),
    ("DepthToSpace", [normal(1, 8, 2, 3)], (11, 13), {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [normal(1, 2, 4, 6)], (7, 13), {"blocksize": 2}),
    ("Compress", [X, np.array([True, False, True])], (9, 11), {"axis": 1}),
    ("Compress", [X, np.array([False, True, True, True])], (9, 11), {}),
    ("NonZero", [np.float32([[1, 0], [0, 2]])], (9, 13), {}),
    ("Unique", [np.float32([3, 1, 1, 2])], (11,), {"sorted": 0, "outputs": 4}),
    ("Unique", [np.float32([[3, 1], [3, 1], [2, 0]])], (11,), {"axis": 0, "outputs": 4}),
    ("ReverseSequence", [normal(4, 2, 2), ints(1, 3)], (10,), {}),
    ("ReverseSequence", [normal(2, 4), ints(1, 3)], (10,), {"time_axis": 1, "batch_axis": 0}),
    ("Where", [np.array([True, False]), normal(2, 2), normal(2, 2)], (9, 16), {}),
    ("Transpose", [X], (7, 13), {}),
    ("Transpose", [X], (7, 13), {"perm": [2, 0, 1]}),
    *[
        ("Cast", [FLOATS], (7, 9, 13, 19, 21), {"to": getattr(TensorProto, to)})
        for to in ("INT64", "BOOL", "DOUBLE", "FLOAT16")
    ],
    ("Cast", [FLOATS[:4]], (9, 13), {"to": TensorProto.INT32}),
    ("Cast", [np.array([True, False])], (9, 13), {"to": TensorProto.FLOAT}),
    ("Cast", [ints(1, -2)], (9, 13), {"to": TensorProto.STRING}),
    ("Cast", [TEXTS], (9, 13), {"to": TensorProto.FLOAT}),
    ("Cast", [np.array(["15", "-3"], object)], (9, 13), {"to": TensorProto.INT32}),
    ("Cast", [np.array([300, -1, 5], np.int32)], (9, 13), {"to": TensorProto.UINT8}),
    ("Cast", [np.float32([np.nan, 0.5, 0])], (13,), {"to": TensorProto.BOOL}),
]


def test_a_long_range_of_half_precision():
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> '
        "g (float16 a, float16 b, float16 c) => (float16[N] y) { y = Range(a, b, c) }"
    )
    fn, params = kn.onnx.load(model)
    found = fn(params, *np.float16([0, 5000, 2]))
    assert_array_equal(found, np.arange(0, 5000, 2).astype(np.float16))


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("op", "inputs", "opset", "attributes"),
    [
        pytest.param(op, inputs, opset, attributes, id=f"{op}-{opset}-{number}")
        for number, (op, inputs, opsets, attributes) in enumerate(CASES)
        for opset in opsets
    ],
)
def test_an_operator_in_a_version(op, inputs, opset, attributes):
    count = attributes.get("outputs", 1)
    given = {key: value for key, value in attributes.items() if key != "outputs"}
    feeds = {f"input{i}": np.asarray(x) for i, x in enumerate(inputs)}
    names = [f"output{i}" for i in range(count)]
    graph = helper.make_graph(
        [helper.make_node(op, list(feeds), names, **given)],
        "g",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in feeds.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    fn, params = kn.onnx.load(model)
    found = fn(params, *feeds.values())
    wanted = onnx_runtime.session(model).run(None, feeds)
    for a, b in zip(found if count > 1 else [found], wanted, strict=True):
        assert_array_equal(a, b)
        assert np.asarray(a).dtype == b.dtype
