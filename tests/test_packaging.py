"""What is installed: light to import, complete, and of one version."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import kinone

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DATA = {"kinone/py.typed", "kinone/data/mnist5k.npz", "kinone/data/mnist5k.md"}


def python(code: str) -> list[str]:
    """The words that a new interpreter prints; warnings are errors in it."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


@pytest.mark.parametrize("statement", ["import kinone", "import kinone.data, kinone.training"])
def test_import_loads_numpy_and_the_standard_library_alone(statement):
    loaded = set(
        python(
            "import sys; before = set(sys.modules)\n"
            f"{statement}\n"
            "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
        )
    )
    # __mp_main__ and the like are aliases; NumPy's own compiled modules may stand at the top.
    foreign = loaded - sys.stdlib_module_names - {"kinone", "numpy", "_distutils_hack"}
    assert {"kinone", "numpy"} <= loaded
    assert not {name for name in foreign if not name.startswith("_")}


def test_import_adds_few_modules_to_numpy():
    count = "import sys, numpy; before = set(sys.modules); import kinone\n"
    added = python(count + "print(*set(sys.modules) - before)")
    others = [name for name in added if not name.startswith("kinone")]
    assert len(others) <= 30, sorted(others)


def test_the_version_is_the_one_of_the_project():
    assert kinone.__version__ == PROJECT["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {kinone.__version__}" in changelog


def test_numpy_is_the_only_hard_dependency():
    assert PROJECT["dependencies"] == ["numpy>=2.0"]
    assert int(np.__version__.partition(".")[0]) >= 2


def test_the_extra_all_is_every_other_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    named = everything.removeprefix("kinone[").removesuffix("]").split(",")
    assert named == [name for name in extras if name != "all"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution, built without a network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
    )
    return folder


def modules() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in ROOT.glob("kinone/**/*.py")}


def test_the_wheel_has_every_module_and_the_data_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    package = {name for name in names if not name.startswith(f"kinone-{kinone.__version__}.dist")}
    assert package >= modules() | DATA
    assert {Path(name).suffix for name in package} <= {".py", ".typed", ".npz", ".md"}
    assert all(name.startswith("kinone/") for name in package)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_can_be_built_and_tested(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= modules() | DATA
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py"}
    assert not any(".venv" in name or "__pycache__" in name for name in names)
