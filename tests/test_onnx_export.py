"""`kn.onnx.export`: names, folding, metadata, files, every opset, and what it refuses.

What is computed is compared in the tests of the rules; here it is who is called what, and that
nothing is written when something is wrong.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_runtime import check_export, run, session

import kinone as kn
from kinone import nn, optim
from kinone.onnx.export import files
from kinone.onnx.export.options import OPSETS

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def inputs(model):
    return [each.name for each in model.graph.input]


def outputs(model):
    return [each.name for each in model.graph.output]


def operators(model):
    return [node.op_type for node in model.graph.node]


def weights(model):
    return [each.name for each in model.graph.initializer]


def metadata(model):
    return {each.key: each.value for each in model.metadata_props}


def refused(fun, *args, error=kn.onnx.ExportError, **options):
    """The message, which names this file's line; nothing may have been written."""
    with pytest.raises(error) as raised:
        kn.onnx.export(fun, *args, **options)
    assert "test_onnx_export.py:" in str(raised.value)
    return str(raised.value)


def dense(params, x):
    return np.tanh(x @ params["w"] + params["b"])


PARAMS = {"w": W, "b": np.arange(5, dtype=np.float32)}


# ---- names and folding ---------------------------------------------------------------------------


def test_leaves_are_inputs_or_initialisers_named_by_argument_and_path():
    model = check_export(dense, (PARAMS, X), **CLOSE)
    assert inputs(model) == ["params/b", "params/w", "x"]
    assert weights(model) == []
    assert outputs(model) == ["output"]
    model = kn.onnx.export(dense, PARAMS, X, fold="params")
    assert inputs(model) == ["x"]
    assert sorted(weights(model)) == ["params/b", "params/w"]
    model = kn.onnx.export(dense, PARAMS, X, fold=("params/w",))
    assert (inputs(model), weights(model)) == (["params/b", "x"], ["params/w"])
    model = kn.onnx.export(dense, PARAMS, X, fold=["**/b"])
    assert (inputs(model), weights(model)) == (["params/w", "x"], ["params/b"])


def test_an_argument_without_leaves_can_be_folded():
    model = kn.onnx.export(lambda params, state, x: x @ params, W, {}, X, fold=("params", "state"))
    assert weights(model) == ["params"]


def test_a_folded_weight_keeps_its_name_however_it_lies_and_is_used():
    wide = np.asfortranarray(W)
    model = kn.onnx.export(lambda w, x: (x @ w, x[:, :3] @ w.T.T), wide, X, fold="w")
    assert weights(model) == ["w"]
    model = check_fold(lambda w, x: (x @ w) @ w.T, W, X)
    assert all(name.startswith("w") for name in weights(model))
    model = check_fold(lambda w, x: x + np.broadcast_to(w, (len(x), 3)), W[:, 0], X)
    assert "w" in weights(model)
    model = check_fold(lambda w, x: x @ w, W.astype(">f4"), X)
    assert weights(model) == ["w"]


def check_fold(fun, w, x):
    """Exports with the first argument folded, and compares at two batch sizes."""
    model = kn.onnx.export(fun, w, x, fold="w")
    for given in (x, np.concatenate([x, x[:1]])):
        (got,) = run(model, given)
        np.testing.assert_allclose(got, fun(w, given), rtol=1e-5, atol=1e-6)
    return model


def test_one_square_weight_used_both_ways_is_not_confused():
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    check_fold(lambda w, x: (x @ w) + (x @ w.T) + w[0] + w.T[0], square, X)


def test_one_cube_used_in_two_layouts_is_not_confused():
    cube = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    conv = nn.Conv(4, (3, 3))
    image = np.random.default_rng(0).standard_normal((2, 4, 4, 4)).astype(np.float32)
    params, _ = conv.init(kn.random.key(0), image.shape)

    def f(cube, x):
        return (conv.apply(params, {}, x)[0] + cube).sum(0) * cube

    model = kn.onnx.export(f, cube, image, fold="cube", dynamic={})
    np.testing.assert_allclose(run(model, image)[0], f(cube, image), rtol=1e-4, atol=1e-3)


