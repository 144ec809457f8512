"""Corpus: labelled texts of three splits.

Files are read as streams of Arrow tables; of these only texts and labels are kept, as Arrow arrays
and numbers, and no row becomes a Python object.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textcls.config import DataConfig
from textcls.corpus.columnar import DatasetTable
from textcls.corpus.columns import choose_columns
from textcls.corpus.digests import Digests
from textcls.corpus.formats import open_folder, open_table
from textcls.corpus.label_shares import are_shares
from textcls.corpus.notes import notes_of_files, notes_of_rows
from textcls.corpus.paths import check_names, find_files, hash_file, hash_files, size_of_texts
from textcls.corpus.rows import RowReader
from textcls.corpus.splits import SPLITS, Split, stratified_cut
from textcls.corpus.tables import FileFacts, TableFile
from textcls.errors import InputError, first_line
from textcls.naming import option
from textcls.program import train_command

log = logging.getLogger("textcls")

# By split: the columns of text, and those of label.
_Columns = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
_VALIDATION_NAMES = ("validation", "valid", "val", "dev")


@dataclass(frozen=True)
class Corpus:
    """Train, validation and test.

    Attributes:
        label_names: of class 0, 1, 2, …
        text_columns: where the texts were.
        label_columns: where the labels were.
        weight_column: where the weights of rows were, or None.
        ordered: whether the classes have an order, which is that of their names.
        notes: sentences for the user on what reading found or decided.
        files: how each file was read, by split; a split that was cut from train has none.
    """

    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    weight_column: str | None
    ordered: bool
    notes: tuple[str, ...]
    files: dict[str, tuple[FileFacts, ...]]

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


class Source:
    """The files of a corpus: found first, so that a cache can ask for ``fingerprint``, then read.

    Args:
        config: of the corpus.
        tested: whether to read a test split that is given; else it has no rows. One that is not
            given is cut from train in any case: the other splits are the same.
        digests: remembers hashes of large files; None: they are hashed anew.

    Raises:
        InputError: a file or dataset that is missing or cannot be read; the message says which
            file, which line and what to do.
    """

    def __init__(
        self, config: DataConfig, tested: bool = True, digests: Digests | None = None
    ) -> None:
        self.config, self._tested, self._digests = config, tested, digests
        self._hub: dict[str, Any] = {}
        self._files: dict[str, list[Path]] = {}
        self._given = given_splits(config)
        if not tested:
            self._given.pop("test", None)
        if config.source == "hub":
            self._hub = _load_from_hub(config, self._given)
        elif config.source == "files":
            for split, path in self._given.items():
                self._files[split] = find_files(path, split)
                check_names(self._files[split])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what will be read, by content."""
        if self.config.source == "hub":
            return str([(k, v._fingerprint) for k, v in self._hub.items()])
        if self.config.source == "docstrings":
            from textcls.corpus import docstrings

            return docstrings.fingerprint()
        hashed = hash_file if self._digests is None else self._digests.of
        return str({split: hash_files(files, hashed) for split, files in self._files.items()})

    @property
    def paths(self) -> list[str]:
        """The files and folders of all splits, in order; none where there are no local ones."""
        return [str(path) for files in self._files.values() for path in files]

    @property
    def num_bytes(self) -> int:
        """About how many bytes of text all splits have."""
        if self.config.source == "hub":
            return sum(dataset.data.nbytes for dataset in self._hub.values())
        return sum(size_of_texts(files) for files in self._files.values())

    def read(self, known_labels: Sequence[str] = ()) -> Corpus:
        """Read all splits, decide on columns and labels, and cut the splits that are missing.

        Args:
            known_labels: of the classes of a model, which the corpus has as well, and first.
        """
        opened, left_out = self.open(), given_splits(self.config).keys() - self._given.keys()
        if not self._tested and "test" in opened:  # of a folder; its rows are not read yet
            del opened["test"]
            left_out = {"test"}
        return _make_corpus(self.config, opened, known_labels, left_out)

    def read_test(self, label_names: Sequence[str], several: bool = False) -> Split:
        """Read the test split alone, where it is not cut from train.

        Args:
            label_names: of the classes.
            several: whether rows have any number of them.
        """
        opened = self.open()
        if "test" not in opened:
            return self.read().test
        soft, columns = _columns_of(self.config, opened)
        reader = RowReader(opened["test"], self.config.reading, *columns["test"], soft=soft)
        rows = reader.read()
        labels = reader.numbered(rows, label_names, several, "train")
        return Split(rows.chunks, labels, reader.where)

    def open(self) -> dict[str, list[TableFile]]:
        """Open the files of each split that is given; their rows are not read yet."""
        if self.config.source == "hub":
            return {
                split: [DatasetTable(dataset, f"{self.config.repo}, split {dataset.split}")]
                for split, dataset in self._hub.items()
            }
        if self.config.source == "docstrings":
            import datasets

            from textcls.corpus import docstrings

            found = datasets.Dataset(docstrings.read_docstrings())
            return {"train": [DatasetTable(found, "docstrings")]}
        opened: dict[str, list[TableFile]] = {}
        for split, files in self._files.items():
            if any(file.is_dir() for file in files):
                self._open_folder(split, files, opened)
            else:
                opened[split] = [open_table(file, self.config.reading) for file in files]
        return opened

    def _open_folder(
        self, split: str, files: Sequence[Path], opened: dict[str, list[TableFile]]
    ) -> None:
        if len(files) > 1:
            raise InputError(
                f"{option(split, getattr(self.config, split))}: names several folders: "
                "join them by datasets.concatenate_datasets and save_to_disk"
            )
        tables = open_folder(files[0], self.config.reading, split)
        if "" in tables:
            opened[split] = [tables[""]]
            return

        def part(name: str) -> TableFile | None:
            names = _VALIDATION_NAMES if name == "validation" else (name,)
            return next((tables[n] for n in names if n in tables), None)

        own = part(split)
        if own is None:
            found = ", ".join(tables)
            raise InputError(f"{option(split, str(files[0]))}: has no split {split}, only {found}")
        opened[split] = [own]
        if split == "train":
            for other in ("validation", "test"):
                its = part(other)
                if its is not None and other not in self._files:
                    opened[other] = [its]


