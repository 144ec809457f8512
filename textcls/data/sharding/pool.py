"""Processes that do one piece of a preparation each."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from textcls.errors import TextclsError
from textcls.threads import results, take_one_cpu

log = logging.getLogger("textcls")

_In = TypeVar("_In")
_Out = TypeVar("_Out")


# So often it is logged how far a long step has come, in seconds.
_EVERY = 30.0


class Log:
    """Logs how far a step has come, now and then, so that a short one says nothing."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        """Log a line, unless another was logged a moment ago."""
        if time.monotonic() >= self._said + _EVERY:
            log.info(line)
            self._said = time.monotonic()


def _begin(parent: int) -> None:
    """Let this process compute with one thread, and end when its parent does."""
    take_one_cpu()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)  # killed, it closes no queue that others wait at


def done_by_processes(
    do: Callable[[_In], _Out], jobs: Iterable[_In], processes: int
) -> Iterator[_Out]:
    """Yield ``do(job)`` for each job in turn: here, or in processes.

    Args:
        do: a function of a module; what it raises is raised here.
        jobs: its arguments; each is asked for only when a process is free for it.
        processes: how many; 1: this one.

    Raises:
        TextclsError: a process was killed.
    """
    if processes == 1:
        yield from map(do, jobs)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _begin, (os.getpid(),))
    try:
        yield from results(pool, do, jobs, processes)
    except BrokenProcessPool:
        raise TextclsError(
            "a process of the preparation was killed, perhaps since memory ran out: what is done "
            "is kept; set trainer.max_memory to less, and run the same command again"
        ) from None
