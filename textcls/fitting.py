"""The trainings of a run: one that is measured on validation, and what is made of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from textcls.config import Config
from textcls.continuing import Start
from textcls.data.prepare import Prepared
from textcls.data.sharded import Split
from textcls.distributed import Team
from textcls.model.embedding_bag import EmbeddingBagClassifier, scores_of
from textcls.model.fold import fold
from textcls.task.assessment import Assessment
from textcls.task.base import Task
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Progress
from textcls.training.tracking import Listener
from textcls.trainings import Training, Trainings

log = logging.getLogger("textcls")

# Class scores of validation that are computed each time: some seconds' worth.
MOST_SCORES = 1 << 29


@dataclass(frozen=True)
class Trained:
    """What the trainings of a run came to.

    Attributes:
        model: on its device.
        task: what its labels are, with decisions that suit the validation split.
        prepared: what it was trained on, with its vocabulary.
        validation: metrics of the model that was measured on the validation split, which may be
            another than ``model``: see :func:`train`.
        epochs: that it was measured after.
        best_epoch: the one whose weights it has.
        temperature: that its class scores were divided by; None: they were not.
        fitted_on: rows of each split that ``model`` was trained on.
        seconds: spent in all trainings.
        tokens_per_second: of all of them.
    """

    model: EmbeddingBagClassifier
    task: Task
    prepared: Prepared
    validation: dict[str, Any]
    epochs: int
    best_epoch: int
    temperature: float | None
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
    keep: Callable[[EmbeddingBagClassifier], None],
    folder: Path,
    device: torch.device,
    tracker: Listener,
    start: Start | None = None,
    team: Team | None = None,
) -> Trained:
    """Train, measure on validation, and train on all rows where the configuration says so.

    Without ``trainer.refit`` the weights of the best epoch by validation are kept. With it they
    only say how long to train: see :func:`choose_epochs`. A fresh model then learns from train and
    validation together, the schedule ending at the chosen length, and keeps its last weights.

    ``trainer.ensemble`` models, from seeds in a row, are folded into one. With ``trainer.refit``
    these are models of all rows: a single one is measured on validation.

    With ``trainer.calibrate`` the linear layer is divided by the temperature that fits the class
    scores on validation, those of the model that is measured there.

    A training that its checkpoint says is finished is not repeated; one of a few seconds has none.

    Args:
        config: of the run.
        prepared: its corpus.
        joined: returns the corpus with the rows of validation in train.
        keep: is given the best model of the first training so far, now and then.
        folder: of the run.
        device: to train on.
        tracker: of the run.
        start: the model that each training starts from; None: they start anew.
        team: the processes that share each training, in all others of which
            :func:`~textcls.trainings.follow` runs; None: this one is alone.

    Raises:
        Whatever :func:`~textcls.training.loop.fit` raises.
    """
    trainings = Trainings(config, folder / "checkpoints", device, tracker, start, team)
    device = trainings.device
    options, held = config.trainer, measured_rows(prepared)
    task = task_of(held)
    if len(held) < len(prepared.validation):
        log.info(
            "validation: %s of %s rows, at even distances, as each is scored for %s classes",
            f"{len(held):,}", f"{len(prepared.validation):,}", f"{len(prepared.label_names):,}",
        )  # fmt: skip
    first = trainings.fit(0, prepared, held, keep=keep)
    fitted_on = {"train": len(prepared.train), "validation": 0}
    if refits(config):
        scores = scores_of(first.model.composed(), held)
        found = task.assess(scores, held.targets, prepared.label_names)
        epoch = choose_epochs(options.monitor, first.progress, found)
        if epoch != first.progress.epoch:
            first.checkpoints.load_best(first.model)
            scores = scores_of(first.model.composed(), held)
        fitted_on["validation"] = len(prepared.validation)
        prepared = joined()
        log.info(
            "training on train and validation, %s rows, for %d epochs",
            f"{len(prepared.train):,}",
            epoch,
        )
        members = [trainings.fit(i, prepared, None, epoch) for i in range(options.ensemble)]
        model = _folded(members, device)
    else:
        epoch = first.progress.best_epoch
        log.info(
            "trained in %.2f s; the weights of epoch %d are the best by validation %s",
            first.progress.seconds,
            epoch,
            options.monitor,
        )
        members = [first, *(trainings.fit(i, prepared, held) for i in range(1, options.ensemble))]
        for member in members:
            member.checkpoints.load_best(member.model)
        model = _folded(members, device)
        scores = scores_of(model, held)
    temperature, (logits, targets) = None, scores.sample(held.targets)
    if options.calibrate and not options.overfit:
        temperature = task.temperature(logits, targets)
        log.info("class scores are divided by %.3f, which fits validation best", temperature)
        logits, scores = logits / temperature, scores.divided(temperature)
        with torch.no_grad():
            for parameter in model.linear.parameters():
                parameter.div_(temperature)
    if not options.overfit:
        task = task.fitted(logits, targets)
    done = trainings.done
    return Trained(
        model,
        task,
        prepared,
        task.assess(scores, held.targets, prepared.label_names).metrics,
        first.progress.epoch,
        epoch,
        temperature,
        fitted_on,
        sum(one.seconds for one in done),
        sum(one.tokens for one in done) / sum(one.step_seconds for one in done),
    )


def train_on_all(
    config: Config, prepared: Prepared, folder: Path, device: torch.device, tracker: Listener
) -> EmbeddingBagClassifier:
    """Return a model, or several folded into one, of all rows of train; nothing is measured.

    Args:
        config: of the run.
        prepared: its corpus.
        folder: for checkpoints.
        device: to train on.
        tracker: of the run.

    Raises:
        Whatever :func:`~textcls.training.loop.fit` raises.
    """
    trainings = Trainings(config, folder, device, tracker, None)
    members = range(config.trainer.ensemble)
    return _folded([trainings.fit(i, prepared, None) for i in members], device)


def _folded(members: Sequence[Training], device: torch.device) -> EmbeddingBagClassifier:
    if len(members) > 1:
        log.info("folded %d models into one", len(members))
    return fold([member.model.composed().cpu() for member in members]).to(device)


def measured_rows(prepared: Prepared) -> Split:
    """Return the validation split, or of very many classes as many of its rows as take seconds.

    They are at even distances.
    """
    held = prepared.validation
    count = max(1, MOST_SCORES // len(prepared.label_names))
    if len(held) <= count:
        return held
    return held.select(torch.arange(count) * len(held) // count)


def choose_epochs(monitor: str, progress: Progress, found: Assessment) -> int:
    """Return for how many epochs to train on all rows.

    The last epoch of a schedule that ends at zero is mostly the best one, and which epoch a small
    validation split finds best is partly chance: so the whole schedule is kept, unless the best
    epoch is better by more than two standard errors: it is the best of several, each measured with
    an error. Then the schedule ends at that epoch, but not before half of its length: small steps
    at its end undo much of what an epoch of large ones spoiled.

    Args:
        monitor: the metric that decides.
        progress: at the end of the training that was measured.
        found: on the validation split, at its end.
    """
    last = found.metrics[monitor]
    best = last if progress.best_value is None else progress.best_value
    error = found.standard_error(monitor)
    shortened = max(progress.best_epoch, math.ceil(progress.epoch / 2))
    chosen = shortened if abs(best - last) > 2 * error else progress.epoch
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


def score(
    config: Config, prepared: Prepared, model: EmbeddingBagClassifier, progress: Progress
) -> float:
    """Return the monitored metric of the weights that :func:`train` would keep.

    Args:
        config: of the run.
        prepared: its corpus.
        model: with its last weights.
        progress: at the end of its training.
    """
    monitor, held = config.trainer.monitor, measured_rows(prepared)
    assert progress.best_value is not None
    if not refits(config):
        return progress.best_value
    scores = scores_of(model.composed(), held)
    found = task_of(held).assess(scores, held.targets, prepared.label_names)
    if choose_epochs(monitor, progress, found) < progress.epoch:
        return progress.best_value
    value: float = found.metrics[monitor]
    return value
