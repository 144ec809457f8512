"""One trial: a training of :mod:`textcls.run` without weights and test, and how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from textcls import run
from textcls.config import Config
from textcls.errors import Interrupted, TextclsError
from textcls.training.checkpoint import Progress
from textcls.training.signals import raising
from textcls.training.tracking import Tracker, add_hparams
from textcls.tuning.settings import Settings, configure


class OutOfTimeError(Exception):
    """The search's time is up in the middle of a trial."""


class TrialTracker(Tracker):
    """Writes a trial's record, tells Optuna of each epoch, and ends the trial by raising.

    Args:
        folder: of the trial.
        console: where the live line goes, if it is a terminal.
        monitor: the validation metric that trials are compared by.
        trial: the trial.
        deadline: of the search, on ``time.monotonic``'s clock.
    """

    def __init__(
        self,
        folder: Path,
        console: Console,
        monitor: str,
        trial: optuna.Trial,
        deadline: float,
    ) -> None:
        super().__init__(folder, console, monitor)
        self.trial = trial
        self.deadline = deadline
        self.ended_epochs = 0
        self._tenth = -1

    def step(self, *arguments: Any) -> None:
        """Hear of a step.

        Raises:
            OutOfTimeError: the search's time is up.
        """
        super().step(*arguments)
        if time.monotonic() >= self.deadline:
            raise OutOfTimeError

    def epoch(self, record: dict[str, Any], progress: Progress) -> None:
        """Hear of an epoch's end.

        Raises:
            optuna.TrialPruned: the trial does worse than others did at this share of theirs.
        """
        super().epoch(record, progress)
        self.ended_epochs = progress.epoch
        # Trials have different numbers of epochs, and the learning rate falls over all of them:
        # what compares is how a trial does at the same share of its training.
        tenth = 10 * progress.epoch // self._epochs
        if tenth > self._tenth:
            self._tenth = tenth
            self.trial.report(record["validation"][self.monitor], tenth)
            if progress.epoch < self._epochs and self.trial.should_prune():
                raise optuna.TrialPruned

    def result(self, settings: Settings, value: float) -> None:
        """Add a row to TensorBoard's HPARAMS: the settings that are searched, and the score."""
        with SummaryWriter(str(self.folder)) as writer:
            add_hparams(writer, settings, {f"validation/{self.monitor}": value})


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes:
        end: ``done``, ``pruned``, ``cut`` or ``failed``.
        reason: why it was cut or failed, else empty.
        epochs: how many of them ended.
        seconds: that it took.
        value: the monitored metric of what a run would keep; None unless it is done.
        stopped: the signal that cut it short, if one did.
    """

    end: str
    reason: str
    epochs: int
    seconds: float
    value: float | None
    stopped: Interrupted | None


def train_trial(
    config: Config, settings: Settings, device: torch.device, tracker: TrialTracker
) -> Ending:
    """Train and validate with other settings than those of ``config``; return how that ended.

    Errors of the training, lack of memory included, and signals are returned, not raised: the
    search has to record them first.
    """
    began = time.monotonic()
    end, reason, value, stopped = "done", "", None, None
    try:
        with raising():
            config = configure(config, settings)
            value = run.try_out(config, tracker.folder, device, tracker)
    except optuna.TrialPruned:
        end = "pruned"
    except OutOfTimeError:
        end, reason = "cut", "the time was up"
    except Interrupted as error:
        end, reason, stopped = "cut", str(error), error
    except (TextclsError, OSError) as error:
        end, reason = "failed", " ".join(str(error).split())[:1000]
    seconds = round(time.monotonic() - began, 2)
    return Ending(end, reason, tracker.ended_epochs, seconds, value, stopped)
