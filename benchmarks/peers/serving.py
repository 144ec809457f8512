"""Models at work: many raw texts at once, and one at a time, tokenizing included."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import read
from benchmarks.peers import timed

# One text at a time: so many of the test split, each once, after so many that warm up.
LATENCY_TEXTS, WARM_UP = 2_000, 200
# The file that the command line labels.
SHORT_ROW = "item {} was rather good, and warm"


def textcls(run: str, test: str) -> dict[str, Any]:
    """``Classifier``, with one torch thread."""
    import torch

    from textcls import Classifier

    torch.set_num_threads(1)
    times: dict[str, Any] = {}
    with timed(times, "load_seconds"):
        classifier = Classifier.load(run, "cpu")
    return times | _measured(classifier.predict, lambda text: classifier.predict([text]), test)


def numpy_predictor(folder: str, test: str) -> dict[str, Any]:
    """What ``textcls export --to numpy`` writes, imported as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("predict", Path(folder) / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    times: dict[str, Any] = {}
    with timed(times, "load_seconds"):
        predictor = module.Predictor(folder)
    return times | _measured(predictor.predict, lambda text: predictor.predict([text]), test)


def fasttext(train: str, test: str, work: str, tokenizer: str) -> dict[str, Any]:
    """fastText, its texts by torchtext's tokenizer, or merely split at spaces."""
    import fasttext

    from benchmarks.peers.fast_text import train_file

    if tokenizer == "basic_english":
        from torchtext.data.utils import get_tokenizer

        tokenize = get_tokenizer("basic_english")
    else:
        tokenize = str.split
    file, _ = train_file(train, Path(work), tokenize)
    trained = fasttext.train_supervised(str(file), dim=100, epoch=1, thread=2, verbose=0)
    path = str(Path(work) / "model.bin")
    trained.save_model(path)
    times: dict[str, Any] = {}
    with timed(times, "load_seconds"):
        model = fasttext.load_model(path)

    def all_at_once(texts: list[str]) -> Any:
        return model.predict([" ".join(tokenize(text)) for text in texts])

    def one(text: str) -> Any:  # as model.predict does, which breaks on NumPy 2 for a single text
        return model.f.predict(" ".join(tokenize(text)) + "\n", 1, 0.0, "strict")

    return times | _measured(all_at_once, one, test)


def tfidf(train: str, test: str) -> dict[str, Any]:
    """scikit-learn: TF-IDF of uni- and bigrams with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = read(train)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    # How well it is trained changes nothing about its speed.
    model = make_pipeline(vectorizer, LogisticRegression(max_iter=10))
    model.fit(texts, labels)
    return _measured(model.predict, lambda text: model.predict([text]), test)


def _measured(
    all_at_once: Callable[[list[str]], Any], one: Callable[[str], Any], test: str
) -> dict[str, Any]:
    texts, _ = read(test)
    times: dict[str, Any] = {"rows": len(texts)}
    all_at_once(texts[:100])  # loads what is imported late
    with timed(times, "predict_seconds"):
        all_at_once(texts)
    seconds = []
    for text in texts[: WARM_UP + LATENCY_TEXTS]:
        began = time.perf_counter()
        one(text)
        seconds.append(time.perf_counter() - began)
    p50, p99 = np.quantile(seconds[WARM_UP:], [0.5, 0.99])
    return times | {"p50_seconds": float(p50), "p99_seconds": float(p99)}


def short_rows(target: str, rows: int) -> dict[str, Any]:
    """Write so many short texts, a line each."""
    with Path(target).open("w", encoding="utf-8") as file:
        file.writelines(f"{SHORT_ROW.format(i % 1_000)}\n" for i in range(rows))
    return {"rows": rows, "bytes": Path(target).stat().st_size}
