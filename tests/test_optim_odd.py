"""Odd parameters: empty, none at all, half precision, complex, integers, one number, zeros."""

from __future__ import annotations

import numpy as np
import pytest

import kinone as kn
from kinone import optim

EVERY = {
    "adan": lambda: optim.adan(0.1),
    "ademamix": lambda: optim.ademamix(0.1),
    "adopt": lambda: optim.adopt(0.1),
    "sm3": lambda: optim.sm3(0.1),
    "fromage": lambda: optim.fromage(0.1),
    "muon": lambda: optim.muon(0.1),
    "rmsprop": lambda: optim.rmsprop(0.1),
    "schedule free": lambda: optim.schedule_free_adamw(0.1),
    "optimistic": lambda: optim.optimistic_gradient_descent(0.1),
    "injected": lambda: optim.inject_hyperparams(optim.adam)(0.1),
}
ODD = {
    "empty": {"w": np.zeros((0, 3), np.float32)},
    "nothing": {},
    "half": {"w": np.ones((2, 3), np.float16)},
    "complex": {"w": np.full((2, 3), 1 + 2j, np.complex64)},
    "integers": {"w": np.ones((2, 2), int), "flag": np.array([True])},
    "number": 1.0,
    "zeros": [np.zeros(2), [np.zeros((2, 2))], None],
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", EVERY)
def test_odd_parameters(name: str, kind: str) -> None:
    if (name, kind) == ("sm3", "complex"):
        with pytest.raises(ValueError, match="w is complex"):
            optim.sm3(0.1).init(ODD[kind])
        return
    optimizer, params = EVERY[name](), ODD[kind]
    state = first = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(params, state, params)
    after = optim.apply_updates(params, updates)
    assert kn.tree.structure((params, first)) == kn.tree.structure((after, state))
    before = kn.tree.leaves((params, first))
    for a, b in zip(before, kn.tree.leaves((after, state)), strict=True):
        assert (np.asarray(a).dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b))
        assert np.all(np.isfinite(b))
