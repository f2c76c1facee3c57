"""Runs exported models in ONNX Runtime, for the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

import kinone as kn


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def as_tensor(leaf: Any) -> np.ndarray[Any, Any]:
    """A leaf as the model's input takes it: a complex number is a pair along a last axis."""
    array = np.asarray(leaf)
    return np.stack([array.real, array.imag], -1) if array.dtype.kind == "c" else array


def run(model: onnx.ModelProto, *args: Any) -> list[np.ndarray[Any, Any]]:
    """The outputs for the leaves of these arguments, in order."""
    running = session(model)
    leaves = [as_tensor(leaf) for leaf in kn.tree.leaves(args)]
    inputs = {port.name: leaf for port, leaf in zip(running.get_inputs(), leaves, strict=True)}
    found: list[np.ndarray[Any, Any]] = running.run(None, inputs)
    return found


def check_export(
    fun: Callable[..., Any],
    args: Sequence[Any],
    *,
    rtol: float = 1e-12,
    atol: float = 1e-12,
    **options: Any,
) -> onnx.ModelProto:
    """Exports `fun(*args)`, runs it, and compares with what Kinone itself computes."""
    model = kn.onnx.export(fun, *args, **options)
    found = run(model, *args)
    with np.errstate(all="ignore"):
        wanted = [as_tensor(leaf) for leaf in kn.tree.leaves(fun(*args))]
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
    return model
