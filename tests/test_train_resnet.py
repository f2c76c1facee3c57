"""The main job, run as a user runs it, at tiny settings: results, resuming, and its errors."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinone import data, random, tree
from kinone.training.checkpoint import read_metadata, save

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "train_resnet.py"
TINY = ("--limit-train", "64", "--width", "2", "--epochs", "3", "--batch-size", "16")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(folder, *options):
    return [sys.executable, str(SCRIPT), *TINY, "--output", str(folder), *options]


def run(folder, *options, expect=0):
    done = subprocess.run(
        command(folder, *options), capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == expect, done.stderr
    return done


@pytest.fixture
def interrupts_heeded():
    """A test run in the background ignores SIGINT, and what it starts inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def checkpoint(folder):
    return folder / "checkpoint.npz"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run from the beginning to the end, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_resnet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_resnet"] = module
    spec.loader.exec_module(module)
    return module


# ---- a run ---------------------------------------------------------------------------------------


def test_results_and_progress(finished):
    _, done = finished
    assert re.search(r"^ResNet-18 of width 2: [\d,]+ parameters, 64 images$", done.stdout, re.M)
    number = r"\d\.\d{8}"
    for epoch in (1, 2, 3):
        assert re.search(
            rf"^epoch {epoch}/3  loss {number}  accuracy \d\.\d+  test accuracy \d\.\d+$",
            done.stdout,
            re.M,
        )
        assert re.search(
            rf"epoch {epoch}/3 +100% +loss \S+ +accuracy \S+ +\d.* images/s", done.stderr
        )
    assert re.search(r"^test accuracy [01]\.\d{4}\n\Z", done.stdout, re.M)


def test_two_runs_print_the_same_and_save_the_same(finished, tmp_path):
    folder, done = finished
    again = run(tmp_path)
    assert again.stdout == done.stdout
    assert checkpoint(tmp_path).read_bytes() == checkpoint(folder).read_bytes()


def test_another_seed_is_another_run(finished, tmp_path):
    _, done = finished
    assert run(tmp_path, "--seed", "1").stdout != done.stdout


def test_the_checkpoint_has_all_that_changes(finished):
    folder, _ = finished
    with np.load(checkpoint(folder)) as arrays:
        saved = {name: arrays[name] for name in arrays.files if name != "kinone.json"}
    for prefix in ("params/", "state/", "optimizer_state/"):
        assert any(name.startswith(prefix) for name in saved)
    for name, leaf in saved.items():
        assert leaf.dtype == np.float32 or leaf.dtype.kind in "iu" or leaf.ndim == 0, name
        if name.startswith(("params/", "state/")):
            assert leaf.dtype == np.float32, name
    assert read_metadata(checkpoint(folder))["epoch"] == 3


