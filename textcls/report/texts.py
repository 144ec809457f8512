"""What one setting gets right and the others miss, with the texts themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textcls.corpus.corpus import Source
from textcls.corpus.splits import RowLabels
from textcls.errors import InputError
from textcls.report.study import Dataset, Int64, Run, Setting

MAX_ROWS = 10
MAX_CHARACTERS = 2_000


class Answer(NamedTuple):
    """What some runs of a setting said of a row.

    Attributes:
        label: the name, or the names.
        runs: how many they are.
        confidence: their mean; None where a row may have several labels.
        right: whether it is the truth.
    """

    label: str
    runs: int
    confidence: float | None
    right: bool


@dataclass(frozen=True)
class Row:
    """A test row and what each setting said of it.

    Attributes:
        index: in the test split.
        label: the true one; of several the names.
        answers: by setting name, those of most runs first.
    """

    index: int
    tokens: int
    label: str
    answers: dict[str, list[Answer]]


@dataclass(frozen=True)
class OnlyRight:
    """The rows that only one setting gets right: how many, and the most clear-cut of them."""

    setting: Setting
    count: int
    rows: tuple[Row, ...]


def only_right(dataset: Dataset, settings: Sequence[Setting]) -> list[OnlyRight]:
    """Return, by setting, the rows that most of its runs get right and most of all others' miss."""
    names = dataset.label_names
    shares = np.stack([setting.right / len(setting.runs) for setting in settings])
    found = []
    for i, setting in enumerate(settings):
        if len(settings) < 2:
            break
        others = np.delete(shares, i, 0).max(0)
        rows = np.flatnonzero((shares[i] > 0.5) & (others < 0.5))
        # The most clear-cut first: by runs, then by how sure the right ones are.
        unsure = np.mean([_unsure(run)[rows] for run in setting.runs], 0)
        order = np.lexsort((unsure, (others - shares[i])[rows]))
        shown = tuple(_row(dataset, settings, int(r), names) for r in rows[order[:MAX_ROWS]])
        found.append(OnlyRight(setting, len(rows), shown))
    return found


def _unsure(run: Run) -> npt.NDArray[np.float32]:
    return run.losses if run.confidence is None else -run.confidence


def _row(dataset: Dataset, settings: Sequence[Setting], index: int, names: Sequence[str]) -> Row:
    def at_row(labels: RowLabels) -> tuple[int, ...]:
        return tuple(labels.slice(index, index + 1).ids.tolist())

    def in_words(classes: tuple[int, ...]) -> str:
        return ", ".join(names[number] for number in classes) or "no label"

    truth = at_row(dataset.labels)
    answers = {}
    for setting in settings:
        said: dict[tuple[int, ...], list[Run]] = {}
        for run in setting.runs:
            said.setdefault(at_row(run.predictions), []).append(run)
        answers[setting.name] = [
            Answer(in_words(classes), len(runs), _confidence(runs, index), classes == truth)
            for classes, runs in sorted(said.items(), key=lambda item: -len(item[1]))
        ]
    return Row(index, int(dataset.lengths[index]), in_words(truth), answers)


def _confidence(runs: Sequence[Run], index: int) -> float | None:
    sure = [float(run.confidence[index]) for run in runs if run.confidence is not None]
    return sum(sure) / len(sure) if sure else None


def read_texts(dataset: Dataset, indices: Iterable[int]) -> dict[int, str]:
    """Read rows of the test split again, from where the runs had them.

    Long ones are cut at ``MAX_CHARACTERS``.

    Raises:
        InputError: they are not there any more, or are not the ones that were tested.
    """
    run = dataset.runs[0]
    if run.config.trainer.overfit:
        raise InputError("trainer.overfit has no test split of its own")
    try:
        test = Source(run.config.data).read_test(dataset.label_names, dataset.several)
    except OSError as error:
        raise InputError(f"{error.filename or 'the data'}: {error.strerror or error}") from None
    if test.fingerprint(dataset.label_names) != run.metrics["test_set"]:
        raise InputError(f"{test.where}: its texts or labels have changed since the runs")
    wanted: Int64 = np.array(sorted(set(indices)), np.int64)
    texts = test.texts.take(pa.array(wanted)).to_pylist()
    return {int(i): _cut(text or "") for i, text in zip(wanted, texts, strict=True)}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …"
