"""The model folder: everything that prediction needs, as data (safetensors, JSON), never code.

Whatever a folder holds is doubted until it is checked: that each file is of the type it should be,
and that all of them are of one model.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from torch import Tensor

from textcls.config import Reading, TokenizerConfig
from textcls.data.stored import (
    ENCODER_TENSORS,
    PIECE_IDS,
    PIECES,
    assembled,
    tensors_of,
    write_json,
)
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError, first_line
from textcls.fasttext_models.format import is_model_file
from textcls.files import filled_folder
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.from_fasttext import read_fasttext
from textcls.model.parts import ModelParts
from textcls.model.table import BUCKETS, QUANTIZED, TABLE
from textcls.model.tensors import EXACT, Shape, read_tensors
from textcls.model.weights import save_weights
from textcls.task.multi import THRESHOLDS
from textcls.task.of_fasttext import TREE
from textcls.task.selective import RISK_COVERAGE
from textcls.task.tasks import task_named
from textcls.vectors.pieces import WordPieces

FORMAT = 7
# Those of models that releases before can read: with pieces of words, and without.
_WITH_PIECES, _WITHOUT_PIECES = 6, 5
WEIGHTS = "model.safetensors"
CARD = "README.md"
# All that a model folder may hold.
FILES = ("config.json", "labels.json", "vocabulary.json", "tokenizer.json", PIECES, WEIGHTS, CARD)

# The tensors of a task: see :meth:`textcls.task.base.Task.tensors`.
_DECISIONS = (THRESHOLDS, RISK_COVERAGE, TREE)

_T = TypeVar("_T")


def save_model(parts: ModelParts, folder: Path) -> None:
    """Write a model folder; one that is there is replaced only when the new one is complete.

    Other files that ``folder`` may have stay.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    model = parts.model
    config: dict[str, Any] = {
        "format": _format_of(parts),
        "task": parts.task.name,
        "model": {
            "num_embeddings": model.embedding.num_embeddings,
            "embedding_dim": model.embedding.embedding_dim,
            "num_classes": model.linear.out_features,
            "mode": model.embedding.mode,
            "padding_id": model.embedding.padding_idx,
            "dropout": model.dropout.p,
        },
        "tokenizer": dataclasses.asdict(parts.encoder.config),
        "reading": dataclasses.asdict(parts.reading),
    }
    if parts.temperature is not None:
        config["temperature"] = parts.temperature
    if parts.vectors is not None:
        config["vectors"] = dict(parts.vectors)
    with filled_folder(folder, FILES, synced=True) as scratch:
        _dump(scratch / "config.json", config)
        _dump(scratch / "labels.json", parts.label_names)
        write_json(parts.encoder, scratch)
        if parts.card is not None:
            (scratch / CARD).write_text(parts.card, encoding="utf-8")
        save_tensors(parts, scratch)  # synced with the whole folder


def _format_of(parts: ModelParts) -> int:
    """Return the lowest format that has all that a model has."""
    if parts.encoder.of_fasttext is not None:
        return FORMAT
    return _WITHOUT_PIECES if parts.encoder.pieces is None else _WITH_PIECES


def save_tensors(parts: ModelParts, folder: Path) -> None:
    """Write the tensors of a model folder alone, whole or not at all."""
    state = parts.model.state_dict()
    if parts.quantized is not None:
        del state[TABLE]
        state.update(parts.quantized)
    if parts.encoder.kept_buckets is not None:
        state[BUCKETS] = torch.from_numpy(parts.encoder.kept_buckets)
    state |= {name: torch.from_numpy(own) for name, own in tensors_of(parts.encoder).items()}
    state |= parts.task.tensors()
    save_weights(state, folder / WEIGHTS, synced=False)


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


# --- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True, config=EXACT)
class _Config:
    format: Annotated[int, Field(ge=1)]
    model: Shape
    tokenizer: TokenizerConfig
    reading: Reading | None = None
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    task: Literal["single", "multi", "ordered", "sampled", "tree"] = "single"
    vectors: dict[str, str] | None = None


@dataclass(frozen=True, config=EXACT)
class _Words:
    tokens: list[str]
    counts: list[Annotated[int, Field(ge=0, lt=2**63)]]


