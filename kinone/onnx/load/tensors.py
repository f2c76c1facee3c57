"""ONNX's tensors and types as Python's objects."""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .registry import LoadError

# A sparse tensor is stored with its zeros, and its file may be tiny: what it may grow to.
DENSE_BYTES = 2**31


@dataclass(frozen=True)
class Folder:
    """Where a model's external data are: the folder, and the real ones that may hold them."""

    path: Path
    homes: tuple[Path, ...]

    @classmethod
    def of(cls, model: Path) -> Folder:
        return cls(model.parent, (model.parent.resolve(), model.resolve().parent))


@dataclass(frozen=True)
class Port:
    """An input or output: its name, its shape (a text or None where it varies) and dtype."""

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype[Any] | None

    def __str__(self) -> str:
        sizes = "?" if self.shape is None else ",".join(map(str, self.shape))
        return f"{self.name}: {self.dtype or '?'}[{sizes}]"


def port_of(info: onnx.ValueInfoProto) -> Port:
    """What a model says of an input or output; sequences have neither shape nor dtype."""
    if not info.type.HasField("tensor_type"):
        return Port(info.name, None, None)
    tensor = info.type.tensor_type
    shape = tuple([_size(each) for each in tensor.shape.dim]) if tensor.HasField("shape") else None
    return Port(info.name, shape, dtype_of(tensor.elem_type) if tensor.elem_type else None)


