"""Checkpoints that cross borders: safetensors, other names, fewer leaves, dtypes NumPy lacks."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from checkpoint_sample import METADATA, TREE, error_of, in_one_folder, run, same
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone import random, tree
from kinone.errors import CheckpointError, DamagedCheckpointError
from kinone.training.checkpoint import Diff, load, read_metadata, save

SUFFIXES = [".npz", ".safetensors"]
Point = namedtuple("Point", ["x", "y"])


@tree.register_dataclass
@dataclass
class Affine:
    w: Any
    b: Any


# Both formats keep all


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tree_comes_back_from_either_format(tmp_path, suffix):
    path = save(tmp_path / f"model{suffix}", TREE, metadata=METADATA)
    assert same(load(path).tree, TREE)
    assert same(load(path, like=TREE).tree, TREE)
    assert load(path).metadata == read_metadata(path) == METADATA
    again = save(tmp_path / f"again{suffix}", TREE, metadata=METADATA)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_format_is_known_by_the_content_and_not_by_the_name(tmp_path, suffix):
    path = save(tmp_path / f"model{suffix}", TREE)
    assert same(load(path.rename(tmp_path / "weights")).tree, TREE)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_random_keys_come_back_and_draw_the_same(tmp_path, suffix):
    value = {"key": random.key(7)["dropout"], "many": random.split(random.key(1), 3)}
    path = save(tmp_path / f"model{suffix}", value)
    for found in (load(path).tree, load(path, like=value).tree):
        assert repr(found) == repr(value)
        assert isinstance(found["many"], random.Keys)
        assert same(random.normal(found["key"], (3,)), random.normal(value["key"].clone(), (3,)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nodes_of_every_kind_come_back_with_like(tmp_path, suffix):
    value = {"a": Affine(np.ones((2, 3), np.float32), [1.5]), "p": Point((2, None), True)}
    path = save(tmp_path / f"model{suffix}", value)
    with pytest.raises(CheckpointError, match="pass like="):
        load(path)
    found = load(path, like=value).tree
    assert type(found["a"]) is Affine
    assert type(found["p"]) is Point
    assert tree.structure(found) == tree.structure(value)
    assert same(tree.leaves(found), tree.leaves(value))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_optimiser_states_come_back(tmp_path, suffix):
    params = {"w": np.ones((3, 2), np.float32), "b": np.zeros(2)}
    optimizer = kn.optim.chain(kn.optim.clip_by_global_norm(1.0), kn.optim.adam(1e-2))
    _, state = optimizer.update(params, optimizer.init(params), params)
    path = save(tmp_path / f"model{suffix}", state)
    found = load(path, like=optimizer.init(params)).tree
    assert tree.structure(found) == tree.structure(state)
    assert same(tree.leaves(found), tree.leaves(state))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
def test_dtypes_that_numpy_lacks_come_back(tmp_path, suffix, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, name))
    value = {"w": np.arange(-6, 6).reshape(3, 4).astype(dtype).T, "one": dtype.type(3)}
    if name == "int4" and suffix == ".safetensors":
        with pytest.raises(CheckpointError, match=r"'one' has dtype .*int4.*ends in \.npz"):
            save(tmp_path / f"model{suffix}", value)
        return
    path = save(tmp_path / f"model{suffix}", value)
    assert same(load(path).tree, value)
    assert same(load(path, like=value).tree, value)
    code = (
        "import sys; from kinone.training.checkpoint import load\n"
        "print(load(sys.argv[1]).tree['w'].dtype)"
    )
    alone = [sys.executable, "-c", code, str(path)]  # nobody has loaded ml_dtypes there
    assert subprocess.check_output(alone, text=True).strip() == name
    hidden = code.replace("import sys;", "import sys; sys.modules['ml_dtypes'] = None;")
    done = subprocess.run([*alone[:2], hidden, str(path)], capture_output=True, text=True)
    assert f"{path}: it holds {name}, which NumPy lacks; pip install" in done.stderr


def test_bfloat16_in_an_npz_is_readable_as_bits(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    path = save(tmp_path / "model.npz", {"w": np.ones(2, ml_dtypes.bfloat16)})
    with np.load(path) as arrays:
        assert same(arrays["w"], np.full(2, 0x3F80, np.uint16))


# The package safetensors, both ways


NAMED = {
    "layer.0.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer.0.bias": np.arange(3, dtype=np.float16),
    "steps": np.array(7, np.int64),
    "mask": np.array([True, False, True]),
    "empty": np.zeros((0, 5), np.uint8),
}


@pytest.mark.oracle
def test_the_package_reads_what_kinone_writes(tmp_path):
    oracle = pytest.importorskip("safetensors.numpy")
    strided = {"t": np.arange(24.0).reshape(4, 6).T[::2], "f": np.asfortranarray(np.eye(3, 5))}
    path = save(tmp_path / "w.safetensors", {**NAMED, "more": strided, "n": 3, "": {"": 1.0}})
    found = oracle.load_file(path)
    for name, array in NAMED.items():
        assert same(found[name], array)
    assert same(found["more/t"], np.ascontiguousarray(strided["t"]))
    assert same(found["more/f"], np.ascontiguousarray(strided["f"]))
    assert same(found["n"], np.array(3))
    with pytest.importorskip("safetensors").safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["kinone"])["format"] == "kinone checkpoint"


@pytest.mark.oracle
def test_the_package_reads_bfloat16_and_complex_numbers(tmp_path):
    torch_side = pytest.importorskip("safetensors.torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    value = np.arange(5).astype(ml_dtypes.bfloat16)
    path = save(tmp_path / "w.safetensors", {"w": value, "z": np.full(3, 1 + 2j, np.complex64)})
    found = torch_side.load_file(path)
    assert str(found["w"].dtype) == "torch.bfloat16"
    assert found["w"].float().tolist() == [0, 1, 2, 3, 4]
    assert same(found["z"].numpy(), np.full(3, 1 + 2j, np.complex64))


@pytest.mark.oracle
def test_kinone_reads_what_the_package_writes(tmp_path):
    oracle = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "theirs.safetensors"
    oracle.save_file(NAMED, path, metadata={"format": "pt"})
    found = load(path)
    assert found.metadata == {"format": "pt"}
    assert {name: same(found.tree[name], array) for name, array in NAMED.items()} == dict.fromkeys(
        NAMED, True
    )
    like = {"layer": [{"kernel": np.zeros((3, 4), np.float32), "bias": np.zeros(3, np.float16)}]}
    rename = {
        "layer.*.weight": "layer/*/kernel",
        "layer.*.bias": "layer/*/bias",
        "steps": None,
        "mask": None,
        "empty": None,
    }
    restored = load(path, like, rename=rename).tree
    assert same(restored["layer"][0]["kernel"], NAMED["layer.0.weight"])
    assert same(restored["layer"][0]["bias"], NAMED["layer.0.bias"])


@pytest.mark.parametrize(
    "array", [np.zeros(2, ">f4"), np.zeros(2, "M8[s]"), np.array(["a"]), np.zeros(1, "g")]
)
def test_what_safetensors_cannot_hold_is_named_and_nothing_written(tmp_path, array):
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match=r"'a/w' has dtype .* ends in \.npz"):
        save(path, {"a": {"w": array}})
    assert not path.exists()


# Damaged and hostile safetensors


def test_every_truncation_of_a_safetensors_is_found(tmp_path):
    path = save(tmp_path / "w.safetensors", TREE)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        error_of(path)


def test_a_flipped_bit_of_a_safetensors_is_found_or_harmless(tmp_path):
    path = save(tmp_path / "w.safetensors", TREE, metadata=METADATA)
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position * 5 % 8)
        path.write_bytes(flipped)
        with contextlib.suppress(DamagedCheckpointError):
            found = load(path)
            assert same(found.tree, TREE)
            assert same(found.metadata, METADATA)


def raw(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start: int, end: int, shape: Any, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (struct.pack("<Q", 2**62) + b"{}", "it claims"),
        (raw({"a": tensor(0, 2**40, [2**40])}), "it claims"),
        (raw({"a": tensor(0, 8, [2**61, 8])}, bytes(8)), "has not the size"),
        (raw({"a": tensor(0, 4, [4]), "b": tensor(0, 4, [4])}, bytes(4)), "overlap"),
        (raw({"a": tensor(0, 4, [4]), "b": tensor(6, 8, [2])}, bytes(8)), "gaps"),
        (raw({"a": tensor(2, 4, [2])}, bytes(4)), "gaps"),
        (raw({"a": tensor(0, -4, [-4])}), "has not the size"),
        (raw({"a": tensor(0, 1, [1.0])}, bytes(1)), "has not the size"),
        (raw({"a": tensor(0, 4, [1], "F4")}, bytes(4)), "has the dtype 'F4'"),
        (raw(b'{"a":' + b'{"a":' * 10**5), "damaged"),
        (raw(b'{"a": {}, "a": {}}'), "a name twice"),
        (raw({"a": 3}), "damaged"),
        (raw({"__metadata__": {"kinone": "{}"}}), "damaged"),
    ],
)
def test_a_hostile_safetensors_is_refused(tmp_path, content, problem):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert problem in error_of(path)


# Parts, and other names


def test_the_diff_of_a_partial_restore_names_every_leaf(tmp_path):
    path = save(
        tmp_path / "model.npz",
        {"body": {"w": np.ones(3), "b": np.ones(3)}, "head": {"w": np.ones((3, 10))}, "old": 1.0},
    )
    like = {
        "body": {"w": np.zeros(3), "b": np.zeros(3, np.float32)},
        "head": {"w": np.zeros((3, 2)), "b": np.zeros(2)},
    }
    found, _, diff = load(path, like, partial=True)
    assert diff == Diff(
        loaded=("body/w",),
        missing=("head/b",),
        unexpected=("old",),
        mismatched=(
            ("body/b", "float64[3]", "float32[3]"),
            ("head/w", "float64[3,10]", "float64[3,2]"),
        ),
    )
    assert same(found["body"]["w"], np.ones(3))
    for kept, given_ in ((found["body"]["b"], like["body"]["b"]), (found["head"], like["head"])):
        assert same(kept, given_)
    found["head"]["b"] += 1
    assert same(like["head"]["b"], np.zeros(2))
    assert str(diff).splitlines()[1:3] == [
        "1 missing in the file: head/b",
        "1 unexpected in the file: old",
    ]


def test_rename_by_pattern_and_by_function(tmp_path):
    value = {"enc": {"0": {"weight": np.ones(2), "b": np.zeros(2)}}, "weight": np.full(2, 3.0)}
    path = save(tmp_path / "model.npz", value)
    like = {"body": {"enc": {"0": {"weight": np.zeros(2), "b": np.ones(2)}}, "weight": np.zeros(2)}}
    moved = load(path, like, rename={"**": "body/**"}).tree
    assert same(moved, {"body": value})
    moved = load(path, like, rename=lambda name: f"body/{name}").tree
    assert same(moved, {"body": value})
    # The first pattern that fits counts; what none fits keeps its name.
    like = {"enc": {"0": {"kernel": np.zeros(2), "b": np.zeros(2)}}, "weight": np.zeros(2)}
    found = load(path, like, rename={"enc/*/weight": "enc/*/kernel", "**/b": "**/b"}).tree
    assert same(found["enc"]["0"]["kernel"], np.ones(2))
    # The shorter file first: a leaf that is sent to None is left on purpose.
    assert same(
        load(path, {"weight": np.zeros(2)}, rename={"enc/**": None}).tree,
        {"weight": np.full(2, 3.0)},
    )


@pytest.mark.parametrize(
    ("rename", "problem"),
    [
        ({"decoder/**": "body/**"}, "fits no leaf; there are: a, b"),
        ({"*": "c"}, "same wildcards"),
        ({"a": "b"}, "makes 'b' of both 'a' and 'b'"),
        (lambda name: "x", "makes 'x' of both"),
    ],
)
def test_a_rename_that_cannot_be_meant_is_refused(tmp_path, rename, problem):
    path = save(tmp_path / "model.npz", {"a": 1.0, "b": 2.0})
    with pytest.raises(CheckpointError, match=problem):
        load(path, {"b": 1.0}, rename=rename, partial=True)


def test_the_users_own_error_is_no_damage(tmp_path):
    path = save(tmp_path / "model.npz", {"a": 1.0})
    with pytest.raises(KeyError, match="a"):
        load(path, {"b": 1.0}, rename={}.__getitem__)


def test_a_partial_restore_that_cannot_be_meant_is_refused(tmp_path):
    path = save(tmp_path / "model.npz", {"a": np.ones(2)})
    with pytest.raises(CheckpointError, match="nothing in it fits; it has a, and wanted are b"):
        load(path, {"b": np.ones(2)}, partial=True)
    like = {"a": np.ones(2), "b": kn.ShapeDtype((2,), np.float64)}
    with pytest.raises(CheckpointError, match="does not give 'b', and `like` has no value for it"):
        load(path, like, partial=True)
    for options in ({"partial": True}, {"rename": {"a": "b"}}):
        with pytest.raises(CheckpointError, match="need like="):
            load(path, **options)


@given(st.data())
@in_one_folder
def test_a_partial_restore_of_nothing_missing_is_a_restore(tmp_path, data):
    names = data.draw(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
    value = {name: np.full(2, ord(name)) for name in names}
    path = save(tmp_path / "model.npz", value)
    assert same(load(path, value, partial=True).tree, value)
    assert load(path, value, partial=True).diff.loaded == tuple(sorted(names))


def test_a_damaged_leaf_that_is_not_wanted_does_no_harm(tmp_path):
    path = save(tmp_path / "model.npz", {"a": np.ones(2), "b": np.full(4, 7.25)})
    content = path.read_bytes()
    place = content.index(np.full(4, 7.25).tobytes())
    path.write_bytes(content[:place] + b"\1" + content[place + 1 :])
    assert same(load(path, {"a": np.zeros(2)}, partial=True).tree, {"a": np.ones(2)})
    with pytest.raises(DamagedCheckpointError, match="the leaf 'b' is not what was saved"):
        load(path)


# What was too much


def test_a_header_that_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("kinone.training.header.LIMIT", 2000)
    with pytest.raises(CheckpointError, match=r"its header would have .* save large values as"):
        save(tmp_path / "model.npz", {}, metadata={"text": "x" * 3000})
    with pytest.raises(CheckpointError, match=r"metadata: .*digits"):
        save(tmp_path / "model.npz", {}, metadata={"n": 10**5000})


def test_a_pipe_is_not_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs POSIX")
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in error_of(tmp_path / "pipe")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_large_trees_are_streamed(tmp_path, suffix):
    script = """
        import resource, sys
        import numpy as np
        from kinone.training.checkpoint import load, save

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        before = peak()
        if sys.argv[2] == "save":
            tree = {str(i): np.ones((5000, 2500), np.float32).T for i in range(10)}
            save(sys.argv[1], tree)
        else:
            tree = load(sys.argv[1]).tree
        print((peak() - before) / 500e6)
    """
    pytest.importorskip("resource")
    for what in ("save", "load"):
        child = run(script, tmp_path / f"large{suffix}", what)
        output, _ = child.communicate(timeout=120)
        assert float(output) < 1.2, what
