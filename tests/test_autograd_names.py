"""Scripts for HIPS autograd: its names, `kinone.extend` and `kinone.misc`, against autograd."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import autograd
import autograd.extend
import autograd.misc.optimizers
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.misc.flatten import flatten as flatten_theirs

import kinone as kn
from kinone import extend
from kinone.errors import BatchLoopWarning, GradientError, MissingRuleError
from kinone.misc import optimizers
from kinone.misc.flatten import flatten, flatten_func
from kinone.testing import check_grads

rng = np.random.default_rng(0)
X, Y, V = rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(size=3)
Z = rng.normal(size=3) + 1j * rng.normal(size=3)
pytestmark = pytest.mark.oracle


def close(got: Any, want: Any) -> None:
    assert kn.tree.structure(got) == kn.tree.structure(want)
    for a, b in zip(kn.tree.leaves(got), kn.tree.leaves(want), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def scalar(np: Any) -> Callable[..., Any]:
    return lambda x, y: np.sum(np.tanh(np.dot(y, x)) ** 2) * x[0]


def vector(np: Any) -> Callable[..., Any]:
    return lambda x, y: np.tanh(np.dot(y, x)) * np.sum(x**2)


class TestNames:
    """Each against autograd's function of that name."""

    @pytest.mark.parametrize("name", ["grad", "value_and_grad", "elementwise_grad", "hessian"])
    def test_of_scalars(self, name: str) -> None:
        for argnum in (0, 1):
            ours, theirs = getattr(kn, name), getattr(autograd, name)
            close(ours(scalar(np), argnum)(X, Y), theirs(scalar(anp), argnum)(X, Y))
        close(kn.grad(scalar(np), (1, 0))(X, Y), autograd.grad(scalar(anp), (1, 0))(X, Y))

    @pytest.mark.parametrize("name", ["jacobian", "elementwise_grad", "deriv"])
    def test_of_vectors(self, name: str) -> None:
        for argnum in (0, 1):
            ours, theirs = getattr(kn, name), getattr(autograd, name)
            close(ours(vector(np), argnum)(X, Y), theirs(vector(anp), argnum)(X, Y))
        close(kn.elementwise_grad(np.tanh)(Y), autograd.elementwise_grad(anp.tanh)(Y))
        both = kn.elementwise_grad(vector(np), (0, 1))(X, Y)
        close(both, autograd.elementwise_grad(vector(anp), (0, 1))(X, Y))

    def test_make_vjp(self) -> None:
        pull, value = kn.make_vjp(vector(np), 1)(X, Y)
        pull_theirs, value_theirs = autograd.make_vjp(vector(anp), 1)(X, Y)
        g = rng.normal(size=2)
        close((pull(g), value), (pull_theirs(g), value_theirs))
        pull, _ = kn.make_vjp(vector(np), (0, 1))(X, Y)
        close(pull(g), autograd.make_vjp(vector(anp), (0, 1))(X, Y)[0](g))
        close(kn.make_vjp(lambda x: 3.0)(X)[0](1.0), np.zeros(3))

    def test_make_jvp(self) -> None:
        close(kn.make_jvp(vector(np))(X, Y)(V), autograd.make_jvp(vector(anp))(X, Y)(V))
        value, tangent = kn.make_jvp(vector(np))(X, Y)(V)
        close(kn.make_jvp_reversemode(vector(np))(X, Y)(V), tangent)
        close(value, vector(np)(X, Y))

    def test_second_order_products(self) -> None:
        product, gradient = kn.make_hvp(scalar(np))(X, Y)
        product_theirs, gradient_theirs = autograd.make_hvp(scalar(anp))(X, Y)
        close((product(V), gradient), (product_theirs(V), gradient_theirs))
        want = autograd.hessian_vector_product(scalar(anp))(X, Y, V)
        close(kn.hessian_vector_product(scalar(np))(X, Y, V), want)
        t = rng.normal(size=(2, 3))
        want = autograd.hessian_tensor_product(scalar(anp), 1)(X, Y, t)
        close(kn.hessian_tensor_product(scalar(np), 1)(X, Y, t), want)
        want = autograd.make_ggnvp(vector(anp))(X, Y)(V)
        close(kn.make_ggnvp(vector(np))(X, Y)(V), want)
        ours = kn.make_ggnvp(vector(np), lambda y: np.sum(np.exp(y)), 1)(X, Y)
        close(ours(t), autograd.make_ggnvp(vector(anp), lambda y: anp.sum(anp.exp(y)), 1)(X, Y)(t))

    def test_tensor_jacobian_product(self) -> None:
        for fun in (vector, lambda np: lambda x, y: np.outer(vector(np)(x, y), x)):
            for tensor in (rng.normal(size=2), rng.normal(size=(2, 3))):
                if np.ndim(tensor) > np.ndim(fun(np)(X, Y)):
                    continue
                for argnum in (0, 1):
                    ours = kn.tensor_jacobian_product(fun(np), argnum)
                    theirs = autograd.tensor_jacobian_product(fun(anp), argnum)
                    close(ours(X, Y, tensor), theirs(X, Y, tensor))
        assert kn.vector_jacobian_product is kn.tensor_jacobian_product

    def test_holomorphic_grad(self) -> None:
        close(
            kn.holomorphic_grad(lambda z: np.sum(z**3))(Z),
            autograd.holomorphic_grad(lambda z: anp.sum(z**3))(Z),
        )
        with pytest.warns(UserWarning, match="not complex"):
            assert kn.holomorphic_grad(lambda x: x * x)(3.0) == 6.0
        with pytest.raises(GradientError, match="wants real results"):
            kn.elementwise_grad(lambda z: z * z)(Z)

    def test_grad_named_and_aux(self) -> None:
        close(kn.grad_named(scalar(np), "y")(X, Y), autograd.grad(scalar(anp), 1)(X, Y))
        found, aux = kn.grad_and_aux(lambda x: (np.sum(x**2), {"x": x * 2}))(X)
        close((found, aux), (2 * X, {"x": 2 * X}))

    def test_multigrad_dict(self) -> None:
        """autograd's own needs a package that is no longer maintained."""

        def f(a: Any, b: Any = 3.0, *rest: Any, scale: float = 1.0, **more: Any) -> Any:
            return a * b * scale + sum(rest) + sum(more.values())

        close(kn.multigrad_dict(f)(2.0)["a"], np.float64(3.0))
        found = kn.multigrad_dict(f)(2.0, 4.0, 5.0, scale=2.0, c=7.0)
        close(found["rest"], (np.float64(1.0),))
        close(found["more"], {"c": np.float64(1.0)})
        assert (found["a"], found["b"], found["scale"]) == (8.0, 4.0, 8.0)

    def test_keyword_arguments_pass_through(self) -> None:
        def f(x: Any, *, power: int = 2) -> Any:
            return np.sum(x**power)

        close(kn.elementwise_grad(f)(X, power=3), 3 * X**2)
        assert kn.make_vjp(f)(X, power=1)[1] == X.sum()
        with pytest.raises(GradientError, match="argnum=1, but f was called with 1 positional"):
            kn.deriv(f, 1)(X)

    def test_nested(self) -> None:
        close(
            kn.elementwise_grad(kn.elementwise_grad(kn.elementwise_grad(np.tanh)))(X),
            autograd.elementwise_grad(
                autograd.elementwise_grad(autograd.elementwise_grad(anp.tanh))
            )(X),
        )
        check_grads(kn.make_hvp(lambda x: np.sum(np.sin(x) ** 2))(X)[0], (V,), order=1)
        close(kn.checkpoint(np.sin)(X), np.sin(X))