def test_names_replace_the_beginning_of_paths():
    names = {"params": "net", "x": "image", "output/logits": "logits"}

    def f(params, x):
        return {"logits": dense(params, x), "size": np.sum(x)}

    model = kn.onnx.export(f, PARAMS, X, names=names)
    assert inputs(model) == ["net/b", "net/w", "image"]
    assert outputs(model) == ["logits", "output/size"]
    model = kn.onnx.export(f, PARAMS, X, names={"output": "found"})
    assert outputs(model) == ["found/logits", "found/size"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": {"y": "z"}}, "names='y' names no input"),
        ({"names": {"output/3": "z"}}, "names no output; there are output"),
        ({"names": {"x": "params/w"}}, "calls both params/w and x 'params/w'"),
        ({"names": {"x": "q", "output": "q"}}, "calls both x and output 'q'"),
        ({"names": ["x"]}, "is not a dict"),
        ({"dynamic": True}, "is not a dict of axes"),
        ({"dynamic": {"x": "batch"}}, "is not a dict of axes"),
        ({"dynamic": {"x": {"0": "n"}}}, "is not a dict of axes"),
        ({"fold": 3}, "is not a name or several"),
        ({"input_layout": 3}, 'is not "NCHW"'),
        ({"opset": "21"}, "opset='21' is not among"),
        ({"metadata": ["x"]}, "is not a dict"),
        ({"external_data": True}, "give path="),
        ({"names": {"x": ""}}, "a name is a text that is not empty"),
        ({"fold": "param"}, "did you mean params"),
        ({"fold": "params/c"}, "did you mean"),
        ({"dynamic": {"z": {0: "n"}}}, "dynamic='z' names no input"),
        ({"dynamic": {"x": {2: "n"}}}, "names axis 2 of x, which is float32[4,3]"),
        ({"dynamic": {"x": {0: "n", 1: "n"}}}, "the dynamic size 'n' is 4 in one input and 3"),
        ({"dynamic": {"x": {0: "a b"}}}, "a name is a word"),
        ({"opset": 3}, "opset=3 is not among 17"),
        ({"input_layout": "NCHW"}, "no argument that is an input has 3, 4 or 5 axes"),
        ({"input_layout": {"x": "CHW"}}, "neither 'NCHW' nor 'NHWC'"),
        ({"normalization": {"mean": 0}}, "wants 'mean' and 'std'"),
        ({"normalization": {"mean": 0, "std": 0}}, "above 0"),
        ({"metadata": {"kinone.x": ""}}, "Kinone's own"),
        ({"metadata": {"x": object()}}, "is no text"),
        ({"verify": 3}, "verify is a tuple of arguments"),
        ({"path": "/nowhere/at/all.onnx"}, "is no folder"),
    ],
)
def test_what_is_wrong_is_said_with_the_line(options, said):
    assert said in refused(dense, PARAMS, X, **options)


# ---- functions of all kinds ----------------------------------------------------------------------


@kn.custom_vjp
def clipped(x):
    return np.clip(x, -1, 1)


clipped.defvjp(lambda x: (clipped(x), None), lambda residuals, g: (g,))


class Model:
    def __init__(self):
        self.w = W

    def predict(self, x):
        return x @ self.w

    def __call__(self, x):
        return x @ self.w


def scaled(x, factor=2.0):
    return x * factor


