from __future__ import annotations

import csv
import importlib
import pickle
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

from tests.conftest import PROJECT, make_config
from textcls.defaults import choose, measure
from textcls.model.classifier import Classifier, to_arrow
from textcls.model.folder import save_model
from textcls.sklearn import TextClassifier
from textcls.sklearn.settings import settings_of
from textcls.training.tracking import Listener

Texts = list[str]


def read(name: str, split: str, rows: int | None = None) -> tuple[Texts, npt.NDArray[Any]]:
    with (PROJECT / "data" / name / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))[:rows]
    return [row["text"] for row in found], np.array([row["label"] for row in found])


@pytest.fixture(scope="module")
def reviews() -> tuple[Texts, npt.NDArray[Any]]:
    return read("reviews", "train", 800)


# A plain bag of words, as experiment=plain has it.
PLAIN: dict[str, Any] = {
    "mode": "mean", "tokenizer": "basic_english", "ngrams": 1, "ngram_min_freq": 1,
    "char_ngrams": None, "char_weight": 1.0, "char_token_weights": None, "counts": None,
    "token_weights": None, "dim": 32, "dropout": 0.5, "lr": 0.3,
    "initial_accumulator_value": 0.0, "epochs": 5, "batch_size": 256, "label_smoothing": 0.0,
}  # fmt: skip
TEXTS = ["a good film", "a bad film", "good and warm", "bad and cold", "so good", "so bad"] * 4
LABELS = ["yes", "no"] * 12


def plain(**parameters: Any) -> TextClassifier:
    return TextClassifier(**PLAIN | parameters)


def fitted(**parameters: Any) -> TextClassifier:
    return plain(**{"batch_size": 4, "dropout": 0.0} | parameters).fit(TEXTS, LABELS)


# --- what it learns ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corpus", "parameters", "least"),
    [
        ("reviews", {}, 0.85),
        ("reviews", PLAIN | {"mode": "weighted_sum", "ngrams": 2, "min_freq": 2}, 0.83),
        ("reviews", PLAIN | {"mode": "mean+max", "ngrams": 2, "buckets": 20_000, "dim": 16}, 0.82),
        ("headlines", {}, 0.85),
        ("headlines", {"tokenizer": "bpe"}, 0.80),
        ("probe_trigger", PLAIN | {"mode": "max", "epochs": 15, "batch_size": 128}, 0.95),
    ],
)
def test_the_demo_corpora_are_learned(
    corpus: str, parameters: dict[str, Any], least: float
) -> None:
    classifier = TextClassifier(**parameters).fit(*read(corpus, "train"))
    assert classifier.score(*read(corpus, "test")) > least


@pytest.mark.parametrize(("parameters", "experiment"), [({}, "null"), (PLAIN, "plain")])
def test_the_defaults_are_those_of_the_configuration(
    parameters: dict[str, Any], experiment: str
) -> None:
    settings = settings_of(TextClassifier(**parameters).get_params(), None)
    config = make_config(f"experiment={experiment}")
    for group in ("tokenizer", "model", "optimizer", "schedule"):
        assert getattr(settings, group) == getattr(config, group)
    for option in ("epochs", "batch_size", "clip_norm", "class_weights", "label_smoothing"):
        assert getattr(settings.trainer, option) == getattr(config.trainer, option)


def test_every_parameter_reaches_the_model() -> None:
    given = plain(
        mode="sum+max", dim=5, ngrams=3, min_freq=2, buckets=64, max_tokens=2, dropout=0.25,
        epochs=3,
    ).fit(TEXTS, LABELS)  # fmt: skip
    parts = given.classifier_.parts
    assert (parts.model.embedding.mode, parts.model.embedding.embedding_dim) == ("sum+max", 5)
    assert parts.model.embedding.num_embeddings == len(parts.encoder.vocabulary) + 64
    assert parts.model.dropout.p == 0.25
    assert parts.model.embedding.padding_idx is None
    tokenizer = parts.encoder.tokenizer.config
    assert (tokenizer.ngrams, tokenizer.min_freq, tokenizer.max_tokens) == (3, 2, 2)
    assert "film" not in parts.encoder.vocabulary.tokens.to_pylist()  # each text's third word
    assert given.n_iter_ == 3
    weighed = plain(
        mode="sqrtn", counts="log", token_weights="log_count_ratio", char_ngrams=(2, 4),
        char_weight=0.5, ngrams=2, ngram_weight=0.7, initial_accumulator_value=1e-4, epochs=2,
    ).fit(TEXTS, LABELS)  # fmt: skip
    tokenizer = weighed.classifier_.parts.encoder.config
    assert (tokenizer.char_ngrams, tokenizer.char_weight) == ((2, 4), 0.5)
    assert (tokenizer.counts, tokenizer.token_weights, tokenizer.ngram_weight) == (
        "log", "log_count_ratio", 0.7
    )  # fmt: skip
    assert weighed.predict_proba(TEXTS).shape == (len(TEXTS), 2)

    usual = fitted().predict_proba(TEXTS)
    for change in (
        {"lr": 0.1},
        {"epochs": 4},
        {"batch_size": 5},
        {"dropout": 0.5},
        {"initial_accumulator_value": 0.1},
        {"label_smoothing": 0.1},
    ):
        assert not np.array_equal(fitted(**change).predict_proba(TEXTS), usual)


