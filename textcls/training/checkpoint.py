"""Checkpoints: all that a training needs to go on, and its best weights, as safetensors files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from textcls.checksum import with_checksum
from textcls.errors import InputError, first_line
from textcls.files import whole_file
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.weights import load_weights, read_file, save_weights
from textcls.training.optimizer import Optimizer

FORMAT = 3
LAST, BEST = "last.safetensors", "best.safetensors"
# Seconds of work that a kill may cost; and between two checkpoints lies so many times what writing
# one takes: it costs a tenth at most.
SAVE_AFTER, SAVE_EVERY = 5.0, 10
# Seconds of work that a kill in the middle of a long epoch may cost.
SAVE_IN_EPOCH = 120.0


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: whole epochs behind it.
        step: batches of the current epoch behind it.
        best_value: of the monitored validation metric, None before the first epoch's end.
        best_epoch: the epoch (from 1) that had it.
        loss_sum: the loss summed over the current epoch's bags so far, in nats.
        epoch_seconds: spent in the current epoch's steps so far.
        step_seconds: spent in the steps of all epochs behind it.
        seconds: spent in the training loop, with validation and saving.
        tokens: trained on in all epochs behind it.
        tally: what the predictions of the current epoch come to so far, as the task counts them.
    """

    epoch: int = 0
    step: int = 0
    best_value: float | None = None
    best_epoch: int = 0
    loss_sum: float = 0.0
    epoch_seconds: float = 0.0
    step_seconds: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    tally: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


class Checkpoints:
    """What a training leaves on the disk as it goes: where it has come to, and its best weights.

    Both are written at the end of an epoch, and in the middle of long ones, but not so often that
    it takes more than a tenth of the time; until then the best weights are in memory. A training of
    a few seconds writes nothing.

    Args:
        folder: of the files; None: nothing is kept, and nothing is written.
        keep: is given the model of the best weights whenever they are written.
    """

    def __init__(
        self,
        folder: Path | None = None,
        keep: Callable[[EmbeddingBagClassifier], None] | None = None,
    ) -> None:
        self.folder, self._keep = folder, keep
        self._best: dict[str, Tensor] = {}
        self._is_best_new = False
        self._saved_at, self._seconds = time.perf_counter(), 0.0

    def load(self, model: nn.Module, optimizer: Optimizer) -> Progress:
        """Bring model and optimizer to where the last checkpoint left them, if there is one.

        Raises:
            InputError: it is damaged, or of another model.
        """
        if self.folder is None or not (self.folder / LAST).exists():
            return Progress()
        return load_checkpoint(self.folder / LAST, model, optimizer)

    def note_best(self, model: EmbeddingBagClassifier) -> None:
        """Remember the weights of a model as the best so far."""
        if self.folder is None:
            return
        for name, value in model.state_dict().items():
            if name in self._best:
                self._best[name].copy_(value)
            else:
                self._best[name] = value.detach().to("cpu", copy=True)
        self._is_best_new = True

    def are_due(self, at_end: bool = False) -> bool:
        """Say whether it is time to write: at the end of the training, or of another epoch."""
        since = time.perf_counter() - self._saved_at
        return since >= (SAVE_AFTER if at_end else max(SAVE_AFTER, SAVE_EVERY * self._seconds))

    def are_due_in_epoch(self) -> bool:
        """Say whether it is time to write, though the epoch has not ended: in long ones."""
        if self.folder is None:
            return False
        return time.perf_counter() - self._saved_at >= max(
            SAVE_IN_EPOCH, SAVE_EVERY * self._seconds
        )

    def save(self, progress: Progress, model: EmbeddingBagClassifier, optimizer: Optimizer) -> None:
        """Write the best weights, if they are new, and a checkpoint.

        Raises:
            TextclsError: the best weights are not finite.
            OSError: a file cannot be written; what was there stays.
        """
        if self.folder is None:
            return
        started = time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._is_best_new:
            # Before the checkpoint, which says that they are there.
            save_weights(self._best, self.folder / BEST)
            if self._keep is not None:
                self._keep(model.holding(self._best).composed())
            self._is_best_new = False
        save_checkpoint(self.folder / LAST, progress, model, optimizer)
        self._saved_at = time.perf_counter()
        self._seconds = self._saved_at - started

    def load_best(self, model: EmbeddingBagClassifier) -> None:
        """Bring a model to the best weights.

        Raises:
            InputError: they are on the disk, and damaged.
        """
        if self._best:
            model.load_state_dict(self._best)
        elif self.folder is not None:
            load_weights(model, self.folder / BEST)


def save_checkpoint(path: Path, progress: Progress, model: nn.Module, optimizer: Optimizer) -> None:
    """Write a checkpoint; the file at ``path`` is replaced only when the new one is complete.

    Tensors are stored as tensors; numbers as JSON in the file's own metadata.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    numbers = asdict(progress)
    del numbers["tally"]
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optimizer.{name}": value for name, value in optimizer.state_dict().items()}
    tensors["predictions"] = progress.tally
    tensors |= random_states(next(model.parameters()).device)
    tensors = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    metadata = {"format": str(FORMAT), "progress": json.dumps(numbers)}
    with whole_file(path, synced=True) as scratch:
        safetensors.torch.save_file(tensors, scratch, with_checksum(tensors, metadata))


def load_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Bring model, optimizer and torch's random state to where the checkpoint left them.

    Raises:
        InputError: it is missing, damaged, or of another model.
    """
    try:
        tensors, metadata = read_file(path)
        if int(metadata["format"]) != FORMAT:
            raise InputError(f"{path}: was written by another version of textcls: resume it there")
        model.load_state_dict(_below(tensors, "model."))
        optimizer.load_state_dict(_below(tensors, "optimizer."))
        set_random_states(tensors)
        return Progress(**json.loads(metadata["progress"]), tally=tensors["predictions"])
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise InputError(f"{path}: is missing, damaged or of another run ({reason})") from None


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that a training on a device draws from."""
    states = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state()
    elif device.type == "mps":
        states["random.mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(tensors: dict[str, Tensor]) -> None:
    """Set the states that :func:`random_states` returned, among other tensors."""
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    # A checkpoint made before the state was kept has none.
    if "random.mps" in tensors and torch.backends.mps.is_available():
        torch.mps.set_rng_state(tensors["random.mps"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
