"""The page of a comparison: one file that needs no network and no other file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from textcls import __version__
from textcls.report.analysis import (
    MAX_COMPARED,
    Finding,
    Pair,
    Score,
    in_words,
    interval_in_words,
    p_text,
)
from textcls.report.plots import Look, Plot, classes_that_differ, f1_by_class
from textcls.report.study import Dataset, Setting, Study
from textcls.report.texts import OnlyRight


@dataclass(frozen=True)
class Section:
    """What the page shows of one dataset.

    Attributes:
        findings: by metric.
        plots: of this dataset.
        only_right: by setting.
        texts: of test rows, by index.
        no_texts: why there are none, if there are none.
    """

    dataset: Dataset
    findings: dict[str, Finding]
    plots: Sequence[Plot]
    only_right: Sequence[OnlyRight]
    texts: dict[int, str]
    no_texts: str | None

    @property
    def compared(self) -> tuple[Setting, ...]:
        """The settings compared, in the order of the configuration."""
        return self.findings["accuracy"].in_order

    @property
    def classes(self) -> list[dict[str, Any]]:
        """F1 by class and setting, the classes first in which settings differ most."""
        means = {setting.name: f1_by_class(setting).mean(0) for setting in self.compared}
        rows = np.bincount(self.dataset.labels.ids, minlength=len(self.dataset.label_names))
        return [
            {
                "name": self.dataset.label_names[i],
                "rows": int(rows[i]),
                "f1": {name: float(scores[i]) for name, scores in means.items()},
                "spread": float(np.ptp([scores[i] for scores in means.values()])),
            }
            for i in classes_that_differ(self.compared)
        ]


def render(study: Study, sections: Sequence[Section], metric: str, looks: dict[str, Look]) -> str:
    """Return the page as HTML.

    Args:
        study: for the runs that are not counted.
        sections: one for each dataset.
        metric: the one that the page opens with.
        looks: by setting name.
    """
    # Labels, texts and names are other people's: what they hold is text, never markup.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"score": Score.of, "p": p_text, "interval": interval_in_words}
    environment.filters |= {"uri": _uri, "words": in_words, "bar": _bar}
    template = resources.files("textcls.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        study=study,
        sections=sections,
        metric=metric,
        metrics=study.metrics,
        several=study.datasets[0].several,
        looks=looks,
        max_compared=MAX_COMPARED,
        version=__version__,
    )


def _uri(plot: Plot) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(plot.svg.encode()).decode()}"


def _bar(pair: Pair, finding: Finding) -> dict[str, float]:
    """Return where a lead and its interval lie on a scale that all pairs share, in percent."""
    ends = [0.0]
    for p in finding.pairs:
        ends += [p.lead, *p.interval]
    low, high = min(ends), max(ends)
    first, last = pair.interval

    def place(value: float) -> float:
        return round(4.0 + 92 * (value - low) / (high - low or 1.0), 2)

    return {"zero": place(0.0), "lead": place(pair.lead), "low": place(first), "high": place(last)}