def test_what_is_auto_fits_the_texts(reviews: tuple[Texts, npt.NDArray[Any]]) -> None:
    found = TextClassifier().fit(*reviews)
    facts = measure([to_arrow(list(reviews[0]))], 2)
    values = {option.partition(".")[2]: value for option, value in choose(facts).items()}
    del values["monitor"]  # of a validation split
    given = TextClassifier(**values).fit(*reviews)
    texts = reviews[0][:50]
    assert np.array_equal(found.predict_proba(texts), given.predict_proba(texts))
    assert found.get_params()["dim"] == "auto"


def test_probabilities_are_those_of_the_classifier_that_a_model_folder_holds(
    tmp_path: Path, reviews: tuple[Texts, npt.NDArray[Any]]
) -> None:
    estimator = TextClassifier().fit(*reviews)
    save_model(estimator.classifier_.parts, tmp_path / "model")
    classifier = Classifier.load(tmp_path / "model", "cpu")
    texts = [*reviews[0], "", "unheardof"]
    np.testing.assert_array_equal(
        estimator.predict_proba(texts), classifier.predict_proba(texts), strict=True
    )
    assert estimator.predict(texts).tolist() == classifier.predict(texts)
    assert classifier.label_names == ("negative", "positive")


def test_decision_function_is_the_logits() -> None:
    two = fitted()
    p = two.predict_proba(TEXTS).astype(np.float64)
    scores = two.decision_function(TEXTS)
    assert scores.shape == (24,)
    np.testing.assert_allclose(scores, np.log(p[:, 1] / p[:, 0]), rtol=1e-4)

    labels = ["a", "b", "c"] * 8
    three = plain(batch_size=4).fit(TEXTS, labels)
    scores = three.decision_function(TEXTS)
    assert scores.shape == (24, 3)
    e = np.exp(scores)
    np.testing.assert_allclose(three.predict_proba(TEXTS), e / e.sum(1, keepdims=True), rtol=1e-5)


def test_class_weights_move_predictions_towards_what_weighs_more() -> None:
    texts, labels = read("reviews", "train")
    rare = np.flatnonzero(labels == "positive")[:200]
    rows = np.concatenate([rare, np.flatnonzero(labels == "negative")[:1800]])
    texts, labels = [texts[i] for i in rows], labels[rows]
    test, truth = read("reviews", "test")

    def recall(weight: Any) -> float:
        classifier = plain(class_weight=weight).fit(texts, labels)
        return float(recall_score(truth, classifier.predict(test), pos_label="positive"))

    unweighted, balanced, heavy = recall(None), recall("balanced"), recall({"positive": 100})
    assert unweighted + 0.1 < balanced < heavy
    # "balanced" is what it says, spelled out; and equal weights are no weights.
    n = len(labels)
    assert recall({"positive": n / 400, "negative": n / 3600}) == balanced
    assert recall({"positive": 1, "negative": 1.0}) == unweighted


# --- texts and labels --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        tuple,
        iter,
        np.array,
        lambda x: np.array(x, object),
        pd.Series,
        lambda x: pd.Series(x, dtype=object, index=range(100, 100 + len(x))),
        lambda x: pd.Series(x, dtype="string"),
        lambda x: pd.Series(x, dtype="category"),
        pa.array,
        lambda x: pa.chunked_array([x[:5], x[5:]]),
        lambda x: pa.array(x).dictionary_encode(),
    ],
)  # fmt: skip
def test_texts_of_every_kind(kind: Any) -> None:
    expected = fitted().predict_proba(TEXTS)
    classifier = plain(batch_size=4, dropout=0.0).fit(kind(TEXTS), LABELS)
    np.testing.assert_array_equal(classifier.predict_proba(kind(TEXTS)), expected, strict=True)


