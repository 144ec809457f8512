"""Fixed weights of features, from the train split alone: idf and the size of log-count ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32, Int64, places_of_runs
from textcls.corpus.splits import RowLabels
from textcls.data.counting import KeyCounter, runs_of

if TYPE_CHECKING:
    from textcls.data.features import Features

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# BM25's usual constants: how soon a feature's count says no more, how far long texts count less.
K1 = 1.2
B = 0.75
# Of words that are divided by; log-count ratios have smaller ones by rounding alone.
LEAST_WEIGHT = 1e-6
# Rows that are worked on at one go, times classes.
_CELLS = 1 << 18
# So many pairs of feature and class are counted in one array.
_DENSE = 1 << 23


class LearnedWeights:
    """Learns the weights of features from texts that are given piece by piece.

    Args:
        how: the option ``tokenizer.token_weights``.
        num_rows: features; ids of ``num_rows`` and on are left aside.
        num_specials: so many rows at the beginning are no features.
        labels: of all texts, for log-count ratios: a text of several counts for each of them.
    """

    def __init__(
        self, how: str, num_rows: int, num_specials: int, labels: RowLabels | None
    ) -> None:
        self._how, self._num_rows, self._num_specials = how, num_rows, num_specials
        self._num_texts = 0
        self._pairs: _PairCounter | None = None
        if how.endswith("log_count_ratio"):
            if labels is None:
                raise ValueError("log_count_ratio learns from the labels of the train split")
            self._pairs = _PairCounter(num_rows, labels)
        else:
            self._documents = np.zeros(num_rows, np.int64)

    def add(self, features: Features, first: int) -> None:
        """Count the features of some texts, of which the first is number ``first`` of all."""
        if self._pairs is not None:
            self._pairs.add(features, first)
        else:
            found = np.bincount(features.ids, minlength=self._num_rows)
            self._documents += found[: self._num_rows]
        self._num_texts += len(features.ends) - 1

    def weights(self) -> Float32:
        """Return the weights, float32 ``[num_rows]``."""
        if self._pairs is None:
            return idf(self._documents, self._num_texts)
        keys, counts = self._pairs.total()
        num_rows, num_classes = self._num_rows, self._pairs.num_classes
        weights = log_count_ratio(keys, counts, num_rows, num_classes, self._num_specials)
        if self._how == "log_count_ratio":
            return weights
        if self._how == "idf_sqrt_log_count_ratio":
            weights = np.sqrt(weights)
        documents = np.bincount(keys // num_classes, counts, num_rows).astype(np.int64)
        return weights * idf(documents, self._num_texts)


class _PairCounter:
    """Counts the texts that have each pair of feature and class; see :func:`log_count_ratio`."""

    def __init__(self, num_rows: int, labels: RowLabels) -> None:
        self._num_rows, self._labels = num_rows, labels
        self.num_classes = int(labels.ids.max(initial=0)) + 1
        self._cells = num_rows * self.num_classes
        self._sparse = KeyCounter()
        self._dense = np.zeros(self._cells if self._cells <= _DENSE else 0, np.int32)

    def add(self, features: Features, first: int) -> None:
        """Count the features of the texts that begin with number ``first``."""
        ids, _, ends, _ = features
        own = self._labels.slice(first, first + len(ends) - 1)
        text = np.repeat(np.arange(len(own)), np.diff(ends))
        if own.offsets is None:
            label = own.ids[text]
        else:
            counts = own.counts[text]
            ids = np.repeat(ids, counts)
            label = own.ids[places_of_runs(own.offsets[text], counts)]
        key = ids.astype(np.int64) * self.num_classes + label
        key = key[ids < self._num_rows]
        if len(self._dense):
            self._dense += np.bincount(key, minlength=self._cells)
        else:
            distinct, times = runs_of(key)
            self._sparse.add(distinct.view(np.uint64), times)

    def total(self) -> tuple[Int64, Int64]:
        """Return the pairs, ascending, ``v * num_classes + c``, and how many texts have each."""
        if len(self._dense):
            found = np.flatnonzero(self._dense)
            return found, self._dense[found].astype(np.int64)
        keys, counts = self._sparse.total()
        return keys.view(np.int64), counts


def idf(documents: Int64, num_texts: int) -> Float32:
    """Return inverse document frequencies, ``log((1 + N) / (1 + df)) + 1``.

    They are those of scikit-learn's ``TfidfTransformer(smooth_idf=True)``.

    Args:
        documents: how many texts have each feature, int64 ``[n]``.
        num_texts: of the train split.
    """
    return (np.log((1 + num_texts) / (1 + documents)) + 1).astype(np.float32)


def log_count_ratio(
    pairs: Int64, counts: Int64, num_rows: int, num_classes: int, num_specials: int
) -> Float32:
    """Return the root mean square, over the classes, of the log-count ratio of class and rest.

    With ``n[v, c]`` the texts of class c that have feature v, plus 1, it is, for one class,
    ``log(n[v, c] / Σ n[:, c]) - log(rest[v, c] / Σ rest[:, c])``, where ``rest`` adds up the other
    classes: that of NB-SVM (Wang and Manning, 2012), one against the rest.

    Args:
        pairs: of feature and class, ascending: ``v * num_classes + c``.
        counts: how many texts have each of them.
        num_rows: features.
        num_classes: classes; of a single one every feature weighs 1.
        num_specials: so many rows at the beginning are no features: they weigh what features that
            a single text has weigh on average, since words that train lacks are as rare as these.
    """
    if num_classes == 1:
        return np.ones(num_rows, np.float32)
    first = np.searchsorted(pairs, num_specials * num_classes)
    row, label = np.divmod(pairs[first:], num_classes)
    counts = counts[first:]
    features = num_rows - num_specials
    total = np.bincount(label, counts, num_classes) + features
    total_rest = total.sum() - total
    weights = np.empty(num_rows, np.float32)
    step = max(_CELLS // num_classes, 1)
    for start in range(0, num_rows, step):
        stop = min(start + step, num_rows)
        low, high = np.searchsorted(row, [start, stop])
        n = np.ones((stop - start, num_classes))
        n[row[low:high] - start, label[low:high]] += counts[low:high]
        rest = n.sum(1, keepdims=True) - n
        ratio = np.log(n / total) - np.log(rest / total_rest)
        weights[start:stop] = np.sqrt((ratio**2).mean(1))
    of_one_text = np.bincount(row, counts, num_rows) == 1
    if of_one_text.any():
        weights[:num_specials] = weights[of_one_text].mean()
    return weights


def saturated(amounts: Float32, lengths: Int32 | Int64, mean_length: float) -> Float32:
    """Return BM25's part of a count, which nears ``K1 + 1`` as it grows, later in longer texts.

    Args:
        amounts: of the features, ``[n]``.
        lengths: words of the text of each, ``[n]``.
        mean_length: of the texts of train.
    """
    bound = K1 * (1 - B + B * lengths / mean_length)
    return (amounts * (K1 + 1) / (amounts + bound)).astype(np.float32)
