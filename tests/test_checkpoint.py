"""Checkpoints: what goes in comes out, to the bit; what cannot be kept or does not fit is named."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from checkpoint_sample import JSON, METADATA, TREE, error_of, in_one_folder, same, save_sample
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kinone import ShapeDtype, grad, jit, tree, vmap
from kinone.errors import CheckpointError
from kinone.training.checkpoint import load, read_metadata, save

Point = namedtuple("Point", ["x", "y"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_sample(tmp_path)


# What goes in comes out


def restrided(array: np.ndarray, how: str) -> np.ndarray:
    """The same values in another memory layout, or other values of the same dtype."""
    match how:
        case "fortran":
            return np.asfortranarray(array)
        case "transposed":
            return array.T
        case "reversed":
            return array[::-1] if array.ndim else array
        case "strided":
            return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
        case "broadcast":
            return np.broadcast_to(array, (3, *array.shape))
        case "read-only":
            array = array.copy()
            array.flags.writeable = False
    return array


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    hnp.datetime64_dtypes(),
    hnp.byte_string_dtypes(min_len=1, max_len=4),
    hnp.unicode_string_dtypes(min_len=1, max_len=4),
)
LAYOUTS = ["plain", "fortran", "transposed", "reversed", "strided", "broadcast", "read-only"]
ARRAYS = st.builds(
    restrided,
    hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    st.sampled_from(LAYOUTS),
)
LEAVES = st.one_of(
    ARRAYS,
    hnp.arrays(DTYPES, ()).map(lambda array: array[()]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.complex_numbers(),
)
KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
TREES = st.recursive(
    st.none() | LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(st.integers(-9, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(TREES, st.dictionaries(st.text(max_size=5), JSON, max_size=3))
@settings(in_one_folder, max_examples=100)
def test_every_bit_of_a_random_tree_comes_back(tmp_path, value, metadata):
    names = tree.paths(value)
    assume(len(set(names)) == len(names))  # {"": {"b": 1}, "b": 2} names two leaves "b"
    path = tmp_path / "random.npz"
    save(path, value, metadata=metadata)
    restored = load(path)
    assert same(restored.tree, value)
    assert restored.metadata == metadata
    assert same(load(path, like=value).tree, value)
    assert read_metadata(path) == metadata


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["?", "u1", ">i2", "<f2", "f4", ">f8", "c8", "c16", "g", "M8[s]"])
def test_every_memory_layout_comes_back(tmp_path, layout, dtype):
    path = tmp_path / "model.npz"
    array = restrided(np.arange(24).reshape(2, 3, 4).astype(dtype), layout)
    save(path, {"w": array, "column": array[..., 1], "element": array.ravel()[5]})
    restored = load(path).tree
    assert same(restored, {"w": array, "column": array[..., 1], "element": array.ravel()[5]})
    with np.load(path, allow_pickle=False) as arrays:
        assert same(arrays["w"], np.asarray(array))


def test_numpy_reads_the_leaves_by_their_paths(saved):
    with np.load(saved, allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["kinone.json", "params/conv/0", "params/conv/1/0", "step"]
        np.testing.assert_array_equal(arrays["params/conv/0"], TREE["params"]["conv"][0])
        assert arrays["params/conv/0"].dtype == np.float32
        assert json.loads(arrays["kinone.json"])["leaves"]["step"]["kind"] == "int"


def test_the_arrays_that_come_back_can_be_written_to(saved):
    kernel = load(saved).tree["params"]["conv"][0]
    kernel += 1
    assert kernel.flags.owndata


def test_the_same_tree_gives_the_same_bytes(saved, tmp_path):
    save(tmp_path / "again.npz", TREE, metadata=METADATA)
    assert (tmp_path / "again.npz").read_bytes() == saved.read_bytes()


def test_like_decides_on_the_structure_and_the_file_on_the_numbers(tmp_path):
    path = tmp_path / "model.npz"
    save(path, {"p": Point(np.ones(2), OrderedDict(b=1.0, a=np.float32(2)))})
    with pytest.raises(CheckpointError, match=r"holds a '.*Point', .* pass like="):
        load(path)
    like = {
        "p": Point(ShapeDtype((2,), "float64"), OrderedDict(b=np.zeros(()), a=np.zeros((), "f4")))
    }
    restored = load(path, like).tree
    assert same(tree.leaves(restored), [np.ones(2), 1.0, np.float32(2)])
    assert isinstance(restored["p"], Point)
    assert isinstance(restored["p"].y, OrderedDict)


def test_numbers_of_numpy_become_numbers_in_metadata(tmp_path):
    path = tmp_path / "model.npz"
    save(
        path,
        {},
        metadata={"loss": np.float32(0.5), "n": np.int64(3), "shape": (2, 3), "none": None},
    )
    assert read_metadata(path) == {"loss": 0.5, "n": 3, "shape": [2, 3], "none": None}


# What cannot be kept is refused, before anything is written


@pytest.mark.parametrize(
    ("leaf", "problem"),
    [
        ("text", "is a str"),
        (print, "is a builtin_function_or_method"),
        (np.array([None]), "has dtype object"),
        (np.zeros(2, [("a", "f4")]), "has dtype"),
        (np.zeros(2, [("a", "S0")])["a"], "has dtype |S0"),
        (np.array(["text"], np.dtypes.StringDType()), "has dtype StringDType"),
        (np.ma.masked_array([1.0], [True]), "is a masked array"),
        (2**63, "is an integer of more than 64 bits"),
    ],
)
def test_a_leaf_that_cannot_be_kept_is_named(saved, leaf, problem):
    before = saved.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        save(saved, {"a": [1, leaf]})
    assert str(caught.value).startswith(f"{saved}: not saved, the leaf 'a/1' {problem}")
    assert saved.read_bytes() == before


@pytest.mark.parametrize("transform", [jit, grad, vmap])
def test_a_traced_value_is_not_saved(tmp_path, transform):
    def step(w):
        save(tmp_path / "a.npz", {"w": w})
        return w

    with pytest.raises(CheckpointError, match="the leaf 'w' is a traced value; save after the fun"):
        transform(step)(1.0 if transform is grad else np.ones(2))


def test_a_tree_in_the_place_of_the_path_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"save takes the path first .*\.py:\d+") as caught:
        save(TREE, tmp_path / "a.npz")
    assert "Write checkpoint.save(path, tree)." in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"a": [1, {2, 3}]}, r"metadata\['a'\]\[1\] is a set"),
        ({"a": {1: 2}}, r"metadata\['a'\] is a dict with keys that are not strings"),
        ({"a": np.zeros(2)}, r"metadata\['a'\] is a ndarray"),
    ],
)
def test_metadata_that_json_cannot_say_are_named(saved, metadata, where):
    with pytest.raises(CheckpointError, match=where):
        save(saved, TREE, metadata=metadata)


@pytest.mark.parametrize("key", ["a\0b", "\ud800", "x" * 70_000])
def test_a_key_that_no_entry_can_be_named_after_is_refused(tmp_path, key):
    with pytest.raises(CheckpointError, match="odd or long key; rename it"):
        save(tmp_path / "model.npz", {key: 1.0})


def test_two_leaves_of_one_path_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="two leaves have the path '1'"):
        save(tmp_path / "model.npz", {1: 1.0, "1": 2.0})


# A checkpoint of another model


def test_every_leaf_that_differs_is_listed(saved):
    like = {
        "params": {"conv": [np.zeros((2, 4), np.float32), (np.float32(0), None)], "bias": 0.0},
    }
    message = error_of(saved, like)
    for part in (
        "'params/bias' is missing, expected float64[]",
        "'params/conv/0' is float32[2,3], expected float32[2,4]",
        "'params/conv/1/0' is float64[], expected float32[]",
        "'step' is int64[], expected no such leaf",
        "read_metadata",
    ):
        assert part in message


def test_a_long_list_of_differences_is_cut(tmp_path):
    path = tmp_path / "model.npz"
    save(path, {f"layer{i}": np.zeros(3) for i in range(100)})
    message = error_of(path, {f"layer{i}": np.zeros(4) for i in range(100)})
    assert message.count("expected") == 20
    assert "; and 80 more; " in message


def test_an_impossible_like_is_named(saved):
    assert "in `like` the leaf 'step' is a str" in error_of(saved, {"step": "seven"})
