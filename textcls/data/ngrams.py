"""From tokens to the ids of bags: words, and n-grams of them, exact or hashed.

An exact n-gram is a token of the vocabulary like any word: its words joined by one space, as in
torchtext's ``ngrams_iterator``. Hashed ones have no names: every n-gram of two words and more falls
into one of ``buckets`` rows after the vocabulary. Either way n-grams never cross the end of a text.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from textcls.arrow import Int32, Int64, lengths_of, offsets_of, release_memory
from textcls.config import TokenizerConfig
from textcls.data.counting import KeyCounter, UInt64, runs_of
from textcls.data.hashing import MULTIPLIER, buckets_of
from textcls.data.ngram_tree import Bools, Find, are_followed, count_ngrams
from textcls.data.tokens import Tokens
from textcls.data.train_tokens import TrainTokens
from textcls.data.vocabulary import Vocabulary

# Tokens that are encoded at one go: they bound the memory that is needed beside the corpus.
PIECE = 1 << 18
# How full the buckets are is measured on about so many n-grams of train: on a share of the buckets
# where there are more.
WATCHED_NGRAMS = 1 << 22


def build_vocabulary(tokens: TrainTokens, config: TokenizerConfig) -> tuple[Vocabulary, list[str]]:
    """Build the vocabulary from the tokens of the train split, exact n-grams included.

    Returns:
        The vocabulary, and sentences for the user on the n-grams.
    """
    if config.ngrams == 1 or config.num_buckets:
        vocabulary = Vocabulary.build(tokens, config.min_freq, config.max_size)
        if config.ngrams == 1 or (config.name == "fasttext" and config.char_ngrams is not None):
            return vocabulary, []
        return vocabulary, [describe_load(tokens, config.ngrams, config.num_buckets)]
    often = max(config.min_freq, config.ngram_min_freq)
    counted = count_ngrams(tokens, config.ngrams, often)
    vocabulary = Vocabulary.build(tokens, config.min_freq, config.max_size, more=counted)
    num_distinct, error = counted.distinct, counted.error
    del counted
    release_memory()  # of names, several times over
    kept = pc.sum(pc.match_substring(vocabulary.tokens, " ")).as_py()
    which = " (past 2 words: where their beginning is kept)" if config.ngrams > 2 else ""
    note = f"n-grams: {kept:,} kept of {num_distinct:,} distinct in train{which}"
    if error:
        note += (
            f"; the rarest were left out while counting, and any count may be too low by {error:,}"
        )
    return vocabulary, [note]


class NgramIds:
    """Numbers the words of texts and the n-grams of them.

    Within a bag each word is followed by the n-grams that begin with it, the short ones first.
    An unknown word is ``<unk>``. An exact n-gram that the vocabulary lacks is left out: most
    n-grams of any new text are new, and so many ``<unk>`` would drown what is known of it.

    Args:
        vocabulary: of the words and exact n-grams.
        config: for ``ngrams`` and ``buckets``.
        kept_buckets: the buckets that have a row, ascending, int32; None: all. An n-gram of another
            bucket is left out.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: TokenizerConfig,
        kept_buckets: Int32 | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.kept_buckets = kept_buckets
        self.ngrams = config.ngrams
        self.buckets = config.buckets

    def __call__(self, tokens: Tokens) -> tuple[Int32, Int64]:
        """Return indices, int32 ``[num_indices]``, and offsets, int64 ``[num_texts + 1]``."""
        if self.ngrams == 1:
            return self.vocabulary.encode(tokens), tokens.offsets
        # Memory that is never written to is never taken.
        indices = np.empty(self.most(tokens), np.int32)
        lengths, end = [np.zeros(0, np.int64)], 0
        for found, ends, _ in self.pieces(tokens, self.vocabulary.ids(tokens.dictionary)):
            indices[end : end + len(found)] = found
            end += len(found)
            lengths.append(lengths_of(ends))
        return indices[:end], offsets_of(np.concatenate(lengths))

    def most(self, tokens: Tokens) -> int:
        """Return how many indices the tokens come to at most."""
        return num_ngrams_of(tokens, 1, self.ngrams)

    def pieces(self, tokens: Tokens, words: Int32) -> Iterator[tuple[Int32, Int64, Int64]]:
        """Yield the indices of pieces of the texts.

        Args:
            tokens: of the texts.
            words: int32, an id for each word of their dictionary; -1: it has no index.

        Yields:
            Indices, int32 ``[n]``, offsets of the piece's texts in them, and how many words each
            has, int64 ``[num_texts]``.
        """
        for grid, offsets in self._grids(tokens, words):
            flat = grid.reshape(-1)
            there = flat >= 0
            if len(offsets) == 2:  # a single text may be long
                ends = np.array([0, np.count_nonzero(there)])
            else:
                ends = offsets_of(there.view(np.uint8))[offsets * self.ngrams]
            yield flat.compress(there), ends, lengths_of(offsets)

    def runs(self, tokens: Tokens) -> Int32:
        """Return which words each index is made of, int32 ``[num_indices, 2]``.

        Index ``i`` is of the words ``runs[i, 0]`` up to, without it, ``runs[i, 1]``, as all texts
        have them end to end.
        """
        if self.ngrams == 1:
            words = np.arange(len(tokens.codes), dtype=np.int32)
            return np.stack([words, words + 1], 1)
        runs, first = [np.zeros((0, 2), np.int32)], 0
        for grid, _ in self._grids(tokens, self.vocabulary.ids(tokens.dictionary)):
            starts, longer = np.nonzero(grid >= 0)
            runs.append((np.stack([starts, starts + longer + 1], 1) + first).astype(np.int32))
            first += len(grid)
        return np.concatenate(runs)

    def _grids(self, tokens: Tokens, words: Int32) -> Iterator[tuple[Int32, Int64]]:
        """Yield for pieces of the texts one row a word, and the offsets of the texts.

        A row has the word's id, then those of the n-grams that begin there, -1 for none.
        """
        find = self._finder(tokens.dictionary)
        for codes, follows, offsets in _pieces(tokens):
            grid = np.full((len(codes), self.ngrams), -1, np.int32)
            grid[:, 0] = words[codes]
            for start in range(0, len(codes), PIECE):  # more than one of a long text alone
                here = grid[start : start + PIECE]
                more = slice(start, start + PIECE + self.ngrams - 1)  # that they may end in
                for column, ids in enumerate(find(codes[more], follows[more]), start=1):
                    here[: len(ids), column] = ids[: len(here)]
            yield grid, offsets

    def _finder(self, dictionary: pa.Array) -> Find:
        if self.ngrams == 1:
            return lambda codes, follows: iter(())
        if self.buckets is None:
            return self.vocabulary.tree(self.ngrams).finder(dictionary)
        return self._find_hashed(dictionary, self.buckets)

    def _find_hashed(self, dictionary: pa.Array, buckets: int) -> Find:
        word_hashes = _hash_words(dictionary)
        first = np.int32(len(self.vocabulary))
        kept = self.kept_buckets

        def find(codes: Int32, follows: Bools) -> Iterator[Int32]:
            for hashes, whole in _hashes(word_hashes[codes], follows, self.ngrams):
                numbers = buckets_of(hashes, buckets)
                if kept is None:
                    rows = numbers.astype(np.int32)
                else:
                    rows = np.searchsorted(kept, numbers).astype(np.int32)
                    whole = whole & (np.append(kept, -1)[rows] == numbers)
                yield np.where(whole, rows + first, np.int32(-1))

        return find


