"""The example that writes text: it learns, and writes what the whole model would."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from kinone import random
from kinone.training import checkpoint

SCRIPT = Path(__file__).parent.parent / "examples" / "write_text.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("write_text", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["write_text"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rhyme(tmp_path):
    path = tmp_path / "rhyme.txt"
    path.write_text("one two three four five; " * 20, encoding="utf-8")
    return path


@pytest.mark.slow
def test_it_learns_a_rhyme_and_says_it(example, rhyme, capsys):
    options = ["--text", str(rhyme), "--steps", "60", "--prompt", "one two", "--length", "24"]
    assert example.main([*options, "--temperature", "0.1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "one two three four five; one tw"


def test_two_runs_say_and_save_the_same(example, rhyme, capsys):
    said = []
    for output in (rhyme.parent / "a.npz", rhyme.parent / "b.npz"):
        options = ["--text", str(rhyme), "--prompt", "one", "--output", str(output)]
        assert example.main([*options, "--steps", "2", "--length", "5"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert len(said[0].splitlines()[-1]) == len("one") + 5
    first, second = ((rhyme.parent / name).read_bytes() for name in ("a.npz", "b.npz"))
    assert first == second
    alphabet = checkpoint.read_metadata(rhyme.parent / "a.npz")["alphabet"]
    assert alphabet == sorted({*rhyme.read_text(encoding="utf-8")})


def test_the_writer_draws_from_what_the_whole_model_expects(example):
    model = example.language_model(7)
    prompt = np.array([3, 1, 4])
    params, _ = model.init(random.key(0), prompt[None])
    text = list(prompt)
    for letter in example.write(params, 7, prompt, 6, 1e-6, random.key(1)):  # cold: the likeliest
        logits, _ = model.apply(params, {}, np.array([text]))
        assert letter == np.argmax(logits[0, -1])
        text.append(letter)
    assert len(text) == 9


def test_the_writer_begins_again_when_its_cache_is_full(example, monkeypatch):
    monkeypatch.setattr(example, "WINDOW", 6)
    model = example.language_model(7)
    prompt = np.array([3, 1, 4, 1, 5])
    params, _ = model.init(random.key(0), prompt[None])
    text, seen = list(prompt), 6
    for letter in example.write(params, 7, prompt, 12, 1e-6, random.key(1)):
        seen = 3 if seen == 6 else seen + 1
        logits, _ = model.apply(params, {}, np.array([text[-seen:]]))
        assert letter == np.argmax(logits[0, -1])
        text.append(letter)
    assert len(text) == 17


def test_a_text_that_is_too_short_is_refused(example, tmp_path, capsys):
    path = tmp_path / "short.txt"
    path.write_text("short", encoding="utf-8")
    with pytest.raises(SystemExit):
        example.main(["--text", str(path)])
    assert "the text has 5 letters, and more than 64 are wanted" in capsys.readouterr().err
