"""The test result on the terminal, and the confusion matrix as table and picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.errors import visible
from textcls.task.names import HEADLINE, are_of_several, names_of

Counts = npt.NDArray[np.int64]

# A wider matrix does not fit a terminal, or cannot be read in a picture.
MAX_TABLE_CLASSES = 10
MAX_PICTURE_CLASSES = 40


def summary(metrics: Mapping[str, Any], matrix: Counts, split: str = "test") -> RenderableType:
    """Return the test metrics as a table per class, with the confusion matrix where it fits.

    Args:
        metrics: of ``classification_metrics``, with ``loss``.
        matrix: int64 ``[num_classes, num_classes]``, rows the true classes.
        split: what the rows are, for the headline.
    """
    names = list(metrics["per_class"])
    scores = Table("class", title="per class", title_justify="left")
    for column in ("precision", "recall", "F1", "rows"):
        scores.add_column(column, justify="right")
    order = np.argsort(-matrix.sum(1), kind="stable") if len(names) > 40 else np.arange(len(names))
    for index in order[:40]:
        row = metrics["per_class"][names[index]]
        values = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        scores.add_row(Text(visible(names[index])), *values, f"{row['support']:,}")
    if len(names) > 40:
        scores.caption = f"the 40 classes with most rows, of {len(names)}"
    return Group(headline(metrics, int(matrix.sum()), split), scores, _matrix(matrix, names))


def headline(metrics: Mapping[str, Any], num_rows: int, split: str = "test") -> Text:
    """Return the metrics in a line."""
    names = names_of(are_of_several(metrics))
    shown = [name for name in names if name in HEADLINE and name in metrics]
    return Text(
        f"{split} {scores_in_words(metrics, shown)}   ({num_rows:,} rows)",
        style="bold",
    )


def scores_in_words(metrics: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Return some of the metrics with their names, in a line."""
    names = names_of(are_of_several(metrics))
    return "   ".join(f"{names[metric]} {metrics[metric]:.4f}" for metric in shown)


def _matrix(matrix: Counts, names: Sequence[str]) -> RenderableType:
    if len(names) <= MAX_TABLE_CLASSES:
        table = Table("true \\ predicted", title="confusion matrix", title_justify="left")
        for name in names:
            table.add_column(Text(visible(name)), justify="right")
        for index, name in enumerate(names):
            cells = [
                Text(f"{count:,}", style="green" if index == column else "red" if count else "dim")
                for column, count in enumerate(matrix[index])
            ]
            table.add_row(Text(visible(name)), *cells)
        return table
    table = Table("true", "predicted", title="most frequent confusions", title_justify="left")
    table.add_column("rows", justify="right")
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:10]:
        true, predicted = np.unravel_index(flat, wrong.shape)
        if wrong[true, predicted]:
            count = f"{wrong[true, predicted]:,}"
            table.add_row(Text(visible(names[true])), Text(visible(names[predicted])), count)
    return table


def drawable(name: str, most: int = 24) -> str:
    """Return a label as matplotlib can draw it: short, and in characters that its font has."""
    font = get_font(findfont(FontProperties()))
    text = "".join(
        c if font.get_char_index(ord(c)) else unicodedata.name(c, "?").lower() for c in name
    )
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")  # which would start a formula


def picture(matrix: Counts, names: Sequence[str], title: str) -> Figure:
    """Draw the confusion matrix: shade and number are the share of the true class's rows.

    Beyond ``MAX_PICTURE_CLASSES`` classes those with most rows are drawn, and the title says so.
    """
    if len(names) > MAX_PICTURE_CLASSES:
        frequent = np.sort(np.argsort(-matrix.sum(1), kind="stable")[:MAX_PICTURE_CLASSES])
        title = f"{title}: the {MAX_PICTURE_CLASSES} classes with most rows, of {len(names)}"
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        shares, names = shares[np.ix_(frequent, frequent)], [names[i] for i in frequent]
    else:
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
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
