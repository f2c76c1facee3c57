"""The text of functions and of everything that they stand on, taken out of their modules.

A saved program needs the kernels that it calls, and nothing else of Kinone. Beginning with these,
every global that a text mentions is followed to the statement that defines it: functions, classes
and variables, through imports from module to module, down to Python's standard library and NumPy,
which the new file imports. Of a class, the methods come along that some text calls by name.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib.util
import linecache
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import source
from ..core import Primitive, Tracer, explain, implements
from ..core.messages import ToldError
from ..errors import KinoneError
from . import standins
from .scopes import bound_names, global_names

# What has another meaning where nothing is traced, and its name in `standins`.
_REPLACED: list[tuple[Any, str]] = [
    (source.here, "here"),
    (source.capture, "capture"),
    (source.describe, "describe"),
    (source.trimming, "unchanged"),
    (Tracer, "Tracer"),
    (ToldError, "ToldError"),
    (explain, "explain"),
    (implements, "unchanged"),
]

Function = ast.FunctionDef | ast.AsyncFunctionDef


class ExtractError(KinoneError, ValueError):
    """Something whose text is not to be had, or that needs more than NumPy."""


class Module:
    """A module's source, statement by statement."""

    def __init__(self, module: types.ModuleType) -> None:
        self.name = module.__name__
        self.package = module.__package__ or ""
        self.names = vars(module)
        self.lines = linecache.getlines(getattr(module, "__file__", None) or "", self.names)
        if not self.lines:
            raise ExtractError(f"the source of the module {self.name} is not to be had")
        self.binds: dict[str, list[ast.stmt]] = {}
        self.others: list[ast.stmt] = []  # what is run for what it does
        for statement in ast.parse("".join(self.lines)).body:
            if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
                continue
            names = bound_names(statement)
            for name in names:
                self.binds.setdefault(name, []).append(statement)
            text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not names and not text:
                self.others.append(statement)


_modules: dict[str, Module] = {}


def module_of(name: str) -> Module:
    """The parsed source of an imported module."""
    if name not in _modules:
        _modules[name] = Module(sys.modules[name])
    return _modules[name]


@dataclasses.dataclass(eq=False)
class Definition:
    """A statement that comes along, or a `text` in place of one, and what its names mean.

    `meanings` says of names in the statement what they mean: another definition, or a text.
    In `text` "{name}" is the definition's own name, "{0}", "{1}", … those of what it `needs`.
    """

    home: str
    name: str
    statement: ast.stmt | None = None
    text: str = ""
    meanings: dict[ast.expr, Definition | str] = dataclasses.field(default_factory=dict)
    needs: list[Definition | str] = dataclasses.field(default_factory=list)
    dropped: set[Function] = dataclasses.field(default_factory=set)  # methods that nobody calls
    called: str = ""  # its name in the new file

    @property
    def is_variable(self) -> bool:
        """Whether it is a variable of its module, not a function or a class."""
        return isinstance(self.statement, (ast.Assign, ast.AnnAssign))


