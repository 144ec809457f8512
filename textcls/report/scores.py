"""The scores of a model on labelled rows, whatever a label is: on the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from rich.console import RenderableType

from textcls.report.confusion import picture, summary
from textcls.report.labels import label_picture, label_summary
from textcls.task.names import are_of_several


def shown(metrics: Mapping[str, Any], split: str = "test") -> RenderableType:
    """Return the scores as tables.

    Args:
        metrics: of :meth:`textcls.task.base.Task.assess`.
        split: what the rows are.
    """
    if are_of_several(metrics):
        return label_summary(metrics, split)
    return summary(metrics, split)


def drawn(metrics: Mapping[str, Any], title: str) -> tuple[str, Figure]:
    """Return a picture of the scores, and what it is called.

    Args:
        metrics: of :meth:`textcls.task.base.Task.assess`.
        title: what of.
    """
    if are_of_several(metrics):
        return "labels", label_picture(metrics, title)
    return "confusion_matrix", picture(metrics, title)
