"""What a study comes to: which setting is best, and which differences are more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from textcls.report.statistics import (
    LEVEL,
    difference_over_rows,
    f1_by_row,
    holm,
    micro_f1_by_row,
    seeds_p,
    sign_flip_p,
    whole_differences,
)
from textcls.report.study import Dataset, Float64, Setting

# Of more settings the best by validation are compared: pairs grow with the square, and so does the
# price of looking at many of them.
MAX_COMPARED = 8
# Metrics that are no means over rows, and what makes such of them.
SPREAD = {"macro_f1": f1_by_row, "micro_f1": micro_f1_by_row}


@dataclass(frozen=True)
class Score:
    """A metric over the seeds of a setting; ``std`` (n - 1) is None for a single seed."""

    mean: float
    std: float | None
    low: float
    high: float

    @classmethod
    def of(cls, values: Float64) -> Score:
        """Summarise float64 ``[num_seeds]``."""
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        return cls(float(values.mean()), std, float(values.min()), float(values.max()))

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.std is None else f" ± {self.std:.3f}")


@dataclass(frozen=True)
class Pair:
    """Two settings on one dataset by one metric.

    Attributes:
        better: the one with the better mean on the test rows.
        lead: by how much, 0 or more.
        interval: confidence interval of the lead over other texts, at 95 % for the intervals of
            all pairs together.
        p_texts: of the lead being chance in the choice of texts, corrected for the number of pairs.
            Of accuracy by :func:`sign_flip_p`, of the others by Student's t.
        p_seeds: of it being chance in the choice of seeds, corrected as well; None where there are
            too few seeds.
    """

    better: Setting
    worse: Setting
    lead: float
    interval: tuple[float, float]
    p_texts: float
    p_seeds: float | None

    @property
    def real(self) -> bool:
        """Whether both p-values, or the one that there is, are below 0.05."""
        return self.p_texts < LEVEL and (self.p_seeds is None or self.p_seeds < LEVEL)


@dataclass(frozen=True)
class Finding:
    """One dataset by one metric.

    Attributes:
        compared: settings, best first on the test rows; at most ``MAX_COMPARED``.
        others: the rest, best first by validation.
        pairs: of those compared, in their order.
    """

    dataset: Dataset
    metric: str
    compared: tuple[Setting, ...]
    others: tuple[Setting, ...]
    pairs: tuple[Pair, ...]

    @property
    def name(self) -> str:
        """What the metric is called."""
        return self.dataset.metrics[self.metric]

    @property
    def best(self) -> Setting:
        """The setting with the best mean on the test rows, of those compared."""
        return self.compared[0]

    @property
    def in_order(self) -> tuple[Setting, ...]:
        """The settings compared, in the order of the configuration rather than of success."""
        return tuple(setting for setting in self.dataset.settings if setting in self.compared)

    def behind(self, setting: Setting) -> Pair | None:
        """Return the pair of the best and this setting; None for the best and for the rest."""
        return next((p for p in self.pairs if p.better is self.best and p.worse is setting), None)

    def verdict(self, setting: Setting) -> str:
        """Say in a word or two how a setting stands to the best."""
        pair = self.behind(setting)
        if pair is not None:
            return "behind" if pair.real else "not told apart"
        return "best" if setting is self.best else "not compared"


def findings(dataset: Dataset, metric: str) -> dict[str, Finding]:
    """Compare the settings of a dataset by each metric.

    Args:
        dataset: whose settings to compare.
        metric: by which, on validation, the settings are chosen that are compared at all.
    """
    by_validation = _best_first(dataset.settings, metric, "validation")
    chosen, others = by_validation[:MAX_COMPARED], tuple(by_validation[MAX_COMPARED:])
    result = {}
    for name in dataset.metrics:
        compared = tuple(_best_first(chosen, name, "test"))
        family = math.comb(len(compared), 2)
        spread = SPREAD.get(name) if len(compared) > 1 else None
        by_row = {
            setting.name: spread(setting.predictions, dataset.labels)
            for setting in compared
            if spread is not None
        }
        pairs = [_pair(*two, name, by_row, family) for two in combinations(compared, 2)]
        texts, seeds = holm([p.p_texts for p in pairs]), holm([p.p_seeds for p in pairs])
        corrected = tuple(
            replace(pair, p_texts=p_texts, p_seeds=p_seeds)
            for pair, p_texts, p_seeds in zip(pairs, texts, seeds, strict=True)
        )
        result[name] = Finding(dataset, name, compared, others, corrected)
    return result


def _best_first(settings: Sequence[Setting], metric: str, split: str) -> list[Setting]:
    sign = 1 if metric == "loss" else -1
    return sorted(settings, key=lambda setting: sign * setting.scores(metric, split).mean())


def _pair(
    better: Setting, worse: Setting, metric: str, by_row: dict[str, Float64], family: int
) -> Pair:
    """Return the pair with p-values as for it alone, and an interval as one of a family.

    Args:
        better: of the two.
        worse: of the two.
        metric: by which.
        by_row: of a metric of ``SPREAD`` its values by row, by setting.
        family: how many pairs there are.
    """
    scores, others = better.scores(metric), worse.scores(metric)
    if metric == "accuracy":
        whole = whole_differences(better.right, len(scores), worse.right, len(others))
        interval, _ = difference_over_rows(whole / math.lcm(len(scores), len(others)), family)
        p_texts = sign_flip_p(whole)
    elif metric in SPREAD:
        interval, p_texts = difference_over_rows(by_row[better.name] - by_row[worse.name], family)
    else:
        interval, p_texts = difference_over_rows(worse.losses - better.losses, family)
    p_seeds = seeds_p(scores, better.seeds, others, worse.seeds)
    lead = abs(float(scores.mean() - others.mean()))
    return Pair(better, worse, lead, interval, p_texts, p_seeds)


def in_words(finding: Finding) -> list[str]:
    """Say in plain sentences what the figures say."""
    best, name = finding.best, finding.name
    score = Score.of(best.scores(finding.metric))
    pairs = [pair for s in finding.compared[1:] if (pair := finding.behind(s)) is not None]
    if not pairs:
        return [f"{best.name}: {name} {score}. There is no other setting to compare it with."]
    sentences = [f"{best.name} is best by {name}: {score}."]
    real = [pair for pair in pairs if pair.real]
    if real:
        sentences.append(f"Really behind: {_listed(real)}.")
    if open_ := [pair for pair in pairs if not pair.real]:
        sentences.append(f"Not told apart from it: {_listed(open_)}.")
    if finding.others:
        sentences.append(
            f"The best {len(finding.compared)} of "
            f"{len(finding.compared) + len(finding.others)} settings by validation are compared."
        )
    if any(len(setting.runs) == 1 for setting in finding.compared):
        sentences.append("With a single seed this holds for these runs only, not for other seeds.")
    return sentences


def _listed(pairs: Sequence[Pair]) -> str:
    shown = [
        f"{pair.worse.name} by {pair.lead:.3f}{interval_in_words(pair)} ({p_in_words(pair)})"
        for pair in pairs[:3]
    ]
    rest = len(pairs) - len(shown)
    return ", ".join(shown) + (f", and {rest} more" if rest else "")


def interval_in_words(pair: Pair) -> str:
    """Return the interval as " [0.17, 0.21]"."""
    low, high = (_no_minus_zero(f"{value:.3f}") for value in pair.interval)
    return f" [{low}, {high}]"


def p_in_words(pair: Pair) -> str:
    """Return both p-values, as far as there are any."""
    parts = [
        f"other {what}: {p_text(p).replace(' ', '')}"  # which a line does not break
        for what, p in (("texts", pair.p_texts), ("seeds", pair.p_seeds))
        if p is not None
    ]
    return ", ".join(parts)


def p_text(p: float | None) -> str:
    """Return a p-value to three places."""
    if p is None:
        return "–"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _no_minus_zero(text: str) -> str:
    return "0.000" if text == "-0.000" else text.replace("-", "−")