def _size(size: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if size.HasField("dim_value"):
        return size.dim_value if size.dim_value >= 0 else None  # -1 in the files of some converters
    return size.dim_param or None


def dtype_of(elem_type: int) -> np.dtype[Any]:
    """NumPy's dtype for an element type of ONNX; the narrow floats are those of ml_dtypes."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    except KeyError:
        raise LoadError(f"there is no element type {elem_type}") from None


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether it is a type of ml_dtypes that Kinone does not trace: all of them but bfloat16."""
    return dtype.type.__module__.startswith("ml_dtypes") and dtype.name != "bfloat16"


def array_of(tensor: onnx.TensorProto, folder: Folder | None = None) -> np.ndarray[Any, Any]:
    """The numbers (or texts) of a tensor; external data are looked for in the model's folder.

    Raises `LoadError` when there are more or fewer than its shape says, and for external data that
    are not in the folder.
    """
    if any(size < 0 for size in tensor.dims):
        raise LoadError(f"the tensor {tensor.name!r} has a negative size, {list(tensor.dims)}")
    dtype, count = dtype_of(tensor.data_type), math.prod(tensor.dims)
    if tensor.data_location == TensorProto.EXTERNAL:
        whole = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        raw = external_bytes(tensor, _bytes(dtype, count), folder)
        if _bits(dtype) == 8 * dtype.itemsize:
            return raw.view(dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(tensor.dims)
        whole.raw_data = raw.tobytes()
        tensor = whole
    elif tensor.HasField("raw_data") and tensor.data_type != TensorProto.STRING:
        data = tensor.raw_data
        if len(data) != _bytes(dtype, count):
            raise LoadError(
                f"the tensor {tensor.name!r} has {len(data)} bytes for {dtype}{list(tensor.dims)}, "
                f"which takes {_bytes(dtype, count)}"
            )
        if _bits(dtype) == 8 * dtype.itemsize:
            flat = np.frombuffer(data, dtype.newbyteorder("<"))
            return flat.reshape(tensor.dims).astype(dtype)  # the caller's own
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:
        raise LoadError(
            f"the tensor {tensor.name!r}, {dtype}{list(tensor.dims)}, cannot be read: {error}"
        ) from error
    if array.size != count:
        raise LoadError(
            f"the tensor {tensor.name!r} has {array.size} numbers for the shape {list(tensor.dims)}"
        )
    if tensor.data_type == TensorProto.STRING:
        return np.array([_text(each) for each in array.ravel()], object).reshape(array.shape)
    return array if array.flags.writeable else array.copy()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bits(dtype: np.dtype[Any]) -> int:
    """The bits of an element in a file, where the narrowest types are packed."""
    if dtype.kind != "V":
        return 8 * dtype.itemsize
    try:
        return int(ml_dtypes.iinfo(dtype).bits)  # type: ignore[no-untyped-call]
    except ValueError:
        return int(ml_dtypes.finfo(dtype).bits)  # type: ignore[no-untyped-call]


def _bytes(dtype: np.dtype[Any], count: int) -> int:
    return -(-count * _bits(dtype) // 8)


def external_bytes(
    tensor: onnx.TensorProto, size: int, folder: Folder | None
) -> np.ndarray[Any, Any]:
    """The bytes of a tensor whose data stand in a file beside the model's.

    Nothing outside of the model's folder is opened: no absolute path, no `..`, no symbolic link
    that leads out; nor anything but a regular file. Where the model's file is itself a link, as in
    the cache of Hugging Face, what stands beside the file that it leads to counts, too.
    """
    told = {each.key: each.value for each in tensor.external_data}
    location, what = told.get("location", ""), f"the external data of the tensor {tensor.name!r}"
    if folder is None:
        raise LoadError(
            f"{what} are in the file {location!r}, and a model in memory has no folder\n"
            "  Give load the path of the model's file."
        )
    try:
        offset, length = int(told.get("offset", 0)), int(told.get("length", size))
        file = (folder.path / location).resolve()
        inside = any(file.is_relative_to(each) for each in folder.homes)
    except (ValueError, OSError, RuntimeError) as error:  # no numbers, no path, links in a circle
        raise LoadError(f"{what} cannot be found: {error}") from None
    if not location or os.path.isabs(location) or ".." in Path(location).parts or not inside:
        raise LoadError(
            f"{what} are said to be in {location!r}, which is outside of the model's folder "
            f"{os.fspath(folder.path)!r}\n"
            "  Copy the file (not a link to it) beside the model, if you trust both."
        )
    if length != size or offset < 0:
        raise LoadError(
            f"{what} are {length} bytes from {offset} on, and {list(tensor.dims)} takes {size}"
        )
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise LoadError(f"{what} are said to be in {location!r}, which is no regular file")
        if offset + length > status.st_size:
            raise LoadError(
                f"{what} are bytes {offset} to {offset + length} of {location!r}, which has "
                f"{status.st_size}: the file is truncated, or of another model"
            )
        with open(file, "rb", opener=_no_link) as stream:
            stream.seek(offset)
            data = np.empty(length, np.uint8)
            if stream.readinto(data.data) != length:
                raise LoadError(f"{what} end early: {location!r} became shorter")
    except OSError as error:
        raise LoadError(f"{what} cannot be read: {error}") from error
    return data


def _no_link(path: str, flags: int) -> int:
    """Opens a file whose links have been followed already: one that is a link now was exchanged."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def sparse_array_of(
    sparse: onnx.SparseTensorProto, folder: Folder | None = None
) -> np.ndarray[Any, Any]:
    """A sparse tensor with its zeros."""
    values, indices = array_of(sparse.values, folder), array_of(sparse.indices, folder)
    name, dims = sparse.values.name, tuple(sparse.dims)
    count = math.prod(dims)
    if min(dims, default=0) < 0 or count * values.dtype.itemsize > DENSE_BYTES:
        raise LoadError(
            f"the sparse tensor {name!r} has the shape {list(dims)}; with its zeros it may take "
            f"{DENSE_BYTES} bytes"
        )
    if indices.dtype.kind not in "iu" or values.ndim != 1 or len(indices) != len(values):
        raise LoadError(f"the sparse tensor {name!r} has not one index for each value")
    flat = indices
    try:
        if indices.ndim == 2:
            flat = np.ravel_multi_index(tuple(indices.T), dims)
        elif indices.size and not 0 <= indices.min() <= indices.max() < count:
            raise ValueError(f"index {indices.max()} in {count} places")
        dense = np.zeros(count, values.dtype)
        dense[flat] = values
    except (ValueError, IndexError, TypeError) as error:
        raise LoadError(f"the sparse tensor {name!r} cannot be read: {error}") from error
    return dense.reshape(dims)