@pytest.mark.parametrize(
    ("fun", "args", "names"),
    [
        (kn.jit(lambda x: np.tanh(x)), (X,), ["x"]),
        (np.tanh, (X,), ["x"]),
        (scaled, (X,), ["x"]),
        (scaled, (X, 3.0), ["x", "factor"]),
        (functools.partial(scaled, factor=np.float32(3)), (X,), ["x"]),
        (functools.partial(dense, PARAMS), (X,), ["x"]),
        (Model().predict, (X,), ["x"]),
        (Model(), (X,), ["x"]),
        (kn.graph(np.tanh)(X), (X,), None),
        (kn.vmap(lambda x: x @ W), (X,), ["x"]),
        (kn.grad(lambda w, x: np.mean(np.tanh(x @ w))), (W, X), ["w", "x"]),
        (kn.hessian(lambda x: np.sum(x**3)), (X[0],), ["x"]),
        (kn.vmap(kn.grad(lambda x: np.sum(np.exp(x)))), (X,), ["x"]),
        (kn.jit(kn.grad(kn.jit(lambda x: np.sum(np.sin(x) * x)))), (X,), ["x"]),
        (kn.grad(lambda x: np.sum(clipped(x) * x)), (X,), ["x"]),
        (kn.grad(kn.checkpoint(lambda x: np.sum(np.tanh(x) ** 2))), (X,), ["x"]),
        (lambda *xs: xs[0] + xs[1], (X, X), ["xs/0", "xs/1"]),
        (lambda x, *, k=3: x * k, (X,), ["x"]),
        (lambda: np.arange(3.0), (), []),
        (lambda x, n, b, f: np.where(b, x * f, x + n), (X, 3, True, 0.5), ["x", "n", "b", "f"]),
        (lambda p: p["größe/ü"] + p["a.b c"], ({"größe/ü": X, "a.b c": X},), None),
        (lambda t: {"a": t["x"], "none": None, "c": [t["x"] * 2]}, ({"x": X, "n": None},), ["t/x"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_any_callable_and_any_tree(fun, args, names):
    model = check_export(fun, args, **CLOSE)
    assert names is None or inputs(model) == names


def test_results_that_are_inputs_constants_or_the_same():
    def f(x, y):
        z = y + 1
        return x, x, np.float32(3), z, z, np.ones(3), y

    model = check_export(f, (X, X + 1))
    assert outputs(model) == [f"output/{i}" for i in range(7)]


def test_a_tensor_of_the_name_of_an_output_gives_way():
    def f(x):
        with kn.named_scope("found"):
            y = np.tanh(x)
        return y, y + 1

    model = check_export(f, (X,), names={"output/1": "found/Tanh"}, **CLOSE)
    assert outputs(model) == ["output/0", "found/Tanh"]


def test_what_is_empty():
    check_export(lambda x: (x * 2, x.sum(0)), (np.zeros((0, 3), np.float32),))
    message = refused(lambda x: (), X)
    assert "returns no array" in message


def test_examples_may_be_shapes_alone():
    model = kn.onnx.export(lambda x: x * 2, kn.ShapeDtype((4, 3), "float32"))
    np.testing.assert_array_equal(run(model, X)[0], X * 2)
    assert "ShapeDtype" in refused(dense, PARAMS, kn.ShapeDtype((4, 3), "float32"), fold="x")
    message = refused(
        lambda x: x, kn.ShapeDtype((4, 3), "float32"), verify=True, error=kn.onnx.VerificationError
    )
    assert "no numbers" in message


def test_a_jitted_function_is_exported_as_it_is_and_stays_as_it_was():
    model = nn.Sequential(nn.Conv(4, (3, 3)), nn.BatchNorm(), nn.Relu())
    image = np.ones((2, 8, 8, 3), np.float32)
    params, state = model.init(kn.random.key(0), image.shape)
    compiled = kn.jit(lambda params, state, x: model.apply(params, state, x)[0])
    for _ in range(2):
        found = kn.onnx.export(compiled, params, state, image, fold=("params", "state"))
        assert "BatchNormalization" in operators(found)
        compiled(params, state, image)  # the second time it has been compiled before
    assert len(compiled.traces) == 1
    assert "composite" not in compiled.source


# ---- refusals ------------------------------------------------------------------------------------


def test_a_primitive_without_a_rule_names_the_line_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(kn.core.registry["tanh"], "onnx", "the reason")
    path = tmp_path / "model.onnx"
    message = refused(lambda x: np.tanh(x) + 1, X, path=path)
    assert "tanh cannot be written as ONNX: the reason" in message
    assert "np.tanh(x)" in message
    assert list(tmp_path.iterdir()) == []


def test_python_control_flow_on_values_is_refused_with_the_fix():
    def f(x):
        return x if x.sum() > 0 else -x

    message = refused(f, X, error=kn.errors.TracerConversionError)
    assert "kinone.cond" in message
    assert "onnx.export" in message


def test_values_of_another_transformation_are_refused():
    with pytest.raises(kn.onnx.ExportError, match="another transformation"):
        kn.grad(lambda w: kn.onnx.export(lambda x: x @ w, X))(W)


def test_what_is_no_number_is_refused():
    assert "s is a str" in refused(lambda x, s: x, X, "text", error=kn.errors.LeafError)
    assert "result" in refused(lambda x: "text", X, error=kn.errors.LeafError)


# ---- metadata ------------------------------------------------------------------------------------


def test_metadata():
    def f(params, x):
        """Scores of five classes."""
        return dense(params, x)

    model = kn.onnx.export(
        f, PARAMS, X, fold="params", names={"output": "scores"},
        normalization={"mean": [0.5], "std": 0.25}, metadata={"classes": ["a", "b"], "note": "ü"},
    )  # fmt: skip
    found = metadata(model)
    assert found["kinone.version"] == kn.__version__
    assert json.loads(found["kinone.inputs"]) == [{"name": "x", "path": "x"}]
    assert json.loads(found["kinone.outputs"]) == [{"name": "scores", "path": "output"}]
    assert json.loads(found["kinone.normalization"]) == {"mean": [0.5], "std": [0.25]}
    assert json.loads(found["classes"]) == ["a", "b"]
    assert found["note"] == "ü"
    assert "kinone.notes" not in found
    assert model.producer_name == "kinone"
    assert model.doc_string == "Scores of five classes."
    assert model.opset_import[0].version == 21
    assert model.ir_version == 10  # what ONNX Runtime 1.19 loads
    assert model.graph.name == "f"


def test_nodes_know_their_scope_and_the_users_line():
    def f(x):
        with kn.named_scope("encoder"), kn.named_scope("block0"):
            return np.tanh(x)

    (node,) = kn.onnx.export(f, X).graph.node
    assert node.name == "encoder/block0/Tanh"
    assert "test_onnx_export.py:" in node.doc_string
    assert node.doc_string.endswith("np.tanh(x)  in encoder/block0")


def test_names_of_nodes_and_tensors_are_their_own():
    model = kn.onnx.export(lambda x: np.tanh(np.tanh(np.tanh(x))), X)
    names = [node.name for node in model.graph.node]
    tensors = [name for node in model.graph.node for name in node.output]
    assert len(set(names)) == len(set(tensors)) == 3


# ---- files ---------------------------------------------------------------------------------------


def test_the_file_holds_the_model(tmp_path):
    path = tmp_path / "model.onnx"
    model = kn.onnx.export(dense, PARAMS, X, fold="params", path=path)
    assert onnx.load(path) == model
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    kn.onnx.export(dense, PARAMS, X, path=str(path))
    assert inputs(onnx.load(path)) == ["params/b", "params/w", "x"]


def big(w, x):
    return x @ w


def test_external_data(tmp_path):
    path, w = tmp_path / "model.onnx", np.ones((3, 500), np.float32)
    model = kn.onnx.export(big, w, X, fold="w", path=path, external_data=True)
    assert {each.name for each in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert path.stat().st_size < 2000
    assert (tmp_path / "model.onnx.data").stat().st_size >= 6000
    assert weights(model) == ["w"]  # what is returned has them inside
    assert len(model.graph.initializer[0].raw_data) == 6000
    onnx.checker.check_model(path, full_check=True)
    found = session_of(path).run(None, {"x": X})
    np.testing.assert_allclose(found[0], X @ w, rtol=1e-5)
    fn, params = kn.onnx.load(path)
    np.testing.assert_array_equal(params["w"], w)
    np.testing.assert_allclose(fn(params, X), X @ w, rtol=1e-5)
    # What is smaller than the threshold stays inside.
    kn.onnx.export(big, w, X, fold="w", path=tmp_path / "b.onnx", external_data=10_000)
    assert (tmp_path / "b.onnx.data").stat().st_size == 0
    # Another pair of files takes the place of the first.
    kn.onnx.export(big, 2 * w, X, fold="w", path=path, external_data=True)
    np.testing.assert_array_equal(kn.onnx.load(path)[1]["w"], 2 * w)


def session_of(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    kn.onnx.export(dense, PARAMS, X, path=path)
    before = path.read_bytes()

    def fails(source, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="full"):
        kn.onnx.export(dense, PARAMS, X, fold="params", path=path, external_data=True)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == before


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link.onnx", tmp_path / "real" / "model.onnx"
    link.symlink_to(target)
    kn.onnx.export(dense, PARAMS, X, path=link)
    assert link.is_symlink()
    assert onnx.load(target).graph.name == "dense"


def test_what_is_too_large_for_one_file_wants_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "LARGEST", 1000)
    w = np.ones((3, 500), np.float32)
    assert "give path=" in refused(big, w, X, fold="w")
    kn.onnx.export(big, w, X, fold="w", path=tmp_path / "a.onnx", verify=True)
    assert (tmp_path / "a.onnx.data").exists()
    with pytest.raises(kn.onnx.VerificationError):
        kn.onnx.export(big, w, X, fold="w", path=tmp_path / "b.onnx", verify=(2 * w, X))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_large_model_is_checked_without_its_weights(monkeypatch):
    monkeypatch.setattr(files, "_CHECKED_WHOLE", 1000)
    model = kn.onnx.export(big, np.ones((3, 500), np.float32), X, fold="w")
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(kn.onnx.ExportError, match="error of Kinone's"):
        files.check(model)


def test_equal_models_are_equal_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        kn.onnx.export(dense, PARAMS, X, fold="params", path=tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_closing_over_large_arrays_makes_one_initialiser():
    w = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    model = kn.onnx.export(lambda x: (x @ w) @ w, w[:4])
    assert len(weights(model)) == 1


def test_a_buffer_that_is_used_again_is_several_constants():
    def f(x):
        buffer = np.zeros((200, 200), np.float32)
        y = x + buffer
        buffer += 1
        return y + buffer

    check_export(f, (np.zeros((200, 200), np.float32),), dynamic={})


# ---- every opset ---------------------------------------------------------------------------------

IMAGE = np.random.default_rng(3).standard_normal((2, 8, 8, 4)).astype(np.float32)


def small_network():
    model = nn.Sequential(
        nn.Conv(8, (3, 3)), nn.BatchNorm(), nn.Relu(), nn.MaxPool(2), nn.GroupNorm(2),
        nn.HardSwish(), nn.Flatten(), nn.Dense(6), nn.LayerNorm(), nn.Gelu(), nn.Dense(3),
    )  # fmt: skip
    params, state = model.init(kn.random.key(0), IMAGE.shape)
    return lambda x: model.apply(params, state, x)[0]


def a_step():
    model = nn.Sequential(nn.Dense(8), nn.Relu(), nn.Dense(2))
    params, _ = model.init(kn.random.key(0), X.shape)
    optimizer = optim.adam(1e-2)

    def step(params, state, x):
        def loss(params):
            return np.mean(model.apply(params, {}, x)[0] ** 2)

        updates, state = optimizer.update(kn.grad(loss)(params), state, params)
        return optim.apply_updates(params, updates), state

    return step, (params, optimizer.init(params), X)


def zoo():
    step, args = a_step()
    yield "network", small_network(), (IMAGE,)
    yield "gradient of it", kn.grad(lambda x: np.sum(np.tanh(small_network()(x)))), (IMAGE,)
    yield "step", step, args
    yield (
        "reductions",
        lambda x: (x.sum(0), x.mean(1), x.max(1), x.min(), x.prod(0), x.var(1)),
        (X,),
    )
    yield "pad", lambda x: np.pad(x, ((1, 2), (0, 1)), constant_values=3), (X,)
    yield "pad edge", lambda x: np.pad(x, ((1, 2), (0, 1)), mode="edge"), (X,)
    yield "split", lambda x: np.split(x, [1, 2], axis=1), (X,)
    yield "cond", lambda x: kn.cond(np.sum(x) > 0, np.sin, np.cos, x), (X,)
    yield "while", lambda x: kn.while_loop(lambda c: np.sum(c) < 9, lambda c: c * 2, abs(x)), (X,)
    yield "scan", lambda x: kn.scan(lambda c, r: (c + r, c * r), np.zeros(3, np.float32), x), (X,)
    yield "index", lambda x: (x[1:, ::-1], x[[0, 2]], x[..., None, 0]), (X,)
    yield "sort", lambda x: (np.sort(x, 1), np.argmax(x, 1)), (X,)
    yield "bits", lambda n: (n & 6, n ^ 3, n << 1, n % 3), (np.arange(6).reshape(3, 2),)
    yield "softmax", lambda x: nn.Softmax().apply({}, {}, x)[0], (X,)


@pytest.mark.parametrize("opset", [17, 18, 20, 21, 24, OPSETS[-1]])
@pytest.mark.parametrize("case", list(zoo()), ids=lambda case: case[0])
def test_every_opset(case, opset):
    name, fun, args = case
    if name == "bits" and opset < 18:
        assert "from opset 18 on" in refused(fun, *args, opset=opset)
        return
    model = kn.onnx.export(fun, *args, opset=opset)
    assert [each.version for each in model.opset_import] == [opset]
    try:
        session(model)
    except Exception as error:
        if "is under development" in str(error) or "Unsupported model IR version" in str(error):
            pytest.skip("ONNX Runtime does not load the opset")
        raise
    for got, want in zip(run(model, *args), kn.tree.leaves(fun(*args)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


# Of equal eigenvectors and parts, ONNX Runtime gives others; effects give nothing.
OTHERS = {"argpartition", "partition", "eigh", "svd", "print", "check", "custom_jvp"}


@pytest.mark.slow
@pytest.mark.parametrize("opset", [opset for opset in OPSETS if opset not in (21, 22, 23, 25)])
def test_every_primitive_in_every_opset(opset):
    count = 0
    for name, primitive in sorted(kn.core.registry.items()):
        if not callable(primitive.onnx) or name in OTHERS:
            continue
        for sample in (primitive.samples() if primitive.samples else [])[:4]:

            def f(*args, primitive=primitive, params=sample.params):
                return primitive(*args, **params)

            try:
                check_export(f, sample.args, dynamic={}, opset=opset, rtol=1e-9, atol=1e-9)
                count += 1
            except kn.onnx.ExportError as error:
                if opset > 17 or "opset 18" not in str(error):
                    raise
    assert count > 500


def test_the_page_of_the_module_says_what_is_missing():
    """Without the extra, the message says how to get it."""
    text = Path(kn.onnx.__file__).read_text(encoding="utf-8")
    assert 'pip install "kinone[onnx]"' in text
