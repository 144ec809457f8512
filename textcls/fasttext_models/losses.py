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

from textcls.arrow import Int64
from textcls.fasttext_models.format import MOST_TEXTS, ModelFile
from textcls.fasttext_models.matrices import Float32

SHIFT = 1e-5
_STEPS, _MOST = 512, 8
# Products that are summed up without BLAS.
_FEW_PRODUCTS = 1 << 22
# Labels whose paths are a matrix: 2 MiB.
_FEW_LABELS = 512
# What a threshold below zero stands for.
_LEAST = 1e-30
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
        # By dimension, as products are fastest.
        by_dimension: Float32 = np.ascontiguousarray(file.output.rows(rows).T, np.float32)
        self.weight: Float32 = by_dimension.T
        self.levels = tree(file.label_counts) if self.loss == "hs" else []
        self.paths = None if self.num_labels > _FEW_LABELS else self._paths()

    def logarithms(
        self, hidden: Float32, threshold: float
    ) -> tuple[Float32, npt.NDArray[np.bool_] | None]:
        """Return the logarithms of what fastText calls probabilities, and which may be answers.

        Args:
            hidden: float32 ``[num_texts, dim]``.
            threshold: labels less probable are left out.

        Returns:
            float32 ``[num_texts, num_labels]``, and bool of the same shape; None: all.
        """
        scores = product(hidden, self.weight.T)
        if self.loss == "hs":
            found = self._of_tree(scores)
            return found, found >= np.log(max(threshold + SHIFT, _LEAST))
        values = softmax(scores) if self.loss == "softmax" else sigmoid(scores)
        is_allowed = None if threshold <= 0 else values >= threshold
        return np.log(values + np.float64(SHIFT)).astype(np.float32), is_allowed

    def _of_tree(self, scores: Float32) -> Float32:
        """Return the sums of the logarithms of ``p + SHIFT`` over the path to each label.

        Args:
            scores: of the inner nodes, float32 ``[num_texts, num_labels]``.
        """
        nodes = scores.shape[1]
        of_sides = np.empty((len(scores), 2 * nodes), np.float32)
        right, left = of_sides[:, :nodes], of_sides[:, nodes:]
        with np.errstate(over="ignore"):
            np.divide(1, 1 + np.exp(-scores), out=right)
        np.subtract(1, right, out=left)
        of_sides += np.float32(SHIFT)
        np.log(of_sides, out=of_sides)
        if len(scores) == 1 and self.paths is not None:  # fewer calls
            return product(of_sides, self.paths)
        by_node = np.zeros((2 * nodes - 1, len(scores)), np.float32)
        for parents, to_left, to_right in self.levels:
            above = by_node[parents]
            by_node[to_left] = above + left.T[parents - nodes]
            by_node[to_right] = above + right.T[parents - nodes]
        return np.ascontiguousarray(by_node[:nodes].T)

    def _paths(self) -> Float32:
        """Return by which inner nodes the path to each label goes right, then by which left.

        They are float32 ``[2 * num_labels, num_labels]``, 1 or 0.
        """
        to_right = np.zeros((2 * self.num_labels - 1, self.num_labels), np.float32)
        to_left = np.zeros_like(to_right)
        for parents, left, right in self.levels:
            for children in (left, right):
                to_right[children], to_left[children] = to_right[parents], to_left[parents]
            to_left[left, parents - self.num_labels] = 1
            to_right[right, parents - self.num_labels] = 1
        both = np.hstack([to_right[: self.num_labels], to_left[: self.num_labels]])
        return np.ascontiguousarray(both.T)


def product(left: Float32, right: Float32) -> Float32:
    """Return the product of two matrices.

    BLAS takes several threads for all but tiny ones, which wait for each other at the end of each
    product: where other threads are at work, up to 16 ms. That is longer than most products take.
    """
    if len(left) * right.size <= _FEW_PRODUCTS:
        found: Float32 = np.einsum("ij,jk->ik", left, right)
    else:
        found = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
    return found


def softmax(scores: Float32) -> Float32:
    """Return the softmax of each row."""
    found: Float32 = np.exp(scores - scores.max(1, keepdims=True))
    found /= found.sum(1, keepdims=True)
    return found


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
