"""`kinone.numpy`, walked name by name; and docs/numpy.md, which says what each name does.

`KINONE_WRITE_DOCS=1 pytest tests/test_numpy_namespace.py` writes the page anew.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy_examples import (
    CONSTANT,
    DIFFERENTIABLE,
    MEETING,
    NOTES,
    OF_RESULT,
    PLAIN,
    REFUSED,
    SYMMETRIC,
    Call,
)
from surface import same

import kinone as kn
import kinone.numpy as knp
from kinone.errors import MissingRuleError, TracerAssignmentError, TracerConversionError
from kinone.testing import check_grads

PAGE = Path(__file__).parent.parent / "docs" / "numpy.md"
Refusal = (MissingRuleError, TracerAssignmentError, TracerConversionError)


def lookup(name: str) -> Any:
    found: Any = knp
    for part in name.split("."):
        found = getattr(found, part)
    return found


def names() -> set[str]:
    """Every public name of the namespace and of its `linalg` and `fft`."""
    parts = {f"{part}.{name}" for part in ("linalg", "fft") for name in lookup(part).__all__}
    return {*knp.__all__} | parts


def of_arrays(name: str, given: Call) -> tuple[Callable[..., Any], list[Any]]:
    """The call as a function of its inexact arrays alone, and these arrays."""
    function = lookup(name)
    leaves, structure = kn.tree.flatten((given.args, given.kwargs))
    places = [i for i, leaf in enumerate(leaves) if traced(leaf)]

    def f(*arrays: Any) -> Any:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = kn.tree.unflatten(structure, filled)
        return function[args] if name in ("r_", "c_") else function(*args, **kwargs)

    return f, [leaves[i] for i in places]


def traced(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.floating) and leaf.dtype.kind in "fc"


def plainly(name: str, given: Call) -> Any:
    """What NumPy itself gives for the call."""
    if name == "make_diagonal":
        return np.diag(given.args[0])
    if name == "row_stack":
        return np.vstack(*given.args)
    function: Any = np
    for part in name.split("."):
        function = getattr(function, part)
    return function[given.args] if name in ("r_", "c_") else function(*given.args, **given.kwargs)


def inexact(tree: Any) -> list[Any]:
    return [leaf for leaf in kn.tree.leaves(tree) if kn.core.is_inexact(leaf)]


def cases(table: dict[str, list[Call]]) -> list[Any]:
    return [
        pytest.param(name, given, id=f"{name}-{number}")
        for name, calls in table.items()
        for number, given in enumerate(calls)
    ]


def test_every_name_has_an_example() -> None:
    tables = [DIFFERENTIABLE, OF_RESULT, MEETING, *CONSTANT.values(), *REFUSED.values()]
    known = [name for table in tables for name in table]
    known += [name for group in PLAIN.values() for name in group.split()]
    twice = {name for name in known if known.count(name) > 1}
    assert not twice, f"in two tables: {sorted(twice)}"
    assert not names() - set(known), f"no example for {sorted(names() - set(known))}"
    # Names of one platform or of one NumPy may be absent; nothing else may.
    absent = {name for name in set(known) - names() if not hasattr(np, name)}
    assert set(known) - names() <= absent


@pytest.mark.parametrize(("name", "given"), cases(DIFFERENTIABLE))
def test_differentiable(name: str, given: Call) -> None:
    """NumPy's value, shape and dtype; finite differences; and a derivative that is not zero."""
    f, arrays = of_arrays(name, given)
    assert arrays
    value, pullback = kn.vjp(lambda *xs: inexact(f(*xs)), *arrays)
    same(value, inexact(plainly(name, given)))
    check_grads(lambda *xs: inexact(f(*xs)), arrays, order=1)
    gradients = pullback([np.asarray(np.ones_like(y)) * (k + 1.7) for k, y in enumerate(value)])
    assert any(np.any(g != 0) for g in gradients)


