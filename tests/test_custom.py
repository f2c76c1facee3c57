"""`custom_vjp` and `custom_jvp`: rules of the user's own, under every transformation."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kinone as kn
from kinone.errors import (
    GradientError,
    LeafError,
    LeakedTracerError,
    MissingRuleError,
    TreeError,
)
from kinone.testing import check_grads

rng = np.random.default_rng(0)
X, Y = rng.normal(size=3), rng.normal(size=(2, 3))


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def close(got: Any, want: Any) -> None:
    want = jax.tree.map(np.asarray, want)
    assert kn.tree.structure(got) == kn.tree.structure(want)
    for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
        assert (np.shape(a), np.asarray(a).dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def summed(lib: Any, xp: Any, f: Any, axes: Any) -> Any:
    """The gradient of a sum over a batch."""
    mapped = lib.vmap(f, axes)
    return lib.grad(lambda *args: xp.sum(mapped(*args) ** 2), (0, 1))


# The rules are off by known factors, so that a derivative shows whether the rule was used.


def product(lib: Any, xp: Any) -> Any:
    """w @ x of a tree, whose gradient is doubled for x and tripled for w."""
    f = lib.custom_vjp(lambda p, x: {"y": p["w"] @ x, "s": xp.sum(p["b"])})

    def fwd(p: Any, x: Any) -> Any:
        return f(p, x), (p["w"], [x])

    def bwd(residuals: Any, g: Any) -> Any:
        w, (x,) = residuals
        return {"w": 3 * xp.outer(g["y"], x), "b": xp.ones(2) * g["s"]}, 2 * (w.T @ g["y"])

    f.defvjp(fwd, bwd)
    return f


def loss(lib: Any, xp: Any) -> Any:
    f = product(lib, xp)

    def total(p: Any, x: Any) -> Any:
        found = f(p, xp.sin(x))
        return xp.sum(found["y"] ** 2) * found["s"]

    return total


PARAMS = {"w": Y, "b": rng.normal(size=2)}
MANY = rng.normal(size=(4, 3))


@pytest.mark.oracle
class TestCustomVjp:
    def test_the_function_itself(self) -> None:
        f = product(kn, np)
        close(f(PARAMS, X), {"y": Y @ X, "s": PARAMS["b"].sum()})
        assert f.__name__ == "<lambda>"

    def test_the_rule_is_used(self) -> None:
        ours, theirs = loss(kn, np), loss(jax, jnp)
        close(kn.grad(ours, (0, 1))(PARAMS, X), jax.grad(theirs, (0, 1))(PARAMS, X))
        close(kn.grad(ours, 1)(PARAMS, X), jax.grad(theirs, 1)(PARAMS, X))
        close(kn.jacrev(product(kn, np))(PARAMS, X), jax.jacrev(product(jax, jnp))(PARAMS, X))

    def test_under_vmap(self) -> None:
        ours, theirs = loss(kn, np), loss(jax, jnp)
        many = {"w": rng.normal(size=(4, 2, 3)), "b": rng.normal(size=(4, 2))}
        cases: list[Any] = [
            ((None, 0), PARAMS),
            ((0, None), many),
            ((0, 0), many),
            (({"w": 0, "b": None}, None), {"w": many["w"], "b": PARAMS["b"]}),
        ]
        for axes, p in cases:
            x = MANY if axes[1] == 0 else X
            close(kn.vmap(ours, axes)(p, x), jax.vmap(theirs, axes)(p, x))
            for argnums in (0, 1, (0, 1)):
                close(
                    kn.vmap(kn.grad(ours, argnums), axes)(p, x),
                    jax.vmap(jax.grad(theirs, argnums), axes)(p, x),
                )
            close(summed(kn, np, ours, axes)(p, x), summed(jax, jnp, theirs, axes)(p, x))

    def test_nested_vmap(self) -> None:
        ours, theirs = loss(kn, np), loss(jax, jnp)
        w = rng.normal(size=(2, 2, 3))

        def twice(lib: Any, f: Any) -> Any:
            g = lib.grad(lambda w, x: f({"w": w, "b": np.ones(2)}, x))
            return lib.vmap(lib.vmap(g, (None, 0)), (0, None))

        close(twice(kn, ours)(w, MANY), twice(jax, theirs)(w, MANY))

        def outside(lib: Any, xp: Any, f: Any) -> Any:
            one = lambda w, x: f({"w": w, "b": np.ones(2)}, x)  # noqa: E731
            both = lib.vmap(lib.vmap(one, (None, 0)), (0, None))
            return lib.grad(lambda w, x: xp.sum(both(w, x)), (0, 1))

        close(outside(kn, np, ours)(w, MANY), outside(jax, jnp, theirs)(w, MANY))

    def test_second_order_goes_through_the_rule(self) -> None:
        def cube(lib: Any) -> Any:
            f = lib.custom_vjp(lambda x: x**3)
            f.defvjp(lambda x: (f(x), x), lambda x, g: (g * 6 * x**2,))
            return f

        ours, theirs = cube(kn), cube(jax)
        for order in range(1, 4):
            a: Any = ours
            b: Any = theirs
            for _ in range(order):
                a, b = kn.grad(a), jax.grad(b)
            close(a(1.5), b(1.5))

    def test_hessian(self) -> None:
        """Forward over reverse mode differentiates `fwd` and `bwd`, two ordinary functions."""

        def cube(lib: Any) -> Any:
            f = lib.custom_vjp(lambda x: x**3)
            f.defvjp(lambda x: (x**3, x), lambda x, g: (g * 6 * x**2,))
            return f

        ours, theirs = cube(kn), cube(jax)
        close(kn.hessian(lambda x: np.sum(ours(x)))(X), jax.hessian(lambda x: theirs(x).sum())(X))

    def test_in_a_program(self) -> None:
        ours, want = loss(kn, np), jax.grad(loss(jax, jnp), (0, 1))(PARAMS, X)
        program = kn.graph(ours)(PARAMS, X)
        assert [e.primitive.name for e in program.equations].count("custom_vjp") == 1
        assert "custom_vjp[call=<lambda>, program=" in str(program)
        close(program(PARAMS, X), ours(PARAMS, X))
        close(kn.grad(program, (0, 1))(PARAMS, X), want)
        close(kn.graph(kn.grad(ours, (0, 1)))(PARAMS, X)(PARAMS, X), want)
        compiled = kn.jit(ours)
        for _ in range(2):
            close(compiled(PARAMS, X), ours(PARAMS, X))
            close(kn.jit(kn.grad(ours, (0, 1)))(PARAMS, X), want)
            close(kn.grad(compiled, (0, 1))(PARAMS, X), want)
        close(
            kn.jit(kn.vmap(compiled, (None, 0)))(PARAMS, MANY),
            kn.vmap(ours, (None, 0))(PARAMS, MANY),
        )

    @pytest.mark.parametrize("by", ["number", "name"])
    def test_nondifferentiable_arguments(self, by: str) -> None:
        given: Any = (
            {"nondiff_argnums": (0, 2)} if by == "number" else {"nondiff_argnames": ["g", "n"]}
        )

        @functools.partial(kn.custom_vjp, **given)
        def f(g: Any, x: Any, n: int = 2) -> Any:
            return g(x) * n

        def fwd(g: Any, x: Any, n: int) -> Any:
            return f(g, x, n), x

        def bwd(g: Any, n: int, x: Any, ct: Any) -> Any:
            assert (g, n) == (np.sin, 2)
            return (ct * 10 * x,)

        f.defvjp(fwd, bwd)
        assert kn.grad(lambda x: f(np.sin, x, 2))(3.0) == 30.0
        assert kn.grad(lambda x: f(np.sin, x))(3.0) == 30.0  # the default
        assert kn.grad(lambda x: f(x=x, g=np.sin))(3.0) == 30.0
        close(kn.vmap(kn.grad(lambda x: f(np.sin, x)))(X), 10 * X)
        assert f(np.sin, 0.0, 5) == 0.0

    def test_zeros_as_none(self) -> None:
        f = kn.custom_vjp(lambda p, x, n: p["a"] * x * p["b"][0] * n)
        f.defvjp(
            lambda p, x, n: (f(p, x, n), x), lambda x, g: ({"a": g * x, "b": None}, None, None)
        )
        found = kn.grad(f, (0, 1))({"a": 2.0, "b": [3.0, 1.0]}, 4.0, 5)
        close(found, ({"a": np.float64(4.0), "b": [np.float64(0), np.float64(0)]}, np.float64(0)))

    def test_results_that_are_not_used_or_not_floating(self) -> None:
        seen = []

        def bwd(_: None, g: Any) -> Any:
            seen.append(g)
            return (g[0] * 2,)

        f = kn.custom_vjp(lambda x: (x * 1.0, np.argmax(x), np.sum(x)))
        f.defvjp(lambda x: (f(x), None), bwd)
        assert np.array_equal(kn.grad(lambda x: np.sum(f(x)[0]))(X), [2, 2, 2])
        assert seen[0][2] == 0.0
        value, index, _ = f(X)
        assert index == np.argmax(X)
        assert np.array_equal(value, X)

    def test_cotangents_that_do_not_depend_on_g(self) -> None:
        """vmap is the loop over examples here too: what all examples return for an operand that
        they share adds up. (JAX's own vmap counts it once; the loop under JAX is the oracle.)"""

        def make(lib: Any, xp: Any, mapped: Any) -> Any:
            f = lib.custom_vjp(lambda w, x: w * x)
            f.defvjp(lambda w, x: (w * x, x), lambda x, g: (xp.ones(()) * 3.0, x * 0 + 2.0))
            return lib.grad(lambda w, x: xp.sum(mapped(f)(w, x)), (0, 1))

        def loop(f: Any) -> Any:
            return lambda w, x: jnp.stack([f(w, each) for each in x])

        found = make(kn, np, lambda f: kn.vmap(f, (None, 0)))(2.0, X)
        close(found, jax.tree.map(np.asarray, make(jax, jnp, loop)(2.0, jnp.asarray(X))))

    def test_functions_of_numpy_and_keyword_defaults(self) -> None:
        f = kn.custom_vjp(np.sin)
        f.defvjp(lambda x: (np.sin(x), x), lambda x, g: (g * 5,))
        assert kn.grad(f)(0.0) == 5.0

        @kn.custom_vjp
        def h(x: Any, *, flag: bool = True) -> Any:
            return x if flag else -x

        h.defvjp(lambda x: (x, None), lambda _, g: (g * 3,))
        assert kn.grad(h)(1.0) == 3.0
        with pytest.raises(TypeError, match="h takes flag by keyword alone"):
            kn.grad(lambda x: h(x, flag=False))(1.0)

    def test_methods(self) -> None:
        class Layer:
            scale = 3.0

            @functools.partial(kn.custom_vjp, nondiff_argnums=0)
            def __call__(self, x: Any) -> Any:
                return x * self.scale

            __call__.defvjp(lambda self, x: (x * self.scale, None), lambda self, _, g: (g * 7,))

        assert Layer()(2.0) == 6.0
        assert kn.grad(Layer().__call__)(2.0) == 7.0

    def test_forward_mode_is_refused(self) -> None:
        f = product(kn, np)
        with pytest.raises(MissingRuleError, match=r"has a custom_vjp rule.*test_custom\.py"):
            kn.jvp(lambda x: f(PARAMS, x), (X,), (X,))
        with pytest.raises(TypeError, match="Give it a custom_jvp rule instead"):
            kn.jacfwd(lambda x: f(PARAMS, x))(X)

    def test_without_a_rule(self) -> None:
        f = kn.custom_vjp(np.sin)
        with pytest.raises(AttributeError, match=r"sin\.defvjp\(fwd, bwd\)"):
            f(1.0)


SCALES = {"a": np.ones(3)}


class TestWhatBwdReturns:
    @staticmethod
    def returning(value: Any) -> Any:
        def scale(p: Any, x: Any) -> Any:
            return p["a"] * x

        f = kn.custom_vjp(scale)
        f.defvjp(lambda p, x: (f(p, x), None), lambda _, g: value)
        return kn.grad(lambda p, x: np.sum(f(p, x)), (0, 1))

    def test_not_a_tuple(self) -> None:
        with pytest.raises(
            TreeError,
            match=r"the bwd of scale returned a ndarray, and a tuple with a cotangent for each of "
            r"p, x is wanted, at .*test_custom\.py",
        ):
            self.returning(X)(SCALES, X)
        with pytest.raises(TreeError, match="returned a tuple of 1"):
            self.returning((X,))(SCALES, X)

    def test_another_tree(self) -> None:
        with pytest.raises(TreeError) as caught:
            self.returning(({"b": X}, X))(SCALES, X)
        text = str(caught.value)
        assert "a cotangent for p whose structure is not p's" in text
        assert "'a'" in text
        assert "'b'" in text
        with pytest.raises(TreeError, match="a cotangent for x whose structure"):
            self.returning(({"a": X}, [X]))(SCALES, X)
        with pytest.raises(TreeError, match="a cotangent for p whose structure"):
            self.returning((X, X))(SCALES, X)

    def test_another_shape_or_dtype(self) -> None:
        with pytest.raises(
            ValueError, match=r"float64\[2\] as the cotangent of p/a, which is float64\[3\]"
        ):
            self.returning(({"a": np.ones(2)}, X))(SCALES, X)
        with pytest.raises(
            ValueError, match=r"float32\[3\] as the cotangent of x, which is float64"
        ):
            self.returning(({"a": X}, X.astype(np.float32)))(SCALES, X)
        with pytest.raises(ValueError, match=r"complex128"):
            self.returning(({"a": X}, 1j * X))(SCALES, X)
        with pytest.raises(ValueError, match=r"float64\[\] as the cotangent of x"):
            self.returning(({"a": X}, 0.0))(SCALES, X)

    def test_fwd(self) -> None:
        f = kn.custom_vjp(lambda x: x * 2)
        f.defvjp(lambda x: x * 2, lambda _, g: (g,))
        with pytest.raises(GradientError, match=r"\(result, residuals\) is wanted"):
            kn.grad(f)(2.0)

    def test_leaves_that_are_no_numbers(self) -> None:
        f = kn.custom_vjp(lambda x, mode: x)
        f.defvjp(lambda x, mode: (x, None), lambda _, g: (g, None))
        with pytest.raises(LeafError, match=r"mode is a str(.|\n)*nondiff_argnames"):
            kn.grad(lambda x: f(x, "fast"))(2.0)


class TestClosures:
    """A derivative with respect to a value that is closed over is right or refused, never zero."""

    @staticmethod
    def scaled(w: Any, *, custom: str) -> Any:
        if custom == "vjp":
            f: Any = kn.custom_vjp(lambda x: x * w)
            f.defvjp(lambda x: (x * w, None), lambda _, g: (g * w,))
        elif custom == "jvp":
            f = kn.custom_jvp(lambda x: x * w)
            f.defjvp(lambda xs, ts: (xs[0] * w, ts[0] * w))
        else:
            f = kn.checkpoint(lambda x: x * w)
        return f

    @pytest.mark.parametrize("custom", ["vjp", "jvp"])
    def test_the_same_trace(self, custom: str) -> None:
        def f(w: Any, x: Any) -> Any:
            return self.scaled(w, custom=custom)(x)

        with pytest.raises(
            GradientError, match=r"which grad traces(.|\n)*\* w\.(.|\n)*as an argument"
        ):
            kn.grad(f, (0, 1))(2.0, 3.0)
        if custom == "jvp":
            with pytest.raises(GradientError, match="without being given it"):
                kn.jvp(f, (2.0, 3.0), (1.0, 1.0))
        with pytest.raises(GradientError, match="without being given it"):
            kn.vmap(f)(X, X)

    @pytest.mark.parametrize("custom", ["vjp", "jvp"])
    def test_an_inner_trace(self, custom: str) -> None:
        def f(x: Any) -> Any:
            return kn.grad(lambda w: self.scaled(w, custom=custom)(x))(2.0)

        with pytest.raises(GradientError, match="without being given it"):
            kn.grad(f)(3.0)

    @pytest.mark.parametrize("custom", ["vjp", "jvp", "checkpoint"])
    def test_an_outer_trace_is_right(self, custom: str) -> None:
        def f(w: Any) -> Any:
            return kn.grad(lambda x: self.scaled(w, custom=custom)(x) * x)(3.0)

        assert kn.grad(f)(2.0) == 6.0

    @pytest.mark.parametrize("custom", ["vjp", "jvp"])
    def test_nothing_else_is_traced(self, custom: str) -> None:
        assert kn.grad(lambda w: self.scaled(w, custom=custom)(3.0))(2.0) == 3.0

    @pytest.mark.parametrize("custom", ["vjp", "jvp"])
    def test_in_a_program(self, custom: str) -> None:
        with pytest.raises(GradientError, match=r"uses w, which \w+ traces"):
            kn.jit(lambda w, x: self.scaled(w, custom=custom)(x))(2.0, 3.0)

    def test_only_the_residuals(self) -> None:
        def f(w: Any, x: Any) -> Any:
            g = kn.custom_vjp(lambda x: x * 2)
            g.defvjp(lambda x: (x * 2, None), lambda _, ct: (ct * w,))
            return g(x)

        with pytest.raises(LeakedTracerError) as caught:
            kn.grad(f, (0, 1))(2.0, 3.0)
        assert "as a residual" in caught.value.__notes__[0]


# ---- custom_jvp ----------------------------------------------------------------------------------


def norm(lib: Any, xp: Any) -> Any:
    """sqrt(Σ a x²) and a tree beside it; the derivative is doubled."""
    f = lib.custom_jvp(lambda a, p: (xp.sqrt(xp.sum(a * p["x"] ** 2)), [p["y"] * a]))

    def rule(primals: Any, tangents: Any) -> Any:
        a, p = primals
        ta, tp = tangents
        value, rest = f(a, p)
        along = xp.sum(ta * p["x"] ** 2 + 2 * a * p["x"] * tp["x"]) / (2 * value)
        return (value, rest), (2 * along, [3 * (tp["y"] * a + p["y"] * ta)])

    f.defjvp(rule)
    return f


def norm_loss(lib: Any, xp: Any) -> Any:
    f = norm(lib, xp)

    def total(a: Any, p: Any) -> Any:
        value, rest = f(xp.exp(a), p)
        return value**2 + xp.sum(rest[0] ** 3)

    return total


P = {"x": X, "y": Y[0]}
MANY_P = {"x": rng.normal(size=(4, 3)), "y": rng.normal(size=(4, 3))}


@pytest.mark.oracle
class TestCustomJvp:
    def test_both_modes(self) -> None:
        ours, theirs = norm_loss(kn, np), norm_loss(jax, jnp)
        close(kn.grad(ours, (0, 1))(0.3, P), jax.grad(theirs, (0, 1))(0.3, P))
        close(kn.grad(ours, 1)(0.3, P), jax.grad(theirs, 1)(0.3, P))
        t = (1.5, {"x": Y[1], "y": X})
        close(kn.jvp(ours, (0.3, P), t), jax.jvp(theirs, (0.3, P), t))
        close(kn.linearize(ours, 0.3, P)[1](*t), jax.linearize(theirs, 0.3, P)[1](*t))
        close(kn.jacfwd(norm(kn, np), 1)(0.3, P), jax.jacfwd(norm(jax, jnp), 1)(0.3, P))
        close(kn.jacrev(norm(kn, np), 1)(0.3, P), jax.jacrev(norm(jax, jnp), 1)(0.3, P))

    def test_second_order(self) -> None:
        ours, theirs = norm_loss(kn, np), norm_loss(jax, jnp)
        close(kn.hessian(ours, 1)(0.3, P), jax.hessian(theirs, 1)(0.3, P))
        close(kn.jacrev(kn.jacrev(ours))(0.3, P), jax.jacrev(jax.jacrev(theirs))(0.3, P))
        close(kn.jacfwd(kn.jacfwd(ours))(0.3, P), jax.jacfwd(jax.jacfwd(theirs))(0.3, P))
        close(kn.jacrev(kn.jacfwd(ours))(0.3, P), jax.jacrev(jax.jacfwd(theirs))(0.3, P))

    def test_under_vmap(self) -> None:
        ours, theirs = norm_loss(kn, np), norm_loss(jax, jnp)
        a = np.array([0.1, 0.2, 0.3, 0.4])
        for axes, args in (((None, 0), (0.3, MANY_P)), ((0, None), (a, P)), ((0, 0), (a, MANY_P))):
            close(kn.vmap(ours, axes)(*args), jax.vmap(theirs, axes)(*args))
            close(
                kn.vmap(kn.grad(ours, (0, 1)), axes)(*args),
                jax.vmap(jax.grad(theirs, (0, 1)), axes)(*args),
            )
            close(summed(kn, np, ours, axes)(*args), summed(jax, jnp, theirs, axes)(*args))
            t = kn.tree.map(lambda x: x * 2.0, args)
            close(kn.jvp(kn.vmap(ours, axes), args, t), jax.jvp(jax.vmap(theirs, axes), args, t))

    def test_in_a_program(self) -> None:
        ours, want = norm_loss(kn, np), jax.grad(norm_loss(jax, jnp), (0, 1))(0.3, P)
        program = kn.graph(ours)(0.3, P)
        assert [e.primitive.name for e in program.equations].count("custom_jvp") == 1
        close(kn.grad(program, (0, 1))(0.3, P), want)
        close(kn.graph(kn.grad(ours, (0, 1)))(0.3, P)(0.3, P), want)
        close(kn.jit(kn.grad(ours, (0, 1)))(0.3, P), want)
        close(kn.grad(kn.jit(ours), (0, 1))(0.3, P), want)
        close(kn.vmap(kn.jit(ours), (None, 0))(0.3, MANY_P), kn.vmap(ours, (None, 0))(0.3, MANY_P))

    def test_right_rules_pass_the_check(self) -> None:
        f = kn.custom_jvp(lambda x: np.log(1 + np.exp(x)))

        @f.defjvp
        def rule(xs: Any, ts: Any) -> Any:
            return f(*xs), ts[0] / (1 + np.exp(-xs[0]))

        check_grads(f, (X,), order=3)
        assert kn.grad(f)(0.0) == 0.5
        assert rule((0.0,), (1.0,))[1] == 0.5

    def test_defjvps(self) -> None:
        def make(lib: Any) -> Any:
            f = lib.custom_jvp(lambda a, b, c: a * b * c)
            f.defjvps(lambda t, y, a, b, c: 2 * t * y, None, lambda t, y, a, b, c: 3 * t * b)
            return f

        close(
            kn.grad(make(kn), (0, 1, 2))(1.5, 2.0, 3.0),
            jax.grad(make(jax), (0, 1, 2))(1.5, 2.0, 3.0),
        )
        nothing = kn.custom_jvp(lambda a: a * 2)
        nothing.defjvps(None)
        assert kn.grad(nothing)(1.0) == 0.0

    def test_nondifferentiable_arguments(self) -> None:
        @functools.partial(kn.custom_jvp, nondiff_argnums=(0,), nondiff_argnames="n")
        def f(g: Any, x: Any, n: int = 2) -> Any:
            return g(x) * n

        @f.defjvp
        def rule(g: Any, n: int, primals: Any, tangents: Any) -> Any:
            (x,), (t,) = primals, tangents
            return f(g, x, n), 10 * n * t

        assert kn.grad(lambda x: f(np.sin, x))(3.0) == 20.0
        assert kn.jvp(lambda x: f(np.sin, x, n=3), (3.0,), (1.0,))[1] == 30.0
        with pytest.raises(ValueError, match="nondiff_argnames='m', but sin has no such"):
            kn.custom_jvp(np.sin, nondiff_argnames="m")

    def test_integers(self) -> None:
        f = kn.custom_jvp(lambda x, n: (x**n, n + 1))
        f.defjvp(lambda xs, ts: (f(*xs), (xs[1] * xs[0] * ts[0], ts[1])))
        assert kn.grad(lambda x: f(x, np.array(3))[0])(2.0) == 6.0
        value, tangent = kn.jvp(f, (2.0, np.array(3)), (1.0, np.array(0)))
        assert (value[1], tangent[0], tangent[1]) == (4, 6.0, 0)

    def test_refused(self) -> None:
        f = kn.custom_jvp(lambda x: x * 2)
        with pytest.raises(AttributeError, match="has no rule yet"):
            f(1.0)
        for rule, error, text in (
            (lambda xs, ts: xs[0], GradientError, r"\(result, tangent\) is wanted"),
            (lambda xs, ts: (xs[0], [ts[0]]), TreeError, "returned another tree"),
            (lambda xs, ts: (xs[0], ts[0][:2]), ValueError, r"float64\[2\] as the tangent of the"),
            (lambda xs, ts: (xs[0], ts[0].astype(np.float32)), ValueError, "float32"),
        ):
            f.defjvp(rule)
            with pytest.raises(error, match=text):  # type: ignore[call-overload]
                kn.jvp(f, (X,), (X,))
            with pytest.raises(error, match=text):  # type: ignore[call-overload]
                kn.grad(lambda x: np.sum(f(x)))(X)
        f.defjvp(lambda xs, ts: (ts[0], xs[0]))
        with pytest.raises(GradientError, match="depends on the tangents"):
            kn.grad(lambda x: np.sum(f(x)))(X)


# ---- rules that are made of other transformations -----------------------------------------------


def looped(x: Any) -> Any:
    return kn.scan(lambda c, _: (np.sin(c) * c, None), x, None, length=3)[0]


def branched(x: Any) -> Any:
    return kn.cond(np.sum(x) > 0, np.sin, np.cos, x)


FUNCTIONS = {
    "jit": kn.jit(lambda x: np.sin(x) * x),
    "checkpoint": kn.checkpoint(lambda x: np.sin(x) * x),
    "scan": looped,
    "cond": branched,
    "fori_loop": lambda x: kn.fori_loop(0, 3, lambda i, c: np.sin(c), x),
    "jit of scan": kn.jit(looped),
    "checkpoint of jit": kn.checkpoint(kn.jit(np.sin)),
}


def total(f: Any) -> Any:
    return lambda x: np.sum(f(x))


def repeated(f: Any) -> Any:
    return total(lambda x: kn.scan(lambda c, _: (f(c), None), x, None, length=2)[0])


UNDER = {
    "grad": lambda f: kn.grad(total(f)),
    "jit(grad)": lambda f: kn.jit(kn.grad(total(f))),
    "grad(jit)": lambda f: kn.grad(kn.jit(total(f))),
    "grad(checkpoint)": lambda f: kn.grad(kn.checkpoint(total(f))),
    "vmap(grad)": lambda f: kn.vmap(kn.grad(f)),
    "grad(vmap)": lambda f: kn.grad(total(kn.vmap(f))),
    "jit(vmap(grad))": lambda f: kn.jit(kn.vmap(kn.grad(f))),
    "hessian": lambda f: kn.hessian(total(f)),
    "grad(grad)": lambda f: kn.grad(total(kn.grad(total(f)))),
    "jit(grad(grad))": lambda f: kn.jit(kn.grad(total(kn.grad(total(f))))),
    "jacfwd": kn.jacfwd,
    "jit(jacfwd)": lambda f: kn.jit(kn.jacfwd(f)),
    "jit(grad(scan))": lambda f: kn.jit(kn.grad(repeated(f))),
}


class TestRulesOfTransformations:
    """A compiled function, a checkpoint or a loop takes values and tangents through together."""

    @pytest.mark.parametrize("under", UNDER)
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_jvp_in_the_rule(self, name: str, under: str) -> None:
        function = FUNCTIONS[name]
        f = kn.custom_jvp(lambda x: function(x))
        f.defjvp(lambda primals, tangents: kn.jvp(function, primals, tangents))
        close(UNDER[under](f)(X), UNDER[under](function)(X))

    def test_the_rule_itself_compiled(self) -> None:
        f = kn.custom_jvp(np.sin)
        f.defjvp(kn.jit(lambda xs, ts: (np.sin(xs[0]), 3 * np.cos(xs[0]) * ts[0])))
        close(kn.grad(total(f))(X), 3 * np.cos(X))
        close(kn.jit(kn.grad(total(f)))(X), 3 * np.cos(X))

    def test_computed_further(self) -> None:
        f = kn.custom_jvp(lambda x: np.exp(np.sin(x)))

        @f.defjvp
        def rule(primals: Any, tangents: Any) -> Any:
            y, t = kn.jvp(kn.jit(np.sin), primals, tangents)
            return np.exp(y), np.exp(y) * t

        close(kn.grad(total(f))(X), np.exp(np.sin(X)) * np.cos(X))
        close(kn.hessian(total(f))(X), kn.hessian(total(lambda x: np.exp(np.sin(x))))(X))

    def test_tangents_in_the_value_are_refused_still(self) -> None:
        f = kn.custom_jvp(np.sin)

        @f.defjvp
        def rule(primals: Any, tangents: Any) -> Any:
            y, t = kn.jvp(kn.jit(np.sin), primals, tangents)
            return y + tangents[0], t

        with pytest.raises(GradientError, match="depends on the tangents"):
            kn.grad(total(f))(X)


class TestPositions:
    @pytest.mark.parametrize("custom", [kn.custom_vjp, kn.custom_jvp])
    @pytest.mark.parametrize("number", [2, -3])
    def test_out_of_range(self, custom: Any, number: int) -> None:
        def scaled(a: Any, b: Any) -> Any:
            return a * b

        f = custom(scaled, nondiff_argnums=(number,))
        if custom is kn.custom_vjp:
            f.defvjp(lambda a, b: (a * b, None), lambda _, g: (g, g))
        else:
            f.defjvp(lambda xs, ts: (xs[0] * xs[1], ts[0]))
        text = rf"nondiff_argnums={number}, but scaled was called with 2 positional arguments, at"
        with pytest.raises(GradientError, match=text):
            kn.grad(f)(2.0, 3.0)

    @pytest.mark.parametrize("number", [np.int64(1), -1, np.array([1])[0], [np.int32(1)]])
    def test_numpy_integers(self, number: Any) -> None:
        f = kn.custom_vjp(lambda a, b: a * b, nondiff_argnums=number)
        f.defvjp(lambda a, b: (a * b, None), lambda b, _, g: (10 * g * b,))
        assert kn.grad(f)(2.0, 3.0) == 30.0

    def test_no_integers(self) -> None:
        with pytest.raises(TypeError, match="nondiff_argnums wants integers, and got 'a'"):
            kn.custom_vjp(lambda a: a, nondiff_argnums="a")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="nondiff_argnums wants integers, and got True"):
            kn.custom_jvp(lambda a: a, nondiff_argnums=True)