@pytest.mark.parametrize(
    "texts",
    [
        ["so good", None, float("nan"), ""],
        np.array(["so good", None, np.nan, ""], object),
        pd.Series(["so good", None, np.nan, ""]),
        pd.Series(["so good", None, pd.NA, ""], dtype="string"),
        pa.array(["so good", None, None, ""]),
    ],
)
def test_a_missing_text_is_an_empty_one(texts: Any) -> None:
    classifier = fitted()
    found = classifier.predict_proba(texts)
    bias = classifier.classifier_.parts.model.linear.bias.softmax(0).numpy()
    np.testing.assert_allclose(found[1:], np.tile(bias, (3, 1)), rtol=1e-6)
    assert not np.allclose(found[0], bias)
    np.testing.assert_allclose(classifier.predict_proba(["unheardof"])[0], bias, rtol=1e-6)
    # … and in training it is one as well.
    labels = ["yes", "no", "no", "no"]
    np.testing.assert_array_equal(
        TextClassifier().fit(texts, labels).predict_proba(TEXTS),
        TextClassifier().fit(["so good", "", "", ""], labels).predict_proba(TEXTS),
    )


def test_half_a_character_is_no_error() -> None:
    assert len(TextClassifier().fit(["good \ud800", "bad"], [0, 1]).predict(["\ud800"])) == 1


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("a good film", ValueError, "X is a single text: give a list"),
        (np.array(["a", "b"]).reshape(2, 1), ValueError, r"X has shape \(2, 1\): .* one dimension"),
        (pd.DataFrame({"text": ["a", "b"]}), ValueError, r"df\['text'\] rather than"),
        (pa.table({"text": ["a", "b"]}), ValueError, r"X has shape \(2, 1\)"),
        (["a", 5], TypeError, r"\[1\] is 5: give strings"),
        ([["a"], ["b"]], TypeError, r"\[0\] is \['a'\]: give strings"),
        (np.array([1.5, 2.5]), TypeError, r"\[0\] is .*1.5.*: give strings"),
        (["a"], ValueError, "inconsistent numbers of samples"),
        (["", None], ValueError, "empty vocabulary: X has no tokens"),
    ],
)
def test_what_is_no_texts_is_refused(texts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TextClassifier().fit(texts, ["x", "y"])
    if message.startswith(("X ", r"\[", "df")):
        with pytest.raises(error, match=message):
            fitted().predict(texts)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        (["no", "yes"], "<U3"),
        ([-1, 7], np.int64),
        ([3, 200], np.uint8),
        ([False, True], np.bool_),
        ([0.0, 1.0], np.float64),
        (["no", "yes"], object),
    ],
)
def test_labels_keep_their_type(classes: list[Any], dtype: Any) -> None:
    labels = np.array([classes[label == "yes"] for label in LABELS], dtype)
    weights = {classes[0]: 1.0, classes[1]: 1.5}
    classifier = TextClassifier(batch_size=4, class_weight=weights).fit(TEXTS, labels)
    assert classifier.classes_.tolist() == classes
    found = classifier.predict(["so good", "so bad"])
    assert classifier.classes_.dtype == found.dtype == labels.dtype
    assert found.tolist() == classes[::-1]
    assert classifier.score(TEXTS, labels) == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x"] * 3, "2 classes, but y has 1 class: .*'x'"),
        ([0.5, 1.5, 2.5], "continuous"),
        ([[0, 1], [1, 2], [1, 1]], "y should be a 1d array"),
        (["x", "y", None], "y contains None or NaN"),
        (np.array(["x", "y", np.nan], object), "y contains None or NaN"),
        ([0.0, 1.0, float("nan")], "NaN"),
        (None, "requires y to be passed"),
    ],
)
def test_what_is_no_labels_is_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextClassifier().fit(["a", "b", "c"], labels)
    with pytest.raises(ValueError, match="0 classes"):
        TextClassifier().fit([], [])


def test_labels_that_training_never_saw_count_as_wrong() -> None:
    assert fitted().score(["so good", "so good"], ["yes", "perhaps"]) == 0.5


def test_no_texts_have_no_predictions() -> None:
    classifier = fitted()
    assert classifier.predict([]).shape == (0,)
    assert classifier.predict_proba([]).shape == (0, 2)


