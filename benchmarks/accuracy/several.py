"""Several labels a text: ``python -m benchmarks.accuracy.several [--sets cooking,…] [--seeds 3]``.

textcls by default, beside a linear SVM for each label over TF-IDF, of words and pairs and of these
and character n-grams, and fastText with one sigmoid for each label (``loss=ova``) over words and
pairs. All have the same rows. Peers choose their settings by the ranking precision (LRAP) on
validation and are fitted again on train and validation; thresholds of all are those of the best F1
on validation, of the models that had not learned from it. Scores are of the test split.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC
from torch import Tensor

from benchmarks.accuracy.settings import MULTI_LABEL
from benchmarks.corpora import PROJECT
from benchmarks.figures import in_percent, table
from benchmarks.peers.fast_text import ACCURACY_THREADS
from benchmarks.peers.ours import configure
from textcls.corpus.corpus import Source
from textcls.corpus.splits import RowLabels, Split
from textcls.data.targets import Targets
from textcls.run import start
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.scores import Scores

METRICS = {
    "precision_at_1": "P@1", "recall_at_1": "R@1", "precision_at_5": "P@5", "recall_at_5": "R@5",
    "lrap": "LRAP", "micro_f1": "micro F1", "macro_f1": "macro F1",
}  # fmt: skip


class Rows(NamedTuple):
    """Texts and their labels."""

    texts: list[str]
    labels: RowLabels

    @property
    def targets(self) -> Targets:
        """The labels as tensors."""
        return Targets.of(self.labels)


# From texts and labels to a function that gives class scores, float32 [num_texts, num_classes].
Score = Callable[[list[str]], Tensor]
Fit = Callable[[Rows, int], Score]


def svm(characters: bool, c: float) -> Fit:
    """Return what fits a linear SVM for each label."""

    def fit(rows: Rows, num_classes: int) -> Score:
        features = [TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)]
        if characters:
            features.append(
                TfidfVectorizer(min_df=2, sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5))
            )
        model = make_pipeline(make_union(*features), OneVsRestClassifier(LinearSVC(C=c)))
        wanted = rows.targets.dense(num_classes).numpy()
        there = np.flatnonzero(wanted.any(0))  # of the others there is nothing to learn
        model.fit(rows.texts, wanted[:, there])

        def score(texts: list[str]) -> Tensor:
            scores = np.full((len(texts), num_classes), -100, np.float32)
            scores[:, there] = model.decision_function(texts)
            return torch.from_numpy(scores)

        return score

    return fit


def fast_text(lr: float, epochs: int) -> Fit:
    """Return what fits fastText with a sigmoid for each label, over words and pairs."""

    def fit(rows: Rows, num_classes: int) -> Score:
        import fasttext

        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            for text, labels in zip(_tokenized(rows.texts), rows.labels.lists(), strict=True):
                names = " ".join(f"__label__{label}" for label in labels)
                file.write(f"{names} {text}\n")
            file.flush()
            model = fasttext.train_supervised(
                file.name, loss="ova", lr=lr, epoch=epochs, wordNgrams=2, dim=100, bucket=500_000,
                thread=ACCURACY_THREADS, verbose=0,
            )  # fmt: skip

        def score(texts: list[str]) -> Tensor:
            found = torch.zeros(len(texts), num_classes)
            names, values = model.predict(_tokenized(texts), k=-1)
            for row, (labels, numbers) in enumerate(zip(names, values, strict=True)):
                ids = [int(label.removeprefix("__label__")) for label in labels]
                found[row, ids] = torch.tensor(numbers, dtype=torch.float32)
            return found.clamp(1e-6, 1 - 1e-6).logit()

        return score

    return fit


def _tokenized(texts: list[str]) -> list[str]:
    from torchtext.data.utils import get_tokenizer

    tokenize = get_tokenizer("basic_english")
    return [" ".join(tokenize(text)) for text in texts]


PEERS: dict[str, list[Fit]] = {
    "TF-IDF(1,2) + SVC": [svm(False, c) for c in (0.1, 0.3, 1.0)],
    "TF-IDF(1,2; char) + SVC": [svm(True, c) for c in (0.1, 0.3, 1.0)],
    "fastText, one against all": [
        fast_text(lr, epochs) for lr in (0.1, 0.5) for epochs in (10, 25)
    ],
}


def _metrics(task: Task, scores: Tensor, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
    return task.assess(Scores.of(scores), rows.targets, names).metrics


def measure_peers(source: Source) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """Yield the scores of each peer on the test split of a data set."""
    corpus = source.read()
    names = corpus.label_names
    parts = {split: _rows(part) for split, part in corpus.splits.items()}
    train, held, test = (parts[split] for split in ("train", "validation", "test"))
    whole = Rows(train.texts + held.texts, RowLabels.concatenate([train.labels, held.labels]))
    for name, ways in PEERS.items():
        on_held = [fit(train, len(names))(held.texts) for fit in ways]
        found = [_metrics(MultiLabel(), scores, held, names)["lrap"] for scores in on_held]
        best = int(np.argmax(found))
        task = MultiLabel().fitted(on_held[best], held.targets)
        scores = ways[best](whole, len(names))(test.texts)
        yield name, [_metrics(task, scores, test, names)]


def _rows(split: Split) -> Rows:
    return Rows([text or "" for text in split.texts.to_pylist()], split.labels)


def main() -> None:
    """Parse the command line, measure, print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--sets", default=",".join(MULTI_LABEL))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # of labels that every row has, or none
    torch.set_num_threads(1)
    for name in options.sets.split(","):
        files = {path.stem: path for path in sorted((options.data / name).iterdir())}
        given = [f"data.{split}={path}" for split, path in files.items()]
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for seed in range(1, options.seeds + 1):
                config = configure([
                    "data=local", *given, f"seed={seed}", f"cache_dir={folder}/cache",
                ])  # fmt: skip
                with contextlib.redirect_stdout(io.StringIO()):
                    found.append(start(config, Path(folder, f"seed={seed}"))["test"])
        systems = [("textcls", found)]
        if options.peers:
            systems += measure_peers(Source(config.data))
        for system, figures in systems:
            cells = (in_percent([figure[metric] for figure in figures]) for metric in METRICS)
            rows.append((system, *cells))
        print(f"\n{name}\n\n{table(('', *METRICS.values()), rows)}", flush=True)


if __name__ == "__main__":
    main()
