"""What is labelled: real texts over and over, each row with an id of its own; and the models."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import corpora
from benchmarks.corpora import PROJECT
from textcls.config import Reading
from textcls.corpus.reading import read_texts
from textcls.files import whole_file, whole_folder

# Names in the folder of work, as the programs of docs/scoring.md have them.
SHARDS, MODEL = "shards", "runs/my-run"
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".txt")
_ROWS_OF_A_FILE = 250_000
_ROWS_AT_ONCE = 50_000
# Texts of more bytes are there once: the corpus is to be of many rows, not of long ones.
_LONG = 1_000


def write_documents(data: Path, folder: Path, rows: int) -> None:
    """Write files of the columns ``id`` (uint64, from 0) and ``text``, unless they are there.

    Every text of the data is taken once in each round, in an order of its own.

    Args:
        data: a folder of folders of corpora.
        folder: gets the files, ``00.parquet`` and so on.
        rows: of all files.
    """
    if folder.exists():
        there = sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
        if there == rows:
            return
        sys.exit(f"error: {folder}: has {there:,} rows: remove it, or name another --work")
    files = -(-rows // min(_ROWS_OF_A_FILE, -(-rows // 4)))
    firsts = [rows * number // files for number in range(files + 1)]
    pieces = _pieces(_texts(data))
    schema = pa.schema({"id": pa.uint64(), "text": pa.large_string()})
    with whole_folder(folder) as scratch:
        rest = next(pieces)
        for number, (start, end) in enumerate(itertools.pairwise(firsts)):
            with pq.ParquetWriter(scratch / f"{number:02}.parquet", schema) as writer:
                while start < end:
                    rest = rest if len(rest) else next(pieces)
                    some = rest[: end - start]
                    ids = pa.array(np.arange(start, start + len(some), dtype=np.uint64))
                    writer.write_table(pa.table([ids, some], schema=schema))
                    start, rest = start + len(some), rest[len(some) :]


def _texts(data: Path) -> pa.Array:
    paths = [path for path in sorted(data.glob("*/*")) if path.suffix in SUFFIXES]
    if not paths:
        sys.exit(f"error: --data {data}: holds no corpora")
    texts = [piece for path in paths for piece in read_texts(path, Reading(), Reading())]
    return pc.fill_null(pa.concat_arrays([some.cast(pa.large_string()) for some in texts]), "")


def _pieces(texts: pa.Array) -> Iterator[pa.Array]:
    """Yield some texts after others without end, all of them first, later those that are short."""
    random = np.random.default_rng(0)
    while True:
        order = random.permutation(len(texts))
        for start in range(0, len(order), _ROWS_AT_ONCE):
            yield texts.take(pa.array(order[start : start + _ROWS_AT_ONCE]))
        texts = texts.filter(pc.less_equal(pc.binary_length(texts), _LONG))


def train_models(data: Path, work: Path, is_peer_wanted: bool) -> None:
    """Train a model of the defaults on AG News, and fastText's with its own, unless they are there.

    Args:
        data: a folder with the folder ``ag_news``.
        work: gets the run folder, and beside it fastText's model, ``runs/my-run.bin``.
        is_peer_wanted: whether fastText's is.
    """
    corpus = corpora.find(data, corpora.REAL).get("ag_news")
    if corpus is None:
        sys.exit(f"error: --data {data}: has no ag_news to train on")
    run = work / MODEL
    if not run.exists():
        overrides = [*corpus.overrides(), f"run_dir={run}"]
        command = [sys.executable, "train.py", *overrides]
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    model = peer_model(run)
    if is_peer_wanted and not model.exists():
        import fasttext

        lines = run.with_suffix(".txt")
        with lines.open("w", encoding="utf-8") as file:
            for text, label in zip(*corpora.read(corpus.train), strict=True):
                file.write(f"__label__{label} {' '.join(text.split())}\n")
        with whole_file(model) as scratch:
            trained = fasttext.train_supervised(str(lines), thread=1, verbose=0)
            trained.save_model(str(scratch))
        lines.unlink()


def peer_model(run: Path) -> Path:
    """Return where fastText's model of a run's data is."""
    return run.with_suffix(".bin")
