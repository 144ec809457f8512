"""Linear models of scikit-learn over TF-IDF, binary counts or pretrained static vectors."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from benchmarks.accuracy.data import Int64, Splits, Texts
from benchmarks.accuracy.scores import Floats

Settings = dict[str, Any]
Fit = Callable[[Any, Any], tuple[Floats, float]]

# Words and punctuation marks, as NB-SVM's authors have them.
WORD_OR_MARK = r"\w+|[^\w\s]"
# More weights than these are fitted class by class: L-BFGS takes seconds a step.
MOST_WEIGHTS = 10_000_000


@dataclass(frozen=True)
class Features:
    """What is made of the training texts before anything is tuned.

    Attributes:
        vectorizer: turns texts into vectors.
        vectors: ``[num_texts, num_features]``, of the training texts.
        labels: int64 ``[num_texts]``.
        classes: how many there are.
    """

    vectorizer: Any
    vectors: Any
    labels: Int64
    classes: int

    def transform(self, texts: list[str]) -> Any:
        """Return the vectors of other texts."""
        return self.vectorizer.transform(texts)


@dataclass(frozen=True)
class Linear:
    """A fitted model.

    Attributes:
        vectorizer: of its features.
        model: what is kept to use it.
        score: from vectors to ``[num_texts, num_classes]``.
        probabilistic: whether these scores are probabilities.
    """

    vectorizer: Any
    model: Any
    score: Callable[[Any], Floats]
    probabilistic: bool

    def size(self) -> int:
        """Return the bytes of all that is needed to label a text, pickled."""
        return sum(len(pickle.dumps(part)) for part in (self.vectorizer, self.model))


def words(texts: Texts, splits: Splits) -> Features:
    """TF-IDF of words, all as scikit-learn has it."""
    return _fitted(TfidfVectorizer(), texts, splits)


def words_and_pairs(texts: Texts, splits: Splits) -> Features:
    """TF-IDF of words and word pairs, 1 + log(count)."""
    return _fitted(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), texts, splits)


def words_and_characters(texts: Texts, splits: Splits) -> Features:
    """As ``words_and_pairs``, and of 2 to 5 characters within words; of 1 to 5 without words."""
    characters: Settings = (
        {"analyzer": "char_wb", "ngram_range": (2, 5)}
        if splits.spaced
        else {"analyzer": "char", "ngram_range": (1, 5)}
    )
    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(min_df=2, sublinear_tf=True, **characters),
    )
    return _fitted(union, texts, splits)


def binary(texts: Texts, splits: Splits) -> Features:
    """Which words, punctuation marks and pairs of these occur."""
    vectorizer = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=WORD_OR_MARK)
    return _fitted(vectorizer, texts, splits)


def vectors(texts: Texts, splits: Splits) -> Features:
    """The mean of a text's static vectors, standardized."""
    return _fitted(make_pipeline(StaticVectors(), StandardScaler()), texts, splits)


class StaticVectors:
    """The vectors that the package wordllama comes with: 32,000 × 256, by tokens of LLaMA 2."""

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        model, file = static_files()
        (self.table,) = load_file(model).values()
        self.tokenizer = Tokenizer.from_file(str(file))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def fit(self, texts: list[str], labels: Any = None) -> StaticVectors:
        """Learn nothing."""
        return self

    def transform(self, texts: list[str]) -> Floats:
        """Return float32 ``[num_texts, 256]``; an empty text is at 0."""
        table = self.table.astype(np.float32)
        found = np.zeros((len(texts), table.shape[1]), np.float32)
        for row, text in enumerate(texts):
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            if ids:
                found[row] = table[ids].mean(0)
        return found


