"""The gradient of a multi-layer perceptron: what the engine costs beside the arithmetic.

`python -m benchmarks.mlp`. Kinone and HIPS autograd run the very same function, written as one
writes NumPy; only the `np` in it differs (Kinone takes NumPy itself).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import kinone as kn

from .harness import Row, Timing, compare, milliseconds, show

SIZES = {
    "16-16-16-10, batch 8": ((16, 16, 16, 10), 8),
    "784-256-256-10, batch 64": ((784, 256, 256, 10), 64),
}
BAR = 0.35


def make_loss(np: Any, logsumexp: Callable[..., Any]) -> Callable[..., Any]:
    """Softmax cross-entropy of a tanh MLP, as autograd's own `neural_net.py` writes it."""

    def loss(params: Any, inputs: Any, targets: Any) -> Any:
        outputs = inputs
        for weights, bias in params:
            outputs = np.dot(inputs, weights) + bias
            inputs = np.tanh(outputs)
        log_probabilities = outputs - logsumexp(outputs, axis=1, keepdims=True)
        return -np.sum(log_probabilities * targets) / len(targets)

    return loss


def problem(sizes: tuple[int, ...], batch: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Parameters, inputs and one-hot targets."""
    random = np.random.default_rng(0)
    params = [
        (
            (random.standard_normal((m, n)) / np.sqrt(m)).astype(dtype),
            (0.1 * random.standard_normal(n)).astype(dtype),
        )
        for m, n in pairwise(sizes)
    ]
    inputs = random.standard_normal((batch, sizes[0])).astype(dtype)
    targets = np.eye(sizes[-1], dtype=dtype)[random.integers(0, sizes[-1], batch)]
    return params, inputs, targets


def torch_gradient(params: Any, inputs: Any, targets: Any) -> Callable[[], Any]:
    """The same gradient by eager PyTorch."""
    import torch

    leaves = [[torch.tensor(x, requires_grad=True) for x in pair] for pair in params]
    flat = [leaf for pair in leaves for leaf in pair]
    x, labels = torch.tensor(inputs), torch.tensor(targets.argmax(1))

    def gradient() -> Any:
        h = outputs = x
        for weights, bias in leaves:
            outputs = h @ weights + bias
            h = torch.tanh(outputs)
        return torch.autograd.grad(torch.nn.functional.cross_entropy(outputs, labels), flat)

    return gradient


def by_hand(params: Any, inputs: Any, targets: Any) -> list[Any]:
    """The gradient as one would write it without a library: the floor for any."""
    hidden = [inputs]
    logits = inputs
    for number, (weights, bias) in enumerate(params):
        logits = hidden[-1] @ weights + bias
        if number < len(params) - 1:
            hidden.append(np.tanh(logits))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    ct = (exponentials / exponentials.sum(axis=1, keepdims=True) - targets) / len(targets)
    gradients = []
    for (weights, _), h in zip(params[::-1], hidden[::-1], strict=True):
        gradients.append((h.T @ ct, ct.sum(axis=0)))
        if h is not inputs:
            ct = (ct @ weights.T) * (1 - h * h)
    return gradients[::-1]


def measure(name: str, dtype: Any, turns: int = 40) -> dict[str, Timing]:
    """Times one size; checks first that all compute the same gradient."""
    import autograd
    import autograd.numpy as autograd_numpy
    from autograd.scipy.special import logsumexp as autograd_logsumexp

    sizes, batch = SIZES[name]
    args = problem(sizes, batch, dtype)
    loss = make_loss(np, kn.ops.logsumexp)
    ours = kn.grad(loss)
    theirs = autograd.grad(make_loss(autograd_numpy, autograd_logsumexp))
    for mine, other in zip(kn.tree.leaves(ours(*args)), kn.tree.leaves(theirs(*args)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)
    return compare(
        {
            "NumPy, forward only": lambda: loss(*args),
            "NumPy, by hand": lambda: by_hand(*args),
            "Kinone": lambda: ours(*args),
            "autograd": lambda: theirs(*args),
        },
        turns=turns,
        pause=0.01,
    )


def measure_torch(name: str, dtype: Any, turns: int = 20) -> dict[str, Timing]:
    """Kinone and PyTorch. Apart from autograd: PyTorch's idle threads spin, and its import changes
    how the C library hands out memory, which moves the other figures by up to a half."""
    sizes, batch = SIZES[name]
    args = problem(sizes, batch, dtype)
    ours, theirs = kn.grad(make_loss(np, kn.ops.logsumexp)), torch_gradient(*args)
    for mine, other in zip(kn.tree.leaves(ours(*args)), theirs(), strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-3, atol=1e-5)
    return compare({"Kinone": lambda: ours(*args), "PyTorch": theirs}, turns=turns, pause=0.05)


def main() -> list[Row]:
    rows = []
    torch_parts = []
    for name in SIZES:
        for dtype in (np.float64, np.float32):
            title = f"grad of MLP {name}, {np.dtype(dtype).name}"
            if os.environ.get("OPENBLAS_NUM_THREADS") == "1":
                title += ", one thread"
            timings = measure(name, dtype)
            show(title, timings)
            torch_parts.append((f"{title}, beside PyTorch", name, dtype))
            rows.append(
                Row(
                    title,
                    milliseconds(timings["Kinone"].seconds),
                    f"autograd {milliseconds(timings['autograd'].seconds)}",
                    timings["Kinone"].ratio,
                    BAR,
                )
            )
    for title, name, dtype in torch_parts:
        show(title, measure_torch(name, dtype))
    return rows


if __name__ == "__main__":
    main()