class Extract:
    """The definitions that a set of functions, classes and variables stands on."""

    def __init__(self) -> None:
        self.definitions: dict[tuple[str, str], Definition] = {}
        self.imports: set[str] = set()  # modules of Python's standard library
        self._pending: list[Definition] = []
        self._attributes: set[str] = set()  # that some text asks for
        self._made: set[Definition] = set()  # classes that some text calls
        self._methods: list[tuple[Definition, Function]] = []  # that nobody has called yet

    # -- what is asked for

    def take(self, value: Any, what: str) -> Definition | str:
        """A function or class: its definition; its name where Python or NumPy has it.

        Raises `ExtractError`, with `what` as the one who needs it, for one made inside of another
        function, and for what is neither Kinone's, the user's, NumPy's nor Python's.
        """
        if isinstance(value, Primitive):
            return self._primitive(value, what)
        name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        module = getattr(value, "__module__", None) or "numpy"  # a ufunc may have none
        if module == "builtins" and getattr(builtins, name, None) is value:
            return str(name)
        if module.partition(".")[0] == "numpy":
            found = _numpys(value, module, name)
            if found is None:
                raise ExtractError(f"{what} needs {module}.{name}, which NumPy does not show")
            return found
        if module not in sys.modules or not name.isidentifier():
            raise ExtractError(
                f"{what} needs {name or type(value).__name__}, whose text cannot be taken out of "
                f"{module}: it was made inside of a function, or is a lambda\n"
                "  Write it as a function at the top of a module."
            )
        if vars(sys.modules[module]).get(name) is not value:
            raise ExtractError(
                f"{what} needs a {module}.{name} that is not what has this name there"
            )
        self._check_package(module, f"{module}.{name}", what)
        return self.named(module, name, what)

    def make(self, found: Definition | str) -> None:
        """Says that the class is called, so that it needs its constructor."""
        if isinstance(found, Definition):
            self._made.add(found)

    def named(self, module: str, name: str, what: str) -> Definition | str:
        """What a module calls by a name."""
        value = vars(sys.modules[module]).get(name)
        for replaced, other in _REPLACED:
            if value is replaced:
                return self.named(standins.__name__, other, what)
        if (module, name) in self.definitions:
            return self.definitions[module, name]
        if isinstance(value, types.ModuleType):
            return self._module(value, what)
        if isinstance(value, Primitive):
            return self._primitive(value, what)
        home = module_of(module)
        statements = [s for s in home.binds.get(name, []) if not _is_overload(s)]
        if len(statements) != 1:
            raise ExtractError(
                f"{what} needs {module}.{name}, which {len(statements) or 'no'} statements define"
            )
        (statement,) = statements
        if isinstance(statement, ast.ImportFrom):
            (origin,) = [a.name for a in statement.names if (a.asname or a.name) == name]
            return self._imported(home, statement, origin, what)
        found = self.definitions[module, name] = Definition(module, name, statement)
        for other in bound_names(statement) - {name}:  # `a, b = 1, 2` is one statement
            self.definitions[module, other] = dataclasses.replace(found, name=other)
        self._pending.append(found)
        return found

    def _primitive(self, primitive: Primitive, what: str) -> Definition | str:
        """Where nothing is traced a primitive is its `impl`."""
        found = self.take(primitive.impl, what)
        if not primitive.weak:
            return found
        key = ("", f"{primitive.name}_of_numbers")
        if key not in self.definitions:
            text = (
                "def {name}(*operands):\n"
                f'    """NumPy\'s {primitive.name}, which of Python numbers makes one."""\n'
                "    y = {1}(*operands)\n"
                "    return {0}(y, operands) if isinstance(y, np.generic) else y"
            )
            weaken = self.named("kinone.core.primitive", "weaken", what)
            self.definitions[key] = Definition(*key, text=text, needs=[weaken, found])
        return self.definitions[key]

    def _module(self, value: types.ModuleType, what: str) -> str:
        name = value.__name__
        if name.partition(".")[0] == "numpy":
            return "np" + name.removeprefix("numpy")
        self._check_package(name, name, what)
        if name.partition(".")[0] not in sys.stdlib_module_names:
            raise ExtractError(f"{what} needs the whole module {name}")
        self.imports.add(name)
        return name

    def _imported(
        self, home: Module, statement: ast.ImportFrom, name: str, what: str
    ) -> Definition | str:
        dots = "." * statement.level
        origin = importlib.util.resolve_name(dots + (statement.module or ""), home.package)
        root = origin.partition(".")[0]
        if root == "numpy":
            return f"np{origin.removeprefix('numpy')}.{name}"
        self._check_package(origin, f"{origin}.{name}", what)
        if root in sys.stdlib_module_names:
            self.imports.add(origin)
            return f"{origin}.{name}"
        return self.named(origin, name, what)

    def _check_package(self, module: str, name: str, what: str) -> None:
        """Raises unless a module is Python's, Kinone's, or the user's own, not an installed one."""
        root = module.partition(".")[0]
        folders = Path(getattr(sys.modules[module], "__file__", None) or "").parts
        installed = "site-packages" in folders or "dist-packages" in folders
        if root != "kinone" and root not in sys.stdlib_module_names and installed:
            raise ExtractError(f"{what} needs {name}, and a saved program has NumPy alone")

    # -- following

    def follow(self) -> None:
        """Takes in all that the definitions mention, until there is nothing new."""
        while True:
            while self._pending:
                self._scan(self._pending.pop())
            self._called_methods()
            if not self._pending:
                self._side_statements()
            if not self._pending:
                return

    def _scan(self, definition: Definition) -> None:
        node = definition.statement
        assert node is not None
        if isinstance(node, ast.ClassDef):
            for child in node.body:
                if isinstance(child, Function) and not _is_protocol(child.name):
                    self._methods.append((definition, child))
                    definition.dropped.add(child)
        skipped = {each for method in definition.dropped for each in ast.walk(method)}
        self._resolve(definition, ast.Module([node], []), skipped)

    def _called_methods(self) -> None:
        for definition, method in list(self._methods):
            if method.name == "__init__":
                called = definition in self._made
            else:
                called = method.name in self._attributes
            if called:
                self._methods.remove((definition, method))
                definition.dropped.discard(method)
                self._resolve(definition, method, set())

    def _resolve(self, definition: Definition, node: ast.AST, skipped: set[ast.AST]) -> None:
        """Notes what each global name in a text means."""
        names = module_of(definition.home).names
        what = f"{definition.home}.{definition.name}"
        parents = {}
        for parent in ast.walk(node):
            if parent not in skipped:
                parents.update(dict.fromkeys(ast.iter_child_nodes(parent), parent))
                if isinstance(parent, ast.Attribute):
                    self._attributes.add(parent.attr)
        for name in global_names(node):
            if name in skipped:
                continue
            if isinstance(name, ast.Global):
                for each in name.names:
                    self._note(definition, None, self.named(definition.home, each, what))
                continue
            if name.id not in names:
                continue  # a builtin
            place: ast.expr = name
            module, known = definition.home, name.id
            while isinstance(value := vars(sys.modules[module])[known], types.ModuleType):
                above = parents.get(place)
                if not _is_kinones(value) or not isinstance(above, ast.Attribute):
                    break
                place, module, known = above, value.__name__, above.attr  # source.describe
            found = self.named(module, known, what)
            self._note(definition, place, found)
            above = parents.get(place)
            if isinstance(above, ast.ClassDef) or (
                isinstance(above, ast.Call) and above.func is place
            ):
                self.make(found)

    def _note(
        self, definition: Definition, place: ast.expr | None, found: Definition | str
    ) -> None:
        if place is not None:
            definition.meanings[place] = found
        if found is not definition:
            definition.needs.append(found)

    def _side_statements(self) -> None:
        """Statements that are run for what they do to a variable that has come along."""
        variables = {key for key, each in self.definitions.items() if each.is_variable}
        for home in {home for home, _ in variables}:
            for number, statement in enumerate(module_of(home).others):
                key = (home, f"statement {number}")
                changed = ((home, name) for name in _changed(statement, module_of(home)))
                if key not in self.definitions and any(each in variables for each in changed):
                    self.definitions[key] = Definition(*key, statement)
                    self._pending.append(self.definitions[key])


