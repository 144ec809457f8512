"""fastText with words, pairs and character n-grams, its texts split by ``basic_english``.

Ten threads, since its release 0.9.3 fills only as many tenths of its matrix as it has threads; but
on one core, so that a second is a second of one core for all systems.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.data import Splits, Texts
from benchmarks.accuracy.linear import Settings
from benchmarks.accuracy.scores import Floats
from benchmarks.peers.fast_text import ACCURACY_THREADS, DIM

# Rows of the table of pairs and character n-grams: its default of 2 million is filled with random
# numbers before each training, which takes longer than most of these trainings.
BUCKET = 500_000
ATTEMPTS = 3  # now and then it stops with "Encountered NaN"


@dataclass(frozen=True)
class Tokenized:
    """Training texts in its format.

    Attributes:
        file: a line for each text, in random order.
        folder: is removed with this.
        classes: how many there are.
        spaced: whether words are separated by blanks.
    """

    file: Path
    folder: tempfile.TemporaryDirectory[str]
    classes: int
    spaced: bool

    def transform(self, texts: list[str]) -> list[str]:
        """Return texts as tokens, joined by blanks."""
        tokenize = _tokenizer()
        return [" ".join(tokenize(text)) for text in texts]


@dataclass(frozen=True)
class FastText:
    """A fitted model."""

    model: Any
    classes: int
    probabilistic: bool = True

    def score(self, texts: list[str]) -> Floats:
        """Return probabilities ``[num_texts, num_classes]``."""
        names, values = self.model.predict(texts, k=-1)
        found = np.zeros((len(texts), self.classes))
        for row, (labels, probabilities) in enumerate(zip(names, values, strict=True)):
            numbers = [int(label.removeprefix("__label__")) for label in labels]
            found[row, numbers] = probabilities
        # It gives none to a text without a known token, and adds 0.00001 to each.
        found[found.sum(1) == 0] = 1
        return np.asarray(found / found.sum(1, keepdims=True))

    def size(self) -> int:
        """Return the bytes of its file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.bin"
            self.model.save_model(str(path))
            return path.stat().st_size


def tokenized(texts: Texts, splits: Splits) -> Tokenized:
    """Write the training file."""
    folder = tempfile.TemporaryDirectory()
    file, tokenize = Path(folder.name) / "train.txt", _tokenizer()
    order = np.random.default_rng(0).permutation(len(texts.texts))
    with file.open("w", encoding="utf-8") as out:
        out.writelines(
            f"__label__{texts.labels[i]} {' '.join(tokenize(texts.texts[i]))}\n" for i in order
        )
    return Tokenized(file, folder, splits.classes, splits.spaced)


def fit(tokenized: Tokenized, settings: Settings, seed: int) -> FastText:
    """Train; ``characters`` in the settings switches its character n-grams on."""
    import fasttext

    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lengths = ((2, 5) if tokenized.spaced else (1, 4)) if settings["characters"] else (0, 0)
    for attempt in range(ATTEMPTS):
        try:
            model = fasttext.train_supervised(
                str(tokenized.file), lr=settings["lr"], epoch=settings["epochs"], dim=DIM,
                wordNgrams=settings["words"], minn=lengths[0], maxn=lengths[1],
                bucket=BUCKET if settings["words"] > 1 or lengths[1] else 0,
                seed=seed, thread=ACCURACY_THREADS, verbose=0,
            )  # fmt: skip
            return FastText(model, tokenized.classes)
        except RuntimeError:  # "Encountered NaN."
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError


def _tokenizer() -> Any:
    from torchtext.data.utils import get_tokenizer

    return get_tokenizer("basic_english")
