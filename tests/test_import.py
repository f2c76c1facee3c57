"""What `import kinone` leaves for later: it comes at its first use, and it is the same then."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kinone as kn
from benchmarks.harness import python
from kinone import ops
from kinone.core import protocol

ROOT = Path(kn.__file__).parents[1]


def fresh(code: str) -> str:
    """What a new interpreter prints, which has loaded nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, numpy as np, kinone as kn\n" + code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_leaves_the_families_and_the_compiler_for_later():
    loaded = set(fresh("print(*sys.modules)").split())
    assert not loaded & set(protocol.waiting)
    assert not loaded & {"kinone.compile", "kinone.numpy", "kinone.debug", "dataclasses"}


def test_the_table_of_families_is_what_the_modules_hold():
    held: dict[str, set[str]] = {family: set() for family in ops.FAMILIES}
    for name in ops.__all__:
        value = getattr(ops, name)
        family = getattr(value, "__module__", "").removeprefix("kinone.ops.").partition(".")[0]
        if family in held:
            held[family].add(name)
    assert held == {family: set(names) for family, names in ops.FAMILIES.items()}


def test_no_family_hides_behind_a_function_of_its_name():
    """Loading a module binds its name in the package: the function would be gone."""
    assert not set(ops.FAMILIES) & set(ops.__all__)


@pytest.mark.parametrize("family", sorted(ops.FAMILIES))
def test_asking_for_a_name_loads_its_family(family):
    name = (*ops.FAMILIES[family], family)[0]
    code = f"from kinone.ops import {name}; print(kn.ops.{name} is {name}, *sys.modules)"
    same, *loaded = fresh(code).split()
    assert same == "True"
    assert f"kinone.ops.{family}" in loaded
    assert name in dir(ops)


@pytest.mark.parametrize(
    "call",
    [
        "np.linalg.det(x)",
        "np.fft.fft(x).real",
        "np.median(x)",
        "np.nansum(x)",
        "np.interp(x, [0, 9], [0, 1])",
        "np.sinc(x)",
        "np.polyval([1.0, 2.0], x)",
        "np.unique(x)",
    ],
)
@pytest.mark.parametrize("through", ["kn.vjp(f, x)[0]", "kn.graph(f)(x) and 1"])
def test_numpys_functions_find_their_family(call, through):
    if "unique" in call and "graph" in through:
        pytest.skip("how many are distinct is unknown while a program is traced")
    fresh(f"x = np.array([[2.0, 1.0], [1.0, 3.0]])\nf = lambda x: {call}\n{through}")


def test_loading_changes_nothing_that_was_there():
    code = (
        "from kinone.core import numpy_functions as f, registry as r\n"
        "before = dict(f), dict(r); kn.ops.load_all()\n"
        "print(len(f) > len(before[0]) and len(r) > len(before[1]))\n"
        "print(all(f[k] is v for k, v in before[0].items()))"
    )
    assert fresh(code).split() == ["True", "True"]


def test_a_message_knows_the_names_of_every_family():
    code = (
        "def f(x): return np.nanmaxx(x)\n"
        "from kinone.core.protocol import rule_of\n"
        "f.__module__ = 'numpy'; f.__name__ = 'nanmaxx'\n"
        "try: rule_of(f)\n"
        "except kn.errors.MissingRuleError as error: print(error)"
    )
    assert "np.nanmax;" in fresh(code)


def test_a_family_that_cannot_be_loaded_says_so():
    """It is no function without a rule."""
    code = (
        "sys.modules['kinone.ops.quantiles'] = None\n"
        "for use in (lambda: kn.grad(np.median)(np.ones(3)), lambda: kn.ops.median):\n"
        "    try: use()\n"
        "    except ImportError as error: print('quantiles' in str(error))"
    )
    assert fresh(code).split() == ["True", "True"]


def test_threads_may_meet_in_a_family():
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "ask = lambda i: kn.grad([np.median, np.nansum, np.linalg.det][i % 3])(np.eye(3)).shape\n"
        "with ThreadPoolExecutor(8) as pool: print(set(pool.map(ask, range(24))))"
    )
    assert fresh(code) == "{(3, 3)}"


def test_the_rules_show_the_whole_registry():
    code = "from kinone import cli; print(cli.rules('svd')); print(cli.rules('median'))"
    shown = fresh(code)
    assert "linalg.svd" in shown
    assert "np.nanmedian" in shown


def test_jit_is_the_same_object_wherever_it_is_asked_for():
    assert kn.jit is importlib.import_module("kinone.compile").jit is vars(kn)["jit"]
    assert inspect.isfunction(kn.jit)
    assert fresh("print(kn.jit(lambda x: x + 1)(np.float64(1)))") == "2.0"


@pytest.mark.parametrize("module", [kn, ops])
def test_a_name_that_is_nowhere_is_an_attribute_error(module):
    assert not hasattr(module, "nothing_of_that_name")
    assert set(module.__all__) <= set(dir(module))


def test_the_benchmark_lets_python_write_byte_code(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert python("import sys; print(sys.dont_write_bytecode)").strip() == "False"
