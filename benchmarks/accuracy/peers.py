"""Fit peers in a process of their own: ``python -m benchmarks.accuracy.peers ARGUMENTS``.

Each is tuned on the validation split, then fitted once more on train and validation together.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy import fast_text, linear
from benchmarks.accuracy.data import Splits, read
from benchmarks.accuracy.linear import Settings
from benchmarks.accuracy.scores import predictions_of, score, write


@dataclass(frozen=True)
class Peer:
    """How a peer is trained.

    Attributes:
        prepare: makes features of training texts.
        fit: trains on these, with settings and a seed.
        grid: the settings to try.
        few: those to try on large data sets.
    """

    prepare: Callable[[Any, Splits], Any]
    fit: Callable[[Any, Settings, int], Any]
    grid: list[Settings]
    few: list[Settings]


def _rates(*values: float) -> list[Settings]:
    return [{"C": value} for value in values]


def _fast(lr: float, epochs: int, words: int, characters: bool) -> Settings:
    return {"lr": lr, "epochs": epochs, "words": words, "characters": characters}


SVC, LR = _rates(0.1, 0.3, 1, 3), _rates(1, 3, 10, 30)
NB_SVM = [{"C": c, "beta": beta} for beta in (0.25, 1) for c in (0.01, 0.1, 1)]
FEW_NB_SVM = [{"C": c, "beta": 0.25} for c in (0.1, 1)] + [{"C": 1, "beta": 1}]
FAST_TEXT = [
    _fast(0.1, 5, 1, False), _fast(0.5, 5, 2, False), _fast(0.5, 15, 1, False),
    _fast(0.5, 15, 2, False), _fast(1.0, 25, 2, False), _fast(0.25, 15, 1, True),
    _fast(0.5, 15, 2, True), _fast(0.5, 25, 1, True), _fast(1.0, 25, 2, True),
    _fast(0.1, 15, 2, True),
]  # fmt: skip
FEW_FAST_TEXT = [
    _fast(0.25, 5, 1, False), _fast(0.25, 5, 2, False), _fast(0.5, 5, 2, False),
    _fast(0.5, 10, 2, False), _fast(0.25, 5, 2, True), _fast(0.5, 15, 1, True),
]  # fmt: skip
PEERS = {
    "tfidf-lr": Peer(linear.words, linear.logistic, LR, LR),
    "tfidf2-svc": Peer(linear.words_and_pairs, linear.support_vectors, SVC, SVC),
    "nb-svm": Peer(linear.binary, linear.naive_bayes_svm, NB_SVM, FEW_NB_SVM),
    "nb-lr": Peer(linear.binary, linear.naive_bayes_logistic, _rates(0.1, 1, 10), _rates(0.1, 1)),
    "vectors-lr": Peer(
        linear.vectors, linear.logistic, _rates(0.003, 0.03, 0.3, 3), _rates(0.003, 0.03, 0.3)
    ),
    "fasttext": Peer(fast_text.tokenized, fast_text.fit, FAST_TEXT, FEW_FAST_TEXT),
    "char-lr": Peer(linear.words_and_characters, linear.logistic, LR, _rates(10, 30)),
    "char-svc": Peer(linear.words_and_characters, linear.support_vectors, SVC, _rates(0.3, 1)),
}


def run(
    names: list[str], files: dict[str, str], spaced: bool, large: bool,
    seeds: dict[str, list[int]], predictions: str,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Tune peers of the same features, and score them on test with each seed.

    Args:
        names: of the peers.
        files: the path of each split.
        spaced: whether words are separated by blanks.
        large: whether to try fewer settings.
        seeds: of each peer; it is tuned with the first.
        predictions: the folder for the test predictions.

    Yields:
        For each peer and seed its figures; seconds are those of the processor.
    """
    splits = read(files, spaced, large)
    prepare = PEERS[names[0]].prepare
    assert all(PEERS[name].prepare is prepare for name in names)

    with Clock() as preparing:
        features = prepare(splits.train, splits)
        held_out = features.transform(splits.validation.texts)
    tuned = {}
    for name in names:
        with Clock() as searching:
            found = _tune(PEERS[name], features, held_out, splits, seeds[name][0])
        tuned[name] = found | {"search_seconds": preparing.seconds + searching.seconds}
    del features, held_out

    with Clock() as preparing:
        features = prepare(splits.train + splits.validation, splits)
    test = features.transform(splits.test.texts)
    for name in names:
        for seed in seeds[name]:
            with Clock() as fitting:
                fitted = PEERS[name].fit(features, tuned[name]["settings"], seed)
            kept = predictions_of(fitted.score(test), splits.test.labels, fitted.probabilistic)
            write(Path(predictions) / f"{name}-{seed}.safetensors", kept)
            yield {"system": name, "seed": seed, **tuned[name], "test": score(kept),
                   "train_seconds": preparing.seconds + fitting.seconds,
                   "bytes": fitted.size()}  # fmt: skip


def _tune(peer: Peer, features: Any, held_out: Any, splits: Splits, seed: int) -> dict[str, Any]:
    """Return the settings of the best accuracy on validation; the first of equals."""
    tried = []
    for settings in peer.few if splits.large else peer.grid:
        fitted = peer.fit(features, settings, seed)
        labels = splits.validation.labels
        kept = predictions_of(fitted.score(held_out), labels, fitted.probabilistic)
        tried.append({"settings": settings, "validation": score(kept)})
    return max(tried, key=lambda one: one["validation"]["accuracy"]) | {"tried": tried}


class Clock:
    """The seconds that all threads of this process took together on a processor."""

    seconds = 0.0

    def __enter__(self) -> Clock:
        self._began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self._began


if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # LinearSVC stops after its default of 1,000 iterations
    print(json.dumps(list(run(**json.loads(sys.argv[1])))))
