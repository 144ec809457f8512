"""Very many classes beside fastText's hierarchical softmax: ``python -m benchmarks.accuracy.many``.

No public corpus at hand has 100,000 classes of a few texts, so this one is made: each class has
eight words of its own, drawn from 200,000 words of Zipf's frequencies, and a text has twelve words,
half of them of its class. Classes are about as frequent as one over the root of their rank.

Each training is a process of its own on one core, one thread for textcls, ten for fastText (of
which release 0.9.3 needs ten to fill its matrix). fastText's learning rate and epochs are the best
by a validation file; textcls chooses its own, but for words alone: these words have no parts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figures import in_percent, table

WORDS, OWN, LENGTH = 200_000, 8, 12
# Classes, rows of train, and whether the softmax over all classes is measured as well.
SIZES = ((10_000, 60_000, True), (100_000, 300_000, False))
FAST_TEXT = [(lr, epochs) for lr in (0.5, 1.0) for epochs in (10, 25)]


def write(folder: Path, classes: int, rows: int) -> None:
    """Write ``train.txt``, ``validation.txt`` and ``test.txt`` in fastText's format."""
    rng = np.random.default_rng(0)
    frequencies = np.arange(1, WORDS + 1) ** -0.9
    cumulated = np.cumsum(frequencies / frequencies.sum())

    def words(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.searchsorted(cumulated, rng.random(shape)).clip(max=WORDS - 1)

    own = words(classes, OWN)
    shares = np.arange(1, classes + 1) ** -0.5
    known: set[int] = set()
    for split, count in (("train", rows), ("validation", rows // 30), ("test", rows // 30)):
        labels = rng.choice(classes, count, p=shares / shares.sum())
        known = known or {*labels.tolist()}
        theirs = own[labels[:, None], rng.integers(0, OWN, (count, LENGTH))]
        texts = np.where(rng.random((count, LENGTH)) < 0.5, theirs, words(count, LENGTH))
        with (folder / f"{split}.txt").open("w") as file:
            for label, text in zip(labels.tolist(), texts.tolist(), strict=True):
                if label in known:
                    file.write(f"__label__c{label} {' '.join(f'w{word}' for word in text)}\n")


def of_textcls(folder: Path, seed: int, *options: str) -> float:
    """Return the accuracy on test."""
    from benchmarks.peers.ours import configure
    from textcls.run import start

    config = configure([
        "data=local", *(f"data.{split}={folder / split}.txt" for split in ("train", "test")),
        "tokenizer.ngrams=1", "tokenizer.char_ngrams=null", f"seed={seed}",
        f"cache_dir={folder / 'cache'}", *options,
    ])  # fmt: skip
    accuracy: float = start(config, folder / "-".join(("run", str(seed), *options)))["test"][
        "accuracy"
    ]
    return accuracy


def of_fast_text(folder: Path, seed: int, lr: float, epochs: int, split: str) -> float:
    """Return the accuracy on a split."""
    import fasttext

    model = fasttext.train_supervised(
        str(folder / "train.txt"), loss="hs", lr=lr, epoch=epochs, dim=32, thread=10, verbose=0,
        seed=seed,
    )  # fmt: skip
    return float(model.test(str(folder / f"{split}.txt"))[1])


def measured(work: Callable[..., float], *given: object) -> tuple[float, float, float]:
    """Return the result of work in a process of its own, its seconds and its most MB."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_work, args=(queue, work, given))
    process.start()
    found: tuple[float, float, float] = queue.get()
    process.join()
    return found


def _work(queue: multiprocessing.Queue[object], work: Callable[..., float], given: object) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    started = time.perf_counter()
    result = work(*given)  # type: ignore[misc]
    seconds = time.perf_counter() - started
    queue.put((result, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))


def main() -> None:
    """Parse the command line, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--classes", type=int, nargs="*", help="these sizes alone")
    options = parser.parse_args()
    rows = []
    for classes, num_rows, is_whole in SIZES:
        if options.classes and classes not in options.classes:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, classes, num_rows)
            best = max(
                FAST_TEXT, key=lambda one: measured(of_fast_text, folder, 0, *one, "validation")
            )
            systems: dict[str, tuple[object, ...]] = {
                "textcls": (of_textcls,),
                f"fastText hs, lr {best[0]}, {best[1]} epochs": (of_fast_text, *best, "test"),
            }
            if is_whole:
                whole = "trainer.sampled_classes=null"
                systems["textcls, all classes at each step"] = (of_textcls, whole)
            for system, (work, *given) in systems.items():
                found = np.array([
                    measured(work, folder, seed, *given)  # type: ignore[arg-type]
                    for seed in range(1, options.seeds + 1)
                ])  # fmt: skip
                score = in_percent(found[:, 0].tolist())
                seconds, most = np.median(found[:, 1:], axis=0)
                rows.append((f"{classes:,}", system, score, f"{seconds:.0f}", f"{most:,.0f}"))
    print(table(("classes", "", "accuracy", "seconds", "MB"), rows))


if __name__ == "__main__":
    main()
