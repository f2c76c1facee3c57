"""The examples about ONNX, run as a user runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(script, *options, expect=0):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), *map(str, options)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run("train_resnet.py", "--limit-train", 64, "--width", 2, "--epochs", 1, "--output", folder)
    return folder


@pytest.mark.parametrize("options", [(), ("--fold-batchnorm", "--layout", "NCHW", "--opset", 18)])
def test_a_checkpoint_becomes_a_model_that_computes_the_same(trained, options):
    done = run("export_onnx.py", "--checkpoint", trained / "checkpoint.npz", *options)
    rows = [line for line in done.stdout.splitlines() if line.startswith(("onnxrun", "kinone "))]
    assert len(rows) == 2
    assert all(row.endswith("ok") for row in rows)
    assert re.search(r"^test accuracy [01]\.\d{4}$", done.stdout, re.M)
    model = onnx.load(trained / "model.onnx")
    metadata = {each.key: each.value for each in model.metadata_props}
    assert "mean" in metadata["kinone.normalization"]
    assert "onnxruntime" in metadata["kinone.verification"]
    operators = {node.op_type for node in model.graph.node}
    assert ("BatchNormalization" in operators) == (not options)


def test_without_a_checkpoint_it_says_where_one_comes_from(tmp_path):
    done = run("export_onnx.py", "--checkpoint", tmp_path / "none.npz", expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert "examples/train_resnet.py writes one" in line


def test_the_exported_step_trains_where_there_is_no_kinone(tmp_path):
    done = run("train_in_onnxruntime.py", "--folder", tmp_path, "--epochs", 1)
    assert "step.onnx: " in done.stdout
    found = re.search(r"^test accuracy (\d\.\d+), trained by ONNX Runtime", done.stdout, re.M)
    assert float(found[1]) > 0.85
    # Where Kinone can be imported, the other half gives up.
    options = ("--folder", tmp_path, "--without-kinone")
    assert "Kinone is here" in run("train_in_onnxruntime.py", *options, expect=3).stderr