@pytest.mark.usefixtures("interrupts_heeded")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_and_resumed_run_ends_like_an_unbroken_one(finished, tmp_path, stop):
    folder, done = finished
    process = subprocess.Popen(
        command(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        for line in process.stdout:
            if line.startswith("epoch 1/3"):
                process.send_signal(stop)  # somewhere in the second epoch
                break
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    if stop is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, errors
        assert "stopped; --resume" in errors
        assert "Traceback" not in errors
    resumed = run(tmp_path, "--resume")
    assert "resumed from" in resumed.stderr
    assert checkpoint(tmp_path).read_bytes() == checkpoint(folder).read_bytes()
    lines = resumed.stdout.splitlines()
    assert lines[-3:] == done.stdout.splitlines()[-3:]
    assert not any(line.startswith("epoch 1/3") for line in lines)


def test_resuming_a_finished_run_prints_its_accuracy(finished, tmp_path):
    folder, done = finished
    checkpoint(tmp_path).write_bytes(checkpoint(folder).read_bytes())
    assert run(tmp_path, "--resume").stdout.splitlines()[-1] == done.stdout.splitlines()[-1]


def test_resuming_where_nothing_is_starts_at_the_beginning(finished, tmp_path):
    _, done = finished
    resumed = run(tmp_path / "new" / "folder", "--resume")
    assert resumed.stdout == done.stdout
    assert re.search(r"^there is no .*checkpoint\.npz yet; training from the start$",
                     resumed.stderr, re.M)  # fmt: skip


def test_help_names_the_options():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0
    for option in ("--depth", "--width", "--epochs", "--batch-size", "--learning-rate", "--seed",
                   "--output", "--resume"):  # fmt: skip
        assert option in done.stdout


# ---- errors: one line, exit code 2, and what was there is still there ----------------------------


def one_line_error(folder, *options):
    done = run(folder, *options, expect=2)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


DAMAGES = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "one bit": lambda whole: whole[:40_000] + bytes([whole[40_000] ^ 1]) + whole[40_001:],
    "text": lambda whole: b"not an archive at all",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(finished, tmp_path, damage):
    folder, _ = finished
    broken = DAMAGES[damage](checkpoint(folder).read_bytes())
    checkpoint(tmp_path).write_bytes(broken)
    assert "checkpoint.npz" in one_line_error(tmp_path, "--resume")
    assert checkpoint(tmp_path).read_bytes() == broken


def test_a_checkpoint_of_other_options(finished):
    folder, _ = finished
    before = checkpoint(folder).read_bytes()
    line = one_line_error(folder, "--resume", "--width", "3", "--seed", "5")
    assert "--width 2 --seed 0" in line
    assert "learning rate" not in line
    line = one_line_error(folder, "--resume", "--epochs", "4")
    assert "--epochs 3; the learning rate falls over all epochs" in line
    assert checkpoint(folder).read_bytes() == before


def test_a_checkpoint_of_another_model(tmp_path):
    save(checkpoint(tmp_path), {"params": {"w": np.ones(3)}})
    before = checkpoint(tmp_path).read_bytes()
    assert "another model" in one_line_error(tmp_path, "--resume")
    assert checkpoint(tmp_path).read_bytes() == before


def test_an_output_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "file: File exists" in one_line_error(tmp_path / "file")
    assert "--output" in one_line_error(tmp_path / "file" / "folder")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere"
)
def test_a_read_only_output_folder(finished, tmp_path):
    folder, _ = finished
    checkpoint(tmp_path).write_bytes(checkpoint(folder).read_bytes())
    tmp_path.chmod(0o500)
    try:
        assert str(tmp_path) in one_line_error(tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert checkpoint(tmp_path).read_bytes() == checkpoint(folder).read_bytes()


@pytest.mark.parametrize(
    "option", [("--width", "0"), ("--seed", "-1"), ("--learning-rate", "nan"), ("--depth", "19")]
)
def test_bad_options(tmp_path, option):
    done = run(tmp_path, *option, expect=2)
    assert option[0] in done.stderr
    assert not any(tmp_path.iterdir())


# ---- its parts -----------------------------------------------------------------------------------


def test_shift_moves_whole_images(example):
    images = data.mnist5k().train.images[:50].astype(np.float32) / 255
    moved = example.shift(images, random.key(0), 2)
    assert moved.shape == images.shape
    assert moved.dtype == np.float32
    offsets = set()
    for before, after in zip(images, moved, strict=True):
        padded = np.pad(before, [(2, 2), (2, 2), (0, 0)])
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[y : y + 28, x : x + 28], after)
        ]
        assert found
        offsets.update(found)
    assert {0, 4} <= {y for y, _ in offsets}
    assert {0, 4} <= {x for _, x in offsets}


def test_the_stem_suits_the_image_size(example):
    assert "small" in example.build_model(18, 4, 28).name
    assert "small" not in example.build_model(18, 4, 224).name


def test_an_interrupted_evaluation_loses_no_line(example, tmp_path, monkeypatch, capsys):
    """Either the epoch is saved and its line printed, or the epoch is repeated."""

    def interrupted(*_):
        raise KeyboardInterrupt

    options = [*TINY, "--epochs", "1", "--output", str(tmp_path)]
    before = signal.getsignal(signal.SIGTERM)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(example, "accuracy", interrupted)
            assert example.main(options) == 130
        assert not checkpoint(tmp_path).exists()
        assert example.main([*options, "--resume"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "epoch 1/1  loss" in capsys.readouterr().out


def test_results_are_printed_at_once(finished, tmp_path):
    """Into a pipe too: the first line is there long before the run ends."""
    process = subprocess.Popen(
        command(tmp_path, "--limit-train", "4000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )  # fmt: skip
    try:
        assert process.stdout.readline().startswith(b"ResNet-18")
        assert not checkpoint(tmp_path).exists()
    finally:
        process.kill()
        process.communicate()


def test_one_step_keeps_every_dtype_and_structure(example):
    model = example.build_model(18, 2, 28)
    optimizer = example.build_optimizer(0.1, 10)
    params, state = model.init(random.key(0), (1, 28, 28, 1))
    before = example.Training(params, state, optimizer.init(params))
    images = np.random.default_rng(0).normal(size=(8, 28, 28, 1)).astype(np.float32)
    after, loss, hits = example.make_step(model, optimizer)(before, images, np.arange(8))
    assert tree.structure(after) == tree.structure(before)
    for (path, old), new in zip(tree.leaves_with_path(before), tree.leaves(after), strict=True):
        assert np.asarray(new).dtype == np.asarray(old).dtype, path
    assert {leaf.dtype for leaf in tree.leaves((after.params, after.state))} == {np.dtype("f4")}
    assert (loss.shape, loss.dtype) == ((), np.float32)
    assert 0 <= hits <= 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1"])  # 0 is what the README runs
def test_the_default_run_reaches_its_accuracy(tmp_path, seed):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(tmp_path), "--seed", seed],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) >= 0.975
