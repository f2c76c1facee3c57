"""Reading a model's file: a clear error for what is damaged, or for what no model is."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import serialization

from .registry import LoadError
from .tensors import Folder

LARGEST = 2**31 - 1  # the bytes that a protocol buffer may have

# Other forms of the same model, by the file's ending.
_TEXTS = {
    ".json": "json",
    ".onnxjson": "json",
    ".textproto": "textproto",
    ".prototxt": "textproto",
    ".pbtxt": "textproto",
}


def read_model(
    path: str | os.PathLike[str] | bytes | BinaryIO | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Folder | None, str]:
    """The model's protocol buffers, the folder that its external data are in, and its name.

    Raises `LoadError` for what is no model, `OSError` for a file that cannot be read.
    """
    if isinstance(path, onnx.ModelProto):
        return _checked(path, "the model"), None, "the model"
    if not isinstance(path, (str, os.PathLike)) and hasattr(path, "read"):
        path = path.read()
    if isinstance(path, (bytes, bytearray, memoryview)):
        return _parsed(bytes(path), "protobuf", "the model"), None, "the model"
    file = Path(path)
    name = os.fspath(file)
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise LoadError(f"{name} is no file")
    if status.st_size > LARGEST:
        raise LoadError(
            f"{name} has {status.st_size} bytes, and a model's file has at most 2 GiB\n"
            "  Save it with its weights as external data: "
            "onnx.save(model, path, save_as_external_data=True)."
        )
    form = _TEXTS.get(file.suffix.lower(), "protobuf")
    return _parsed(file.read_bytes(), form, name), Folder.of(file), name


def _parsed(data: bytes, form: str, name: str) -> onnx.ModelProto:
    try:
        model = serialization.registry.get(form).deserialize_proto(data, onnx.ModelProto())
    except Exception as error:  # of protobuf, of its text and JSON forms, of ONNX's own parser
        raise LoadError(
            f"{name} is no ONNX model, or damaged: {type(error).__name__} {error}{_guess(data)}"
        ) from None
    return _checked(model, name, data)


def _checked(model: onnx.ModelProto, name: str, data: bytes = b"") -> onnx.ModelProto:
    if not model.HasField("graph") or not model.ir_version:
        raise LoadError(f"{name} is no ONNX model: it has no graph{_guess(data)}")
    if model.ir_version > onnx.IR_VERSION:
        raise LoadError(
            f"{name} is of format version {model.ir_version}, and the installed onnx "
            f"{onnx.__version__} knows up to {onnx.IR_VERSION}\n  Run pip install -U onnx."
        )
    return model


def _guess(data: bytes) -> str:
    """What the file may be instead."""
    if data.startswith(b"version https://git-lfs"):
        return "\n  It is a pointer of Git LFS: fetch the file with git lfs pull."
    if data[:15].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "\n  It is a web page: the download went wrong."
    if data.startswith(b"PK"):
        return (
            "\n  It is a ZIP archive, such as torch.save writes: export it with torch.onnx.export."
        )
    return "\n  It is empty." if not data.strip() else ""
