"""fastText's model files, ``.bin`` and ``.ftz``, of versions 11 and 12.

A file is a header, the dictionary, the input matrix (a row for each word and bucket) and the output
matrix (a row for each label, or for each inner node of the tree of a hierarchical softmax). Nothing
in it is believed before it is checked against the length of the file, so that a damaged file takes
no memory. Dense matrices stay in the file, mapped into memory. Layout:
https://github.com/facebookresearch/fastText/blob/main/src/fasttext.cc (``saveModel``).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32, Int64
from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.matrices import CENTROIDS, Dense, Float32, Matrix, Norms, Quantised

MAGIC, VERSIONS = 793712314, (11, 12)
SUPERVISED = 3
LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
ARGUMENTS = struct.Struct("<12id")
COUNTS = struct.Struct("<3i2q")
ENTRY = struct.Struct("<qb")
WORD, LABEL = 0, 1
# What no sensible model has more of; it bounds what a damaged header can ask for.
_MOST_CHARACTERS, _MOST_WORDS = 100, 100
# A label has less, which the tree of a hierarchical softmax relies on.
MOST_TEXTS = 10**15


@dataclass(frozen=True)
class Arguments:
    """How a model was trained, by fastText's names."""

    dim: int
    ws: int
    epoch: int
    minCount: int  # noqa: N815
    neg: int
    wordNgrams: int  # noqa: N815
    loss: str
    bucket: int
    minn: int
    maxn: int
    lrUpdateRate: int  # noqa: N815
    t: float

    def shown(self) -> Iterator[tuple[str, str]]:
        """Yield names and values as fastText prints them."""
        for name, value in dataclasses.asdict(self).items():
            if name == "loss":
                yield name, "one-vs-all" if value == "ova" else value
                yield "model", "sup"
            else:
                yield name, f"{value:.6g}" if name == "t" else str(value)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model file holds.

    Attributes:
        arguments: of the training.
        words: bytes, by id.
        word_counts: int64 ``[num_words]``.
        labels: bytes, with their prefix, by id.
        label_counts: int64 ``[num_labels]``.
        num_tokens: of the training texts.
        kept_buckets: those that have a row, ascending, int32; None: all.
        rows_of_buckets: for each of these its row after those of the words.
        input: a row for each word, then for each (kept) bucket.
        output: a row for each label, or for each inner node of the tree.
    """

    arguments: Arguments
    words: list[bytes]
    word_counts: Int64
    labels: list[bytes]
    label_counts: Int64
    num_tokens: int
    kept_buckets: Int32 | None
    rows_of_buckets: Int32 | None
    input: Matrix
    output: Matrix

    @property
    def is_quantised(self) -> bool:
        """Whether the input matrix is."""
        return isinstance(self.input, Quantised)

    def with_matrices(self, source: npt.NDArray[Any], output: npt.NDArray[Any]) -> ModelFile:
        """Return the model with other, dense matrices.

        Args:
            source: instead of ``input``, ``[rows, dim]`` of any ``dim``, with as many rows.
            output: ``[labels, dim]``.

        Raises:
            FastTextError: the shapes do not fit.
        """
        rows, targets = self.input.shape[0], self.output.shape[0]
        dim = source.shape[-1] if source.ndim else 0
        if source.shape != (rows, dim) or output.shape != (targets, dim) or not dim:
            raise FastTextError(
                f"matrices of shapes {source.shape} and {output.shape}: the model needs "
                f"({rows}, dim) and ({targets}, dim)"
            )
        return dataclasses.replace(
            self,
            arguments=dataclasses.replace(self.arguments, dim=dim),
            input=Dense(np.array(source, np.float32, order="C")),
            output=Dense(np.array(output, np.float32, order="C")),
        )


def is_model_file(path: Path) -> bool:
    """Say whether a file begins as fastText's model files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == struct.pack("<i", MAGIC)
    except (OSError, ValueError):  # of a path with a zero byte
        return False


