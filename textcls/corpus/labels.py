"""Labels: read as names, normalised, numbered."""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int64, as_numpy, offsets_of, strings
from textcls.config import Reading
from textcls.corpus.label_lists import Place, labels_of
from textcls.corpus.label_shares import TOLERANCE, labels_of_columns, shares_of
from textcls.corpus.splits import RowLabels
from textcls.corpus.tables import is_number, plural
from textcls.errors import InputError
from textcls.naming import option

_MISSING = -1


class FoundLabels(NamedTuple):
    """The labels of rows as they were read.

    Attributes:
        codes: int64 ``[num_labels]``, places in :attr:`LabelReader.distinct`, row by row.
        counts: int64 ``[num_rows]``, how many each row has.
        shares: float64 ``[num_labels]``, how probable each is.
    """

    codes: Int64
    counts: Int64
    shares: npt.NDArray[np.float64]

    @classmethod
    def concatenate(cls, parts: Sequence[FoundLabels]) -> FoundLabels:
        """Join the labels of rows that follow one another."""
        none = cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        return cls(*map(np.concatenate, zip(none, *parts, strict=True)))


class LabelReader:
    """Reads the labels of a split, batch by batch; Python touches each distinct one only.

    Args:
        reading: its ``label_names`` name labels that are numbers 0, 1, 2, …; its
            ``label_delimiter`` stands between the labels of a row.
        columns: where the labels are; of several, each is a label that a row has or not.
        class_names: what the file itself calls its numbers, or None.
        soft: whether to read how probable labels are.

    Attributes:
        are_several: whether some row has several labels, or they are written so that it could.
    """

    def __init__(
        self,
        reading: Reading,
        columns: tuple[str, ...],
        class_names: Sequence[str] | None = None,
        soft: bool = False,
    ) -> None:
        given = reading.label_names
        self._names = class_names if given is None else [normalise(name) for name in given]
        self._given = reading.label_names is not None
        self._columns, self._delimiter = columns, reading.label_delimiter
        self._reading, self._soft = reading, soft
        # Of several columns each is a label, whether or not a row has it.
        self._own = labels_of_columns(reading, columns) if len(columns) > 1 else ()
        self._places: dict[str, int] = {normalise(name): i for i, name in enumerate(self._own)}
        self._known: dict[str | None, tuple[int, bool]] = {None: (_MISSING, False)}
        self.are_several = len(columns) > 1 or reading.label_delimiter is not None
        self._normalised = 0
        self._changes: Counter[tuple[str, str, str]] = Counter()

    @property
    def distinct(self) -> list[str]:
        """The names, in the order in which they were found."""
        return list(self._places)

    @property
    def notes(self) -> list[str]:
        """Sentences on what was changed or left out, in all rows that were read and numbered."""
        changes = [
            f"{plural(count, one, many)}{rest}"
            for (one, many, rest), count in self._changes.items()
        ]
        if self._normalised:
            changes.insert(
                0,
                f"{plural(self._normalised, 'label')} normalised: blanks around it or several in a "
                "row, or another form of Unicode than NFC",
            )
        return changes

    def read(self, columns: Sequence[pa.ChunkedArray], place: Place) -> FoundLabels:
        """Read the labels of some rows.

        Args:
            columns: of labels, see :func:`~textcls.corpus.label_lists.labels_of`.
            place: says where one of these rows is, for messages.

        Raises:
            InputError: a label that is no text, or that has no name.
        """
        if self._soft:
            labels, counts, shares = shares_of(
                columns, self._columns, self._own, self._reading, place
            )
        else:
            names = self._own or self._columns
            labels, counts = labels_of(columns, names, self._delimiter, place)
            shares = np.ones(len(labels))
        encoded = labels.dictionary_encode("encode")
        values = encoded.dictionary.to_pylist()
        codes = as_numpy(encoded.indices).astype(np.int64)
        row = np.repeat(np.arange(len(counts)), counts)
        found = [
            self._code(value, lambda i=i: place(int(row[codes == i][0])))  # type: ignore[misc]
            for i, value in enumerate(values)
        ]
        changed = np.array([is_changed for _, is_changed in found], np.bool_)
        self._normalised += int(changed[codes].sum())
        codes = np.array([code for code, _ in found], np.int64)[codes]
        there = (codes != _MISSING) & (shares > 0)
        counts = np.bincount(row[there], minlength=len(counts))
        self.are_several = self.are_several or bool((counts > 1).any())
        return FoundLabels(codes[there], counts, shares[there])

    def _code(self, value: str | None, place: Callable[[], str]) -> tuple[int, bool]:
        if value not in self._known:
            name = normalise(value or "")
            self._known[value] = (_MISSING, False)
            if self._names is not None and name:
                name = self._named(name, place)
            if name:
                number = self._places.setdefault(name, len(self._places))
                # Blanks beside a delimiter are no fault.
                is_changed = name != (value or "").strip(" " if self._delimiter else "")
                self._known[value] = (number, self._names is None and is_changed)
        return self._known[value]

    def _named(self, value: str, place: Callable[[], str]) -> str:
        names = self._names or ()
        try:
            number = int(float(value)) if float(value).is_integer() else None
        except (ValueError, OverflowError):
            number = None
        if number is None:
            if self._given and value in names:
                return value
            raise InputError(
                f"{place()} has the label '{value:.40}', but "
                f"{option('label_names') if self._given else 'the file'} names the labels "
                "0, 1, 2, …"
            )
        if number == -1:  # how datasets marks a row without a label
            return ""
        if not 0 <= number < len(names):
            raise InputError(
                f"{place()} has the label {number}, "
                f"but there are names for 0 to {len(names) - 1} only"
            )
        return names[number]

    def order(self) -> list[str]:
        """Return the classes in order: as they are named, else as numbers, else by name."""
        seen = set(self._places)
        if len(self._columns) > 1:
            return self.distinct
        if self._names is not None:
            return [name for name in self._names if name in seen]
        try:
            return sorted(seen, key=lambda name: (int(name), name))
        except ValueError:
            return sorted(seen)

    def ranks(self) -> list[str]:
        """Return the classes in order, the least first: as they are named, else as numbers.

        Raises:
            InputError: they are not named, and not numbers, or two of them are the same number.
        """
        if self._names is not None:
            return self.order()
        other = next((name for name in self.distinct if not _has_rank(name)), None)
        if other is not None:
            example = option("label_names", "bad", "fair", "good")
            raise InputError(
                f"data.task=ordered: the label '{other:.40}' is no number: name the labels in "
                f"their order, as in {example}"
            )
        return _ranked(self.distinct)

    def beside(self, known: Sequence[str], ordered: bool) -> list[str]:
        """Return classes that are known already, in their order, and after them those that are new.

        Args:
            known: of class 0, 1, 2, … of a model.
            ordered: whether classes have an order: new ones, which are numbers, have their rank.

        Raises:
            InputError: a new one has no rank, or that of another.
        """
        old = set(known)
        if set(self.distinct) <= old:
            return list(known)
        if not ordered:
            return [*known, *(name for name in self.order() if name not in old)]
        names = [*known, *(name for name in self.distinct if name not in old)]
        unranked = next((name for name in names if not _has_rank(name)), None)
        if unranked is not None:
            new = next(name for name in self.distinct if name not in old)
            raise InputError(
                f"data.task=ordered: the label '{new:.40}' is new to the model, and "
                f"'{unranked:.40}' is no number: nothing says how they rank"
            )
        return _ranked(names)

    def numbered(
        self, found: FoundLabels, names: Sequence[str], several: bool, place: Place, known: str
    ) -> RowLabels:
        """Return the labels of rows as positions in ``names``.

        Args:
            found: what :meth:`read` returned of the rows.
            names: of the classes.
            several: whether rows have any number of labels, of which those that are not among the
                classes are left out; else each has one of them, and of several the first is taken.
            place: says where a row is.
            known: whose classes these are, for messages: ``train``.

        Raises:
            InputError: a row has no label, or one that is not among the classes.
        """
        codes, counts, shares = found
        classes = pc.index_in(strings(self.distinct), value_set=strings(names))
        ids = as_numpy(classes, null=_MISSING).astype(np.int64)[codes] if len(codes) else codes
        row = np.repeat(np.arange(len(counts)), counts)
        if several:
            return self._several(row, ids, len(counts), len(names), known)
        self._check_all_have_one(counts, place)
        if not self._soft:
            first = offsets_of(counts)[:-1]
            codes, ids, row = codes[first], ids[first], row[first]
            if more := int((counts > 1).sum()):
                self._changes["row has", "rows have", " several labels: the first is taken"] += more
        unknown = np.flatnonzero(ids == _MISSING)
        if len(unknown):
            at = int(unknown[0])
            raise InputError(
                f"{place(int(row[at]))} has the label '{self.distinct[codes[at]]:.60}', which "
                f"{known} never has ({plural(len(np.unique(row[unknown])), 'such row')}): mend the "
                "label or take these rows out"
            )
        return (
            self._with_shares(row, ids, shares, len(counts), len(names))
            if self._soft
            else RowLabels(ids)
        )

    def _check_all_have_one(self, counts: Int64, place: Place) -> None:
        missing = np.flatnonzero(counts == 0)
        if len(missing):
            column = f"column '{self._columns[0]:.40}'"
            raise InputError(
                f"{place(int(missing[0]))} has no label in {column} "
                f"({plural(len(missing), 'such row')}): label these rows or take them out"
            )

    def _with_shares(
        self,
        row: Int64,
        ids: Int64,
        shares: npt.NDArray[np.float64],
        num_rows: int,
        num_classes: int,
    ) -> RowLabels:
        sums = np.bincount(row, shares, num_rows)
        if off := int((abs(sums - 1) > TOLERANCE).sum()):
            rest = " labels whose shares do not sum to 1: divided by their sum"
            self._changes["row has", "rows have", rest] += off
        pairs, place = np.unique(row * num_classes + ids, return_inverse=True)
        row, ids = np.divmod(pairs, num_classes)
        shares = np.bincount(place, shares) / sums[row]
        there = shares.astype(np.float32) > 0
        if (several := np.bincount(row[there], minlength=num_rows) > 1).any():
            rest = " probabilities of several labels"
            self._changes["row has", "rows have", rest] += int(several.sum())
        offsets = offsets_of(np.bincount(row[there], minlength=num_rows))
        return RowLabels(ids[there], offsets, shares=shares[there].astype(np.float32))

    def _several(
        self, row: Int64, ids: Int64, num_rows: int, num_classes: int, known: str
    ) -> RowLabels:
        unknown = ids == _MISSING
        if unknown.any():
            rest = f" that {known} never has: left out"
            self._changes["label", "labels", rest] += int(unknown.sum())
            row, ids = row[~unknown], ids[~unknown]
        pairs = np.unique(row * num_classes + ids)  # ascending in each row, each once
        row, ids = np.divmod(pairs, num_classes)
        return RowLabels(ids, offsets_of(np.bincount(row, minlength=num_rows)))


