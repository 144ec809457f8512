"""What compression comes to: a table for the terminal, and a picture of score against size."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.model.compress import Candidate, Shrunk, in_words
from textcls.model.quantize import KINDS
from textcls.report.plots import COLOURS, HEIGHT, MARKERS, STYLE, WIDTH
from textcls.sizes import size_in_words

# As words for people.
NAMES = {
    "float32": "float32",
    "int8": "int8",
    "pq2": "product quantization by 2",
    "pq4": "product quantization by 4",
    "pq8": "product quantization by 8",
}
# Lines of the table: the best of so many sizes.
SHOWN = 12
# Scores lower than the original's by more are left out of the picture, or a budget would be met
# in a flat corner of it.
DEPTH = 0.08


def curve_table(shrunk: Shrunk) -> RenderableType:
    """Return the candidates that no other beats in both bytes and score, and a sentence."""
    original, chosen, metric = shrunk.original, shrunk.chosen, in_words(shrunk.metric)
    table = Table("table", box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for head in ("rows", "bytes", "of the original", metric, "change"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in (*_thinned(best(shrunk.curve), chosen), original):
        is_chosen, is_original = one is chosen, one is original
        table.add_row(
            "original" if is_original else NAMES[one.kind],
            f"{one.rows:,}",
            f"{one.bytes:,}",
            f"{one.bytes / original.bytes:.2%}",
            f"{one.score:.4f}",
            "" if is_original else f"{one.score - original.score:+.4f}",
            style="bold green" if is_chosen else "",
        )
    lost = original.score - chosen.score
    change = f"{lost:.4f} less" if lost > 0 else f"{-lost:.4f} more"
    sentence = (
        f"chosen: {chosen.rows:,} rows as {NAMES[chosen.kind]}, {chosen.bytes:,} bytes "
        f"({original.bytes / chosen.bytes:,.0f} times smaller), {metric} {chosen.score:.4f} "
        f"({change})"
    )
    return Group(table, Text(sentence))


def best(curve: tuple[Candidate, ...]) -> list[Candidate]:
    """Return those that are better than all smaller ones, by bytes."""
    front: list[Candidate] = []
    for one in sorted(curve, key=lambda c: (c.bytes, -c.score)):
        if not front or one.score > front[-1].score:
            front.append(one)
    return front


def _thinned(front: list[Candidate], chosen: Candidate) -> list[Candidate]:
    """Return about ``SHOWN`` of them, evenly chosen, and the chosen one."""
    step = max(len(front) / SHOWN, 1)
    shown = {round(i * step) for i in range(SHOWN)}
    lines = [one for i, one in enumerate(front) if i in shown or one is front[-1]]
    # Of an equal score a smaller one would have been chosen but for a budget of bytes.
    return sorted({*lines, chosen}, key=lambda one: one.bytes)


def curve_picture(shrunk: Shrunk) -> Figure:
    """Draw scores against bytes, a line for each kind of table, and the budget."""
    metric = in_words(shrunk.metric)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(f"{metric[0].upper()}{metric[1:]} against size")
        axes.set_xlabel("bytes of the model folder")
        axes.set_ylabel(f"validation {metric}")
        for i, kind in enumerate(KINDS):
            lowest = min(shrunk.chosen.score, shrunk.original.score - DEPTH)
            line = [one for one in shrunk.curve if one.kind == kind and one.score >= lowest]
            if line:
                axes.plot(
                    [one.bytes for one in line], [one.score for one in line],
                    color=COLOURS[i], marker=MARKERS[i], ms=4, label=NAMES[kind],
                )  # fmt: skip
        _mark(axes, shrunk)
        _bytes_axis(axes)
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _mark(axes: Axes, shrunk: Shrunk) -> None:
    original, chosen = shrunk.original, shrunk.chosen
    axes.plot(
        original.bytes, original.score, "D", color="#000000", ms=6, ls="none", label="original"
    )
    axes.plot(
        chosen.bytes, chosen.score, "o", ms=13, mfc="none", mec="#000000", mew=1.6,
        ls="none", label=f"chosen: {size_in_words(chosen.bytes)}", zorder=5,
    )  # fmt: skip
    budget: dict[str, Any] = {"color": "#555555", "linewidth": 1}
    if shrunk.max_bytes is not None:
        words = f"at most {size_in_words(shrunk.max_bytes)}"
        axes.axvline(shrunk.max_bytes, **budget, linestyle="--", label=words)
    if shrunk.max_loss is not None:
        floor = original.score - shrunk.max_loss
        axes.axhline(floor, **budget, linestyle=":", label=f"at most {shrunk.max_loss:g} lost")


def _bytes_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_in_words(value)))
