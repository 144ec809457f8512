"""A small model that learns from a large one: ``python -m benchmarks.accuracy.distil``.

Of train, some rows keep their labels and the others lose them. A teacher (the defaults, three seeds
folded into one) learns from the former, and ``textcls predict --probabilities`` labels all rows. A
student has the most frequent words and pairs alone, as many as a tenth of the teacher's bytes have
room for. It learns from the labels of the former rows; from the teacher's labels of all rows; and
from the teacher's probabilities of all rows (``data.task=soft``). Scores are of the test split.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch

from benchmarks.accuracy.settings import DATA_SETS
from benchmarks.corpora import PROJECT
from benchmarks.figures import in_percent, table
from benchmarks.peers.ours import configure
from textcls import cli
from textcls.arrow import integers
from textcls.corpus.corpus import Source
from textcls.model.folder import WEIGHTS
from textcls.run import start

# Of each set, rows of train that keep their labels, and all that are read.
SETS = {
    "ag_news": (2_000, 20_000),
    "imdb": (2_500, 12_000),
    "banking77": (2_500, 10_000),
    "emotion": (1_000, 3_257),
}
SHARE = 10
METRICS = ("accuracy", "macro_f1")


class Trained(NamedTuple):
    """What a training came to: metrics on validation and test, and the bytes of its tensors."""

    metrics: dict[str, Any]
    bytes: int


def measure(name: str, data: Path, seed: int, folder: Path) -> dict[str, Trained]:
    """Return the results of the teacher and its students with one seed."""
    one, (num_labelled, num_rows) = DATA_SETS[name], SETS[name]
    files = one.files(data / name)
    _write_train(files, num_labelled, num_rows, seed, folder)
    test = [f"data.test={files['test']}", f"seed={seed}"]
    few, soft = folder / "labelled.csv", folder / "soft.parquet"
    teacher = _train(folder / "teacher", [f"data.train={few}", "trainer.ensemble=3", *test])
    cli.main([
        "predict", str(folder / "teacher"), str(folder / "all.csv"), "--keep", "text",
        "--probabilities", "--out", str(soft),
    ])  # fmt: skip
    # A model that is linear in its features needs no more dimensions than it has classes.
    dim = min(teacher.metrics["chosen"]["model.dim"], len(teacher.metrics["test"]["per_class"]))
    room = teacher.bytes // SHARE // (4 * (dim + 1))  # a feature has a weight as well
    small = ["tokenizer.char_ngrams=null", f"tokenizer.max_size={room}", f"model.dim={dim}", *test]
    # Columns are the same in all files, but of the test split the label is by hand.
    return {
        "teacher": teacher,
        "student, the labels": _train(folder / "hard", [f"data.train={few}", *small]),
        "student, the teacher's labels": _train(
            folder / "named", [f"data.train={soft}", "data.text=text", "data.label=label", *small]
        ),
        "student, the teacher's probabilities": _train(
            folder / "soft", [f"data.train={soft}", "data.task=soft", *small]
        ),
    }


def _write_train(
    files: dict[str, str], num_labelled: int, num_rows: int, seed: int, folder: Path
) -> None:
    """Write ``labelled.csv``, and ``all.csv`` without labels, of shuffled rows of train."""
    corpus = Source(configure(["data=local", f"data.train={files['train']}"]).data).read()
    parts = [corpus.splits[split] for split in ("train", "validation", "test")]
    texts = pa.concat_arrays([
        chunk.cast(pa.large_string()) for part in parts for chunk in part.chunks
    ])  # fmt: skip
    ids = np.concatenate([part.labels.ids for part in parts])
    chosen = np.random.default_rng(seed).permutation(len(ids))[:num_rows]
    labels = pa.array([corpus.label_names[i] for i in ids[chosen]])
    shuffled = pa.table({"text": texts.take(integers(chosen)), "label": labels})
    pyarrow.csv.write_csv(shuffled.slice(0, num_labelled), folder / "labelled.csv")
    pyarrow.csv.write_csv(shuffled.select(["text"]), folder / "all.csv")


def _train(folder: Path, options: Sequence[str]) -> Trained:
    config = configure(["data=local", f"cache_dir={folder}-cache", *options])
    with contextlib.redirect_stdout(io.StringIO()):
        metrics = start(config, folder)
    return Trained(metrics, (folder / "model" / WEIGHTS).stat().st_size)


def main() -> None:
    """Parse the command line, measure, print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets.split(","):
        found: dict[str, list[Trained]] = {}
        for seed in range(1, options.seeds + 1):
            with tempfile.TemporaryDirectory() as folder:
                for system, one in measure(name, options.data, seed, Path(folder)).items():
                    found.setdefault(system, []).append(one)
        rows = []
        for system, each in found.items():
            scores = (
                in_percent([one.metrics["test"][metric] for one in each]) for metric in METRICS
            )
            size = np.mean([one.bytes for one in each]) / 1e6
            rows.append((system, *scores, f"{size:.2f}"))
        heads = ("", "accuracy", "macro F1", "MB")
        print(f"\n{name}, {SETS[name][0]:,} labels, {SETS[name][1]:,} rows\n", flush=True)
        print(table(heads, rows), flush=True)


if __name__ == "__main__":
    main()
