"""Words as bags: those of a vocabulary of their character n-grams, unknown ones of pieces too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from textcls.arrow import Int32, Int64, integers, lengths_of, offsets_of
from textcls.data.composition import Composition
from textcls.data.features import Unknown
from textcls.data.token_weights import Float32

if TYPE_CHECKING:
    from textcls.data.encoder import TextEncoder


def composition_of(encoder: TextEncoder) -> Composition | None:
    """Return what each id is composed of; None where there are no character n-grams.

    The weights of a word's own row and of those of its character n-grams, in the vector of the
    word, are in the ratio of ``W`` and ``char_weights``, and the sum of their squares is 1,
    with ``W`` the token weight that the word has by itself. Times the word's weight in a bag,
    it is as if these features stood in the bag themselves.
    """
    if encoder.chars is None:
        return None
    offsets, chars = chars_of_vocabulary(encoder)
    lengths = lengths_of(offsets)
    shares = shares_of_chars(encoder, np.repeat(np.arange(len(lengths)), lengths), chars)
    return Composition.of_words(
        torch.from_numpy(lengths),
        torch.from_numpy(chars + np.int32(encoder.num_features)),
        torch.from_numpy(shares),
        encoder.num_embeddings,
    )


def shares_of_chars(encoder: TextEncoder, words: npt.NDArray[np.integer], chars: Int32) -> Float32:
    """Return what the rows of character n-grams weigh in the vectors of words, float32 ``[n]``.

    Args:
        encoder: with weights of character n-grams.
        words: ids of words of the vocabulary, ``[n]``.
        chars: for each a place in ``chars``, ``[n]``.
    """
    assert encoder.char_weights is not None
    assert encoder.token_weights is not None
    whole = encoder.token_weights[words]
    # A word weighs nothing where neither it nor any of its n-grams does.
    shares: Float32 = np.zeros_like(whole)
    np.divide(encoder.char_weights[chars], whole, shares, where=whole > 0)
    return shares


def parts_of_words(encoder: TextEncoder, words: pa.Array | list[str]) -> Unknown:
    """Return what words consist of where they are unknown: character n-grams, then pieces.

    Args:
        encoder: that has any of these.
        words: Arrow strings, or a few of Python's, at least one.
    """
    parts = None
    if encoder.chars is not None:
        offsets, chars = encoder.chars.of_words(words)
        weights = weights_of_chars(encoder, chars, lengths_of(offsets))
        parts = Unknown(offsets, chars + np.int32(encoder.num_features), weights)
    if encoder.pieces is not None:
        names = words if isinstance(words, list) else words.to_pylist()
        offsets, places, shares = encoder.pieces.of_words(names)
        pieces = Unknown(offsets, places + np.int32(encoder.first_piece), shares)
        parts = pieces if parts is None else parts.with_those_of(pieces)
    assert parts is not None
    return parts


def names_of_parts(encoder: TextEncoder, word: str) -> dict[int, str]:
    """Return the character n-grams and the pieces of a word by their rows."""
    names: dict[int, str] = {}
    for parts, first in (
        (encoder.chars, encoder.num_features),
        (encoder.pieces, encoder.first_piece),
    ):
        if parts is not None:
            names |= {first + place: name for place, name in parts.names(word).items()}
    return names


def weights_of_chars(encoder: TextEncoder, chars: Int32, lengths: Int64) -> Float32:
    """Return what the character n-grams of words weigh in a bag that has these words once.

    Args:
        encoder: that has the n-grams.
        chars: places in ``chars`` of those of each word in turn, int32 ``[n]``.
        lengths: how many each word has, int64 ``[num_words]``.
    """
    if encoder.char_weights is not None:
        return encoder.char_weights[chars]
    unknown = 1.0 if encoder.token_weights is None else float(encoder.token_weights[0])
    share = unknown * encoder.config.char_weight / np.sqrt(lengths.clip(min=1))
    return np.repeat(share, lengths).astype(np.float32)


def chars_of_vocabulary(encoder: TextEncoder) -> tuple[Int64, Int32]:
    """Return the character n-grams of each id of the vocabulary: none of what is no word.

    Returns:
        Offsets, int64 ``[len(vocabulary) + 1]``, and places in ``chars``, int32.
    """
    assert encoder.chars is not None
    names = encoder.vocabulary.tokens
    places = np.flatnonzero(encoder.is_word)
    offsets, chars = encoder.chars.of_words(names.take(integers(places)))
    lengths = np.zeros(len(names), np.int64)
    lengths[places] = lengths_of(offsets)
    return offsets_of(lengths), chars
