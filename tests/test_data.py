"""The bundled digits are the released ones; batches follow from the seed and the epoch alone."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone.data.mnist as mnist_module
from kinone import tree
from kinone.data import Split, batches, mnist5k
from kinone.data.loader import permutation
from kinone.errors import KinoneError

FOLDER = Path(mnist_module.__file__).parent


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# The digits


def test_shapes_dtypes_and_the_split():
    digits = mnist5k()
    for split, rows in ((digits.train, 4000), (digits.test, 1000)):
        assert split.images.shape == (rows, 28, 28, 1)
        assert split.labels.shape == (rows,)
        assert split.images.dtype == split.labels.dtype == np.uint8
        np.testing.assert_array_equal(split.labels, np.arange(rows) % 10)
        assert split.images.max() == 255
        assert split.images.min() == 0
    # Known pixels: the ink of the first training and of the last test image.
    assert digits.train.images[0].sum() == 31095
    assert digits.test.images[-1].sum() == 33540


def test_no_image_is_in_both_sets_nor_twice():
    digits = mnist5k()
    images = [digest(image.tobytes()) for split in digits for image in split.images]
    assert len(set(images)) == 5000


def test_the_file_is_small_and_its_note_tells_the_truth():
    note = (FOLDER / "mnist5k.md").read_text(encoding="utf-8")
    sums = dict(re.findall(r"^\| `([0-9a-f]{64})` \| (.*?) *\|$", note, re.M))
    content = (FOLDER / "mnist5k.npz").read_bytes()
    assert len(content) < 10**6
    assert sums[digest(content)] == f"`mnist5k.npz` ({len(content):,} bytes)"
    with np.load(FOLDER / "mnist5k.npz", allow_pickle=False) as arrays:
        assert sums[digest(arrays["images"].tobytes())] == "the bytes of `images`"
        assert sums[digest(arrays["labels"].tobytes())] == "the bytes of `labels`"
    assert "Creative Commons" in note


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "mnist5k.npz"
    monkeypatch.setattr(mnist_module, "_FILE", damaged)
    with pytest.raises(KinoneError, match=r"mnist5k.npz: No such file .*; install kinone again"):
        mnist5k()
    content = bytearray((FOLDER / "mnist5k.npz").read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(KinoneError, match=r"mnist5k.npz: damaged, its sha256 is"):
        mnist5k()


def test_two_loads_share_no_memory():
    first, second = mnist5k(), mnist5k()
    first.train.images[:] = 0
    assert second.train.images.any()


# Batches


def test_the_order_is_golden():
    # The same numbers on every machine and with every version of NumPy, for ever.
    assert permutation(10, seed=0).tolist() == [0, 8, 1, 3, 9, 7, 4, 6, 2, 5]
    assert permutation(10, seed=2**64 - 1, epoch=3).tolist() == [8, 5, 7, 9, 3, 6, 0, 2, 4, 1]
    assert (
        digest(permutation(4000, seed=1, epoch=2).astype("<i8").tobytes())
        == "6fac005d1e681ef1dffdc1619c1e3de7899de01eb902ee17b2ff94f10a3484a7"
    )


def test_orders_of_other_seeds_and_epochs_differ():
    orders = {
        tuple(permutation(100, seed=seed, epoch=epoch)) for seed in range(10) for epoch in range(10)
    }
    assert len(orders) == 100


def test_the_order_is_uniform():
    # 6 orders of 3 rows, 6000 draws: each count is within 5 standard deviations of 1000.
    counts = Counter(tuple(permutation(3, seed=seed)) for seed in range(6000))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 5 * np.sqrt(6000 * 5 / 36) for count in counts.values())


@given(
    rows=st.integers(0, 40),
    size=st.integers(1, 45),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 1000),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    start=st.integers(0, 5),
)
def test_an_epoch_shows_every_row_once(rows, size, seed, epoch, shuffle, drop_last, start):
    arrays = {"x": np.arange(rows * 3).reshape(rows, 3), "y": [np.arange(rows, dtype=np.uint8)]}
    options = {"seed": seed, "epoch": epoch, "shuffle": shuffle, "drop_last": drop_last}
    if drop_last and rows < size:
        with pytest.raises(ValueError, match=f"{rows} rows give no batch of {size}"):
            batches(arrays, size, **options)
        return
    whole = batches(arrays, size, **options)
    seen = list(whole)
    assert len(whole) == len(seen) == (rows // size if drop_last else -(-rows // size))
    assert all(len(batch["y"][0]) == size for batch in seen[: rows // size])
    for batch in seen:
        assert batch["y"][0].dtype == np.uint8
        np.testing.assert_array_equal(batch["x"][:, 0], 3 * batch["y"][0].astype(int))
    order = [int(row) for batch in seen for row in batch["y"][0]]
    expected = permutation(rows, seed=seed, epoch=epoch) if shuffle else range(rows)
    assert order == list(expected)[: len(order)]
    assert drop_last or sorted(order) == list(range(rows))
    # Going on in the middle shows what was left, and an epoch can be shown again.
    rest = batches(arrays, size, **options, start=start)
    assert len(rest) == max(len(seen) - start, 0)
    for again, before in ((rest, seen[start:]), (whole, seen)):
        for left, right in zip(again, before, strict=True):
            assert tree.all(tree.map(np.array_equal, left, right))


def test_a_batch_is_a_copy_and_keeps_the_type_of_the_tree():
    data = Split(np.zeros((4, 2), np.uint8), np.arange(4, dtype=np.uint8))
    batch = next(iter(batches(data, 4, shuffle=False)))
    assert isinstance(batch, Split)
    batch.images[:] = 1
    assert not data.images.any()


@pytest.mark.parametrize(
    ("arrays", "size", "options", "error", "message"),
    [
        ((np.ones(3), np.ones(4)), 2, {}, ValueError, "'0' has 3, '1' has 4"),
        ((np.ones(3), [1, 2, 3]), 2, {}, TypeError, "the leaf '1/0' has type int and no rows"),
        (np.float32(1), 2, {}, TypeError, "the data has type float32 and no rows"),
        (np.ones(()), 2, {}, TypeError, "the data has type ndarray and no rows"),
        ({}, 2, {}, ValueError, "no arrays"),
        (np.ones(3), 0, {}, ValueError, "batch_size is 0; pass at least 1"),
        (np.ones(3), 1, {"start": -1}, ValueError, "start is -1"),
        (np.ones(3), 1, {"seed": -1}, ValueError, "seed is -1; pass a number from 0"),
        (np.ones(3), 1, {"epoch": 2**64}, ValueError, "epoch is 18446744073709551616"),
    ],
)
def test_mistakes_are_named_at_once(arrays, size, options, error, message):
    with pytest.raises(error, match=message):
        batches(arrays, size, **options)
