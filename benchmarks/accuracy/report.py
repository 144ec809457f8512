"""The tables of the part accuracy: ``accuracy.md`` out of ``accuracy.json`` and predictions."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy.scores import Floats, load, ranks
from benchmarks.accuracy.settings import DATA_SETS, DEMO_SETS, SYSTEMS
from benchmarks.figures import table
from benchmarks.measure import Record, Results
from textcls.files import write_whole
from textcls.report.analysis import p_text
from textcls.report.statistics import (
    LEVEL,
    Float64,
    Int64,
    holm,
    seeds_p,
    sign_flip_p,
    whole_differences,
)

# The system that is compared with all others.
OURS = "textcls"
# A lead of a peer that is listed.
POINT = 0.01


@dataclass(frozen=True)
class Column:
    """A figure of a system on a data set.

    Attributes:
        title: of its table.
        value: finds it in a record; None where it has none.
        scale: by what it is multiplied to be shown.
        digits: behind the point.
        descending: whether more is better; None: it is not ranked.
    """

    title: str
    value: Callable[[Record], float | None]
    scale: float = 1
    digits: int = 1
    descending: bool | None = True


def _of(name: str, split: str = "test") -> Callable[[Record], float | None]:
    return lambda record: record[split].get(name)


COLUMNS = (
    Column("Accuracy, %", _of("accuracy"), 100),
    Column("Macro F1, %", _of("macro_f1"), 100),
    Column("Loss, nats", _of("loss"), 1, 3, descending=False),
    Column("Expected calibration error, %", _of("ece"), 100, descending=False),
    Column("… that exact probabilities would have, %", _of("calibrated_ece"), 100, 1, None),
    Column("Seconds of training, one thread", lambda r: r["train_seconds"], 1, 1, False),
    Column("Seconds of search, one thread", lambda r: r["search_seconds"] or None, 1, 0, None),
    Column("Size of the model, MB", lambda r: r["bytes"], 1e-6, 1, False),
    Column("Accuracy on validation, %", _of("accuracy", "validation"), 100),
)


class Figures:
    """What was measured: records by data set and system, a record for each seed."""

    def __init__(self, results: Results) -> None:
        self.runs = results.runs
        self.failed = [record for record in results.records if "error" in record]
        self.records: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in sorted(results.records, key=lambda record: record["key"]["seed"]):
            if "error" not in record:
                self.records[record["key"]["set"], record["key"]["system"]].append(record)
        there = set(self.records)
        titles = DATA_SETS | DEMO_SETS
        self.sets = {k: one.title for k, one in titles.items() if any(s == k for s, _ in there)}
        self.systems = [name for name in SYSTEMS if any(s == name for _, s in there)]

    def values(self, column: Column, data_set: str, system: str) -> list[float]:
        """Return a figure of each seed."""
        found = (column.value(record) for record in self.records.get((data_set, system), ()))
        return [value for value in found if value is not None]

    def mean(self, column: Column, data_set: str, system: str) -> float | None:
        """Return the mean over the seeds."""
        values = self.values(column, data_set, system)
        return statistics.mean(values) if values else None


def write(results: Results, folder: Path) -> str:
    """Write ``accuracy.md``; return its text."""
    figures = Figures(results)
    if not figures.systems:
        return "no measurement of accuracy succeeded"
    text = "\n\n".join(sections(figures, folder / "predictions")) + "\n"
    write_whole(folder / "accuracy.md", text)
    return text


def sections(figures: Figures, predictions: Path) -> list[str]:
    """Return the paragraphs of ``accuracy.md``.

    Args:
        figures: what was measured.
        predictions: the folder of the predictions; where it has none, no difference is tested.
    """
    parts = [
        "# Accuracy beside tuned peers",
        _made_on(figures.runs),
        "Test figures, mean ± standard deviation over the seeds; the best of a row is bold. "
        "`benchmarks/README.md` says how each system is trained and tuned.",
    ]
    for column in COLUMNS:
        if any(figures.values(column, *key) for key in figures.records):
            parts += [f"## {column.title}", comparison(figures, column)]
        if column is COLUMNS[0] and OURS in figures.systems:
            parts += [f"## Where a peer is ahead by more than {POINT * 100:.0f} point",
                      ahead(figures, column),
                      "## Accuracy of textcls less that of others, points",
                      differences(figures, predictions)]  # fmt: skip
    if figures.failed:
        lines = (f"- {' '.join(map(str, r['key'].values()))}: {r['error']}" for r in figures.failed)
        parts += ["## Failed", "\n".join(lines)]
    return parts


def comparison(figures: Figures, column: Column) -> str:
    """A row for each data set, a column for each system; at the end the mean rank."""
    systems = [
        system
        for system in figures.systems
        if any(figures.values(column, one, system) for one in figures.sets)
    ]
    rows = []
    for one, title in figures.sets.items():
        means = {system: figures.mean(column, one, system) for system in systems}
        known = [round(mean * column.scale, column.digits) for mean in means.values()
                 if mean is not None]  # fmt: skip
        cells = []
        for system in systems:
            values = [value * column.scale for value in figures.values(column, one, system)]
            cell = _spread(values, column.digits)
            if values and column.descending is not None:
                best = max(known) if column.descending else min(known)
                if round(statistics.mean(values), column.digits) == best:
                    cell = f"**{cell}**"
            cells.append(cell)
        rows.append([title, *cells])
    if column.descending is not None:
        rows.append(_ranks(figures, column, systems))
    return table(["", *(SYSTEMS[system].label for system in systems)], rows)


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "–"
    text = f"{statistics.mean(values):,.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def _ranks(figures: Figures, column: Column, systems: Sequence[str]) -> list[str]:
    """Return the row of mean ranks over the data sets that all of these systems have.

    A system that has less than half of the data sets is left out, so that the others keep theirs.
    """
    means = {
        system: [figures.mean(column, one, system) for one in figures.sets] for system in systems
    }
    ranked = [system for system in systems if 2 * means[system].count(None) <= len(figures.sets)]
    rows = zip(*(means[system] for system in ranked), strict=True)
    complete: list[Floats] = [np.array(row, np.float64) for row in rows if None not in row]
    found = dict.fromkeys(systems, "–")
    if complete:
        mean_ranks = ranks(complete, bool(column.descending))
        found |= {system: f"{r:.1f}" for system, r in zip(ranked, mean_ranks, strict=True)}
    return [f"mean rank on {len(complete)}", *found.values()]


def ahead(figures: Figures, column: Column) -> str:
    """List the data sets on which the best peer is more than a point ahead of textcls."""
    peers = [system for system in figures.systems if SYSTEMS[system].options is None]
    lines = []
    for one, title in figures.sets.items():
        ours = figures.mean(column, one, OURS)
        means = {system: figures.mean(column, one, system) for system in peers}
        known = {system: mean for system, mean in means.items() if mean is not None}
        if ours is None or not known:
            continue
        best = max(known, key=lambda system: known[system])
        if known[best] - ours > POINT:
            lines.append(
                f"- {title}: {SYSTEMS[best].label} {100 * known[best]:.1f}, textcls "
                f"{100 * ours:.1f}: {100 * (known[best] - ours):.1f} points"
            )
    return "\n".join(lines) or "Nowhere."


def differences(figures: Figures, predictions: Path) -> str:
    """Test textcls against every other system, as ``textcls compare`` tests two settings.

    Raises:
        ValueError: two systems were tested on other rows.
    """
    others = [system for system in figures.systems if system != OURS]
    rows = []
    for one, title in figures.sets.items():
        known = {
            system: found
            for system in (OURS, *others)
            if (found := _kept(figures, predictions, one, system)) is not None
        }
        if OURS not in known or len(known) == 1:
            continue
        cells = dict(zip((s for s in others if s in known), _tests(known, one), strict=True))
        rows.append([title, *(cells.get(system, "–") for system in others)])
    if not rows:
        return "Not tested: the predictions are not here."
    note = (
        "Bold: more than chance, over other texts (the p-value shown: sign-flip test of the rows, "
        "McNemar's for one run a side) and, where both have several seeds, over other seeds "
        "(Student's t); corrected by Holm for the systems of a row."
    )
    return note + "\n\n" + table(["", *(SYSTEMS[system].label for system in others)], rows)


@dataclass(frozen=True)
class _Kept:
    """How often each test row is right over the seeds, and the accuracy of each seed."""

    labels: Int64
    right: Int64
    seeds: list[int]
    accuracies: Float64


def _kept(figures: Figures, predictions: Path, data_set: str, system: str) -> _Kept | None:
    seeds = [record["key"]["seed"] for record in figures.records.get((data_set, system), ())]
    files = [predictions / data_set / f"{system}-{seed}.safetensors" for seed in seeds]
    if not files or not all(file.exists() for file in files):
        return None
    found = [load(file) for file in files]
    right = np.stack([one["labels"] == one["predictions"] for one in found])
    return _Kept(found[0]["labels"].astype(np.int64), right.sum(0), seeds, right.mean(1))


def _tests(known: dict[str, _Kept], data_set: str) -> list[str]:
    """Return a cell for each system but the first, which is ours."""
    ours, *others = known.values()
    over_texts, over_seeds, gaps = [], [], []
    for other in others:
        if not np.array_equal(ours.labels, other.labels):
            raise ValueError(f"{data_set}: the systems were tested on other rows: measure it again")
        counts = len(ours.seeds), len(other.seeds)
        over_texts.append(
            sign_flip_p(whole_differences(ours.right, counts[0], other.right, counts[1]))
        )
        over_seeds.append(seeds_p(ours.accuracies, ours.seeds, other.accuracies, other.seeds))
        gaps.append(100 * float(ours.accuracies.mean() - other.accuracies.mean()))
    cells = []
    for gap, p_texts, p_seeds in zip(gaps, holm(over_texts), holm(over_seeds), strict=True):
        real = p_texts < LEVEL and (p_seeds is None or p_seeds < LEVEL)
        shown = f"**{gap:+.1f}**" if real else f"{gap:+.1f}"
        cells.append(f"{shown} ({p_text(p_texts)})")
    return cells


def _made_on(runs: Sequence[Record]) -> str:
    """Say what machines and versions the figures come from, each once."""
    lines = []
    for run in runs:
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        lines.append(
            f"- commit {run['commit']}: {run['cores']} cores of {run['cpu']}, {run['platform']}, "
            f"Python {run['python']}, {versions}"
        )
    return "\n".join(dict.fromkeys(lines))
