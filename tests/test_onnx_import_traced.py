"""The onnx package's node tests with one input traced and the others plain.

`np.take(table, i)` and `table[i]` with a plain `table` and a traced `i` never reach Kinone: NumPy
asks the first operand alone. With all inputs traced, as test_onnx_node_tests.py has them, that
would not be seen.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx_backend
import pytest
from onnx import TensorProto, numpy_helper

import kinone as kn
import kinone.onnx

CASES = [case for case in onnx_backend.node_cases() if case.data_sets]

# What cannot be compiled, by what the error says, and why.
NOT_TRACED = {
    "needs the numbers of its": "a shape is computed from the input",
    "collects a value of each trip": "the number of trips is computed from the input",
    "which Kinone does not trace": "narrow types of ml_dtypes, such as float8, are not traced",
}


def as_arrays(found: Any) -> list[Any] | None:
    """The outputs that are arrays of numbers; None where some are something else."""
    found = found if isinstance(found, tuple) else (found,)
    if any(not isinstance(each, (np.ndarray, np.generic)) for each in found):
        return None
    arrays = [np.asarray(each) for each in found]
    return None if any(each.dtype.kind in "OSUT" for each in arrays) else arrays


def failures(case: Any) -> list[str]:
    """What is wrong with the case when one of its inputs is traced."""
    inputs = [
        numpy_helper.to_array(each) if isinstance(each, TensorProto) else each
        for each in case.data_sets[0][0]
    ]
    fn, params = kn.onnx.load(case.model)
    if not all(isinstance(each, np.ndarray) for each in inputs):
        return []
    wanted = as_arrays(fn(params, *inputs))
    wrong = []
    for i, each in enumerate(inputs):
        narrow = each.dtype.isbuiltin != 1 and each.dtype.name != "bfloat16"
        if wanted is None or narrow or each.dtype.kind in "OSUT":
            continue

        def of_one(value: Any, i: int = i) -> Any:
            return fn(params, *inputs[:i], value, *inputs[i + 1 :])

        try:
            found = as_arrays(kn.jit(of_one)(each))
        except Exception as error:
            if not any(re.search(pattern, str(error)) for pattern in NOT_TRACED):
                wrong.append(f"{case.name}, input {i}: {type(error).__name__}: {error}")
            continue
        assert found is not None
        for got, want in zip(found, wanted, strict=True):
            if got.shape != want.shape or got.dtype != want.dtype or not _close(got, want):
                wrong.append(f"{case.name}, input {i}: {got.dtype}{got.shape} differs")
    return wrong


def _close(got: Any, want: Any) -> bool:
    if got.dtype.kind != "c":
        got, want = got.astype(np.float64), want.astype(np.float64)
    return np.allclose(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "part", [0, *[pytest.param(part, marks=pytest.mark.slow) for part in (1, 2, 3)]]
)
def test_one_input_is_traced(part: int) -> None:
    with np.errstate(all="ignore"):
        wrong = [text for case in CASES[part::4] for text in failures(case)]
    assert not wrong, "\n".join(wrong)
