"""The derivative of every function of NumPy's surface against JAX's, complex numbers included.

The calls are those of `tests/numpy_examples.py`; JAX differentiates its own function of the name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
import kinone.numpy as knp

sys.path.insert(0, str(Path(__file__).parent.parent))

from numpy_examples import DIFFERENTIABLE, Call

jax = pytest.importorskip("jax")
jnp = jax.numpy

# Where JAX does otherwise, finite differences are the judge: tests/test_numpy_namespace.py.
OTHERWISE = {
    **dict.fromkeys(("nextafter", "frexp", "ldexp", "modf"), "no derivative in JAX"),
    **dict.fromkeys(("unique", "unique_all", "unique_counts"), "constant in JAX"),
    **dict.fromkeys(("unique_inverse", "unique_values"), "constant in JAX"),
    **dict.fromkeys(("union1d", "setxor1d", "setdiff1d"), "constant in JAX"),
    "sign": "constant in JAX for complex numbers, too",
    "polydiv": "JAX keeps the zeros in front of the remainder",
}


def function_of(name: str) -> Any:
    found: Any = jnp
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def cases() -> Iterator[Any]:
    for name, calls in DIFFERENTIABLE.items():
        if function_of(name) is None or name in OTHERWISE:
            continue
        for number, given in enumerate(calls):
            yield pytest.param(name, given, id=f"{name}-{number}")


def inexact(tree: Any) -> list[Any]:
    return [x for x in kn.tree.leaves(tree) if kn.core.is_inexact(x)]


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize(("name", "given"), list(cases()))
def test_vjp(name: str, given: Call) -> None:
    leaves, structure = kn.tree.flatten((given.args, given.kwargs))
    places = [i for i, x in enumerate(leaves) if isinstance(x, np.ndarray) and x.dtype.kind in "fc"]
    arrays = [leaves[i] for i in places]

    def called(function: Any, xs: Any) -> Any:
        filled = list(leaves)
        for place, x in zip(places, xs, strict=True):
            filled[place] = x
        args, kwargs = kn.tree.unflatten(structure, filled)
        return function(*args, **kwargs)

    ours: Any = knp
    for part in name.split("."):
        ours = getattr(ours, part)
    try:
        want, theirs = jax.vjp(
            lambda *xs: [
                x
                for x in jax.tree.leaves(called(function_of(name), xs))
                if jnp.issubdtype(x.dtype, jnp.inexact)
            ],
            *arrays,
        )
    except (TypeError, ValueError, NotImplementedError, jax.errors.JAXTypeError) as error:
        pytest.skip(f"JAX refuses this call: {str(error).splitlines()[0]}")
    got, pullback = kn.vjp(lambda *xs: inexact(called(ours, xs)), *arrays)
    rng = np.random.default_rng(0)
    weights = []
    for y in got:
        y = np.asarray(y)
        real, imaginary = rng.normal(size=(2, *y.shape))
        weights.append(np.asarray(real + 1j * imaginary if y.dtype.kind == "c" else real))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    for a, b in zip(pullback(weights), theirs([jnp.asarray(w) for w in weights]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
