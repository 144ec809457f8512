"""The trainings of a run: one that is measured on validation, and what is made of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textcls.config import Config, Monitor
from textcls.data.prepare import Prepared
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of, untrained
from textcls.model.folder import load_weights, save_weights
from textcls.training.checkpoint import Progress
from textcls.training.loop import fit
from textcls.training.metrics import metrics_of_logits, standard_error
from textcls.training.tracking import Tracker

log = logging.getLogger("textcls")


@dataclass(frozen=True)
class Trained:
    """What the trainings of a run came to.

    Attributes:
        model: on its device.
        prepared: what it was trained on, with its vocabulary.
        validation: metrics of the model that was measured on the validation split, which may be
            another than ``model``: see :func:`train`.
        epochs: that it was measured after.
        best_epoch: the one whose weights it has.
        fitted_on: rows of each split that ``model`` was trained on.
        seconds: spent in all trainings.
        tokens_per_second: of all of them.
    """

    model: EmbeddingBagClassifier
    prepared: Prepared
    validation: dict[str, Any]
    epochs: int
    best_epoch: int
    fitted_on: dict[str, int]
    seconds: float
    tokens_per_second: float


def refits(config: Config) -> bool:
    """Say whether the model of a run is trained on the rows of validation in the end."""
    return config.trainer.refit and not config.trainer.overfit


def train(
    config: Config,
    prepared: Prepared,
    joined: Callable[[], Prepared],
    folder: Path,
    device: torch.device,
    tracker: Tracker,
) -> Trained:
    """Train, measure on validation, and train on all rows where the configuration says so.

    Without ``trainer.refit`` the weights of the best epoch by validation are kept. With it they
    only say how long to train: see :func:`choose_epochs`. A fresh model then learns from train and
    validation together, the schedule ending at the chosen length, and keeps its last weights.

    A training that is finished already, as its checkpoint says, is not repeated.

    Args:
        config: of the run.
        prepared: its corpus.
        joined: returns the corpus with the rows of validation in train.
        folder: of the run.
        device: to train on.
        tracker: of the run.

    Raises:
        Whatever :func:`~textcls.training.loop.fit` raises.
    """
    names = prepared.label_names
    places = folder / "checkpoints"
    model = build(config, prepared, device)
    best = places / "best.safetensors"
    places.mkdir(exist_ok=True)
    progress = fit(
        model,
        prepared.train,
        prepared.validation,
        names,
        config,
        places / "last.safetensors",
        lambda: save_weights(model, best),
        tracker,
    )
    done = [progress]
    logits = logits_of(model, prepared.validation)
    if refits(config):
        epoch = choose_epochs(config.trainer.monitor, progress, logits, prepared.validation.labels)
    else:
        epoch = progress.best_epoch
        log.info(
            "trained in %.2f s; the weights of epoch %d are the best by validation %s",
            progress.seconds,
            epoch,
            config.trainer.monitor,
        )
    if epoch != progress.epoch:
        load_weights(model, best)
        logits = logits_of(model, prepared.validation)
    validation = metrics_of_logits(logits, prepared.validation.labels, names)
    fitted_on = {"train": len(prepared.train), "validation": 0}
    if refits(config):
        fitted_on["validation"] = len(prepared.validation)
        prepared = joined()
        model, last = _refit(config, prepared, epoch, places / "refit", device, tracker)
        done.append(last)
    return Trained(
        model,
        prepared,
        validation,
        progress.epoch,
        epoch,
        fitted_on,
        sum(one.seconds for one in done),
        sum(one.tokens for one in done) / sum(one.step_seconds for one in done),
    )


def choose_epochs(monitor: Monitor, progress: Progress, logits: Tensor, labels: Tensor) -> int:
    """Return for how many epochs to train on all rows.

    The last epoch of a schedule that ends at zero is mostly the best one, and which epoch a small
    validation split finds best is partly chance: so the whole schedule is kept, unless the best
    epoch is better by more than one standard error.

    Args:
        monitor: the metric that decides.
        progress: at the end of the training that was measured.
        logits: float ``[num_bags, num_classes]`` of the validation split, at its end.
        labels: int64 ``[num_bags]``.
    """
    last = metrics_of_logits(logits, labels, tuple(map(str, range(logits.shape[1]))))[monitor]
    best = last if progress.best_value is None else progress.best_value
    error = standard_error(monitor, last, logits, labels)
    chosen = progress.best_epoch if abs(best - last) > error else progress.epoch
    log.info(
        "trained on train in %.2f s; validation %s %.4f in the last epoch, %.4f in epoch %d, "
        "standard error %.4f: %d epochs",
        progress.seconds,
        monitor,
        last,
        best,
        progress.best_epoch,
        error,
        chosen,
    )
    return chosen


def _refit(
    config: Config,
    prepared: Prepared,
    epochs: int,
    place: Path,
    device: torch.device,
    tracker: Tracker,
) -> tuple[EmbeddingBagClassifier, Progress]:
    """Train for a number of epochs; return the model with its last weights."""
    log.info(
        "training on train and validation, %d rows, for %d epochs", len(prepared.train), epochs
    )
    options = dataclasses.replace(config.trainer, epochs=epochs, patience=None)
    config = dataclasses.replace(config, trainer=options)
    model = build(config, prepared, device)
    with tracker.beside("refit") as its:
        progress = fit(
            model,
            prepared.train,
            None,
            prepared.label_names,
            config,
            place / "last.safetensors",
            lambda: None,
            its,
        )
    return model, progress


def build(config: Config, prepared: Prepared, device: torch.device) -> EmbeddingBagClassifier:
    """Return the untrained model of a configuration."""
    torch.manual_seed(config.seed)
    model = untrained(prepared.encoder, len(prepared.label_names), config.model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.info(
        "model: %s pooling, %d x %d embeddings, %d classes, %s parameters, on %s",
        config.model.mode,
        prepared.encoder.num_embeddings,
        config.model.dim,
        len(prepared.label_names),
        f"{parameters:,}",
        device,
    )
    return model.to(device)
