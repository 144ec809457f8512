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
import torch
from safetensors.numpy import load_file, save_file

from benchmarks.peers import scores
from textcls.task.calibration import reliability

Floats = npt.NDArray[np.floating]
Predictions = dict[str, npt.NDArray[np.generic]]

# Draws of labels from a model's own probabilities, and their seed.
DRAWS, DRAW_SEED = 200, 0
# Probabilities of 0 have no finite loss.
LEAST = 1e-12


def calibrated_error(confidence: Floats) -> float:
    """Return the calibration error to expect if these probabilities were exact.

    It is not 0, since a bin of n rows misses its own probability by about 1/√n: the mean over
    labels that are drawn from the probabilities.

    Args:
        confidence: ``[num_rows]``, the probability of what was predicted.
    """
    rng = np.random.default_rng(DRAW_SEED)
    draws = (torch.from_numpy(rng.random(len(confidence)) < confidence) for _ in range(DRAWS))
    given = torch.from_numpy(confidence)
    return float(np.mean([reliability(given, drawn).error for drawn in draws]))


def predictions_of(
    answers: Floats, labels: npt.NDArray[np.int64], probabilistic: bool
) -> Predictions:
    """Return what is kept of a system's answers.

    Args:
        answers: ``[num_rows, num_classes]``: probabilities, or anything of which the most wins.
        labels: int64 ``[num_rows]``.
        probabilistic: whether they are probabilities.
    """
    kept: Predictions = {
        "labels": labels.astype(np.int32),
        "predictions": answers.argmax(1).astype(np.int32),
    }
    if probabilistic:
        of_label = answers[np.arange(len(labels)), labels]
        kept["confidence"] = answers.max(1).astype(np.float32)
        kept["losses"] = -np.log(np.maximum(of_label, LEAST)).astype(np.float32)
    return kept


def score(kept: Predictions) -> dict[str, float]:
    """Return accuracy and macro F1; of probabilities loss and calibration errors as well."""
    labels, predictions = (kept[name].astype(np.int64) for name in ("labels", "predictions"))
    found = scores(labels.tolist(), predictions.tolist())
    if "losses" in kept:
        confidence = kept["confidence"].astype(np.float64)
        found["loss"] = float(kept["losses"].astype(np.float64).mean())
        right = torch.from_numpy(labels == predictions)
        found["ece"] = reliability(torch.from_numpy(confidence), right).error
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
