"""What training by several processes costs and gains: ``python -m benchmarks.several_processes``.

Trains on a corpus in the cache (AG News) as one process with one thread and with two, and as two
processes with a thread each, which share the rows of a batch or the columns of the table; for a
table of class scores and for wide ones. Writes a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import torch

from benchmarks.peers.ours import configure
from textcls.defaults import resolve
from textcls.distributed import Team, joined, place
from textcls.run_corpus import corpus
from textcls.training.by_columns import ByColumns
from textcls.training.by_rows import ByRows
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.tracking import Listener
from textcls.trainings import build

# By name, what the command line says beside the corpus.
SETTINGS = {
    "class scores, 4 columns": [],
    "16 columns": ["model.dim=16"],
    "64 columns": ["model.dim=64"],
    "256 columns": ["model.dim=256"],
    "1,024 columns": ["model.dim=1024"],
}
# Processes, threads of each, and what they share.
WAYS = ((1, 1, ""), (1, 2, ""), (2, 1, "data"), (2, 1, "columns"))


class _Clock(Listener):
    """Stops a training after some steps; knows when each ended, and what was sent until then."""

    def __init__(self, steps: int, team: Team | None) -> None:
        self.steps, self.team = steps, team
        self.ends: list[float] = []
        self.sent: list[int] = []

    def step(self, *_: object) -> None:
        """See :meth:`Listener.step`."""
        self.ends.append(time.perf_counter())
        self.sent.append(0 if self.team is None else self.team.sent)
        if len(self.ends) == self.steps:
            raise _EnoughError


class _EnoughError(Exception):
    pass


def measure(options: Sequence[str], steps: int, shared: str) -> dict[str, float]:
    """Return milliseconds, and bytes that this process sends, a step."""
    config = configure(["trainer.epochs=99", "trainer.num_threads=null", *options])
    prepared = corpus(config)
    config = resolve(config, prepared.about)
    here, cpu = place(), torch.device("cpu")
    with nullcontext() if here is None else joined(here, cpu) as team:
        clock, together = _Clock(steps, team), None
        if team is not None:
            together = ByRows(team) if shared == "data" else ByColumns(team, cpu)
        model = build(config, prepared, cpu)
        with suppress(_EnoughError):
            fit(
                model, prepared.train, None, prepared.label_names, config, Checkpoints(), clock,
                None, together,
            )  # fmt: skip
    # Batches are made in groups, which some steps wait for: means of many, not medians.
    first = steps // 5
    return {
        "milliseconds": 1000 * (clock.ends[-1] - clock.ends[first]) / (steps - 1 - first),
        "bytes": (clock.sent[-1] - clock.sent[first]) / (steps - 1 - first),
    }


def launched(given: Sequence[str], processes: int, threads: int) -> dict[str, float]:
    """Return what the first of some processes measures."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if processes > 1:
            env |= {"RANK": str(rank), "WORLD_SIZE": str(processes)}
            env |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        command = [sys.executable, "-m", "benchmarks.several_processes", *given]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    output, *_ = [process.communicate()[0] for process in started]
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Measure all, or as one of the processes one thing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="options of the corpus: data.train=… cache_dir=…")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help="what a single process measures")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.data, arguments.steps, arguments.one)))
        return
    print("| table | processes × threads | shared | ms a step | bytes a step and process |")
    print("|---|---|---|---|---|")
    for name, options in SETTINGS.items():
        for processes, threads, shared in WAYS:
            given = [*arguments.data, *options, "--steps", str(arguments.steps), "--one", shared]
            found = [launched(given, processes, threads) for _ in range(arguments.repeats)]
            took = statistics.median(one["milliseconds"] for one in found)
            sent = f"{found[0]['bytes']:,.0f}" if processes > 1 else ""
            print(
                f"| {name} | {processes} × {threads} | {shared} | {took:.2f} | {sent} |", flush=True
            )


if __name__ == "__main__":
    main()
