"""The house rules of the code base, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kinone

PACKAGE = Path(kinone.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Top-level parts of the package, lowest first. Imports point to lower layers, or to the same part.
# Parts of one layer do not know each other, except in the lowest.
LAYERS = [
    {"errors", "source", "tree"},
    {"core"},
    {"graph"},
    {"ops"},
    {"transforms"},
    {"compile"},
    {"numpy", "random", "extend", "misc", "scipy"},
    {"lax"},
    {"nn", "optim", "losses", "metrics"},
    {"data"},
    {"training"},
    {"models"},
    {"onnx", "debug", "testing"},
    {"dashboard", "cli"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Modules that load others on first use, in a module-level `__getattr__`.
LAZY = {"__init__.py"}
LONGEST = 400


def part(path: Path) -> str:
    """The top-level part of the package that a file belongs to; "" for `kinone/__init__.py`."""
    relative = path.relative_to(PACKAGE)
    return "" if str(relative) == "__init__.py" else relative.parts[0].removesuffix(".py")


def imported_parts(path: Path, node: ast.stmt) -> Iterator[str]:
    """The top-level parts of Kinone that an import statement loads."""
    package = ("kinone", *path.relative_to(PACKAGE).parent.parts)
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = list(package[: len(package) - node.level + 1]) if node.level else []
        base += node.module.split(".") if node.module else []
        # `from .. import tree`: the parts are the names themselves.
        names = [[*base, alias.name] for alias in node.names] if len(base) == 1 else [base]
    else:
        return
    for name in names:
        if name[0] == "kinone" and name[1:] != ["__version__"]:
            yield name[1] if len(name) > 1 else ""


def asks_the_version_alone(tree: ast.Module) -> bool:
    """Whether `kinone.__version__` is all that a file wants of `import kinone`."""
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "kinone"
    }
    return asked == {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = part(path)
    if here == "":
        return  # the table of the public names sees everything
    assert here in RANK, f"kinone/{here} has no place in the order of imports"
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name in imported_parts(path, node):
            if name == "":
                # tools stand above everything and may use the public names
                assert RANK[here] >= RANK["onnx"] or asks_the_version_alone(tree), (
                    f"line {node.lineno} imports all of kinone"
                )
                continue
            if name == here:
                continue
            if name not in RANK:
                pytest.fail(f"line {node.lineno}: kinone.{name} has no place in the order")
            down = RANK[name] < RANK[here] or RANK[name] == RANK[here] == 0
            assert down, (
                f"line {node.lineno}: kinone.{here} imports kinone.{name}, which is not below it"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_of_kinone_stand_at_the_top(path: Path) -> None:
    """No function imports a part of Kinone to dodge a cycle. Outside packages that are an extra
    may be loaded where they are used."""
    text = path.read_text()
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if function.name == "__getattr__" and path.name in LAZY:
            continue
        for node in ast.walk(function):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found = list(imported_parts(path, node))
                assert not found, f"line {node.lineno} imports kinone.{found[0]} inside a function"
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                )
                for name in names:
                    outside = name.split(".")[0] not in sys.stdlib_module_names
                    assert outside or name.split(".")[0] in {"argparse"}, (
                        f"line {node.lineno} imports {name} inside a function; the standard "
                        "library stands at the top"
                    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short_and_begin_with_a_sentence(path: Path) -> None:
    text = path.read_text()
    count = len(text.splitlines())
    assert count <= LONGEST, f"{count} lines; split it by idea"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module begins with what it is for"


def test_the_order_has_no_cycle() -> None:
    """The files' own imports, followed, never come back: Python could load them in any order."""
    modules = {path: set() for path in FILES}
    names = {}
    for path in FILES:
        dotted = ".".join(["kinone", *path.relative_to(PACKAGE).with_suffix("").parts])
        names[dotted.removesuffix(".__init__")] = path
    for path in FILES:
        package = ("kinone", *path.relative_to(PACKAGE).parent.parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join(package[: len(package) - node.level + 1])
                base = f"{base}.{node.module}" if node.module else base
                for alias in node.names:
                    for candidate in (f"{base}.{alias.name}", base):
                        target = names.get(candidate)
                        # A package's own __init__ is a façade, not a dependency of its members.
                        if target is not None and target != path:
                            if target.name != "__init__.py" or target.parent not in path.parents:
                                modules[path].add(target)
                            break
    state: dict[Path, int] = {}

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        if state.get(path) == 2:
            return
        assert state.get(path) != 1, " → ".join(str(p.relative_to(PACKAGE)) for p in (*trail, path))
        state[path] = 1
        for target in modules[path]:
            visit(target, (*trail, path))
        state[path] = 2

    for path in FILES:
        visit(path, ())


def test_import_does_not_load_the_tools() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import kinone\n"
        "print(*[m for m in sys.modules if m.startswith('kinone.')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(PACKAGE.parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    tools = {"testing", "debug", "onnx", "dashboard", "cli"}
    assert not {m.split(".")[1] for m in done.stdout.split()} & tools


def test_nothing_prints() -> None:
    """A library speaks through results, errors and warnings; progress bars and tools aside."""
    for path in FILES:
        if part(path) in {"training", "dashboard", "cli", "debug", "__main__", "data"}:
            continue
        if path.relative_to(PACKAGE) == Path("onnx", "verify.py"):
            continue  # its table, which the user asks for
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (called and node.func.id == "print"), f"{path.name}:{node.lineno} prints"


def test_public_functions_have_docstrings() -> None:
    for name in kinone.__all__:
        assert getattr(kinone, name).__doc__, f"kinone.{name} has no docstring"
    for name in dir(kinone.ops):
        if not name.startswith("_"):
            assert getattr(kinone.ops, name).__doc__, f"kinone.ops.{name} has no docstring"