def package_folder(name: str) -> Path:
    """Return where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install {name.replace('_', '-')}")
    return Path(spec.origin).parent


def static_files() -> tuple[Path, Path]:
    """Return the table and the tokenizer of the package wordllama."""
    package = package_folder("wordllama")
    return (
        package / "weights" / "l2_supercat_256.safetensors",
        package / "tokenizers" / "l2_supercat_tokenizer_config.json",
    )


def _fitted(vectorizer: Any, texts: Texts, splits: Splits) -> Features:
    made = vectorizer.fit_transform(texts.texts)
    return Features(vectorizer, made, texts.labels, splits.classes)


def support_vectors(features: Features, settings: Settings, seed: int) -> Linear:
    """Fit linear SVMs, one against the rest."""
    model = LinearSVC(C=settings["C"], random_state=seed)
    model.fit(features.vectors, features.labels)

    def score(vectors: Any) -> Floats:
        return _for_all_classes(model.decision_function(vectors), model.classes_, features.classes)

    return Linear(features.vectorizer, model, score, probabilistic=False)


def logistic(features: Features, settings: Settings, seed: int) -> Linear:
    """Fit logistic regression: the softmax by L-BFGS, or liblinear, one against the rest.

    The latter for two classes, and where L-BFGS would take hours.
    """
    if features.classes == 2 or features.classes * features.vectors.shape[1] > MOST_WEIGHTS:
        return _one_against_rest(features, _liblinear(settings, seed), probabilistic=True)
    model = LogisticRegression(C=settings["C"], max_iter=200, random_state=seed)
    model.fit(features.vectors, features.labels)

    def score(vectors: Any) -> Floats:
        found = np.zeros((vectors.shape[0], features.classes))
        found[:, model.classes_] = model.predict_proba(vectors)
        return found

    return Linear(features.vectorizer, model, score, probabilistic=True)


def naive_bayes_svm(features: Features, settings: Settings, seed: int) -> Linear:
    """Fit an SVM over log-count ratios (Wang and Manning, 2012), one against the rest.

    ``beta`` says how much of a weight is its own; the rest is the mean size of all, and of the
    bias as much is naive Bayes's: this size times the log odds of the class.
    """
    beta = settings["beta"]

    def fit(vectors: Any, labels: Any) -> tuple[Floats, float]:
        model = LinearSVC(C=settings["C"], random_state=seed).fit(vectors, labels)
        weights, bias = model.coef_[0], model.intercept_[0]
        size, odds = np.abs(weights).mean(), np.log(labels.sum() / (~labels).sum())
        return (
            beta * weights + (1 - beta) * size,
            float(beta * bias + (1 - beta) * size * odds),
        )

    return _one_against_rest(features, fit, probabilistic=False, ratios=True)


def naive_bayes_logistic(features: Features, settings: Settings, seed: int) -> Linear:
    """Fit logistic regression over log-count ratios (Mesnil et al., 2015), one against the rest."""
    fit = _liblinear(settings, seed)
    return _one_against_rest(features, fit, probabilistic=True, ratios=True)


def _liblinear(settings: Settings, seed: int) -> Fit:
    def fit(vectors: Any, labels: Any) -> tuple[Floats, float]:
        model = LogisticRegression(C=settings["C"], solver="liblinear", random_state=seed)
        model.fit(vectors, labels)
        return model.coef_[0], float(model.intercept_[0])

    return fit


def _one_against_rest(
    features: Features, fit: Fit, probabilistic: bool, ratios: bool = False
) -> Linear:
    """Fit a binary model for each class; of two classes, for one.

    Args:
        features: of the training texts.
        fit: from vectors and bool labels to weights ``[num_features]`` and a bias.
        probabilistic: whether the logistic function makes probabilities of the scores.
        ratios: whether to multiply the vectors by the log-count ratios of the class first: of each
            feature log((1 + n₊)/‖1 + n₊‖₁) less the same of the rest, with n₊ how many texts of
            the class have it.
    """
    vectors = features.vectors
    columns = range(features.classes) if features.classes > 2 else (1,)
    weights, biases = [], []
    for column in columns:
        inside = features.labels == column
        ratio = _ratio(vectors, inside) if ratios else np.ones(vectors.shape[1])
        found, bias = fit(vectors @ sp.diags(ratio) if ratios else vectors, inside)
        weights.append((found * ratio).astype(np.float32))
        biases.append(bias)
    table, intercept = np.stack(weights, 1), np.array(biases)

    def score(vectors: Any) -> Floats:
        found = vectors @ table + intercept
        if features.classes == 2:
            found = np.hstack([-found, found])
        if probabilistic:
            found = 1 / (1 + np.exp(-found))
            found /= found.sum(1, keepdims=True)
        return np.asarray(found)

    return Linear(features.vectorizer, (table, intercept), score, probabilistic)


def _ratio(vectors: Any, inside: Any) -> Floats:
    logs = []
    for rows in (inside, ~inside):
        smooth = 1 + np.asarray(vectors[rows].sum(0), np.float64).ravel()
        logs.append(np.log(smooth / smooth.sum()))
    return np.asarray(logs[0] - logs[1])


def _for_all_classes(margins: Floats, present: Int64, classes: int) -> Floats:
    """Return margins ``[num_texts, num_classes]``; of two classes scikit-learn gives one column."""
    if margins.ndim == 1:
        margins = np.stack([-margins, margins], 1)
    found = np.full((len(margins), classes), -np.inf)
    found[:, present] = margins
    return found
