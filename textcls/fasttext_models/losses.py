"""From the vector of a text to probabilities of labels, for each loss that fastText trains with.

Sigmoids of ``ova`` and ``ns`` come out of fastText's table of 512 steps, since its probabilities
do. fastText returns ``exp(log(p + 1e-5))`` and leaves it at that, so each probability is higher by
1e-5, or of a hierarchical softmax by as much at each node of the path:
https://github.com/facebookresearch/fastText/blob/main/src/loss.cc.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textcls.arrow import Int64
from textcls.fasttext_models.format import MOST_TEXTS, ModelFile
from textcls.fasttext_models.matrices import Float32

Float64 = npt.NDArray[np.float64]

SHIFT = 1e-5
_STEPS, _MOST = 512, 8
# Products of nodes that are worked on at a time: what fits into a processor's cache.
_AT_ONCE = 1 << 17
# Labels whose paths are a matrix: 2 MiB.
_FEW_LABELS = 512
# The logarithm of a smaller number may be minus infinity.
_LEAST = np.float32(1e-30)
_INPUTS = np.arange(_STEPS + 1) * (2 * _MOST / _STEPS) - _MOST
_TABLE = (1 / (1 + np.exp(-_INPUTS))).astype(np.float32)


class Level(NamedTuple):
    """Inner nodes of a tree that are as far from its root, and their children.

    Attributes:
        parents: int64 ``[n]``, numbers of nodes; labels come first.
        left: int64 ``[n]``.
        right: int64 ``[n]``.
    """

    parents: Int64
    left: Int64
    right: Int64


class Output:
    """The output layer of a model.

    Args:
        file: the model.
    """

    def __init__(self, file: ModelFile) -> None:
        self.loss = file.arguments.loss
        self.num_labels = len(file.labels)
        rows = np.arange(file.output.shape[0])
        self.weight: Float32 = np.ascontiguousarray(file.output.rows(rows), np.float32)
        self.levels = tree(file.label_counts) if self.loss == "hs" else []
        self.paths = None if self.num_labels > _FEW_LABELS else self._paths()

    def probabilities(self, hidden: Float32) -> Float32:
        """Return the probability of each label, float32 ``[num_texts, num_labels]``.

        Args:
            hidden: float32 ``[num_texts, dim]``.
        """
        scores = torch.from_numpy(hidden @ self.weight.T)
        if self.loss == "hs":
            return self._of_tree(scores, 0).astype(np.float32)
        found: Float32 = (
            scores.softmax(1).numpy() if self.loss == "softmax" else sigmoid(scores.numpy())
        )
        return found

    def shifted(self, hidden: Float32) -> Float64:
        """Return what fastText calls probabilities, float64 ``[num_texts, num_labels]``."""
        if self.loss == "hs":
            return self._of_tree(torch.from_numpy(hidden @ self.weight.T), SHIFT)
        return self.probabilities(hidden).astype(np.float64) + SHIFT

    def _of_tree(self, scores: Tensor, shift: float) -> Float64:
        """Return the product of ``p + shift`` over the path to each label.

        Args:
            scores: of the inner nodes, float32 ``[num_texts, num_labels]``.
            shift: what is added at each node.
        """
        if self.paths is not None:
            of_right = scores.sigmoid().numpy()
            to_right, to_left = (
                np.log(np.maximum(side + shift, _LEAST)) for side in (of_right, 1 - of_right)
            )
            sums = to_right @ self.paths[0] + to_left @ self.paths[1]
            return np.exp(sums.astype(np.float64))
        products = np.empty((len(scores), self.num_labels))
        nodes = 2 * self.num_labels - 1
        step = max(_AT_ONCE // nodes, 1)
        for start in range(0, len(scores), step):
            right = scores[start : start + step].T.sigmoid().numpy()
            found = np.ones((nodes, right.shape[1]))
            for parents, left, other in self.levels:
                of_right, above = right[parents - self.num_labels], found[parents]
                found[left] = above * (1 - of_right + shift)
                found[other] = above * (of_right + shift)
            products[start : start + step] = found[: self.num_labels].T
        return products

    def _paths(self) -> tuple[Float32, Float32]:
        """Return which inner nodes the path to each label leaves to the right, and to the left.

        Both are float32 ``[num_labels, num_labels]``, of nodes by labels.
        """
        to_right = np.zeros((2 * self.num_labels - 1, self.num_labels), np.float32)
        to_left = np.zeros_like(to_right)
        for parents, left, right in self.levels:
            for children in (left, right):
                to_right[children], to_left[children] = to_right[parents], to_left[parents]
            to_left[left, parents - self.num_labels] = 1
            to_right[right, parents - self.num_labels] = 1
        return to_right[: self.num_labels].T.copy(), to_left[: self.num_labels].T.copy()


def sigmoid(scores: Float32) -> Float32:
    """Return fastText's sigmoid of each score: 0 below -8, 1 above 8, and 512 steps between."""
    inside = np.nan_to_num(scores).clip(-_MOST, _MOST)
    steps = ((inside + np.float32(_MOST)) * _STEPS / _MOST / 2).astype(np.int64)
    found: Float32 = _TABLE[steps]
    found[scores < -_MOST] = 0
    found[scores > _MOST] = 1
    return found


def tree(counts: Int64) -> list[Level]:
    """Return the Huffman tree of labels, from the root down, as fastText builds it.

    Args:
        counts: of the labels, int64 ``[num_labels]``, descending.
    """
    num_labels, children = len(counts), children_of(counts)
    levels, parents = [], np.array([2 * num_labels - 2] if num_labels > 1 else [], np.int64)
    while len(parents):
        left, right = children[parents - num_labels].T
        levels.append(Level(parents, left, right))
        below = np.concatenate([left, right])
        parents = below[below >= num_labels]
    return levels


def children_of(counts: Int64) -> Int64:
    """Return the left and the right child of each inner node, int64 ``[num_labels - 1, 2]``.

    Labels are the leaves, inner nodes are numbered after them, the root last.

    Args:
        counts: of the labels, int64 ``[num_labels]``, descending.
    """
    num_labels = len(counts)
    size = 2 * num_labels - 1
    count = [*counts.tolist(), *[MOST_TEXTS] * (num_labels - 1)]
    children = np.zeros((size, 2), np.int64)
    leaf, node = num_labels - 1, num_labels
    for number in range(num_labels, size):
        for side in (0, 1):
            if leaf >= 0 and count[leaf] < count[node]:
                children[number, side], leaf = leaf, leaf - 1
            else:
                children[number, side], node = node, node + 1
        count[number] = count[children[number, 0]] + count[children[number, 1]]
    return children[num_labels:]
