"""Sentences for the user on what reading a corpus found or decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from textcls.config import DataConfig
from textcls.corpus.rows import RowReader
from textcls.corpus.tables import TableFile, plural


def notes_of_files(opened: dict[str, list[TableFile]]) -> Iterable[str]:
    """Return the notes of all files; one that several files have is given once."""
    files = {id(file): file for files in opened.values() for file in files}.values()
    count = Counter(note for file in files for note in set(file.facts.notes))
    seen = set()
    for file in files:
        for note in file.facts.notes:
            if note not in seen:
                seen.add(note)
                more = f" and {count[note] - 1} more" if count[note] > 1 else ""
                yield f"{file.facts.path}{more}: {note}"


def notes_of_rows(
    config: DataConfig,
    split: str,
    reader: RowReader,
    num_empty: int,
    weights: tuple[float, float] | None,
) -> Iterable[str]:
    """Return sentences on the rows of a split.

    Args:
        config: of the corpus.
        split: its name.
        reader: that has read them, and numbered their labels.
        num_empty: rows without a text.
        weights: the least and the most that a row weighs; None: they have no weights.
    """
    where, column = reader.where, config.weight
    if column is not None and weights is None:
        yield f"{where}: has no column {column:.60}: each row of {split} counts 1"
    elif column is not None and weights is not None:
        low, high = weights
        yield f"{where}: rows of {split} weigh {low:g} to {high:g}, by column {column:.60}"
    yield from (f"{where}: {note}" for note in reader.labels.notes)
    if num_empty:
        rows_have = plural(num_empty, "row has", "rows have")
        yield f"{where}: {rows_have} no text: kept, as empty bags"
