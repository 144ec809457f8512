"""fastText from PyPI, its input prepared in Python by the tokenizer that textcls has, too.

With two threads its release 0.9.3 fills two tenths of the input matrix and leaves the rest as the
memory was (``Matrix::uniform`` cuts it into ten parts, one a thread). So accuracy is taken with
ten threads, and speed, which that hardly touches, with two.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.corpora import read
from benchmarks.peers import scores, timed

DIM, EPOCHS, BUCKET = 100, 5, 2_000_000  # its defaults
ACCURACY_THREADS = 10
# Seconds do not depend on it, and the smallest does not end in "Encountered NaN".
SPEED_LR = 0.1


def speed(
    train: str, test: str, work: str, ngrams: int, threads: int, seed: int, epochs: int = EPOCHS
) -> dict[str, Any]:
    """Prepare, train, predict, save: no accuracy. With ``epochs=0`` it only reads its file."""
    import fasttext

    times: dict[str, Any] = {"threads": threads}
    with timed(times, "import_seconds"):  # of torch, above all: not fastText's doing
        from torchtext.data.utils import get_tokenizer
    tokenize = get_tokenizer("basic_english")
    file = Path(work) / "train.txt"
    with timed(times, "prepare_seconds"):
        texts, labels = _shuffled(train)
        times["tokens"] = _write(file, map(tokenize, texts), labels, _numbers(labels))
        del texts
    _give_back_memory()
    with timed(times, "train_seconds"):
        model = fasttext.train_supervised(
            str(file), **training_settings(ngrams, seed), lr=SPEED_LR, epoch=epochs, thread=threads
        )
    if epochs:
        texts, _ = read(test)
        with timed(times, "predict_seconds"):
            predicted, _ = model.predict([" ".join(tokenize(text)) for text in texts])
        assert len(predicted) == len(texts)
        model.save_model(str(Path(work) / "model.bin"))
    return times


def accuracy(
    train: str, validation: str | None, test: str, work: str, ngrams: int,
    rates: list[float], seeds: list[int],
) -> dict[str, Any]:  # fmt: skip
    """Score every learning rate: once on the validation split, and with all seeds on test.

    Without a validation split a tenth of train is held out; test is always predicted by models
    of all of train.
    """
    from sklearn.model_selection import train_test_split
    from torchtext.data.utils import get_tokenizer

    tokenize = get_tokenizer("basic_english")
    texts, labels = _shuffled(train)
    names = _numbers(labels)
    tokens = [tokenize(text) for text in texts]
    whole, part = Path(work) / "whole.txt", Path(work) / "part.txt"
    _write(whole, tokens, labels, names)
    if validation is None:
        fewer, held_out, fewer_labels, held_out_labels = train_test_split(
            tokens, labels, test_size=0.1, random_state=0, stratify=labels
        )
        _write(part, fewer, fewer_labels, names)
    else:
        part = whole
        held_out_texts, held_out_labels = read(validation)
        held_out = [tokenize(text) for text in held_out_texts]
    texts, test_labels = read(test)
    test_tokens = [tokenize(text) for text in texts]

    def score(file: Path, lr: float, seed: int, rows: list[list[str]], labels: list[str]) -> Any:
        import fasttext

        try:
            model = fasttext.train_supervised(
                str(file),
                **training_settings(ngrams, seed),
                lr=lr,
                epoch=EPOCHS,
                thread=ACCURACY_THREADS,
            )
        except RuntimeError as error:  # "Encountered NaN."
            return {"error": str(error)}
        predicted, _ = model.predict([" ".join(row) for row in rows])
        # A label that train never had is never predicted.
        true = [names.get(label, -1) for label in labels]
        return scores(true, [int(found[0].removeprefix("__label__")) for found in predicted])

    return {
        "threads": ACCURACY_THREADS,
        "rates": {
            str(lr): {
                "validation": score(part, lr, seeds[0], held_out, held_out_labels),
                "test": [score(whole, lr, seed, test_tokens, test_labels) for seed in seeds],
            }
            for lr in rates
        },
    }


def autotune(
    train: str, validation: str, test: str, work: str, seconds: int, seed: int
) -> dict[str, Any]:
    """Search for so many seconds, then score the model that validated best, on test.

    Its own search begins anew each time: the seed orders what it tries.
    """
    import fasttext
    from torchtext.data.utils import get_tokenizer

    tokenize = get_tokenizer("basic_english")
    texts, labels = _shuffled(train)
    names = _numbers(labels)
    files = {}
    for split, (rows, of_rows) in {
        "train": (texts, labels),
        "validation": read(validation),
    }.items():
        files[split] = Path(work) / f"{split}.txt"
        _write(files[split], map(tokenize, rows), of_rows, names)
    times: dict[str, Any] = {"threads": ACCURACY_THREADS}
    with timed(times, "search_seconds"):  # with the last training, of the best
        model = fasttext.train_supervised(
            str(files["train"]),
            autotuneValidationFile=str(files["validation"]),
            autotuneDuration=seconds,
            thread=ACCURACY_THREADS,
            seed=seed,
            verbose=0,
        )
    texts, labels = read(test)
    predicted, _ = model.predict([" ".join(tokenize(text)) for text in texts])
    true = [names.get(label, -1) for label in labels]
    found = [int(one[0].removeprefix("__label__")) for one in predicted]
    chosen = model.f.getArgs()
    settings = {"lr": chosen.lr, "epoch": chosen.epoch, "dim": chosen.dim,
                "wordNgrams": chosen.wordNgrams, "minn": chosen.minn, "maxn": chosen.maxn,
                "bucket": chosen.bucket}  # fmt: skip
    return times | scores(true, found) | {"settings": settings}


def train_file(
    train: str, work: Path, tokenize: Callable[[str], list[str]]
) -> tuple[Path, dict[str, int]]:
    """Write a file that fastText trains on, its rows shuffled; return it, and its label numbers."""
    texts, labels = _shuffled(train)
    file, names = work / "train.txt", _numbers(labels)
    _write(file, map(tokenize, texts), labels, names)
    return file, names


def training_settings(ngrams: int, seed: int) -> dict[str, Any]:
    """Return what all its trainings have in common."""
    bucket = BUCKET if ngrams > 1 else 0
    return {"dim": DIM, "wordNgrams": ngrams, "bucket": bucket, "seed": seed, "verbose": 0}


def _give_back_memory() -> None:
    """Return what Python has freed to the kernel, so that fastText's matrix begins as zeros."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _shuffled(file: str) -> tuple[list[str], list[str]]:
    # It trains in the order of its input, and a corpus may be sorted by label.
    rows = list(zip(*read(file), strict=True))
    random.Random(0).shuffle(rows)
    return [text for text, _ in rows], [label for _, label in rows]


def _numbers(labels: list[str]) -> dict[str, int]:
    # Numbers instead of names: a name may hold spaces.
    return {label: i for i, label in enumerate(sorted(set(labels)))}


def _write(file: Path, rows: Iterable[list[str]], labels: list[str], names: dict[str, int]) -> int:
    """Write fastText's input; return the number of tokens."""
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for row, label in zip(rows, labels, strict=True):
            out.write(f"__label__{names[label]} {' '.join(row)}\n")
            count += len(row)
    return count
