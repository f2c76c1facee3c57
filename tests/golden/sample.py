"""Programs with one mistake each; the text of every error stands in a file beside this one.

New cases go to the end: the files name the lines of this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kinone as kn

CASES: dict[str, Callable[[], Any]] = {}
X = np.array([1.0, 2.0, 3.0])
PARAMS = {"w": np.ones((10, 784)), "b": np.zeros(10)}
IMAGES = np.ones((32, 784))


def case(run: Callable[[], Any]) -> Callable[[], Any]:
    CASES[run.__name__] = run
    return run


@case
def matmul_shapes() -> Any:
    def loss(params: Any, x: Any) -> Any:
        return np.mean(x @ params["w"] + params["b"])

    return kn.grad(loss)(PARAMS, IMAGES)


@case
def broadcast_shapes() -> Any:
    def loss(params: Any, x: Any) -> Any:
        return np.mean(x @ params["w"].T + params["b"][:4])

    return kn.grad(loss)(PARAMS, IMAGES)


@case
def conv_channels() -> Any:
    kernel = np.ones((3, 3, 4, 8))
    return kn.grad(lambda p: np.sum(kn.ops.conv(np.ones((1, 8, 8, 3)), p["kernel"])))(
        {"kernel": kernel}
    )


@case
def leaked_tracer() -> Any:
    kept = []

    def loss(x: Any) -> Any:
        hidden = np.tanh(x)
        kept.append(hidden)
        return np.sum(hidden)

    kn.grad(loss)(X)
    return kept[0] * 2


@case
def bool_under_vmap() -> Any:
    return kn.vmap(lambda x: x if x > 0 else -x)(X)


@case
def bool_under_graph() -> Any:
    return kn.graph(lambda x: x if x[0] > 0 else -x)(X)


@case
def float_of_a_tracer() -> Any:
    return kn.grad(lambda x: float(np.sum(x)))(X)


@case
def item_of_a_tracer() -> Any:
    return kn.grad(lambda x: np.sum(x).item())(X)


@case
def asarray_of_a_tracer() -> Any:
    return kn.grad(lambda x: np.sum(np.asarray(x)))(X)


@case
def array_of_tracers() -> Any:
    return kn.grad(lambda x: np.sum(np.array([x[0], x[1]])))(X)


@case
def element_put_into_an_array() -> Any:
    def loss(x: Any) -> Any:
        buffer = np.zeros(3)
        buffer[0] = x[0]
        return np.sum(buffer)

    return kn.grad(loss)(X)


@case
def assignment() -> Any:
    def loss(x: Any) -> Any:
        x[0] = 1.0
        return np.sum(x)

    return kn.grad(loss)(X)


@case
def addition_in_place() -> Any:
    def loss(x: Any) -> Any:
        total = np.zeros(3)
        total += x
        return np.sum(total)

    return kn.grad(loss)(X)


@case
def out_argument() -> Any:
    return kn.grad(lambda x: np.sum(np.sin(x, out=np.empty(3))))(X)


@case
def index_out_of_bounds() -> Any:
    return kn.grad(lambda x: x[7])(X)


@case
def axis_out_of_bounds() -> Any:
    return kn.grad(lambda x: np.sum(np.sum(x, axis=2)))(X)


@case
def missing_rule() -> Any:
    return kn.grad(lambda x: np.savetxt("x.txt", x))(np.eye(3))


@case
def missing_rule_with_a_near_name() -> Any:
    def cosh_(x: Any) -> Any:
        """A function of NumPy that Kinone does not know."""
        raise NotImplementedError

    cosh_.__module__ = "numpy"
    return kn.grad(lambda x: np.sum(x.__array_function__(cosh_, (), (x,), {})))(X)


@case
def missing_method() -> Any:
    return kn.grad(lambda x: np.sum(x.byteswap()))(X)


@case
def loss_is_no_scalar() -> Any:
    return kn.grad(lambda x: x * 2)(X)


@case
def loss_is_a_pair() -> Any:
    return kn.grad(lambda x: (np.sum(x), x))(X)


@case
def integer_argument() -> Any:
    return kn.grad(lambda x: x * 2)(3)


@case
def string_leaf() -> Any:
    return kn.grad(lambda params: np.sum(params["w"]))({"w": X, "act": "relu"})


@case
def cotangent_of_another_shape() -> Any:
    _, pullback = kn.vjp(lambda x: {"y": x * 2}, X)
    return pullback({"y": np.ones(2)})


@case
def cotangent_of_another_tree() -> Any:
    _, pullback = kn.vjp(lambda x: {"y": x * 2}, X)
    return pullback({"z": np.ones(3)})


@case
def tangent_of_another_shape() -> Any:
    return kn.jvp(lambda p: p["w"] * 2, ({"w": X},), ({"w": np.ones(2)},))


@case
def mutation_of_what_the_derivative_needs() -> Any:
    weights = np.ones(3)

    def loss(x: Any) -> Any:
        y = np.sum(x * weights)
        weights[0] = 5.0
        return y

    return kn.grad(loss)(X)


@case
def key_used_twice() -> Any:
    key = kn.random.key(0)
    with kn.debug.strict():
        noise = kn.random.normal(key, (3,))
        return noise + kn.random.normal(key, (3,))


@case
def vmap_lengths() -> Any:
    return kn.vmap(lambda p, x: p["w"] @ x)({"w": np.ones((4, 3))}, np.ones((5, 3)))


@case
def vmap_axis_that_is_not_there() -> Any:
    return kn.vmap(lambda p, x: p["w"] @ x, in_axes=(2, 0))({"w": np.ones((4, 3))}, IMAGES)


@case
def vmap_number_of_axes() -> Any:
    return kn.vmap(lambda x: x, in_axes=(0, None))(X)


@case
def graph_called_with_another_shape() -> Any:
    return kn.graph(np.tanh)(X)(np.ones(4))


@case
def argument_that_is_not_there() -> Any:
    return kn.grad(lambda x: np.sum(x), argnums=1)(X)


@case
def nan_in_the_forward_pass() -> Any:
    with kn.debug.nans():
        return kn.grad(lambda params: np.sum(np.log(params["w"])))({"w": X - 2.5})


@case
def nan_in_the_backward_pass() -> Any:
    with kn.debug.nans():
        return kn.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(X - 1.0)


@case
def check_that_fails() -> Any:
    def step(x: Any) -> Any:
        kn.debug.check(x < 3, "x is too large: {x}", x=x)
        return x

    return kn.vmap(step)(X)


@case
def print_with_a_missing_value() -> Any:
    return kn.debug.print("loss {loss:.3f}", 0.5)


@case
def function_of_another_library() -> Any:
    return kn.grad(lambda x: float(__import__("math").sin(x)))(1.0)


@case
def function_that_writes() -> Any:
    return kn.grad(lambda x: np.sum(np.fill_diagonal(x, 0.0)))(np.eye(3))


@case
def broadcast_of_rows() -> Any:
    def loss(x: Any) -> Any:
        return np.sum(x / np.sum(x, axis=1))

    return kn.grad(loss)(np.ones((2, 5)))


@case
def element_of_a_list() -> Any:
    return kn.grad(lambda x: [1.0, 2.0][x[0]] * x[0])(X)


@case
def custom_rule_of_another_shape() -> Any:
    @kn.custom_vjp
    def double(params: Any) -> Any:
        return params["w"] * 2

    double.defvjp(lambda params: (double(params), None), lambda _, g: ({"w": g[:2]},))
    return kn.grad(lambda params: np.sum(double(params)))({"w": X})


@case
def custom_rule_of_another_tree() -> Any:
    @kn.custom_vjp
    def double(params: Any) -> Any:
        return params["w"] * 2

    double.defvjp(lambda params: (double(params), None), lambda _, g: ({"v": g * 2},))
    return kn.grad(lambda params: np.sum(double(params)))({"w": X})


@case
def custom_rule_that_is_missing() -> Any:
    @kn.custom_vjp
    def double(x: Any) -> Any:
        return x * 2

    return kn.grad(lambda x: np.sum(double(x)))(X)