def given_splits(config: DataConfig) -> dict[str, str]:
    """Return the path or name of each split that the configuration names."""
    given = {split: getattr(config, split) for split in SPLITS}
    return {split: value for split, value in given.items() if value is not None}


def _load_from_hub(config: DataConfig, given: dict[str, str]) -> dict[str, Any]:
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it logs every retry
    log.info("loading %s from the Hugging Face hub, or from its cache here", config.repo)
    try:
        return {
            split: datasets.load_dataset(
                config.repo, config.subset, split=name, revision=config.revision
            )
            for split, name in given.items()
        }
    except MemoryError:
        raise
    except Exception as error:  # datasets, fsspec, httpx and the OS each raise their own
        reason = first_line(error).rstrip(".")
        raise InputError(
            f"data.repo={config.repo}: cannot be loaded from the hub ({reason}). "
            "With no way to the hub, use local files: "
            f"{train_command()} data.train=FILE data.test=FILE"
        ) from None


def _make_corpus(
    config: DataConfig,
    opened: dict[str, list[TableFile]],
    known_labels: Sequence[str],
    left_out: Iterable[str],
) -> Corpus:
    readers, columns = readers_of(config, opened)
    read = {split: reader.read() for split, reader in readers.items()}
    for split, rows in read.items():
        if not len(rows):
            raise InputError(f"{readers[split].where}: the {split} split is empty: it has no rows")
    train = readers["train"]
    names, several = classes_of(config, train, known_labels)
    notes = list(notes_of_files(opened))
    splits = {}
    while read:
        split = next(iter(read))
        rows, reader = read.pop(split), readers[split]  # the splits alone hold the texts
        labels = reader.numbered(rows, names, several, "train")
        splits[split] = Split(rows.chunks, labels, reader.where)
        empty = sum(chunk.null_count for chunk in rows.chunks)
        bounds = None if rows.weights is None else (rows.weights.min(), rows.weights.max())
        notes += notes_of_rows(config, split, reader, empty, bounds)
    check_classes(names, several, train.where)
    for split in left_out:
        splits[split] = Split([], splits["train"].labels.slice(0, 0), train.where)
    _cut_missing(config, splits, notes)
    _check_weights(splits)
    return Corpus(
        splits["train"],
        splits["validation"],
        splits["test"],
        tuple(names),
        *columns["train"],
        config.weight,
        config.task == "ordered",
        tuple(notes),
        {split: tuple(file.facts for file in files) for split, files in opened.items()},
    )