@pytest.mark.parametrize(
    ("name", "given"), cases({name: calls for name, (calls, _) in OF_RESULT.items()})
)
def test_differentiable_in_what_is_unique(name: str, given: Call) -> None:
    f, arrays = of_arrays(name, given)
    unique = OF_RESULT[name][1]
    value, pullback = kn.vjp(lambda *xs: unique(f(*xs)), *arrays)
    same(value, unique(plainly(name, given)))
    if name in SYMMETRIC:
        check_grads(lambda x: unique(f(x + x.T)), (arrays[0] / 2,), order=1)
    else:
        check_grads(lambda *xs: unique(f(*xs)), arrays, order=1)
    weights = np.cos(np.arange(np.size(value))).reshape(np.shape(value))
    assert any(np.any(g != 0) for g in pullback(weights))


@pytest.mark.parametrize(
    ("name", "given"), [case for table in CONSTANT.values() for case in cases(table)]
)
def test_constant(name: str, given: Call) -> None:
    """NumPy's value, and a derivative that is exactly zero, or none."""
    f, arrays = of_arrays(name, given)
    want = plainly(name, given)
    if not arrays:  # of integers: traced all the same by a graph
        same(f(), want, exact=True)
        return

    def run(*xs: Any) -> Any:
        result = f(*xs)
        leaves = kn.tree.leaves(result)
        if all(isinstance(x, kn.core.Tracer | np.ndarray) for x in leaves):
            return leaves
        answers.append(result)
        return []

    answers: list[Any] = []
    tangents = [np.full_like(x, 1.3) for x in arrays]
    value, tangent = kn.jvp(run, arrays, tangents)
    if answers:  # not arrays: a bool, a shape, a dtype
        assert repr(kn.tree.leaves(answers)) == repr(kn.tree.leaves(want)) or name in NAMED
        return
    same(value, kn.tree.leaves(want), exact=name != "round")
    assert all(not np.any(t) for t in kn.tree.leaves(tangent))


# Whose answers have no form to compare: a memory question, about values that have no memory.
NAMED = {"may_share_memory", "shares_memory"}


@pytest.mark.parametrize(("name", "given"), cases(MEETING))
def test_elements_that_meet(name: str, given: Call) -> None:
    """Each element found has a derivative of one with respect to its place in the first array."""
    f, (x,) = of_arrays(name, given)
    value, pullback = kn.vjp(f, x)
    same(value, plainly(name, given))
    weights = np.arange(1.0, 1.0 + len(value))
    places = [int(np.flatnonzero(x == y)[0]) for y in np.asarray(value)]
    np.testing.assert_array_equal(pullback(weights)[0][places], weights)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # matrices
