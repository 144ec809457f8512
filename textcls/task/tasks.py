"""Which tasks there are, and which one some bags are for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from textcls.data.sharded import Split
from textcls.task.base import Task
from textcls.task.multi import THRESHOLDS, MultiLabel
from textcls.task.of_fasttext import TREE, SampledLabel, TreeLabel, check_tree
from textcls.task.ordered import OrderedLabel
from textcls.task.selective import RISK_COVERAGE, RiskCoverage
from textcls.task.single import SingleLabel
from textcls.task.soft import SoftLabel


def task_of(bags: Split) -> Task:
    """Return the task that the labels of bags are for."""
    targets = bags.targets
    if targets.shares is not None:
        return SoftLabel()
    if targets.offsets is not None:
        return MultiLabel()
    return OrderedLabel() if bags.ordered else SingleLabel()


def task_on(task: Task, bags: Split) -> Task:
    """Return the task by which a model is judged on bags: its own, unless labels have shares."""
    return task if bags.targets.shares is None else task_of(bags)


def task_named(name: str, tensors: Mapping[str, Tensor]) -> Task:
    """Return the task of a model folder.

    Args:
        name: of the task.
        tensors: what :meth:`~textcls.task.base.Task.tensors` returned.

    Raises:
        KeyError: there is no such task.
        ValueError: a tensor is not what it should be.
    """
    if name == TreeLabel.name:
        if TREE not in tensors:
            raise ValueError("its labels have no tree")
        check_tree(tensors[TREE])
        return TreeLabel(tensors[TREE])
    points = tensors.get(RISK_COVERAGE)
    curve = None if points is None else RiskCoverage.of_tensor(points)
    tasks: dict[str, Task] = {
        "single": SingleLabel(curve),
        "ordered": OrderedLabel(curve),
        "multi": MultiLabel(tensors.get(THRESHOLDS)),
        "sampled": SampledLabel(curve),
    }
    return tasks[name]
