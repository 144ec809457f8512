"""The weights of a model alone, in a safetensors file: what a training needs while it goes on.

(Apart from the rest of the model folder, since training from ids alone does without Arrow.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from textcls.checksum import check, with_checksum
from textcls.errors import InputError, TextclsError, first_line
from textcls.files import whole_file
from textcls.model.table import LARGEST_WEIGHT, beyond_measure


def save_weights(state: Mapping[str, Tensor], path: Path, synced: bool = True) -> None:
    """Write the weights of a model, its ``state_dict``, whole or not at all.

    Args:
        state: tensors by name.
        path: of the file.
        synced: see :func:`~textcls.files.whole_file`.

    Raises:
        TextclsError: a weight is not finite, or too large.
        OSError: the file cannot be written; what was there stays.
    """
    name = beyond_measure(state)
    if name is not None:  # no model could be read from it
        raise TextclsError(
            f"{path.name}: {name} is not finite, or beyond {LARGEST_WEIGHT:g}: lower optimizer.lr "
            "or set trainer.clip_norm=1"
        )
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    with whole_file(path, synced) as scratch:
        safetensors.torch.save_file(tensors, scratch, with_checksum(tensors))


def read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file by name, and its metadata.

    Raises:
        OSError, SafetensorError, ValueError: there is none, or it is damaged.
    """
    # safetensors is data by its format; torch.load is never called.
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    check(tensors, metadata)
    return tensors, metadata


def load_weights(model: nn.Module, path: Path) -> None:
    """Read the weights of a model.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    try:
        model.load_state_dict(read_file(path)[0])
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise InputError(f"{path}: is missing, damaged or of another model ({reason})") from None
