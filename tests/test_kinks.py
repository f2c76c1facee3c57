"""The page of kinks, row by row: what it says of Kinone, JAX and PyTorch is what they do."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import kinone as kn

PAGE = Path(__file__).parent.parent / "docs" / "kinks.md"


class Row(NamedTuple):
    """One line of a table: `| function | at x = | Kinone | JAX | PyTorch | why |`."""

    function: str
    point: str
    kinone: str
    jax: str
    torch: str
    why: str


def rows() -> list[Row]:
    """The rows of the page's tables; an escaped bar belongs to a cell."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.append(Row(*[cell.strip("`").replace("\\|", "|") for cell in cells]))
    return found


ROWS = rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.function} at {row.point}")


def numbers(text: str) -> Any:
    """`[0.5, inf]` as an array."""
    return np.asarray(eval(text, {"inf": np.inf, "nan": np.nan}), np.float64)


def test_the_page_has_rows() -> None:
    assert len(ROWS) > 50
    assert len({(row.function, row.point) for row in ROWS}) == len(ROWS)
    for row in ROWS:
        ast.parse(row.function)
        assert row.why


@every_row
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kinone(row: Row) -> None:
    x, want = numbers(row.point), numbers(row.kinone)

    def f(x: Any) -> Any:
        return eval(row.function, {"np": np, "kn": kn, "x": x})

    y, pullback = kn.vjp(f, x)
    np.testing.assert_allclose(pullback(np.ones_like(y))[0], want, rtol=1e-12)
    # Forward mode agrees, along each axis, and so do the program and the batch.
    for i in np.ndindex(x.shape):
        direction = np.zeros_like(x)
        direction[i] = 1
        tangent = np.sum(kn.jvp(f, (x,), (direction,))[1])
        if np.isfinite(want).all():  # forward mode multiplies infinite slopes by zero directions
            np.testing.assert_allclose(tangent, want[i], rtol=1e-12)
    total = kn.grad(lambda x: np.sum(f(x)))
    np.testing.assert_allclose(kn.jit(total)(x), want, rtol=1e-12)
    np.testing.assert_allclose(kn.vmap(total)(np.stack([x, x]))[1], want, rtol=1e-12)


@every_row
@pytest.mark.oracle
def test_jax(row: Row) -> None:
    if row.jax == "–":
        return
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    class Kinone:
        ops = jax.nn

    def f(x: Any) -> Any:
        names = {"np": jax.numpy, "kn": Kinone, "x": x}
        return jax.numpy.sum(eval(row.function, names))

    np.testing.assert_allclose(jax.grad(f)(numbers(row.point)), numbers(row.jax), rtol=1e-9)


@every_row
@pytest.mark.oracle
def test_pytorch(row: Row) -> None:
    if row.torch == "–":
        return
    torch = pytest.importorskip("torch")

    class Numpy:
        """PyTorch under NumPy's names."""

        power, linalg = torch.pow, torch.linalg

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def sort(self, x: Any) -> Any:
            return torch.sort(x, stable=True).values

        def cumprod(self, x: Any) -> Any:
            return torch.cumprod(x, 0)

    class Kinone:
        class ops:
            relu, softplus = torch.nn.functional.relu, torch.nn.functional.softplus
            hard_sigmoid = torch.nn.functional.hardsigmoid
            hard_swish = torch.nn.functional.hardswish
            relu6, hard_tanh = torch.nn.functional.relu6, torch.nn.functional.hardtanh
            leaky_relu, elu = torch.nn.functional.leaky_relu, torch.nn.functional.elu
            selu, celu = torch.nn.functional.selu, torch.nn.functional.celu

            @staticmethod
            def logsumexp(x: Any) -> Any:
                return torch.logsumexp(x, 0)

            @staticmethod
            def max_pool(x: Any, window: int) -> Any:
                return torch.nn.functional.max_pool2d(x.permute(0, 3, 1, 2), window)

            @staticmethod
            def adaptive_max_pool(x: Any, size: int) -> Any:
                return torch.nn.functional.adaptive_max_pool2d(x.permute(0, 3, 1, 2), size)

    x = torch.tensor(numbers(row.point), requires_grad=True)
    torch.sum(eval(row.function, {"np": Numpy(), "kn": Kinone, "x": x})).backward()
    np.testing.assert_allclose(x.grad.numpy(), numbers(row.torch), rtol=1e-7)
