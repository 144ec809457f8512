"""What is measured of predictions, and the files that they are kept in.

A file has the tensors that a run's ``predictions.safetensors`` has: ``labels`` and
``predictions``, int32 ``[num_rows]``, and, of systems that give probabilities, ``confidence`` and
``losses``, float32 ``[num_rows]``: the probability of what was predicted, and the cross-entropy in
nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Floats = npt.NDArray[np.floating]
Predictions = dict[str, npt.NDArray[np.generic]]

BINS = 15
# Draws of labels from a model's own probabilities, and their seed.
DRAWS, DRAW_SEED = 200, 0
# Probabilities of 0 have no finite loss.
LEAST = 1e-12


def calibration_error(confidence: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error (Guo et al., 2017) in 15 bins of equal width.

    The difference of accuracy and mean confidence in each bin of confidence, weighted by its rows.

    Args:
        confidence: ``[num_rows]``, the probability of what was predicted.
        right: bool ``[num_rows]``, whether that is so.
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence.astype(np.float64), minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def calibrated_error(confidence: Floats) -> float:
    """Return the calibration error to expect if these probabilities were exact.

    It is not 0, since a bin of n rows misses its own probability by about 1/√n: the mean over
    labels that are drawn from the probabilities.

    Args:
        confidence: ``[num_rows]``, the probability of what was predicted.
    """
    rng = np.random.default_rng(DRAW_SEED)
    draws = (rng.random(len(confidence)) < confidence for _ in range(DRAWS))
    return float(np.mean([calibration_error(confidence, drawn) for drawn in draws]))


def macro_f1(labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer]) -> float:
    """Return the mean F1 of the classes that occur among labels or predictions."""
    size = int(max(labels.max(), predictions.max())) + 1
    both = np.bincount(labels, minlength=size) + np.bincount(predictions, minlength=size)
    hits = np.bincount(labels[labels == predictions], minlength=size)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def predictions_of(
    scores: Floats, labels: npt.NDArray[np.int64], probabilistic: bool
) -> Predictions:
    """Return what is kept of a system's answers.

    Args:
        scores: ``[num_rows, num_classes]``: probabilities, or anything of which the most wins.
        labels: int64 ``[num_rows]``.
        probabilistic: whether the scores are probabilities.
    """
    kept: Predictions = {
        "labels": labels.astype(np.int32),
        "predictions": scores.argmax(1).astype(np.int32),
    }
    if probabilistic:
        of_label = scores[np.arange(len(labels)), labels]
        kept["confidence"] = scores.max(1).astype(np.float32)
        kept["losses"] = -np.log(np.maximum(of_label, LEAST)).astype(np.float32)
    return kept


def score(kept: Predictions) -> dict[str, float]:
    """Return accuracy and macro F1; of probabilities loss and calibration errors as well."""
    labels, predictions = (kept[name].astype(np.int64) for name in ("labels", "predictions"))
    right = labels == predictions
    found = {"accuracy": float(right.mean()), "macro_f1": macro_f1(labels, predictions)}
    if "losses" in kept:
        confidence = kept["confidence"].astype(np.float64)
        found["loss"] = float(kept["losses"].astype(np.float64).mean())
        found["ece"] = calibration_error(confidence, right)
        found["calibrated_ece"] = calibrated_error(confidence)
    return found


def write(path: Path, kept: Predictions) -> None:
    """Write predictions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(kept, path)


def load(path: Path) -> Predictions:
    """Read predictions, ours or of a run of textcls."""
    return dict(load_file(path))


def ranks(values: Sequence[Floats], descending: bool = True) -> Floats:
    """Return the mean rank of each system over data sets; the best has rank 1.

    Equal values share the mean of their ranks.

    Args:
        values: for each data set, ``[num_systems]``.
        descending: whether more is better.
    """
    from scipy.stats import rankdata

    sign = -1 if descending else 1
    found: Floats = np.mean([rankdata(sign * np.asarray(row)) for row in values], axis=0)
    return found
