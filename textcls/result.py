"""The result of a run: the test of its best weights, and what is written and shown of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
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
from textcls.corpus.splits import SPLITS
from textcls.data.bags import Bags
from textcls.data.prepare import Prepared
from textcls.files import FINISHED, whole_file, write_whole
from textcls.fitting import Trained
from textcls.model.card import model_card, of_run
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.folder import CARD
from textcls.report.calibration import diagram
from textcls.report.scores import drawn, shown
from textcls.task.base import Task
from textcls.task.names import are_of_several
from textcls.training.tracking import Tracker

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
    """
    names, model, bags = prepared.label_names, trained.model, trained.prepared.test
    task, logits = trained.task, logits_of(model, bags)
    test = task.metrics(logits, bags.targets, names)
    metrics: dict[str, Any] = {
        "test": test,
        "validation": trained.validation,
        "chosen": chosen,
        "fitted_on": trained.fitted_on,
        "temperature": trained.temperature,
        "ensemble": config.trainer.ensemble,
        "train_seconds": trained.seconds,
        "prepare_seconds": prepare_seconds,
        "tokens_per_second": trained.tokens_per_second,
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "test_set": prepared.test_set,
    }
    _save_predictions(folder / "predictions.safetensors", task, logits, bags)
    title = f"{config.data.name}, test"
    found = task.reliability(logits, bags.targets)
    name, figure = drawn(test, title)
    calibration = diagram(found, title, task.several)
    pictures = {
        name: _pixels(picture, folder / f"{name}.png")
        for name, picture in ((name, figure), ("calibration", calibration))
    }
    rows, tokens = _frequent_tokens(trained.prepared, model)
    tracker.finish(
        hparams=_hparams(config, swept),
        test=test,
        probabilities=task.probabilities(logits).numpy(),
        targets=bags.targets,
        pictures=pictures,
        tokens=tokens,
        embeddings=rows,
    )
    _write_card(config, prepared, report, metrics, folder, swept)
    # The last thing written: where it is there, the run is finished.
    lines = json.dumps(metrics, ensure_ascii=False, indent=1)
    write_whole(folder / FINISHED, lines, synced=True)
    return metrics


def _pixels(figure: Figure, path: Path) -> npt.NDArray[np.uint8]:
    """Write a picture and return its pixels, uint8 ``[height, width, 3]``.

    To draw it again, for TensorBoard, would take longer than most trainings of few rows.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[:, :, :3]  # type: ignore[no-untyped-call]
    imsave(path, pixels, dpi=figure.dpi)
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
    write_whole(folder / "model" / CARD, card)


def _save_predictions(path: Path, task: Task, logits: Tensor, test: Bags) -> None:
    """Write what the model said of each row of the test split, for :mod:`textcls.report`.

    ``labels`` and ``predictions``, int32 ``[num_bags]``; ``confidence``, float32 ``[num_bags]``,
    the probability of what was predicted; ``losses``, float32 ``[num_bags]``, in nats; ``lengths``,
    int32 ``[num_bags]``, tokens by bag. Where a row may have several labels, ``labels`` and
    ``predictions`` are those of one row after another, parted by ``label_offsets`` and
    ``prediction_offsets``, int64 ``[num_bags + 1]``, and there is no ``confidence``.
    """
    probabilities = task.probabilities(logits)
    found = task.decided(probabilities)
    columns = {
        "labels": test.labels.int().cpu(),
        "predictions": found.ids.int(),
        "losses": task.losses(logits, test.targets),
        "lengths": test.lengths.int().cpu(),
    }
    if test.label_offsets is None or found.offsets is None:
        columns["confidence"] = probabilities.amax(1)
    else:
        columns |= {"label_offsets": test.label_offsets, "prediction_offsets": found.offsets}
    with whole_file(path) as scratch:
        safetensors.torch.save_file(columns, scratch)


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
        leaning = (pooled @ model.linear.weight.T).argmax(1).tolist()
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
        "trainer": ("epochs", "batch_size", "class_weights", "label_smoothing"),
    }
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
