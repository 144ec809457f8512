"""Fixed weights of features, from the train split alone: idf and the size of log-count ratios."""

from __future__ import annotations

from collections.abc import Iterable
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


def learned(
    how: str,
    features: Iterable[Features],
    num_rows: int,
    num_specials: int,
    num_texts: int,
    labels: RowLabels | None,
) -> Float32:
    """Return the weights of features, float32 ``[num_rows]``.

    Args:
        how: the option ``tokenizer.token_weights``.
        features: of the texts of train, in pieces, read once; ids of ``num_rows`` and on are left
            aside.
        num_rows: features.
        num_specials: so many rows at the beginning are no features.
        num_texts: of train.
        labels: of the texts, for log-count ratios: a text of several counts for each of them.
    """
    if how.endswith("log_count_ratio"):
        if labels is None:
            raise ValueError("log_count_ratio learns from the labels of the train split")
        num_classes = int(labels.ids.max(initial=0)) + 1
        pairs = _count_pairs(features, num_rows, labels, num_classes)
        weights = log_count_ratio(*pairs, num_rows, num_classes, num_specials)
        if how == "log_count_ratio":
            return weights
        if how == "idf_sqrt_log_count_ratio":
            weights = np.sqrt(weights)
        keys, counts = pairs
        documents = np.bincount(keys // num_classes, counts, num_rows).astype(np.int64)
        return weights * idf(documents, num_texts)
    documents = np.zeros(num_rows, np.int64)
    for ids, *_ in features:
        documents += np.bincount(ids, minlength=num_rows)[:num_rows]
    return idf(documents, num_texts)


def _count_pairs(
    features: Iterable[Features], num_rows: int, labels: RowLabels, num_classes: int
) -> tuple[Int64, Int64]:
    """Count the texts that have each pair of feature and class; see :func:`log_count_ratio`."""
    pairs, cells, start = KeyCounter(), num_rows * num_classes, 0
    dense = np.zeros(cells if cells <= _DENSE else 0, np.int32)
    for ids, _, ends, _ in features:
        own = labels.slice(start, start + len(ends) - 1)
        text = np.repeat(np.arange(len(own)), np.diff(ends))
        if own.offsets is None:
            label = own.ids[text]
        else:
            counts = own.counts[text]
            ids = np.repeat(ids, counts)
            label = own.ids[places_of_runs(own.offsets[text], counts)]
        key = ids.astype(np.int64) * num_classes + label
        key = key[ids < num_rows]
        if len(dense):
            dense += np.bincount(key, minlength=cells)
        else:
            distinct, times = runs_of(key)
            pairs.add(distinct.view(np.uint64), times)
        start += len(own)
    if len(dense):
        found = np.flatnonzero(dense)
        return found, dense[found].astype(np.int64)
    keys, counts = pairs.total()
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
