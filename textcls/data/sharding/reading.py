"""The first pass over a corpus that is larger than memory: files to shards of tokens.

What shards there are depends on the corpus alone, so that a pass that was interrupted goes on with
the first shard that is missing: the files are read again up to there, which takes little of the
time, and are not tokenized again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import as_numpy
from textcls.config import DataConfig
from textcls.corpus.corpus import (
    Source,
    check_classes,
    classes_of,
    readers_of,
)
from textcls.corpus.notes import notes_of_files
from textcls.corpus.rows import RowReader, Rows
from textcls.corpus.splits import SPLITS, HashedTexts
from textcls.data.duplicates import are_empty, hash_texts
from textcls.data.hashing import mixed
from textcls.data.sharding.numbering import NumberedLabels, mask
from textcls.data.sharding.pool import Log, done_by_processes
from textcls.data.sharding.sortedness import sortedness_of_words
from textcls.data.sharding.token_shard import (
    TokenShard,
    read_tensors,
    token_shard,
)
from textcls.data.tokenizer import Tokenizer
from textcls.defaults import CorpusFacts, measure
from textcls.errors import InputError
from textcls.naming import option

log = logging.getLogger("textcls")

_UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Piece:
    """Rows that become a shard.

    Attributes:
        path: of the shard.
        rows: they.
        splits: uint8 ``[num_rows]``, the place in ``SPLITS`` of the split that each is in.
        tokenizer: of their texts.
    """

    path: Path
    rows: Rows
    splits: _UInt8
    tokenizer: Tokenizer


@dataclass(frozen=True)
class ReadCorpus:
    """What the first pass found out, as JSON has it.

    Attributes:
        sizes: of each shard, how many rows it has of each of ``SPLITS``.
        label_names: of class 0, 1, 2, …
        text_columns: where the texts were.
        label_columns: where the labels were.
        files: how each file was read, by split.
        notes: sentences for the user.
        about: what settings are chosen by.
        test_set: a hash of the test split's texts and labels.
        weights: by split the largest weight of a row, and the mean in relation to it; none where
            all rows weigh the same.
        sorted: how much a shard of train differs from all of train, from 0 to 1, in the shares of
            labels or of the most frequent words.
    """

    sizes: list[list[int]]
    label_names: list[str]
    text_columns: list[str]
    label_columns: list[str]
    files: dict[str, list[dict[str, Any]]]
    notes: list[str]
    about: dict[str, Any]
    test_set: str
    weights: dict[str, tuple[float, float]]
    sorted: float


def read_corpus(
    source: Source,
    tokenizer: Tokenizer,
    folder: Path,
    num_bytes: int,
    processes: int,
    known_labels: tuple[str, ...] = (),
) -> ReadCorpus:
    """Read a corpus, and write its tokens and labels as shards.

    Args:
        source: of the corpus.
        tokenizer: of its texts.
        folder: may have shards of an earlier pass that was interrupted.
        num_bytes: of texts in a shard, or a little more.
        processes: that tokenize.
        known_labels: of the classes of a model, which the corpus has as well, and first.

    Raises:
        InputError: see :class:`~textcls.corpus.corpus.Source`.
        OSError: a shard cannot be written.
    """
    config = source.config
    opened = source.open()
    readers, columns = readers_of(config, opened)
    test_texts = HashedTexts()
    first_rows: list[tuple[str, int]] = []

    def jobs() -> Iterator[_Piece]:
        for number, (split, first, rows) in enumerate(_pieces(readers, num_bytes)):
            splits = _splits_of(config, split, first, len(rows), readers)
            test_texts.add(pa.chunked_array(rows.chunks).filter(mask(splits == 2)).chunks)
            first_rows.append((split, first))
            yield _Piece(token_shard(folder, number), rows, splits, tokenizer)

    facts, progress = [], Log()
    for found in done_by_processes(_tokenize, jobs(), processes):
        facts.append(found)
        progress.say(f"read {sum(sum(one['rows']) for one in facts):,} rows")
    sizes = [one["rows"] for one in facts]
    for place, split in enumerate(SPLITS):
        if not sum(of_shard[place] for of_shard in sizes):
            if split in readers:
                where = readers[split].where
                raise InputError(f"{where}: the {split} split is empty: it has no rows")
            raise InputError(
                f"{readers['train'].where}: {sum(map(sum, sizes))} rows are too few to cut a "
                f"{split} split: give {option(split, 'FILE')}"
            )
    names, several = classes_of(config, readers["train"], known_labels)
    labels = NumberedLabels(folder, readers, names, several)
    no_text: Counter[str] = Counter()
    for number, (split, first) in enumerate(first_rows):
        labels.number(number, split, first)
        no_text[split] += facts[number]["no_text"]
    check_classes(names, several, readers["train"].where)
    return ReadCorpus(
        sizes,
        names,
        list(columns["train"][0]),
        list(columns["train"][1]),
        {split: [dataclasses.asdict(f.facts) for f in files] for split, files in opened.items()},
        [*notes_of_files(opened), *labels.notes(config, no_text), *_held_out(sizes, readers)],
        dataclasses.asdict(
            _about(
                [one for one in facts if one["rows"][0]],
                sum(of_shard[0] for of_shard in sizes),
                classes=len(names),
                several=several,
                soft=readers["train"].soft,
            )
        ),
        test_texts.fingerprint(labels.test, names),
        labels.weights(),
        max(labels.sortedness(), sortedness_of_words(folder, len(sizes))),
    )


def sample_texts(source: Source, num_bytes: int) -> pa.ChunkedArray:
    """Return some texts of train, about so many bytes, chosen by a hash of their rows' numbers."""
    readers, _ = readers_of(source.config, source.open())
    share = min(1.0, num_bytes / max(source.num_bytes, 1))
    first = size = 0
    found: list[pa.Array] = []
    for rows in readers["train"].batches():
        numbers = np.arange(first, first + len(rows), dtype=np.uint64)
        wanted = mixed(numbers) <= np.uint64(share * (2.0**64 - 2048))
        for chunk in pa.chunked_array(rows.chunks).filter(mask(wanted)).chunks:
            found.append(chunk.cast(pa.large_string()))
            size += chunk.nbytes
        if size >= 2 * num_bytes:  # the files are larger than they look
            break
        first += len(rows)
    return pa.chunked_array(found, pa.large_string())


