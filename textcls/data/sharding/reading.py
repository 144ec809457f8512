"""The first pass over a corpus that is larger than memory: files to shards of tokens.

What shards there are depends on the corpus alone, so that a pass that was interrupted goes on with
the first shard that is missing: the files are read again up to there, which takes little of the
time, and are not tokenized again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from textcls.arrow import as_numpy, booleans, integers
from textcls.config import DataConfig
from textcls.corpus.corpus import (
    Source,
    check_classes,
    classes_of,
    notes_of_files,
    notes_of_rows,
    readers_of,
)
from textcls.corpus.labels import FoundLabels
from textcls.corpus.rows import RowReader, Rows
from textcls.corpus.splits import SPLITS, RowLabels, bytes_of
from textcls.data.duplicates import are_empty, hash_texts
from textcls.data.hashing import mixed
from textcls.data.sharding.pool import Log, done_by_processes
from textcls.data.sharding.token_shard import (
    TokenParts,
    TokenShard,
    read_tensors,
    write_tensors,
)
from textcls.data.tokenizer import Tokenizer
from textcls.defaults import CorpusFacts, measure
from textcls.errors import InputError
from textcls.naming import option

log = logging.getLogger("textcls")

_UInt8 = npt.NDArray[np.uint8]
# Whether a corpus is sorted is seen in so many shards, by the shares of so many words.
_COMPARED_SHARDS, _COMPARED_WORDS = 32, 500
# Occurrences of a word that come together.
_BURST = 4


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
        several: whether rows have any number of labels.
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
    several: bool
    text_columns: list[str]
    label_columns: list[str]
    files: dict[str, list[dict[str, Any]]]
    notes: list[str]
    about: dict[str, Any]
    test_set: str
    weights: dict[str, tuple[float, float]]
    sorted: float


def token_shard(folder: Path, number: int) -> Path:
    """Return the path of a shard of tokens."""
    return folder / f"tokens-{number:05d}.safetensors"


def read_labels(folder: Path, number: int) -> RowLabels:
    """Return the labels of the rows of a shard of tokens, with what the rows weigh."""
    arrays, _ = read_tensors(_label_shard(folder, number))
    return RowLabels(*(arrays.get(name) for name in ("ids", "offsets", "weights", "shares")))  # type: ignore[arg-type]


def _label_shard(folder: Path, number: int) -> Path:
    return folder / f"labels-{number:05d}.safetensors"


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
    test_texts = _TestTexts()
    first_rows: list[tuple[str, int]] = []

    def jobs() -> Iterator[_Piece]:
        for number, (split, first, rows) in enumerate(_pieces(readers, num_bytes)):
            splits = _splits_of(config, split, first, len(rows), readers)
            test_texts.add(rows, splits == 2)
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
    labels = _Labels(folder, readers, names, several)
    no_text: Counter[str] = Counter()
    for number, (split, first) in enumerate(first_rows):
        labels.number(number, split, first)
        no_text[split] += facts[number]["no_text"]
    check_classes(names, several, readers["train"].where)
    return ReadCorpus(
        sizes,
        names,
        several,
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
        test_texts.fingerprint(names, labels.test),
        labels.weights(),
        max(labels.sortedness(), _sortedness_of_words(folder, len(sizes))),
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
        for chunk in pa.chunked_array(rows.chunks).filter(_mask(wanted)).chunks:
            found.append(chunk.cast(pa.large_string()))
            size += chunk.nbytes
        if size >= 2 * num_bytes:  # the files are larger than they look
            break
        first += len(rows)
    return pa.chunked_array(found, pa.large_string())


def _mask(wanted: npt.NDArray[np.bool_]) -> pa.ChunkedArray:
    return pa.chunked_array([booleans(wanted)])


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


class _TestTexts:
    """Adds up what :meth:`~textcls.corpus.splits.Split.fingerprint` is a hash of."""

    def __init__(self) -> None:
        self._letters = xxhash.xxh3_64()
        self._lengths = [np.zeros(0, np.int64)]

    def add(self, rows: Rows, wanted: npt.NDArray[np.bool_]) -> None:
        """Add those rows that are of the test split, bool ``[num_rows]``."""
        if not wanted.any():
            return
        for chunk in pa.chunked_array(rows.chunks).filter(_mask(wanted)).chunks:
            data, ends = bytes_of(chunk)
            self._letters.update(data[ends[0] : ends[-1]])
            self._lengths.append(np.diff(ends))

    def fingerprint(self, names: list[str], labels: RowLabels) -> str:
        """Return the hash."""
        rest = labels.hashed(names)
        rest.update(np.concatenate(self._lengths).data)
        return str(rest.hexdigest() + self._letters.hexdigest())


class _Labels:
    """Numbers the labels of the rows of all shards, and counts them.

    Args:
        folder: of the shards.
        readers: of the splits, that have read all rows.
        names: of the classes.
        several: whether rows have any number of them.
    """

    def __init__(
        self, folder: Path, readers: dict[str, RowReader], names: list[str], several: bool
    ) -> None:
        self._folder, self._readers, self._names = folder, readers, names
        self._several = several
        self._test: list[RowLabels] = []
        self._by_class: list[npt.NDArray[np.int64]] = []
        # By split that a row was read from, and by split that it is in.
        self._bounds: dict[str, tuple[float, float]] = {}
        self._weights: defaultdict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)

    def number(self, number: int, split: str, first: int) -> None:
        """Write the labels of a shard, whose first row is number ``first`` of a split."""
        wanted = ("splits", "weights", "label_codes", "label_counts", "label_shares")
        arrays, _ = read_tensors(token_shard(self._folder, number), wanted)
        found = FoundLabels(*(arrays[name] for name in wanted[2:]))
        weights, splits = arrays.get("weights"), arrays["splits"]
        rows = Rows([], found, weights)
        labels = self._readers[split].numbered(rows, self._names, self._several, "train", first)
        stored = {"ids": labels.ids, "offsets": labels.offsets, "shares": labels.shares}
        there = {name: array for name, array in stored.items() if array is not None}
        if weights is not None:
            there["weights"] = weights
            low, high = self._bounds.get(split, (np.inf, -np.inf))
            self._bounds[split] = min(low, weights.min()), max(high, weights.max())
        write_tensors(_label_shard(self._folder, number), there, {})
        for place, name in enumerate(SPLITS):
            own = splits == place
            if weights is not None and own.any():
                of_split = weights[own]
                summed = [of_split.min(), of_split.max(), of_split.sum(), len(of_split)]
                self._weights[name].append(np.array(summed))
        self._test.append(labels.select(splits == 2))
        of_train = labels.select(splits == 0).hard()
        if len(of_train):
            self._by_class.append(np.bincount(of_train.ids, minlength=len(self._names)))

    @property
    def test(self) -> RowLabels:
        """The labels of the test split."""
        return RowLabels.concatenate([part for part in self._test if len(part)])

    def notes(self, config: DataConfig, no_text: Mapping[str, int]) -> Iterator[str]:
        """Yield sentences on the rows of each split that was read."""
        for split, reader in self._readers.items():
            yield from notes_of_rows(config, split, reader, no_text[split], self._bounds.get(split))

    def weights(self) -> dict[str, tuple[float, float]]:
        """Return by split the largest weight of a row, and the mean in relation to it.

        Raises:
            InputError: every row of a split weighs 0.
        """
        found = {}
        for split, parts in self._weights.items():
            low, high = min(part[0] for part in parts), max(part[1] for part in parts)
            total, count = sum(part[2] for part in parts), sum(part[3] for part in parts)
            if not high:
                raise InputError(f"every row of {split} weighs 0: give some a weight")
            if low < high:
                found[split] = float(high), float(total / high / count)
        return found

    def sortedness(self) -> float:
        """Return how much a shard of train differs from all of train in the shares of labels."""
        return _difference(np.stack(self._by_class).astype(np.float64))


def _difference(counts: npt.NDArray[np.float64]) -> float:
    """Return how much rows of counts differ from their sum in the shares of what is counted.

    It is the largest total variation distance of a row, 0 to 1, beyond what chance would give.

    Args:
        counts: ``[num_rows, num_kinds]``.
    """
    number = counts.sum(1)
    counts, number = counts[number > 0], number[number > 0]
    shares = counts.sum(0) / counts.sum()
    distance = np.abs(counts / number[:, None] - shares).sum(1) / 2
    by_chance = 0.4 * np.sqrt(shares).sum() / np.sqrt(number)
    return float(np.max(distance - 3 * by_chance, initial=0))


def _sortedness_of_words(folder: Path, num_shards: int) -> float:
    """Return how much a shard of train differs from others in the shares of frequent words."""
    paths = [token_shard(folder, number) for number in range(num_shards)]
    parts = [TokenParts([path]) for path in paths[:: -(-num_shards // _COMPARED_SHARDS)]]
    parts = [part for part in parts if part.num_tokens]
    words = TokenParts(paths[:: -(-num_shards // _COMPARED_SHARDS)])
    most = np.argsort(-words.counts(), kind="stable")[:_COMPARED_WORDS]
    names = words.dictionary.take(integers(most))
    counts = []
    for part in parts:
        place = as_numpy(pc.index_in(names, value_set=part.dictionary), null=-1)
        own = np.append(part.counts(), 0)[place].astype(np.float64)
        # A text has its words several times: as if so many fewer were drawn by chance.
        counts.append(np.append(own, part.num_tokens - own.sum()) / _BURST)
    return _difference(np.stack(counts))


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
