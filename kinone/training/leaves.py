"""One leaf of a checkpoint: what can be kept, under which name of a dtype, and its bytes."""

from __future__ import annotations

import hashlib
import importlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import Tracer
from ..errors import CheckpointError
from ..ops.kernels.parallel import for_each

Path = str | os.PathLike[str]
Array = npt.NDArray[Any]

_BLOCK = 2**24

PYTHON_NUMBERS: dict[type, np.dtype[Any]] = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}
"""How a number of Python is stored; it comes back as the type that it was."""

_ML_DTYPES = "ml_dtypes"
_EXTENDED = frozenset(
    [
        *("bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn"),
        *("float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
        *("float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn"),
        *("int1", "int2", "int4", "uint1", "uint2", "uint4"),
    ]
)
"""What the package `ml_dtypes` adds to NumPy; in a file these go by their names."""


class Spec(NamedTuple):
    """The dtype and shape that an array has or ought to have; prints as `float32[3,4]`."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class Leaf(NamedTuple):
    """What a file says of one leaf: `kind` is array, scalar (of NumPy), or a type of Python.

    `sha256` is empty in a file that another program wrote.
    """

    kind: str
    spec: Spec
    sha256: str

    def value(self, array: Array) -> Any:
        """The leaf that was saved, from the array that stands for it."""
        if self.kind == "array":
            return array
        return array[()] if self.kind == "scalar" else array.item()


def to_array(refused: str, path: str, leaf: Any) -> tuple[str, Array]:
    """The kind of a leaf and the array that stands for it in the file."""
    if isinstance(leaf, np.ma.MaskedArray):
        problem = "is a masked array; save its data and its mask"
    elif isinstance(leaf, np.ndarray | np.generic):
        kind, array = "scalar" if isinstance(leaf, np.generic) else "array", np.asarray(leaf)
        if dtype_name(array.dtype) is not None:
            return kind, array
        problem = f"has dtype {array.dtype}, which no file here can hold; convert it"
    elif isinstance(leaf, Tracer):
        problem = "is a traced value; save after the function that jit, grad or vmap runs"
    elif type(leaf) not in PYTHON_NUMBERS:
        problem = f"is a {type(leaf).__name__}; save arrays and numbers, the rest as metadata"
    elif type(leaf) is int and not -(2**63) <= leaf < 2**63:
        problem = "is an integer of more than 64 bits; save it as metadata"
    else:
        return type(leaf).__name__, np.asarray(leaf, dtype=PYTHON_NUMBERS[type(leaf)])
    raise CheckpointError(f"{refused}the leaf {path!r} {problem}")


# ---- dtypes --------------------------------------------------------------------------------------


def is_extended(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is one of `ml_dtypes`, such as bfloat16."""
    return dtype.type.__module__ == _ML_DTYPES and dtype.name in _EXTENDED


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """The name of a dtype in a file, such as `<f4` or `bfloat16`; None for what no file can hold.

    That is objects, empty strings, and records.
    """
    if is_extended(dtype):
        return dtype.name
    if dtype.hasobject or dtype.kind == "V" or dtype.itemsize == 0:
        return None
    try:
        return dtype.str if np.dtype(dtype.str) == dtype else None
    except TypeError:
        return None


def named_dtype(text: str) -> np.dtype[Any]:
    """The dtype of a name in a file.

    Raises `ValueError` or `TypeError` for what is no such name, `ImportError` when the dtype needs
    a package that is not installed.
    """
    if text in _EXTENDED:
        try:
            found: np.dtype[Any] = np.dtype(getattr(importlib.import_module(_ML_DTYPES), text))
            return found
        except (ImportError, AttributeError):
            raise ImportError(
                f"it holds {text}, which NumPy lacks; pip install --upgrade ml_dtypes"
            ) from None
    dtype = np.dtype(text)
    if dtype_name(dtype) != text:
        raise ValueError(f"{text!r} is no dtype of a checkpoint")
    return dtype


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What an `.npy` calls the bytes of a dtype: for bfloat16, an unsigned integer of 16 bits."""
    return np.dtype(f"<u{dtype.itemsize}") if is_extended(dtype) else dtype


# ---- bytes ---------------------------------------------------------------------------------------


def data(array: Array) -> memoryview:
    """The bytes of a C-contiguous array, which they share."""
    return array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(bytearray())


def blocks(array: Array) -> Iterator[memoryview]:
    """The bytes of an array in C order, a few megabytes at a time where they must be copied."""
    if array.flags.c_contiguous or array.nbytes <= _BLOCK:
        yield data(np.ascontiguousarray(array))
        return
    rows = max(_BLOCK * len(array) // array.nbytes, 1)
    for start in range(0, len(array), rows):
        yield from blocks(array[start] if rows == 1 else array[start : start + rows])


def sha256(array: Array) -> str:
    """The SHA-256 of the bytes of an array in C order."""
    digest = hashlib.sha256()
    for block in blocks(array):
        digest.update(block)
    return digest.hexdigest()


def sha256s(arrays: Sequence[Array]) -> list[str]:
    """The SHA-256 of each array, on all cores: it takes as long as writing them."""
    found = [""] * len(arrays)

    def run(index: int) -> None:
        found[index] = sha256(arrays[index])

    # The largest first, so that no core ends alone with it.
    for_each(run, sorted(range(len(arrays)), key=lambda index: -arrays[index].nbytes))
    return found