def load_model(folder: Path, mapped: bool = False) -> ModelParts:
    """Read a model folder, or the one inside a run folder; the model is on the CPU.

    A file of fastText's, ``.bin`` or ``.ftz``, is read as well: see :mod:`.from_fasttext`. No
    random numbers are drawn, and nothing that a folder holds is run.

    Args:
        folder: the folder.
        mapped: leave a table of float32 in its file: see :func:`~.tensors.read_tensors`.

    Raises:
        InputError: there is none, or it is damaged, or of a newer version.
    """
    if is_model_file(folder):
        return read_fasttext(folder)
    folder = model_folder(folder)
    try:
        config = _read_config(folder)
        words = _read_json(folder / "vocabulary.json", _Words)
        vocabulary = Vocabulary(words.tokens, words.counts)
        label_names = _read_json(folder / "labels.json", tuple[str, ...])
        if len(set(label_names)) != len(label_names):
            raise ValueError("labels.json: a label stands twice")
        if len(label_names) != config.model.num_classes:
            raise ValueError(
                f"labels.json: {len(label_names)} labels for {config.model.num_classes} classes"
            )
        tokenizer = _read_tokenizer(folder / "tokenizer.json", config.tokenizer)
        weights = folder / WEIGHTS
        tensors = read_tensors(weights, config.model, config.tokenizer, vocabulary, mapped)
        decisions = {name: tensors.pop(name) for name in _DECISIONS if name in tensors}
        task = task_named(config.task, decisions)
        foreign = decisions.keys() - task.tensors().keys()
        if foreign:
            raise ValueError(f"{WEIGHTS}: holds {min(foreign)}, which no '{config.task}' model has")
        ids = tensors.get(PIECE_IDS)
        pieces = None if ids is None else _read_pieces(folder / PIECES, ids)
        card = folder / CARD
        text = _read_text(card) if card.exists() else None
    except (OSError, ValueError, RuntimeError, MemoryError, SafetensorError) as error:
        raise InputError(
            f"{folder}: damaged model folder ({_reason(error)}): copy it anew or train again"
        ) from None
    buckets = tensors.pop(BUCKETS).numpy() if BUCKETS in tensors else None
    learned = {name: tensors.pop(name).numpy() for name in ENCODER_TENSORS if name in tensors}
    quantized = {name: tensors.pop(name) for name in QUANTIZED if name in tensors}
    with torch.device("meta"):  # takes no memory, draws no numbers
        model = EmbeddingBagClassifier(**dataclasses.asdict(config.model))
    model.load_state_dict(tensors, assign=True)
    return ModelParts(
        model.eval().requires_grad_(False),
        assembled(tokenizer, vocabulary, learned, buckets, pieces),
        label_names,
        card=text,
        reading=config.reading or Reading(),
        temperature=config.temperature,
        task=task,
        quantized=quantized or None,
        vectors=config.vectors,
    )


def model_folder(folder: Path) -> Path:
    """Return a model folder, or the one inside a run folder.

    Raises:
        InputError: there is none.
    """
    try:
        for place in (folder / "model", folder):
            if (place / "config.json").is_file():
                return place
        reason = "it has no config.json" if folder.is_dir() else "it is no folder"
        if any(folder.glob("*/model/config.json")):
            reason = "it holds several: name one"
        elif folder.is_file():
            reason = "it is a file: the model comes before the files"
    except OSError as error:
        reason = _reason(error)
    raise InputError(f"{folder}: is no model or run folder ({reason})")


def files_of(path: Path) -> list[Path]:
    """Return the files of a model that decide what it predicts.

    Args:
        path: a model folder, a run folder or a file of fastText's.

    Raises:
        InputError: there is no model.
    """
    if is_model_file(path):
        return [path]
    folder = model_folder(path)
    return [folder / name for name in FILES if name != CARD and (folder / name).exists()]


def _read_config(folder: Path) -> _Config:
    path = folder / "config.json"
    number = _read_json(path, dict[str, Any]).get("format")
    if number is None:
        raise InputError(
            f"{folder}: is no model of textcls (config.json names no format): "
            "name a folder that textcls wrote"
        )
    if type(number) is int and number > FORMAT:
        raise InputError(
            f"{folder}: was written by a newer textcls (format {number!s:.20}, "
            f"this one reads up to {FORMAT}): update textcls"
        )
    return _read_json(path, _Config)


def _read_json(path: Path, wanted: type[_T]) -> _T:
    """Read UTF-8 JSON of one type; pydantic bounds how deep it may be nested.

    Raises:
        OSError: there is none.
        ValueError: it is something else.
    """
    try:
        return TypeAdapter(wanted).validate_json(path.read_bytes())
    except ValidationError as error:
        item = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = "".join(f"{part!r:.40}: " for part in item["loc"])
        raise ValueError(f"{path.name}: {where}{item['msg']}") from None


def _read_tokenizer(path: Path, config: TokenizerConfig) -> Tokenizer:
    # Only these have one. Never another file that the configuration may name.
    if config.name not in ("bpe", "wordpiece", "file"):
        try:
            return Tokenizer(config)
        except InputError as error:
            raise InputError(f"{path.parent}: {error}") from None
    text = _read_text(path)
    try:
        return Tokenizer(config, json=text)
    except InputError as error:  # it names an option, not the file
        raise ValueError(f"{path.name}: {str(error).partition(': ')[2]}") from None


def _read_pieces(path: Path, ids: Tensor) -> WordPieces:
    pieces = WordPieces(_read_text(path), ids.numpy())
    try:
        _ = pieces.tokenizer
    except ValueError as error:
        raise ValueError(f"{path.name}: is no usable tokenizer.json ({error})") from None
    return pieces


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: is no UTF-8 text") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{Path(error.filename).name}: {error.strerror}"
    return first_line(error)