def _ranked(names: Sequence[str]) -> list[str]:
    """Return names that are numbers, the least first."""
    ranks = sorted(names, key=lambda name: (float(name), name))
    for one, next_ in pairwise(ranks):
        if float(one) == float(next_):
            raise InputError(
                f"data.task=ordered: the labels '{one:.40}' and '{next_:.40}' are the same "
                "number: write it one way"
            )
    return ranks


def _has_rank(name: str) -> bool:
    return is_number(name) and not math.isnan(float(name))


def classes_named(labels: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the classes of some labels, ascending, each once.

    Args:
        labels: what a user calls them.
        names: of class 0, 1, 2, …, those of a model.

    Raises:
        InputError: there is none, or one that the model does not have; the message names the
            nearest that it has.
    """
    if not labels:
        raise InputError("there is no label to restrict the prediction to: name one or more")
    classes = {name: i for i, name in enumerate(names)}
    found = {label: classes.get(label, classes.get(normalise(label))) for label in labels}
    for label, known in found.items():
        if known is None:
            lower = {name.lower(): name for name in names}
            nearest = difflib.get_close_matches(normalise(label).lower(), lower, 1, 0)
            raise InputError(
                f"the model has no label '{normalise(label):.60}': did you mean "
                f"'{lower[nearest[0]]:.60}'?"
            )
    return sorted({known for known in found.values() if known is not None})


def normalise(label: str) -> str:
    """Return a label without blanks around it, in Unicode's form NFC, with single blanks within."""
    if label.isascii() and "  " not in label and label.isprintable() and label.strip() == label:
        return label
    label = unicodedata.normalize("NFC", label)
    return " ".join(label.replace("\u200b", "").replace("\ufeff", "").split())
