"""Arrays that a derivative will need are read-only until the forward run is over, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn

X = np.arange(1.0, 5.0)


def refused(use: Callable[[Any, Any], Any], array: Any, x: Any = X) -> None:
    """Asserts that `array` cannot be written to once `use(x, array)` was computed of it, that it
    can afterwards, and that the gradient is right where nobody tries."""
    before = array.copy()

    def careless(x: Any) -> Any:
        y = use(x, array)
        array[...] = 0
        return np.sum(y)

    with pytest.raises(ValueError, match="read-only"):
        kn.grad(careless)(x)
    assert array.flags.writeable
    assert np.array_equal(array, before)
    kn.testing.check_grads(lambda x: np.sum(use(x, array)), (x,), order=1, modes=("rev",))
    assert array.flags.writeable
    array[...] = 0


@pytest.mark.parametrize(
    "reduce",
    [
        lambda x, m: np.sum(x * x, where=m),
        lambda x, m: np.mean(x, where=m),
        lambda x, m: np.prod(x, where=m),
        lambda x, m: np.max(x, where=m, initial=0.0),
        lambda x, m: np.sum(np.outer(x, x), where=m),
    ],
)
def test_a_mask_is_held(reduce: Callable[[Any, Any], Any]) -> None:
    refused(reduce, np.array([True, False, True, True]))


@pytest.mark.parametrize(
    ("use", "array"),
    [
        (lambda x, a: np.average(x, weights=a), np.array([1.0, 2.0, 3.0, 4.0])),
        (lambda x, a: np.choose(a, [x, 2 * x]), np.array([0, 1, 0, 1])),
        (lambda x, a: np.where(a, x, 0), np.array([True, False, True, True])),
        (lambda x, a: np.reshape(x, (2, 2)) @ a.T, np.array([[1.0, 2.0], [3.0, 4.0]])),
    ],
)
def test_what_is_seen_through_a_view_is_held(use: Callable[[Any, Any], Any], array: Any) -> None:
    refused(use, array)


def test_the_rest_of_a_buffer_may_be_written_to() -> None:
    buffer = np.ones((2, 4))
    batch = buffer[0]

    def loss(x: Any) -> Any:
        y = x * batch
        buffer[1] = 7  # the next batch
        return np.sum(y)

    assert np.array_equal(kn.grad(loss)(X), np.ones(4))
    assert np.array_equal(buffer[1], np.full(4, 7.0))


def test_views_and_bases_are_writeable_again_in_any_order() -> None:
    base = np.ones((2, 2))
    views = [base.T, base.reshape(-1), base[None], base.T[0]]

    def loss(x: Any) -> Any:
        inner = kn.grad(lambda z: sum(np.sum(z[0] * view) for view in views))(x)
        return np.sum(inner * x) + sum(np.sum(x[0] * view) for view in (*views, base))

    for _ in range(2):
        kn.grad(loss)(X)
        assert all(array.flags.writeable for array in (base, *views))


# ---- rules of users ------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [lambda r: r, lambda r: (r, None), lambda r: {"a": [r, 3]}])
@pytest.mark.parametrize("batched", [False, True])
def test_residuals_of_a_custom_vjp_are_held(pack: Callable[[Any], Any], batched: bool) -> None:
    def scaled(x: Any, r: Any) -> Any:
        @kn.custom_vjp
        def rule(x: Any) -> Any:
            return x * r

        rule.defvjp(
            lambda x: (x * r, pack(r)), lambda kept, g: (g * np.asarray(kn.tree.leaves(kept)[0]),)
        )
        return kn.vmap(rule)(np.stack([x, x])) if batched else rule(x)

    refused(scaled, np.array([1.0, 2.0, 3.0, 4.0]))


def test_arrays_of_a_custom_jvp_rule_are_held() -> None:
    def scaled(x: Any, r: Any) -> Any:
        @kn.custom_jvp
        def rule(x: Any) -> Any:
            return x * 1.0

        @rule.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            return primals[0] * r, tangents[0] * r

        return rule(x)

    r = np.array([1.0, 2.0, 3.0, 4.0])

    def careless(x: Any) -> Any:
        y = scaled(x, r)
        r[...] = 0
        return np.sum(y)

    with pytest.raises(ValueError, match="read-only"):
        kn.grad(careless)(X)
    assert r.flags.writeable
    assert np.array_equal(kn.grad(lambda x: np.sum(scaled(x, r)))(X), r)


@pytest.mark.parametrize("closed", [False, True])
def test_a_checkpoint_computes_again_of_what_it_saw(closed: bool) -> None:
    """It keeps copies of plain arrays, so these stay the caller's."""
    r = np.array([1.0, 2.0, 3.0, 4.0])
    block = kn.checkpoint((lambda x, _: x * r) if closed else (lambda x, a: x * a))

    def loss(x: Any) -> Any:
        y = block(x, r)
        r[...] = 0
        return np.sum(y)

    assert np.array_equal(kn.grad(loss)(X), [1, 2, 3, 4])


# ---- what a tracer has not -----------------------------------------------------------------------


def test_every_attribute_of_an_array_is_there_or_explained() -> None:
    def loss(x: Any) -> Any:
        assert not hasattr(x, "no_such_thing")
        for name in ("ctypes", "strides", "tofile", "byteswap", "setflags"):
            assert not hasattr(x, name)
            with pytest.raises(AttributeError, match=rf"no \.{name}, .*test_holding"):
                getattr(x, name)
        return np.sum(x)

    kn.grad(loss)(X)
    kn.eval_shape(loss, X)
