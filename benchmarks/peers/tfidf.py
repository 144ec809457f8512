"""scikit-learn: TF-IDF of uni- and bigrams with a linear classifier."""

from __future__ import annotations

from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from benchmarks.corpora import read
from benchmarks.peers import scores, timed


def fit(train: str, test: str, classifier: str) -> dict[str, Any]:
    """Vectorize (its preparation), fit, and label raw texts."""
    times: dict[str, Any] = {}
    with timed(times, "prepare_seconds"):
        texts, labels = read(train)
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        features = vectorizer.fit_transform(texts)
    model = LinearSVC(random_state=0) if classifier == "svc" else LogisticRegression()
    with timed(times, "train_seconds"):
        model.fit(features, labels)
    texts, labels = read(test)
    with timed(times, "predict_seconds"):
        predicted = model.predict(vectorizer.transform(texts))
    return times | scores(labels, predicted.tolist())