# ---- extend --------------------------------------------------------------------------------------


def opaque(library: Any, xp: Any) -> Any:
    """a³ b + s, in a way that no tracer gets through."""

    @library.primitive
    def fun(a: Any, mode: str, b: Any, *, shift: float = 0.0) -> Any:
        assert mode == "cubic"
        out = np.empty(np.shape(a))
        for index, value in np.ndenumerate(a):
            out[index] = float(value) ** 3
        return out * b + shift

    library.defvjp(
        fun,
        lambda ans, a, mode, b, shift=0.0: lambda g: g * 3 * a**2 * b,
        lambda ans, a, mode, b, shift=0.0: lambda g: xp.sum(g * a**3),
        argnums=(0, 2),
    )
    return fun


class TestExtend:
    def test_reverse_mode(self) -> None:
        ours, theirs = opaque(extend, np), opaque(autograd.extend, anp)
        close(ours(X, "cubic", 2.0), theirs(X, "cubic", 2.0))

        def loss(np: Any, f: Any) -> Any:
            return lambda a, b: np.sum(np.sin(f(np.exp(a), "cubic", b, shift=0.5)))

        for argnum in (0, 1, (0, 1)):
            found = kn.grad(loss(np, ours), argnum)(X, 2.0)
            close(found, autograd.grad(loss(anp, theirs), argnum)(X, 2.0))
        second = kn.jacobian(kn.grad(loss(np, ours)), mode="rev")(X, 2.0)
        want = autograd.jacobian(autograd.grad(loss(anp, theirs)))(X, 2.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            close(second, want)

    def test_forward_mode_without_a_rule(self) -> None:
        """The transpose of the reverse-mode rule."""
        f = opaque(extend, np)
        value, tangent = kn.jvp(lambda a, b: f(a, "cubic", b), (X, 2.0), (V, 0.5))
        close(value, 2 * X**3)
        close(tangent, 6 * X**2 * V + 0.5 * X**3)
        check_grads(lambda a, b: f(a, "cubic", b), (X, 2.0), order=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BatchLoopWarning)
            close(kn.hessian(lambda a: np.sum(f(a, "cubic", 2.0)))(X), np.diag(12 * X))

    def test_forward_rules(self) -> None:
        for rules in (
            (lambda g, ans, a, b: 2 * g * b, lambda g, ans, a, b: 3 * g * a),
            ("same", "same"),
            (None, "same"),
        ):
            ours, theirs = (
                library.primitive(lambda a, b: a * b) for library in (extend, autograd.extend)
            )
            for library, f in ((extend, ours), (autograd.extend, theirs)):
                library.defjvp(f, *rules)
            close(
                kn.make_jvp(ours, (0, 1))(X, V)((V, X)),
                autograd.make_jvp(theirs, (0, 1))(X, V)((V, X)),
            )
        nothing = extend.primitive(lambda a: a * 2)
        extend.defjvp(nothing, None)
        assert np.array_equal(kn.jvp(nothing, (X,), (V,))[1], np.zeros(3))
        linear = extend.primitive(lambda a: a * 2)
        extend.def_linear(linear)
        close(kn.jvp(linear, (X,), (V,))[1], 2 * V)

    def test_rules_for_all_arguments(self) -> None:
        def product(library: Any) -> Any:
            f = library.primitive(lambda *xs: functools.reduce(lambda a, b: a * b, xs))
            library.defvjp_argnum(f, lambda i, ans, args, kwargs: lambda g: 2 * g * ans / args[i])
            return f

        close(
            kn.grad(product(extend), (0, 2))(2.0, 3.0, 5.0),
            autograd.grad(product(autograd.extend), (0, 2))(2.0, 3.0, 5.0),
        )
        f = extend.primitive(lambda a, b: a * b)
        extend.defvjp_argnums(f, lambda nums, ans, args, kwargs: lambda g: [g * 7 for _ in nums])
        assert kn.grad(f, (0, 1))(2.0, 3.0) == (7.0, 7.0)
        f = extend.primitive(lambda a, b: a * b)
        extend.defjvp_argnum(f, lambda i, g, ans, args, kwargs: g * (i + 5))
        assert kn.jvp(f, (2.0, 3.0), (1.0, 1.0))[1] == 11.0

    def test_several_results(self) -> None:
        f = extend.primitive(lambda x: {"s": np.sin(np.asarray(x)), "n": int(np.argmax(x))})
        extend.defvjp(f, lambda ans, x: lambda g: g["s"] * np.cos(x))
        assert f(X)["n"] == np.argmax(X)
        close(kn.grad(lambda x: np.sum(f(x)["s"] ** 2))(X), 2 * np.sin(X) * np.cos(X))
        close(kn.jvp(lambda x: f(x)["s"], (X,), (V,))[1], np.cos(X) * V)

    def test_under_vmap_it_loops_and_says_so(self) -> None:
        f = opaque(extend, np)
        with pytest.warns(BatchLoopWarning, match=r"fun has no batching rule: it runs 2 times"):
            close(kn.vmap(lambda a: f(a, "cubic", 2.0))(Y), 2 * Y**3)

    def test_in_programs(self) -> None:
        f = opaque(extend, np)

        def loss(a: Any, b: Any) -> Any:
            return np.sum(f(a * 2, "cubic", b))

        program = kn.graph(loss)(X, 2.0)
        assert "fun" in [e.primitive.name for e in program.equations]
        close(program(X, 2.0), loss(X, 2.0))
        close(kn.jit(loss)(X, 2.0), loss(X, 2.0))
        want = kn.grad(loss, (0, 1))(X, 2.0)
        close(kn.jit(kn.grad(loss, (0, 1)))(X, 2.0), want)
        close(kn.grad(kn.jit(loss), (0, 1))(X, 2.0), want)

    def test_constants(self) -> None:
        f = extend.notrace_primitive(lambda x: np.floor(np.asarray(x)))
        close(kn.grad(lambda x: np.sum(f(x) * x))(X), np.floor(X))

    def test_names_may_repeat_and_do_not_stay(self) -> None:
        before = dict(kn.core.registry)
        for _ in range(2):

            @extend.primitive
            def tanh(x: Any) -> Any:
                """Of my own."""
                return np.tanh(x)

        assert tanh.__name__ == "tanh"
        assert tanh.__doc__ == "Of my own."
        assert dict(kn.core.registry) == before

    def test_refused(self) -> None:
        f = extend.primitive(lambda a, b: a * b)
        with pytest.raises(MissingRuleError, match=r"argument 0 is not defined.*test_autograd"):
            kn.grad(f)(2.0, 3.0)
        with pytest.raises(MissingRuleError, match="is not defined"):
            kn.jvp(f, (2.0, 3.0), (1.0, 1.0))
        extend.defvjp(f, lambda ans, a, b: lambda g: g * b)
        with pytest.raises(MissingRuleError, match="with respect to argument 1 is not defined"):
            kn.grad(f, 1)(2.0, 3.0)
        extend.defvjp(f, lambda ans, a, b: lambda g: g * b, None)
        assert kn.grad(f, (0, 1))(2.0, 3.0) == (3.0, 0.0)
        with pytest.raises(ValueError, match=r"VJP of .* argument 0 returned float64\[3\]"):
            kn.grad(lambda a: np.sum(f(a, X)))(2.0)
        with pytest.raises(GradientError, match=r"inside argument 0(.|\n)*of its own"):
            kn.grad(lambda x: f([x, x], 1.0))(2.0)
        with pytest.raises(GradientError, match="inside b="):
            kn.grad(lambda x: f(1.0, b=x))(2.0)
        with pytest.raises(TypeError, match=r"no primitive of kinone\.extend"):
            extend.defvjp(np.sin, lambda ans, x: lambda g: g)


# ---- misc ----------------------------------------------------------------------------------------


TREE = {"w": Y, "b": [X, (2.0,)], "a": np.arange(4.0).reshape(2, 1, 2)}


class TestMisc:
    def test_flatten(self) -> None:
        ours, back = flatten(TREE)
        theirs, back_theirs = flatten_theirs(TREE)
        close(ours, theirs)
        close(back(ours), back_theirs(theirs))
        close(back(ours), TREE)
        assert flatten([])[0].shape == (0,)
        assert flatten([])[1](np.zeros(0)) == []
        with pytest.raises(ValueError, match="14 numbers are wanted"):
            back(np.zeros(3))
        with pytest.raises(TypeError, match="is a str"):
            flatten({"a": "text"})

    def test_flatten_keeps_dtypes(self) -> None:
        value = {"i": np.array([1, 2]), "h": np.ones(2, np.float32), "z": Z}
        back = flatten(value)[1](flatten(value)[0])
        for key, leaf in value.items():
            assert back[key].dtype == leaf.dtype
            assert np.array_equal(back[key], leaf)

    def test_flatten_is_differentiable(self) -> None:
        vector, back = flatten(TREE)

        def f(v: Any) -> Any:
            p = back(v)
            return np.sum(np.sin(p["w"])) * p["b"][1][0]

        check_grads(f, (vector,), order=2)
        check_grads(lambda t: flatten(t)[0] ** 2, (TREE,), order=1)
        g, _, v = flatten_func(lambda p: {"out": p["w"] * p["b"][0]}, TREE)
        close(g(v), (Y * X).ravel())

    @pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam"])
    def test_optimizers(self, name: str) -> None:
        seen: dict[Any, list[Any]] = {kn: [], autograd: []}

        def run(library: Any, np: Any, optimizer: Any) -> Any:
            def loss(p: Any, i: int) -> Any:
                return np.sum((p["w"] - i / 10) ** 2) + np.sum(np.cosh(p["b"][0]))

            start = {"w": Y, "b": [X]}
            watch = lambda p, i, g: seen[library].append((p, i, g))  # noqa: E731
            return optimizer(library.grad(loss), start, watch, num_iters=20, step_size=0.05)

        found = run(kn, np, getattr(optimizers, name))
        want = run(autograd, anp, getattr(autograd.misc.optimizers, name))
        close(found, want)
        assert len(seen[kn]) == 20
        close(seen[kn][7], seen[autograd][7])
