"""What more rows would come to, how sure that is, and whether it can be said at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textcls.curve.forms import Float64, Form, fitted
from textcls.curve.measuring import Point

# What forecasts best: see docs/accuracy.md.
FORM: Form = "pow3"
# A forecast is made from so many sizes at least: one more than a curve has numbers.
FEWEST_SIZES = 4
# Share of the truths that the band is to hold.
COVERAGE = 0.8
REPLICATES = 100
# Growth over two doublings below so many standard errors may be none: one-sided, 10 %.
SURE = 1.28
# How much wider bands are than what is known of rows, draws and forms makes them: so many hold what
# was measured on real corpora (see docs/accuracy.md).
WIDENED = 1.55
# Of the forms that forecast well: those that the band counts.
POWER_LAWS: tuple[Form, ...] = ("pow3", "pow2")


@dataclass(frozen=True)
class Means:
    """What is known of each size.

    Attributes:
        sizes: numbers of rows, float64 ``[n]``, ascending.
        scores: means over the draws, ``[n]``.
        stds: over the draws, ``[n]``; NaN of a single one.
        noise: variance over draws of one training times its rows, as all sizes have it together.
        covariance: of the means, ``[n, n]``, over other held-out rows and other draws; NaN of a
            single held-out row.
    """

    sizes: Float64
    scores: Float64
    stds: Float64
    noise: float
    covariance: Float64

    @classmethod
    def of(cls, points: Sequence[Point]) -> Means:
        """Return the means of trainings, one at least."""
        groups: dict[int, list[Point]] = {}
        for point in sorted(points, key=lambda one: one.rows):
            groups.setdefault(point.rows, []).append(point)
        sizes = np.array(list(groups), np.float64)
        draws = np.array([len(group) for group in groups.values()])
        scores = np.array([np.mean([one.score for one in group]) for group in groups.values()])
        stds = np.array(
            [
                np.std([one.score for one in group], ddof=1) if len(group) > 1 else np.nan
                for group in groups.values()
            ]
        )
        known, degrees = draws > 1, draws - 1
        noise = float((stds**2 * sizes * degrees)[known].sum() / max(degrees.sum(), 1))
        by_row = np.stack(
            [np.mean([one.by_row for one in group], axis=0) for group in groups.values()]
        )
        # All sizes are measured on the same rows: what is easy for one is for the others.
        num_held = by_row.shape[1]
        of_rows = np.full((len(sizes), len(sizes)), np.nan)
        if num_held > 1:
            of_rows = np.atleast_2d(np.cov(by_row)) / num_held
        return cls(sizes, scores, stds, noise, of_rows + np.diag(noise / sizes / draws))

    def error(self, one: int, other: int) -> float:
        """Return the standard error of the difference of two sizes, over rows and draws."""
        part = self.covariance[np.ix_([one, other], [one, other])]
        return math.sqrt(max(part[0, 0] + part[1, 1] - 2 * part[0, 1], 0.0))

    def up_to(self, count: int) -> Means:
        """Return the first sizes alone."""
        covariance = self.covariance[:count, :count]
        return Means(
            self.sizes[:count], self.scores[:count], self.stds[:count], self.noise, covariance
        )


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a training on more rows, measured on the same held-out rows.

    Attributes:
        rows: of it.
        score: expected.
        low, high: the band that holds its score in ``COVERAGE`` of all cases.
    """

    rows: int
    score: float
    low: float
    high: float


def forecast(means: Means, rows: int, form: Form = FORM, seed: int = 0) -> Forecast:
    """Return what a training on ``rows`` rows would come to.

    It is what the largest size has come to, and what the fitted curve grows from there. The band is
    of the power laws with and without a floor, each fitted to scores as other held-out rows and
    other draws would have given them; and two trainings differ on the same rows by more than a
    curve tells, which the last two sizes show.
    """
    rng = np.random.default_rng(seed)
    replicates = rng.multivariate_normal(means.scores, means.covariance, REPLICATES, method="eigh")
    gains = np.array(
        [_gain(one, means.sizes, scores, rows) for scores in replicates for one in POWER_LAWS]
    )
    gains += rng.normal(0, means.error(-1, -2), gains.shape)
    last = float(means.scores[-1])
    score = last + _gain(form, means.sizes, means.scores, rows)
    ends = np.quantile(last + gains, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    low, high = (score + WIDENED * (ends - score)).tolist()
    return Forecast(rows, min(score, 1.0), min(low, score), min(max(high, score), 1.0))


def doubt(means: Means) -> str | None:
    """Say why nothing can be said of more rows; None: it can."""
    if len(means.sizes) < FEWEST_SIZES + 1:
        return f"{len(means.sizes)} sizes are too few for a curve, it takes {FEWEST_SIZES + 1}"
    if np.isnan(means.covariance).any():
        return "one held-out row does not tell how noisy it is: give more for validation"
    scores, sizes = means.scores, means.sizes
    best = int(scores.argmax())
    if scores[best] - scores[-1] > 2 * means.error(best, -1):
        return f"the score falls from {sizes[best]:,.0f} rows on, which no such curve does"
    grown, error = float(scores[-1] - scores[-3]), means.error(-1, -3)
    if grown < SURE * error:
        return (
            f"from {sizes[-3]:,.0f} rows on it has changed by {100 * grown:+.1f} points, within "
            f"the noise of these held-out rows (± {100 * error:.1f})"
        )
    return None


def backtest(means: Means) -> Forecast:
    """Return the forecast of the largest size without it."""
    return forecast(means.up_to(len(means.sizes) - 1), int(means.sizes[-1]))


def _gain(form: Form, sizes: Float64, scores: Float64, rows: int) -> float:
    """Return how much a fitted curve grows from the largest size to ``rows``.

    Sizes count by their rows: what is near says more than what is far, and varies less.
    """
    at, end = fitted(form, sizes, scores, sizes)(np.array([sizes[-1], float(rows)]))
    return float(end - at)
