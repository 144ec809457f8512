"""fastText's features: texts to rows, numbered as fastText numbers them.

A bag has for each word of a text its own row, where it is known, and those of its character
n-grams; then those of the word n-grams. All n-grams share the buckets after the vocabulary. The end
of a text is a word, ``</s>``. How words are taken apart and hashed is in :mod:`textcls.fasttext`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textcls.arrow import Int32, Int64, lengths_of, offsets_of
from textcls.config import TokenizerConfig
from textcls.data.tokens import PIECE, Tokens
from textcls.data.vocabulary import Vocabulary
from textcls.fasttext_models.encoding import END, LABEL, Dictionary, Known, bags_of, split
from textcls.fasttext_models.format import Arguments
from textcls.fasttext_models.hashing import Words, char_ngram_texts, hashes_of


def split_lines(texts: pa.Array) -> tuple[pa.DictionaryArray, Int64]:
    """Split texts as fastText does lines; words that begin with ``__label__`` are none.

    Args:
        texts: Arrow string array; null stands for an empty text.

    Returns:
        The tokens, dictionary-encoded, and int64 ``[len(texts)]`` tokens per text.
    """
    lines = split([text or b"" for text in texts.cast(pa.large_binary()).to_pylist()])
    is_label = Words.of(lines.words).begin_with(LABEL)
    codes, lengths = lines.codes, lengths_of(lines.offsets)
    if is_label.any():
        kept = ~is_label[codes]
        codes, lengths = codes[kept], lengths_of(offsets_of(kept.view(np.uint8))[lines.offsets])
    words = pa.array(lines.words, pa.binary()).cast(pa.string())
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), words), lengths


class Occurrences(NamedTuple):
    """The words and word n-grams of a single text, in the order of its bag.

    Attributes:
        ids: int32 ``[n]``: of words those in the vocabulary, of n-grams their rows; -1: unknown.
        runs: int32 ``[n, 2]``: which words each is of.
        entries: int64 ``[n]``, how many rows of the bag each has.
    """

    ids: Int32
    runs: Int32
    entries: Int64


class FastTextFeatures:
    """Numbers the features of texts.

    Args:
        vocabulary: of the words, and of names that stand for no word of a text: those of the
            specials, and those with a space in them, but for one at their end, which stand for the
            word before it.
        config: for the lengths of n-grams, and the buckets.
        kept_buckets: the buckets that have a row, ascending, int32; None: all.
    """

    def __init__(
        self, vocabulary: Vocabulary, config: TokenizerConfig, kept_buckets: Int32 | None = None
    ) -> None:
        rows = None if kept_buckets is None else np.arange(len(kept_buckets), dtype=np.int32)
        self.vocabulary = vocabulary
        self.dictionary = Dictionary(
            Known(arguments_of(config), words_of(vocabulary), [], kept_buckets, rows)
        )

    @property
    def end_id(self) -> int:
        """The row of the end of a text; -1: it has none."""
        return self.dictionary.id_of(END)

    def __call__(self, tokens: Tokens) -> tuple[Int32, Int64]:
        """Return indices, int32 ``[num_indices]``, and offsets, int64 ``[num_texts + 1]``."""
        rows = self.dictionary.rows_of(_as_bytes(tokens.dictionary))
        indices, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for some in tokens.pieces(PIECE):
            ids, offsets = bags_of(self.dictionary, rows, some.codes.astype(np.int64), some.offsets)
            indices.append(ids.astype(np.int32))
            lengths.append(lengths_of(offsets))
        return np.concatenate(indices), offsets_of(np.concatenate(lengths))

    def of_words(self, ids: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
        """Return the rows of words of the vocabulary, int64 ``[n]``, and their offsets."""
        words = self.dictionary.file.words
        rows = self.dictionary.rows_of([words[number] for number in ids.tolist()])
        return rows.ids, rows.offsets

    def occurrences(self, tokens: Tokens) -> Occurrences:
        """Return what a single text's bag is made of."""
        rows = self.dictionary.rows_of(_as_bytes(tokens.dictionary))
        codes, count = tokens.codes, len(tokens.codes)
        grid, there = self.dictionary.ngram_grid(rows.hashes[codes], tokens.offsets)
        first, column = there.nonzero()
        words = np.arange(count)
        starts, stops = np.append(words, first), np.append(words + 1, first + column + 2)
        has_own = lengths_of(rows.offsets) > 0
        own = np.full(len(rows.offsets) - 1, -1, np.int64)
        own[has_own] = rows.ids[rows.offsets[:-1][has_own]]
        own[own >= len(self.vocabulary)] = -1  # the first of its n-grams
        return Occurrences(
            np.append(own[codes], grid[there]).astype(np.int32),
            np.stack([starts, stops], 1).astype(np.int32),
            np.append(lengths_of(rows.offsets)[codes], np.ones(len(first), np.int64)),
        )

    def names_of(self, word: str) -> list[str]:
        """Return what the rows of a word stand for, in their order: itself, character n-grams."""
        content, arguments = word.encode(), self.dictionary.arguments
        names = [word] if self.dictionary.id_of(content) >= 0 else []
        if content == END or not arguments.maxn:
            return names
        parts = char_ngram_texts(content, arguments.minn, arguments.maxn)
        hashes = hashes_of(Words.of(parts))
        _, there = self.dictionary.rows_of_buckets(hashes % np.uint32(arguments.bucket))
        return names + [parts[place].decode() for place in there.nonzero()[0].tolist()]


def arguments_of(config: TokenizerConfig) -> Arguments:
    """Return fastText's arguments for features, and its defaults for what these do not say."""
    shortest, longest = config.char_ngrams or (0, 0)
    return Arguments(
        dim=1,
        ws=5,
        epoch=5,
        minCount=config.min_freq,
        neg=5,
        wordNgrams=config.ngrams,
        loss="softmax",
        bucket=config.num_buckets,
        minn=shortest,
        maxn=longest,
        lrUpdateRate=100,
        t=1e-4,
    )


def words_of(vocabulary: Vocabulary) -> list[bytes]:
    """Return the words of texts that the tokens of a vocabulary stand for, by id.

    Those that stand for none are named by what no word of a text can be.
    """
    specials = len(vocabulary.specials)
    names = _as_bytes(vocabulary.tokens)
    return [b" " + name for name in names[:specials]] + [
        name.removesuffix(b" ") for name in names[specials:]
    ]


def _as_bytes(words: pa.Array) -> list[bytes]:
    found: list[bytes] = words.cast(pa.binary()).to_pylist()
    return found
