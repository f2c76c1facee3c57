"""`kn.onnx.verify` finds what is wrong with a model, and says how far it is off."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import kinone as kn
from kinone import nn

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)


def dense(w, x):
    return {"y": np.tanh(x @ w), "n": np.argmax(x, 1)}


def test_both_runners_agree_and_every_output_has_a_row():
    model = kn.onnx.export(dense, W, X)
    report = kn.onnx.verify(model, dense, W, X)
    assert report.ok
    assert [(row.runner, row.output) for row in report.rows] == [
        (runner, name) for runner in ("onnxruntime", "kinone") for name in ("output/n", "output/y")
    ]
    assert all(row.absolute < 1e-6 for row in report.rows)
    table = str(report)
    assert table.splitlines()[0].split() == [
        "runner", "output", "type", "absolute", "relative", "ulp",
    ]  # fmt: skip
    assert "float32[4,5]" in table
    assert table.count("ok") == 4


def test_a_model_of_other_numbers_is_found_out(tmp_path):
    model = kn.onnx.export(dense, W, X, fold="w")
    with pytest.raises(kn.onnx.VerificationError) as raised:
        kn.onnx.verify(model, dense, W * 1.01, X)
    assert "TOO FAR" in str(raised.value)
    assert "test_onnx_verify.py:" in str(raised.value)
    with pytest.raises(kn.onnx.VerificationError):
        kn.onnx.verify(model, dense, W * 1.00001, X, rtol=1e-7)
    assert kn.onnx.verify(model, dense, W * 1.00001, X, rtol=1e-2).ok
    other = kn.onnx.export(lambda x: {"y": x, "n": np.argmin(x, 1)}, X)
    with pytest.raises(kn.onnx.VerificationError, match="in the model"):
        kn.onnx.verify(other, lambda x: dense(W, x), X)


def test_every_file_form(tmp_path):
    path = tmp_path / "model.onnx"
    model = kn.onnx.export(dense, W, X, fold="w", path=path)
    for form in (model, path, str(path), path.read_bytes()):
        assert kn.onnx.verify(form, dense, W, X).ok


def test_a_model_of_another_program_takes_its_inputs_in_order():
    model = kn.onnx.export(lambda w, x: x @ w, W, X)
    del model.metadata_props[:]
    assert kn.onnx.verify(model, lambda a, b: b @ a, W, X).ok
    with pytest.raises(kn.onnx.VerificationError, match="has 2 inputs and the arguments 1"):
        kn.onnx.verify(model, lambda x: x, X)


def test_layouts_complex_numbers_and_python_numbers():
    conv = nn.Conv(4, (3, 3))
    image = np.ones((2, 8, 8, 3), np.float32)
    params, _ = conv.init(kn.random.key(0), image.shape)

    def f(params, x, scale):
        return conv.apply(params, {}, x)[0] * scale

    model = kn.onnx.export(f, params, image, 2.0, input_layout={"x": "NCHW"}, fold="params")
    sizes = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes[1:] == [3, 8, 8]
    ports = json.loads({p.key: p.value for p in model.metadata_props}["kinone.inputs"])
    assert ports[0] == {"name": "x", "path": "x", "layout": "NCHW"}
    assert kn.onnx.verify(model, f, params, np.ones((5, 8, 8, 3), np.float32), 3.0).ok
    z = X.astype(np.complex64) * 1j
    assert kn.onnx.verify(kn.onnx.export(lambda z: z * z, z), lambda z: z * z, z).ok


def test_export_verifies_before_it_writes(tmp_path, capsys, monkeypatch):
    path = tmp_path / "model.onnx"
    model = kn.onnx.export(dense, W, X, path=path, verify=True)
    table = capsys.readouterr().out
    assert "onnxruntime" in table
    assert {p.key: p.value for p in model.metadata_props}["kinone.verification"] in table
    kn.onnx.export(dense, W, X, verify=(W, X[:2]))
    kn.onnx.export(dense, W, X, verify=[(W, X[:2]), (W, X[:1]), (W, X)])
    assert "float32[2,5] …" in capsys.readouterr().out
    path.unlink()
    tanh = kn.core.registry["tanh"]
    monkeypatch.setattr(tanh, "onnx", lambda b, step, x: b.node("Sin", [x], x.shape, x.dtype))
    with pytest.raises(kn.onnx.VerificationError, match="TOO FAR"):
        kn.onnx.export(dense, W, X, path=path, verify=True)
    assert list(tmp_path.iterdir()) == []


def test_a_runner_that_refuses_the_model_has_a_row_that_says_why():
    model = kn.onnx.export(dense, W, X)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(kn.onnx.VerificationError) as raised:
        kn.onnx.verify(model, dense, W, X)
    assert str(raised.value).count("NoSuchOperator") == 2


@pytest.mark.parametrize(
    ("got", "want", "absolute", "ulp", "ok"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0, 0, True),
        ([1.0, np.nan], [1.0, np.nan], 0, 0, True),
        ([np.inf], [np.inf], 0, 0, True),
        ([-np.inf], [np.inf], np.inf, np.inf, False),
        ([np.nan], [1.0], np.inf, np.inf, False),
        ([1.0], [np.nan], np.inf, np.inf, False),
        ([1.0 + 2**-23], [1.0], 2**-23, 1, True),
        ([1.1], [1.0], 0.1, 838861, False),
        ([1e-9], [0.0], 1e-9, None, True),
        ([], [], 0, 0, True),
    ],
)
def test_how_far_is_told(got, want, absolute, ulp, ok):
    want = np.array(want, np.float32)
    model = constant(np.array(got, np.float32))
    try:
        report = kn.onnx.verify(model, lambda: want)
    except kn.onnx.VerificationError:
        assert not ok
        return
    assert ok
    row = report.rows[0]
    assert row.absolute == pytest.approx(absolute, rel=1e-6)
    assert ulp is None or row.ulp == pytest.approx(ulp)


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.bool_])
def test_whole_numbers_are_equal_or_wrong(dtype):
    numbers = np.array([0, 1, 1], dtype)
    assert kn.onnx.verify(constant(numbers), lambda: numbers).ok
    with pytest.raises(kn.onnx.VerificationError, match="TOO FAR"):
        kn.onnx.verify(constant(numbers), lambda: numbers[::-1].copy())


def constant(array):
    """A model without inputs that gives an array."""
    node = onnx.helper.make_node("Constant", [], ["y"], value=onnx.numpy_helper.from_array(array))
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    output = onnx.helper.make_tensor_value_info("y", kind, array.shape)
    graph = onnx.helper.make_graph([node], "constant", [], [output])
    return onnx.helper.make_model(
        graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 21)]
    )
