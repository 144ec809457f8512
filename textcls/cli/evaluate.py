"""``textcls evaluate``: the scores of a model on a labelled file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from textcls.cli.options import ABSTAIN, DEVICE, MODEL, with_reading
from textcls.cli.shared import labelled_bags, limit_of, load, taken_in_words
from textcls.errors import InputError


@click.command()
@MODEL
@click.argument("files", nargs=-1, required=True, metavar="FILE", type=click.Path())
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for metrics.json and a picture.",
)
@ABSTAIN
@with_reading(labelled=True)
@DEVICE
def evaluate(
    model: Path,
    files: tuple[str, ...],
    out: Path | None,
    abstain: float | None,
    given: dict[str, Any],
    device: str,
) -> None:
    """Score a model on a labelled file.

    Shows precision, recall and F1 by class and the confusion matrix; where texts have several
    labels, those of the most frequent and the worst labels. FILE is csv, tsv, json, jsonl, parquet
    or fastText's .txt (__label__x text), compressed or not, a quoted pattern of several, or a
    folder of datasets' save_to_disk.
    """
    if len(files) > 1:
        raise InputError("name one FILE, or several by a pattern in quotes: 'data/*.csv'")
    if out is not None and any((out / name).exists() for name in ("config.yaml", "config.json")):
        raise InputError(f"--out {out}: is a run or a model: name another folder")
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is no folder")
    classifier = load(model, device)
    limit = None if abstain is None else limit_of(classifier, abstain)
    bags, where = labelled_bags(classifier, files[0], given)
    from rich.console import Console

    from textcls.files import write_whole
    from textcls.model.embedding_bag import scores_of
    from textcls.report.scores import drawn, shown
    from textcls.task.tasks import task_on

    scores, task = scores_of(classifier.parts.model, bags), task_on(classifier.task, bags)
    assessed = task.assess(scores, bags.targets, classifier.label_names)
    metrics = assessed.metrics
    Console().print(shown(metrics, Path(where).name))
    if limit is not None and assessed.curve is not None:
        reached = assessed.curve.at(limit.confidence)
        here, there = taken_in_words(reached), taken_in_words(limit)
        click.echo(f"--abstain {abstain:g}: of {Path(where).name} {here}; of validation {there}")
        metrics = {"abstain": {"asked": abstain, **dataclasses.asdict(reached)}} | metrics
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        found = {"model": str(model), "file": where, "rows": len(bags)} | metrics
        write_whole(out / "metrics.json", json.dumps(found, ensure_ascii=False, indent=1))
        name, figure = drawn(metrics, Path(where).name)
        figure.savefig(out / f"{name}.png")
        click.echo(f"written to {out}: metrics.json, {name}.png")
