"""Random numbers as ONNX: the bits that Kinone draws, from a key that is an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_runtime import check_export, run

import kinone as kn
import kinone.onnx
from kinone import nn, optim, random
from kinone.ops.random_bits import normal_from_bits, random_bits

THREE = np.log(np.array([0.1, 0.2, 0.7]))
TABLE = np.arange(12.0).reshape(4, 3)

# Draws that are the same to the last bit.
EXACT: dict[str, Callable[[Any], Any]] = {
    "uniform": lambda key: random.uniform(key, (3, 4)),
    "uniform in float64": lambda key: random.uniform(key, (3, 4), np.float64, -1.0, 2.0),
    "uniform in float16": lambda key: random.uniform(key, (9,), np.float16),
    "normal": lambda key: random.normal(key, (7,)),
    "normal in float64": lambda key: random.normal(key, (7,), np.float64),
    "normal in float16": lambda key: random.normal(key, (7,), np.float16),
    "one normal": lambda key: random.normal(key),
    "none": lambda key: random.normal(key, (0, 3)),
    "truncated normal": lambda key: random.truncated_normal(key, -1.0, 2.0, (5,)),
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (9,)),
    "bits of 8": lambda key: random.bits(key, (9,), np.uint8),
    "bits of 32": lambda key: random.bits(key, (9,)),
    "bits of 64": lambda key: random.bits(key, (9,), np.uint64),
    "integers": lambda key: random.randint(key, (9,), -3, 8),
    "permutation": lambda key: random.permutation(key, 9),
    "permuted rows": lambda key: random.permutation(key, TABLE),
    "permuted lines": lambda key: random.permutation(key, TABLE, independent=True),
    "choice": lambda key: random.choice(key, 10, (3,)),
    "choice without replacement": lambda key: random.choice(key, 10, (3,), replace=False),
    "choice by weight": lambda key: random.choice(key, 3, (5,), p=np.exp(THREE)),
    "categorical": lambda key: random.categorical(key, THREE, shape=(6,)),
    "split": lambda key: list(random.split(key, 3)),
    "child": lambda key: random.uniform(key["encoder"]["a longer name of a layer"], (2,)),
    "child by number": lambda key: random.uniform(key.fold_in(3), (2,)),
    "a key for each example": lambda key: kn.vmap(lambda one: random.normal(one, (2,)))(
        random.split(key, 3)
    ),
    "in a loop": lambda key: kn.scan(
        lambda key, _: (key.fold_in(1), random.uniform(key, (2,))), key, None, length=3
    ),
}


@pytest.mark.parametrize("draw", EXACT.values(), ids=EXACT)
def test_same_bits(draw: Callable[[Any], Any]) -> None:
    model = kn.onnx.export(draw, random.key(7), dynamic={})
    for seed in (7, 2**64 - 1):
        found = run(model, random.key(seed))
        wanted = [np.asarray(leaf) for leaf in kn.tree.leaves(draw(random.key(seed)))]
        for got, want in zip(found, wanted, strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("draw", [random.exponential, random.gumbel])
def test_what_goes_through_a_logarithm(draw: Callable[..., Any]) -> None:
    check_export(lambda key: draw(key, (64,)), (random.key(1),), dynamic={}, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 23])
@pytest.mark.parametrize("bits", [7, 24, 32, 53, 64])
def test_all_widths_and_opsets(bits: int, opset: int) -> None:
    key, stream = np.array([1, 2**63 + 5], np.uint64), np.array([2**64 - 1, 4], np.uint64)

    def draw(key: Any, stream: Any) -> Any:
        return random_bits(key, stream, shape=(3, 5), bits=bits, purpose="name")

    check_export(draw, (key, stream), dynamic={}, opset=opset, rtol=0, atol=0)


def test_opset_17_has_no_bits() -> None:
    with pytest.raises(kn.onnx.ExportError, match="since opset 18"):
        kn.onnx.export(lambda key: random.bits(key, (2,)), random.key(0), dynamic={}, opset=17)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_normal_numbers_of_all_bits(dtype: Any) -> None:
    """Sign and all: of zeros, powers of 2, their neighbours, and random ones of every size."""
    width = 8 * dtype().itemsize
    rng = np.random.default_rng(0)
    x = rng.integers(0, np.iinfo(dtype).max, 50_000, dtype=dtype, endpoint=True)
    x[: 2 * width] = [*[2**i for i in range(width)], *[2**i - 1 for i in range(width)]]
    shifts = rng.integers(0, width, 40_000, dtype=dtype)
    x[10_000:] = np.where(rng.random(40_000) < 0.5, x[10_000:] >> shifts, ~(x[10_000:] >> shifts))
    model = kn.onnx.export(lambda x: normal_from_bits(x), x, dynamic={})
    (found,) = run(model, x)
    assert found.tobytes() == normal_from_bits(x).tobytes()


def test_known_keys_are_constants() -> None:
    model = kn.onnx.export(
        lambda x: x + random.normal(random.key(0), (3,)), np.ones(3, np.float32), dynamic={}
    )
    assert [node.op_type for node in model.graph.node] == ["Add"]


def test_a_draw_is_few_nodes() -> None:
    model = kn.onnx.export(lambda key: random.bits(key, (100, 100)), random.key(0), dynamic={})
    assert len(model.graph.node) < 30


def test_dynamic_sizes() -> None:
    def draw(key: Any, x: Any) -> Any:
        a, b, c, d = key.split(4)
        return (
            x * random.bernoulli(a, 0.5, x.shape),
            random.normal(b, (*x.shape, 2)),
            random.uniform(c, (2 * x.shape[0],), np.float64),
            random.permutation(d, x.shape[0]),
        )

    model = kn.onnx.export(
        draw, random.key(3), np.ones((4, 3), np.float32), dynamic={"x": {0: "batch"}}
    )
    for size in (4, 1, 7, 10, 33):
        x = np.ones((size, 3), np.float32)
        for got, want in zip(run(model, random.key(3), x), draw(random.key(3), x), strict=True):
            np.testing.assert_array_equal(got, want)


def test_dropout_in_training() -> None:
    """A key goes in and the next one comes out, for three steps."""
    model = nn.Sequential(nn.Dense(8), nn.Dropout(0.5), nn.Dense(1))
    optimizer = optim.adam(1e-2)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 4)), rng.normal(size=(16, 1))
    params, state = model.init(random.key(0), x)
    params = kn.tree.map(lambda leaf: leaf.astype(np.float64), params)

    def step(run: Any, x: Any, y: Any) -> Any:
        params, memory, key = run
        now, later = key.split()

        def loss(params: Any) -> Any:
            found, _ = model.apply(params, state, x, train=True, key=now)
            return np.mean((found - y) ** 2)

        value, grads = kn.value_and_grad(loss)(params)
        updates, memory = optimizer.update(grads, memory, params)
        return (optim.apply_updates(params, updates), memory, later), value

    eager: Any = (params, optimizer.init(params), random.key(5))
    exported = kn.onnx.export(step, eager, x, y)
    given = eager
    for _ in range(3):
        eager, value = step(eager, x, y)
        found = run(exported, given, x, y)
        given, other = kn.tree.unflatten(kn.tree.structure((eager, value)), found)
        np.testing.assert_allclose(other, value, rtol=1e-12)
        for got, want in zip(kn.tree.leaves(given), kn.tree.leaves(eager), strict=True):
            np.testing.assert_allclose(got, np.asarray(want), rtol=1e-11, atol=1e-13)
