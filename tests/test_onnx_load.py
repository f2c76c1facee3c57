"""Loading ONNX models: parameters, control flow, functions, external data, transformations."""

from __future__ import annotations

import io
import os

import numpy as np
import onnx
import onnx_backend
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper, numpy_helper

import kinone as kn
import kinone.onnx
from kinone.onnx import LoadError
from kinone.onnx.load import registry

X = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
ROW = X[0]


def parsed(text, opset=17, head="", ir_version=9):
    """A model in ONNX's own text form."""
    return onnx.parser.parse_model(
        f'<ir_version: {ir_version}, opset_import: ["": {opset}{head}]>\n{text}'
    )


def loaded(text, opset=17, **options):
    return kn.onnx.load(parsed(text, opset, **options))


# ---- parameters and inputs -----------------------------------------------------------------------

LAYER = """g (float[N,3] x) => (float[N,M] y, int64[2] s)
<float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}, int64[1] rest = {-1}, float two = {2}> {
  h = MatMul(x, w)
  s = Shape(h)
  columns = Gather<axis=0>(s, rest)
  shape = Concat<axis=0>(rest, columns)
  k = Mul(h, two)
  y = Reshape(k, shape)
}"""


def test_the_floating_point_initialisers_are_the_parameters():
    fn, params = loaded(LAYER)
    assert list(params) == ["w", "two"]
    assert_array_equal(params["w"], np.arange(1, 13).reshape(3, 4))
    y, s = fn(params, X)
    assert_array_equal(y, X @ params["w"] * 2)
    assert_array_equal(s, [2, 4])
    assert repr(fn) == "g(params, x: float32[N,3]) -> y: float32[N,M], s: int64[2]"


def test_parameters_may_be_changed_by_their_owner():
    fn, params = loaded(LAYER)
    before = fn(params, X)[0]
    params["w"] += 1
    assert (fn(params, X)[0] != before).all()
    assert_array_equal(loaded(LAYER)[1]["w"], params["w"] - 1)


def test_what_decides_shapes_is_known_under_every_transformation():
    fn, params = loaded(LAYER)

    def total(params, x):
        return np.sum(fn(params, x)[0] ** 2)

    plain = kn.grad(total)(params, X)
    assert_allclose(plain["two"], 2 * np.sum((X @ params["w"]) ** 2) * 2, rtol=1e-6)
    compiled = kn.jit(kn.grad(total))(params, X)
    assert_array_equal(compiled["w"], plain["w"])
    assert kn.vmap(lambda x: fn(params, x[None])[0])(X).shape == (2, 1, 4)
    many = {"w": np.stack([params["w"], 2 * params["w"]]), "two": params["two"]}
    mapped = kn.vmap(fn, in_axes=({"w": 0, "two": None}, None))(many, X)[0]
    assert_array_equal(mapped[1], 2 * mapped[0])
    assert_array_equal(kn.jvp(lambda x: fn(params, x)[0], (X,), (X,))[1], fn(params, X)[0])


def test_numbers_that_are_settings_are_no_parameters():
    fn, params = loaded(
        """g (float[1,1,2,2] x) => (float[1,1,A,B] y)
        <float[4] scales = {1,1,2,2}, float low = {0}, float bias = {1}, float[1] wide = {2}> {
          ones = Constant<value_floats = [1.0, 1.0]>()
          part = Concat<axis=0>(ones, wide, wide)
          c = Clip(x, low)
          d = Add(c, bias)
          e = Resize(d, , scales)
          y = Resize(e, , part)
        }"""
    )
    assert list(params) == ["bias"]
    x = np.ones((1, 1, 2, 2), np.float32)
    assert kn.jit(fn)(params, x).shape == (1, 1, 8, 8)


def test_arrays_in_constant_nodes_are_parameters_and_numbers_are_not():
    fn, params = loaded(
        """g (float[3] x) => (float[3] y) {
          w = Constant<value = float[3] {1, 2, 3}>()
          half = Constant<value = float {0.5}>()
          h = Mul(x, w)
          y = Mul(h, half)
        }"""
    )
    assert list(params) == ["w"]
    assert_array_equal(fn(params, ROW), ROW * params["w"] / 2)