@pytest.mark.parametrize(
    ("name", "given"), [case for table in REFUSED.values() for case in cases(table)]
)
def test_refused(name: str, given: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells the line, and what to write instead."""
    monkeypatch.chdir(tmp_path)
    f, arrays = of_arrays(name, given)
    with pytest.raises(Refusal, match=r"test_numpy_namespace\.py:\d+"):
        kn.vjp(f, *arrays)
    assert not list(tmp_path.iterdir())


# With an argument of the standard that NumPy's have not: tests/test_array_api.py.
WIDENED = {"finfo", "iinfo", "fft.fftfreq", "fft.rfftfreq"}


def test_plain_names_are_numpys_own() -> None:
    for group in PLAIN.values():
        for name in group.split():
            if name in names() and name not in {"fft", "linalg", "random"} | WIDENED:
                theirs: Any = np
                for part in name.split("."):
                    theirs = getattr(theirs, part)
                assert lookup(name) is theirs, name


def test_parts_are_modules_that_can_be_imported() -> None:
    for name in ("linalg", "fft", "random"):
        module = importlib.import_module(f"kinone.numpy.{name}")
        assert getattr(knp, name) is module
        assert set(module.__all__) == set(getattr(np, name).__all__)


def test_lists_may_hold_traced_values() -> None:
    """What NumPy's own functions cannot be asked, for they look at no list's elements."""

    def f(x: Any, y: Any) -> Any:
        matrix = knp.array([[x, 2.0], [y * y, x * y]])
        more = knp.stack([[x, y], [1.0, x]]), knp.concatenate([[x, y], [3.0]])
        numbers = knp.sum([x, y, 1.0]), knp.linalg.norm((x, x + 2.0)), knp.mean([[x], [y]])
        return matrix, more, numbers, knp.full((2,), x), knp.r_[x, 0:2, y], knp.append([x, y], 1.0)

    def plain(x: float, y: float) -> Any:
        return kn.tree.map(np.asarray, f(x, y))

    same(kn.vjp(f, 0.7, -1.2)[0], plain(0.7, -1.2))
    check_grads(f, (0.7, -1.2), order=2)
    same(kn.vmap(f)(np.array([0.7, 0.1]), np.array([-1.2, 1.0]))[0][0], plain(0.7, -1.2)[0])
    same(kn.graph(f)(0.7, -1.2)(0.7, -1.2), plain(0.7, -1.2))


def test_full_takes_lists_of_traced_values() -> None:
    def f(x: Any) -> Any:
        return knp.full((3, 2), [x, 2.0 * x]), knp.full_like(np.ones((2, 1)), x * x)

    same(kn.vjp(f, 0.7)[0], f(0.7))
    check_grads(f, (0.7,), order=2)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 3])
@pytest.mark.parametrize("axes", [(-1, -2), (-2, -1), (0, 1), (2, 0)])
def test_make_diagonal_is_the_inverse_of_diagonal(offset: int, axes: tuple[int, int]) -> None:
    x = np.arange(1.0, 7.0).reshape(2, 3)
    matrices = knp.make_diagonal(x, offset, *axes)
    same(np.diagonal(matrices, offset, *axes), x)
    assert np.count_nonzero(matrices) == x.size
    assert matrices.size == 2 * (3 + abs(offset)) ** 2
    check_grads(lambda x: knp.make_diagonal(x, offset, *axes), (x,), order=2)


def test_dtypes_of_lists_are_numpys() -> None:
    single, half = np.float32(1.5), np.float16(2.0)
    for given in ([single, 1.0], [single, 2], [half, single], [[single], [True]]):
        want = np.array(given)
        got = kn.eval_shape(lambda *xs, given=given: knp.array(kn.tree.unflatten(
            kn.tree.structure(given), xs)), *kn.tree.leaves(given))  # fmt: skip
        assert (got.shape, got.dtype) == (want.shape, want.dtype), given


def test_asarray_keeps_the_standards_promises() -> None:
    def f(x: Any) -> Any:
        assert knp.asarray(x) is x
        assert knp.asarray(x, copy=False, device="cpu") is x
        with pytest.raises(ValueError, match="copy"):
            knp.asarray(x, dtype=np.float32, copy=False)
        with pytest.raises(ValueError, match="copy"):
            knp.asarray([x, x], copy=False)
        with pytest.raises(ValueError, match="cpu"):
            knp.asarray(x, device="gpu")
        with pytest.raises(ValueError, match="infs"):
            knp.asarray_chkfinite(x / 0.0)
        return knp.asarray(x, dtype=np.float32, copy=True)

    with np.errstate(divide="ignore"):
        assert kn.vjp(f, np.ones(2))[0].dtype == np.float32
    for function in (knp.asarray, knp.array):
        with pytest.raises(ValueError, match="copy"):
            function([1.0, 2.0], copy=False)
        assert function([1, 2], dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("directive", ["0,2", "1,2", "0,2,0", "1,2,0", "0,3,1", "-1,2,0", "1,3,-2"])
def test_r_follows_its_directives(directive: str) -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    want = np.r_[directive, x, y]
    same(kn.vjp(lambda x, y: knp.r_[directive, x, y], x, y)[0], want)
    check_grads(lambda x, y: knp.r_[directive, x, y], (x, y), order=1)


def test_r_takes_slices_and_matrices() -> None:
    x = np.arange(6.0).reshape(2, 3)
    same(kn.vjp(lambda x: knp.r_[x, x[:1]], x)[0], np.r_[x, x[:1]])
    same(kn.vjp(lambda x: knp.c_[x, x[:, :1], x[:, 0]], x)[0], np.c_[x, x[:, :1], x[:, 0]])
    same(kn.vjp(lambda x: knp.r_[0:3, x[0], 0:1:3j, 5], x)[0], np.r_[0:3, x[0], 0:1:3j, 5])
    with pytest.raises(ValueError, match="matrix"):
        kn.vjp(lambda x: knp.r_["r", x[0]], x)
    with pytest.raises(ValueError, match="directives"):
        kn.vjp(lambda x: knp.r_[x[0], "0,2"], x)


def test_ufuncs_are_numpys_own() -> None:
    """So they cost what NumPy's cost, and `sin.reduce`, `sin.at` are there."""
    for name in knp.__all__:
        if isinstance(getattr(np, name, None), np.ufunc):
            assert getattr(knp, name) is getattr(np, name)


# ---- the page --------------------------------------------------------------------------------


INTRODUCTION = """
`import kinone.numpy as np` is NumPy's namespace. On plain arrays its functions are NumPy's own, and
nearly all of them are the same objects, which ask a traced value what to do: `import numpy as np`
does as well. What `kinone.numpy` adds:

- Nested lists may hold traced values, in `array`, `asarray` and the other makers of arrays, in
  `full`, in what joins (`stack`, `concatenate`, `hstack`, …, `r_`, `c_`), in what reduces (`sum`,
  `mean`, `std`, `max`, …) and in `dot`, `append`, `select` and `linalg.norm`:
  `np.array([[x, 1.0], [y, 2.0]])`.
- The arguments that the Python array API standard (2024.12) has and NumPy has not:
  `sort(x, descending=True)`, `argsort(x, descending=True)`, `fft.fftfreq(n, dtype=…)`,
  `finfo(array)`. `x.__array_namespace__()` of a traced `x` is `kinone.numpy`.
- `random`, which is NumPy's; `kinone.random` is the one whose draws a compiled program can follow.

Libraries that find their namespace with `array_namespace(x, y)` refuse a traced value beside a
plain array, as they refuse any two kinds of arrays: hand both in as arguments that are
differentiated, or add `0 * x` to the plain one.

What each name does on traced values follows: "differentiable", "constant" (the value is right and
its derivative is zero, or there is none), or "refused", with an error that tells what to write.
`tests/test_numpy_namespace.py` runs an example of each, checks the derivatives against finite
differences, and writes this page.
"""


def page() -> str:
    lines = [
        "# kinone.numpy, name by name",
        "",
        *INTRODUCTION.strip().splitlines(),
        "",
        "| name | on traced values | why |",
        "|---|---|---|",
    ]
    differentiable = [*DIFFERENTIABLE, *OF_RESULT, *MEETING]
    rows = [(name, "differentiable", NOTES.get(name, "")) for name in differentiable]
    for why, table in CONSTANT.items():
        rows += [(name, "constant", why) for name in table]
    for why, table in REFUSED.items():
        rows += [(name, "refused", why) for name in table]
    lines += [f"| `{name}` | {what} | {why} |" for name, what, why in sorted(rows)]
    lines += ["", "## Names that ask nothing of an array's values", ""]
    for why, group in PLAIN.items():
        listed = ", ".join(f"`{name}`" for name in sorted(group.split()))
        lines += [f"{why.capitalize()}: {listed}.", ""]
    return "\n".join(lines)


def test_page() -> None:
    if os.environ.get("KINONE_WRITE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()
