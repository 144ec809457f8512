"""How often a model is right, beside what its probabilities say: a picture of one or two parts.

The reliability diagram, and where a text has one label, the accuracy of the texts that the model is
surest of.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from textcls.task.calibration import NUM_BINS, Reliability
from textcls.task.selective import RiskCoverage

# Two of Okabe and Ito's colours, as in textcls.report.plots (which would bring scipy).
_DARK, _LIGHT = "#0072b2", "#56b4e9"
# Standard deviations that 95 % of a normal distribution lie within.
_Z = 1.96
# Points of a curve that are drawn: as many as there is room for.
_DRAWN = 400


def diagram(
    found: Reliability, title: str, several: bool = False, curve: RiskCoverage | None = None
) -> Figure:
    """Draw accuracy against confidence by bin, over the rows that each bin has.

    The lines at the points are Wilson's 95 % intervals: how far chance alone may move them.

    Args:
        found: of a split.
        title: what of, for the headline.
        several: whether it counts every label of a row, had or not, rather than the predicted
            class; most are improbable then.
        curve: how often the model was right where it is surest, drawn beside it.
    """
    width = 5.4 if curve is None else 10.4
    figure = Figure(figsize=(width, 5.6), dpi=110)
    # A layout that measures all texts would take longer than the drawing.
    left, right = 0.85 / width, 1 - 0.15 / width
    figure.subplots_adjust(left, 0.09, right, 0.94, wspace=0.17, hspace=0.07)
    grid = figure.add_gridspec(2, 1 if curve is None else 2, height_ratios=(3, 1))
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    above.tick_params(labelbottom=False)
    if curve is not None:
        _draw_coverage(figure.add_subplot(grid[:, 1]), curve)
    counts, accuracy, confidence = (
        values.numpy() for values in (found.counts, found.accuracy, found.confidence)
    )
    filled = counts > 0
    rows, shares = counts[filled], accuracy[filled]
    middle = (shares + _Z**2 / (2 * rows)) / (1 + _Z**2 / rows)
    half = np.sqrt(shares * (1 - shares) / rows + (_Z / (2 * rows)) ** 2) * _Z / (1 + _Z**2 / rows)
    reach = np.maximum([shares - (middle - half), middle + half - shares], 0)
    above.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle="--", label="calibrated")
    above.errorbar(
        confidence[filled], shares, reach, fmt="o", color=_DARK, ms=5, elinewidth=1,
        label="mean of a bin, 95 % interval",
    )  # fmt: skip
    above.set_ylabel("share of rows that have the label" if several else "accuracy")
    above.set_ylim(0, 1.02)
    above.set_title(f"{title}: calibration error {found.error:.3f}")
    above.legend(loc="lower right", frameon=False)
    below.bar(
        np.arange(NUM_BINS) / NUM_BINS, counts, 1 / NUM_BINS, align="edge", color=_LIGHT,
        edgecolor="white",
    )  # fmt: skip
    if several:
        below.set_yscale("log")
        below.set_ylim(bottom=0.8)
    below.set_ylabel("rows x labels" if several else "rows")
    below.set_xlabel(
        "probability of a label" if several else "confidence (probability of the predicted class)"
    )
    below.set_xlim(0, 1.02)
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1))
    for axes in (above, below):
        axes.grid(color="#e4e4e4")
        axes.set_axisbelow(True)
    return figure


def _draw_coverage(axes: Axes, curve: RiskCoverage) -> None:
    """Draw the accuracy of the rows that a model is surest of, by how many these are."""
    some = np.unique(np.linspace(0, len(curve.rows) - 1, _DRAWN).astype(int))
    coverage, accuracy, assured = (
        values.numpy()[some] for values in (curve.coverage, curve.accuracy, curve.assured)
    )
    axes.fill_between(
        coverage, assured, accuracy, color=_LIGHT, alpha=0.4, linewidth=0,
        label="what it assures (95 % lower bound)",
    )  # fmt: skip
    axes.plot(coverage, accuracy, color=_DARK, label="accuracy")
    axes.set_xlim(0, 1.02)
    # The first few rows alone assure nothing.
    lowest = max(0.0, accuracy[-1] - 0.25 * (1 - accuracy[-1]) - 0.02)
    axes.set_ylim(lowest, 1 + 0.02 * (1 - lowest))
    axes.set_xlabel("coverage (share of rows, the most confident first)")
    axes.set_title(f"accuracy of the most confident rows: AURC {curve.area:.3f}")
    axes.legend(loc="lower left", frameon=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="#e4e4e4")
    axes.set_axisbelow(True)
