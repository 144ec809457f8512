"""The trainings of a run, one by one: the model of each, and the processes that share it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from textcls.config import Config
from textcls.continuing import Start, with_absent_kept
from textcls.data.prepare import Prepared
from textcls.data.sharded import Split
from textcls.distributed import Team
from textcls.errors import InputError
from textcls.model.continued import take_over
from textcls.model.embedding_bag import EmbeddingBagClassifier, untrained
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Checkpoints, Progress
from textcls.training.loop import fit
from textcls.training.together import Together
from textcls.training.tracking import Listener

log = logging.getLogger("textcls")

# Numbers of a table of class scores: 4 GiB, and as much for what Adagrad knows of them.
LARGEST_TABLE = 1 << 30


@dataclass(frozen=True)
class Training:
    """A training that is done.

    Attributes:
        model: with its last weights.
        progress: how far it came.
        checkpoints: its own, with the best weights by validation, where it was measured.
    """

    model: EmbeddingBagClassifier
    progress: Progress
    checkpoints: Checkpoints


class Trainings:
    """The trainings of a run, one after another.

    Args:
        config: of the run.
        folder: for checkpoints; None: there are none.
        device: to train on.
        tracker: of the run.
        start: the model that each starts from; None: they start anew.
        team: the processes that share each; None: this one is alone.

    Attributes:
        device: that whole models are on.
        done: how far each came.
    """

    def __init__(
        self,
        config: Config,
        folder: Path | None,
        device: torch.device,
        tracker: Listener,
        start: Start | None,
        team: Team | None = None,
    ) -> None:
        self.config, self.folder, self.tracker = config, folder, tracker
        self.start, self.team, self._device = start, team, device
        self._by_columns = team is not None and config.trainer.parallel == "columns"
        self.device = torch.device("cpu") if self._by_columns else device
        self.done: list[Progress] = []

    def _together(self) -> Together | None:
        if self.team is None:
            return None
        from textcls.training.by_columns import ByColumns
        from textcls.training.by_rows import ByRows

        return ByColumns(self.team, self._device) if self._by_columns else ByRows(self.team)

    def fit(
        self,
        number: int,
        prepared: Prepared,
        validation: Split | None,
        epochs: int | None = None,
        keep: Callable[[EmbeddingBagClassifier], None] | None = None,
    ) -> Training:
        """Train a model.

        Args:
            number: of the model, from 0.
            prepared: the corpus.
            validation: to measure on; None: nothing is measured.
            epochs: of the whole schedule; None: as configured.
            keep: is given the best model so far, now and then.
        """
        if self.team is not None and self.team.here.leads:
            self.team.tell({"number": number, "joined": validation is None, "epochs": epochs})
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
        checkpoints = Checkpoints(None if self.folder is None else self.folder / name, keep)
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
                self._together(),
            )
        self.done.append(progress)
        return Training(model, progress, checkpoints)


def follow(
    config: Config,
    corpus: Callable[[bool], Prepared],
    device: torch.device,
    start: Start | None,
    team: Team,
) -> None:
    """Take part in the trainings of a run that another process leads, until it ends.

    Args:
        config: of the run.
        corpus: returns it, with the rows of validation in train or without.
        device: to train on.
        start: the model that each training starts from.
        team: the processes.

    Raises:
        EndedError: the run is done, or has failed.
        And whatever :func:`~textcls.training.loop.fit` raises.
    """
    trainings = Trainings(config, None, device, Listener(), start, team)
    prepared: dict[bool, Prepared] = {}
    while True:
        job = team.hear()
        joined = job["joined"]
        if joined not in prepared:
            prepared[joined] = corpus(joined)
        own = prepared[joined]
        trainings.fit(job["number"], own, None if joined else own.validation, job["epochs"])


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
