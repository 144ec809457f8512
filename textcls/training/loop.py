"""The training loop, top to bottom."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any, Protocol

import torch

from textcls.config import OptimizerConfig, ScheduleConfig, TrainerConfig
from textcls.data.bags import Bags
from textcls.data.composition import Composition
from textcls.data.sampler import Sampler
from textcls.data.sharded import Split
from textcls.distributed import LostError
from textcls.errors import InputError, Interrupted, TextclsError
from textcls.model.embedding_bag import OF_VECTORS, EmbeddingBagClassifier, scores_of
from textcls.task.objective import objective_of
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Checkpoints, Progress
from textcls.training.choice import steps_on
from textcls.training.optimizer import Optimizer, make_schedule, touches_few
from textcls.training.sampling import ClassSampler
from textcls.training.signals import deferred, heed_no_more
from textcls.training.together import SAVE, Together
from textcls.training.tracking import Listener

log = logging.getLogger("textcls")


class _Settings(Protocol):
    """What a training needs of a :class:`~textcls.config.Config`."""

    @property
    def optimizer(self) -> OptimizerConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def trainer(self) -> TrainerConfig: ...
    @property
    def seed(self) -> int: ...


def fit(
    model: EmbeddingBagClassifier,
    train: Split,
    validation: Split | None,
    label_names: tuple[str, ...],
    config: _Settings,
    checkpoints: Checkpoints,
    tracker: Listener,
    cache_dir: Path | None = None,
    together: Together | None = None,
) -> Progress:
    """Train until the last epoch, or until the monitored metric has stopped improving.

    A checkpoint is written at the end of an epoch, when it is due, and at the very step at which a
    signal came; where there is one at the beginning, training goes on from it, to the same weights
    as if it had never stopped.

    Args:
        model: on its device; trained in place.
        train: bags to learn from, on any device, or in several files.
        validation: bags to choose the best epoch by, whose weights ``checkpoints`` then have; None:
            the latest counts as the best.
        label_names: of class 0, 1, 2, …
        config: how to train.
        checkpoints: of this training.
        tracker: is told of every step and epoch; what it raises ends the training.
        cache_dir: where it is remembered what a GPU has shown; None: nowhere.
        together: how processes share the training, each of which calls this; None: this one is
            alone. Only the one that leads measures, writes and tells the tracker.

    Raises:
        LostError: another process is gone; a checkpoint is written where all that it takes is here.
        TextclsError: the loss is no longer a number.
        InputError: the objective does not fit the labels, no row weighs anything, or the checkpoint
            is damaged.
        Interrupted: a signal came; a checkpoint is written.
    """
    options, together = config.trainer, together or Together()
    device = model.linear.weight.device
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where Triton launches, and whose random state is saved
    task, targets = task_of(train), train.targets.to("cpu")
    if options.monitor not in task.monitors:
        raise InputError(
            f"trainer.monitor={options.monitor}: is no metric of such labels: set it to "
            f"{', '.join(task.monitors[:-1])} or {task.monitors[-1]}"
        )
    if not targets.total_weight:
        raise InputError("every row of train weighs 0: give some a weight above 0")
    num_steps = math.ceil(len(train) / options.batch_size)
    total_steps = options.epochs * num_steps
    if options.batch_size < together.world_size:
        raise InputError(
            f"trainer.batch_size={options.batch_size}: {together.world_size} processes cannot share"
            " it: raise it, or start fewer"
        )
    sampler = Sampler(
        train.sizes, options.batch_size, config.seed, together.rank, together.world_size
    )
    model.embedding.sparse = _touched_rows_only(
        train, model.embedding.num_embeddings, config, model.composition
    )
    log.info(
        "a step updates %s", "the rows its batch touches" if model.embedding.sparse else "all rows"
    )
    scales = {} if model.vectors is None else {OF_VECTORS: model.vectors.length}

    def make_optimizer(of: EmbeddingBagClassifier) -> Optimizer:
        return Optimizer(config.optimizer, of.named_parameters(), scales)

    model, optimizer, progress = together.begin(model, make_optimizer, checkpoints.load, task)
    device = model.linear.weight.device
    schedule = make_schedule(config.schedule, total_steps)
    objective = objective_of(options, targets, label_names, device, task.ordered)
    class_sampler, count = None, options.sampled_classes
    if count is not None and count < len(label_names):
        for option, needs_all, other in (
            ("model.dim=classes", not model.linear.weight.requires_grad, "model.dim to a number"),
            ("trainer.ordinal", objective.ordinal is not None, "trainer.ordinal=null"),
        ):
            if needs_all:
                raise InputError(
                    f"{option} needs the scores of all classes: set trainer.sampled_classes=null, "
                    f"or {other}"
                )
        class_sampler = ClassSampler(
            targets, len(label_names), count, options.batch_size, objective, config.seed, device,
        )  # fmt: skip
    minimize = options.monitor == "loss"

    tracker.begin(options.epochs, num_steps, progress)
    began = time.perf_counter() - progress.seconds

    def learning_rate(step: int) -> float:
        return config.optimizer.lr * schedule(step)

    steps = steps_on(
        model,
        optimizer,
        train,
        options.batch_size,
        objective,
        learning_rate,
        total_steps,
        class_sampler,
        together=together if together.is_shared else None,
        kernels=options.kernels,
        cache_dir=cache_dir,
    )

    def save() -> None:
        progress.seconds = time.perf_counter() - began
        whole = together.whole(model, optimizer)
        if together.leads:
            if checkpoints.folder is not None:
                tracker.settle()
            checkpoints.save(progress, *whole)

    def save_in_epoch() -> None:
        progress.loss_sum = steps.loss_sum.item()
        progress.tally = steps.tally
        progress.epoch_seconds = time.perf_counter() - started
        save()

    epoch = sampler.epoch(progress.epoch)
    with deferred() as received:
        together.listen(received, checkpoints.are_due_in_epoch)
        while progress.epoch < options.epochs:
            if options.patience and progress.epoch - progress.best_epoch >= options.patience:
                break
            started = time.perf_counter() - progress.epoch_seconds
            tokens = 0
            try:
                for of_step in steps.epoch(epoch, progress):
                    progress.step += 1
                    tokens += of_step
                    tracker.step(progress, tokens, steps.loss_sum, options.batch_size)
                    asked = together.asked()
                    if asked is not None:
                        save_in_epoch()
                        if asked != SAVE:
                            raise Interrupted(asked)
            except LostError:
                heed_no_more()
                if together.can_save_after_loss():
                    save_in_epoch()
                raise

            if progress.epoch + 1 < options.epochs:  # drawn while a GPU is still at work
                epoch = sampler.epoch(progress.epoch + 1)
            whole = together.measured(model)
            train_loss = steps.loss_sum.item() / targets.total_weight  # waits for the device
            seconds = time.perf_counter() - started
            progress = _end_of_epoch(progress, seconds, train.num_tokens)
            if together.leads:
                metrics = {
                    "train": {"loss": train_loss} | task.counted(steps.tally, targets, label_names)
                }
                if validation is not None:
                    metrics["validation"] = evaluate(whole.composed(), validation, label_names)
                for split in metrics.values():
                    if not math.isfinite(split["loss"]):
                        raise TextclsError(
                            f"the loss is {split['loss']} in epoch {progress.epoch}: lower "
                            f"optimizer.lr (it is {config.optimizer.lr:g}) or set "
                            "trainer.clip_norm=1"
                        )
                record: dict[str, Any] = {
                    "epoch": progress.epoch,
                    "learning_rate": learning_rate(progress.epoch * num_steps),
                    "seconds": seconds,
                    "tokens_per_second": train.num_tokens / seconds,
                } | metrics
                value = None if validation is None else metrics["validation"][options.monitor]
                best = progress.best_value
                if value is None or best is None or (value < best if minimize else value > best):
                    progress.best_value, progress.best_epoch = value, progress.epoch
                    if value is not None:
                        checkpoints.note_best(whole)
                tracker.epoch(record, progress)
            said = together.word(
                {
                    "best_epoch": progress.best_epoch,
                    "signum": received.signum,  # it came while evaluating
                    "save": checkpoints.are_due(),
                }
            )
            progress.best_epoch = said["best_epoch"]
            if said["save"] or said["signum"] is not None:
                save()
            if said["signum"] is not None:
                raise Interrupted(said["signum"])
        if together.word({"save": checkpoints.are_due(at_end=True)})["save"]:
            save()
        progress.seconds = time.perf_counter() - began
    return progress


def evaluate(
    model: EmbeddingBagClassifier, bags: Split, label_names: tuple[str, ...]
) -> dict[str, Any]:
    """Return the metrics of ``model`` on ``bags``."""
    scores, targets = scores_of(model, bags), bags.targets.to("cpu")
    return task_of(bags).assess(scores, targets, label_names).metrics


def _touched_rows_only(
    train: Split, num_embeddings: int, config: _Settings, composition: Composition | None = None
) -> bool:
    """Decide whether a step updates the rows that its batch touches, or the whole table.

    The first batch tells: it depends on the seed only, so that a resumed run decides alike.
    """
    options = config.optimizer
    if options.rows != "auto":
        return options.rows == "touched"
    if options.weight_decay or options.momentum:  # they move untouched rows as well
        return False
    first = Sampler(train.sizes, config.trainer.batch_size, config.seed).epoch(0).batch(0)
    if isinstance(train, Bags):
        return touches_few(train, first, num_embeddings, composition)
    some = train.select(first)
    return touches_few(some, torch.arange(len(some)), num_embeddings, composition)


def _end_of_epoch(progress: Progress, seconds: float, tokens: int) -> Progress:
    return Progress(
        epoch=progress.epoch + 1,
        best_value=progress.best_value,
        best_epoch=progress.best_epoch,
        step_seconds=progress.step_seconds + seconds,
        tokens=progress.tokens + tokens,
    )