def _pieces(readers: Mapping[str, RowReader], num_bytes: int) -> Iterator[tuple[str, int, Rows]]:
    """Yield rows of so many bytes of text: their split, how many are before them in it, they."""
    for split, reader in readers.items():
        held: list[Rows] = []
        first = size = 0
        for rows in reader.batches():
            sizes = [as_numpy(pc.binary_length(chunk), null=0) for chunk in rows.chunks]
            ends, start = np.cumsum(np.concatenate(sizes), dtype=np.int64), 0
            while start < len(rows):
                before = int(ends[start - 1]) if start else 0
                stop = int(np.searchsorted(ends, before + num_bytes - size)) + 1
                held.append(rows.slice(start, min(stop, len(rows))))
                if stop > len(rows):
                    size += int(ends[-1]) - before
                    break
                yield split, first, Rows.concatenate(held)
                first += sum(map(len, held))
                held, size, start = [], 0, stop
        if held:
            yield split, first, Rows.concatenate(held)


def _splits_of(
    config: DataConfig, split: str, first: int, count: int, given: Collection[str]
) -> _UInt8:
    """Return in which split each of some rows is: held out of train by a hash of its number."""
    splits = np.full(count, SPLITS.index(split), np.uint8)
    if split != "train":
        return splits
    numbers = np.arange(first, first + count, dtype=np.uint64)
    for place, name, fraction in (
        (1, "validation", config.validation_fraction),
        (2, "test", config.test_fraction),
    ):
        if name not in given:
            seeded = numbers * np.uint64(len(SPLITS)) + np.uint64(place)
            hashes = mixed(mixed(seeded) + np.uint64(config.split_seed))
            splits[hashes < np.uint64(int(fraction * 2.0**64))] = place
    return splits


def _tokenize(piece: _Piece) -> dict[str, Any]:
    """Write a shard, unless it is there; return what is known of its rows."""
    if piece.path.exists():
        _, facts = read_tensors(piece.path, ())
        return facts
    chunks, labels = piece.rows.chunks, piece.rows.labels
    weights = piece.rows.weights
    facts = {
        "rows": np.bincount(piece.splits, minlength=len(SPLITS)).tolist(),
        "no_text": sum(chunk.null_count for chunk in chunks),
        "about": dataclasses.asdict(measure(chunks, 0)),
    }
    hashes, empty = hash_texts(chunks), are_empty(chunks)
    tokens = piece.tokenizer.use_up(chunks)
    TokenShard(tokens, piece.splits, hashes, empty, labels, weights, facts).save(piece.path)
    return facts


def _about(facts: list[dict[str, Any]], num_train: int, **others: Any) -> CorpusFacts:
    """Return what settings are chosen by, of those of the texts of all shards of train."""
    documents = np.array([one["about"]["documents"] for one in facts], np.float64)
    mean_words, unspaced = (
        float(np.average([one["about"][name] for one in facts], weights=documents))
        for name in ("mean_words", "unspaced")
    )
    return CorpusFacts(num_train, mean_words=mean_words, unspaced=unspaced, **others)


def _held_out(sizes: list[list[int]], readers: Mapping[str, RowReader]) -> Iterator[str]:
    for place, split in enumerate(SPLITS):
        if split not in readers:
            count = sum(of_shard[place] for of_shard in sizes)
            yield (
                f"{split}: {count:,} rows of {readers['train'].where}, held out by a hash of their "
                "number"
            )
