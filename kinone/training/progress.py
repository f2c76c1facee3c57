"""One line that says how far training is, for a terminal and for a log."""

from __future__ import annotations

import math
import operator
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

_BAR = 24


class Progress:
    """Shows a bar, the values you pass, images/s and the time left; a context manager.

    On a terminal one line is rewritten, at most ten times a second. Anywhere else (a file, CI) it
    prints plain lines, at most one every `every` seconds, so that a log stays short. The last line
    always shows the final values. All goes to standard error, so that results on standard output
    can be piped.

    `total` is the number of images (or of anything that `unit` names); `stream` and `clock`, a
    function that returns seconds, are there for tests. A stream that cannot be written to (closed,
    on a full disk) shows nothing more, and training goes on.

        >>> import sys
        >>> with Progress(256, label="epoch 1", stream=sys.stdout, clock=lambda: 0.0) as progress:
        ...     for _ in range(2):
        ...         progress.update(128, loss=0.25, accuracy=0.9375)
        epoch 1   50%  loss 0.2500  accuracy 0.9375  ? images/s  ? left
        epoch 1  100%  loss 0.2500  accuracy 0.9375  ? images/s  in 0:00
    """

    def __init__(
        self,
        total: int,
        *,
        label: str = "",
        unit: str = "images",
        every: float = 10.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = _whole("total", total)
        self.done = 0
        self._label = label
        self._unit = unit
        # None where standard error is closed: there is then nobody to show anything to.
        self._stream: TextIO | None = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream is not None and _is_terminal(self._stream)
        self._pause = 0.1 if self._terminal else every
        wide = self._stream is not None and _encodes(self._stream, "━─")
        self._blocks = ("━", "─") if wide else ("#", "-")
        self._values: dict[str, float] = {}
        self._start = self._now = clock()
        self._shown: float | None = None
        self._length = 0
        self._closed = False

    def update(self, count: int = 1, /, **values: float) -> None:
        """Counts `count` more images and shows the newest values, such as `loss=0.3`."""
        self.done += _whole("count", count)
        self._values.update({name: float(value) for name, value in values.items()})
        self._tick()
        if self._shown is None or self._now - self._shown >= self._pause:
            self._shown = self._now
            self._print(f"{_time(self._left())} left", last=False)

    def close(self) -> None:
        """Prints the last line with the time taken; further calls do nothing."""
        if not self._closed:
            self._closed = True
            self._tick()
            self._print(f"in {_time(self._elapsed())}", last=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _tick(self) -> None:
        self._now = max(self._now, self._clock())  # a clock that is set back stands still

    def _elapsed(self) -> float:
        return self._now - self._start

    def _left(self) -> float:
        """Seconds to go at the average speed so far; NaN while there is none."""
        if self.done <= 0 or self._elapsed() <= 0:
            return math.nan
        return max(self.total - self.done, 0) * self._elapsed() / self.done

    def _print(self, ending: str, *, last: bool) -> None:
        # Whole numbers, rounded down: 100 % is said when it is true.
        done, total = (min(self.done, self.total), self.total) if self.total > 0 else (1, 1)
        speed = self.done / self._elapsed() if self._elapsed() > 0 else math.nan
        rate = "?" if math.isnan(speed) else f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"
        label = f"{self._label}  " if self._label else ""
        values = [f"{name} {value:.4f}" for name, value in self._values.items()]
        rest = "  ".join([f"{100 * done // total:3d}%", *values, f"{rate} {self._unit}/s", ending])
        if self._stream is None:
            return
        if not self._terminal:
            text = f"{label}{rest}\n"
        else:
            # One column is left free, or some terminals would wrap and leave a line behind.
            columns = _columns(self._stream) - 1
            width = min(columns - len(label) - len(rest) - 1, _BAR)
            full, empty = self._blocks
            filled = width * done // total
            bar = f"{full * filled}{empty * (width - filled)} " if width > 4 else ""
            line = f"{label}{bar}{rest}"[:columns]
            # Spaces cover what a longer line left behind.
            text = f"\r{line.ljust(self._length)}" + ("\n" if last else "")
            self._length = len(line)
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a closed stream: no reason to stop training
            self._stream = None


def _whole(name: str, number: int) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{name} is {number!r}, and a whole number is wanted") from None


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):  # closed
        return False


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _time(seconds: float) -> str:
    """`0:07`, `12:34` or `1:02:03`; `?` for NaN."""
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
