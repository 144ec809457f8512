"""The scores of labels where a text may have several: as tables on the terminal and as a picture.

Hundreds of labels are too many to look at: shown are the most frequent and the worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.report.confusion import drawable, headline, scores_in_words
from textcls.report.per_class import class_tables, most_frequent
from textcls.task.multi_metrics import RANKS

Float64 = npt.NDArray[np.float64]

# So many labels have a line of their own in the picture.
MAX_NAMED = 30
# The scores of a line each: they fit a terminal of 80 columns.
OF_DECISIONS = ("micro_f1", "macro_f1", "accuracy")
OF_SUMS = ("micro_precision", "micro_recall")
OF_PROBABILITIES = ("lrap", "loss", "ece")
# Labels of about the same number of rows, over which the picture takes the mean.
BINS = 8
_DARK, _LIGHT, _RED = "#0072b2", "#56b4e9", "#d55e00"


def label_summary(metrics: Mapping[str, Any], split: str = "test") -> RenderableType:
    """Return the scores of a split as tables: of all labels together, then of single ones.

    Args:
        metrics: of :meth:`textcls.task.multi.MultiLabel.assess`.
        split: what the rows are, for the headline.
    """
    by_label = metrics["per_class"]
    ordered = {name: by_label[name] for name in most_frequent(by_label)}
    return Group(
        headline({name: metrics[name] for name in OF_DECISIONS}, metrics["rows"], split),
        *(Text(scores_in_words(metrics, names)) for names in (OF_SUMS, OF_PROBABILITIES)),
        _ranks(metrics),
        *class_tables(ordered, "label", "labels"),
    )


def _ranks(metrics: Mapping[str, Any]) -> Table:
    table = Table("", title="of the k most probable labels", title_justify="left")
    for k in RANKS:
        table.add_column(f"k = {k}", justify="right")
    for name, key in (("precision", "precision"), ("recall", "recall"), ("nDCG", "ndcg")):
        table.add_row(name, *(f"{metrics[f'{key}_at_{k}']:.4f}" for k in RANKS))
    return table


def label_picture(metrics: Mapping[str, Any], title: str) -> Figure:
    """Draw precision, recall and F1 of the most frequent labels, a line for each.

    Of more than ``MAX_NAMED`` labels, F1 of all of them is drawn beside it, against their rows.

    Args:
        metrics: of :meth:`textcls.task.multi.MultiLabel.assess`.
        title: what of, for the headline.
    """
    by_label = metrics["per_class"]
    frequent = most_frequent(by_label)
    named = frequent[:MAX_NAMED]
    are_more = len(frequent) > len(named)
    figure = Figure(
        figsize=(12.4 if are_more else 6.8, 1.9 + 0.24 * len(named)), layout="constrained", dpi=110
    )
    figure.suptitle(
        f"{title}: micro F1 {metrics['micro_f1']:.3f}, macro F1 {metrics['macro_f1']:.3f}"
    )
    panels = figure.subplots(1, 2 if are_more else 1, squeeze=False)[0]
    _lines(panels[0], by_label, named)
    if are_more:
        panels[0].set_title(f"the {len(named)} most frequent of {len(frequent):,} labels")
        _points(panels[1], by_label)
    for axes in panels:
        axes.grid(color="#e4e4e4")
        axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def _lines(axes: Axes, by_label: Mapping[str, Any], names: Sequence[str]) -> None:
    places = np.arange(len(names))
    precision, recall, f1 = (
        [by_label[name][key] for name in names] for key in ("precision", "recall", "f1")
    )
    axes.hlines(places, precision, recall, color="#bbbbbb", linewidth=1.5)
    axes.plot(precision, places, "s", color=_LIGHT, ms=5, label="precision")
    axes.plot(recall, places, "D", color=_RED, ms=5, label="recall")
    axes.plot(f1, places, "o", color=_DARK, ms=6, label="F1")
    axes.set_yticks(
        places, [f"{drawable(name)}  {by_label[name]['support']:,}" for name in names], fontsize=8
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylabel("label and its rows")


def _points(axes: Axes, by_label: Mapping[str, Any]) -> None:
    rows = np.array([row["support"] for row in by_label.values()], np.int64)
    f1 = np.array([row["f1"] for row in by_label.values()])[rows > 0]
    without, rows = int(np.count_nonzero(rows == 0)), rows[rows > 0]
    axes.set_title("all labels" + (f", but {without:,} that no row has" if without else ""))
    axes.set_xscale("log")
    # Many labels have the same few rows and the same F1: where they are dense, it is darker.
    axes.plot(rows, f1, "o", color=_LIGHT, ms=4, alpha=0.35, markeredgewidth=0, label="a label")
    means = np.array(_means(rows, f1))
    axes.plot(*means.T, "-o", color=_DARK, ms=5, label="mean of labels with as many rows")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("rows of the label")
    axes.set_ylabel("F1")
    axes.set_ylim(-0.02, 1.02)


def _means(rows: npt.NDArray[np.int64], f1: Float64) -> list[tuple[float, float]]:
    """Return the middle (geometric) and the mean F1 of each bin of labels by rows."""
    edges = np.unique(np.geomspace(1, rows.max(initial=1) + 1, BINS + 1).astype(np.int64))
    bins = np.searchsorted(edges, rows, side="right")
    return [
        (float(np.exp(np.log(rows[bins == i]).mean())), float(f1[bins == i].mean()))
        for i in np.unique(bins)
    ]
