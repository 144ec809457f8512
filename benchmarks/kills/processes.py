"""Commands in processes of their own, which one signal ends with all that they have started."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from textcls.training import checkpoint

# What a command is: it has a status.
Command = Callable[[], int]
_POLL_SECONDS = 0.002


class Process:
    """A command in a group of processes of its own.

    It is forked from this process, which has imported what it needs: of a second, most would be
    imports, and most kills would strike these. So this process must not compute with torch.

    Args:
        command: to do.
        folder: its working directory.
        log: gets what it prints.
    """

    def __init__(self, command: Command, folder: Path, log: Path) -> None:
        self._pid = os.fork()
        if not self._pid:
            _do(command, folder, log)

    def ends_within(self, seconds: float) -> int | None:
        """Return the status of the command once it has ended; None if it has not by then."""
        until = time.perf_counter() + seconds
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.perf_counter() >= until:
                return None
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """Kill the command and all processes that it has started."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _do(command: Command, folder: Path, log: Path) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        with log.open("ab") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
        # A checkpoint at each epoch, as a long training has them, for kills to strike.
        checkpoint.SAVE_AFTER, checkpoint.SAVE_EVERY = 0.0, 0
        status = command()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
