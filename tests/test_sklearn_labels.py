"""The estimator on any number of labels a text, and on weights of texts."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MultiLabelBinarizer

from tests.conftest import PROJECT
from tests.test_sklearn import LABELS, TEXTS, Texts, fitted, plain
from textcls.data.targets import relative_weights
from textcls.model.classifier import Classifier
from textcls.model.folder import save_model
from textcls.sklearn import TextClassifier

TWEETS = PROJECT.parent / "shared" / "data" / "semeval2018_ec"

Matrix = npt.NDArray[np.int64]

X: Texts = [*TEXTS, "so", "and"]
# Whether a text is good, bad, about films: some texts are none of it.
Y: Matrix = np.array([[int(word in text) for word in ("good", "bad", "film")] for text in X])


def several(**parameters: Any) -> TextClassifier:
    return plain(**{"batch_size": 4, "dropout": 0.0, "epochs": 30} | parameters).fit(X, Y)


# --- any number of labels ----------------------------------------------------------------------


def test_labels_are_learned_one_by_one() -> None:
    classifier = several()
    assert classifier.classes_.tolist() == [0, 1, 2]
    found = classifier.predict(X)
    np.testing.assert_array_equal(found, Y, strict=True)
    assert classifier.predict(["warm good film", "so and"]).tolist() == [[1, 0, 1], [0] * 3]
    probabilities, scores = classifier.predict_proba(X), classifier.decision_function(X)
    assert probabilities.shape == scores.shape == Y.shape
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-scores)), rtol=1e-5)
    np.testing.assert_array_equal(found, probabilities >= 0.5)
    assert classifier.predict([]).shape == classifier.predict_proba([]).shape == (0, 3)


def test_two_labels_are_not_two_classes() -> None:
    classifier = plain(batch_size=4, epochs=10).fit(X, Y[:, :2])
    assert classifier.decision_function(X).shape == classifier.predict(X).shape == (26, 2)


def test_the_score_is_the_share_of_texts_that_are_all_right() -> None:
    classifier, wanted = several(), Y.copy()
    wanted[:5, 0] ^= 1
    wanted[:2, 1] ^= 1
    assert classifier.score(X, Y) == 1
    assert classifier.score(X, wanted) == accuracy_score(wanted, classifier.predict(X)) == 21 / 26


@pytest.mark.parametrize(
    "kind",
    [
        lambda y: y.astype(bool),
        lambda y: y.astype(np.float32),
        lambda y: y.tolist(),
        list,
        lambda y: pd.DataFrame(y, columns=["good", "bad", "film"]),
        sparse.csr_matrix,
        sparse.csc_array,
        lambda y: sparse.coo_matrix(y, dtype=bool),
        # With zeros that are written down, and columns in another order.
        lambda y: sparse.csr_matrix((y[:, ::-1].ravel(), np.tile([2, 1, 0], 26), range(0, 79, 3))),
    ],
)
def test_matrices_of_every_kind(kind: Any) -> None:
    found = plain(batch_size=4, dropout=0.0, epochs=30).fit(X, kind(Y))
    np.testing.assert_array_equal(found.predict_proba(X), several().predict_proba(X), strict=True)
    np.testing.assert_array_equal(found.predict(X), Y, strict=True)


@pytest.mark.parametrize("weight", [None, "balanced", {1: 3.0}])
def test_a_label_of_all_texts_or_of_none(weight: Any) -> None:
    for matrix in (Y * [1, 1, 0], Y * [1, 0, 0] + [0, 0, 1], Y * 0, Y * 0 + 1):
        classifier = plain(batch_size=4, epochs=20, class_weight=weight).fit(X, matrix)
        alike = (matrix == matrix[0]).all(0)
        np.testing.assert_array_equal(classifier.predict(X)[:, alike], matrix[:, alike])
        assert np.isfinite(classifier.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([("good",), ("bad", "film"), ()], "MultiLabelBinarizer makes of lists of labels"),
        ([["good", "film"], ["bad", "film"], ["so", "so"]], "MultiLabelBinarizer"),
        (np.array([[0, 1], [1, 2], [1, 1]]), "y should be a 1d array.* or a matrix of 0 and 1"),
        (np.array([[0, 2], [2, 2], [2, 0]]), "Y holds other numbers than 0 and 1"),
        (np.array([[-1, 1], [1, 1], [1, -1]]), "Y holds other numbers than 0 and 1"),
        (np.array([[0, 1], [1, np.nan], [1, 1]]), "y should be a 1d array"),
        (np.ones((1, 3, 2), int), "dim"),
        (np.array([[0, 1], [1, 0]]), "inconsistent numbers of samples"),
    ],
)
def test_what_is_no_matrix_of_labels_is_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextClassifier().fit(["a", "b", "c"], labels)


def test_what_is_auto_fits_several_labels() -> None:
    found = TextClassifier().fit(X, Y)
    ratios: dict[str, Any] = dict.fromkeys(
        ("token_weights", "char_token_weights"), "idf_log_count_ratio"
    )
    given = TextClassifier(label_smoothing=0.02, dim="classes", lr=1.0, **ratios).fit(X, Y)
    np.testing.assert_array_equal(found.predict_proba(X), given.predict_proba(X))
    other = TextClassifier(label_smoothing=0.2).fit(X, Y)
    assert np.abs(found.predict_proba(X) - other.predict_proba(X)).max() > 0.01


def test_a_label_that_weighs_more_is_predicted_more() -> None:
    rng = np.random.default_rng(0)
    noise = (rng.random((len(X), 3)) < 0.3).astype(int)  # of which texts say nothing

    def means(weight: Any) -> npt.NDArray[np.float64]:
        classifier = plain(batch_size=4, class_weight=weight, epochs=1).fit(X, noise)
        found: npt.NDArray[np.float64] = classifier.predict_proba(X).mean(0, dtype=np.float64)
        return found

    # Its loss, of having the label and of not having it, weighs more: it is learned faster.
    assert means({0: 20.0})[0] != pytest.approx(means(None)[0], abs=1e-3)
    counts = noise.sum(0)
    balanced = {i: counts.sum() / (3 * count) for i, count in enumerate(counts)}
    np.testing.assert_array_equal(means("balanced"), means(balanced))


def test_a_model_folder_holds_the_same_model(tmp_path: Any) -> None:
    classifier = several()
    save_model(classifier.classifier_.parts, tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model", "cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    expected = [tuple(np.flatnonzero(row).astype(str)) for row in classifier.predict(X)]
    assert loaded.predict(X) == expected


def test_pickled_cloned_and_fitted_again() -> None:
    classifier = several()
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    copy = clone(classifier).fit(X, Y)
    np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))
    assert again.fit(TEXTS, LABELS).predict(["so good"]).tolist() == ["yes"]
    np.testing.assert_array_equal(again.fit(X, Y).predict(X), Y)


def test_searches_pipelines_and_meta_estimators() -> None:
    pipeline = make_pipeline(FunctionTransformer(_lower), plain(batch_size=4, epochs=8))
    grid = {"textclassifier__mode": ["mean", "max"], "textclassifier__dim": [4, 16]}
    search = GridSearchCV(pipeline, grid, scoring="f1_micro", cv=2, error_score="raise").fit(X, Y)
    assert search.best_score_ > 0.8
    assert search.predict(X[:3]).shape == (3, 3)
    held_out = cross_val_predict(pipeline, X, Y, cv=3, method="predict_proba")
    assert held_out.shape == Y.shape
    assert f1_score(Y, held_out >= 0.5, average="micro") > 0.8


def _lower(texts: Texts) -> Texts:
    return [text.lower() for text in texts]


@pytest.mark.skipif(not TWEETS.is_dir(), reason="needs ../shared/data/semeval2018_ec")
def test_real_tweets_of_several_emotions() -> None:
    def read(split: str) -> tuple[Texts, list[list[str]]]:
        with (TWEETS / f"{split}.jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return [row["text"] for row in rows], [row["labels"] for row in rows]

    texts, lists = (rows[:3000] for rows in read("train"))
    emotions = MultiLabelBinarizer()
    classifier = TextClassifier().fit(texts, emotions.fit_transform(lists))
    test, wanted = read("test")
    found = classifier.predict(test)
    matrix = emotions.transform(wanted)
    assert f1_score(matrix, found, average="micro") > 0.5
    assert classifier.score(test, matrix) > 0.17
    assert {name for names in emotions.inverse_transform(found) for name in names} > {"joy"}


# --- weights of texts --------------------------------------------------------------------------

WEIGHTS = np.tile([1.0, 0.0, 2.0, 0.5], 6)
TARGETS = pytest.mark.parametrize("y", [LABELS, Y[:24].tolist()], ids=["one", "several"])


def probabilities(y: Any, weights: Any, texts: Texts = TEXTS, **parameters: Any) -> Any:
    classifier = plain(**{"batch_size": 4, "dropout": 0.0} | parameters)
    return classifier.fit(texts, y, sample_weight=weights).predict_proba(TEXTS)


@TARGETS
def test_a_text_that_weighs_nothing_is_as_good_as_left_out(y: list[Any]) -> None:
    kept = np.flatnonzero(WEIGHTS)
    left_out = probabilities(
        [y[i] for i in kept], WEIGHTS[kept], [TEXTS[i] for i in kept], min_freq=2
    )
    np.testing.assert_array_equal(probabilities(y, WEIGHTS, min_freq=2), left_out)
    ones = (WEIGHTS > 0).astype(int)
    left_out = probabilities([y[i] for i in kept], None, [TEXTS[i] for i in kept])
    np.testing.assert_array_equal(probabilities(y, ones), left_out)


def test_a_class_whose_texts_weigh_nothing_is_none() -> None:
    labels = ["a", "b", "c"] * 8
    classifier = plain().fit(TEXTS, labels, np.tile([1, 0, 1], 8))
    assert classifier.classes_.tolist() == ["a", "c"]
    with pytest.raises(ValueError, match="2 classes, but y has 1 class"):
        plain().fit(TEXTS, LABELS, np.tile([1, 0], 12))


@TARGETS
def test_only_proportions_count(y: list[Any]) -> None:
    np.testing.assert_array_equal(probabilities(y, [3] * 24), probabilities(y, None))
    weighted = probabilities(y, WEIGHTS)
    assert np.abs(weighted - probabilities(y, None)).max() > 1e-3
    for scale in (7.0, 1e-300, 1e300):
        np.testing.assert_allclose(probabilities(y, WEIGHTS * scale), weighted, atol=1e-6)


@TARGETS
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_whole_weights_are_repetitions(y: list[Any], class_weight: Any) -> None:
    """In a single batch, of texts that have each word as often either way, all else is equal."""
    texts, counts = ["a b"] * 12 + ["c d"] * 12, np.r_[np.tile([1, 3], 6), np.tile([3, 1], 6)]
    rows = np.repeat(np.arange(24), counts)
    options: dict[str, Any] = {"batch_size": 64, "class_weight": class_weight, "epochs": 20}
    found = probabilities(y, counts, texts, **options)
    expected = probabilities([y[i] for i in rows], None, [texts[i] for i in rows], **options)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - probabilities(y, None, texts, **options)).max() > 1e-3


def test_a_weight_of_a_class_is_one_of_its_texts() -> None:
    weights = np.where(np.array(LABELS) == "yes", 3.0, 1.0)
    np.testing.assert_allclose(
        probabilities(LABELS, weights),
        probabilities(LABELS, None, class_weight={"yes": 3.0}),
        atol=1e-5,
    )


def test_texts_that_weigh_more_decide() -> None:
    texts, labels = ["this"] * 6, ["x", "y"] * 3
    for heavy, expected in ((0, "x"), (1, "y")):
        weights = np.ones(6)
        weights[heavy::2] = 5.0
        classifier = plain(batch_size=8, dropout=0.0, epochs=200).fit(
            texts, labels, sample_weight=weights
        )
        assert classifier.predict(["this"]).tolist() == [expected]
        # The odds are those of the weights.
        p = classifier.predict_proba(["this"])[0]
        assert p.max() / p.min() == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, lambda w: torch.from_numpy(w).numpy()])
def test_weights_of_every_kind(kind: Any) -> None:
    np.testing.assert_array_equal(
        probabilities(LABELS, kind(WEIGHTS)), probabilities(LABELS, WEIGHTS)
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(23), r"sample_weight has shape \(23,\): give one weight for each of 24 texts"),
        (np.ones((24, 1)), r"sample_weight has shape \(24, 1\)"),
        (-WEIGHTS, r"sample_weight\[0\] is -1: a weight must not be negative"),
        (WEIGHTS * np.nan, "sample_weight contains NaN"),
        (np.where(WEIGHTS, WEIGHTS, np.inf), "sample_weight contains inf"),
        (WEIGHTS * 0, "sample_weight is zero for every text"),
        (["heavy"] * 24, "could not convert string to float"),
    ],
)
def test_what_is_no_weights_is_refused(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain().fit(TEXTS, LABELS, sample_weight=weights)


def test_meta_estimators_weigh_texts() -> None:
    column = np.array(TEXTS).reshape(-1, 1)
    ensemble = BaggingClassifier(
        make_pipeline(FunctionTransformer(np.ravel), fitted()), n_estimators=3, random_state=0
    ).fit(column, LABELS)
    assert ensemble.score(column, LABELS) > 0.9


def test_relative_weights_are_one_on_average() -> None:
    found = relative_weights(np.array([1e308, 0.0, 1e308, 5e307]))
    assert found is not None
    torch.testing.assert_close(found, torch.tensor([1.6, 0.0, 1.6, 0.8]))
    assert relative_weights(np.full(3, 0.1)) is None
