"""Folders of checkpoints: what is kept, what is restored, and what kills and rivals leave."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoint_sample import run, same

import kinone.training.folder as folder_module
from kinone.errors import CheckpointError, CheckpointWarning, DamagedCheckpointError
from kinone.training import atomic
from kinone.training.checkpoint import (
    best_step,
    load,
    restore_best,
    restore_latest,
    save,
    steps,
)

AUC = ("val_auc", "max")


def save_all(folder: Path, values: dict[int, float | None], metric: str = "val_auc", **options):
    for step, value in values.items():
        save(folder, {"w": np.full(3, step)}, step=step, metadata={metric: value}, **options)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_step_is_a_file_whose_name_sorts_by_step(tmp_path):
    folder = tmp_path / "runs" / "first"
    for step in (1000, 9, np.int64(20), 10**12 - 1):
        path = save(folder, {"w": np.ones(2)}, step=step)
        assert path == folder / f"step-{step:012d}.npz"
        assert load(path).metadata == {"step": step}
    names = sorted(os.listdir(folder))
    assert [folder / name for name in names] == list(steps(folder).values())
    assert list(steps(folder)) == [9, 20, 1000, 10**12 - 1]
    save(folder, {}, step=10**12)  # more digits: the order is by number, not by name
    assert list(steps(folder))[-1] == 10**12
    assert not set('<>:"/\\|?* ') & set("".join(names))
    (folder / "notes.txt").touch()
    (folder / "step-7.npz").touch()
    assert len(steps(folder)) == 5


def test_the_newest_are_kept(tmp_path):
    save_all(tmp_path, dict.fromkeys(range(5), 0.5))
    assert list(steps(tmp_path)) == [0, 1, 2, 3, 4]
    save_all(tmp_path, {5: 0.5}, keep=3)
    assert list(steps(tmp_path)) == [3, 4, 5]
    save_all(tmp_path, {5: 0.7}, keep=3)  # the same step again takes its own place
    assert list(steps(tmp_path)) == [3, 4, 5]
    assert load(steps(tmp_path)[5]).metadata["val_auc"] == 0.7
    save_all(tmp_path, {1: 0.5}, keep=1)  # what was just saved stays, be it old
    assert list(steps(tmp_path)) == [1, 5]


@pytest.mark.parametrize(
    ("values", "end", "best"),
    [
        ([0.5, 0.9, 0.7, 0.6], "max", 1),
        ([0.5, 0.1, 0.7, 0.6], "min", 1),
        ([0.5, 0.9, 0.9, 0.9], "max", 1),  # of equals the first
        ([np.nan, 0.2, np.nan, 0.1], "max", 1),
        ([0.3, np.nan, np.inf, -np.inf], "max", 2),
        ([0.3, np.nan, np.inf, -np.inf], "min", 3),
        ([None, 1, None, np.float32(0.5)], "max", 1),
        ([np.nan, None, np.nan, None], "max", None),
    ],
)
def test_the_best_is_never_deleted(tmp_path, values, end, best):
    save_all(tmp_path, dict(enumerate(values)), keep=1, keep_best=("val_auc", end))
    assert best_step(tmp_path, ("val_auc", end)) == best
    assert list(steps(tmp_path)) == sorted({3} if best is None else {best, 3})


def test_the_best_is_restored(tmp_path):
    assert restore_best(tmp_path / "none yet", AUC) is None
    save_all(tmp_path, {0: None})
    assert restore_best(tmp_path, AUC) is None  # noted, but not measured
    save_all(tmp_path, {1: 0.7, 2: 0.9, 3: 0.8})
    best = restore_best(tmp_path, AUC, like={"w": np.zeros(3, np.int64)})
    assert best.tree["w"].tolist() == [2, 2, 2]
    assert best.metadata == {"val_auc": 0.9, "step": 2}
    with pytest.raises(CheckpointError, match=r"step-0+2\.npz: of another model"):
        restore_best(tmp_path, AUC, like={"w": np.zeros(4, np.int64)})
    with pytest.raises(
        CheckpointError,
        match=r"no checkpoint has metadata\['val_acc'\], at .*test_checkpoint_folder\.py:\d+ .*"
        r"; there is: step, val_auc",
    ):
        restore_best(tmp_path, ("val_acc", "max"))
    damage(steps(tmp_path)[2])
    with pytest.warns(CheckpointWarning, match=r"step-0+2\.npz: .* it may have been the best"):
        assert best_step(tmp_path, AUC) == 3


def test_what_cannot_be_read_is_neither_counted_nor_deleted(tmp_path):
    save_all(tmp_path, {0: 0.1, 1: 0.9, 2: 0.2})
    steps(tmp_path)[1].write_bytes(b"half")
    save_all(tmp_path, {3: 0.3}, keep=2, keep_best=AUC)
    assert list(steps(tmp_path)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"step": -1}, "step is -1"),
        ({"step": 1, "keep": 0}, "keep is 0"),
        ({"keep": 1}, "pass step= too"),
        ({"step": 1, "keep_best": AUC}, "pass keep=1"),
        ({"step": 1, "keep": 1, "keep_best": ("val_auc", "best")}, r'write \("val_auc", "max"\)'),
        ({"step": 1, "keep": 1, "keep_best": "val_auc"}, r'write \("val_auc", "max"\)'),
        ({"step": 1, "keep": 1, "keep_best": AUC}, r"metadata\['val_auc'\] is missing"),
        (
            {"step": 1, "keep": 1, "keep_best": AUC, "metadata": {"val_auc": "high"}},
            r"metadata\['val_auc'\] is 'high'",
        ),
        ({"step": 1, "metadata": {"step": 2}}, r"step is 1 and metadata\['step'\] 2"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path, options, problem
):
    with pytest.raises(CheckpointError, match=problem) as caught:
        save(tmp_path, {}, **options)
    assert str(caught.value).startswith(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_the_newest_is_restored(tmp_path):
    assert restore_latest(tmp_path) is None
    assert restore_latest(tmp_path / "missing") is None
    save_all(tmp_path, {9: 0.5, 10: 0.6})
    found = restore_latest(tmp_path, like={"w": np.zeros(3, np.int64)})
    assert found is not None
    assert same(found.tree, {"w": np.full(3, 10)})
    assert found.metadata == {"val_auc": 0.6, "step": 10}


def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path):
    save_all(tmp_path, {1: 0.5, 2: 0.5, 3: 0.5})
    for step in (2, 3):
        damage(steps(tmp_path)[step])
    with pytest.warns(CheckpointWarning) as caught:
        found = restore_latest(tmp_path)
    assert found is not None
    assert found.metadata["step"] == 1
    assert [
        f"{steps(tmp_path)[step]}: damaged, " in str(each.message)
        for step, each in zip((3, 2), caught, strict=True)
    ] == [True, True]
    assert {each.filename for each in caught} == {__file__}
    damage(steps(tmp_path)[1])
    with (
        pytest.warns(CheckpointWarning),
        pytest.raises(DamagedCheckpointError, match="all of its 3 checkpoints are damaged"),
    ):
        restore_latest(tmp_path)


def test_one_that_is_deleted_before_it_is_opened_is_no_error(tmp_path, monkeypatch):
    save_all(tmp_path, {1: 0.5, 2: 0.5})
    real_load = folder_module.load

    def slow_load(path: Path, like: object) -> object:
        if path.name.endswith("2.npz") and path.exists():  # another process saves and deletes
            save_all(tmp_path, {3: 0.5}, keep=1)
        return real_load(path, like)

    monkeypatch.setattr(folder_module, "load", slow_load)
    found = restore_latest(tmp_path)
    assert found is not None
    assert found.metadata["step"] == 3


def test_where_there_are_no_locks_what_is_an_hour_old_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "fcntl", None)
    names = [f".step-000000000001.npz.{token}.tmp" for token in ("0" * 16, "1" * 16)]
    for name in names:
        (tmp_path / name).touch()
    hours_ago = time.time() - 7200
    os.utime(tmp_path / names[0], (hours_ago, hours_ago))
    save(tmp_path, {}, step=3)
    assert sorted(os.listdir(tmp_path)) == [names[1], "step-000000000003.npz"]


def test_one_of_another_model_is_not_passed_over(tmp_path):
    save_all(tmp_path, {1: 0.5})
    save(tmp_path, {"v": 1.0}, step=2)
    with pytest.raises(CheckpointError, match="'w' is missing, expected int64"):
        restore_latest(tmp_path, like={"w": np.zeros(3, np.int64)})


def test_a_file_is_not_a_folder(tmp_path):
    path = save(tmp_path / "model.npz", {})
    for call in (restore_latest, lambda folder: save(folder, {}, step=1)):
        with pytest.raises(CheckpointError, match="pass the folder of a run"):
            call(path)
    with pytest.raises(CheckpointError, match="restore_latest"):
        load(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="needs locks on files")
def test_what_the_dead_left_is_deleted_and_what_the_living_write_is_not(tmp_path):
    script = """
        import sys, time
        from kinone.training.atomic import atomic_write

        with atomic_write(sys.argv[1]) as file:
            print("open", flush=True)
            sys.stdin.readline()
            file.write(b"whole")
    """
    dead, living = (run(script, tmp_path / f"step-00000000000{n}.npz") for n in (1, 2))
    for child in (dead, living):
        child.stdout.readline()
    dead.kill()
    dead.communicate()
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".tmp")]) == 2
    save(tmp_path, {}, step=3)
    (left,) = [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    assert left.startswith(".step-000000000002.npz.")
    living.communicate("\n", timeout=60)
    assert living.returncode == 0
    assert (tmp_path / "step-000000000002.npz").read_bytes() == b"whole"


def test_names_that_only_look_like_leftovers_stay(tmp_path):
    for name in (".step-000000000001.npz.abc.tmp", ".other.0123456789abcdef.tmp", "model.npz.tmp"):
        (tmp_path / name).touch()
    save(tmp_path, {}, step=3)
    save(tmp_path / "model.npz", {})
    assert len(os.listdir(tmp_path)) == 5


SAVES = """
    import itertools, sys
    import numpy as np
    from kinone.training.checkpoint import save

    for step in itertools.count(int(sys.argv[2])):
        value = np.full(50_000, step)
        tree = {"a": value, "b": value[::-1]}
        save(sys.argv[1], tree, step=step, keep=2, keep_best=("loss", "min"),
             metadata={"loss": 1.0 if step == 3 else 2.0})
        print(step, flush=True)
