"""Checkpoints: a damaged, foreign or hostile file never loads as something else."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_sample import JSON, METADATA, TREE, error_of, in_one_folder, same, save_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from kinone.errors import CheckpointError
from kinone.training.checkpoint import Checkpoint, load, save


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_sample(tmp_path)


def load_or_refuse(path: Path) -> Checkpoint | None:
    """What the file holds, or None for a `CheckpointError` of one line; nothing else may happen."""
    try:
        return load(path)
    except CheckpointError as error:
        message = str(error)
    assert "\n" not in message
    return None


def damaged(path: Path, content: bytes) -> None:
    """The file with this content raises `CheckpointError`, or loads what was saved."""
    path.write_bytes(content)
    found = load_or_refuse(path)
    if found is not None:
        assert same(found.tree, TREE)
        assert same(found.metadata, METADATA)


def test_every_truncation_is_found(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        error_of(saved)


def test_a_flipped_bit_in_every_byte_is_found_or_harmless(saved):
    content = saved.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position * 5 % 8)
        damaged(saved, bytes(flipped))


@pytest.mark.slow
def test_every_flipped_bit_is_found_or_harmless(saved):
    content = saved.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        damaged(saved, bytes(flipped))


@given(st.data())
@settings(in_one_folder, max_examples=100)
def test_spliced_and_overwritten_content_is_found_or_harmless(tmp_path, data):
    path = tmp_path / "model.npz"
    save(path, TREE, metadata=METADATA)
    content = path.read_bytes()
    start, end = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=2, max_size=2)))
    damaged(path, content[:start] + data.draw(st.binary(max_size=20)) + content[end:])


def test_every_byte_of_a_leaf_is_covered_by_its_checksum_too(saved):
    # Repacked with a right CRC, a changed number is found all the same, and its leaf is named.
    entries = read_entries(saved)
    array = bytearray(entries["params/conv/0.npy"])
    array[-1] ^= 1
    entries["params/conv/0.npy"] = bytes(array)
    write_entries(saved, entries)
    assert "the leaf 'params/conv/0' is not what was saved" in error_of(saved)


def test_an_entry_that_calls_its_bytes_something_else_is_refused(saved):
    entries = read_entries(saved)
    entries["params/conv/0.npy"] = entries["params/conv/0.npy"].replace(b"<f4", b"<i4")
    write_entries(saved, entries)
    assert "the leaf 'params/conv/0' is not what was saved" in error_of(saved)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x89PNG\r\n", b"\x80\x04N.", b"\0" * 5000, b"\x93NUMPY\x01\0v\0{"]
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    assert "not a Kinone checkpoint" in error_of(path)


def test_an_npz_of_someone_else_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, w=np.ones(3))
    assert "it has no kinone.json; numpy.load reads" in error_of(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in error_of(tmp_path / "nowhere.npz")
    assert "Is a directory" in error_of(tmp_path)


# Hostile files: right checksums, wrong intent


def read_entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_entries(path: Path, entries: dict[str, bytes], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def edit_header(path: Path, edit: Any) -> None:
    entries = read_entries(path)
    header = json.loads(entries["kinone.json"])
    edit(header)
    write_entries(path, {**entries, "kinone.json": json.dumps(header).encode()})


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize("shape", [[2**40], [2**62, 4], [2**80], [0, 2**80], [10**6, 10**6]])
def test_a_huge_shape_takes_no_memory(saved, shape):
    edit_header(saved, lambda header: header["leaves"]["params/conv/0"].update(shape=shape))
    error_of(saved)


def test_a_compression_bomb_is_not_inflated(saved):
    bomb = npy(np.zeros(10**7))
    entries = read_entries(saved) | {"params/conv/0.npy": bomb}
    write_entries(saved, entries, compression=zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 10**5
    assert "has compressed entries" in error_of(saved)


def test_entries_that_share_their_bytes_are_refused(saved):
    # One large entry, listed under many names: 100 times the memory that the file takes.
    large = {f"l{i}": np.zeros(10**4) for i in range(100)}
    save(saved, large)
    with zipfile.ZipFile(saved) as archive:
        entries = archive.infolist()
    content = saved.read_bytes()
    for entry in entries[2:]:
        entry.header_offset = entries[1].header_offset
    start, directory = entries[2].header_offset, zipfile.ZipFile(io.BytesIO(), "w")
    directory.filelist, directory.start_dir = entries, entries[0].header_offset
    size = entries[0].file_size + entries[1].file_size + 500
    with directory, open(saved, "wb") as file:
        file.write(content[:size])
        directory.fp, directory.start_dir, directory._didModify = file, size, True
        directory._write_end_record()
        directory._didModify = False
    assert start >= 0
    assert "it claims" in error_of(saved)


def test_a_pickle_is_not_opened(saved):
    entries = read_entries(saved) | {"params/conv/0.npy": npy(np.array([print], dtype=object))}
    write_entries(saved, entries)
    error_of(saved)
    edit_header(saved, lambda header: header["leaves"]["params/conv/0"].update(dtype="|O"))
    assert "'|O' is no dtype of a checkpoint" in error_of(saved)


def test_entries_too_many_or_too_few_are_refused(saved):
    entries = read_entries(saved)
    write_entries(saved, entries | {"more.npy": npy(np.ones(1))})
    assert "['more.npy']" in error_of(saved)
    del entries["step.npy"]
    write_entries(saved, entries)
    assert "['step.npy']" in error_of(saved)


def test_a_newer_format_asks_for_an_upgrade(saved):
    edit_header(saved, lambda header: header.update(version=2, kinone="9.1", leaves="other"))
    assert "in format 2 of Kinone '9.1'" in (message := error_of(saved))
    assert message.endswith("upgrade kinone")


def test_a_deep_header_does_not_overflow_the_stack(saved):
    write_entries(saved, {"kinone.json": b"[" * 10**6})
    error_of(saved)


@given(st.data())
@settings(in_one_folder, max_examples=100)
def test_a_header_of_nonsense_is_refused_or_loads(tmp_path, data):
    path = tmp_path / "model.npz"
    save(path, TREE, metadata=METADATA)

    def edit(header: Any) -> None:
        node = header
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
                node = node[key]
                continue
            if isinstance(node, dict) and data.draw(st.booleans()):
                del node[key]
            else:
                node[key] = data.draw(JSON)
            return

    edit_header(path, edit)
    load_or_refuse(path)
