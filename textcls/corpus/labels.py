"""Labels: read as names, normalised, numbered."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int64, as_numpy, strings
from textcls.config import Reading
from textcls.corpus.columnar import as_strings
from textcls.corpus.tables import plural
from textcls.errors import InputError
from textcls.naming import option

_MISSING = -1


class LabelReader:
    """Collects the labels of a split, batch by batch; Python touches each distinct one only.

    Args:
        reading: its ``label_names`` name labels that are numbers 0, 1, 2, ….
        column: where the labels are.
        class_names: what the file itself calls its numbers, or None.

    Attributes:
        normalised: labels that were written otherwise: with blanks around or several in a row, or
            in another form of Unicode than NFC.
        distinct: the names, in the order in which they were found.
    """

    def __init__(
        self, reading: Reading, column: str, class_names: Sequence[str] | None = None
    ) -> None:
        given = reading.label_names
        self._names = class_names if given is None else [normalise(name) for name in given]
        self._given = reading.label_names is not None
        self._column = column
        self._codes: list[Int64] = []
        self._places: dict[str, int] = {}
        self._known: dict[str | None, tuple[int, bool]] = {None: (_MISSING, False)}
        self.normalised = 0

    @property
    def distinct(self) -> list[str]:
        """The names, in the order in which they were found."""
        return list(self._places)

    def add(self, labels: pa.ChunkedArray, place: Callable[[int], str]) -> None:
        """Read the labels of some rows.

        Args:
            labels: of whatever type can be written as a string.
            place: says where one of these rows is, for messages.

        Raises:
            InputError: a label that is no text, or that has no name.
        """
        try:
            encoded = as_strings(labels).combine_chunks().dictionary_encode("encode")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InputError(
                f"{place(0)}: column '{self._column:.40}' holds {labels.type}, not one label a row"
            ) from None
        values = encoded.dictionary.to_pylist()
        codes = as_numpy(encoded.indices).astype(np.int64)
        found = [self._code(value, codes, i, place) for i, value in enumerate(values)]
        changed = np.array([is_changed for _, is_changed in found])
        self.normalised += int(changed[codes].sum())
        self._codes.append(np.array([code for code, _ in found], np.int64)[codes])

    def _code(
        self, value: str | None, codes: Int64, at: int, place: Callable[[int], str]
    ) -> tuple[int, bool]:
        if value not in self._known:
            name = normalise(value or "")
            self._known[value] = (_MISSING, False)
            if self._names is not None and name:
                first = int(np.flatnonzero(codes == at)[0])
                name = self._named(name, first, place)
            if name:
                number = self._places.setdefault(name, len(self._places))
                self._known[value] = (number, self._names is None and name != value)
        return self._known[value]

    def _named(self, value: str, row: int, place: Callable[[int], str]) -> str:
        names = self._names or ()
        try:
            number = int(float(value)) if float(value).is_integer() else None
        except (ValueError, OverflowError):
            number = None
        if number is None:
            if self._given and value in names:
                return value
            raise InputError(
                f"{place(row)} has the label '{value:.40}', but "
                f"{option('label_names') if self._given else 'the file'} names the labels "
                "0, 1, 2, …"
            )
        if number == -1:  # how datasets marks a row without a label
            return ""
        if not 0 <= number < len(names):
            raise InputError(
                f"{place(row)} has the label {number}, "
                f"but there are names for 0 to {len(names) - 1} only"
            )
        return names[number]

    def codes(self, place: Callable[[int], str]) -> Int64:
        """Return positions in ``distinct``, int64 ``[num_rows]``.

        Raises:
            InputError: a row has no label.
        """
        codes = np.concatenate([*self._codes, np.zeros(0, np.int64)])
        missing = np.flatnonzero(codes == _MISSING)
        if len(missing):
            raise InputError(
                f"{place(int(missing[0]))} has no label in column '{self._column:.40}' "
                f"({plural(len(missing), 'such row')}): label these rows or take them out"
            )
        return codes

    def order(self, more: Iterable[str] = ()) -> list[str]:
        """Return the classes in order: as they are named, else as numbers, else by name.

        Args:
            more: further labels that are there: of rows with several.
        """
        seen = set(self._places) | {name for label in more if (name := normalise(label))}
        if self._names is not None:
            return [name for name in self._names if name in seen]
        try:
            return sorted(seen, key=lambda name: (int(name), name))
        except ValueError:
            return sorted(seen)

    def numbered(self, names: Sequence[str], place: Callable[[int], str], known: str) -> Int64:
        """Return positions in ``names``, int64 ``[num_rows]``.

        Args:
            names: of the classes.
            place: says where a row is.
            known: whose classes these are, for messages: ``train``.

        Raises:
            InputError: a row has no label, or one that is not among them.
        """
        codes = self.codes(place)
        classes = pc.index_in(strings(self.distinct), value_set=strings(names))
        labels = as_numpy(classes, null=_MISSING).astype(np.int64)[codes] if len(codes) else codes
        unknown = np.flatnonzero(labels == _MISSING)
        if len(unknown):
            row = int(unknown[0])
            raise InputError(
                f"{place(row)} has the label '{self.distinct[codes[row]]:.60}', which {known} "
                f"never has ({plural(len(unknown), 'such row')}): mend the label or take these "
                "rows out"
            )
        return labels


def normalise(label: str) -> str:
    """Return a label without blanks around it, in Unicode's form NFC, with single blanks within."""
    if label.isascii() and "  " not in label and label.isprintable() and label.strip() == label:
        return label
    label = unicodedata.normalize("NFC", label)
    return " ".join(label.replace("\u200b", "").replace("\ufeff", "").split())
