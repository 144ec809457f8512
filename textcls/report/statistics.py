"""Whether a difference between two settings is more than chance.

A test score has two sources of chance. The test rows are some of many that could have been drawn,
and the seed decides first weights and the order of the bags. A different test asks about each:

- *Other texts*: would these very models differ on other texts of the same kind? The rows are the
  sample, each compared with itself; the models are held fixed. It says nothing of other seeds.
- *Other seeds*: would other trainings differ on these very texts? The runs are the sample; the
  test rows are held fixed. Of two or three seeds it can show only differences that are large
  beside the seeds' spread.

Neither speaks of new texts and new seeds at once: two p-values just below 0.05 are weaker evidence
than either looks. And a large p-value does not show that two settings are equal, only that these
runs and rows do not tell them apart. Rows are taken as independent of each other, which
duplicates or several texts of one author are not.

Sources: Dror et al., "The Hitchhiker's Guide to Testing Statistical Significance in NLP" (2018);
Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks" (2021); Dietterich,
"Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms" (1998).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from scipy import fft, stats

from textcls.corpus.splits import RowLabels
from textcls.report.agreement import common, rows_of

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

LEVEL = 0.05
# Differences this small are rounding.
NOTHING = 1e-12


def sign_flip_p(differences: Int64) -> float:
    """Return the two-sided p-value of the exact sign-flip permutation test.

    If it is all the same which of two models a row's answers come from, then every row's difference
    might as well have the other sign. Of all 2^n ways to choose the signs, this is the share whose
    sum is at least as far from 0 as the one that was seen: what
    ``scipy.stats.permutation_test(permutation_type="samples")`` estimates by drawing signs. The
    sum of independent ±d has the characteristic function Π cos(d·t); one inverse Fourier transform
    gives all its probabilities, for tens of thousands of rows in milliseconds.

    With one run on each side, the differences are 1, 0 and -1, and this is McNemar's exact test
    (1947), the binomial test of the rows about which just one of the two is right.

    Args:
        differences: int64 ``[num_rows]``: how much better the first did, in whole units.

    Returns:
        The p-value; 1e-12, to which the transform is exact, stands for anything smaller.
    """
    sizes, total = np.abs(differences[differences != 0]), abs(int(differences.sum()))
    if total == 0:
        return 1.0
    largest = int(sizes.sum())
    length = fft.next_fast_len(2 * largest + 1, real=True)
    turns = 2 * np.pi / length * np.arange(length // 2 + 1)
    characteristic = np.ones(len(turns))
    for size, count in enumerate(np.bincount(sizes)):
        if count and size:
            characteristic *= np.cos(size * turns) ** count
    probabilities = fft.irfft(characteristic, length)
    return float(np.clip(2 * probabilities[total : largest + 1].sum(), NOTHING, 1.0))


def whole_differences(right: Int64, seeds: int, others_right: Int64, others: int) -> Int64:
    """Return the difference of the shares of runs that are right, in whole units.

    Args:
        right: int64 ``[num_rows]``, how many of the first setting's runs are right.
        seeds: how many runs it has.
        others_right: int64 ``[num_rows]``, how many of the second setting's runs are.
        others: how many it has.

    Returns:
        int64 ``[num_rows]``, the difference times the least common multiple of both counts.
    """
    unit = math.lcm(seeds, others)
    return right * (unit // seeds) - others_right * (unit // others)


def difference_over_rows(
    differences: Float64, family: int = 1
) -> tuple[tuple[float, float], float]:
    """Return the confidence interval of a mean over rows, and the p-value of it being 0.

    The interval is one of a family that is shown together: that any of them misses what it is of
    has a chance of at most 0.05, by Bonferroni's correction. The p-value is that of the one mean.

    Student's t, at home with hundreds of rows whatever their distribution.

    Args:
        differences: float64 ``[num_rows]``, by row.
        family: how many intervals are shown together.
    """
    mean = float(differences.mean())
    if len(differences) < 2 or np.ptp(differences) < NOTHING:  # no spread: nothing to estimate from
        return (mean, mean), 1.0 if abs(mean) < NOTHING else NOTHING
    result = stats.ttest_1samp(differences, 0)
    interval = result.confidence_interval(1 - LEVEL / family)
    return (float(interval.low), float(interval.high)), float(max(result.pvalue, NOTHING))


def f1_by_row(predictions: Sequence[RowLabels], labels: RowLabels) -> Float64:
    """Spread macro F1 over the rows: values whose mean is macro F1.

    Macro F1 is no mean over rows, but nearly one: a row's value is macro F1 and how much the row
    moves it (its influence: the derivative by the row's weight). So the spread of these values
    tells how macro F1 would vary over other texts, as a bootstrap does, without drawing any. It is
    an approximation that needs a few dozen rows of each class.

    Args:
        predictions: of each seed; the result is of the mean over seeds.
        labels: of the same rows.

    Returns:
        float64 ``[num_rows]``.
    """
    num_rows = len(labels)
    num_classes = max(int(one.ids.max(initial=0)) for one in (*predictions, labels)) + 1
    support = np.bincount(labels.ids, minlength=num_classes)
    values = np.zeros(num_rows)
    for predicted in predictions:
        rows, hit = common(predicted, labels)
        both = support + np.bincount(predicted.ids, minlength=num_classes)
        f1 = 2 * np.bincount(hit, minlength=num_classes) / both.clip(1)
        occurs = both > 0
        per_row = num_rows / both.clip(1) / max(int(occurs.sum()), 1)
        moved = 2 * np.bincount(rows, per_row[hit], num_rows)
        for claimed in (predicted, labels):
            moved -= np.bincount(rows_of(claimed), (f1 * per_row)[claimed.ids], num_rows)
        values += (f1[occurs].mean() if occurs.any() else 0.0) + moved
    return values / len(predictions)


def micro_f1_by_row(predictions: Sequence[RowLabels], labels: RowLabels) -> Float64:
    """Spread micro F1 over the rows, as :func:`f1_by_row` does macro F1.

    Args:
        predictions: of each seed; the result is of the mean over seeds.
        labels: of the same rows.

    Returns:
        float64 ``[num_rows]``.
    """
    num_rows = len(labels)
    values = np.zeros(num_rows)
    for predicted in predictions:
        rows, _ = common(predicted, labels)
        both = labels.counts + predicted.counts
        total = max(int(both.sum()), 1)
        f1 = 2 * len(rows) / total
        moved = 2 * np.bincount(rows, minlength=num_rows) - f1 * both
        values += f1 + num_rows / total * moved
    return values / len(predictions)


def seeds_p(
    scores: Float64, seeds: Sequence[int], others: Float64, other_seeds: Sequence[int]
) -> float | None:
    """Return the two-sided p-value of the difference over seeds, by Student's t.

    Paired where both have the same seeds (a seed gives both the same order of bags), else
    Welch's, which does not ask for equal spreads.

    Args:
        scores: float64 ``[num_seeds]`` of the first setting.
        seeds: of each of them.
        others: float64 ``[num_other_seeds]`` of the second setting.
        other_seeds: of each of them.

    Returns:
        None where it cannot be told: fewer than two seeds, or no spread over the seeds at all
        beside a difference.
    """
    if min(len(scores), len(others)) < 2:
        return None
    if list(seeds) == list(other_seeds):
        gaps = scores - others
        if np.ptp(gaps) > NOTHING:
            return float(max(stats.ttest_rel(scores, others).pvalue, NOTHING))
        if abs(gaps.mean()) < NOTHING:
            return 1.0
    # Gaps that are all alike, of scores that are not, are alike by accident: do not build on it.
    if np.ptp(scores) < NOTHING and np.ptp(others) < NOTHING:
        return None if abs(scores.mean() - others.mean()) > NOTHING else 1.0
    return float(max(stats.ttest_ind(scores, others, equal_var=False).pvalue, NOTHING))


@overload
def holm(p_values: list[float]) -> list[float]: ...
@overload
def holm(p_values: list[float | None]) -> list[float | None]: ...
def holm(p_values: Any) -> Any:
    """Correct p-values for their number, as Holm has it (1979); None stays None.

    Whoever looks at many pairs finds a p-value below 0.05 by chance. After the correction, the
    chance that *any* of the pairs is wrongly told apart is 0.05; and since the family is all pairs,
    picking the best setting first and looking at its pairs is covered.
    """
    corrected, largest = list(p_values), 0.0
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    for rank, (p, i) in enumerate(known):
        corrected[i] = largest = max(largest, min(1.0, p * (len(known) - rank)))
    return corrected