# --- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mode": "avg"}, "mode='avg': input should be 'mean'"),
        ({"tokenizer": "file"}, "tokenizer='file': give one of basic, basic_english"),
        ({"dim": 0}, "dim=0: input should be greater"),
        ({"epochs": "many"}, "epochs='many': input should be a valid integer"),
        ({"lr": np.float32(-1)}, "lr=-1.0: input should be greater than 0"),
        ({"dropout": 1.0}, "dropout=1.0: input should be less than 1"),
        ({"max_tokens": 0}, "max_tokens=0: "),
        (
            {"ngrams": 1, "buckets": 64},
            "^buckets is for n-grams: set ngrams=2 or more, or",
        ),
        ({"class_weight": "even"}, "class_weight"),
        ({"class_weight": {"yes": -1}}, "class_weight={'yes': -1}: give finite weights above 0"),
        ({"class_weight": {"yess": 2}}, "not in class_weight"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"min_freq": 1000}, "empty vocabulary: min_freq=1000 leaves no token"),
        ({"lr": 1e30}, r"training diverged: lower lr \(it is 1e\+30\)"),
        ({"lr": 1e30, "epochs": 1, "batch_size": 24}, "training diverged"),  # by its last step
    ],
)
def test_a_bad_parameter_is_named_when_fitting(parameters: dict[str, Any], message: str) -> None:
    estimator = plain(**parameters)
    with pytest.raises(ValueError, match=message):
        estimator.fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        estimator.predict(TEXTS)


def test_numbers_of_numpy_are_numbers() -> None:
    found = fitted(dim=np.int64(32), lr=np.float64(0.3), min_freq=np.uint8(1))
    np.testing.assert_array_equal(found.predict_proba(TEXTS), fitted().predict_proba(TEXTS))


def test_fitting_again_replaces() -> None:
    classifier = fitted()
    classifier.set_params(mode="max", dim=8).fit(["rain", "sun", "snow"], [1, 2, 3])
    assert classifier.classes_.tolist() == [1, 2, 3]
    assert classifier.classifier_.parts.model.embedding.embedding_dim == 8
    np.testing.assert_array_equal(
        classifier.predict_proba(["sun"]),
        clone(classifier).fit(["rain", "sun", "snow"], [1, 2, 3]).predict_proba(["sun"]),
    )


def test_the_random_state_decides(reviews: tuple[Texts, npt.NDArray[Any]]) -> None:
    def probabilities(random_state: Any) -> npt.NDArray[Any]:
        found = plain(random_state=random_state, epochs=1).fit(*reviews)
        return found.predict_proba(reviews[0][:50])

    first = probabilities(5)
    torch.manual_seed(1)
    np.testing.assert_array_equal(first, probabilities(5))
    assert not np.array_equal(first, probabilities(6))
    state = np.random.RandomState(5)
    np.testing.assert_array_equal(first, probabilities(state))
    assert not np.array_equal(first, probabilities(state))  # it has moved on
    np.random.seed(5)
    np.testing.assert_array_equal(first, probabilities(None))
    assert not np.array_equal(first, probabilities(None))
    # Not by the order of the texts alone: with hardly a step, weights are as they began.
    began = [
        fitted(random_state=seed, lr=1e-12).classifier_.parts.model.embedding.weight
        for seed in (5, 6)
    ]
    assert not torch.allclose(began[0], began[1], atol=1e-3)


# --- a guest in another's process --------------------------------------------------------------


def test_a_fit_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    threads, random_states = torch.get_num_threads(), (torch.get_rng_state(), np.random.get_state())
    torch.set_num_threads(2)
    try:
        fitted(dropout=0.5)
        with pytest.raises(ValueError, match="diverged"):
            fitted(lr=1e30)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), random_states[0])
    np.testing.assert_equal(np.random.get_state(), random_states[1])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_rng_state()
    monkeypatch.setattr(Listener, "step", lambda *_: signal.raise_signal(signal.SIGINT))
    # Python's own handler, even where the tests run in a shell's background, which ignores SIGINT.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fitted(dropout=0.5)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert torch.equal(torch.get_rng_state(), before)


def test_fits_in_threads_do_not_mix(reviews: tuple[Texts, npt.NDArray[Any]]) -> None:
    def probabilities(seed: int) -> npt.NDArray[Any]:
        found = plain(random_state=seed, epochs=2).fit(*reviews)
        return found.predict_proba(reviews[0][:50])

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(probabilities, range(4)))
    np.testing.assert_array_equal(together, [probabilities(seed) for seed in range(4)])


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "textcls.sklearn")
    with pytest.raises(ImportError, match=r"pip install 'textcls\[sklearn\]'"):
        importlib.import_module("textcls.sklearn")


