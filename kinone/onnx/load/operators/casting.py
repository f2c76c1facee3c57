"""Casts between element types, the narrow floats and integers of ml_dtypes among them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .... import ops
from ....core import Array, Tracer, shape_dtype
from ....extend import notrace_primitive
from ..registry import Node, operator
from ..tensors import dtype_of, is_narrow

_FLOAT8 = {
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
}


@operator("Cast")
def cast(node: Node, x: Array) -> Array:
    return cast_to(node, x, node.attribute("to"))


@operator("CastLike")
def cast_like(node: Node, x: Array, target: Array) -> Array:
    from_texts = np.asarray(target).dtype if not isinstance(target, Tracer) else target.dtype
    if from_texts.kind in "OSU":
        return cast_to(node, x, TensorProto.STRING)
    to = helper.np_dtype_to_tensor_dtype(shape_dtype(target).dtype)
    return cast_to(node, x, to)


def cast_to(node: Node, x: Array, to: Any) -> Array:
    """`x` in an element type of ONNX (before opset 6 a text such as "FLOAT")."""
    if isinstance(to, str):
        to = TensorProto.DataType.Value(to.upper())
    saturate = bool(node.attribute("saturate", 1))
    if not isinstance(x, Tracer):
        x = np.asarray(x)
        if to == TensorProto.STRING:
            return _texts(x)
        if x.dtype.kind in "OSU":
            x = _numbers(x, dtype_of(to))
        if to == getattr(TensorProto, "FLOAT8E8M0", -1):
            mode = node.attribute("round_mode", "up")
            return numpy_helper.to_float8e8m0(x, saturate, mode).astype(dtype_of(to))
        if to in _FLOAT8:
            return _float8(x, dtype_of(to), saturate)
    dtype = dtype_of(to)
    if isinstance(x, Tracer) and is_narrow(dtype):
        raise node.error(
            f"casts to {dtype.name}, which Kinone does not trace\n"
            "  Call the model without grad, jit and vmap."
        )
    if x.dtype == dtype:
        return x
    if not isinstance(x, Tracer) and x.dtype.kind == "V" and dtype.kind in "biu":
        x = x.astype(np.float32) if dtype.kind == "b" else x  # ml_dtypes casts no NaN to bool
    return ops.astype(x, dtype) if isinstance(x, Tracer) else x.astype(dtype)


def _float8(x: np.ndarray[Any, Any], dtype: np.dtype[Any], saturate: bool) -> Array:
    if not saturate:
        return x.astype(np.float32).astype(dtype)
    top = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    return np.clip(x.astype(np.float32), -top, top).astype(dtype)


def _texts(x: np.ndarray[Any, Any]) -> Array:
    """Numbers as texts, the shortest that give the number back; NaN and INF as ONNX has them."""
    if x.dtype.kind == "V":  # bfloat16 and the like, as the floats that they are
        x = x.astype(np.float32)
    return np.array([str(each) for each in x.ravel()], object).reshape(x.shape)


def _numbers(x: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    whole = dtype.kind in "iu"
    read = [int(each) if whole and _is_integer(each) else float(each) for each in x.ravel()]
    return np.array(read, np.int64 if whole else np.float64).reshape(x.shape)


def _is_integer(text: Any) -> bool:
    return str(text).strip().lstrip("+-").isdigit()


@operator("BitCast")
def bit_cast(node: Node, x: Array) -> Array:
    dtype = dtype_of(node.attribute("to"))
    if shape_dtype(x).dtype.itemsize != dtype.itemsize:
        raise node.error(f"gives the bits of {shape_dtype(x).dtype} to {dtype}")
    return _viewed(x, dtype)


@notrace_primitive
def _viewed(x: Array, dtype: np.dtype[Any]) -> Array:
    return np.asarray(x).view(dtype)
