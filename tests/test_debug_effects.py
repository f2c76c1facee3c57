"""`debug.print` and `debug.check`: under every transformation, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import debug
from kinone.errors import KinoneError

X = np.array([1.0, 2.0])
LINE = "x = [1.00 2.00]\n"


def loud(x: Any) -> Any:
    debug.print("x = {x:.2f}", x=x)
    return np.sum(x * x)


@pytest.mark.parametrize(
    "run",
    [
        lambda: loud(X),
        lambda: kn.grad(loud)(X),
        lambda: kn.value_and_grad(loud)(X),
        lambda: kn.jvp(loud, (X,), (X,)),
        lambda: kn.grad(lambda x: np.sum(kn.grad(loud)(x)))(X),
        lambda: kn.graph(loud)(X)(X),
        lambda: kn.jit(loud)(X),
        lambda: kn.jit(kn.grad(loud))(X),
        lambda: kn.grad(kn.jit(loud))(X),
        lambda: kn.grad(kn.graph(loud)(X))(X),
    ],
    ids=[
        "plain",
        "grad",
        "vg",
        "jvp",
        "grad2",
        "graph",
        "jit",
        "jit grad",
        "grad jit",
        "grad graph",
    ],
)
def test_prints_once(run: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert capsys.readouterr().out == LINE


def test_a_compiled_function_prints_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    step = kn.jit(loud)
    for _ in range(3):
        step(X)
    assert capsys.readouterr().out == 3 * LINE


def test_vmap_prints_each_example(capsys: pytest.CaptureFixture[str]) -> None:
    many = np.stack([X, 3 * X])
    want = "[0] x = [1.00 2.00]\n[1] x = [3.00 6.00]\n"
    for run in (
        lambda: kn.vmap(loud)(many),
        lambda: kn.vmap(kn.grad(loud))(many),
        lambda: kn.grad(lambda x: np.sum(kn.vmap(loud)(x)))(many),
        lambda: kn.jit(kn.vmap(loud))(many),
        lambda: kn.vmap(kn.jit(loud))(many),
    ):
        run()
        assert capsys.readouterr().out == want
    kn.vmap(kn.vmap(lambda a, b: debug.print("{} {}", a, b), in_axes=(0, None)))(
        np.arange(4.0).reshape(2, 2), X
    )
    assert (
        capsys.readouterr().out
        == "[0, 0] 0.0 1.0\n[0, 1] 1.0 1.0\n[1, 0] 2.0 2.0\n[1, 1] 3.0 2.0\n"
    )


def test_texts(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*args: Any, **kwargs: Any) -> str:
        debug.print(*args, **kwargs)
        return capsys.readouterr().out[:-1]

    assert printed("{} and {}", 1, X) == "1 and [1. 2.]"
    assert printed("{0} {0} {n:>4}", 1, n=7) == "1 1    7"
    assert printed("{x.shape} {x[1]}", x=X) == "(2,) 2.0"
    assert printed("{t}", t={"a": 1, "s": "text"}) == "{'a': 1, 's': 'text'}"
    assert printed("{:.3e}", np.float32(1234)) == "1.234e+03"
    assert printed("{:d}", np.array([1, 20])) == "[1 20]"
    assert printed(X) == "[1. 2.]"
    assert printed("loss", 0.5, X) == "loss 0.5 [1. 2.]"
    assert printed("no places") == "no places"
    assert printed("{{braces}}") == "{braces}"
    assert printed("{:{width}}|", 1.5, width=5) == "  1.5|"
    assert printed(None) == "None"
    assert printed({"w": X}) == "{'w': array([1., 2.])}"


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        (("{} {a}", 1), {}, "{a} is not given"),
        (("{}",), {}, "{0} is not given"),
        (("{x}", 1), {"x": 2}, "{0} has no place"),
        (("{x}",), {"x": 2, "y": 1}, "{y} has no place"),
        (("x",), {"x": 2}, "Write {x} where"),
    ],
)
def test_text_and_values_that_do_not_fit(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"test_debug_effects\.py") as caught:
        debug.print(*args, **kwargs)
    assert text in str(caught.value)


def test_order_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        for i in range(4):
            debug.print("{} {}", i, x)
            x = x + 1
        return x

    want = "".join(f"{i} {float(i)}\n" for i in range(4))
    for run in (f, kn.jit(f), kn.grad(f)):
        run(0.0)
        assert capsys.readouterr().out == want


def test_the_program_shows_it_and_keeps_it() -> None:
    program = kn.graph(loud)(X)
    assert program.equations[0].primitive.name == "print"
    assert "x = {x:.2f}" in str(program)
    assert f"test_debug_effects.py:{loud.__code__.co_firstlineno + 1}" in str(program)


# ---- check ---------------------------------------------------------------------------------------


def checked(x: Any) -> Any:
    debug.check(x < 5, "x = {x} is too large", x=x)
    return np.sum(x * x)


def test_check_that_holds() -> None:
    assert kn.grad(checked)(X).tolist() == [2, 4]
    assert kn.jit(checked)(X) == 5
    assert kn.vmap(checked)(np.stack([X, X])).tolist() == [5, 5]


@pytest.mark.parametrize(
    "run",
    [
        lambda x: checked(x),
        lambda x: kn.grad(checked)(x),
        lambda x: kn.jvp(checked, (x,), (x,)),
        lambda x: kn.jit(checked)(x),
        lambda x: kn.jit(kn.grad(checked))(x),
        lambda x: kn.graph(checked)(X)(x),
    ],
    ids=["plain", "grad", "jvp", "jit", "jit grad", "graph"],
)
def test_check_that_fails(run: Callable[[Any], Any]) -> None:
    with pytest.raises(debug.CheckError) as caught:
        run(X * 4)
    text = str(caught.value)
    assert isinstance(caught.value, KinoneError)
    assert isinstance(caught.value, AssertionError)
    assert text.startswith("x = [4. 8.] is too large\n  checked at ")
    assert f"test_debug_effects.py:{checked.__code__.co_firstlineno + 1}" in text
    assert "false at [1], in 1 of 2 elements" in text


def test_check_under_vmap_names_the_example() -> None:
    many = np.stack([X, X, 4 * X])
    for run in (kn.vmap(checked), kn.jit(kn.vmap(checked)), kn.vmap(kn.grad(checked))):
        with pytest.raises(debug.CheckError, match=r"x = \[4\. 8\.\] is too large \(example \[2\]"):
            run(many)


def test_check_without_a_text() -> None:
    with pytest.raises(debug.CheckError, match="a condition does not hold"):
        debug.check(False)
    with pytest.raises(debug.CheckError, match=r"false at \[0, 1\], in 1 of 2"):
        debug.check([[True, False]])
    debug.check(np.ones((0, 3)) > 2)
