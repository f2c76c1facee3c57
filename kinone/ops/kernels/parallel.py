"""Split independent blocks of array work over the machine's cores.

NumPy releases the GIL inside ufuncs, copies and BLAS, so plain Python threads speed up work that is
made of large enough array operations. Work is cut by size, never by thread count, and every item
writes its own part of the result: the bits do not depend on the number of threads or on timing.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def thread_count() -> int:
    """Threads to use: the usual BLAS variables if set (one setting rules both), else the cores."""
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Job:
    """One `for_each` call: threads take items from a shared counter until none is left."""

    def __init__(self, function: Callable[[Any], object], items: Sequence[Any]) -> None:
        self.function = function
        self.items = items
        # next() on an itertools.count is one C call: atomic under the GIL, and cheaper than a lock.
        self.numbers: Iterator[int] = itertools.count()
        self.guard = threading.Lock()
        self.helpers_inside = 0
        self.closed = False
        self.all_left = threading.Semaphore(0)
        self.error: BaseException | None = None

    def work(self) -> None:
        while self.error is None and (number := next(self.numbers)) < len(self.items):
            try:
                self.function(self.items[number])
            except BaseException as error:  # handed to the caller of for_each
                self.error = error

    def help(self) -> None:
        if self._enter():
            self.work()
            self._leave()

    def _enter(self) -> bool:
        with self.guard:
            self.helpers_inside += not self.closed
            return not self.closed

    def _leave(self) -> None:
        with self.guard:
            self.helpers_inside -= 1
            if self.closed and self.helpers_inside == 0:
                self.all_left.release()

    def finish(self) -> None:
        """Wait for the helpers that took an item; one that never woke up is not waited for."""
        with self.guard:
            self.closed = True
            waiting = self.helpers_inside > 0
        if waiting:
            self.all_left.acquire()
        if self.error is not None:
            raise self.error


class _Pool:
    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[tuple[contextvars.Context, _Job]] = queue.SimpleQueue()
        self.helpers = max(thread_count() - 1, 0)
        for number in range(self.helpers):
            # Daemonic: an idle helper must not keep the interpreter from exiting.
            name = f"kinone-helper-{number}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        _inside.value = True
        while True:
            context, job = self.jobs.get()
            context.run(job.help)
            del context, job  # an idle helper must not keep the last job's arrays alive


class _Inside(threading.local):
    value = False


_inside = _Inside()
_pool: _Pool | None = None
_pool_guard = threading.Lock()


def _forget_pool() -> None:
    """After a fork the child has none of the parent's threads: start again when needed."""
    global _pool, _pool_guard
    _pool, _pool_guard = None, threading.Lock()
    _inside.value = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _the_pool() -> _Pool:
    global _pool
    if _pool is None:
        with _pool_guard:
            if _pool is None:
                _pool = _Pool()
    return _pool


def for_each(function: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Call `function` on every item, on all cores; the items' order of execution is open.

    `function` must write only what belongs to its item. A call from inside an item runs in place
    (nesting cannot deadlock). An exception of any item is raised here, after all threads stopped.
    """
    if len(items) <= 1 or _inside.value or (pool := _the_pool()).helpers == 0:
        for item in items:
            function(item)
        return
    job = _Job(function, items)
    for _ in range(min(pool.helpers, len(items) - 1)):
        # NumPy keeps errstate in a context variable: helpers must see the caller's.
        pool.jobs.put((contextvars.copy_context(), job))
    _inside.value = True
    try:
        job.work()
    finally:
        _inside.value = False
        job.finish()


def for_blocks(function: Callable[[slice], object], count: int, block: int) -> None:
    """`for_each` over consecutive slices of `range(count)` of at most `block` elements."""
    block = max(block, 1)
    for_each(function, [slice(i, min(i + block, count)) for i in range(0, count, block)])
