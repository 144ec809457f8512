"""The columns of predictions: the best labels beside one another, or lists of all that apply."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from textcls.arrow import strings
from textcls.model.classifier import Float32, reaching, top
from textcls.task.base import Task


@dataclass(frozen=True)
class Predicted:
    """Which columns predictions have, and their values.

    Of the ``top`` labels they are ``label``, ``probability``; then ``label_2``, ``probability_2``,
    … for more than one; labels that are less probable than the threshold are empty (null), and so
    are their probabilities; of a text of which the model is not sure enough all are. Where ``top``
    is None they are ``labels`` and ``probabilities``, lists of all labels that are predicted, the
    most probable first, and empty where none is. Then, where all probabilities are wanted, there is
    ``p(NAME)`` for each class; at the end, where wanted, ``unknown``, the share of a text's tokens
    that the model does not know.

    Attributes:
        label_names: of class 0, 1, 2, …
        task: what the labels are.
        top: so many labels a text, fewer where there are fewer classes; None: those that are
            predicted, for a task of several.
        threshold: the least probability of a label; None: 0, or for lists that of the task.
        probabilities: give those of all classes as well.
        least: the least probability of the first label, for there to be any.
        unknown: give the share of unknown tokens as well.
    """

    label_names: Sequence[str]
    task: Task
    top: int | None = 1
    threshold: float | None = None
    probabilities: bool = False
    least: float = 0.0
    unknown: bool = False

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        if self.top is None:
            fields = [("labels", pa.list_(pa.string())), ("probabilities", pa.list_(pa.float32()))]
        else:
            fields = []
            for rank in range(1, min(self.top, len(self.label_names)) + 1):
                end = "" if rank == 1 else f"_{rank}"
                fields += [(f"label{end}", pa.string()), (f"probability{end}", pa.float32())]
        if self.probabilities:
            fields += [(f"p({name})", pa.float32()) for name in self.label_names]
        if self.unknown:
            fields.append(("unknown", pa.float32()))
        return pa.schema(fields)

    def columns(self, probabilities: Float32, unknown: Float32 | None = None) -> list[pa.Array]:
        """Return the values for some texts.

        Args:
            probabilities: float32 ``[num_texts, num_classes]``.
            unknown: float32 ``[num_texts]``, where it is wanted.
        """
        if self.top is None:
            columns = self._lists(probabilities)
        else:
            columns = self._ranks(probabilities, self.top)
        if self.probabilities:
            columns += [pa.array(np.ascontiguousarray(column)) for column in probabilities.T]
        if self.unknown:
            columns.append(pa.array(unknown))
        return columns

    def _lists(self, probabilities: Float32) -> list[pa.Array]:
        classes, values, offsets = reaching(self.task, probabilities, self.threshold)
        ends = pa.array(offsets.astype(np.int32))
        return [
            pa.ListArray.from_arrays(ends, strings(self.label_names).take(pa.array(classes))),
            pa.ListArray.from_arrays(ends, pa.array(values)),
        ]

    def _ranks(self, probabilities: Float32, count: int) -> list[pa.Array]:
        classes, values = top(probabilities, count)
        names, columns = strings(self.label_names), []
        unsure = values[:, 0] < self.least
        for rank in range(classes.shape[1]):
            left_out = unsure | (values[:, rank] < (self.threshold or 0.0))
            columns.append(names.take(pa.array(classes[:, rank], mask=left_out)))
            columns.append(pa.array(values[:, rank], mask=left_out))
        return columns


def other_names(names: Sequence[str], ours: Collection[str]) -> dict[str, str]:
    """Return other names for those columns of the input that have the name of one of ours.

    Returns:
        ``input_NAME`` by name, with so many ``input_`` before it that no other column has it.
    """
    taken, renamed = {*ours, *names}, {}
    for name in names:
        if name in ours:
            new = f"input_{name}"
            while new in taken:
                new = f"input_{new}"
            taken.add(new)
            renamed[name] = new
    return renamed