def test_weights_in_branches_and_bodies_are_parameters():
    """Under their own name where it is the only one, and with their node and place otherwise."""
    model = parsed(
        """g (float[3] x, bool c) => (float[3] y) {
          h = If(c) <
            then_branch = a () => (float[3] p)
              <float[3] w = {1,2,3}, float[3] up = {1,1,1}> { q = Mul(x, w) p = Add(q, up) },
            else_branch = b () => (float[3] r)
              <float[3] w = {4,5,6}> { r = Mul(x, w) }
          >
          y = Identity(h)
        }"""
    )
    model.graph.node[0].name = "choice"
    fn, params = kn.onnx.load(model)
    then, other = "choice/then_branch/w", "choice/else_branch/w"
    assert sorted(params) == sorted([then, other, "up"])
    yes, no = np.array(True), np.array(False)
    for run in (fn, kn.jit(fn)):
        assert_array_equal(run(params, ROW, yes), ROW * [1, 2, 3] + 1)
        assert_array_equal(run(params, ROW, no), ROW * [4, 5, 6])
        assert_array_equal(run({**params, then: ROW}, ROW, yes), ROW * ROW + 1)
    grads = kn.grad(lambda params: np.sum(fn(params, ROW, no)))(params)
    assert_array_equal(grads[other], ROW)
    assert_array_equal(grads[then], 0 * ROW)
    many = kn.vmap(fn, in_axes=(None, None, 0))(params, ROW, np.array([True, False]))
    assert_array_equal(many, [ROW * [1, 2, 3] + 1, ROW * [4, 5, 6]])


def test_an_initialiser_that_is_an_input_is_a_default():
    fn, params = loaded(
        "g (float[3] x, float[3] w) => (float[3] y) <float[3] w = {1,2,3}> { y = Mul(x, w) }",
        ir_version=3,
    )
    assert [port.name for port in fn.inputs] == ["x"]
    assert_array_equal(fn(params, ROW), ROW * [1, 2, 3])
    assert_array_equal(fn(params, ROW, w=ROW), ROW * ROW)
    assert_array_equal(fn({"w": ROW}, x=ROW), ROW * ROW)


