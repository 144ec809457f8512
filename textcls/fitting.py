"""The trainings of a run: one that is measured on validation, and what is made of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from textcls.config import Config
from textcls.continuing import Start, with_absent_kept
from textcls.data.prepare import Prepared
from textcls.data.sharded import Split
from textcls.errors import InputError
from textcls.model.continued import take_over
from textcls.model.embedding_bag import EmbeddingBagClassifier, scores_of, untrained
from textcls.model.fold import fold
from textcls.task.assessment import Assessment
from textcls.task.base import Task
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Checkpoints, Progress
from textcls.training.loop import fit
from textcls.training.tracking import Listener

log = logging.getLogger("textcls")

# Class scores of validation that are computed each time: some seconds' worth.
MOST_SCORES = 1 << 29
# Numbers of a table of class scores: 4 GiB, and as much for what Adagrad knows of them.
LARGEST_TABLE = 1 << 30


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

    Raises:
        Whatever :func:`~textcls.training.loop.fit` raises.
    """
    trainings = _Trainings(config, folder / "checkpoints", device, tracker, start)
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
    trainings = _Trainings(config, folder, device, tracker, None)
    members = range(config.trainer.ensemble)
    return _folded([trainings.fit(i, prepared, None) for i in members], device)


@dataclass(frozen=True)
class _Training:
    """A training that is done.

    Attributes:
        model: with its last weights.
        progress: how far it came.
        checkpoints: its own, with the best weights by validation, where it was measured.
    """

    model: EmbeddingBagClassifier
    progress: Progress
    checkpoints: Checkpoints


def _folded(members: Sequence[_Training], device: torch.device) -> EmbeddingBagClassifier:
    if len(members) > 1:
        log.info("folded %d models into one", len(members))
    return fold([member.model.composed().cpu() for member in members]).to(device)


class _Trainings:
    """The trainings of a run, one after another.

    Args:
        config: of the run.
        folder: for checkpoints.
        device: to train on.
        tracker: of the run.
        start: the model that each starts from; None: they start anew.

    Attributes:
        done: how far each came.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        device: torch.device,
        tracker: Listener,
        start: Start | None,
    ) -> None:
        self.config, self.folder, self.device, self.tracker = config, folder, device, tracker
        self.start = start
        self.done: list[Progress] = []

    def fit(
        self,
        number: int,
        prepared: Prepared,
        validation: Split | None,
        epochs: int | None = None,
        keep: Callable[[EmbeddingBagClassifier], None] | None = None,
    ) -> _Training:
        """Train a model.

        Args:
            number: of the model, from 0.
            prepared: the corpus.
            validation: to measure on; None: nothing is measured.
            epochs: of the whole schedule; None: as configured.
            keep: is given the best model so far, now and then.
        """
        seed = (self.config.seed + number) % 2**63
        options = self.config.trainer
        if epochs is not None:
            options = dataclasses.replace(options, epochs=epochs, patience=None)
        config = dataclasses.replace(self.config, seed=seed, trainer=options)
        if self.start is not None:
            config = with_absent_kept(config, prepared.train.targets, prepared.label_names)
        # The first of each kind has the name that it has where there are no others.
        name = "/".join(["refit"] * (validation is None) + [f"seed={seed}"] * (number > 0))
        if number:
            log.info("model %d of %d, from seed %d", number + 1, options.ensemble, seed)
        model = build(config, prepared, self.device, self.start)
        checkpoints = Checkpoints(self.folder / name, keep)
        tracker = self.tracker.beside(name) if name else contextlib.nullcontext(self.tracker)
        with tracker as its:
            progress = fit(
                model,
                prepared.train,
                validation,
                prepared.label_names,
                config,
                checkpoints,
                its,
                config.cache,
            )
        self.done.append(progress)
        return _Training(model, progress, checkpoints)


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


def build(
    config: Config, prepared: Prepared, device: torch.device, start: Start | None = None
) -> EmbeddingBagClassifier:
    """Return the model of a configuration before training: the one it starts from, or a new one."""
    torch.manual_seed(config.seed)
    numbers = prepared.encoder.num_embeddings * len(prepared.label_names)
    if prepared.words is not None and numbers > LARGEST_TABLE:
        raise InputError(
            f"model.vectors needs a table of class scores, which would have {numbers:,} numbers: "
            "set model.vectors=null, or a smaller tokenizer.max_size"
        )
    model = untrained(
        prepared.encoder,
        len(prepared.label_names),
        config.model,
        prepared.composition,
        prepared.words,
    )
    train = prepared.train
    if model.vectors is not None:
        model.vectors.scale(train)
    with torch.no_grad():
        bias = task_of(train).first_bias(train.targets, len(prepared.label_names))
        model.linear.bias.copy_(bias)
    if start is not None:
        take_over(model, prepared.encoder, prepared.label_names, start.parts)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.info(
        "model: %s pooling, %d x %d embeddings, %d classes, %s parameters, on %s",
        config.model.mode,
        prepared.encoder.num_embeddings,
        model.embedding.embedding_dim,
        len(prepared.label_names),
        f"{parameters:,}",
        device,
    )
    return model.to(device)
