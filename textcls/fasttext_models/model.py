"""A supervised model of fastText, put to use.

Up to the mean over its rows a text is the sum of its words and of its word n-grams. So the sum of
the rows of each distinct word is taken once, and kept for later texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from textcls.arrow import Int64, lengths_of, offsets_of
from textcls.fasttext_models.encoding import Dictionary, encode, split
from textcls.fasttext_models.format import Arguments, ModelFile, read_model_file
from textcls.fasttext_models.known import KnownWords
from textcls.fasttext_models.losses import Output
from textcls.fasttext_models.matrices import Float32, sums_of
from textcls.fasttext_models.ranking import best
from textcls.threads import made_ahead

# Texts that are worked on at a time, and bytes of them (or one text).
BLOCK_TEXTS, BLOCK_BYTES = 1 << 14, 1 << 20
# Texts of more words are added up row by row: by then it shows in what order numbers are rounded.
_LONG = 2_000
# Probabilities that are worked on at a time: what fits into a processor's cache.
_AT_ONCE = 1 << 17


class Ranked(NamedTuple):
    """The best labels of some texts.

    Attributes:
        numbers: int64 ``[num_texts, k]``, descending; what they are from ``counts`` on has no
            meaning.
        counts: int64 ``[num_texts]``.
        probabilities: as fastText has them, float32 ``[num_texts, k]``.
    """

    numbers: Int64
    counts: Int64
    probabilities: Float32


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
        self._known = KnownWords(self.dictionary, self.file.input)

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
        is_long = lengths_of(lines.offsets) > _LONG
        if is_long.any():
            return self._with_long(texts, is_long)
        slots, known = self._known.of(lines.words)
        tokens = slots[lines.codes]
        with_counts = sums_of(known.sums, tokens, lines.offsets)
        sums, counts = with_counts[:, :-1], with_counts[:, -1].astype(np.int64)
        if self.arguments.wordNgrams > 1:
            offsets = lines.offsets
            if not known.is_word[slots].all():
                is_word = known.is_word[tokens]
                tokens, offsets = tokens[is_word], offsets_of(is_word.view(np.uint8))[offsets]
            rows, ends = self.dictionary.ngrams(known.hashes[tokens], offsets)
            sums += self.file.input.sums(rows, ends)
            counts += lengths_of(ends)
        sums /= np.maximum(counts, 1)[:, None]
        return sums, counts

    def _with_long(
        self, texts: Sequence[bytes], is_long: npt.NDArray[np.bool_]
    ) -> tuple[Float32, Int64]:
        """Return the same, of long texts as fastText rounds it: their rows added in its order."""
        means = np.empty((len(texts), self.arguments.dim), np.float32)
        counts = np.empty(len(texts), np.int64)
        long = list(compress(texts, is_long))
        short = list(compress(texts, ~is_long))
        means[~is_long], counts[~is_long] = self.hidden(short)
        ids, offsets = self.encode(long)
        counts[is_long] = lengths_of(offsets)
        means[is_long] = self.file.input.sums(ids, offsets)
        means[is_long] /= np.maximum(counts[is_long], 1)[:, None]
        return means, counts

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
        for part in self.ranked(texts, k, threshold):
            numbers = trimmed(part.numbers.tolist(), part.counts)
            yield from zip(numbers, trimmed(list(part.probabilities), part.counts), strict=True)

    def ranked(self, texts: Iterable[bytes], k: int, threshold: float) -> Iterator[Ranked]:
        """Yield what :meth:`predict` does, of so many texts at once as are worked on together."""
        if k == 0 or k < -1:
            raise ValueError("k needs to be 1 or higher!")
        work = partial(self._ranked, k=k, threshold=threshold)
        blocks, threads = blocks_of(texts), torch.get_num_threads()
        first = list(islice(blocks, 2))
        ordered = chain(first, blocks)
        if len(first) < 2 or threads == 1:
            yield from chain.from_iterable(map(work, ordered))
        else:
            yield from chain.from_iterable(made_ahead(work, ordered, threads, threads))

    def _ranked(self, texts: Sequence[bytes], k: int, threshold: float) -> list[Ranked]:
        hidden, num_rows = self.hidden(texts)
        num_labels = len(self.file.labels)
        parts = []
        step = max(_AT_ONCE // num_labels, 1)
        for start in range(0, len(texts), step):
            part = slice(start, start + step)
            logarithms, is_allowed = self.output.logarithms(hidden[part], threshold)
            numbers, counts = best(logarithms, is_allowed, num_labels if k == -1 else k)
            counts[num_rows[part] == 0] = 0
            values = logarithms[np.arange(len(counts))[:, None], numbers]
            parts.append(Ranked(numbers, counts, np.exp(values)))
        return parts


def trimmed(rows: list[Any], counts: Int64) -> list[Any]:
    """Cut rows that have less than the others, in place.

    Args:
        rows: lists or arrays, each of the same length.
        counts: how much of each stays.
    """
    for place in (counts < max(map(len, rows), default=0)).nonzero()[0].tolist():
        rows[place] = rows[place][: counts[place]]
    return rows


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
