"""Every name of `kinone.numpy`, exported on its examples: the value, and the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy_examples import CONSTANT, DIFFERENTIABLE, MEETING, OF_RESULT, Call
from onnx_runtime import as_tensor, run
from test_numpy_namespace import lookup

import kinone as kn
import kinone.onnx
from kinone.core import is_number
from kinone.errors import TracerConversionError

# One of several right results, as a function that is the same for all.
OF_VECTORS = {"linalg.eigh", "linalg.svd"}
NO_ARRAYS = {"common_type", "result_type", "min_scalar_type"}  # they give dtypes
EIG = {"linalg.eig", "linalg.eigvals"}  # refused, see test_onnx_linalg.py
# Of a traced matrix the rank is an int64.
WIDER = {"linalg.lstsq"}

TABLE = {
    **DIFFERENTIABLE,
    **{name: calls for name, (calls, _) in OF_RESULT.items()},
    **MEETING,
    **{name: calls for table in CONSTANT.values() for name, calls in table.items()},
}
CASES = [
    pytest.param(name, given, id=f"{name}-{number}")
    for name, calls in TABLE.items()
    for number, given in enumerate(calls)
    if name not in NO_ARRAYS | EIG
]


def of_arrays(name: str, given: Call) -> tuple[Callable[..., Any], list[Any]]:
    """The call as a function of its arrays alone, that gives a list, and these arrays."""
    function = lookup(name)
    leaves, structure = kn.tree.flatten((given.args, given.kwargs))
    places = [
        i
        for i, leaf in enumerate(leaves)
        if isinstance(leaf, np.ndarray | np.floating) and leaf.dtype.kind in "fciub"
    ]

    def f(*arrays: Any) -> list[Any]:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = kn.tree.unflatten(structure, filled)
        found = function[args] if name in ("r_", "c_") else function(*args, **kwargs)
        found = [leaf for leaf in kn.tree.leaves(found) if is_number(leaf)]
        return [np.abs(leaf) for leaf in found] if name in OF_VECTORS else found

    return f, [leaves[i] for i in places]


def compare(f: Callable[..., Any], arrays: list[Any], wider: bool = False) -> None:
    wanted = [as_tensor(leaf) for leaf in kn.tree.leaves(f(*arrays))]
    found = run(kn.onnx.export(f, *arrays, dynamic={}), *arrays)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype or (wider and got.dtype == np.int64)
        scale = np.abs(want[np.isfinite(want)]).max(initial=0) or 1
        exact = want.dtype.kind in "iub"
        np.testing.assert_allclose(got, want, rtol=0, atol=0 if exact else 1e-12 * scale)


@pytest.mark.parametrize(("name", "given"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_name(name: str, given: Call) -> None:
    f, arrays = of_arrays(name, given)
    try:
        kn.eval_shape(f, *arrays)
    except (TracerConversionError, TypeError, ValueError) as error:
        pytest.skip(f"needs numbers, which a program has not: {type(error).__name__}")
    compare(f, arrays, name in WIDER)
    places = [i for i, array in enumerate(arrays) if array.dtype.kind in "fc"]
    if name not in DIFFERENTIABLE or not places:
        return

    def pullback(*arrays: Any) -> Any:
        def inexact(*some: Any) -> Any:
            filled = list(arrays)
            for place, array in zip(places, some, strict=True):
                filled[place] = array
            return [y for y in f(*filled) if y.dtype.kind in "fc"]

        ys, pull = kn.vjp(inexact, *[arrays[i] for i in places])
        return pull([np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype) for y in ys])

    compare(pullback, arrays)