def read_model_file(path: Path, labelled: bool = True) -> ModelFile:
    """Read a model.

    Args:
        path: of the file.
        labelled: whether it has to be a supervised one. Without labels ``output`` has a row for
            each word.

    Raises:
        FastTextError: the file is none, is damaged, or was not trained on labels.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(0, 2)
        size = file.tell()
    if not size:
        raise FastTextError(f"{path}: is empty")
    # Private to the process where it is written to, which it is not: torch takes no other.
    content = np.memmap(path, np.uint8, "c")
    try:
        return _Reader(path, content, labelled).read()
    except (struct.error, MemoryError, OverflowError):
        raise FastTextError(f"{path}: is damaged: it ends too early") from None


class _Reader:
    def __init__(self, path: Path, content: npt.NDArray[np.uint8], labelled: bool) -> None:
        self.path, self.content, self.place = path, content, 0
        self.labelled = self.is_supervised = labelled

    def read(self) -> ModelFile:
        arguments = self._header()
        words, word_counts, labels, label_counts, num_tokens, kept = self._dictionary(arguments)
        is_quantised = self._flag("whether the matrix is quantised")
        num_buckets = arguments.bucket if kept is None else len(kept[0])
        source = self._quantised() if is_quantised else self._dense()
        if kept is not None and not is_quantised:
            self._damaged("its buckets are pruned, its matrix is not quantised")
        has_ngrams = arguments.maxn > 0 or arguments.wordNgrams > 1
        expected = len(words) + (num_buckets if has_ngrams or kept is not None else 0)
        rows, width = source.shape
        if width != arguments.dim or rows < expected:
            self._damaged(
                f"its input matrix is {rows:,} x {width}, where {len(words):,} words, "
                f"{num_buckets:,} buckets and dim={arguments.dim} need {expected:,} x "
                f"{arguments.dim}"
            )
        is_quantised = self._flag("whether the output is quantised") and is_quantised
        output = self._quantised() if is_quantised else self._dense()
        targets = len(labels) if self.is_supervised else len(words)
        if output.shape != (targets, arguments.dim):
            self._damaged(
                f"its output matrix is {output.shape[0]:,} x {output.shape[1]}, for {targets:,} "
                f"{'labels' if self.is_supervised else 'words'} and dim={arguments.dim}"
            )
        return ModelFile(
            arguments,
            words,
            word_counts,
            labels,
            label_counts,
            num_tokens,
            None if kept is None else kept[0],
            None if kept is None else kept[1],
            source,
            output,
        )

    def _header(self) -> Arguments:
        if len(self.content) < 4 or self._unpack(struct.Struct("<i"))[0] != MAGIC:
            raise FastTextError(f"{self.path}: is no model of fastText (.bin or .ftz)")
        (version,) = self._unpack(struct.Struct("<i"))
        if version not in VERSIONS:
            raise FastTextError(
                f"{self.path}: is of version {version} of fastText's format: versions 11 and 12 "
                "are read"
            )
        (dim, ws, epoch, min_count, neg, ngrams, loss, model, bucket, minn, maxn, rate, t) = (
            self._unpack(ARGUMENTS)
        )
        if model != SUPERVISED:
            name = {1: "cbow", 2: "skipgram"}.get(model)
            if name is None:
                self._damaged(f"it has a model of kind {model}")
            if self.labelled:
                raise FastTextError(
                    f"{self.path}: has vectors of words ({name}), and no labels: name a model that "
                    "fastText trained with 'supervised'"
                )
        self.is_supervised = model == SUPERVISED
        if version == 11 and self.is_supervised:  # such models did not use character n-grams
            maxn = 0
        if loss not in LOSSES:
            self._damaged(f"it has a loss of kind {loss}")
        if dim < 1 or maxn > _MOST_CHARACTERS or ngrams > _MOST_WORDS or bucket < 0:
            self._damaged(f"dim={dim}, maxn={maxn}, wordNgrams={ngrams}, bucket={bucket}")
        if bucket == 0 and (ngrams > 1 or maxn > 0):
            self._damaged("it has n-grams and no bucket")
        return Arguments(
            dim, ws, epoch, min_count, neg, ngrams, LOSSES[loss], bucket, minn, maxn, rate, t
        )

    def _dictionary(
        self, arguments: Arguments
    ) -> tuple[list[bytes], Int64, list[bytes], Int64, int, tuple[Int32, Int32] | None]:
        size, num_words, num_labels, num_tokens, num_kept = self._unpack(COUNTS)
        if min(num_words, num_labels) < 0 or size != num_words + num_labels:
            self._damaged(f"{size} entries, {num_words} words and {num_labels} labels")
        if self.is_supervised and not num_labels:
            self._damaged("it has no label")
        if size * (ENTRY.size + 1) > len(self.content):
            self._damaged(f"it promises {size:,} entries")
        names, counts = [], np.empty(size, np.int64)
        content, place = memoryview(self.content.data), self.place
        for number in range(size):
            end = _find_zero(self.content, content, place)
            if end < 0 or end + 1 + ENTRY.size > len(content):
                self._damaged("it ends within the dictionary")
            names.append(bytes(content[place:end]))
            counts[number], kind = ENTRY.unpack_from(content, end + 1)
            if kind != (WORD if number < num_words else LABEL):
                self._damaged(f"entry {number:,} of the dictionary is of kind {kind}")
            place = end + 1 + ENTRY.size
        self.place = place
        (wrong,) = ((counts[num_words:] < 0) | (counts[num_words:] >= MOST_TEXTS)).nonzero()
        if len(wrong):
            self._damaged(f"a label stands {counts[num_words + wrong[0]]:,} times")
        kept = None
        if num_kept >= 0:
            pairs = self._array(np.dtype("<i4"), 2 * num_kept, "pruned buckets").reshape(-1, 2)
            order = np.argsort(pairs[:, 0], kind="stable")
            kept = np.ascontiguousarray(pairs[order, 0]), np.ascontiguousarray(pairs[order, 1])
            outside = num_kept and (
                kept[0][0] < 0
                or kept[0][-1] >= max(arguments.bucket, 1)
                or kept[1].min() < 0
                or kept[1].max() >= num_kept
                or (np.diff(kept[0]) == 0).any()
            )
            if outside:
                self._damaged("its pruned buckets are none")
        return (
            names[:num_words],
            counts[:num_words],
            names[num_words:],
            counts[num_words:],
            num_tokens,
            kept,
        )

    def _dense(self) -> Dense:
        rows, width = self._shape()
        numbers = self._bytes(rows * width * 4, f"a matrix of {rows:,} x {width}")
        return Dense(np.ndarray((rows, width), "<f4", numbers))

    def _quantised(self) -> Quantised:
        has_norms = self._flag("whether rows have norms")
        rows, width = self._shape()
        (num_codes,) = self._unpack(struct.Struct("<i"))
        if rows and (num_codes < 0 or num_codes % rows):
            self._damaged(f"{num_codes:,} codes of {rows:,} rows")
        parts = num_codes // max(rows, 1)
        codes = self._array(np.dtype(np.uint8), num_codes, "codes").reshape(rows, parts)
        centroids, last = self._quantiser(width, parts)
        norms = None
        if has_norms:
            of_rows = self._array(np.dtype(np.uint8), rows, "codes of norms")
            _, values = self._quantiser(1, 1)
            norms = Norms(of_rows, values[:, 0])
        return Quantised(codes, centroids, last, norms)

    def _quantiser(self, width: int, parts: int) -> tuple[Float32, Float32]:
        dim, own_parts, part, rest = self._unpack(struct.Struct("<4i"))
        if (dim, own_parts) != (width, parts) or parts < 1 or part < 1 or rest < 1:
            self._damaged(f"a quantiser of {own_parts} parts of {dim} numbers, not {width}")
        if (parts - 1) * part + rest != dim:
            self._damaged(f"a quantiser of {parts} parts of {part} and {rest} numbers")
        numbers = self._array(np.dtype("<f4"), dim * CENTROIDS, "centroids")
        whole = (parts - 1) * CENTROIDS * part
        return (
            numbers[:whole].reshape(parts - 1, CENTROIDS, part),
            numbers[whole:].reshape(CENTROIDS, rest),
        )

    def _shape(self) -> tuple[int, int]:
        rows, width = self._unpack(struct.Struct("<2q"))
        if rows < 0 or width < 1 or max(rows, width) > len(self.content):
            self._damaged(f"it promises a matrix of {rows:,} x {width:,}")
        return rows, width

    def _flag(self, what: str) -> bool:
        (value,) = self._unpack(struct.Struct("<B"))
        if value > 1:
            self._damaged(f"{what}: {value}")
        return bool(value)

    def _array(self, dtype: np.dtype[Any], count: int, what: str) -> npt.NDArray[Any]:
        """Return numbers as a copy, which is aligned."""
        found = self._bytes(count * dtype.itemsize, what)
        return np.frombuffer(found.tobytes(), dtype)

    def _bytes(self, count: int, what: str) -> npt.NDArray[np.uint8]:
        if count < 0 or self.place + count > len(self.content):
            self._damaged(f"it ends within {what}")
        found = self.content[self.place : self.place + count]
        self.place += count
        return found

    def _unpack(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self._bytes(form.size, "a header").tobytes())

    def _damaged(self, reason: str) -> NoReturn:
        raise FastTextError(f"{self.path}: is damaged ({reason}): copy it anew")


def _find_zero(content: npt.NDArray[np.uint8], view: memoryview, start: int) -> int:
    """Return the place of the next zero byte; -1: there is none."""
    step = 64
    while start < len(content):
        found = bytes(view[start : start + step]).find(0)
        if found >= 0:
            return start + found
        start, step = start + step, step * 8
    return -1
