"""The model folder: everything that prediction needs, as data (safetensors, JSON), never code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from textcls.config import TokenizerConfig
from textcls.data.ngrams import num_embeddings
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError, first_line
from textcls.files import whole_file, whole_folder
from textcls.model.embedding_bag import EmbeddingBagClassifier

FORMAT = 1
WEIGHTS = "model.safetensors"


@dataclasses.dataclass(frozen=True)
class ModelParts:
    """What a model folder holds.

    Attributes:
        model: the network, on the CPU, in evaluation mode.
        tokenizer: as in training, ``max_tokens`` included.
        vocabulary: whose ids are the rows of the embedding.
        label_names: of class 0, 1, 2, …
    """

    model: EmbeddingBagClassifier
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    label_names: tuple[str, ...]


def save_model(parts: ModelParts, folder: Path) -> None:
    """Write a model folder; one that is there is replaced only when the new one is complete.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    model = parts.model
    config = {
        "format": FORMAT,
        "model": {
            "num_embeddings": model.embedding.num_embeddings,
            "embedding_dim": model.embedding.embedding_dim,
            "num_classes": model.linear.out_features,
            "mode": model.embedding.mode,
            "padding_id": model.embedding.padding_idx,
            "dropout": model.dropout.p,
        },
        "tokenizer": dataclasses.asdict(parts.tokenizer.config),
    }
    with whole_folder(folder) as scratch:
        _dump(scratch / "config.json", config)
        _dump(scratch / "labels.json", parts.label_names)
        (scratch / "vocabulary.json").write_text(parts.vocabulary.to_json(), encoding="utf-8")
        if parts.tokenizer.json is not None:
            (scratch / "tokenizer.json").write_text(parts.tokenizer.json, encoding="utf-8")
        save_weights(model, scratch / WEIGHTS)


def save_weights(model: EmbeddingBagClassifier, path: Path) -> None:
    """Write the weights alone, whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with whole_file(path) as scratch:
        safetensors.torch.save_file(state, scratch)


def load_weights(model: EmbeddingBagClassifier, path: Path) -> None:
    """Read the weights alone.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    try:
        # safetensors is data by its format; torch.load is never called.
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = first_line(error)
        raise InputError(f"{path}: is missing, damaged or of another model ({reason})") from None


def load_model(folder: Path) -> ModelParts:
    """Read a model folder, or the one inside a run folder.

    Raises:
        InputError: there is none, or it is damaged, or of a newer version.
    """
    if (folder / "model" / "config.json").exists():
        folder = folder / "model"
    if not (folder / "config.json").exists():
        raise InputError(f"{folder}: is no model or run folder (it has no config.json)")
    try:
        config = json.loads(_read(folder / "config.json"))
        if config["format"] > FORMAT:
            raise InputError(
                f"{folder}: was written by a newer textcls (format {config['format']}, "
                f"this one reads up to {FORMAT}): update textcls"
            )
        vocabulary = Vocabulary.from_json(_read(folder / "vocabulary.json"))
        label_names = tuple(json.loads(_read(folder / "labels.json")))
        model = EmbeddingBagClassifier(**config["model"])
        text = folder / "tokenizer.json"
        tokenizer = Tokenizer(
            TypeAdapter(TokenizerConfig).validate_python(config["tokenizer"]),
            json=_read(text) if text.exists() else None,
        )
        if (num_embeddings(vocabulary, tokenizer.config), len(label_names)) != (
            model.embedding.num_embeddings,
            model.linear.out_features,
        ):
            raise ValueError("vocabulary or labels do not match the weights")
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{folder}: damaged model folder ({first_line(error)})") from None
    load_weights(model, folder / WEIGHTS)
    model.eval().requires_grad_(False)
    return ModelParts(model, tokenizer, vocabulary, label_names)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


def to_device(name: str) -> torch.device:
    """Return the device that ``trainer.device`` names; ``auto`` takes cuda, else mps, else cpu.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise InputError(f"trainer.device={name}: take auto, cpu, cuda, cuda:1 or mps")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise InputError(f"trainer.device={name}: is not to be had here ({reason})") from None
    return device