def test_sparse_initialisers():
    dense = np.array([[0, 2, 0], [0, 0, 3]], np.float32)
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    for indices in ([1, 5], [[0, 1], [1, 2]]):
        sparse = helper.make_sparse_tensor(
            values, numpy_helper.from_array(np.array(indices, np.int64)), [2, 3]
        )
        model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
        model.graph.sparse_initializer.append(sparse)
        fn, params = kn.onnx.load(model)
        assert_array_equal(params["w"], dense)
        assert_array_equal(fn(params, X), X + dense)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda fn, p: fn(p), r"wants the input x: float32\[N,3\]"),
        (lambda fn, p: fn(p, X, X), "has 1 inputs"),
        (lambda fn, p: fn(p, X, x=X), "no further input 'x'"),
        (lambda fn, p: fn(p, X, z=X), "no further input 'z'"),
        (lambda fn, p: fn(p, X[:, :2]), r"wants x: float32\[N,3\] and is given float32\[2,2\]"),
        (lambda fn, p: fn(p, X.astype(float)), r"Write x.astype\('float32'\)"),
        (lambda fn, p: fn({}, X), "lacks the parameter 'w'"),
        (lambda fn, p: fn({**p, "v": X}, X), "has no parameter 'v'"),
        (lambda fn, p: fn(X), "wants its parameters first"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_where(call, text):
    fn, params = loaded(LAYER)
    with pytest.raises(LoadError, match=text) as caught:
        call(fn, params)
    assert "test_onnx_load.py" in str(caught.value)


def test_a_batch_for_a_model_of_one_is_told_of_vmap():
    fn, params = loaded("g (float[1,3] x) => (float[1,3] y) { y = Exp(x) }")
    with pytest.raises(LoadError, match=r"vmap\(fn, in_axes=\(None, 0\)\)\(params, x\[:, None\]\)"):
        fn(params, X)
    assert_allclose(kn.vmap(fn, in_axes=(None, 0))(params, X[:, None])[:, 0], np.exp(X), rtol=1e-6)


def test_values_that_nothing_reads_again_go():
    fn, _ = loaded("g (float[3] x) => (float[3] y) { a = Exp(x) b = Exp(a) y = Exp(b) }")
    assert fn.graph.free == (("x",), ("a",), ("b",))


def test_what_no_output_is_computed_of_is_left_away():
    fn, _ = loaded("g (float[3] x) => (float[3] y) { a = Exp(x) b = Exp(a) y = Neg(x) }")
    assert [node.op for node in fn.graph.nodes] == ["Neg"]


def test_infinities_are_values_and_do_not_warn():
    fn, params = loaded("g (float[3] x) => (float[3] y) { a = Log(x) y = Exp(a) }")
    assert_array_equal(fn(params, np.zeros(3, np.float32)), np.zeros(3))


def test_bytes_paths_and_protocol_buffers_are_read_alike(tmp_path):
    model = parsed(LAYER)
    onnx.save(model, tmp_path / "model.onnx")
    onnx.save(model, tmp_path / "model.textproto", format="textproto")
    onnx.save(model, tmp_path / "model.json", format="json")
    wanted = kn.onnx.load(model)[0]({"w": np.ones((3, 4), np.float32), "two": np.float32(1)}, X)[0]
    for path in (
        tmp_path / "model.onnx",
        str(tmp_path / "model.onnx"),
        (tmp_path / "model.onnx").read_bytes(),
        io.BytesIO((tmp_path / "model.onnx").read_bytes()),
        tmp_path / "model.textproto",
        tmp_path / "model.json",
    ):
        fn, params = kn.onnx.load(path)
        assert list(params) == ["w", "two"]
        found = fn({"w": np.ones((3, 4), np.float32), "two": np.float32(1)}, X)[0]
        assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "float32"])
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_every_floating_type(name, raw):
    kind = getattr(TensorProto, {"float64": "DOUBLE", "float32": "FLOAT"}.get(name, name.upper()))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    numbers = np.array([0.5, -1.5, 3.0]).astype(dtype)
    if raw:
        tensor = helper.make_tensor("w", kind, [3], numbers.tobytes(), raw=True)
    else:
        tensor = helper.make_tensor("w", kind, [3], numbers.astype(np.float64).tolist())
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, [3])],
        [helper.make_tensor_value_info("y", kind, [3])],
        [tensor],
    )
    fn, params = kn.onnx.load(helper.make_model(graph, ir_version=9))
    assert params["w"].dtype == dtype
    assert_array_equal(params["w"].astype(float), [0.5, -1.5, 3.0])
    assert fn(params, numbers).dtype == dtype
    grads = kn.grad(lambda p: np.sum(fn(p, numbers).astype(np.float32)))(params)
    assert_array_equal(grads["w"].astype(float), [1, 1, 1])


# ---- control flow --------------------------------------------------------------------------------

BRANCH = """g (float[3] x, bool c) => (float[3] y) {
  y = If(c) <
    then_branch = a () => (float[3] y1) { y1 = Exp(x) },
    else_branch = b () => (float[3] y2) { y2 = Neg(x) }
  >
}"""


def test_if_takes_the_branch_that_is_asked_for():
    fn, params = loaded(BRANCH)
    for run in (fn, kn.jit(fn)):
        assert_allclose(run(params, ROW, np.array(True)), np.exp(ROW), rtol=1e-6)
        assert_array_equal(run(params, ROW, np.array(False)), -ROW)
    both = kn.vmap(fn, in_axes=(None, None, 0))(params, ROW, np.array([True, False]))
    assert_allclose(both, [np.exp(ROW), -ROW], rtol=1e-6)

    def total(x, c):
        return np.sum(fn(params, x, c))

    for run in (kn.grad(total), kn.jit(kn.grad(total))):
        assert_allclose(run(ROW, np.array(True)), np.exp(ROW), rtol=1e-6)
        assert_array_equal(run(ROW, np.array(False)), [-1, -1, -1])


