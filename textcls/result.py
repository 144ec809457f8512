"""The result of a run: the test of its best weights, and what is written and shown of it."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from rich.console import Console
from rich.text import Text
from torch import Tensor

from textcls.config import Config
from textcls.continuing import Start
from textcls.corpus.splits import SPLITS
from textcls.data.prepare import Prepared
from textcls.data.sharded import Split
from textcls.data.targets import Targets
from textcls.errors import Interrupted, first_line
from textcls.files import FINISHED, whole_file, write_whole
from textcls.fitting import Trained
from textcls.model.card import model_card, of_run
from textcls.model.embedding_bag import EmbeddingBagClassifier, scores_of
from textcls.model.folder import CARD
from textcls.report.calibration import diagram
from textcls.report.scores import drawn, shown
from textcls.task.assessment import Assessment
from textcls.task.base import Task
from textcls.task.names import are_of_several
from textcls.task.scores import SAMPLED, Scores
from textcls.training.signals import deferred
from textcls.training.tracking import MAX_CHARTED_CLASSES, Tracker

log = logging.getLogger("textcls")

# Tokens shown in TensorBoard's projector: as many as a browser turns smoothly.
PROJECTED_TOKENS = 2_000


def write_result(
    config: Config,
    chosen: Mapping[str, Any],
    prepared: Prepared,
    report: str,
    trained: Trained,
    prepare_seconds: float,
    tracker: Tracker,
    folder: Path,
    swept: Mapping[str, str],
    start: Start | None,
) -> dict[str, Any]:
    """Test a model, once, and write all that is known of its run; return ``metrics.json``.

    Args:
        config: of the run.
        chosen: values by key that it was left to the corpus to give.
        prepared: its corpus.
        report: what was read, as Markdown.
        trained: its model.
        prepare_seconds: spent on preparing.
        tracker: of the run.
        folder: of the run.
        swept: values by key that this run has apart from the others of its sweep.
        start: the model that it started from, if it did.
    """
    names, model, bags = prepared.label_names, trained.model, trained.prepared.test
    task, scores = trained.task, scores_of(model, bags)
    found = task.assess(scores, bags.targets, names)
    test = found.metrics
    metrics: dict[str, Any] = {
        "test": test,
        "validation": trained.validation,
        "chosen": chosen,
        "fitted_on": trained.fitted_on,
        "temperature": trained.temperature,
        "ensemble": config.trainer.ensemble,
        "init_from": None if start is None else start.about(),
        "train_seconds": trained.seconds,
        "prepare_seconds": prepare_seconds,
        "tokens_per_second": trained.tokens_per_second,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "test_set": prepared.test_set,
    }
    _save_predictions(folder / "predictions.safetensors", found, bags)
    _write_card(config, prepared, report, metrics, folder, swept)
    tracker.settle()
    # Where it is there, the run is finished: what follows can be lost, the training cannot.
    lines = json.dumps(metrics, ensure_ascii=False, indent=1)
    write_whole(folder / FINISHED, lines, synced=True)
    remove_checkpoints(folder)
    with deferred() as received:  # seconds at most, which nothing would make up for
        _show(config, trained, scores, found, tracker, folder, swept)
    if received.signum is not None:
        raise Interrupted(received.signum)
    return metrics


def remove_checkpoints(folder: Path) -> None:
    """Remove what a finished run would go on from: often most of what its folder holds."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _show(
    config: Config,
    trained: Trained,
    scores: Scores,
    found: Assessment,
    tracker: Tracker,
    folder: Path,
    swept: Mapping[str, str],
) -> None:
    """Draw the result of a run, and add it to TensorBoard: each part, or a warning in its place."""
    names, task, targets = trained.prepared.label_names, trained.task, trained.prepared.test.targets
    title = f"{config.data.name}, test"
    with _spared("TensorBoard's table of settings"):
        tracker.finish(_hparams(config, swept), found.metrics)

    def draw(name: str, figure: Figure) -> None:
        tracker.add_picture(name, _pixels(figure, folder / f"{name}.png"))

    with _spared("the picture of the test result"):
        draw(*drawn(found.metrics, title))
    with _spared("calibration.png"):
        draw("calibration", diagram(found.reliability, title, task.several, found.curve))
    with _spared("TensorBoard's curves of precision and recall"):
        tracker.add_curves(_curves(task, scores, targets, names))
    with _spared("TensorBoard's projector"):
        tracker.add_tokens(*_frequent_tokens(trained.prepared, trained.model))


@contextlib.contextmanager
def _spared(what: str) -> Iterator[None]:
    """Let a part that is only looked at fail alone, whatever it fails of: memory, a full disk."""
    try:
        yield
    except Exception as error:
        log.warning("%s: is left out (%s)", what, first_line(error))


