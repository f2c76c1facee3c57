"""Checking a model, and writing it to a file: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import checker, shape_inference

from ... import source
from .errors import ExportError

LARGEST = 2**31 - 2**24  # bytes; protocol buffers end at 2 GiB
_LEAST = 1024  # bytes; smaller tensors, such as shapes and axes, stay in the model's own file
_CHECKED_WHOLE = 1 << 24  # bytes
_PAGE = 4096  # what a runtime can map into memory begins at such a place


def check(model: onnx.ModelProto) -> None:
    """`onnx.checker` with full checks, and strict shape inference.

    Of a model with many weights, those are left out: both copy what they look at, twice, and what
    they look at is the graph.
    """
    if sum(len(each.raw_data) for each in model.graph.initializer) > _CHECKED_WHOLE:
        model = _without_weights(model)
    with _refused():
        checker.check_model(model, full_check=True)
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _check_file(path: Path) -> None:
    """The same of a file, which may be larger than protocol buffers can be."""
    with _refused():
        checker.check_model(str(path), full_check=True)
        inferred = path.with_name("inferred")
        shape_inference.infer_shapes_path(
            str(path), str(inferred), check_type=True, strict_mode=True
        )
        inferred.unlink()


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(
            f"Kinone wrote a model that onnx refuses, which is an error of Kinone's: {error}\n"
            f"  at {source.here()}"
        ) from error


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model in which large initialisers are inputs."""
    found = onnx.ModelProto(ir_version=model.ir_version)
    found.opset_import.extend(model.opset_import)
    graph = found.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) < _LEAST:
            graph.initializer.append(tensor)
        else:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return found


def size_of(model: onnx.ModelProto) -> int:
    """The bytes of a model's weights."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def check_folder(path: str | os.PathLike[str]) -> Path:
    """The file that is going to be written, links followed. Raises `ExportError` where it cannot.

    It is asked before anything is traced.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise ExportError(f"{target.parent} is no folder; make it first, at {source.here()}")
    if target.is_dir():
        raise ExportError(f"{target} is a folder; name a file in it, at {source.here()}")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"{target.parent} cannot be written to, at {source.here()}")
    return target


def save(
    model: onnx.ModelProto,
    target: Path,
    external_data: bool | int | None,
    examine: Callable[[Path], object] | None = None,
) -> None:
    """Writes the model; with external data, its weights beside it in `<name>.data`.

    Both files are written in a folder of their own, checked there (`examine` may raise), and then
    take their places. When a pair of files takes the place of another, the old model goes first:
    there may be none for a moment, but never one with another's weights.
    """
    if external_data is None:
        external_data = size_of(model) > LARGEST
    least = _LEAST if external_data is True else int(external_data)
    folder = Path(
        tempfile.mkdtemp(prefix=f".{target.name[:40]}.", suffix=".tmp", dir=target.parent)
    )
    try:
        written = folder / target.name
        weights = folder / f"{target.name}.data"
        if least:
            with open(weights, "wb") as file:
                small = _with_external_data(model, file, weights.name, least)
                _flush(file)
        else:
            small = model
        with open(written, "wb") as file:
            file.write(small.SerializeToString(deterministic=True))
            _flush(file)
        if least:
            _check_file(written)
        if examine is not None:
            examine(written)
        if least:
            old = target.with_name(weights.name)
            if old.exists():
                target.unlink(missing_ok=True)
            os.replace(weights, old)
        os.replace(written, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _with_external_data(
    model: onnx.ModelProto, file: BinaryIO, location: str, least: int
) -> onnx.ModelProto:
    """A copy of the model whose large tensors are in the file."""
    found = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        doc_string=model.doc_string,
    )
    found.opset_import.extend(model.opset_import)
    found.metadata_props.extend(model.metadata_props)
    graph = found.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) < least:
            graph.initializer.append(tensor)
            continue
        file.write(bytes(-file.tell() % (_PAGE if len(tensor.raw_data) >= _PAGE else 64)))
        outside = graph.initializer.add(
            name=tensor.name,
            data_type=tensor.data_type,
            dims=tensor.dims,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in [
            ("location", location),
            ("offset", file.tell()),
            ("length", len(tensor.raw_data)),
        ]:
            outside.external_data.add(key=key, value=str(value))
        file.write(tensor.raw_data)
    return found
