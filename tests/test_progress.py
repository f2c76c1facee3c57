"""The progress line: right numbers, one line on a terminal, few lines in a log."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.training import Progress


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Remembers what is written and says that it is a terminal of 80 columns."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class OldTerminal(Terminal):
    encoding = "ascii"


def screen(text: str) -> list[str]:
    """What a terminal shows after the text: `\\r` goes back, and new characters cover old ones."""
    lines = []
    for row in text.split("\n"):
        shown = ""
        for part in row.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_a_log_gets_few_plain_lines():
    clock, stream = Clock(), io.StringIO()
    with Progress(1000, label="epoch 1/2", every=10, stream=stream, clock=clock) as progress:
        for step in range(1, 101):
            clock.now += 0.25
            progress.update(10, loss=1 / step, accuracy=step / 100)
    assert stream.getvalue().splitlines() == [
        "epoch 1/2    1%  loss 1.0000  accuracy 0.0100  40 images/s  0:25 left",
        "epoch 1/2   41%  loss 0.0244  accuracy 0.4100  40 images/s  0:15 left",
        "epoch 1/2   81%  loss 0.0123  accuracy 0.8100  40 images/s  0:05 left",
        "epoch 1/2  100%  loss 0.0100  accuracy 1.0000  40 images/s  in 0:25",
    ]


def test_a_terminal_shows_one_line_and_is_written_ten_times_a_second():
    clock, stream = Clock(), Terminal()
    with Progress(1000, label="epoch 1", stream=stream, clock=clock) as progress:
        for _ in range(500):
            clock.now += 0.01
            progress.update(1, loss=0.5)
        assert screen(stream.getvalue()) == [
            "epoch 1  ━━━━━━━━━━━─────────────  49%  loss 0.5000  100 images/s  0:05 left"
        ]
        assert stream.getvalue().count("\r") <= 51
        for _ in range(500):
            clock.now += 0.01
            progress.update(1, loss=0.5)
    assert screen(stream.getvalue()) == [
        "epoch 1  ━━━━━━━━━━━━━━━━━━━━━━━━ 100%  loss 0.5000  100 images/s  in 0:10",
        "",
    ]


def test_a_shorter_line_covers_a_longer_one():
    clock, stream = Clock(), Terminal()
    progress = Progress(10, stream=stream, clock=clock)
    clock.now += 1
    progress.update(1, loss=123456.0)
    clock.now += 1
    progress.update(1, loss=1.0)
    (line,) = screen(stream.getvalue())
    assert line.endswith("20%  loss 1.0000  1.0 images/s  0:08 left")


def test_a_long_line_never_wraps():
    clock, stream = Clock(), Terminal()
    with Progress(10, label="a" * 60, stream=stream, clock=clock) as progress:
        clock.now += 1
        progress.update(1, loss=1.0, accuracy=0.5, learning_rate=0.1)
    assert max(map(len, screen(stream.getvalue()))) == 79


def test_a_terminal_without_block_characters_gets_ascii():
    stream = OldTerminal()
    Progress(10, stream=stream, clock=Clock()).update(5)
    stream.getvalue().encode("ascii")
    assert "############------------  50%" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(1, "0:09"), (60, "9:00"), (6.66, "1:00"), (3600, "9:00:00"), (1e-9, "0:00")],
)
def test_the_time_left(seconds, left):
    clock, stream = Clock(), io.StringIO()
    progress = Progress(100, stream=stream, clock=clock)
    clock.now += seconds
    progress.update(10)
    assert stream.getvalue().endswith(f"  {left} left\n")


@given(
    st.integers(-5, 100),
    st.lists(st.tuples(st.integers(0, 50), st.floats(-1e9, 1e9)), max_size=20),
    st.booleans(),
)
def test_no_clock_and_no_count_makes_nonsense(total, steps, terminal):
    # The clock jumps back and forth, more images come than were announced, or none.
    clock, stream = Clock(), Terminal() if terminal else io.StringIO()
    with Progress(total, stream=stream, clock=clock, every=0) as progress:
        for count, seconds in steps:
            clock.now += seconds
            progress.update(count, loss=float("nan"))
    for line in stream.getvalue().replace("\r", "\n").split("\n"):
        assert "-" not in line
        assert "inf" not in line
        assert not line or 0 <= int(line.split("%")[0].strip("━─ ")) <= 100


def test_one_hundred_per_cent_is_said_when_it_is_true():
    stream = io.StringIO()
    progress = Progress(1000, stream=stream, clock=Clock())
    progress.update(999)
    assert " 99%" in stream.getvalue()


def test_the_last_line_comes_once_also_after_an_error():
    stream = io.StringIO()
    progress = Progress(4, stream=stream, clock=Clock())
    progress.update(2, loss=np.float32(0.5))
    with pytest.raises(ZeroDivisionError), progress:
        progress.update(1 // 0)
    progress.close()
    assert stream.getvalue().splitlines() == [
        " 50%  loss 0.5000  ? images/s  ? left",
        " 50%  loss 0.5000  ? images/s  in 0:00",
    ]


def test_the_default_is_standard_error(capsys):
    with Progress(1) as progress:
        progress.update(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100%" in err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_width_is_that_of_the_terminal():
    import fcntl
    import pty
    import struct
    import termios

    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    clock = Clock()
    with os.fdopen(inner, "w", encoding="utf-8") as stream:
        progress = Progress(10, label="epoch 1", stream=stream, clock=clock)
        clock.now += 1
        progress.update(5, loss=0.25)
        written = os.read(outer, 10_000).decode()
    os.close(outer)
    assert written == "\repoch 1   50%  loss 0.2500  5.0 images/"  # 39 columns, and no bar


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_stream_that_is_closed_or_full_never_stops_training(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    for stream in (None, Broken()):
        with Progress(2, stream=stream, clock=Clock()) as progress:
            progress.update(1, loss=0.5)
            progress.update(1, loss=0.5)
        assert progress.done == 2


def test_a_stream_closed_before_or_in_between_never_stops_training():
    closed = io.StringIO()
    closed.close()
    with Progress(2, stream=closed, clock=Clock()) as progress:
        progress.update(2)
    assert progress.done == 2
    stream = Terminal()
    with Progress(2, stream=stream, clock=Clock()) as progress:
        progress.update(1)
        stream.close()
        progress.update(1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_standard_error_that_cannot_be_written_to(redirection):
    script = (
        "from kinone.training import Progress\n"
        "with Progress(2, every=0) as progress:\n"
        "    for _ in range(2): progress.update(1)\n"
        "print('trained')"
    )
    command = f'exec "$0" -c "$1" {redirection}'
    found = subprocess.run(
        ["sh", "-c", command, sys.executable, script], stdout=subprocess.PIPE, text=True
    )
    assert found.stdout == "trained\n"


def test_numbers_are_whole():
    with pytest.raises(TypeError, match=r"total is 2\.5, and a whole number is wanted"):
        Progress(2.5)  # type: ignore[arg-type]
    progress = Progress(np.int64(3), stream=io.StringIO(), clock=Clock())
    with pytest.raises(TypeError, match=r"count is 0\.5, and a whole number is wanted"):
        progress.update(0.5)  # type: ignore[arg-type]
    progress.update(np.int32(3))
    assert progress.done == 3
