"""What each part of the defaults buys: ``python -m benchmarks.accuracy.ablation [--sets cr,trec]``.

Each row of the table changes one setting of :class:`textcls.sklearn.TextClassifier`. Accuracies are
of a five-fold cross-validation on the rows of train and validation, the same folds for all rows:
test splits of some hundred rows say little about differences of a point.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from benchmarks.accuracy import fast_text
from benchmarks.accuracy.data import Splits, Texts, read
from benchmarks.accuracy.settings import DATA_SETS
from benchmarks.corpora import PROJECT
from benchmarks.figures import table
from textcls.sklearn import TextClassifier

FOLDS = 5
SEED = 1
# As experiment=plain: the mean over words.
PLAIN: dict[str, Any] = {
    "mode": "mean", "tokenizer": "basic_english", "ngrams": 1, "char_ngrams": None, "counts": None,
    "token_weights": None, "dim": 32, "dropout": 0.5, "lr": 0.3, "initial_accumulator_value": 0.0,
    "epochs": 5, "batch_size": 256, "label_smoothing": 0.0,
}  # fmt: skip
# The parts that are left out or replaced, one at a time.
CHANGES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "vectors of 16 numbers": {"dim": 16},
    "words only": {"ngrams": 1},
    "no character n-grams": {"char_ngrams": None},
    "all character n-grams weigh alike": {"char_token_weights": None},
    "words and n-grams weigh alike": {"token_weights": None},
    "idf": {"token_weights": "idf", "counts": "log"},
    "idf × log-count ratio": {"token_weights": "idf_log_count_ratio", "counts": "binary"},
    "mean pooling": {"mode": "mean", "dim": "classes"},
    "accumulator from 0": {"initial_accumulator_value": 0.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "batches of 256": {"batch_size": 256},
    "a plain bag of words": PLAIN,
}
PEER, FAST_TEXT = "TF-IDF(1,2; char) + SVC", "fastText, pairs and character n-grams"


def peer(spaced: bool) -> Any:
    """Return the strongest linear peer, which chooses its C on three folds of what it is given."""
    characters: dict[str, Any] = (
        {"analyzer": "char_wb", "ngram_range": (2, 5)}
        if spaced
        else {"analyzer": "char", "ngram_range": (1, 5)}
    )
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(min_df=2, sublinear_tf=True, **characters),
    )
    return make_pipeline(features, GridSearchCV(LinearSVC(), {"C": [0.1, 0.3, 1, 3]}, cv=3))


class FastText(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """fastText with the settings that suit most small corpora; see :mod:`.fast_text`."""

    settings: ClassVar = {"lr": 0.5, "epochs": 15, "words": 2, "characters": True}

    def __init__(self, splits: Splits) -> None:
        self.splits = splits

    def fit(self, texts: Any, labels: Any) -> FastText:
        """Train on strings and numbers of classes."""
        self.features_ = fast_text.tokenized(Texts(list(texts), labels), self.splits)
        self.model_ = fast_text.fit(self.features_, self.settings, SEED)
        return self

    def predict(self, texts: Any) -> Any:
        """Return numbers of classes."""
        return self.model_.score(self.features_.transform(list(texts))).argmax(1)


def measure(splits: Splits, classifiers: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Return accuracy and macro F1 of each classifier on each fold."""
    rows = splits.train + splits.validation
    texts, labels = np.array(rows.texts, object), rows.labels
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in classifiers}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for train, held in folds.split(texts, labels):
        for name, classifier in classifiers.items():
            fitted = clone(classifier, safe=False).fit(texts[train], labels[train])
            predicted = fitted.predict(texts[held])
            found[name].append((
                float((predicted == labels[held]).mean()),
                float(f1_score(labels[held], predicted, average="macro")),
            ))  # fmt: skip
    return found


def main() -> None:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--sets", default="cr,emotion,trec,germeval2018_coarse,jrte_pn")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # of classes with less than five rows
    columns = []
    for name in options.sets.split(","):
        one = DATA_SETS[name]
        splits = read(one.files(options.data / name), one.spaced)
        classifiers: dict[str, Any] = {
            label: TextClassifier(random_state=SEED, **change) for label, change in CHANGES.items()
        }
        peers = {PEER: peer(one.spaced), FAST_TEXT: FastText(splits)}
        columns.append(measure(splits, classifiers | peers))
        print(f"{name}: measured", flush=True)
    rows = [(label, *(_text(column[label]) for column in columns)) for label in columns[0]]
    titles = [DATA_SETS[name].title for name in options.sets.split(",")]
    print(table(("setting", *titles), rows))


def _text(figures: list[tuple[float, float]]) -> str:
    """Return the mean accuracy with its standard error over the folds, and the mean macro F1."""
    accuracy, macro_f1 = 100 * np.array(figures).T
    error = accuracy.std(ddof=1) / len(accuracy) ** 0.5
    return f"{accuracy.mean():.1f} ± {error:.1f} / {macro_f1.mean():.1f}"


if __name__ == "__main__":
    main()
