"""Tracebacks show the user's program: `source.trim` and `source.trimming`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import source

X = np.ones(3)
PACKAGE = str(Path(kn.__file__).parent)


def raised(run: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        run()
    return caught.value


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def internal(error: BaseException) -> list[str]:
    return [
        frame.filename
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith((PACKAGE, str(Path(np.__file__).parent)))
    ]


def outer(x: Any) -> Any:
    return inner(x)


def inner(x: Any) -> Any:
    return np.sum(x @ np.ones(7))


def test_the_users_frames_alone_remain() -> None:
    transformed = source.trimming(kn.grad(outer))
    error = raised(lambda: transformed(X))
    assert not internal(error)
    assert frames(error)[-2:] == ["outer", "inner"]
    # NumPy's own error, which ours tells better, is not shown before it.
    assert isinstance(error.__context__, ValueError)
    assert error.__suppress_context__
    assert str(error).startswith("matmul: the last axis")


def test_an_error_of_the_user_keeps_type_notes_and_cause() -> None:
    cause = KeyError("first")

    def f(x: Any) -> Any:
        error = RuntimeError("mine")
        error.add_note("a note")
        raise error from cause

    error = raised(lambda: source.trimming(kn.value_and_grad(f))(X))
    assert type(error) is RuntimeError
    assert error.__notes__ == ["a note"]
    assert error.__cause__ is cause
    assert not internal(error)
    assert frames(error)[-1] == "f"


def test_the_last_frame_of_what_was_not_foreseen_remains() -> None:
    def f(x: Any) -> Any:
        return kn.ops.reshape(x, object())

    error = raised(lambda: source.trimming(kn.grad(f))(X))
    if not hasattr(error, "_kinone_text"):
        assert len(internal(error)) <= 1
        assert "f" in frames(error)


def test_what_the_user_handled_is_still_shown() -> None:
    def f(x: Any) -> Any:
        try:
            return {}["missing"]
        except KeyError:
            return x @ np.ones(7)

    error = raised(lambda: source.trimming(kn.grad(f))(X))
    assert isinstance(error.__context__, (KeyError, ValueError))
    chain = []
    link: BaseException | None = error
    while link is not None:
        chain.append(type(link).__name__)
        link = link.__context__
    assert "KeyError" in chain


def test_nested_transformations() -> None:
    one = source.trimming(kn.grad(outer))
    two = source.trimming(kn.vmap(one))
    error = raised(lambda: two(np.ones((2, 3))))
    assert not internal(error)
    assert frames(error)[-2:] == ["outer", "inner"]


def test_everything_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINONE_FULL_TRACEBACK", "1")
    error = raised(lambda: source.trimming(kn.grad(outer))(X))
    assert len(internal(error)) > 2
    monkeypatch.setenv("KINONE_FULL_TRACEBACK", "0")
    assert not internal(raised(lambda: source.trimming(kn.grad(outer))(X)))


def test_results_and_names_pass_through() -> None:
    def f(x: float, *, factor: float = 2.0) -> float:
        "Doubles."
        return factor * x

    trimmed = source.trimming(f)
    assert trimmed(3.0, factor=3.0) == 9.0
    assert (trimmed.__name__, trimmed.__doc__) == ("f", "Doubles.")


def test_interrupts_keep_their_traceback() -> None:
    def f(x: Any) -> Any:
        raise KeyboardInterrupt

    assert internal(raised(lambda: source.trimming(kn.grad(f))(X)))
