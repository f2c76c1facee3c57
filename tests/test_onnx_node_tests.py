"""The tests of the `onnx` package itself, through its runner: every list, every test."""

from __future__ import annotations

import re

import numpy as np
import onnx_backend
import pytest
from numpy.testing import assert_allclose
from onnx import TensorProto, numpy_helper
from onnx.backend.test import BackendTest

import kinone as kn
import kinone.onnx


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of what the cases' modules compute
def test_the_runner_takes_the_backend():
    cases = BackendTest(onnx_backend.KinoneBackend, __name__).include("test_relu_cpu").test_cases
    assert set(cases) >= {f"OnnxBackend{name}Test" for name in onnx_backend.LISTS}


@pytest.mark.parametrize("where", onnx_backend.LISTS.values())
def test_every_test_of_the_list_passes_or_has_a_reason(where):
    found = list(onnx_backend.outcomes(lists=[where]))
    failed = [
        f"{each.name}: {' '.join(each.text.split())[:300]}"
        for each in found
        if each.outcome != "passed" and onnx_backend.justification(each.name) is None
    ]
    assert not failed, "\n".join(failed)
    assert len(found) > {"node": 1500, "light": 8}.get(where, 20)


def test_every_reason_is_one_of_a_test_that_there_is():
    names = [case.name for case in onnx_backend.node_cases()]
    for pattern in onnx_backend.JUSTIFIED:
        assert any(re.search(pattern, name) for name in names), pattern


# ---- the same tests, transformed -----------------------------------------------------------------

# What is left out, by a pattern of the message, and why.
NOT_TRACED = {
    "needs the numbers of its": "a shape is computed from an input",
    "collects a value of each trip": "the number of trips is computed from an input",
    "which Kinone does not trace": "narrow types of ml_dtypes, which run on plain arrays alone",
    "BatchLoopWarning": "BitCast, which vmap calls for each example, and says so",
}


def float_inputs(case):
    """The floating-point inputs of a case, and its function of these alone."""
    fn, params = kn.onnx.load(case.model)
    given = [
        numpy_helper.to_array(each) if isinstance(each, TensorProto) else each
        for each in case.data_sets[0][0]
    ]
    places = [
        i for i, x in enumerate(given) if getattr(getattr(x, "dtype", None), "kind", "") == "f"
    ]

    def call(*floats):
        whole = list(given)
        for i, x in zip(places, floats, strict=True):
            whole[i] = x
        return kn.tree.leaves(fn(params, *whole))

    return call, [given[i] for i in places]


def in_mode(mode, call, floats):
    """The outputs under a transformation."""
    if mode == "jit":
        return kn.jit(call)(*floats)
    if mode == "vmap":
        twice = [np.stack([x, x]) for x in floats]
        return [np.asarray(y)[1] for y in kn.vmap(call)(*twice)]

    def total(*floats):
        outputs = call(*floats)
        whole = [np.sum(y.astype(np.float64)) for y in outputs if y.dtype.kind == "f"]
        return sum(whole, np.float64(0)), outputs

    places = tuple(range(len(floats)))
    return kn.grad(total, argnums=places, has_aux=True)(*floats)[1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "vmap", "grad"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_node_tests_compile_map_and_differentiate(mode):
    done, failed = 0, []
    for case in onnx_backend.node_cases():
        if onnx_backend.justification(case.name):
            continue
        call, floats = float_inputs(case)
        if not floats:
            continue
        wanted = call(*floats)
        half = any(x.dtype == np.float16 for x in [*floats, *wanted] if hasattr(x, "dtype"))
        try:
            with np.errstate(all="ignore"):
                found = in_mode(mode, call, floats)
            for a, b in zip(found, wanted, strict=True):
                a, b = np.asarray(a), np.asarray(b)
                assert a.dtype == b.dtype
                assert a.shape == b.shape
                if b.dtype.kind in "fiubc":
                    assert_allclose(a, b, rtol=1e-2 if half else 1e-4, atol=1e-6)
        except Exception as error:
            text = f"{case.name}: {type(error).__name__}: {' '.join(str(error).split())}"
            if not any(re.search(pattern, text) for pattern in NOT_TRACED):
                failed.append(text[:300])
        done += 1
    assert not failed, "\n".join(failed)
    assert done > 1000
