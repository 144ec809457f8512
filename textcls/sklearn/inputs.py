"""What scikit-learn passes to an estimator of texts, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from textcls.arrow import Int64


def texts_of(X: Any) -> list[Any]:  # noqa: N803
    """Return the elements of what may stand for texts; None or NaN for each that is missing.

    Raises:
        ValueError: ``X`` is a single string, or of two dimensions.
        TypeError: ``X`` is nothing that has elements.
    """
    if isinstance(X, str | bytes):
        raise ValueError("X is a single text: give a list of texts, as in ['…']")
    if len(getattr(X, "shape", "1")) != 1:
        raise ValueError(
            f"X has shape {tuple(X.shape)}: give one text a row, in one dimension; "
            "of a table that is a single column, df['text'] rather than df[['text']]"
        )
    if hasattr(X, "isna"):  # pandas' missing values are of many kinds
        return [None if gone else text for text, gone in zip(X, X.isna(), strict=True)]
    return list(X.to_pylist() if hasattr(X, "to_pylist") else X)


def labels_of(y: Any) -> tuple[npt.NDArray[Any], Int64]:
    """Return the classes, sorted, and the number of each label's class, int64 ``[num_texts]``.

    Raises:
        ValueError: ``y`` holds no labels, or fewer than two different ones.
    """
    if y is None:
        raise ValueError("TextClassifier requires y to be passed, but the target y is None")
    y = column_or_1d(y, warn=True)
    if y.dtype == object and any(label is None or label != label for label in y):
        raise ValueError("y contains None or NaN: leave out texts without a label")
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"TextClassifier needs texts of at least 2 classes, but y has {len(classes)} class"
            + (f": {classes[0]!r}" if len(classes) else "es")
        )
    return classes, labels.astype(np.int64)
