"""A study: finished runs read back and put in order, so that like is compared with like.

No run is trained or tested here, and torch is not needed.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from textcls.config import CIRCUMSTANCES, Config, flatten, read_config
from textcls.corpus.splits import RowLabels
from textcls.errors import InputError
from textcls.files import BEST, FAILED, FINISHED, read_epochs
from textcls.pooling import MODES
from textcls.report.agreement import are_right
from textcls.task.names import HEADLINE, are_of_several, names_of
from textcls.values import is_auto

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

# Of the other keys, those that differ between runs make different settings.
NO_SETTINGS = ("seed", "data.name", *CIRCUMSTANCES)
# The folder of a comparison, which lies among the runs.
COMPARISON = "compare"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, as its folder has it.

    Attributes:
        metrics: what ``metrics.json`` holds.
        epochs: what ``epochs.jsonl`` holds, a record an epoch.
        labels: of the test split.
        predictions: of as many rows.
        confidence: float32 ``[num_rows]``, the probability of what was predicted; None where a row
            may have several labels.
        losses: float32 ``[num_rows]``, by row, in nats.
        lengths: int32 ``[num_rows]``, tokens by row.
    """

    folder: Path
    config: Config
    metrics: dict[str, Any]
    epochs: list[dict[str, Any]]
    labels: RowLabels
    predictions: RowLabels
    confidence: npt.NDArray[np.float32] | None
    losses: npt.NDArray[np.float32]
    lengths: Int32


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in nothing but the seed.

    Attributes:
        name: short, and its own among the settings of a study: ``max``, or ``max, dim=8``.
        values: what it has apart from others, by short key: ``{"mode": "max", "dim": "8"}``.
        runs: ordered by seed.
    """

    name: str
    values: dict[str, str]
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each run."""
        return tuple(run.config.seed for run in self.runs)

    def scores(self, metric: str, split: str = "test") -> Float64:
        """Return a metric of each run, float64 ``[num_seeds]``."""
        return np.array([run.metrics[split][metric] for run in self.runs], np.float64)

    def median(self, name: str) -> float:
        """Return the median over the runs of another number of ``metrics.json``."""
        return float(np.median([run.metrics[name] for run in self.runs]))

    @property
    def predictions(self) -> list[RowLabels]:
        """What each run predicted."""
        return [run.predictions for run in self.runs]

    @cached_property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether a run is right about a row, bool ``[num_seeds, num_rows]``."""
        return np.stack([are_right(run.predictions, run.labels) for run in self.runs])

    @cached_property
    def losses(self) -> Float64:
        """The loss of each row, float64 ``[num_rows]``, the mean over the runs."""
        return np.asarray(np.mean([run.losses for run in self.runs], 0, np.float64))

    @cached_property
    def right(self) -> Int64:
        """How many of the runs are right about a row, int64 ``[num_rows]``."""
        return np.asarray(self.hits.sum(0), np.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The settings that were tested on the same rows."""

    name: str
    settings: tuple[Setting, ...]

    @property
    def runs(self) -> list[Run]:
        """The runs of all settings."""
        return [run for setting in self.settings for run in setting.runs]

    @property
    def label_names(self) -> list[str]:
        """The names of class 0, 1, 2, …."""
        return list(self.runs[0].metrics["test"]["per_class"])

    @property
    def labels(self) -> RowLabels:
        """The true labels of each test row."""
        return self.runs[0].labels

    @property
    def several(self) -> bool:
        """Whether a row has any number of labels."""
        return self.labels.offsets is not None

    @property
    def metrics(self) -> dict[str, str]:
        """By what settings are compared: metrics and their names, the most telling first."""
        found = (_compared_by(run.metrics["test"]) for run in self.runs)
        return min(found, key=len)

    @property
    def lengths(self) -> Int32:
        """The tokens of each test row, int32 ``[num_rows]``; n-grams count where all have them."""
        return min((run.lengths for run in self.runs), key=lambda lengths: int(lengths.sum()))


