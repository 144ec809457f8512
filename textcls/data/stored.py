"""An encoder on the disk: in a model folder, and in the cache of a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from textcls.arrow import Int32
from textcls.config import TokenizerConfig
from textcls.data.char_ngrams import CharNgrams
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import Vocabulary
from textcls.vectors.pieces import WordPieces

Array = npt.NDArray[Any]

VOCABULARY, TOKENIZER, TENSORS = "vocabulary.json", "tokenizer.json", "encoder.safetensors"
PIECES = "pieces.json"
# The tensors that a model folder has of it, beside the embedding's.
TOKEN_WEIGHTS = "encoder.token_weights"
MEAN_LENGTH = "encoder.mean_length"
CHAR_KEYS = "encoder.char_keys"
CHAR_WEIGHTS = "encoder.char_weights"
PIECE_IDS = "encoder.piece_ids"
ENCODER_TENSORS = (TOKEN_WEIGHTS, MEAN_LENGTH, CHAR_KEYS, CHAR_WEIGHTS, PIECE_IDS)


def tensors_of(encoder: TextEncoder) -> dict[str, Array]:
    """Return what is learned beside the vocabulary, by the names that a model folder has."""
    found: dict[str, Array] = {}
    if encoder.token_weights is not None:
        found[TOKEN_WEIGHTS] = encoder.token_weights
    if encoder.mean_length is not None:
        found[MEAN_LENGTH] = np.array([encoder.mean_length], np.float32)
    if encoder.chars is not None:
        found[CHAR_KEYS] = encoder.chars.keys.view(np.int64)
    if encoder.char_weights is not None:
        found[CHAR_WEIGHTS] = encoder.char_weights
    if encoder.pieces is not None:
        found[PIECE_IDS] = encoder.pieces.ids
    return found


def assembled(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    tensors: Mapping[str, Array],
    kept_buckets: Int32 | None = None,
    pieces: WordPieces | None = None,
) -> TextEncoder:
    """Put an encoder together of what :func:`tensors_of` returned and the rest.

    Args:
        tokenizer: of texts.
        vocabulary: of their words.
        tensors: by name.
        kept_buckets: see :class:`TextEncoder`.
        pieces: see :class:`TextEncoder`.
    """
    config, keys = tokenizer.config, tensors.get(CHAR_KEYS)
    mean_length = tensors.get(MEAN_LENGTH)
    return TextEncoder(
        tokenizer,
        vocabulary,
        kept_buckets,
        tensors.get(TOKEN_WEIGHTS),
        tensors.get(CHAR_WEIGHTS),
        None if mean_length is None else float(mean_length[0]),
        None
        if keys is None or config.char_ngrams is None
        else CharNgrams(config.char_ngrams, config.char_buckets, keys.view(np.uint64)),
        pieces,
    )


def write_json(encoder: TextEncoder, folder: Path) -> None:
    """Write all but the tensors into a model folder.

    Raises:
        OSError: it cannot be written.
    """
    (folder / VOCABULARY).write_text(encoder.vocabulary.to_json(), encoding="utf-8")
    _write_tokenizers(encoder, folder)


def _write_tokenizers(encoder: TextEncoder, folder: Path) -> None:
    if encoder.tokenizer.json is not None:
        (folder / TOKENIZER).write_text(encoder.tokenizer.json, encoding="utf-8")
    if encoder.pieces is not None:
        (folder / PIECES).write_text(encoder.pieces.json, encoding="utf-8")


def save(encoder: TextEncoder, folder: Path) -> None:
    """Write what :func:`load` reads into a folder.

    Raises:
        OSError: it cannot be written.
    """
    _write_tokenizers(encoder, folder)
    words = {f"vocabulary.{name}": array for name, array in encoder.vocabulary.arrays().items()}
    safetensors.numpy.save_file(tensors_of(encoder) | words, folder / TENSORS)


def load(folder: Path, config: TokenizerConfig) -> TextEncoder:
    """Read what :func:`save` wrote.

    Raises:
        OSError, ValueError, KeyError, TypeError, InputError: it is missing or something else.
    """
    json, of_pieces = (
        path.read_text(encoding="utf-8") if path.exists() else None
        for path in (folder / TOKENIZER, folder / PIECES)
    )
    tensors = safetensors.numpy.load_file(folder / TENSORS)
    words = {name: tensors[f"vocabulary.{name}"] for name in ("tokens", "ends", "counts")}
    vocabulary = Vocabulary.from_arrays(words)
    pieces = None if of_pieces is None else WordPieces(of_pieces, tensors[PIECE_IDS])
    return assembled(Tokenizer(config, json=json), vocabulary, tensors, pieces=pieces)