def _pixels(figure: Figure, path: Path) -> npt.NDArray[np.uint8]:
    """Write a picture and return its pixels, uint8 ``[height, width, 3]``.

    To draw it again, for TensorBoard, would take longer than most trainings of few rows.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[:, :, :3]  # type: ignore[no-untyped-call]
    with whole_file(path) as scratch:
        imsave(scratch, pixels, dpi=figure.dpi, format="png")
    return pixels


def _write_card(
    config: Config,
    prepared: Prepared,
    report: str,
    metrics: dict[str, Any],
    folder: Path,
    swept: Mapping[str, str],
) -> None:
    """Write the model card beside the weights."""
    there = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    rows = {split: len(getattr(prepared, split)) for split in SPLITS}
    card = model_card(
        f"{config.data.name}, {config.model.mode} pooling",
        config.model.mode,
        prepared.label_names,
        _hparams(config, swept),
        of_run(config, metrics, there, rows, report),
        several=are_of_several(metrics["test"]),
    )
    write_whole(folder / "model" / CARD, card, synced=True)


def _curves(
    task: Task, scores: Scores, targets: Targets, names: Sequence[str]
) -> dict[str, tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]]:
    """Return which rows have a class and how probable it is, ``[num_bags]``, by its name.

    The classes with most rows, and no more than can be looked at. Where all probabilities are more
    than can be held at once, there are none: a class has too few of these rows.
    """
    if scores.num_bags * scores.num_classes > SAMPLED:
        return {}
    (logits, _) = scores.sample(targets)
    probabilities, targets = task.probabilities(logits).numpy(), targets.hard()
    ids, rows = targets.ids.numpy(), targets.bags.numpy()
    frequent = np.argsort(-np.bincount(ids, minlength=len(names)), kind="stable")
    curves = {}
    for index in frequent[:MAX_CHARTED_CLASSES].tolist():
        has = np.zeros(len(probabilities), np.bool_)
        has[rows[ids == index]] = True
        curves[names[index]] = has, probabilities[:, index]
    return curves


def _save_predictions(path: Path, found: Assessment, test: Split) -> None:
    """Write what the model said of each row of the test split, for :mod:`textcls.report`.

    ``labels`` and ``predictions``, int32 ``[num_bags]``; ``confidence``, float32 ``[num_bags]``,
    the probability of what was predicted; ``losses``, float32 ``[num_bags]``, in nats; ``lengths``,
    int32 ``[num_bags]``, tokens by bag. Where a row may have several labels, ``labels`` and
    ``predictions`` are those of one row after another, parted by ``label_offsets`` and
    ``prediction_offsets``, int64 ``[num_bags + 1]``, and there is no ``confidence``. Where labels
    are probabilities, ``labels`` are the most probable ones.
    """
    labels = test.targets.hard()
    columns = {
        "labels": labels.ids.int().cpu(),
        "predictions": found.decided.ids.int(),
        "losses": found.losses,
        "lengths": test.lengths.int().cpu(),
        "confidence": found.confidence,
        "label_offsets": labels.offsets,
        "prediction_offsets": found.decided.offsets,
    }
    there = {name: column for name, column in columns.items() if column is not None}
    with whole_file(path, synced=True) as scratch:
        safetensors.torch.save_file(there, scratch)


def _frequent_tokens(
    prepared: Prepared, model: EmbeddingBagClassifier
) -> tuple[Tensor, list[tuple[str, str, str]]]:
    """Return the embeddings of the most frequent tokens, and what the projector says of each."""
    vocabulary = prepared.encoder.vocabulary
    first = len(vocabulary.specials)
    ids = range(first, min(first + PROJECTED_TOKENS, len(vocabulary)))
    # A bag of one token pools to its row (times its weight), once for each of the poolings.
    device = model.linear.weight.device
    indices = torch.arange(first, ids.stop, dtype=torch.int32, device=device)
    with torch.inference_mode():
        pooled = model.embed(indices, torch.arange(len(ids) + 1, device=device))
        parts = torch.split(pooled, max(1, SAMPLED // model.linear.out_features))
        leaning = torch.cat([(part @ model.linear.weight.T).argmax(1) for part in parts]).tolist()
    rows = pooled[:, : model.embedding.embedding_dim]
    tokens = vocabulary.tokens.slice(first, len(ids)).to_pylist()
    return rows.cpu(), [
        # The projector's table is split at tabs and line breaks.
        (" ".join(token.split()) or "(space)", str(vocabulary.counts[i]), prepared.label_names[k])
        for i, token, k in zip(ids, tokens, leaning, strict=True)
    ]


def _hparams(config: Config, swept: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that runs of a study differ in, by their name on the command line."""
    shown = {
        "data": ("name",),
        "tokenizer": ("name", "min_freq", "max_size", "max_tokens", "ngrams", "buckets"),
        "model": ("mode", "dim", "dropout"),
        "optimizer": ("name", "lr", "weight_decay"),
        "schedule": ("name",),
        "trainer": (
            "epochs", "batch_size", "class_weights", "label_smoothing", "focal", "logit_adjustment",
            "ordinal",
        ),
    }  # fmt: skip
    values = {
        f"{group}.{key}": value
        for group, keys in shown.items()
        for key in keys
        if (value := getattr(getattr(config, group), key)) is not None
    }
    return dict(swept) | values | {"seed": config.seed}


def show_result(metrics: dict[str, Any], folder: Path, console: Console) -> None:
    """Show a finished run on the console: its scores, and what to do with it next."""
    console.print(shown(metrics["test"]))
    for line in (
        f"run folder   {folder}",
        f"TensorBoard  tensorboard --logdir {shlex.quote(str(folder.parent))}",
        f"on new texts textcls predict {shlex.quote(str(folder))} texts.csv",
        f"in Python    textcls.Classifier.load({str(folder)!r}).predict([...])",
    ):
        console.print(Text(line), soft_wrap=True)