COUNTED = """g (int64 n, float[3] x) => (float[3] y, float[K,3] ys) <float half = {0.5}> {
  c = Constant<value = bool {1}>()
  y, ys = Loop(n, c, x) <
    body = b (int64 i, bool going, float[3] a) => (bool again, float[3] a2, float[3] out) {
      again = Identity(going)
      f = Cast<to=1>(i)
      a1 = Mul(a, half)
      a2 = Add(a1, f)
      out = Identity(a2)
    }
  >
}"""


@pytest.mark.parametrize("trips", [0, 1, 3, 30])
def test_a_loop_of_known_trips(trips):
    fn, params = loaded(COUNTED)
    count = np.array(trips)
    value, rows = ROW, []
    for i in range(trips):
        value = value * np.float32(0.5) + np.float32(i)
        rows.append(value)
    for run in (lambda p, x: fn(p, count, x), kn.jit(lambda p, x: fn(p, count, x))):
        y, ys = run(params, ROW)
        assert_array_equal(y, value)
        assert ys.shape == (trips, 3)
        assert_array_equal(ys, np.reshape(rows, (-1, 3)))
    program = kn.graph(lambda p, x: fn(p, count, x))(params, ROW)
    assert len(program.equations) < 40  # a long one is a loop of the program, too


def test_gradients_go_through_loops():
    fn, params = loaded(COUNTED)

    def total(params):
        return np.sum(fn(params, np.array(30), ROW)[1])

    found = kn.grad(total)(params)["half"]
    step = np.float32(1e-2)
    higher, lower = total({"half": params["half"] + step}), total({"half": params["half"] - step})
    assert_allclose(found, (higher - lower) / (2 * step), rtol=1e-3)
    assert_allclose(kn.jit(kn.grad(total))(params)["half"], found, rtol=1e-6)


def test_a_loop_of_traced_trips_that_collects_says_what_is_missing():
    fn, params = loaded(COUNTED)
    with pytest.raises(LoadError, match="collects a value of each trip"):
        kn.jit(fn)(params, np.array(3), ROW)


CONDITION = """g (float[3] x) => (float[3] y) <float limit = {100}, bool yes = {1}> {
  y = Loop(, yes, x) <
    body = b (int64 i, bool going, float[3] a) => (bool again, float[3] a2) {
      a2 = Add(a, a)
      s = ReduceSum<keepdims=0>(a2)
      again = Less(s, limit)
    }
  >
}"""


def test_a_loop_whose_condition_is_traced():
    fn, params = loaded(CONDITION)
    rows = np.stack([ROW, 100 * ROW])
    wanted = np.stack([32 * ROW, 200 * ROW])

    def total(x):
        return np.sum(fn(params, x))

    assert_array_equal(fn(params, ROW), wanted[0])
    assert_array_equal(kn.jit(fn)(params, ROW), wanted[0])
    assert_array_equal(kn.vmap(fn, in_axes=(None, 0))(params, rows), wanted)
    assert_array_equal(kn.grad(total)(ROW), [32, 32, 32])
    assert_array_equal(kn.jit(kn.grad(total))(ROW), [32, 32, 32])
    assert_array_equal(kn.vmap(kn.grad(total))(rows), [[32, 32, 32], [2, 2, 2]])


def test_a_loop_whose_values_grow_is_unrolled():
    text = """g (float[3] x) => (float[A] y) <int64 n = {12}, bool yes = {1}> {
      y = Loop(n, yes, x) <
        body = b (int64 i, bool going, float[A] a) => (bool again, float[B] a2) {
          again = Identity(going)
          a2 = Concat<axis=0>(a, x)
        }
      >
    }"""
    fn, params = loaded(text)
    for run in (fn, kn.jit(fn)):
        assert_array_equal(run(params, ROW), np.tile(ROW, 13))


SCAN = """g (float[2] start, float[4,A,B] u, float[B,4] v) => (float[2] y, float[C,D] zs)
<float gain = {0.5}> {
  y, zs = Scan<num_scan_inputs=2, scan_input_axes=[0, 1], scan_input_directions=[0, 1],
               scan_output_axes=[1], scan_output_directions=[1],
    body = b (float[2] s, float[A,B] p, float[B] q) => (float[2] s2, float[2] z) {
      h = MatMul(p, q)
      g = Mul(s, gain)
      s2 = Add(g, h)
      z = Mul(s2, s2)
    }>(start, u, v)
}"""