@dataclass(frozen=True)
class LeftOut:
    """A run that is not counted, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Study:
    """What there is to compare, and what was left out."""

    datasets: tuple[Dataset, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def metrics(self) -> dict[str, str]:
        """See :attr:`Dataset.metrics`; those that all of them have."""
        return min((dataset.metrics for dataset in self.datasets), key=len)


def find_runs(places: Iterable[Path | str]) -> list[Path]:
    """Return the run folders that are, or lie below, the given folders or globs; each once.

    Raises:
        InputError: a place that is not there, or has no run in it.
    """
    found: dict[Path, None] = {}
    for place in places:
        folders = [place] if os.path.exists(place) else sorted(glob.glob(str(place)))
        if not folders:
            raise InputError(f"{place}: there is no such folder")
        runs = [run for folder in folders for run in _below(Path(folder))]
        if not runs:
            raise InputError(f"{place}: there is no run in it")
        found |= dict.fromkeys(run.resolve() for run in runs)
    return list(found)


def _below(top: Path) -> list[Path]:
    runs = []
    for folder, inner, files in os.walk(top):
        if {"config.yaml", FINISHED, FAILED} & set(files):
            best = Path(folder, BEST)  # of a search
            runs.append(best if (best / FINISHED).exists() else Path(folder))
            inner.clear()
        # What is being written has a hidden name.
        inner[:] = sorted(name for name in inner if name[0] != "." and name != COMPARISON)
    return runs


def common_folder(runs: Sequence[Path]) -> Path:
    """Return the deepest folder that all run folders lie in."""
    return Path(os.path.commonpath([run.parent for run in runs]))


def read_study(folders: Sequence[Path]) -> Study:
    """Read run folders and group them: by test rows, then by setting.

    Args:
        folders: of runs; :func:`find_runs` finds them.

    Raises:
        InputError: no run is finished, a run cannot be read, or they cannot be compared: two test
            splits under one name, a run with a test split of its own, or a setting that was run
            twice with one seed.
    """
    left_out, by_rows = [], dict[str, list[Run]]()
    for folder in folders:
        if (folder / FINISHED).exists():
            run = _read_run(folder)
            by_rows.setdefault(run.metrics["test_set"], []).append(run)
        else:
            left_out.append(LeftOut(folder, _why_unfinished(folder)))
    if not by_rows:
        raise InputError(f"no run is finished; {left_out[0].folder}: {left_out[0].reason}")
    groups = list(by_rows.values())
    _check_comparable(groups)
    keys = _differing_keys(groups)
    datasets = tuple(Dataset(_name(runs[0]), _settings(runs, keys)) for runs in groups)
    return Study(datasets, tuple(left_out))


def _name(run: Run) -> str:
    return run.config.data.name


def _read_run(folder: Path) -> Run:
    config = read_config(folder)
    try:
        metrics = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
        parts = [metrics[split] for split in ("test", "validation")]
        names = (*_compared_by(metrics["test"]), "per_class")
        known = [part[name] for part in parts for name in names]
        known += [metrics[key] for key in ("test_set", "train_seconds", "tokens_per_second")]
        known += [metrics[key] for key in ("epochs", "best_epoch", "parameters")]
        epochs = read_epochs(folder)
        known += [record["validation"][name] for record in epochs for name in names[:-1]]
    except KeyError as error:
        raise InputError(
            f"{folder}: was written by an older textcls, or is damaged (it has no {error}): "
            "train it again to compare it"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder}: its {FINISHED} is damaged ({error})") from None
    file = folder / "predictions.safetensors"
    if not file.exists():
        raise InputError(f"{folder}: has no {file.name}: train it again to compare it")
    try:
        columns = load_file(file)
        labels, predictions = _labels(columns, "label"), _labels(columns, "prediction")
        several = labels.offsets is not None
        confidence = None if several else columns["confidence"]
        losses, lengths = columns["losses"], columns["lengths"]
        by_row = [part for part in (labels, predictions, confidence, losses, lengths)
                  if part is not None]  # fmt: skip
        if len({len(part) for part in by_row}) > 1:
            raise ValueError("its columns differ in length")
        if several != are_of_several(metrics["test"]):
            raise ValueError(f"its labels are not those of {FINISHED}")
        if not np.isclose(are_right(predictions, labels).mean(), metrics["test"]["accuracy"]):
            raise ValueError(f"its accuracy is not that of {FINISHED}")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{folder}: its {file.name} is damaged ({error})") from None
    return Run(folder, config, metrics, epochs, labels, predictions, confidence, losses, lengths)


def _compared_by(metrics: dict[str, Any]) -> dict[str, str]:
    return {metric: name for metric, name in names_of(metrics).items() if metric in HEADLINE}


def _labels(columns: dict[str, Any], name: str) -> RowLabels:
    ids, offsets = columns[f"{name}s"].astype(np.int64), columns.get(f"{name}_offsets")
    if offsets is not None and (
        offsets[:1] != 0 or offsets[-1:] != len(ids) or bool((np.diff(offsets) < 0).any())
    ):
        raise ValueError(f"its {name}_offsets do not part its {name}s")
    return RowLabels(ids, offsets)


def _why_unfinished(folder: Path) -> str:
    try:
        return f"failed: {json.loads((folder / FAILED).read_text(encoding='utf-8'))['reason']}"
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"failed, and its {FAILED} is damaged ({error})"
    try:
        wanted, done = read_config(folder).trainer.epochs, len(read_epochs(folder))
    except InputError:
        return "not finished"
    of = "" if is_auto(wanted) else f" of {wanted}"
    return f"not finished: {done}{of} epochs"


def _check_comparable(groups: Sequence[Sequence[Run]]) -> None:
    kinds = {run.labels.offsets is not None: run for runs in groups for run in runs}
    if len(kinds) > 1:
        raise InputError(
            f"the texts of {kinds[False].folder} have one label each, those of "
            f"{kinds[True].folder} any number: compare them apart"
        )
    by_name: dict[str, Run] = {}
    for runs in groups:
        for run in runs:
            other = by_name.setdefault(_name(run), run)
            if other.metrics["test_set"] != run.metrics["test_set"]:
                raise InputError(
                    f"{other.folder} ({len(other.labels):,} rows) and {run.folder} "
                    f"({len(run.labels):,} rows) were tested on different rows, both named "
                    f"'{_name(run)}': compare them apart"
                )
    for runs in groups:
        if len(runs) == 1 and len(groups) > 1:
            (run,) = runs
            other = next(group[0] for group in groups if group is not runs)
            raise InputError(
                f"{run.folder} is the only run that was tested on '{_name(run)}', "
                f"{other.folder} on '{_name(other)}': only runs with the same test rows compare"
            )


def _differing_keys(groups: Sequence[Sequence[Run]]) -> dict[str, str]:
    """Return the keys in which runs of one dataset differ, with a short name for each."""
    keys: dict[str, None] = {}
    for runs in groups:
        rows = [flatten(run.config.to_dict()) for run in runs]
        for key in rows[0]:
            if key not in NO_SETTINGS and len({repr(row[key]) for row in rows}) > 1:
                keys[key] = None
    # optimizer=sgd brings its own lr and momentum along: where the name tells them, it will do.
    rows = [flatten(run.config.to_dict()) for runs in groups for run in runs]
    for key in list(keys):
        name = f"{key.partition('.')[0]}.name"
        if key != name and name in keys:
            told = {(row[name], repr(row[key])) for row in rows}
            if len(told) == len({row[name] for row in rows}):
                del keys[key]
    short = {key: key.removesuffix(".name").rpartition(".")[2] for key in keys}
    names = list(short.values())
    return {key: name if names.count(name) == 1 else key for key, name in short.items()}


def _settings(runs: Sequence[Run], keys: dict[str, str]) -> tuple[Setting, ...]:
    by_values: dict[tuple[Any, ...], dict[int, Run]] = {}
    for run in runs:
        flat = flatten(run.config.to_dict())
        with_seed = by_values.setdefault(tuple(_sortable(flat[key]) for key in keys), {})
        other = with_seed.setdefault(run.config.seed, run)
        if other is not run:
            raise InputError(
                f"{other.folder} and {run.folder} have the same settings and the same seed: "
                "leave out one of them"
            )
    settings = []
    for _, by_seed in sorted(by_values.items()):
        ordered = tuple(by_seed[seed] for seed in sorted(by_seed))
        flat = flatten(ordered[0].config.to_dict())
        values = {short: _shown(flat[key]) for key, short in keys.items()}
        parts = [
            _shown(flat[key]) if key == "model.mode" else f"{short}={_shown(flat[key])}"
            for key, short in keys.items()
        ]
        settings.append(Setting(", ".join(parts) or flat["model.mode"], values, ordered))
    return tuple(settings)


def _sortable(value: Any) -> tuple[int, float, str]:
    """Order numbers by size, modes as the configuration lists them, the rest by name."""
    if isinstance(value, int | float):
        return 0, float(value), ""
    if value in MODES:
        return 1, MODES.index(value), ""
    return 2, 0, _shown(value)


def _shown(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, tuple | list):
        return f"[{','.join(map(_shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
