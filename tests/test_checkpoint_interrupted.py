"""Checkpoints: a save that is interrupted, at whatever moment, leaves a whole file behind."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_sample import TREE, run, same, save_sample

from kinone.errors import CheckpointError
from kinone.training.checkpoint import load, save


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_sample(tmp_path)


def folder_of(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(saved, monkeypatch, call):
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(CheckpointError, match="not saved, No space left on device; ") as caught:
        save(saved, {"new": np.ones(100)})
    assert isinstance(caught.value.__cause__, OSError)
    assert saved.read_bytes() == before
    assert folder_of(saved) == ["model.npz"]


def test_ctrl_c_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(saved, {"new": np.ones(100)})
    assert saved.read_bytes() == before
    assert folder_of(saved) == ["model.npz"]


def test_a_folder_that_is_missing_or_a_file_is_a_clear_error(saved, tmp_path):
    for path in (tmp_path / "missing" / "model.npz", saved / "model.npz"):
        with pytest.raises(CheckpointError, match="choose a folder that exists"):
            save(path, TREE)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX permissions")
def test_a_read_only_folder_is_a_clear_error(saved):
    # Root may write anywhere, so a root that tests becomes nobody first.
    script = """
        import os, sys
        import numpy as np, numpy.ma  # nobody may be unable to read the rest of NumPy
        from kinone.errors import CheckpointError
        from kinone.training.checkpoint import save

        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            save(sys.argv[1], {"a": np.ones(100)})
        except CheckpointError as error:
            print(error)
    """
    saved.parent.chmod(0o500)
    try:
        child = run(script, saved)
        output, _ = child.communicate(timeout=60)
    finally:
        saved.parent.chmod(0o700)
    assert child.returncode == 0
    assert output.startswith(f"{saved}: not saved, Permission denied; a previous checkpoint is as")
    assert same(load(saved).tree, TREE)


def test_the_file_has_the_permissions_of_any_new_file(saved, tmp_path):
    (tmp_path / "plain").touch()
    assert saved.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_the_new_file_has_the_permissions_of_the_old_one(saved):
    for mode in (0o640, 0o600, 0o444):
        saved.chmod(mode)
        save(saved, TREE)
        assert saved.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, monkeypatch):
    for folder in ("runs", "links"):
        (tmp_path / folder).mkdir()
    link, target = tmp_path / "links" / "latest.npz", tmp_path / "runs" / "model.npz"
    link.symlink_to("../runs/model.npz")
    monkeypatch.chdir(tmp_path / "links")
    for number in range(2):  # the target is made, then replaced
        save("latest.npz", {"n": number})
        assert link.is_symlink()
        assert not target.is_symlink()
        assert load(target).tree == {"n": number}
    assert folder_of(link) == ["latest.npz"]
    assert folder_of(target) == ["model.npz"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_what_is_no_file_is_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="not saved, Not a regular file"):
        save(path, TREE)
    assert path.is_fifo()
    with pytest.raises(CheckpointError, match="not saved, it is a folder; pass step="):
        save(tmp_path, TREE)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CheckpointError, match="not saved"):
        save(tmp_path / "loop", TREE)
    assert folder_of(path) == ["loop", "pipe"]


def test_a_long_file_name_is_no_problem(tmp_path):
    path = tmp_path / ("é" * 120 + ".npz")
    save(path, TREE)
    assert same(load(path).tree, TREE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved):
    # A limit on the size of files stands for the full disk: the write stops half-way.
    script = """
        import resource, signal, sys
        import numpy as np
        from kinone.errors import CheckpointError
        from kinone.training.checkpoint import save

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for size in (10_000, 20_000, 1_000_000):
            try:
                save(sys.argv[1], {"a": np.ones(100), "b": np.ones(size)})
            except CheckpointError as error:
                print(error)
    """
    before = saved.read_bytes()
    child = run(script, saved)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert output.count("File too large; a previous checkpoint is as it was") == 2
    assert folder_of(saved) == ["model.npz"]
    assert saved.read_bytes() != before  # the first of the three was small enough
    assert load(saved).tree["b"].shape == (10_000,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_9_at_every_line_of_a_save_leaves_one_whole_checkpoint(saved, stride):
    # A forked child saves and kills itself at its n-th line; n grows until the save gets through.
    script = """
        import os, signal, sys
        import numpy as np
        from kinone.training.checkpoint import load, save

        path = sys.argv[1]
        old, new = np.zeros(5000), np.ones(5000)

        def dies_at(line):
            left = line

            def trace(frame, event, argument):
                nonlocal left
                ours = os.path.join("kinone", "training") in frame.f_code.co_filename
                if not ours and "zipfile" not in frame.f_code.co_filename:
                    return None
                left -= event == "line"
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace

            sys.settrace(trace)
            save(path, {"a": new, "b": new})
            os._exit(0)

        line, seen = 0, set()
        while True:
            save(path, {"a": old, "b": old})
            line += int(sys.argv[2])
            child = os.fork()
            if child == 0:
                dies_at(line)
            status = os.waitpid(child, 0)[1]
            found = load(path).tree
            assert found["a"].tobytes() == found["b"].tobytes()
            seen.add(found["a"][0])
            if status == 0:
                break
            assert os.WTERMSIG(status) == signal.SIGKILL
        assert seen == {0.0, 1.0}
        print(line)
    """
    child = run(script, saved, stride)
    output, _ = child.communicate(timeout=300)
    assert child.returncode == 0
    assert int(output) > 100


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_leaves_one_whole_checkpoint(tmp_path, kills):
    script = """
        import itertools, sys
        import numpy as np
        from kinone.training.checkpoint import save

        for number in itertools.count(int(sys.argv[2])):
            value = np.full(100_000, number, np.int64)
            save(sys.argv[1], {"a": value, "b": value[::-1]}, metadata={"n": number})
            print(number, flush=True)
    """
    path, number = tmp_path / "model.npz", 0
    for kill in range(kills):
        child = run(script, path, number)
        assert child.stdout is not None
        child.stdout.readline()  # at least one save is through
        time.sleep(0.0007 * (kill * 37 % 50))
        child.send_signal(signal.SIGKILL)
        said = [number, *map(int, child.communicate()[0].split())][-1]
        found = load(path)
        assert found.metadata["n"] >= said
        assert same(found.tree["a"], np.full(100_000, found.metadata["n"], np.int64))
        assert same(found.tree["a"], found.tree["b"])
        number = found.metadata["n"] + 1


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    script = """
        import sys
        import numpy as np
        from kinone.training.checkpoint import save

        for _ in range(30):
            value = np.full(20_000, int(sys.argv[2]))
            save(sys.argv[1], {"a": value, "b": value})
    """
    path = tmp_path / "model.npz"
    save(path, {"a": np.zeros(2), "b": np.zeros(2)})
    children = [run(script, path, number) for number in (1, 2)]
    while any(child.poll() is None for child in children):
        found = load(path).tree
        assert same(found["a"], found["b"])
    assert [child.communicate()[0] for child in children] == ["", ""]
    assert [child.returncode for child in children] == [0, 0]
    assert folder_of(path) == ["model.npz"]
