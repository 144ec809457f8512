"""A training within another program: it leaves random states and threads as they were."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic.dataclasses import dataclass

from textcls.config import (
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TokenizerConfig,
    TrainerConfig,
)
from textcls.data.bags import Bags
from textcls.errors import InputError, Interrupted, TextclsError
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.tracking import Listener

# torch's random state and number of threads are the process's: of trainings in several threads, one
# runs at a time.
_TRAINING = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """The groups of ``configs/`` that such a training has."""

    tokenizer: TokenizerConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    seed: int


@contextmanager
def apart(seed: int, num_threads: int = 1) -> Iterator[None]:
    """Give the block a random state and a number of threads (see "Threads" in docs/training.md)."""
    with _TRAINING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        threads = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def fit_apart(
    model: EmbeddingBagClassifier, bags: Bags, label_names: tuple[str, ...], settings: Settings
) -> int:
    """Train a model in place, with nothing written or shown; return how many epochs it took.

    A signal means what it means to the program, once the training has stopped.

    Raises:
        InputError: a setting does not fit the labels, or the training diverged.
    """
    try:
        progress = fit(
            model,
            bags,
            validation=None,
            label_names=label_names,
            config=settings,
            checkpoints=Checkpoints(),
            tracker=Listener(),
        )
        # The losses were those before each step; the last one can break the weights as well.
        diverged = not bool(logits_of(model.composed(), bags).isfinite().all())
    except InputError:
        raise
    except TextclsError:
        diverged = True
    except Interrupted as stopped:
        # What a signal means is the caller's to say: KeyboardInterrupt, or the process's end.
        signal.raise_signal(stopped.signum)
        raise
    if diverged:
        raise InputError(f"the training diverged: lower lr (it is {settings.optimizer.lr:g})")
    return progress.epoch
