"""Which element types ONNX Runtime 1.19 computes on a CPU, for each operator.

ONNX allows most operators more types than there are kernels for; a model with a node that has none
does not load. Each list was found by loading a model of the one node (onnxruntime 1.19.2, opset 21,
CPUExecutionProvider). What is not listed here takes all types.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOATS = "float16 float32 float64"
_SINGLE = "float16 float32"
_NUMBERS = "int32 int64 float16 float32 float64"
_INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64"
_MOST = f"bool int8 int32 int64 uint8 uint32 uint64 {_FLOATS}"


def _each(operators: str, types: str) -> dict[str, str]:
    return dict.fromkeys(operators.split(), types)


_TYPES: dict[str, str] = {
    **_each(
        "Acos Acosh Asin Asinh Atan Atanh AveragePool Conv ConvTranspose Cos Cosh Det Elu Erf "
        "Gelu GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish InstanceNormalization "
        "LeakyRelu Mean Mish PRelu Selu Sinh Softplus Softsign Tan",
        _SINGLE,
    ),
    **_each(
        "BatchNormalization Ceil DepthToSpace Exp Floor Gemm GroupNormalization IsInf IsNaN "
        "LayerNormalization Log LogSoftmax Reciprocal Round Sigmoid Sin Softmax Sqrt Sum Tanh DFT",
        _FLOATS,
    ),
    **_each(
        "Add CumSum Div Einsum Greater GreaterOrEqual Less LessOrEqual Mul Pow ReduceL1 "
        "ReduceLogSumExp ReduceSum ReduceSumSquare Sub TopK",
        _NUMBERS,
    ),
    **_each("And Not Or Xor", "bool"),
    **_each("BitwiseAnd BitwiseNot BitwiseOr BitwiseXor", _INTEGERS),
    **_each("Abs Mod Sign", f"{_INTEGERS} {_FLOATS}"),
    **_each("MatMul Max Min", f"uint32 uint64 {_NUMBERS}"),
    **_each("Expand Tile Compress", f"bool {_INTEGERS} {_FLOATS}"),
    **_each("ReduceMax ReduceMin", f"bool int8 int32 int64 uint8 {_FLOATS}"),
    "ArgMax": f"int8 int32 uint8 {_FLOATS}",
    "ArgMin": f"int32 {_FLOATS}",
    "BitShift": "uint8 uint32 uint64",
    "Celu": "float32",
    "Clip": f"int8 int32 int64 uint8 uint32 uint64 {_FLOATS}",
    "Equal": f"bool {_NUMBERS}",
    "EyeLike": f"int32 int64 uint64 {_FLOATS}",
    "MaxPool": f"int8 uint8 {_FLOATS}",
    "Neg": f"int8 {_NUMBERS}",
    "NonZero": "bool int32 int64 uint8 float16 float32",
    "Pad": _MOST,
    "Range": "int16 int32 int64 float32 float64",
    "ReduceL2": "int32 int64 float16 float32",
    "ReduceMean": f"int32 {_FLOATS}",
    "ReduceProd": "int32 int64 float16 float32",
    "Relu": f"int8 int32 {_FLOATS}",
    "Trilu": f"bool int64 {_FLOATS}",
    "Unique": f"int8 int64 {_FLOATS}",
    "Where": f"int32 int64 uint8 {_FLOATS}",
}
KERNELS = {op: frozenset(names.split()) for op, names in _TYPES.items()}

# In which order another type is tried; the first that holds all numbers of the wanted one.
_WIDER = ("uint8", "int32", "int64", "uint64", "float32", "float64")


def runs(op: str, dtype: np.dtype[Any]) -> bool:
    """Whether there is a kernel for this type."""
    return op not in KERNELS or dtype.name in KERNELS[op]


def stand_in(op: str, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The narrowest type with a kernel that holds every number of `dtype`; None where none does."""
    for name in _WIDER:
        if name == "float64" and dtype.kind in "iu" and dtype.itemsize == 8:
            continue  # NumPy calls that cast safe, but 64 bits do not fit into 53
        inexact = name.startswith("float") and dtype.name in ("int64", "uint64")  # NumPy: "safe"
        if name in KERNELS[op] and np.can_cast(dtype, name, "safe") and not inexact:
            return np.dtype(name)
    if dtype.name == "bfloat16" and "float32" in KERNELS[op]:
        return np.dtype(np.float32)
    return None
