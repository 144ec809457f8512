"""A learning curve from beginning to end: read, train on each subset, forecast, show, write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from textcls.config import Config
from textcls.corpus.corpus import Source
from textcls.curve.design import FEWEST, num_draws, sizes_of
from textcls.curve.display import LearningCurve, in_percent
from textcls.curve.measuring import Point, Subsets
from textcls.errors import InputError, Interrupted
from textcls.files import whole_file, write_whole
from textcls.run import set_up
from textcls.run_log import faults_told, log_to

log = logging.getLogger("textcls")


def check(config: Config) -> None:
    """Refuse options that make no sense in a learning curve.

    Raises:
        InputError: there is one.
    """
    trainer = config.trainer
    for key, given, why in (
        ("init_from", config.init_from, "what that model has learned from is in no subset"),
        ("trainer.overfit", trainer.overfit, "it measures on the rows that it learns from"),
        ("trainer.profile", trainer.profile or None, "it traces one training"),
    ):
        if given is not None:
            raise InputError(f"{key}={given}: is not for a learning curve, {why}: leave it out")
    set_up(config)


def learn(config: Config, folder: Callable[[], Path], console: Console) -> None:
    """Measure the learning curve of a corpus; show it, and write it into a folder.

    The largest subsets come first: a mistake is found at once, and the rest of the time is known.

    Args:
        config: as of a run.
        folder: names the folder, once there is something to write: ``curve.json``, ``curve.csv``,
            ``curve.png`` and ``curve.log``.
        console: where table and progress go.

    Raises:
        InputError: configuration or data are at fault.
        TextclsError: a training failed.
        Interrupted: a signal came; what was measured until then is written.
    """
    check(config)
    corpus = Source(config.data, tested=False).read()
    subsets = Subsets(config, corpus)
    sizes = sizes_of(subsets.num_rows, subsets.num_classes)
    if len(sizes) < 2:
        least = 2 * max(FEWEST, subsets.num_classes)
        raise InputError(
            f"{subsets.where}: {subsets.num_rows:,} rows of train are too few for a learning "
            f"curve: it takes {least} or more, where there are {subsets.num_classes} classes"
        )
    out = folder()
    out.mkdir(parents=True, exist_ok=True)
    points: list[Point] = []

    def curve() -> LearningCurve:
        return LearningCurve(
            points, config.data.name, subsets.metric, subsets.names, sizes[-1], subsets.num_held
        )

    with log_to(out / "curve.log", None), faults_told():
        try:
            _measure(subsets, sizes, points, console)
        except Interrupted as stopped:
            if not points:
                raise
            _write(curve(), out)
            total = sum(map(num_draws, sizes))
            message = f"{stopped}: {len(points)} of {total} trainings are in {out}"
            raise Interrupted(stopped.signum, message) from None
        found = curve()
        _write(found, out)
        console.print(found.table())
        for sentence in found.sentences():
            log.info(sentence)
            console.print(Text(sentence), soft_wrap=True)
        console.print(Text(f"picture      {out / 'curve.png'}"), soft_wrap=True)


def _measure(subsets: Subsets, sizes: list[int], points: list[Point], console: Console) -> None:
    """Train on all subsets, and add to the points on the way."""
    total = sum(size * num_draws(size) for size in sizes)
    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=20), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as live:  # fmt: skip
        task = live.add_task("", total=total)
        for size in reversed(sizes):
            for draw in range(num_draws(size)):
                live.update(task, description=f"{size:,} rows, draw {draw + 1}/{num_draws(size)}")
                try:
                    points.append(subsets.measure(size, draw))
                except InputError as error:
                    if not points:
                        raise
                    # What so few rows lack, fewer will as well.
                    line = f"warning: {size:,} rows and fewer are left out: {error}"
                    console.print(Text(line, style="yellow"), soft_wrap=True)
                    points[:] = [one for one in points if one.rows != size]
                    return
                live.advance(task, size)
            scores = [one.score for one in points if one.rows == size]
            line = f"{size:>9,} rows: {subsets.names[subsets.metric]} {in_percent(scores)} %"
            console.print(Text(line), soft_wrap=True)


def _write(curve: LearningCurve, out: Path) -> None:
    write_whole(out / "curve.csv", curve.as_csv())
    write_whole(out / "curve.json", curve.as_json())
    with whole_file(out / "curve.png") as scratch:
        curve.picture().savefig(scratch, format="png")
