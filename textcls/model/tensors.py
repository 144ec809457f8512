"""The tensors of a model folder: read once they are known to be those of its other files.

Nothing is allocated because a file says so: a tensor's shape is compared with what the file's
length and the other files have room for before it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from safetensors import safe_open
from torch import Tensor

from textcls.checksum import check
from textcls.config import TokenizerConfig
from textcls.data.stored import (
    CHAR_KEYS,
    CHAR_WEIGHTS,
    MEAN_LENGTH,
    PIECE_IDS,
    TOKEN_WEIGHTS,
)
from textcls.data.vocabulary import Vocabulary
from textcls.model.table import (
    BUCKETS,
    CENTROIDS,
    CODEBOOKS,
    CODES,
    INT8,
    LARGEST_WEIGHT,
    SCALE,
    TABLE,
    beyond_measure,
    dequantize,
)
from textcls.pooling import Pooling
from textcls.task.multi import THRESHOLDS
from textcls.task.of_fasttext import TREE
from textcls.task.selective import MOST_POINTS, RISK_COVERAGE
from textcls.values import Fraction, Mode, PositiveInt

EXACT = ConfigDict(extra="forbid", strict=True)  # of JSON: no other keys, nothing converted


@dataclass(frozen=True, config=EXACT)
class Shape:
    """The arguments of :class:`textcls.model.embedding_bag.EmbeddingBagClassifier`."""

    num_embeddings: PositiveInt
    embedding_dim: Annotated[int, Field(ge=1, le=2**16)]
    num_classes: PositiveInt
    mode: Mode
    padding_id: Annotated[int, Field(ge=0)] | None
    dropout: Fraction


def read_tensors(
    path: Path,
    shape: Shape,
    tokenizer: TokenizerConfig,
    vocabulary: Vocabulary,
    mapped: bool = False,
) -> dict[str, Tensor]:
    """Return the tensors of the file, and the table where the file has a quantized one.

    Args:
        path: the safetensors file.
        shape: of the model.
        tokenizer: of the model.
        vocabulary: of the model.
        mapped: leave the table in the file, which is mapped into memory: processes share it.

    Raises:
        OSError, SafetensorError: there is no such file, or it is damaged.
        ValueError: it is of another model.
    """
    # safetensors is data by its format; torch.load is never called.
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        kinds = {name: (one.get_dtype(), one.get_shape()) for name, one in found.items()}
        for name, kind in _kinds(kinds, shape, tokenizer, vocabulary).items():
            if kinds.pop(name, None) != kind:
                raise ValueError(f"{path.name}: {name} is missing, or is not {_in_words(kind)}")
        if kinds:
            raise ValueError(f"{path.name}: holds what this model has not: {min(kinds)!r:.40}")
        # Copied: what is mapped would change with the file. The table is of numbers alone, none of
        # which says where something is.
        tensors = {name: file.get_tensor(name) for name in found}
        metadata = file.metadata()
    for name in tensors.keys() - ({TABLE} if mapped else set()):
        tensors[name] = tensors[name].clone()
    try:
        check(tensors, metadata)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    tensors[TABLE] = dequantize(tensors)
    wrong = beyond_measure(tensors)
    if wrong is not None:
        raise ValueError(f"{path.name}: {wrong} is not finite, or beyond all measure")
    if BUCKETS in tensors:
        buckets, limit = tensors[BUCKETS], tokenizer.num_buckets
        if ((buckets < 0) | (buckets >= limit)).any() or (buckets[1:] <= buckets[:-1]).any():
            raise ValueError(f"{path.name}: {BUCKETS} must ascend, from 0 to below {limit}")
    thresholds = tensors.get(THRESHOLDS, torch.ones(1))
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise ValueError(f"{path.name}: {THRESHOLDS} must be probabilities")
    # A token that all classes have alike has a log-count ratio of 0.
    for name, least in ((TOKEN_WEIGHTS, 0.0), (CHAR_WEIGHTS, 0.0), (MEAN_LENGTH, 1e-9)):
        found_here = tensors.get(name, torch.ones(1))
        if not ((found_here >= least) & (found_here <= LARGEST_WEIGHT)).all():
            raise ValueError(f"{path.name}: {name} must be finite and not below {least:g}")
    if CHAR_KEYS in tensors:
        keys, most = tensors[CHAR_KEYS].numpy().view("u8"), tokenizer.char_buckets
        if (keys[1:] <= keys[:-1]).any() or (most is not None and (keys >= most).any()):
            raise ValueError(f"{path.name}: {CHAR_KEYS} must ascend, and lie below char_buckets")
    if PIECE_IDS in tensors:
        ids = tensors[PIECE_IDS]
        if (ids < 0).any() or (ids[1:] <= ids[:-1]).any():
            raise ValueError(f"{path.name}: {PIECE_IDS} must ascend, from 0 on")
    return tensors


_Kind = tuple[str, list[int]]  # dtype as safetensors names it, shape


def _kinds(
    found: Mapping[str, _Kind], shape: Shape, tokenizer: TokenizerConfig, vocabulary: Vocabulary
) -> dict[str, _Kind]:
    """Return dtype and shape of each tensor that the other files call for.

    Args:
        found: those that there are: they say how the table is stored.
        shape: of the model.
        tokenizer: of the model.
        vocabulary: of the model.

    Raises:
        ValueError: the other files do not match each other.
    """
    rows, dim = shape.num_embeddings, shape.embedding_dim
    pooling = Pooling.parse(shape.mode)
    kinds = {
        "linear.weight": ("F32", [shape.num_classes, pooling.width(dim)]),
        "linear.bias": ("F32", [shape.num_classes]),
    }
    if pooling.learned:
        kinds["embedding.weighing"] = ("F32", [rows, 1])
    if INT8 in found:
        kinds |= {INT8: ("I8", [rows, dim]), SCALE: ("F32", [dim])}
    elif CODES in found:
        parts = max([1, *found[CODES][1][1:]])
        kinds |= {
            CODES: ("U8", [rows, parts]),
            CODEBOOKS: ("F32", [parts, CENTROIDS, dim // parts]),
        }
    else:
        kinds[TABLE] = ("F32", [rows, dim])
    chars, pieces = (sum(found.get(name, ("", []))[1][:1]) for name in (CHAR_KEYS, PIECE_IDS))
    if tokenizer.char_ngrams is not None and tokenizer.name != "fasttext":
        kinds[CHAR_KEYS] = ("I64", [chars])
    if CHAR_WEIGHTS in found:  # not in formats before 4
        kinds[CHAR_WEIGHTS] = ("F32", [chars])
    if PIECE_IDS in found:
        kinds[PIECE_IDS] = ("I32", [pieces])
    features = rows - chars - pieces
    if tokenizer.token_weights is not None or CHAR_WEIGHTS in found:
        kinds[TOKEN_WEIGHTS] = ("F32", [features])
    if tokenizer.token_weights == "bm25":
        kinds[MEAN_LENGTH] = ("F32", [1])
    if THRESHOLDS in found:
        kinds[THRESHOLDS] = ("F32", [shape.num_classes])
    if TREE in found:
        kinds[TREE] = ("I64", [shape.num_classes - 1, 2])
    if RISK_COVERAGE in found:
        points = min(MOST_POINTS, *found[RISK_COVERAGE][1][:1])
        kinds[RISK_COVERAGE] = ("F32", [points, 3])
    if BUCKETS in found:
        kinds[BUCKETS] = ("I32", [features - len(vocabulary)])
    elif features != (known := len(vocabulary) + tokenizer.num_buckets):
        raise ValueError(f"vocabulary.json: is of {known} rows, the table in config.json of {rows}")
    if shape.padding_id is not None and shape.padding_id >= rows:
        raise ValueError(f"config.json: no padding_id {shape.padding_id} among {rows} rows")
    return kinds


def _in_words(kind: _Kind) -> str:
    return f"{kind[0]} {kind[1]}"