def _pieces(tokens: Tokens) -> Iterator[tuple[Int32, Bools, Int64]]:
    """Cut tokens between texts into pieces of about ``PIECE`` tokens.

    Yields:
        Codes ``[n]``, whether the next code is of the same text ``[n]``, offsets of the texts.
    """
    for some in tokens.pieces(PIECE):
        yield some.codes, are_followed(some.offsets), some.offsets


def num_ngrams_of(tokens: Tokens, shortest: int, longest: int) -> int:
    """Return how many n-grams of ``shortest`` to ``longest`` words all texts hold together."""
    lengths = lengths_of(tokens.offsets)
    return sum(int(np.maximum(lengths - n + 1, 0).sum()) for n in range(shortest, longest + 1))


# --- hashed ----------------------------------------------------------------------------------
# A word's hash is of its letters alone, and an n-gram's of its words' hashes: no order of words, no
# block, no process can change them. Saved models depend on them.


def _hash_words(dictionary: pa.Array) -> UInt64:
    words = dictionary.cast(pa.binary()).to_pylist()
    return np.fromiter(map(xxhash.xxh3_64_intdigest, words), np.uint64, len(words))


def _hashes(word_hashes: UInt64, follows: Bools, longest: int) -> Iterator[tuple[UInt64, Bools]]:
    """Yield the hashes of the n-grams that begin at each word, and whether they end in its text.

    First those of 2 words, then of 3, and so on.
    """
    hashes, whole = word_hashes, np.ones(len(word_hashes), np.bool_)
    for length in range(2, min(longest, len(word_hashes)) + 1):
        count = len(word_hashes) - length + 1
        hashes = hashes[:count] * MULTIPLIER + word_hashes[length - 1 :]
        whole = whole[:count] & follows[length - 2 : length - 2 + count]
        yield hashes, whole


def describe_load(tokens: TrainTokens, longest: int, buckets: int) -> str:
    """Say how full the buckets are with the n-grams of 2 to ``longest`` words."""
    total = sum(num_ngrams_of(part, 2, longest) for part in tokens.parts())
    # Hashes fall into all buckets alike: the first of them stand for all.
    watched = buckets if total <= WATCHED_NGRAMS else -(-buckets * WATCHED_NGRAMS // total)
    counter = KeyCounter()
    for part in tokens.parts():
        word_hashes = _hash_words(part.dictionary)
        for codes, goes_on, _ in _pieces(part):
            for hashes, whole in _hashes(word_hashes[codes], goes_on, longest):
                found = hashes[whole & (buckets_of(hashes, buckets) < watched)]
                counter.add(found, np.ones(len(found), np.int64))
    distinct, _ = counter.total()
    _, fill = runs_of(buckets_of(distinct, buckets))
    shared = fill[fill > 1].sum() / max(len(distinct), 1)
    number = round(len(distinct) * buckets / watched)
    return (
        f"n-grams: {'' if watched == buckets else 'about '}{number:,} distinct in train, in "
        f"{buckets:,} buckets ({number / buckets:.2f} each); {shared:.1%} share their bucket"
        + (": raise tokenizer.buckets or lower tokenizer.ngrams" if shared > 0.5 else "")
    )
