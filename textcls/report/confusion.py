"""The test result on the terminal, and the confusion matrix as table and picture."""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.errors import visible
from textcls.report.per_class import LISTED, class_tables, most_frequent
from textcls.task.names import HEADLINE, names_of
from textcls.task.single_metrics import confusion_array

# A wider matrix does not fit a terminal, or cannot be read in a picture.
MAX_TABLE_CLASSES = 10
MAX_PICTURE_CLASSES = 40


def summary(metrics: Mapping[str, Any], split: str = "test") -> RenderableType:
    """Return the test metrics with tables per class, and the confusion matrix where it fits.

    Args:
        metrics: of ``classification_metrics``, with ``loss``.
        split: what the rows are, for the headline.
    """
    by_class = metrics["per_class"]
    rows = sum(row["support"] for row in by_class.values())
    tables = class_tables(by_class, "class", "classes")
    return Group(headline(metrics, rows, split), *tables, _matrix(metrics))


def headline(metrics: Mapping[str, Any], num_rows: int, split: str = "test") -> Text:
    """Return the metrics in a line."""
    names = names_of(metrics)
    shown = [name for name in names if name in HEADLINE and name in metrics]
    return Text(
        f"{split} {scores_in_words(metrics, shown)}   ({num_rows:,} rows)",
        style="bold",
    )


def scores_in_words(metrics: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Return some of the metrics with their names, in a line."""
    names = names_of(metrics)
    return "   ".join(f"{names[metric]} {metrics[metric]:.4f}" for metric in shown)


def _matrix(metrics: Mapping[str, Any]) -> RenderableType:
    confusion, names = metrics["confusion"], list(metrics["per_class"])
    if len(names) <= MAX_TABLE_CLASSES:
        table = Table("true \\ predicted", title="confusion matrix", title_justify="left")
        for name in names:
            table.add_column(Text(visible(name)), justify="right")
        for index, row in enumerate(confusion_array(metrics, names).tolist()):
            cells = [
                Text(f"{count:,}", style="green" if index == column else "red" if count else "dim")
                for column, count in enumerate(row)
            ]
            table.add_row(Text(visible(names[index])), *cells)
        return table
    table = Table("true", "predicted", title="most frequent confusions", title_justify="left")
    table.add_column("rows", justify="right")
    wrong = (
        (count, true, predicted)
        for true, row in confusion.items()
        for predicted, count in row.items()
        if predicted != true
    )
    for count, true, predicted in heapq.nlargest(LISTED, wrong, key=lambda pair: pair[0]):
        table.add_row(Text(visible(true)), Text(visible(predicted)), f"{count:,}")
    return table


def drawable(name: str, most: int = 24) -> str:
    """Return a label as matplotlib can draw it: short, and in characters that its font has."""
    font = get_font(findfont(FontProperties()))
    text = "".join(
        c if font.get_char_index(ord(c)) else unicodedata.name(c, "?").lower() for c in name
    )
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")  # which would start a formula


def picture(metrics: Mapping[str, Any], title: str) -> Figure:
    """Draw the confusion matrix: shade and number are the share of the true class's rows.

    Beyond ``MAX_PICTURE_CLASSES`` classes those with most rows are drawn, and the title says so.

    Args:
        metrics: of ``classification_metrics``.
        title: what of.
    """
    by_class = metrics["per_class"]
    names = list(by_class)
    if len(names) > MAX_PICTURE_CLASSES:
        title = f"{title}: the {MAX_PICTURE_CLASSES} classes with most rows, of {len(names):,}"
        frequent = {*most_frequent(by_class)[:MAX_PICTURE_CLASSES]}
        names = [name for name in names if name in frequent]
    rows = np.array([[by_class[name]["support"]] for name in names])
    shares = confusion_array(metrics, names) / np.maximum(rows, 1)
    count = len(names)
    size = min(3.5 + 0.45 * count, 16.0)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    short = [drawable(name) for name in names]
    axes.set_xticks(range(count), short, rotation=90 if count > 4 else 0)
    axes.set_yticks(range(count), short)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    if count <= 20:
        for row in range(count):
            for column in range(count):
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{share:.2f}" if count > 6 else f"{share:.1%}",
                    ha="center",
                    va="center",
                    fontsize=7 if count > 6 else 10,
                    color="white" if share > 0.5 else "black",
                )
    return figure
