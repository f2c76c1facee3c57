"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .... import ops
from ....core import Array, shape_dtype
from ..registry import Node, operator
from .arithmetic import as_dtype, keeping_dtype


def widely(function: Callable[..., Array], *operands: Array) -> Array:
    """A product of float16 and bfloat16 in float32, as ONNX Runtime has it: so it is many times as
    fast, for BLAS has no other, and no sum is rounded before its end."""
    dtype = shape_dtype(operands[0]).dtype
    if dtype != np.float16 and dtype.kind != "V":
        return function(*operands)
    return as_dtype(function(*[as_dtype(each, np.float32) for each in operands]), dtype)


@operator("MatMul")
def matmul(node: Node, a: Array, b: Array) -> Array:
    return widely(np.matmul, a, b)


@operator("Gemm")
@keeping_dtype
def gemm(node: Node, a: Array, b: Array, c: Array = None) -> Array:
    """alpha · A B + beta · C, where A and B may be transposed."""
    if shape_dtype(a).ndim != 2 or shape_dtype(b).ndim != 2:
        raise node.error(f"multiplies {shape_dtype(a)} and {shape_dtype(b)}, not two matrices")
    a = np.transpose(a) if node.attribute("transA", 0) else a
    b = np.transpose(b) if node.attribute("transB", 0) else b
    y = _times(node.attribute("alpha", 1.0), widely(np.matmul, a, b))
    return y if c is None else y + _times(node.attribute("beta", 1.0), c)


def _times(factor: float, x: Array) -> Array:
    if factor == 1:
        return x
    dtype = shape_dtype(x).dtype
    return factor * x if dtype.kind in "fV" else ops.astype(factor * x, dtype)


@operator("Einsum")
def einsum(node: Node, *operands: Array) -> Array:
    equation = node.attribute("equation").replace(" ", "")
    return widely(lambda *operands: np.einsum(equation, *operands), *operands)


@operator("Det")
def determinant(node: Node, x: Array) -> Array:
    return widely(np.linalg.det, x)
