"""Where the entries of one text's bag come from, for explanations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32, Int64
from textcls.data.encoder import TextEncoder
from textcls.data.fasttext_features import FastTextFeatures
from textcls.data.features import Encoded, num_entries
from textcls.data.tokens import Tokens
from textcls.data.words import names_of_parts, shares_of_chars


class Sources(NamedTuple):
    """The occurrences of a text's features, and the entries of its bag.

    An occurrence is a word or a word n-gram where it stands. All those of a feature have the
    entries of the feature in common: one, or for an unknown word one for each character n-gram and
    each piece.

    Attributes:
        encoded: the bag.
        ids: int32 ``[num_occurrences]``, rows of the embedding, 0 for unknown words.
        runs: int32 ``[num_occurrences, 2]``: occurrence ``i`` is of the words ``runs[i, 0]`` up to,
            without it, ``runs[i, 1]``.
        feature: int64 ``[num_occurrences]``: the feature of each; that of what has no entry is
            ``num_features``.
        feature_of_entry: int64 ``[num_entries]``, ascending.
        num_features: that have entries.
    """

    encoded: Encoded
    ids: Int32
    runs: Int32
    feature: Int64
    feature_of_entry: Int64
    num_features: int


class Entries(NamedTuple):
    """The entries of a bag.

    Attributes:
        names: of words and n-grams; a character n-gram's is its text, ends of words marked; a
            piece's is that of its tokenizer.
        runs: int32 ``[num_entries, 2]``, of which words each is, or is a part.
    """

    names: tuple[str, ...]
    runs: Int32


class CharParts(NamedTuple):
    """The character n-grams and pieces that are part of the entries of a bag, entry by entry.

    Of a known word, whose vector was composed after training, they are the n-grams that it was
    composed of. An entry of an unknown word is an n-gram or a piece, and its only part.

    Attributes:
        names: as those of :class:`Entries`.
        entries: int64 ``[num_parts]``, ascending: the entry that each is part of.
        ids: int32 ``[num_parts]``, embedding rows.
        shares: float64 ``[num_parts]``: what its row is multiplied by in the vector of the entry.
    """

    names: tuple[str, ...]
    entries: Int64
    ids: Int32
    shares: npt.NDArray[np.float64]


def char_parts_of(
    encoder: TextEncoder, sources: Sources, named: Entries, of_known: bool = True
) -> CharParts:
    """Return the parts of a single text's bag; none for models of formats before 4.

    Args:
        encoder: that made the bag.
        sources: of the bag.
        named: the entries of the bag.
        of_known: whether to divide known words as well.
    """
    chars, indices, first = encoder.chars, sources.encoded.indices, encoder.num_features
    names: list[str] = []
    rows: list[int] = []
    entries: list[int] = []
    if encoder.of_fasttext is not None:
        return _chars_of_fasttext(encoder, sources, named)
    if chars is None or encoder.char_weights is not None:
        for entry, (i, name) in enumerate(zip(indices.tolist(), named.names, strict=True)):
            found: dict[int, str] = {}
            if i >= first:
                found = {i: name}
            elif chars and of_known and i < len(encoder.is_word) and encoder.is_word[i]:
                found = {first + place: part for place, part in chars.names(name).items()}
            rows += found
            names += found.values()
            entries += [entry] * len(found)
    at, ids = np.array(entries, np.int64), np.array(rows, np.int32)
    shares = np.ones(len(ids))
    known = indices[at] < first
    if known.any():
        shares[known] = shares_of_chars(encoder, indices[at[known]], ids[known] - first)
    return CharParts(tuple(names), at, ids, shares)


def entries_of(encoder: TextEncoder, words: Sequence[str], sources: Sources) -> Entries:
    """Return the entries of a single text's bag by name, each where its feature first stands.

    Args:
        encoder: that made the bag.
        words: of the text.
        sources: of the bag.
    """
    _, first = np.unique(sources.feature, return_index=True)
    runs = sources.runs[first[sources.feature_of_entry]]
    if encoder.of_fasttext is not None:
        return Entries(_names_of_fasttext(encoder.of_fasttext, words, sources), runs)
    names = []
    known: dict[int, dict[int, str]] = {}
    for i, (start, stop) in zip(sources.encoded.indices.tolist(), runs.tolist(), strict=True):
        if i >= encoder.num_features:
            if start not in known:
                known[start] = names_of_parts(encoder, words[start])
            names.append(known[start][i])
        else:
            names.append(" ".join(words[start:stop]))
    return Entries(tuple(names), runs)


def sources_of(encoder: TextEncoder, tokens: Tokens) -> Sources:
    """Return the sources of a single text's bag."""
    if encoder.of_fasttext is not None:
        return _sources_of_fasttext(encoder, encoder.of_fasttext, tokens)
    encoded, runs = encoder.encode_tokens(tokens), encoder.ids.runs(tokens)
    if not encoder.has_weights:
        each = np.arange(len(runs))
        return Sources(encoded, encoded.indices, runs, each, each, len(each))
    words, unknown = encoder.numbered(tokens.dictionary)
    nothing = encoder.num_embeddings + len(words)
    words = np.where(words < 0, np.int32(nothing), words)
    found = [ids for ids, _, _ in encoder.ids.pieces(tokens, words)]
    numbers = np.concatenate([np.zeros(0, np.int32), *found])
    if encoder.config.counts is None:
        features, feature = numbers, np.arange(len(numbers))
    else:
        features = np.unique(numbers[numbers != nothing])
        feature = np.searchsorted(features, numbers)
    entries = np.ones(len(features), np.int64)
    if unknown is not None:
        entries = num_entries(features, unknown, encoder.num_embeddings)
    known = numbers < encoder.num_embeddings
    return Sources(
        encoded,
        np.where(known, numbers, encoder.vocabulary.unknown_id).astype(np.int32),
        runs,
        feature,
        np.repeat(np.arange(len(features)), entries),
        len(features),
    )


# --- fastText's ------------------------------------------------------------------------------


def _sources_of_fasttext(
    encoder: TextEncoder, features: FastTextFeatures, tokens: Tokens
) -> Sources:
    """Return the sources of a bag whose words have a row of their own and those of n-grams."""
    found = features.occurrences(tokens)
    each = np.arange(len(found.ids))
    return Sources(
        encoder.encode_tokens(tokens),
        np.where(found.ids < 0, np.int32(encoder.vocabulary.unknown_id), found.ids),
        found.runs,
        each,
        np.repeat(each, found.entries),
        len(each),
    )


def _names_of_fasttext(
    features: FastTextFeatures, words: Sequence[str], sources: Sources
) -> tuple[str, ...]:
    names: list[str] = []
    for start, stop in sources.runs.tolist():
        is_word = stop - start == 1
        names += features.names_of(words[start]) if is_word else [" ".join(words[start:stop])]
    return tuple(names)


def _chars_of_fasttext(encoder: TextEncoder, sources: Sources, named: Entries) -> CharParts:
    """Return the entries that are character n-grams of words: each is its own part."""
    indices = sources.encoded.indices
    is_char = (np.diff(named.runs, axis=1)[:, 0] == 1) & (indices >= len(encoder.vocabulary))
    (entries,) = is_char.nonzero()
    names = tuple(named.names[entry] for entry in entries.tolist())
    return CharParts(names, entries, indices[entries], np.ones(len(entries)))
