"""A command and all processes below it: what they use, and how some of them are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_TICK = 0.2
# Memory that is a process's own is dear to ask for.
_TICKS_OF_MEMORY = 10


@dataclass
class Usage:
    """What commands and the processes below them used.

    Attributes:
        seconds: by the clock.
        cpu: seconds of the processor, of each process by id and start, as last seen.
        own: seconds since the start, and the most megabytes that a worker had for itself then.
        killed: workers.
        commands: that were started.
    """

    seconds: float = 0.0
    cpu: dict[tuple[int, float], float] = field(default_factory=dict)
    own: list[tuple[float, float]] = field(default_factory=list)
    killed: int = 0
    commands: int = 0

    def look(self, processes: list[psutil.Process]) -> None:
        """Note what processes have used so far."""
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self.cpu[process.pid, process.create_time()] = times.user + times.system

    def look_at_memory(self, workers: list[psutil.Process], seconds: float) -> None:
        """Note what workers have for themselves."""
        most = 0.0
        for worker in workers:
            with contextlib.suppress(psutil.Error):
                most = max(most, worker.memory_full_info().uss / 1e6)
        if most:
            self.own.append((round(seconds, 1), round(most, 1)))


def watch(
    command: list[str],
    folder: Path,
    variables: dict[str, str],
    is_worker: Callable[[psutil.Process], bool],
    usage: Usage,
    kills: Iterator[tuple[float, bool]],
    log: Path,
) -> int:
    """Run a command to its end, or until it is killed; return its exit status.

    Args:
        command: what to run.
        folder: where.
        variables: its environment.
        is_worker: whether a process below it is one of those that label.
        usage: is added to.
        kills: after how many more seconds of work something is killed, and whether that is all of
            the command; else it is a worker, another each time.
        log: what it prints is added to it.
    """
    began, usage.commands = time.perf_counter(), usage.commands + 1
    with log.open("ab") as file:
        child = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=file, stderr=file, start_new_session=True
        )
    root, tick, kill = psutil.Process(child.pid), 0, next(kills, None)
    left = kill[0] if kill else 0.0
    try:
        while child.poll() is None:
            processes = [root, *_below(root)]
            usage.look(processes)
            workers = [one for one in processes[1:] if _holds(is_worker, one)]
            if tick % _TICKS_OF_MEMORY == 0:
                usage.look_at_memory(workers, usage.seconds + time.perf_counter() - began)
            if workers:  # else nothing is labelled yet
                left -= _TICK
            if kill and workers and left <= 0:
                if kill[1]:
                    break
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers[usage.killed % len(workers)].kill()
                    usage.killed += 1
                kill = next(kills, None)
                left = kill[0] if kill else 0.0
            tick += 1
            time.sleep(_TICK)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        status = child.wait()
        usage.seconds += time.perf_counter() - began
    return status


def _below(root: psutil.Process) -> list[psutil.Process]:
    try:
        below: list[psutil.Process] = root.children(recursive=True)
    except psutil.NoSuchProcess:  # it ended just now
        return []
    return below


def _holds(is_worker: Callable[[psutil.Process], bool], process: psutil.Process) -> bool:
    try:
        return is_worker(process)
    except psutil.Error:  # it is gone
        return False