def _numpys(value: Any, module: str, name: str) -> str | None:
    """`np.linalg.inv`: the name of what NumPy has; None where it is not there."""
    for dotted in (name, f"{module}.{name}".removeprefix("numpy.")):
        found: Any = sys.modules["numpy"]
        for part in dotted.split("."):
            found = getattr(found, part, None)
        if found is value:
            return f"np.{dotted}"
    return None


def _changed(statement: ast.stmt, home: Module) -> Iterator[str]:
    """The module's variables that a statement may change: `table[x] = …`, `register(f)` where `f`
    assigns them."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
        return
    for name in ast.walk(statement):
        if isinstance(name, ast.Name):
            yield name.id
            for other in home.binds.get(name.id, []):
                if isinstance(other, Function):
                    for each in ast.walk(other):
                        if isinstance(each, ast.Global):
                            yield from each.names


def _is_kinones(module: types.ModuleType) -> bool:
    return module.__name__.partition(".")[0] == "kinone"


def _is_overload(statement: ast.stmt) -> bool:
    return isinstance(statement, Function) and any(
        ast.unparse(decorator).endswith("overload") for decorator in statement.decorator_list
    )


def _is_protocol(name: str) -> bool:
    """Methods that Python itself calls."""
    return name.startswith("__") and name.endswith("__") and name != "__init__"
