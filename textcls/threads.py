"""Threads, for work that lets go of the interpreter's lock: NumPy's and Arrow's."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


_alone = False
_processes = 1


def take_one_cpu() -> None:
    """Let this process compute with one thread from here on: others have the other CPUs."""
    global _alone
    _alone = True


def share_cpus(processes: int) -> None:
    """Let this process use its part of the CPUs from here on, of so many processes."""
    global _processes
    _processes = processes


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if _alone:
        return 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return max(1, len(os.sched_getaffinity(0)) // _processes)
    return max(1, (os.cpu_count() or 1) // _processes)


def made_ahead(
    make: Callable[[_In], _Out], items: Iterable[_In], ahead: int = 2, threads: int = 1
) -> Iterator[_Out]:
    """Yield ``make(item)`` for each item in turn, made by threads that stay a little ahead.

    Args:
        make: is called in a thread; what it raises is raised here.
        items: its arguments; each is asked for only when there is room for its result.
        ahead: so many results, beside the one that is yielded, are made or being made.
        threads: how many there are.
    """
    yield from results(ThreadPoolExecutor(threads, "made-ahead"), make, items, ahead)


def results(
    pool: Executor, make: Callable[[_In], _Out], items: Iterable[_In], ahead: int
) -> Iterator[_Out]:
    """Yield ``make(item)`` for each item in turn, made by a pool, which ends with the last of them.

    The arguments are those of :func:`made_ahead`.
    """
    waiting: deque[Future[_Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the rest is not wanted any more
        pool.shutdown(cancel_futures=True)
