"""Compiled functions: against themselves uncompiled, against JAX's, and what compiling costs.

`python -m benchmarks.jit`. The compiled program is NumPy source and has the bits of eager mode;
what it saves is the engine's time, fresh memory, and passes over main memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import kinone as kn

from . import mlp, resnet
from .harness import Row, Spread, compare, milliseconds, show

OPERATIONS = 10_000
COMPILE_BAR = 1.0  # seconds, for as many operations
COMPILES = 5


def gradient_of_mlp(name: str, turns: int = 40) -> Row:
    """The gradient of an MLP: compiled, eager, and JAX's."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import logsumexp

    sizes, batch = mlp.SIZES[name]
    args = mlp.problem(sizes, batch, np.float32)
    eager = kn.grad(mlp.make_loss(np, kn.ops.logsumexp))
    compiled = kn.jit(eager)
    theirs = jax.jit(jax.grad(mlp.make_loss(jnp, logsumexp)))
    on_device = jax.tree.map(jnp.asarray, args)
    for mine, other in zip(
        kn.tree.leaves(compiled(*args)), jax.tree.leaves(theirs(*on_device)), strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)
    timings = compare(
        {
            "NumPy, by hand": lambda: mlp.by_hand(*args),
            "Kinone, eager": lambda: eager(*args),
            "Kinone, jit": lambda: compiled(*args),
            "JAX, jit": lambda: jax.block_until_ready(theirs(*on_device)),
        },
        turns=turns,
        pause=0.01,
    )
    show(f"gradient of an MLP {name}, float32", timings)
    ours, other = timings["Kinone, jit"], timings["JAX, jit"]
    return Row(
        f"jit of grad of MLP {name}, float32",
        milliseconds(ours.seconds),
        f"JAX {milliseconds(other.seconds)}",
        ours.ratio,
        None,
    )


def elementwise_chain(turns: int = 20) -> Row:
    """A chain of elementwise operations on an array that no cache holds."""

    def chain(x: Any) -> Any:
        y = np.tanh(x * 0.5) * 0.5 + 0.5
        return np.sqrt(y * (1 - y) + 1e-3) * x - np.abs(x) * 0.1

    x = np.random.default_rng(0).standard_normal(1 << 22).astype(np.float32)
    compiled = kn.jit(chain)
    np.testing.assert_array_equal(compiled(x), chain(x))
    timings = compare({"Kinone, jit": lambda: compiled(x), "NumPy": lambda: chain(x)}, turns=turns)
    show("twelve elementwise operations on 4 M float32", timings)
    return Row(
        "jit of twelve elementwise operations, 4 M float32",
        milliseconds(timings["Kinone, jit"].seconds),
        f"NumPy {milliseconds(timings['NumPy'].seconds)}",
        timings["Kinone, jit"].ratio,
        None,
    )


def resnet_gradient(turns: int = 10) -> Row:
    """The gradient of ResNet-18, compiled and eager."""
    model = kn.models.resnet18(resnet.CLASSES, stem="small")
    images, labels = resnet.data()
    params, state = model.init(kn.random.key(0), images.shape)

    def loss(params: Any, state: Any, images: Any, labels: Any) -> Any:
        logits, state = model.apply(params, state, images, train=True)
        losses = kn.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        return np.mean(losses), state

    eager = kn.value_and_grad(loss, has_aux=True)
    compiled = kn.jit(eager)
    args = params, state, images, labels
    timings = compare(
        {"Kinone, jit": lambda: compiled(*args), "Kinone, eager": lambda: eager(*args)},
        turns=turns,
    )
    show("gradient of ResNet-18, 32×32×3, batch 32", timings)
    return Row(
        "jit of ResNet-18's gradient, 32×32×3, batch 32",
        milliseconds(timings["Kinone, jit"].seconds),
        f"eager {milliseconds(timings['Kinone, eager'].seconds)}",
        timings["Kinone, jit"].ratio,
        None,
    )


def compile_time() -> Row:
    """From the first call to the first result of a function of many operations."""

    def long(x: Any) -> Any:
        for _ in range(OPERATIONS // 4):
            x = np.sin(x) * 0.5 + x - 0.1
        return x

    def first_call(function: Callable[[Any], Any]) -> float:
        start = time.perf_counter()
        kn.jit(function)(np.ones(8))
        return time.perf_counter() - start

    forward = [first_call(long) for _ in range(COMPILES)]
    backward = [first_call(kn.grad(lambda x: np.sum(long(x)))) for _ in range(COMPILES)]
    median = Spread.of(backward).median
    print(f"\ncompiling {OPERATIONS} operations")
    print(f"  forward {Spread.of(forward).median:.2f} s, its gradient {median:.2f} s")
    return Row(
        f"tracing and compiling {OPERATIONS} operations, in {COMPILE_BAR:.0f} s",
        f"{Spread.of(forward).median:.2f} s",
        f"its gradient {median:.2f} s",
        Spread.of([each / COMPILE_BAR for each in forward]),
        1,
    )


def main() -> list[Row]:
    rows = [compile_time(), elementwise_chain()]
    rows += [gradient_of_mlp(name) for name in mlp.SIZES]
    return [*rows, resnet_gradient()]


if __name__ == "__main__":
    main()
