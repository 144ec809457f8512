"""What is killed: five kinds of work, how each begins, and how a user goes on after a kill."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from benchmarks.corpora import PROJECT
from benchmarks.kills.processes import Command
from textcls import cli
from textcls.app.single import configure
from textcls.run_corpus import corpus

# Rows of the demo corpus that are trained on, so that a training takes seconds; that are prepared,
# the same ones over and over; and of each file to label.
TRAINED, PREPARED, LABELLED, FILES = 1_500, 40_000, 20_000, 6
ENSEMBLE = ["trainer.ensemble=2", "trainer.epochs=4"]


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    Attributes:
        name: of it.
        begin: the arguments of ``textcls`` that begin it, in an empty folder.
        again: those that go on with it, where there is ``record``; else it begins again.
        record: a file.
    """

    name: str
    begin: tuple[str, ...]
    again: tuple[str, ...]
    record: str

    def command(self, work: Path) -> Command:
        """Return what is to be done next in a folder: the first command, or what goes on."""
        arguments = self.again if (work / self.record).exists() else self.begin
        if self.name == "preparation":
            return lambda: prepare(arguments)
        return lambda: cli.main(arguments)


def kinds(inputs: Path, options: Sequence[str]) -> list[Kind]:
    """Return the kinds of work on the files of :func:`write_inputs`.

    Args:
        inputs: their folder.
        options: of ``textcls train``, for all but scoring.
    """
    given = [f"data.train={inputs / 'few.csv'}", "cache_dir=cache", "trainer.num_threads=1"]
    given += options
    train, model = ["train", *given], str(inputs / "run")
    # All combinations are tried, and none is pruned before its only epoch has ended, so that the
    # order in which they come changes nothing.
    space = "tune.space={model: {mode: [sqrtn, mean]}, optimizer: {lr: [0.5, 1.0]}}"
    search = ["tune=default", "~tune.space", f"+{space}", "trainer.monitor=loss"]
    label = ("predict", model, f"{inputs}/shards/*.parquet", "--out", "out/", "--processes", "2")
    return [
        Kind("training", (*train, *ENSEMBLE, "run_dir=run"), ("train", "resume=run"),
             "run/config.yaml"),
        Kind("sweep", (*train, "-m", "model.mode=sqrtn,mean,max", "run_dir=sweep",
             "trainer.epochs=2"), ("train", "resume=sweep"), "sweep/multirun.yaml"),
        Kind("search", (*train, *search, "trainer.epochs=1", "run_dir=search"),
             ("train", "resume=search"), "search/tune.yaml"),
        Kind("preparation", (f"data.train={inputs / 'many.csv'}", "cache_dir=cache", *options),
             (), "none"),
        Kind("scoring", label, label, "out"),
    ]  # fmt: skip


def prepare(arguments: Sequence[str]) -> int:
    """Fill the cache as a run does, without training: train alone, and with validation."""
    config = configure(arguments, "train")
    assert config is not None
    corpus(config)
    corpus(config, joined=True)
    return 0


def write_inputs(folder: Path) -> Command:
    """Write the files to train on and to label; return what trains the model that labels."""
    with (PROJECT / "data" / "reviews" / "train.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for name, count in (("few.csv", TRAINED), ("many.csv", PREPARED)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for number in range(count):
                text, label = rows[number % len(rows)]
                writer.writerow([f"{text} {number // len(rows)}", label])

    def train() -> int:
        _write_shards(folder / "shards", [text for text, _ in rows])
        given = [f"data.train={folder / 'few.csv'}", "cache_dir=cache", f"run_dir={folder / 'run'}"]
        return cli.main(["train", *given, "trainer.num_threads=1"])

    return train


def _write_shards(folder: Path, texts: list[str]) -> None:
    os.makedirs(folder)
    for number in range(FILES):
        some = [texts[(number + i) % len(texts)] for i in range(LABELLED)]
        table = pa.table({"id": range(number * LABELLED, (number + 1) * LABELLED), "text": some})
        parquet.write_table(table, folder / f"{number}.parquet")
