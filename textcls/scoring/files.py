"""A file in, its labels out: piece by piece, in bounded memory."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from textcls.config import Reading
from textcls.corpus.reading import Piece, read_lines, read_pieces
from textcls.errors import InputError
from textcls.files import whole_file
from textcls.naming import option
from textcls.report.predictions import PredictionWriter, list_delimiter
from textcls.scoring.scorer import Scorer

STANDARD_INPUT = Path("-")
# Of a file, so many texts are labelled at a time, fewer where they are long: with each, all of the
# vocabulary is looked through for the words of them.
_ROWS = 1 << 14
_BYTES = 1 << 23


@dataclass
class Done:
    """What became of the texts of some files.

    Attributes:
        counts: ``rows``; those of them that have no label, ``unlabelled``, where texts have one;
            those that hold U+FFFD, ``undecoded``.
        renamed: see :class:`~textcls.report.predictions.PredictionWriter`.
    """

    counts: Counter[str] = field(default_factory=Counter)
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Done) -> None:
        """Add those of other files."""
        self.counts += other.counts
        self.renamed |= other.renamed


@dataclass(frozen=True)
class FileScorer:
    """Labels files.

    Attributes:
        scorer: labels texts.
        reading: what the user says of the files.
        keep: columns of them that are written before the labels; None: all but the text.
        format: one of :data:`textcls.report.predictions.FORMATS`.
    """

    scorer: Scorer
    reading: Reading
    keep: tuple[str, ...] | None
    format: str

    def writer(self, file: BinaryIO) -> PredictionWriter:
        """Return what writes labels into an open file."""
        classifier = self.scorer.classifier
        delimiter = classifier.parts.reading.label_delimiter
        between = list_delimiter(delimiter, classifier.label_names)
        return PredictionWriter(file, self.format, self.scorer.schema, between)

    def score(
        self, source: Path, writer: PredictionWriter, tell: Callable[[int], object]
    ) -> Counter[str]:
        """Write the labels of a file, or of lines of standard input, ``-``.

        Args:
            source: the file.
            writer: is written to.
            tell: is told of so many more rows as they are written.

        Returns:
            See :class:`Done`.

        Raises:
            InputError: it cannot be read, or has other columns than what was written before.
        """
        counts: Counter[str] = Counter()
        for piece in self._pieces(source):
            start = 0
            for answers in self.scorer.answers(piece.texts):
                rows = answers.num_rows
                writer.write(answers, piece.kept.slice(start, rows), str(source))
                if "label" in answers.column_names:
                    counts["unlabelled"] += answers.column("label").null_count
                start += rows
                tell(rows)
            counts["rows"] += start
            undecoded = pc.sum(pc.match_substring(piece.texts, "\ufffd")).as_py()
            counts["undecoded"] += undecoded or 0
        return counts

    def score_whole(self, source: Path, target: Path, tell: Callable[[int], object]) -> Done:
        """Write the labels of a file into another, which is there whole or not at all.

        Raises:
            InputError, OSError: it cannot be read, or written.
        """
        with (
            whole_file(target, synced=True) as scratch,
            scratch.open("wb") as file,
            self.writer(file) as writer,
        ):
            counts = self.score(source, writer, tell)
        return Done(counts, writer.renamed)

    def _pieces(self, source: Path) -> Iterator[Piece]:
        if source != STANDARD_INPUT:
            usual = self.scorer.classifier.parts.reading
            yield from _joined(read_pieces(source, self.reading, usual, self.keep))
            return
        if self.keep:
            raise InputError(
                f"{option('keep', *self.keep)}: lines on standard input have no columns"
            )
        for texts in read_lines(sys.stdin.buffer, self.reading.encoding):
            yield Piece(texts, pa.table({}))


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield the same rows in fewer pieces."""
    some: list[Piece] = []
    rows = size = 0
    for piece in pieces:
        rows, size = rows + len(piece.texts), size + piece.texts.nbytes
        is_other = bool(some) and piece.kept.schema != some[0].kept.schema
        if some and (is_other or rows > _ROWS or size > _BYTES):
            yield _one(some)
            some, rows, size = [], len(piece.texts), piece.texts.nbytes
        some.append(piece)
    if some:
        yield _one(some)


def _one(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    texts = pa.concat_arrays([piece.texts.cast(pa.large_string()) for piece in pieces])
    return Piece(texts, pa.concat_tables([piece.kept for piece in pieces]))