def test_scan_follows_axes_and_directions():
    model = parsed(SCAN)
    fn, params = kn.onnx.load(model)
    draw = np.random.default_rng(0)
    start, u, v = [draw.normal(size=s).astype(np.float32) for s in ((2,), (4, 2, 3), (3, 4))]
    state, rows = start, []
    for i in range(4):
        state = state * np.float32(0.5) + u[i] @ v[:, 3 - i]
        rows.append(state * state)
    wanted = np.stack(rows[::-1], 1)
    for run in (fn, kn.jit(fn)):
        y, zs = run(params, start, u, v)
        assert_allclose(y, state, rtol=1e-5)
        assert_allclose(zs, wanted, rtol=1e-5)
    many = kn.vmap(fn, in_axes=(None, 0, None, None))(params, np.stack([start, 2 * start]), u, v)
    assert_allclose(many[1][0], wanted, rtol=1e-5)

    def total(params):
        return np.sum(fn(params, start, u, v)[1])

    step = np.float32(1e-2)
    slope = (total({"gain": params["gain"] + step}) - total({"gain": params["gain"] - step})) / (
        2 * step
    )
    assert_allclose(kn.grad(total)(params)["gain"], slope, rtol=1e-3)
    assert_allclose(kn.jit(kn.grad(total))(params)["gain"], slope, rtol=1e-3)


def test_the_batched_scan_of_opset_8_takes_lengths():
    text = """g (int64[2] n, float[2,1] start, float[2,3,1] x) => (float[2,1] y, float[2,3,1] zs) {
      y, zs = Scan<num_scan_inputs=1, directions=[1],
        body = b (float[1] s, float[1] a) => (float[1] s2, float[1] z) {
          s2 = Add(s, a)
          z = Identity(s2)
        }>(n, start, x)
    }"""
    fn, params = loaded(text, opset=8)
    x = np.array([[[1], [2], [4]], [[8], [16], [32]]], np.float32)
    y, zs = fn(params, np.array([2, 3]), np.zeros((2, 1), np.float32), x)
    assert_array_equal(y[:, 0], [3, 56])
    assert_array_equal(zs[:, :, 0], [[2, 3, 0], [32, 48, 56]])


def test_a_sequence_grows_in_a_loop_and_joins_under_jit():
    text = """g (float[3] x) => (float[A] y) <int64 n = {3}, bool yes = {1}> {
      empty = SequenceEmpty()
      s = Loop(n, yes, empty) <
        body = b (int64 i, bool going, seq(float[A]) s1) => (bool again, seq(float[A]) s2) {
          again = Identity(going)
          f = Cast<to=1>(i)
          a = Mul(x, f)
          s2 = SequenceInsert(s1, a)
        }
      >
      y = ConcatFromSequence<axis=0>(s)
    }"""
    fn, params = loaded(text)
    wanted = np.concatenate([0 * ROW, ROW, 2 * ROW])
    assert_array_equal(fn(params, ROW), wanted)
    assert_array_equal(kn.jit(fn)(params, ROW), wanted)
    assert_array_equal(kn.grad(lambda x: np.sum(fn(params, x)))(ROW), [3, 3, 3])


def test_an_optional_sequence_that_begins_empty():
    """What the node test test_loop16_seq_none wants, whose runner cannot compare it."""
    case = next(c for c in onnx_backend.node_cases() if c.name == "test_loop16_seq_none")
    fn, params = kn.onnx.load(case.model)
    (inputs, (wanted,)) = case.data_sets[0]
    for given in (inputs, [*inputs[:2], None]):
        found = fn(params, *given)
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert_array_equal(a, b)


# ---- functions and operators of one's own --------------------------------------------------------

FUNCTIONS = """
<domain: "local", opset_import: ["": 17, "local": 1]>
scaled <factor: float = 3.0> (x) => (y) {
  f = Constant<value_float: float = @factor>()
  y = Mul(x, f)
}
<domain: "local", opset_import: ["": 17, "local": 1]>
twice <factor: float> (x, bias) => (y) {
  a = local.scaled<factor: float = @factor>(x)
  b = local.scaled(a)
  y = Add(b, bias)
}
"""