def readers_of(
    config: DataConfig, opened: dict[str, list[TableFile]]
) -> tuple[dict[str, RowReader], _Columns]:
    """Return what reads the rows of each split, and its columns of text and label."""
    soft, columns = _columns_of(config, opened)
    readers = {
        # Nothing is learned from test: its rows may do without weights.
        split: RowReader(
            files, config.reading, *columns[split],
            config.weight if split != "test" or config.weight in files[0].columns else None, soft,
        )
        for split, files in opened.items()
    }  # fmt: skip
    return readers, columns


def classes_of(
    config: DataConfig, train: RowReader, known_labels: Sequence[str] = ()
) -> tuple[list[str], bool]:
    """Return the classes in order, and whether rows have any number of them.

    Args:
        config: of the corpus.
        train: that has read all rows of train.
        known_labels: of the classes of a model, which the corpus has as well, and first.
    """
    is_ordered = config.task == "ordered"
    if known_labels:
        names = train.labels.beside(known_labels, is_ordered)
    else:
        names = train.labels.ranks() if is_ordered else train.labels.order()
    several = train.labels.are_several if config.task == "auto" else config.task == "multi"
    return names, several and not train.soft


def check_classes(names: Sequence[str], several: bool, where: str) -> None:
    """Raise InputError unless there are classes to tell apart."""
    if not names:
        raise InputError(f"{where}: no row has a label")
    if len(names) < 2 and not several:
        raise InputError(
            f"{where}: every row has the label '{names[0]:.60}': a classifier needs two classes"
        )


def _columns_of(config: DataConfig, opened: dict[str, list[TableFile]]) -> tuple[bool, _Columns]:
    """Return whether labels are probabilities, and the columns of text and label by split.

    They are those of train, but where labels are probabilities a split may have its own for these:
    one that people labelled beside one that a model did.
    """
    soft, first = config.task == "soft", opened["train"][0]
    text, label = choose_columns(config.reading, first, soft)
    soft = soft or (config.task == "auto" and are_shares(first, label))
    columns = dict.fromkeys(opened, (text, label))
    for split, (file, *_) in opened.items():
        if soft and not set(label) <= set(file.columns):
            weight = config.weight if config.weight in file.columns else None
            own = dataclasses.replace(config.reading, text=text, label=None, weight=weight)
            columns[split] = choose_columns(own, file, soft)
    return soft, columns


def _check_weights(splits: dict[str, Split]) -> None:
    for split, found in splits.items():
        weights = found.labels.weights
        if weights is not None and len(weights) and not weights.any():
            raise InputError(f"{found.where}: every row of {split} weighs 0: give some a weight")


def _cut_missing(config: DataConfig, splits: dict[str, Split], notes: list[str]) -> None:
    """Hold out of train the splits that are not given."""
    rng = np.random.default_rng(config.split_seed)
    # In test, each class that can be; in validation, each that can spare a row.
    for split, fraction, least in (
        ("test", config.test_fraction, 2),
        ("validation", config.validation_fraction, 3),
    ):
        if split in splits:
            continue
        where = splits["train"].where
        held = stratified_cut(splits["train"].labels.one_each(), fraction, rng, least)
        if not held.any():
            raise InputError(
                f"{where}: {len(held)} rows are too few to cut a {split} split: "
                f"give {option(split, 'FILE')}"
            )
        splits[split], splits["train"] = splits["train"].cut(held)
        notes.append(f"{split}: {held.sum():,} rows of {where}, held out by label")
