"""A learning curve as people see it: a table, sentences, a picture, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from textcls.curve.forecast import COVERAGE, Forecast, Means, backtest, doubt, forecast
from textcls.curve.measuring import Point
from textcls.report.confusion import drawable
from textcls.report.plots import COLOURS, DPI, HEIGHT, STYLE, WIDTH, logarithmic
from textcls.report.tables import as_csv

FACTOR = 2


class LearningCurve:
    """What was measured, and what it says of more rows.

    Args:
        points: of trainings, one at least, all that were to be made or fewer.
        title: the corpus.
        metric: what scores are of, as ``metrics.json`` has it.
        names: of metrics.
        whole: rows of train.
        num_held: rows that are measured on.
    """

    def __init__(
        self,
        points: Sequence[Point],
        title: str,
        metric: str,
        names: Mapping[str, str],
        whole: int,
        num_held: int,
    ) -> None:
        self.points, self.title, self.metric, self.names = points, title, metric, names
        self.num_held, self.means = num_held, Means.of(points)
        self.backtest: Forecast | None = None
        self.forecast: Forecast | None = None
        self.reason = doubt(self.means)
        if whole not in self.means.sizes:
            self.reason = "the whole of train was not measured"
        if self.reason is None:
            self.backtest = backtest(self.means)
            self.forecast = forecast(self.means, FACTOR * whole)

    def table(self) -> Table:
        """Return the scores by size."""
        title = Text(f"{self.title}, {self.num_held:,} validation rows", style="table.title")
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for head in ("rows", "draws", f"{self.names[self.metric]} %", "macro F1 %", "seconds"):
            table.add_column(head, justify="right", no_wrap=True)
        for size in self.means.sizes:
            group = [one for one in self.points if one.rows == size]
            seconds = float(np.mean([one.seconds for one in group]))
            scores = [[getattr(one, name) for one in group] for name in ("score", "macro_f1")]
            cells = (f"{size:,.0f}", str(len(group)), *map(in_percent, scores), f"{seconds:.1f}")
            table.add_row(*cells)
        return table

    def sentences(self) -> list[str]:
        """Return what is to be expected of more rows, and how far off that would have been."""
        if self.forecast is None or self.backtest is None:
            return [f"no forecast: {self.reason}"]
        last, more, less = float(self.means.scores[-1]), self.forecast, self.backtest
        low, high = (100 * (end - last) for end in (more.low, more.high))
        return [
            f"twice the data ({more.rows:,} rows): about {100 * more.score:.1f} %, "
            f"{100 * (more.score - last):+.1f} points ({low:+.1f} to {high:+.1f}, "
            f"a band of {COVERAGE:.0%})",
            f"without the last point it would have forecast {100 * less.score:.1f} % "
            f"({100 * less.low:.1f} to {100 * less.high:.1f}); measured {100 * last:.1f} %",
        ]

    def as_csv(self) -> str:
        """Return a line for each training."""
        return as_csv([self._row(one) for one in self.points])

    def as_json(self) -> str:
        """Return all that is known, numbers as they are."""
        means = self.means
        whole: dict[str, Any] = {
            "metric": self.metric,
            "validation_rows": self.num_held,
            "points": [self._row(one) for one in self.points],
            "sizes": [
                {"rows": int(n), "mean": score, "std": None if np.isnan(std) else std}
                for n, score, std in zip(means.sizes, means.scores, means.stds, strict=True)
            ],
            "forecast": self.forecast and vars(self.forecast),
            "no_forecast": self.reason,
            "backtest": self.backtest and vars(self.backtest) | {"measured": means.scores[-1]},
        }
        return json.dumps(whole, indent=1)

    def _row(self, point: Point) -> dict[str, Any]:
        scores = {self.metric: point.score, "macro_f1": point.macro_f1}
        return {"rows": point.rows, "draw": point.draw} | scores | {"seconds": point.seconds}

    def picture(self) -> Figure:
        """Draw all trainings, their means, and the forecast with its band."""
        means, (measured, expected, *_) = self.means, COLOURS
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained", dpi=DPI)
            axes = figure.add_subplot(
                title=f"{drawable(self.title, 60)}: learning curve", xlabel="rows of train",
                ylabel=f"validation {self.names[self.metric]}, %",
            )  # fmt: skip
            axes.plot(
                [one.rows for one in self.points], [100 * one.score for one in self.points],
                "o", ms=3, alpha=0.4, color=measured, label="a training", linestyle="none",
                markeredgewidth=0,
            )  # fmt: skip
            axes.plot(means.sizes, 100 * means.scores, color=measured, label="mean")
            if self.forecast is not None:
                more, last = self.forecast, float(means.scores[-1])
                between = np.geomspace(means.sizes[-1], more.rows, 20)
                share = np.log(between / means.sizes[-1]) / np.log(FACTOR)
                axes.plot(
                    between, 100 * (last + share * (more.score - last)), "--", color=expected,
                    label="forecast",
                )  # fmt: skip
                axes.fill_between(
                    between, 100 * (last + share * (more.low - last)),
                    100 * (last + share * (more.high - last)), color=expected, alpha=0.18,
                    linewidth=0, label=f"{COVERAGE:.0%} band",
                )  # fmt: skip
            logarithmic(axes)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
            axes.legend(loc="lower right")
        return figure


def in_percent(scores: Sequence[float]) -> str:
    """Return mean and standard deviation of some scores, in percent."""
    mean = f"{100 * np.mean(scores):.1f}"
    return f"{mean} ± {100 * np.std(scores, ddof=1):.1f}" if len(scores) > 1 else mean
