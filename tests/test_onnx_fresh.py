"""What users coming from other frameworks stumbled over, each once."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import kinone as kn

F = np.float32
MINUS = F(-np.inf)


def _mask(n):
    return np.tril(np.ones((n, n), bool))


MASKS = {
    "where": lambda n, s: s + np.where(_mask(n), F(0), MINUS),
    "triu of a full": lambda n, s: s + np.triu(np.full((n, n), MINUS), 1),
    "four axes": lambda n, s: s + np.where(_mask(n)[None, None], F(0), MINUS)[0],
    "where of the scores": lambda n, s: np.where(_mask(n), s, MINUS),
    "float64 first": lambda n, s: s + np.where(_mask(n), 0.0, -np.inf).astype(F),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_causal_mask_of_minus_infinity_holds_at_other_lengths(mask):
    def attention(x):
        scores = mask(x.shape[1], x @ np.swapaxes(x, 1, 2))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ x

    rng = np.random.default_rng(0)
    shapes = [(3, 9, 4), (1, 1, 4), (2, 4, 4)]
    cases = [(rng.normal(size=shape).astype(F),) for shape in shapes]
    x = rng.normal(size=(2, 5, 4)).astype(F)
    kn.onnx.export(attention, x, dynamic={"x": {0: "batch", 1: "time"}}, verify=cases)


def test_a_mask_of_nan_that_varies_is_refused():
    def masked(x):
        return x + np.where(np.eye(x.shape[1], dtype=bool), F(np.nan), F(0))

    with pytest.raises(kn.onnx.ExportError, match="varies with a dynamic size"):
        kn.onnx.export(masked, np.ones((5, 5), F), dynamic={"x": {0: "n", 1: "n"}})


def test_weights_that_decide_a_branch_by_way_of_the_input_stay_parameters():
    def value(name, shape=(2,)):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def branch(op):
        node = helper.make_node(op, ["h", "v"], [f"out_{op}"])
        return helper.make_graph([node], op, [], [value(f"out_{op}")])

    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w"], ["h"]),
            helper.make_node("ReduceSum", ["h"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "bound"], ["positive"]),
            helper.make_node(
                "If", ["positive"], ["y"], then_branch=branch("Add"), else_branch=branch("Mul")
            ),
        ],
        "branching",
        [value("x")],
        [value("y")],
        [
            numpy_helper.from_array(np.array([2, 3], F), "w"),
            numpy_helper.from_array(np.array([5, 7], F), "v"),
            numpy_helper.from_array(np.array(0, F), "bound"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fn, params = kn.onnx.load(model)
    assert sorted(params) == ["bound", "v", "w"]
    slope = kn.grad(lambda params, x: np.sum(fn(params, x)))
    for sign, w, v in ((1, [1, 1], [1, 1]), (-1, [-5, -7], [-2, -3])):
        for gradients in (slope, kn.jit(slope)):
            found = gradients(params, np.full(2, sign, F))
            np.testing.assert_allclose(found["w"], w)
            np.testing.assert_allclose(found["v"], v)


def test_a_loaded_model_is_exported_with_the_names_of_its_inputs():
    x = np.ones((3, 4), F)
    fn, params = kn.onnx.load(kn.onnx.export(lambda w, image, y: image @ w + y, x.T, x, x[:, :3]))
    assert list(signature(fn).parameters)[:4] == ["params", "w", "image", "y"]
    again = kn.onnx.export(fn, params, x.T, x, x[:, :3], fold="params", names={"image": "picture"})
    assert [port.name for port in again.graph.input] == ["w", "picture", "y"]
    odd, none = kn.onnx.load(kn.onnx.export(np.tanh, x, names={"x": "input.1"}))
    np.testing.assert_allclose(kn.jit(odd)(none, x), np.tanh(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("fun", "options", "said"),
    [
        (3, {}, "onnx.export wants a function, and got a int"),
        (kn.nn.Dense(3), {}, "a function that calls its apply"),
        (np.tanh, {"normalization": 0.5}, "normalization wants 'mean' and 'std', a dict"),
    ],
)
def test_what_is_no_function_or_no_dict_is_said(fun, options, said):
    with pytest.raises(kn.onnx.ExportError, match=said):
        kn.onnx.export(fun, np.ones(3, F), **options)


@pytest.mark.parametrize("dynamic", [None, {"ids": ("batch", "time")}])
def test_a_folded_table_of_plain_numpy_is_indexed_by_a_traced_array(dynamic):
    def embed(params, ids):
        hidden = params["table"][ids] + params["positions"][: ids.shape[1]]
        return hidden @ (2 * params["w"])

    rng = np.random.default_rng(0)
    shapes = {"table": (11, 4), "positions": (16, 4), "w": (4, 3)}
    params = {name: rng.normal(size=shape).astype(F) for name, shape in shapes.items()}
    ids = rng.integers(0, 11, (2, 5))
    more = (params, rng.integers(0, 11, (3, 16 if dynamic else 5)))
    model = kn.onnx.export(embed, params, ids, fold="params", dynamic=dynamic, verify=more)
    assert "params/table" in [each.name for each in model.graph.initializer]
    assert [port.name for port in model.graph.input] == ["ids"]

    def branch(params, ids):
        rows = params["table"][ids]
        return rows if ids.sum() > 0 else -rows

    with pytest.raises(kn.errors.TracerConversionError, match=r"table"):  # the first complaint
        kn.onnx.export(branch, params, ids, fold="params", dynamic={})


def test_verify_takes_arrays_of_another_byte_order():
    x = np.arange(6, dtype=">f4").reshape(3, 2)
    model = kn.onnx.export(np.tanh, x, verify=True)
    assert kn.onnx.verify(model, np.tanh, x).ok


def _doubled(x):
    return kn.while_loop(lambda c: c < 10, lambda c: 2 * c, x)


def _either(x):
    return kn.cond(x > 2, _doubled, lambda x: 3 * x, x)


@pytest.mark.parametrize("fun", [kn.grad(_doubled), kn.grad(kn.grad(_doubled))])
def test_gradients_of_loops_under_vmap_go(fun):
    kn.onnx.export(kn.vmap(fun), np.arange(1, 4).astype(F), verify=True)


def test_the_gradient_of_a_loop_in_a_branch_goes_and_under_vmap_is_refused():
    kn.onnx.export(kn.grad(_either), F(3), verify=True)
    with pytest.raises(kn.onnx.ExportError, match="inside of a cond of a vmap"):
        kn.onnx.export(kn.vmap(kn.grad(_either)), np.arange(1, 5).astype(F))


def test_a_file_is_an_option_and_no_argument() -> None:
    with pytest.raises(kn.onnx.ExportError, match=r"path='m\.onnx'"):
        kn.onnx.export(np.tanh, np.ones(3), "m.onnx")
