"""The reliability diagram: how often a model is right, beside what its probabilities say."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from textcls.task.calibration import NUM_BINS, Reliability

# Two of Okabe and Ito's colours, as in textcls.report.plots (which would bring scipy).
_DARK, _LIGHT = "#0072b2", "#56b4e9"
# Standard deviations that 95 % of a normal distribution lie within.
_Z = 1.96


def diagram(found: Reliability, title: str, several: bool = False) -> Figure:
    """Draw accuracy against confidence by bin, over the rows that each bin has.

    The lines at the points are Wilson's 95 % intervals: how far chance alone may move them.

    Args:
        found: of a split.
        title: what of, for the headline.
        several: whether it counts every label of a row, had or not, rather than the predicted
            class; most are improbable then.
    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained", dpi=110)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
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
