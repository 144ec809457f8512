"""Labels as fastText predicts them that was trained with negative sampling or a tree of labels.

textcls trains neither: such models are fastText's, read from their files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.single import SingleLabel

TREE = "tree"


class SampledLabel(SingleLabel):
    """Each text has one of the classes, each of which has a probability by itself.

    So they do not sum to 1. The loss is that of the label alone.
    """

    name = "sampled"
    by_softmax = False

    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.losses`: minus the logarithm of the probability of the label."""
        return -F.logsigmoid(logits.gather(1, targets.ids.unsqueeze(1))).squeeze(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """See :meth:`Task.probabilities`: each by itself."""
        return logits.sigmoid()


class TreeLabel(SingleLabel):
    """Each text has one of the classes, the leaves of a binary tree: a hierarchical softmax.

    The model's scores are those of inner nodes: how probable the way to the right is there. The
    probability of a class is the product over the nodes on the way to it (Morin and Bengio,
    "Hierarchical Probabilistic Neural Network Language Model", 2005).

    Args:
        children: int64 ``[num_classes - 1, 2]``, of each inner node the left and the right one.
            Leaves are ``0`` to ``num_classes - 1``, inner nodes follow, the root is the last.
        chosen: int64, the classes to choose from; None: all.
    """

    name = "tree"
    by_softmax = False

    def __init__(self, children: Tensor, chosen: Tensor | None = None) -> None:
        super().__init__()
        self.children, self.chosen = children, chosen
        self._levels = _levels_of(children)

    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.losses`: the cross-entropy."""
        return F.cross_entropy(self._logs(logits), targets.ids, reduction="none")

    def probabilities(self, logits: Tensor) -> Tensor:
        """See :meth:`Task.probabilities`: they sum to 1.

        Args:
            logits: float ``[num_bags, n]``, n >= ``num_classes - 1``, those of inner nodes first.
        """
        logs = self._logs(logits)
        return logs.exp() if self.chosen is None else logs.softmax(1)

    def class_scores(self, logits: Tensor) -> Tensor:
        """See :meth:`Task.class_scores`: for each way to a class the sum of its nodes' scores.

        A node counts positive where the way goes right, and negative where it goes left.
        """
        return self._summed(logits, -logits)

    def ways(self) -> tuple[Tensor, Tensor]:
        """Return where the way to each class goes right, and where left.

        Returns:
            float32 ``[num_classes, num_classes]`` each, by inner node and class. The last row is of
            no node: so a model has as many scores as classes.
        """
        each = torch.eye(len(self.children) + 1)
        none = torch.zeros_like(each)
        return self._summed(each, none), self._summed(none, each)

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Task.tensors`: the tree."""
        return {TREE: self.children}

    def fitted(self, logits: Tensor, targets: Targets) -> TreeLabel:
        """See :meth:`Task.fitted`: there is nothing to fit."""
        return self

    def restricted(self, classes: Tensor) -> TreeLabel:
        """See :meth:`Task.restricted`."""
        return TreeLabel(self.children, classes if self.chosen is None else self.chosen[classes])

    def _best(self, logits: Tensor) -> Tensor:
        return self._logs(logits).argmax(1)

    def _logs(self, logits: Tensor) -> Tensor:
        """Return the logarithm of the probability of each class."""
        return self._summed(F.logsigmoid(logits), F.logsigmoid(-logits))

    def _summed(self, right: Tensor, left: Tensor) -> Tensor:
        """Return sums over the way to each class.

        Args:
            right: float ``[..., n]``, what a node adds to those on its right.
            left: what it adds to those on its left.
        """
        first = len(self.children) + 1
        sums = right.new_zeros(*right.shape[:-1], 2 * first - 1)
        for parents in self._levels:
            above, (to_left, to_right) = sums[..., parents], self.children[parents - first].T
            sums[..., to_left] = above + left[..., parents - first]
            sums[..., to_right] = above + right[..., parents - first]
        return sums[..., :first] if self.chosen is None else sums[..., self.chosen]


def _levels_of(children: Tensor) -> list[Tensor]:
    """Return the inner nodes that are as far from the root, from the root down."""
    first = len(children) + 1
    levels, parents = [], torch.arange(2 * first - 2, 2 * first - 1) if len(children) else None
    while parents is not None and len(parents):
        levels.append(parents)
        below = children[parents - first].flatten()
        parents = below[below >= first]
    return levels


def check_tree(children: Tensor) -> None:
    """Check that nodes have children as :class:`TreeLabel` has them.

    Raises:
        ValueError: they have not.
    """
    count = len(children)
    each = children.flatten().sort().values
    numbers = torch.arange(count + 1, 2 * count + 1).unsqueeze(1)
    if not torch.equal(each, torch.arange(2 * count)) or not (children < numbers).all():
        raise ValueError("its labels are no tree")
