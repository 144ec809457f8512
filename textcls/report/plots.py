"""The pictures of a comparison: drawn once, then written as PNG, into the page and the events."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from textcls.pooling import MODES
from textcls.report.confusion import drawable
from textcls.report.study import Dataset, Float64, Setting

# Okabe and Ito's colours, which colour-blind readers tell apart as well, without the yellow that
# is too light for a line. A mode has the same colour in every comparison.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d46",
)  # fmt: skip
MARKERS = "os^DvPX*"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "textcls",  # the same figures give the same file
}
WIDTH, HEIGHT, DPI = 6.4, 3.9, 140
MAX_CLASSES = 20
MAX_BINS = 8


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes:
        name: of its file, without suffix.
        metric: which it shows, or None.
        words: what there is to see, for those who do not see it.
        png: the picture as a PNG file.
        svg: the picture as SVG text.
    """

    name: str
    metric: str | None
    words: str
    png: bytes
    svg: str


@dataclass(frozen=True)
class Look:
    """How a setting looks in every picture."""

    colour: str
    marker: str


def looks_of(settings: Sequence[Setting]) -> dict[str, Look]:
    """Choose a look for each setting by name; settings of several datasets share names."""
    names = list(dict.fromkeys(setting.name for setting in settings))
    by_mode = all(name in MODES for name in names)
    places = {name: MODES.index(name) if by_mode else i for i, name in enumerate(names)}
    return {
        name: Look(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
        for name, place in places.items()
    }


def draw(dataset: Dataset, settings: Sequence[Setting], looks: dict[str, Look]) -> Iterator[Plot]:
    """Draw all pictures of a dataset."""
    with matplotlib.rc_context(STYLE):
        for metric, name in dataset.metrics.items():
            figure, words = _curves(settings, looks, metric, name)
            yield _rendered(f"curves_{metric}", metric, words, figure)
            figure, words = _seconds(settings, looks, metric, name)
            yield _rendered(f"seconds_{metric}", metric, words, figure)
        figure, words = _classes(dataset, settings, looks)
        yield _rendered("classes", None, words, figure)
        figure, words = _lengths(dataset, settings, looks)
        yield _rendered("lengths", None, words, figure)


def _rendered(name: str, metric: str | None, words: str, figure: Figure) -> Plot:
    svg, png = io.StringIO(), io.BytesIO()
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # it is laid out: once is enough
    figure.savefig(png, format="png", dpi=DPI, pil_kwargs={"compress_level": 3})
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return Plot(name, metric, words, png.getvalue(), svg.getvalue())


def _new(title: str, xlabel: str, ylabel: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure, axes


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    columns = max(1, min(len(labels), 80 // (longest + 8)))  # what the width has room for
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def logarithmic(axes: Axes) -> None:
    """Give a picture a logarithmic x axis with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _name(setting: Setting) -> str:
    return drawable(setting.name, 60)


def _band(axes: Axes, x: Any, values: Float64, look: Look, label: str) -> None:
    """Draw the mean of ``values``, float64 ``[num_seeds, n]``, and its range over the seeds."""
    with_values = ~np.isnan(values).all(0)
    x, values = np.asarray(x)[with_values], values[:, with_values]
    axes.plot(x, np.nanmean(values, 0), color=look.colour, marker=look.marker, ms=4, label=label)
    if len(values) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)


def curve(setting: Setting, metric: str) -> Float64:
    """Return validation by epoch, float64 ``[num_seeds, epochs]``; NaN where a run had stopped."""
    longest = max(len(run.epochs) for run in setting.runs)
    values = np.full((len(setting.runs), longest), np.nan)
    for row, run in zip(values, setting.runs, strict=True):
        row[: len(run.epochs)] = [record["validation"][metric] for record in run.epochs]
    return values


def _curves(
    settings: Sequence[Setting], looks: dict[str, Look], metric: str, name: str
) -> tuple[Figure, str]:
    figure, axes = _new(f"Validation {name} by epoch", "epoch", name)
    for setting in settings:
        values = curve(setting, metric)
        epochs = np.arange(1, values.shape[1] + 1)
        _band(axes, epochs, values, looks[setting.name], _name(setting))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, axes)
    return figure, f"Validation {name} after each epoch: mean of the seeds, and their range."


def _seconds(
    settings: Sequence[Setting], looks: dict[str, Look], metric: str, name: str
) -> tuple[Figure, str]:
    figure, axes = _new(f"Test {name} against training time", "training, seconds", f"test {name}")
    every = [run.metrics["train_seconds"] for setting in settings for run in setting.runs]
    for setting in settings:
        seconds = [run.metrics["train_seconds"] for run in setting.runs]
        look = looks[setting.name]
        axes.scatter(
            seconds, setting.scores(metric), color=look.colour, marker=look.marker, s=36,
            alpha=0.85, linewidth=0, label=_name(setting),
        )  # fmt: skip
    if max(every) > 20 * min(every):
        logarithmic(axes)
    else:
        axes.set_xlim(left=0)
    _legend(figure, axes)
    return figure, f"Test {name} and seconds of training; each run is a point."


def f1_by_class(setting: Setting) -> Float64:
    """Return the test F1 of each class, float64 ``[num_seeds, num_classes]``."""
    return np.array(
        [[row["f1"] for row in run.metrics["test"]["per_class"].values()] for run in setting.runs]
    )


def classes_that_differ(settings: Sequence[Setting]) -> list[int]:
    """Return the classes, those first in whose mean F1 the settings differ most."""
    means = np.stack([f1_by_class(setting).mean(0) for setting in settings])
    return [int(i) for i in np.argsort(-np.ptp(means, 0), kind="stable")]


def _classes(
    dataset: Dataset, settings: Sequence[Setting], looks: dict[str, Look]
) -> tuple[Figure, str]:
    order = classes_that_differ(settings)
    noun = "label" if dataset.several else "class"
    title = f"Test F1 by {noun}"
    if len(order) > MAX_CLASSES:
        title += f": the {MAX_CLASSES} of {len(order)} in which settings differ most"
    shown = order[:MAX_CLASSES]
    figure, axes = _new(title, "F1", "", max(2.4, 1.4 + 0.27 * len(shown)))
    offsets = np.linspace(-0.25, 0.25, len(settings)) if len(settings) > 1 else np.zeros(1)
    for setting, offset in zip(settings, offsets, strict=True):
        scores, look = f1_by_class(setting)[:, shown], looks[setting.name]
        places = np.arange(len(shown)) + offset
        axes.hlines(places, scores.min(0), scores.max(0), color=look.colour, linewidth=1.5)
        axes.plot(
            scores.mean(0), places, look.marker, color=look.colour, ms=5, label=_name(setting)
        )
    names = dataset.label_names
    axes.set_yticks(range(len(shown)), [drawable(names[i]) for i in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    for place in range(1, len(shown)):
        axes.axhline(place - 0.5, color="#e4e4e4", linewidth=0.8)
    _legend(figure, axes)
    return figure, f"Test F1 of each {noun}: mean of the seeds, and their range."


def length_bins(lengths: Any) -> list[Any]:
    """Return the rows, int64 each, of up to ``MAX_BINS`` bins by length, of about equal count."""
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, MAX_BINS + 1), method="lower"))
    places = np.searchsorted(edges[1:-1], lengths, side="right")
    return [rows for i in range(len(edges)) if len(rows := np.flatnonzero(places == i))]


def _lengths(
    dataset: Dataset, settings: Sequence[Setting], looks: dict[str, Look]
) -> tuple[Figure, str]:
    bins = length_bins(dataset.lengths)
    counts = [len(rows) for rows in bins]
    few, many = min(counts), max(counts)
    rows = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    name = dataset.metrics["accuracy"]
    figure, axes = _new(
        f"Test {name} by document length ({rows} rows a point)",
        "tokens (median of the rows at a point)",
        f"test {name}",
    )
    middles = np.array([np.median(dataset.lengths[rows]) for rows in bins])
    for setting in settings:
        values = np.stack([setting.hits[:, rows].mean(1) for rows in bins], 1)
        _band(axes, middles, values, looks[setting.name], _name(setting))
    if middles.min() > 0 and middles.max() > 5 * middles.min():
        logarithmic(axes)
    _legend(figure, axes)
    return figure, f"Test {name} of short and long documents: mean of the seeds, and their range."
