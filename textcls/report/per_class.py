"""The scores of each class on the terminal: of all of them, or the most frequent and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from textcls.errors import visible

# Up to so many classes all are shown; of more, so many of each kind.
MAX_TABLE_CLASSES = 40
LISTED = 10


def class_tables(by_class: Mapping[str, Any], one: str, many: str) -> list[Table]:
    """Return the table of all classes, or those of the most frequent and the worst.

    Args:
        by_class: the scores of each, by its name.
        one: what a class is called.
        many: what classes are called.
    """
    if len(by_class) <= MAX_TABLE_CLASSES:
        return [_table(f"per {one}", one, by_class, list(by_class))]
    frequent = most_frequent(by_class)
    rest = [name for name in frequent[LISTED:] if by_class[name]["support"]]
    worst = sorted(rest, key=lambda name: float(by_class[name]["f1"]))[:LISTED]
    title = f"the {LISTED} most frequent of {len(frequent):,} {many}"
    of_worst = f"the {LISTED} worst of the others, those of most rows first"
    return [
        _table(title, one, by_class, frequent[:LISTED]),
        _table(of_worst, one, by_class, worst),
    ]


def most_frequent(by_class: Mapping[str, Any]) -> list[str]:
    """Return the names of classes, those of most rows first."""
    return sorted(by_class, key=lambda name: -int(by_class[name]["support"]))


def _table(title: str, one: str, by_class: Mapping[str, Any], names: Sequence[str]) -> Table:
    table = Table(one, title=title, title_justify="left")
    has_threshold = any("threshold" in by_class[name] for name in names)
    for column in ("precision", "recall", "F1", "rows", *["threshold"] * has_threshold):
        table.add_column(column, justify="right")
    for name in names:
        row = by_class[name]
        cells = [f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        cells.append(f"{row['support']:,}")
        if has_threshold:
            cells.append(f"{row['threshold']:.3f}")
        table.add_row(Text(visible(name)), *cells)
    return table