def test_functions_call_functions_with_attributes_and_defaults():
    model = parsed(
        "g (float[3] x) => (float[3] y) <float[3] w = {1,1,1}> "
        "{ h = local.twice<factor = 2.0>(x, w) y = local.twice<factor = 0.5>(h, w) }" + FUNCTIONS,
        head=', "local": 1',
    )
    fn, params = kn.onnx.load(model)
    wanted = 0.5 * (3 * (2 * ROW * 3 + 1)) + 1
    assert_allclose(fn(params, ROW), wanted)
    assert_allclose(kn.jit(fn)(params, ROW), wanted)
    assert_allclose(kn.grad(lambda p: np.sum(fn(p, ROW)))(params)["w"], [2.5] * 3)


def test_operators_that_onnx_itself_defines_by_others(monkeypatch):
    monkeypatch.delitem(registry._operators, ("", "HardSwish"))
    fn, params = loaded("g (float[3] x) => (float[3] y) { y = HardSwish(x) }", opset=22)
    assert_allclose(fn(params, ROW), ROW * np.clip(ROW / 6 + 0.5, 0, 1), rtol=1e-6)


def test_operators_of_ones_own(monkeypatch):
    model = parsed(
        "g (float[3] x) => (float[3] y) { y = mine.Cube<power=3>(x) }", head=', "mine": 2'
    )
    with pytest.raises(LoadError, match=r"mine\.Cube \(opset 2\), in the Cube node that makes y"):
        kn.onnx.load(model)
    monkeypatch.setattr(registry, "_operators", dict(registry._operators))

    @kn.onnx.operator("Cube", domain="mine")
    def cube(node, x):
        return x ** node.attribute("power")

    kn.onnx.operator("Cube", domain="mine")(cube)  # once more, as a notebook's cell does
    with pytest.raises(ValueError, match="Cube has a function since version 1 already"):
        kn.onnx.operator("Cube", domain="mine")(len)
    fn, params = kn.onnx.load(model)
    assert_array_equal(fn(params, ROW), ROW**3)
    assert_array_equal(kn.grad(lambda x: np.sum(fn(params, x)))(ROW), 3 * ROW**2)


def test_a_gradient_in_a_graph_is_one_of_kinone():
    """Of the second order, even: `d2` is the derivative of what derivatives are multiplied to."""
    model = parsed(
        """g (float[3] x, float[3] w) => (float[3] dx, float[3] d2) {
          h = Mul(x, w)
          e = Exp(h)
          y = Mul(e, x)
          dx, dw = ai.onnx.preview.training.Gradient<xs = ["x", "w"], y = "y">(x, w)
          s = Mul(dx, dw)
          d2 = ai.onnx.preview.training.Gradient<xs = ["x"], zs = ["w"], y = "s">(x, w)
        }""",
        head=', "ai.onnx.preview.training": 1',
    )

    def total(x, w):
        return np.sum(np.exp(x * w) * x)

    def product(x, w):
        dx, dw = kn.grad(total, argnums=(0, 1))(x, w)
        return np.sum(dx * dw)

    fn, params = kn.onnx.load(model)
    x, w = np.float32([0.1, 0.2, 0.3]), ROW
    for run in (fn, kn.jit(fn)):
        dx, d2 = run(params, x, w)
        assert_allclose(dx, kn.grad(total)(x, w), rtol=1e-6)
        assert_allclose(d2, kn.grad(product)(x, w), rtol=1e-6)


def test_nodes_may_stand_in_any_order():
    fn, params = loaded("g (float[3] x) => (float[3] y) { y = Neg(a) b = Exp(x) a = Abs(b) }")
    assert_allclose(fn(params, ROW), -np.exp(ROW), rtol=1e-6)


# ---- external data -------------------------------------------------------------------------------


