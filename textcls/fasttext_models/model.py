"""A supervised model of fastText, put to use.

Up to the mean over its rows a text is the sum of its words and of its word n-grams. So the sum of
the rows of each distinct word is taken once, and kept for later texts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from textcls.arrow import Int64, lengths_of, offsets_of
from textcls.fasttext_models.encoding import Dictionary, encode, split
from textcls.fasttext_models.format import Arguments, ModelFile, read_model_file
from textcls.fasttext_models.hashing import UInt32
from textcls.fasttext_models.losses import SHIFT, Output
from textcls.fasttext_models.matrices import Float32, Matrix, sums_of
from textcls.fasttext_models.ranking import best

# Texts that are worked on at a time, and bytes of them (or one text).
BLOCK_TEXTS, BLOCK_BYTES = 4_096, 1 << 20
# Texts of more words are added up row by row: by then it shows in what order numbers are rounded.
_LONG = 2_000
# Numbers of rows that are added up at a time.
_AT_ONCE = 1 << 20
# Numbers of the sums of words that are kept: 64 MiB.
_KEPT_NUMBERS = 1 << 24


class FastTextModel:
    """A supervised model.

    Args:
        source: a ``.bin`` or ``.ftz`` file, or what one would hold.

    Attributes:
        path: of the file; None: there is none.
        file: what it holds.

    Raises:
        FastTextError: the file is no such model, or damaged.
        OSError: it cannot be read.
    """

    def __init__(self, source: str | Path | ModelFile) -> None:
        self.path: Path | None = None
        if isinstance(source, ModelFile):
            self.file = source
        else:
            self.path = Path(source)
            self.file = read_model_file(self.path)
        self.dictionary = Dictionary(self.file)
        self.output = Output(self.file)
        self._known = _KnownWords(self.dictionary, self.file.input)

    def __reduce__(self) -> tuple[Any, ...]:
        return FastTextModel, (self.path or self.file,)

    @property
    def arguments(self) -> Arguments:
        """How it was trained."""
        return self.file.arguments

    def encode(self, texts: Sequence[bytes]) -> tuple[Int64, Int64]:
        """Return the rows of texts, int64 ``[n]``, and their offsets by text, as fastText has them.

        Args:
            texts: in UTF-8; lines, without their end.
        """
        return encode(self.dictionary, texts)

    def hidden(self, texts: Sequence[bytes]) -> tuple[Float32, Int64]:
        """Return the mean of the rows of each text, and how many these are.

        Returns:
            float32 ``[num_texts, dim]``, zeros where there is no row, and int64 ``[num_texts]``.
        """
        lines = split(texts)
        known = self._known.of(lines.words)
        sums = known.sums_of(lines.codes, lines.offsets)
        counts = np.add.reduceat(np.append(known.counts[lines.codes], 0), lines.offsets[:-1])
        if self.arguments.wordNgrams > 1:
            counted = known.is_word[lines.codes]
            offsets = offsets_of(counted.view(np.uint8))[lines.offsets]
            hashes = known.hashes[lines.codes[counted]]
            rows, ends = self.dictionary.ngrams(hashes, offsets)
            sums += self.file.input.sums(rows, ends)
            counts = counts + lengths_of(ends)
        for place in np.flatnonzero(lengths_of(lines.offsets) > _LONG).tolist():
            sums[place] = self._added_in_order(texts[place])
        sums /= np.maximum(counts, 1)[:, None]
        return sums, counts

    def _added_in_order(self, text: bytes) -> Float32:
        """Return the sum of the rows of a text as fastText rounds it, float32 ``[dim]``."""
        ids, _ = self.encode([text])
        total = np.zeros((1, self.arguments.dim), np.float32)
        step = max(_AT_ONCE // self.arguments.dim, 1)
        for start in range(0, len(ids), step):
            rows = self.file.input.rows(ids[start : start + step])
            total = sums_of(np.concatenate([total, rows]), None, np.array([0, len(rows) + 1]))
        found: Float32 = total[0]
        return found

    def predict(
        self, texts: Iterable[bytes], k: int, threshold: float
    ) -> Iterator[tuple[list[int], Float32]]:
        """Yield the numbers of the best labels of each text, and fastText's probabilities of them.

        A text without rows has none.

        Args:
            texts: in UTF-8; lines.
            k: so many labels at most; -1: all.
            threshold: labels less probable are left out.

        Raises:
            ValueError: ``k`` is 0, or below -1.
        """
        if k == 0 or k < -1:
            raise ValueError("k needs to be 1 or higher!")
        count = len(self.file.labels) if k == -1 else k
        for block in blocks_of(texts):
            hidden, num_rows = self.hidden(block)
            values = self.output.shifted(hidden)
            chosen = best(values, count, threshold + SHIFT)
            for row, numbers in enumerate(chosen):
                found = numbers if num_rows[row] else numbers[:0]
                yield found.tolist(), values[row, found].astype(np.float32)


def blocks_of(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut texts into blocks of bounded size, or of one text."""
    block: list[bytes] = []
    size = 0
    for text in texts:
        if block and (len(block) == BLOCK_TEXTS or size + len(text) > BLOCK_BYTES):
            yield block
            block, size = [], 0
        block.append(text)
        size += len(text)
    if block:
        yield block