# --- scikit-learn's own tools ------------------------------------------------------------------


class OfNumbers(TextClassifier):
    """Makes a word of each number in a table: scikit-learn's checks know no texts."""

    def _words(self, table: Any, reset: bool) -> Texts:
        if not reset:
            check_is_fitted(self)
        rows = validate_data(self, table, reset=reset)
        return [" ".join(f"x{j}is{100 + round(float(v))}" for j, v in enumerate(r)) for r in rows]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> OfNumbers:  # noqa: N803
        super().fit(self._words(X, True), y, sample_weight)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float32]:  # noqa: N803
        return super().predict_proba(self._words(X, False))

    def decision_function(self, X: Any) -> npt.NDArray[np.float32]:  # noqa: N803
        return super().decision_function(self._words(X, False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = False, True
        tags.input_tags.allow_nan = False
        return tags


NOT_PASSED = {
    # A row of weight 2 is not two rows: tokens are counted by rows, and batches are of rows.
    "check_sample_weight_equivalence_on_dense_data": "weights are proportions in the loss",
    "check_array_api_input": "is skipped where SCIPY_ARRAY_API is not set",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    "estimator",
    [TextClassifier(), pytest.param(OfNumbers(batch_size=32), marks=pytest.mark.slow)],
)
def test_scikit_learns_checks(estimator: TextClassifier) -> None:
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    not_passed = {r["check_name"]: r["exception"] for r in results if r["status"] != "passed"}
    assert not_passed.keys() <= NOT_PASSED.keys(), not_passed
    if isinstance(estimator, OfNumbers):
        assert len(results) > 40


def test_tags_say_what_is_taken() -> None:
    tags = TextClassifier().__sklearn_tags__()
    there = CountVectorizer().__sklearn_tags__()
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, False)
    assert (there.input_tags.string, there.input_tags.two_d_array) == (True, False)
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required
    assert tags.classifier_tags.multi_class
    assert tags.classifier_tags.multi_label


@pytest.mark.parametrize(
    "parameters",
    [
        PLAIN,
        {},
        {"tokenizer": "bpe"},
        {"tokenizer": "split", "ngrams": 2, "buckets": 64},
    ],
)
def test_pickled_and_back_it_predicts_the_same(parameters: dict[str, Any]) -> None:
    classifier = TextClassifier(**parameters).fit(TEXTS, LABELS)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(
        again.predict_proba(TEXTS), classifier.predict_proba(TEXTS), strict=True
    )
    assert again.get_params() == classifier.get_params()
    again.fit(TEXTS, LABELS)


def test_clone_and_set_params() -> None:
    classifier = fitted(class_weight={"yes": 2.0})
    copy = clone(classifier)
    assert copy.get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(TEXTS)
    assert copy.set_params(mode="sum").get_params()["mode"] == "sum"
    with pytest.raises(ValueError, match="Invalid parameter 'pooling'"):
        copy.set_params(pooling="sum")
    assert repr(TextClassifier("max", lr=0.5)) == "TextClassifier(lr=0.5, mode='max')"


@pytest.mark.slow
def test_a_search_in_two_processes_behind_a_pipeline(
    reviews: tuple[Texts, npt.NDArray[Any]],
) -> None:
    texts, labels = reviews
    pipeline = make_pipeline(FunctionTransformer(_without_exclamations), plain())
    grid = {"textclassifier__mode": ["mean", "sum", "max"], "textclassifier__dim": [16]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(texts, labels)
    assert len(search.cv_results_["params"]) == 3
    assert search.best_score_ > 0.65
    assert search.predict(texts[:3]).shape == (3,)
    # The processes train to what this one trains to.
    mean = pipeline.set_params(textclassifier__dim=16)
    here = cross_val_score(mean, texts, labels, cv=2)
    there = [search.cv_results_[f"split{i}_test_score"][0] for i in range(2)]
    assert here.tolist() == there


def _without_exclamations(texts: Texts) -> Texts:
    return [text.replace("!", "") for text in texts]


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_meta_estimators(reviews: tuple[Texts, npt.NDArray[Any]]) -> None:
    texts, labels = reviews
    calibrated = CalibratedClassifierCV(TextClassifier(), cv=2).fit(texts, labels)
    assert calibrated.score(texts, labels) > 0.8
    words = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
    voting = VotingClassifier(
        [("bags", TextClassifier("max")), ("words", words)], voting="soft"
    ).fit(texts, labels)
    assert voting.score(texts, labels) > 0.8
