"""Processes that label files: each file whole, none lost or doubled, whatever becomes of them."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from textcls.arrow import release_memory
from textcls.errors import Interrupted, status_and_reason
from textcls.files import remove_scratch
from textcls.naming import command_names
from textcls.scoring.files import Done, FileScorer
from textcls.scoring.shards import Shard
from textcls.threads import take_one_cpu
from textcls.training.signals import raising

# Of a file whose worker is killed: it may be the file that takes the memory of the machine.
_TRIES = 2
# Seconds in which a worker ends that is told to, and after which an idle one looks for its parent.
_PATIENCE = 5.0


@dataclass
class _Worker:
    process: BaseProcess
    link: Connection
    shard: Shard
    rows: int = 0  # of the shard, so far


class Workers:
    """Processes, each with one thread, that label files one after another.

    On Linux they are forked from this one and share its model, all of it; elsewhere, and where it
    is on a GPU, each loads its own, whose embedding table may be shared: see
    :class:`~textcls.scoring.scorer.Scorer`.

    Args:
        files: labels a file. Its model is loaded here first, unless it is.
        count: how many processes.
        rows: is told of so many more rows as they are written; of fewer, where a worker was killed
            and its file is done again.
        end: is told of a shard that is done with, and what is wrong with it, None if nothing is.
        again: is told of a shard that is done again, and why.

    Attributes:
        done: what became of the texts of all files that could be labelled.
    """

    def __init__(
        self,
        files: FileScorer,
        count: int,
        rows: Callable[[int], object],
        end: Callable[[Shard, str | None], object],
        again: Callable[[Shard, str], object],
    ) -> None:
        self.done = Done()
        self._files, self._count = files, count
        self._rows, self._end, self._again = rows, end, again
        is_forked = sys.platform == "linux" and device_of(files) == "cpu"
        self._context: Any = multiprocessing.get_context("fork" if is_forked else "spawn")
        self._workers: dict[Connection, _Worker] = {}

    def run(self, shards: Sequence[Shard]) -> None:
        """Label files; leaving by an exception ends the workers and leaves whole files only."""
        waiting, tries = deque(shards), Counter[Shard]()
        _make_shareable()
        try:
            while waiting or self._workers:
                while waiting and len(self._workers) < self._count:
                    self._start(waiting.popleft())
                for link in wait(list(self._workers)):
                    worker = self._workers[link]  # type: ignore[index]
                    try:
                        said = worker.link.recv()
                    except (EOFError, OSError):
                        reason = self._bury(worker)
                        tries[worker.shard] += 1
                        if tries[worker.shard] < _TRIES:
                            self._again(worker.shard, reason)
                            waiting.append(worker.shard)
                        else:
                            self._end(worker.shard, f"its worker {reason}, {_TRIES} times")
                        continue
                    if isinstance(said, int):
                        worker.rows += said
                        self._rows(said)
                        continue
                    if isinstance(said, Done):
                        self.done.add(said)
                    self._end(worker.shard, said if isinstance(said, str) else None)
                    self._give(worker, waiting.popleft() if waiting else None)
        finally:
            self._stop()
            gc.unfreeze()

    def _start(self, shard: Shard) -> None:
        link, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._files, os.getpid()), daemon=True
        )
        process.start()
        theirs.close()  # so that this end closes with the worker
        self._workers[link] = worker = _Worker(process, link, shard)
        self._give(worker, shard)

    def _give(self, worker: _Worker, shard: Shard | None) -> None:
        """Send a worker its next file, or home."""
        with contextlib.suppress(OSError):  # it was killed, as reading from the link will show
            worker.link.send(shard)
        if shard is None:
            del self._workers[worker.link]
            worker.process.join()
            worker.link.close()
        else:
            worker.shard, worker.rows = shard, 0

    def _bury(self, worker: _Worker) -> str:
        """Remove what a dead worker left; return how it ended."""
        del self._workers[worker.link]
        worker.link.close()
        worker.process.join()
        self._rows(-worker.rows)
        remove_scratch([worker.shard.target])
        code = worker.process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def _stop(self) -> None:
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()
        remove_scratch(worker.shard.target for worker in self._workers.values())


def _make_shareable() -> None:
    """Prepare this process to be forked: what no process writes to is there once."""
    with contextlib.suppress(ImportError):  # which pyarrow would do in each, for its first array
        import pandas  # noqa: F401
    release_memory()  # each would fill what is free here with its own
    gc.collect()
    gc.freeze()  # a collector writes marks into all that it looks at


def device_of(files: FileScorer) -> str:
    """Return the kind of device that the model is on, such as ``cpu``; it is loaded for that."""
    parameters = files.scorer.classifier.parts.model.parameters()
    return next(parameters).device.type


def _work(link: Connection, files: FileScorer, parent: int) -> None:
    """Label the files that the parent names, until it names none or is gone."""

    def say(what: int | Done | str) -> None:
        # Other workers may hold copies of its end of the link, which then never closes.
        try:
            if os.getppid() == parent:
                link.send(what)
                return
        except OSError:
            pass
        raise Interrupted(signal.SIGTERM)

    take_one_cpu()
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        with command_names(), raising():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and tells
            while os.getppid() == parent:
                if not link.poll(_PATIENCE):
                    continue
                shard = link.recv()
                if shard is None:
                    return
                try:
                    shard.target.parent.mkdir(parents=True, exist_ok=True)
                    said: Done | str = files.score_whole(shard.source, shard.target, say)
                except Exception as error:
                    said = status_and_reason(error)[1]
                say(said)
    except EOFError:  # the parent is gone
        return
    except Interrupted as stopped:
        sys.exit(stopped.exit_status)