class _Found:
    """What is known of the distinct words of some texts, by their places."""

    def __init__(self, table: Float32, slots: Int64, counts: Int64, hashes: UInt32, is_word: Any):
        self.table, self.slots = table, slots
        self.counts, self.hashes, self.is_word = counts, hashes, is_word

    def sums_of(self, codes: Int64, offsets: Int64) -> Float32:
        """Return the sums over the words of texts, float32 ``[num_texts, dim]``."""
        return sums_of(self.table, self.slots[codes], offsets)


class _KnownWords:
    """The sums of the rows of words that were seen."""

    def __init__(self, dictionary: Dictionary, matrix: Matrix) -> None:
        self.dictionary, self.matrix = dictionary, matrix
        self.most = max(_KEPT_NUMBERS // dictionary.arguments.dim, 1)
        self.lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self.slot_of: dict[bytes, int] = {}
        self.table = np.zeros((0, self.dictionary.arguments.dim), np.float32)
        self.counts = np.zeros(0, np.int64)
        self.hashes = np.zeros(0, np.uint32)
        self.is_word = np.zeros(0, np.bool_)

    def of(self, words: list[bytes]) -> _Found:
        """Return what is known of distinct words, after adding what is not."""
        with self.lock:
            slots = np.fromiter(map(self.slot_of.get, words, repeat(-1)), np.int64, len(words))
            (new,) = (slots < 0).nonzero()
            if len(new):
                if len(self.slot_of) + len(new) > self.most:
                    self._clear()
                    new = np.arange(len(words))
                slots[new] = self._add([words[place] for place in new.tolist()])
            return _Found(
                self.table, slots, self.counts[slots], self.hashes[slots], self.is_word[slots]
            )

    def _add(self, words: list[bytes]) -> Int64:
        rows = self.dictionary.rows_of(words)
        first, size = len(self.slot_of), len(self.slot_of) + len(words)
        sums = self.matrix.sums(rows.ids, rows.offsets)
        if size > len(self.table):  # twice as much: few copies
            capacity = max(size, min(2 * len(self.table), self.most))
            for name in ("table", "counts", "hashes", "is_word"):
                old = getattr(self, name)
                larger = np.zeros((capacity, *old.shape[1:]), old.dtype)
                larger[:first] = old[:first]
                setattr(self, name, larger)
        # Slots that others have taken are never written again: they may still read them.
        self.table[first:size] = sums
        self.counts[first:size] = lengths_of(rows.offsets)
        self.hashes[first:size], self.is_word[first:size] = rows.hashes, rows.is_word
        self.slot_of.update(zip(words, range(first, size), strict=True))
        return np.arange(first, size)