# ---- what the errors say -------------------------------------------------------------------------


def scale(p: Any, x: Any) -> Any:
    return p["a"] * x


def with_cotangents(value: Any) -> Any:
    f = kn.custom_vjp(scale)
    f.defvjp(lambda p, x: (scale(p, x), None), lambda _, g: value)
    return lambda: kn.grad(lambda p, x: np.sum(f(p, x)), (0, 1))(SCALES, X)


def with_rule(rule: Any) -> Any:
    f = kn.custom_jvp(np.sin)
    f.defjvp(rule)
    return lambda: kn.grad(lambda x: np.sum(f(x)))(X)


GOLDEN = [
    (
        with_cotangents(X),
        "TreeError: the bwd of scale returned a ndarray, and a tuple with a cotangent for each of "
        "p, x is wanted, at test_custom.py:LINE  f(p, x)",
    ),
    (
        with_cotangents(({"b": X}, X)),
        "TreeError: the bwd of scale returned a cotangent for p whose structure is not p's, "
        "at test_custom.py:LINE  f(p, x)\n"
        "  p: TreeDef({'a': *})\n"
        "  cotangent: TreeDef({'b': *})\n"
        "  a: missing in the second tree\n"
        "  b: not in the first tree",
    ),
    (
        with_cotangents(({"a": X[:2]}, X)),
        "ValueError: the bwd of scale returned float64[2] as the cotangent of p/a, which is "
        "float64[3], at test_custom.py:LINE  f(p, x)\n"
        "  A cotangent has its argument's shape and dtype: sum over the axes that were broadcast, "
        "write g.astype(...) for another dtype.",
    ),
    (
        with_rule(lambda xs, ts: xs[0]),
        "GradientError: the jvp rule of sin returned a ndarray, and (result, tangent) is wanted, "
        "at test_custom.py:LINE  f(x)",
    ),
    (
        with_rule(lambda xs, ts: (xs[0], ts[0][:2])),
        "ValueError: the jvp rule of sin returned float64[2] as the tangent of the result, which "
        "is float64[3], at test_custom.py:LINE  f(x)",
    ),
    (
        with_rule(lambda xs, ts: (ts[0], xs[0])),
        "GradientError: the value that the jvp rule of sin returned depends on the tangents, "
        "at test_custom.py:LINE  f(x)\n"
        "  Return (result, tangent), in this order.",
    ),
]


@pytest.mark.parametrize(("run", "text"), GOLDEN)
def test_the_whole_text(run: Any, text: str) -> None:
    with pytest.raises(Exception) as caught:
        run()
    found = f"{type(caught.value).__name__}: {caught.value}"
    found = re.sub(r"[^\s\"'(]*test_custom\.py:\d+", "test_custom.py:LINE", found)
    # Errors that pass through a primitive go on to name it and its operands.
    assert found.partition("\n  in custom_")[0] == text
