"""The README does what it says: its Python runs, its two commands are the ones that CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language, each with the number of the lines above its first one."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    return [(TEXT[: match.start(1)].count("\n"), match[1]) for match in found]


def command(name: str) -> str:
    """The block that follows `<!-- command: NAME -->`."""
    found = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) == 1, f"README.md needs one sh block after <!-- command: {name} -->"
    return found[0].strip()


def test_the_python_blocks_run_in_order_as_one_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # A module of its own, so that the names of one block are there in the next.
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    found = blocks("python")
    assert found, "README.md has no python block"
    for above, code in found:
        # The empty lines make tracebacks and Kinone's own messages point into README.md.
        exec(compile("\n" * above + code, str(README), "exec"), module.__dict__)


def test_a_newcomer_needs_one_command_each():
    for name in ("train", "test"):
        assert "\n" not in command(name)
        assert command(name).startswith("python3 -m venv .venv && ")
    assert command("train").endswith("python examples/train_resnet.py")
    assert re.search(r"&& (python -m )?pytest( -n auto)?$", command("test"))


@pytest.mark.parametrize("name", ["train", "test"])
def test_ci_runs_the_command_of_the_readme(name):
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("a source distribution has no .ci")
    found = subprocess.run(
        ["bash", script, "command", name], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == command(name)
    assert f"$(readme_command {name})" in script.read_text(encoding="utf-8")