def external(folder, **changes):
    """A model with its weight in weights.bin, behind 8 other bytes."""
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    (folder / "weights.bin").write_bytes(b"\0" * 8 + weight.tobytes())
    model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": 8, "length": 24, **changes}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    model.graph.initializer.append(tensor)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_external_data_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    fn, params = kn.onnx.load(external(tmp_path))
    assert_array_equal(params["w"], np.arange(6).reshape(2, 3))
    assert_array_equal(fn(params, X), X + params["w"])
    params["w"][0, 0] = 7  # the caller's own, not the file's
    assert kn.onnx.load(external(tmp_path, length=None))[1]["w"][0, 0] == 0


def test_external_data_as_onnx_writes_it(tmp_path):
    model = parsed(LAYER)
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    fn, params = kn.onnx.load(tmp_path / "m.onnx")
    assert_array_equal(params["w"], np.arange(1, 13).reshape(3, 4))
    assert fn(params, X)[0].shape == (2, 4)


def test_external_data_of_a_model_that_is_a_link_itself(tmp_path):
    """As in the cache of Hugging Face, whose files all are links to one folder of blobs."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    external(tmp_path / "blobs").rename(tmp_path / "blobs" / "a1")
    (tmp_path / "blobs" / "weights.bin").rename(tmp_path / "blobs" / "b2")
    (tmp_path / "snapshot" / "model.onnx").symlink_to("../blobs/a1")
    (tmp_path / "snapshot" / "weights.bin").symlink_to("../blobs/b2")
    _, params = kn.onnx.load(tmp_path / "snapshot" / "model.onnx")
    assert_array_equal(params["w"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"location": "../secret.bin"}, "outside of the model's folder"),
        ({"location": "sub/../../secret.bin"}, "outside of the model's folder"),
        ({"location": "{folder}/secret.bin"}, "outside of the model's folder"),
        ({"location": "link.bin"}, "outside of the model's folder"),
        ({"location": "linked/secret.bin"}, "outside of the model's folder"),
        ({"location": ""}, "outside of the model's folder"),
        ({"location": None}, "outside of the model's folder"),
        ({"location": "."}, "no regular file"),
        ({"location": "pipe"}, "no regular file"),
        ({"location": "a\0b"}, "cannot be found"),
        ({"location": "nothing.bin"}, "cannot be read"),
        ({"location": "circle"}, "cannot be"),
        ({"offset": 9}, "bytes 9 to 33 of 'weights.bin', which has 32"),
        ({"offset": -8}, "from -8 on"),
        ({"offset": "many"}, "cannot be found"),
        ({"offset": 2**70}, "truncated"),
        ({"length": 2**62}, "takes 24"),
        ({"length": 20}, "takes 24"),
    ],
)
def test_external_data_stay_in_the_folder_and_in_the_file(tmp_path, changes, text):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 64)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    os.mkfifo(folder / "pipe")
    if changes.get("location"):
        changes = {"location": changes["location"].replace("{folder}", str(tmp_path))}
    with pytest.raises(LoadError, match=text):
        kn.onnx.load(external(folder, **changes))


def test_external_data_of_a_model_in_memory(tmp_path):
    data = external(tmp_path).read_bytes()
    with pytest.raises(LoadError, match="a model in memory has no folder"):
        kn.onnx.load(data)


# ---- operators of old files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ("ImageScaler<scale = 2.0, bias = [1.0, -1.0, 0.0]>(x)", [3, 3, 6]),
        ("Affine<alpha = 2.0, beta = 1.0>(x)", [3, 5, 7]),
        ("Scale<scale = 0.5>(x)", [0.5, 1, 1.5]),
        ("ScaledTanh<alpha = 2.0, beta = 0.5>(x)", 2 * np.tanh([0.5, 1, 1.5])),
        ("ParametricSoftplus<alpha = 2.0, beta = 0.5>(x)", 2 * np.log1p(np.exp([0.5, 1, 1.5]))),
        ("ConstantFill<value = 4.0>(x)", [4, 4, 4]),
        ("Crop<border = [0, 0, 0, 0], scale = [1, 1]>(x)", [1, 2, 3]),
    ],
)
def test_operators_that_are_no_longer_in_onnx(node, wanted):
    fn, params = loaded(f"g (float[1,3,1,1] x) => (float[1,3,1,1] y) {{ y = {node} }}", opset=7)
    assert_allclose(fn(params, ROW.reshape(1, 3, 1, 1)).ravel(), wanted, rtol=1e-6)
