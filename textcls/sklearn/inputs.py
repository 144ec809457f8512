"""What scikit-learn passes to an estimator of texts, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array
from sklearn.utils import check_array, check_consistent_length, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, is_multilabel

from textcls.corpus.splits import RowLabels

Float64 = npt.NDArray[np.float64]


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


class Labels(NamedTuple):
    """What there is to learn of some texts.

    Attributes:
        classes: ``[num_classes]``: of one label a text those that there are, sorted; of any number
            0, 1, 2, …, the columns of the indicator matrix.
        rows: the numbers of each text's labels.
        weights: float64 ``[num_texts]``, above 0, of each text in the loss.
    """

    classes: npt.NDArray[Any]
    rows: RowLabels
    weights: Float64

    @property
    def several(self) -> bool:
        """Whether a text has any number of labels."""
        return self.rows.offsets is not None

    def class_weights(
        self, wanted: Literal["balanced"] | Mapping[Any, float] | None
    ) -> dict[str, float] | None:
        """Return the weights of the classes in the loss, by name.

        Args:
            wanted: see the parameter ``class_weight`` of the estimator.

        Raises:
            ValueError: it names what is no class, or a weight is not above 0.
        """
        if wanted is None:
            return None
        if isinstance(wanted, str) and wanted == "balanced":
            of_labels = np.repeat(self.weights, self.rows.counts)
            counts = np.bincount(self.rows.ids, of_labels, minlength=len(self.classes))
            there = counts > 0  # not every column of a matrix has to have a 1
            weights = counts.sum() / (there.sum() * np.where(there, counts, np.nan))
            weights[~there] = 1
        else:
            weights = compute_class_weight(wanted, classes=self.classes, y=self.classes)
        if not np.all((weights > 0) & np.isfinite(weights)):
            raise ValueError(
                f"class_weight={wanted!r}: give finite weights above 0, "
                "and leave out the texts of a class that is not to count"
            )
        return dict(zip(map(str, self.classes.tolist()), weights.tolist(), strict=True))


def labels_of(y: Any, sample_weight: Any, texts: pa.Array) -> tuple[Labels, npt.NDArray[np.bool_]]:
    """Return what there is to learn, and which of the texts have a part in it: ``[num_texts]``.

    Args:
        y: labels, ``[num_texts]``, or 0 and 1, ``[num_texts, num_labels]``.
        sample_weight: of each text in the loss, ``[num_texts]``, or None.
        texts: as many.

    Raises:
        ValueError: ``y`` holds no labels, or fewer than two different ones; ``sample_weight`` holds
            no weights.
    """
    if y is None:
        raise ValueError("TextClassifier requires y to be passed, but the target y is None")
    y = _column_or_matrix(y)
    check_consistent_length(texts, y)
    weights = _weights(sample_weight, len(texts))
    counted = weights > 0
    y, weights = y[counted], weights[counted]
    if y.ndim == 2:
        if not np.isin(y.data, 1).all():
            raise ValueError("Y holds other numbers than 0 and 1: give 1 for each label of a text")
        rows = RowLabels(y.indices.astype(np.int64), y.indptr.astype(np.int64))
        return Labels(np.arange(y.shape[1]), rows, weights), counted
    classes, ids = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"TextClassifier needs texts of at least 2 classes, but y has {len(classes)} class"
            + (f": {classes[0]!r}" if len(classes) else "es")
        )
    return Labels(classes, RowLabels(ids.astype(np.int64)), weights), counted


def _column_or_matrix(y: Any) -> Any:
    """Return labels as an array, ``[num_texts]``, or a sparse matrix that holds no zeros."""
    if is_multilabel(y):
        matrix = csr_array(check_array(y, accept_sparse="csr", input_name="Y"))
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return matrix
    try:
        y = column_or_1d(y, warn=True)
    except (ValueError, TypeError) as error:
        raise type(error)(
            f"{error} Give one label a text, or a matrix of 0 and 1 such as "
            "sklearn.preprocessing.MultiLabelBinarizer makes of lists of labels."
        ) from None
    if y.dtype == object and any(label is None or label != label for label in y):
        raise ValueError("y contains None or NaN: leave out texts without a label")
    check_classification_targets(y)
    return y


def _weights(sample_weight: Any, num_texts: int) -> Float64:
    if sample_weight is None:
        return np.ones(num_texts)
    name = "sample_weight"
    weights: Float64 = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name=name
    )
    if weights.shape != (num_texts,):
        raise ValueError(
            f"{name} has shape {weights.shape}: give one weight for each of {num_texts} texts"
        )
    if (weights < 0).any():
        at = int(np.argmax(weights < 0))
        raise ValueError(f"{name}[{at}] is {weights[at]:g}: a weight must not be negative")
    if not weights.any():
        raise ValueError(f"{name} is zero for every text: give some a weight above zero")
    return weights
