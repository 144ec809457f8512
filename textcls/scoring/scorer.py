"""One callable that labels tables of several kinds: picklable, and loaded at first use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from textcls.corpus.dialect import TEXT_COLUMNS
from textcls.corpus.rows import join_columns
from textcls.errors import InputError
from textcls.model.classifier import AT_ONCE, Classifier, to_arrow
from textcls.model.folder import files_of
from textcls.report.predicted import Predicted, other_names
from textcls.task.selective import Limit

# A table as a program has it: pyarrow.Table, pyarrow.RecordBatch, pandas.DataFrame, or a dict of
# columns, NumPy arrays or lists.
Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Scorer:
    """Adds what ``textcls predict`` answers to a table of texts.

    >>> score = Scorer("runs/my-run", "text")
    >>> score(pa.table({"id": [7], "text": ["what a film"]})).to_pylist()
    [{'id': 7, 'text': 'what a film', 'label': 'positive', 'probability': 0.98}]

    Pickled, it is the path and the options: each process loads the model when it first needs it,
    with an embedding table that is mapped into memory, which processes of a machine have once. In a
    process that is forked after that, all of the model is shared. The model that a process loaded
    last stays there, for other copies of the scorer, until its files are replaced.

    Attributes:
        model: a run folder or a model folder, which must be there where the rows are scored.
        text_column: where the text is; of several, they are joined. None: the columns that the
            model was trained on, else the one that is named like a text or the only one of strings.
        top: the so many most probable labels of each text, in columns of their own; None: 1, or
            where a text may have several, lists of all that reach their threshold.
        threshold: labels less probable are null, or of lists left out; from 0 to 1.
        labels: those to choose from; None: all.
        probabilities: add the probability of every class, in columns ``p(NAME)``.
        abstain: an accuracy: label only texts of which the model is so sure that its validation
            split assures this; the others' labels are null.
        unknown: add the share of a text's tokens that the model does not know.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    """

    model: str | Path
    text_column: str | Sequence[str] | None = None
    top: int | None = None
    threshold: float | None = None
    labels: Sequence[str] | None = None
    probabilities: bool = False
    abstain: float | None = None
    unknown: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise ValueError(f"top={self.top}: ask for one label or more")
        for name, share in (("threshold", self.threshold), ("abstain", self.abstain)):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name}={share}: give a number from 0 to 1")
        if isinstance(self.labels, str):
            raise TypeError("labels are a list, ['…'], not a single label")
        # Another process may have another working directory.
        object.__setattr__(self, "model", os.path.abspath(self.model))

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @cached_property
    def classifier(self) -> Classifier:
        """The model, of ``labels`` alone where these are given.

        Raises:
            InputError: there is none, or it is damaged; it has no such label; no such device.
        """
        files = [(path, path.stat()) for path in files_of(Path(self.model))]
        stamps = [(path, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files]
        whole = _loaded(self.model, self.device, tuple(stamps))
        return whole if self.labels is None else whole.restricted(self.labels)

    @cached_property
    def limit(self) -> Limit | None:
        """From which probability on texts have a label; None: without ``abstain``.

        Raises:
            InputError: the validation split does not assure the accuracy.
        """
        return None if self.abstain is None else self.classifier.task.limit(self.abstain)

    @cached_property
    def predicted(self) -> Predicted:
        """Which columns are added."""
        task = self.classifier.task
        return Predicted(
            self.classifier.label_names,
            task,
            self.top or (None if task.several else 1),
            self.threshold,
            self.probabilities,
            0.0 if self.limit is None else self.limit.confidence,
            self.unknown,
        )

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns that are added."""
        return self.predicted.schema

    def answers(self, texts: pa.Array | pa.ChunkedArray) -> Iterator[pa.Table]:
        """Yield the columns that are added, for some of the texts after others; once for none.

        Args:
            texts: Arrow strings, null where there is no text.
        """
        predicted = self.predicted
        rows = max(1, AT_ONCE // len(self.classifier.label_names))
        for start in range(0, max(len(texts), 1), rows):  # once for no text
            some = texts.slice(start, rows)
            found = self.classifier.predict_proba(some)
            shares = self.classifier.unknown(some) if self.unknown else None
            columns = predicted.columns(found, shares)
            yield pa.Table.from_arrays(columns, schema=predicted.schema)

    def __call__(self, rows: Rows) -> Rows:
        """Return the rows with the answers beside them, in the same order.

        A column of the input that has the name of an answer is put as ``input_NAME``.

        Args:
            rows: a ``pyarrow.Table`` or ``RecordBatch``, a ``pandas.DataFrame``, or a dict of
                columns, which are NumPy arrays or lists. It stays as it is.

        Returns:
            One of the same kind. In a data frame and in a dict, answers are NumPy arrays: of
            probabilities float32 with NaN for null, of labels and of lists objects, None for null.

        Raises:
            InputError: as of :attr:`classifier` and :attr:`limit`; there is no such column, or it
                is not plain which holds the text, or it holds something else.
            TypeError: something else than such a table.
        """
        scored: Rows = self._scored(rows)
        return scored

    def _scored(self, rows: Any) -> Any:
        if isinstance(rows, pa.RecordBatch):
            table = self._of_arrow(pa.Table.from_batches([rows]))
            columns = [column.combine_chunks() for column in table.columns]
            return pa.RecordBatch.from_arrays(columns, schema=table.schema)
        if isinstance(rows, pa.Table):
            return self._of_arrow(rows)
        pandas = sys.modules.get("pandas")  # whoever has a frame has imported it
        is_frame = pandas is not None and isinstance(rows, pandas.DataFrame)
        if not is_frame and not isinstance(rows, Mapping):
            raise TypeError(
                f"rows are a {type(rows).__name__}: give a pyarrow.Table, a pandas.DataFrame or a "
                "dict of columns"
            )
        return self._of_python(rows, is_frame)

    def _of_arrow(self, rows: pa.Table) -> pa.Table:
        def is_text(name: str) -> bool:
            type = rows.schema.field(name).type
            return _is_text(type.value_type if pa.types.is_dictionary(type) else type)

        texts = join_columns(rows, self._text_columns(rows.column_names, is_text))
        answers = pa.concat_tables(self.answers(texts))
        new = other_names(rows.column_names, answers.column_names)
        rows = rows.rename_columns([new.get(name, name) for name in rows.column_names])
        for name, column in zip(answers.column_names, answers.columns, strict=True):
            rows = rows.append_column(name, column)
        return rows

    def _of_python(self, rows: Any, is_frame: bool) -> Any:
        names = [str(name) for name in rows]

        def is_text(name: str) -> bool:
            return isinstance(next((v for v in rows[name] if v is not None), None), str)

        columns = self._text_columns(names, is_text)
        table = pa.table({name: _column(rows[name]) for name in columns})
        answers = pa.concat_tables(self.answers(join_columns(table, columns)))
        new = other_names(names, answers.column_names)
        if is_frame:
            rows = rows.rename(columns=new)
        else:
            rows = {new.get(name, name): column for name, column in rows.items()}
        for name in answers.column_names:
            rows[name] = answers.column(name).to_numpy()
        return rows

    def _text_columns(
        self, names: Sequence[str], is_text: Callable[[str], bool]
    ) -> tuple[str, ...]:
        """Return the columns that hold the text, as ``textcls predict`` takes them."""
        listing = ", ".join(f"{name:.30}" for name in names[:12]) or "none"
        if self.text_column is not None:
            column = self.text_column
            given = (column,) if isinstance(column, str) else tuple(column)
            missing = [name for name in given if name not in names]
            if missing or not given:
                raise InputError(
                    f"text_column: there is no column '{''.join(missing[:1]):.60}', the columns "
                    f"are {listing:.200}"
                )
            return given
        usual = self.classifier.parts.reading.text
        if usual is not None and set(usual) <= set(names):
            return usual
        found = [name for name in names if name.lower() in TEXT_COLUMNS]
        if not found:
            found = [name for name in names if is_text(name)]
        if len(found) != 1:
            raise InputError(
                f"which column is the text? The columns are {listing:.200}: name it as text_column="
            )
        return (found[0],)


@lru_cache(maxsize=1)
def _loaded(model: str | Path, device: str, _files: tuple[Any, ...]) -> Classifier:
    """Load a model; once for all tasks of a process, each of which may unpickle a scorer."""
    return Classifier.load(model, device, mapped=True)


def _is_text(type: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(type) for is_kind in kinds)


def _column(values: Any) -> pa.Array:
    """Return a column of NumPy, pandas or Python as Arrow has it; NaN is null."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, UnicodeError, ValueError):  # half a character, say
        return to_arrow(list(values))
