"""Damaged and hostile ONNX files: a clear error, soon, with bounded memory."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.loader import DATA_DIR

import kinone as kn
import kinone.onnx
from kinone.onnx import LoadError

X = np.ones((2, 3), np.float32)


def parsed(text, opset=17, head=""):
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}{head}]>\n{text}')


SMALL = (
    "g (float[2,3] x) => (float[2,3] y) <float[2,3] w = {1,2,3,4,5,6}> { h = Mul(x, w) y = Exp(h) }"
)


def refused(model, text):
    with pytest.raises(LoadError, match=text) as caught:
        kn.onnx.load(model)
    return str(caught.value)


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "It is empty"),
        (b"hello", "no ONNX model"),
        (b"\0" * 100, "no ONNX model"),
        (b"\xff" * 100, "no ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"PK\x03\x04" + b"\0" * 50, "torch.onnx.export"),
        (np.random.default_rng(0).bytes(5000), "no ONNX model"),
    ],
)
def test_what_is_no_model_is_guessed(tmp_path, data, text):
    path = tmp_path / "some.onnx"
    path.write_bytes(data)
    message = refused(path, text)
    assert "some.onnx" in message
    refused(data, text)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is no file")
    refused(tmp_path, "is no file")
    refused("/dev/zero", "is no file")
    with pytest.raises(FileNotFoundError):
        kn.onnx.load(tmp_path / "nothing.onnx")


def test_a_file_beyond_the_limit_of_protocol_buffers_is_not_read(tmp_path):
    with open(tmp_path / "large.onnx", "wb") as file:
        file.truncate(2**31)  # takes no room on the disk
    refused(tmp_path / "large.onnx", "save_as_external_data")


def test_every_truncation_is_an_error_or_a_model():
    data = parsed(SMALL).SerializeToString()
    for end in range(len(data)):
        try:
            fn, params = kn.onnx.load(data[:end])
        except LoadError:
            continue
        run(fn, params)


def run(fn, params):
    """A model that loads runs, or says why not."""
    inputs = []
    for port in fn.inputs:
        shape = [size if isinstance(size, int) else 2 for size in port.shape or ()]
        if np.prod(shape) > 1e6 or port.dtype is None or port.dtype.kind not in "fiub":
            return
        inputs.append(np.ones(shape, port.dtype))
    with contextlib.suppress(LoadError, kn.KinoneError):
        fn(params, *inputs)


@pytest.mark.parametrize(
    "name", ["simple/test_expand_shape_model1", "pytorch-operator/test_operator_conv", "own"]
)
def test_changed_bytes_are_an_error_or_a_model(name):
    own = """g (int64 n, float[2,3] x, bool c) => (float[2,3] y) <float[2,3] w = {1,2,3,4,5,6}> {
      h = If(c) <then_branch = a () => (float[2,3] p) { p = Exp(x) },
                 else_branch = b () => (float[2,3] q) { q = local.f<k = 2>(x) }>
      y = Add(h, w)
    }
    <domain: "local", opset_import: ["": 17]> f <k: int = 1> (x) => (y) { y = Neg(x) }"""
    if name == "own":
        data = parsed(own, head=', "local": 1').SerializeToString()
    else:
        data = (Path(DATA_DIR) / name / "model.onnx").read_bytes()
    draw = np.random.default_rng(len(name))
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(draw.integers(1, 4)):
            where = draw.integers(len(changed))
            kind = draw.integers(3)
            if kind == 0:
                changed[where] = draw.integers(256)
            elif kind == 1:
                del changed[where : where + draw.integers(1, 9)]
            else:
                changed[where:where] = draw.bytes(draw.integers(1, 9))
        try:
            fn, params = kn.onnx.load(bytes(changed))
        except LoadError:
            continue
        run(fn, params)


# ---- tensors -------------------------------------------------------------------------------------


def with_tensor(**fields):
    model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    model.graph.initializer.append(TensorProto(name="w", **fields))
    return model


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"data_type": 1, "dims": [2, -3], "raw_data": bytes(24)}, "negative size"),
        ({"data_type": 1, "dims": [2, 3], "raw_data": bytes(20)}, r"20 bytes for float32\[2, 3\]"),
        ({"data_type": 1, "dims": [2, 3], "float_data": [1, 2]}, "cannot be read"),
        ({"data_type": 1, "dims": [2**40]}, "cannot be read"),
        ({"data_type": 1, "dims": [2**62, 2**62], "raw_data": b""}, "0 bytes for"),
        ({"data_type": 22, "dims": [2**40], "raw_data": b""}, "0 bytes for"),
        ({"data_type": 8, "dims": [2**40]}, "cannot be read"),
        ({"data_type": 99, "dims": [1], "raw_data": b"1"}, "no element type 99"),
        ({"data_type": 0, "dims": [1], "raw_data": b"1"}, "no element type 0|cannot be read"),
        ({"data_type": 8, "dims": [1], "raw_data": b"1"}, "cannot be read"),
    ],
)
def test_tensors_that_are_not_what_they_say(fields, text):
    message = refused(with_tensor(**fields), text)
    assert "'w'" in message or "element type" in message


def test_tensors_declared_huge_take_no_memory():
    tracemalloc.start()
    try:
        for dims in ([2**40], [2**20, 2**20], [10**9]):
            refused(with_tensor(data_type=1, dims=dims), "the tensor 'w'")
            refused(with_tensor(data_type=22, dims=dims, int32_data=[1]), "the tensor 'w'")
            values = TensorProto(name="w", data_type=1, dims=[1], float_data=[1])
            index = TensorProto(data_type=7, dims=[1], int64_data=[0])
            model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
            model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, index, dims))
            refused(model, "with its zeros")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("index", "dims"),
    [
        ([7], [2, 3]),
        ([-1], [2, 3]),
        ([[0, 3]], [2, 3]),
        ([[0]], [2, 3]),
        ([0, 1], [2, 3]),
        ([0], [-1]),
    ],
)
def test_sparse_tensors_that_point_outside(index, dims):
    index = np.array(index, np.int64)
    values = TensorProto(name="w", data_type=1, dims=[1], float_data=[1])
    places = onnx.numpy_helper.from_array(index)
    model = parsed("g (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, dims))
    refused(model, "sparse tensor 'w'")


# ---- graphs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{ y = Add(x, nothing) }",
            "the Add node that makes y reads 'nothing', which nothing makes",
        ),
        ("{ a = Exp(x) }", "nothing makes the output 'y'"),
        ("{ y = Add(x, a) a = Exp(y) }", "wait for each other"),
        ("{ y = Add(x, y) }", "wait for each other"),
        ("{ y = Exp(x) y = Neg(x) }", "two values of the graph 'g' have the name 'y'"),
        ("{ x = Exp(x) y = Neg(x) }", "two values of the graph 'g' have the name 'x'"),
        ("<float[1] x = {1}, float[1] x = {1}> { y = Neg(x) }", "have the name 'x'"),
        ("{ y = Bogus(x) }", r"Bogus \(opset 17\), in the Bogus node that makes y"),
        ("{ a = Bogus(x) y = Fake(a) }", r"(?s)Bogus.*Fake"),
        ("{ y = other.Exp(x) }", "the operator set 'other', of which the model imports no version"),
        ("{ y = Softmax<axis: int = @k>(x) }", "refers to 'k' of a function"),
    ],
)
def test_graphs_that_do_not_hold_together(text, message):
    refused(parsed(f"g (float[2,3] x) => (float[2,3] y) {text}"), message)


def test_values_of_a_branch_are_not_seen_outside():
    text = """g (float[2,3] x, bool c) => (float[2,3] y) {
      h = If(c) <then_branch = a () => (float[2,3] p) { p = Exp(x) },
                 else_branch = b () => (float[2,3] q) { q = Exp(z) }>
      y = Add(h, p)
    }"""
    refused(parsed(text), "reads 'p'|reads 'z'")


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ("y = Transpose<perm = [0, 0]>(x)", "the Transpose node that makes y cannot be computed"),
        ('y = Transpose<perm = "no">(x)', "the Transpose node that makes y"),
        ("y = Concat<axis = 7>(x, x)", "the Concat node that makes y"),
        ("y = Concat(x, x, k)", "the Concat node that makes y"),
        ("y = Exp(x, x)", "the Exp node that makes y"),
        ("y = Exp()", "the Exp node that makes y"),
        ("y = Reshape(x, k)", "the Reshape node that makes y"),
        ("y = Gather(x, k)", "the Gather node that makes y"),
        ("y = Cast<to = 77>(x)", "no element type 77"),
        ("y, z = Exp(x)", "has 2 outputs; in opset 17 it has 1"),
    ],
)
def test_nodes_that_cannot_be_computed_say_which_they_are(node, text):
    model = parsed(f"g (float[2,3] x) => (float[2,3] y) <int64[3] k = {{7, 7, 7}}> {{ {node} }}")

    def load_and_run():
        fn, params = kn.onnx.load(model)
        return fn(params, X)

    with pytest.raises(LoadError, match=text) as caught:
        load_and_run()
    first = str(caught.value).partition("\n")[0]
    assert first.startswith("the model: ") or "test_onnx_hostile.py" in first


def test_sizes_beyond_all_memory():
    text = """g (float[2,3] x) => (float[A] y)
    <int64[1] k = {1152921504606846976}, float one = {1}> {
      a = %s
      y = Exp(a)
    }"""
    for node in ("ConstantOfShape(k)", "Expand(one, k)", "Tile(k, k)"):
        fn, params = kn.onnx.load(parsed(text % node))
        with pytest.raises(LoadError, match="cannot be computed"):
            fn(params, X)


def nested(depth):
    """If in If in If."""
    node = helper.make_node("Exp", ["x"], ["r"])
    for level in range(depth):
        out = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        graph = helper.make_graph([node], "b", [], [out])
        node = helper.make_node(
            "If",
            ["c"],
            [f"r{level}" if level == depth - 1 else "r"],
            then_branch=graph,
            else_branch=graph,
        )
    return node


def test_branches_in_branches():
    def model(depth):
        node = nested(depth)
        node.output[0] = "y"
        ports = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ]
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
        return helper.make_model(helper.make_graph([node], "g", ports, [out]), ir_version=9)

    fn, params = kn.onnx.load(model(6))
    np.testing.assert_allclose(fn(params, X, np.array(True)), np.exp(X), rtol=1e-6)


def test_nesting_deeper_than_protocol_buffers_allow():
    # 500 levels of a graph in an attribute of a node of a graph, written by hand.
    def field(number, data):
        size, length = bytearray(), len(data)
        while length > 127:
            size.append(length & 127 | 128)
            length >>= 7
        return bytes([number << 3 | 2]) + bytes([*size, length]) + data

    graph = b""
    for _ in range(500):
        node = field(4, b"If") + field(
            5, field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        )
        graph = field(1, node) + field(2, b"g")
    refused(b"\x08\x09" + field(7, graph), "damaged")


@pytest.mark.parametrize("limit", ["", "most"])
def test_a_loop_without_end(limit):
    text = """g (float[2,3] x) => (float[2,3] y)
    <int64 most = {9223372036854775807}, bool yes = {1}> {
      y = Loop(%s, yes, x) <
        body = b (int64 i, bool going, float[2,3] a) => (bool again, float[2,3] a2) {
          again = Identity(going)
          a2 = Neg(a)
        }>
    }"""
    fn, params = kn.onnx.load(parsed(text % limit))
    for run in (fn, kn.jit(fn)):
        with pytest.raises(LoadError, match="would never end"):
            run(params, X)


# ---- functions -----------------------------------------------------------------------------------


def function(name, body):
    return f'\n<domain: "f", opset_import: ["": 17, "f": 1]> {name} (x) => (y) {{ {body} }}'


def calling(*functions):
    text = "g (float[2,3] x) => (float[2,3] y) { y = f.f0(x) }" + "".join(functions)
    return parsed(text, head=', "f": 1')


def test_functions_that_call_themselves():
    refused(calling(function("f0", "y = f.f0(x)")), "'f.f0' of the model calls itself")
    there_and_back = function("f0", "y = f.f1(x)"), function("f1", "y = f.f0(x)")
    refused(calling(*there_and_back), "calls itself")


def test_functions_that_would_grow_without_end():
    """Each calls the next one twice: 2**60 nodes."""
    names = [function(f"f{i}", f"a = f.f{i + 1}(x) y = f.f{i + 1}(a)") for i in range(60)]
    refused(calling(*names, function("f60", "y = Neg(x)")), "more than 2000000 nodes")


def test_functions_in_a_long_chain():
    names = [function(f"f{i}", f"y = f.f{i + 1}(x)") for i in range(50)]
    fn, params = kn.onnx.load(calling(*names, function("f50", "y = Neg(x)")))
    np.testing.assert_array_equal(fn(params, X), -X)
    names = [function(f"f{i}", f"y = f.f{i + 1}(x)") for i in range(3000)]
    refused(calling(*names, function("f3000", "y = Neg(x)")), "functions call one another")


def test_functions_that_use_what_they_are_not_given():
    refused(calling(function("f0", "y = Add(x, secret)")), "reads 'secret', which nothing makes")


def test_two_functions_of_one_name():
    model = calling(function("f0", "y = Neg(x)"))
    model.functions.append(model.functions[0])
    refused(model, "two functions")


# ---- versions and texts --------------------------------------------------------------------------


def test_versions_that_are_not_known():
    model = parsed(SMALL)
    model.ir_version = 999
    refused(model, r"format version 999.*(?s:.*)pip install -U onnx")
    for version in (999, 0, -1, 2**40):
        model = parsed(SMALL)
        model.opset_import[0].version = version
        refused(model, "opset 999|the version")


def test_texts_that_are_no_utf8():
    data = parsed(SMALL).SerializeToString()
    assert data.count(b"Exp") == 1
    refused(data.replace(b"Exp", b"\xff\xfe\xfd"), "no text in UTF-8")


def test_attributes_that_are_no_utf8():
    model = parsed(
        'g (float[2,3] x) => (float[2,3] y) { y = Pad<mode = "edge">(x, p) p = Shape(x) }'
    )
    data = model.SerializeToString().replace(b"edge", b"\xff\xfe\xfd\xfc")
    fn, params = kn.onnx.load(data)
    with pytest.raises(LoadError, match="the Pad node that makes y"):
        fn(params, X)


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["1", "def", "a b", "x\nimport os\n#", '"""', "", "класс", "\x1b[2J"]
)
def test_names_do_not_get_into_the_source_of_what_is_compiled(name):
    model = parsed(SMALL)
    model.graph.name = name
    for node in model.graph.node:
        node.name = f'{name}\n"""\nraise SystemExit'
    fn, params = kn.onnx.load(model)
    assert fn.__name__.isidentifier()
    program = str(kn.graph(fn)(params, X))
    assert len(program.splitlines()) == 4
    assert program.isprintable() or "\x1b" not in program
    step = kn.jit(kn.grad(lambda params, x: np.sum(fn(params, x))))
    assert step(params, X)["w"].shape == (2, 3)
    assert "SystemExit" not in step.source or "# " in step.source