"""


def stopped(child: subprocess.Popen[str], number: int) -> str:
    """What the process printed until the signal ended it."""
    while True:
        child.send_signal(number)
        try:
            return child.communicate(timeout=2)[0]
        except subprocess.TimeoutExpired:
            # Python drops a Ctrl-C that arrives within a `__del__`, such as ZipFile's.
            assert number == signal.SIGINT


@pytest.mark.parametrize(
    ("signal_name", "rounds"),
    [
        ("SIGKILL", 3),
        ("SIGINT", 3),
        pytest.param("SIGKILL", 40, marks=pytest.mark.slow),
        pytest.param("SIGINT", 40, marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_run_that_is_stopped_at_any_moment_leaves_a_whole_newest(tmp_path, signal_name, rounds):
    following = 0
    for number in range(rounds):
        child = run(SAVES, tmp_path, following, quiet=True)
        said = [int(child.stdout.readline()) for _ in range(5)]
        time.sleep(0.0007 * (number * 37 % 50))
        output = stopped(child, getattr(signal, signal_name))
        said += map(int, output.split())
        found = restore_latest(tmp_path)  # a warning would be an error
        assert found is not None
        newest = found.metadata["step"]
        assert newest >= said[-1]
        assert same(found.tree["a"], np.full(50_000, newest))
        assert same(found.tree["a"], found.tree["b"])
        assert 3 in steps(tmp_path)  # the best
        assert len(steps(tmp_path)) <= 4  # killed between saving and deleting
        left = [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
        assert len(left) <= (1 if signal_name == "SIGKILL" else 0)
        following = newest + 1
    save(tmp_path, {}, step=following, keep=2, keep_best=("loss", "min"), metadata={"loss": 9})
    assert len(os.listdir(tmp_path)) == 3


def test_two_processes_that_save_to_one_folder_do_no_harm(tmp_path):
    script = """
        import sys
        import numpy as np
        from kinone.training.checkpoint import save

        for step in range(int(sys.argv[2]), 50, int(sys.argv[3])):
            value = np.full(10_000, step)
            save(sys.argv[1], {"a": value, "b": value}, step=step, keep=2)
    """
    save(tmp_path, {"a": np.zeros(1), "b": np.zeros(1)}, step=0)
    # One saves even steps, one odd ones, and one all.
    children = [run(script, tmp_path, *numbers) for numbers in ((1, 2), (2, 2), (1, 1))]
    while any(child.poll() is None for child in children):
        found = restore_latest(tmp_path)
        assert found is not None
        assert same(found.tree["a"], found.tree["b"])
    assert [child.communicate()[0] for child in children] == ["", "", ""]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert list(steps(tmp_path))[-1] == 49
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
