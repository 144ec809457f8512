"""Preparing and training on a corpus that is larger than memory, beside one that fits.

``python -m benchmarks.larger --gigabytes 20 --memory 4GB`` writes a corpus of so much text out of
real sentences, trains on it within so much memory, and on a part of it that fits into memory, and
prints seconds, tokens per second and the most memory that all processes of each took together.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.corpora import PROJECT
from textcls.sizes import size_in_words

# Of text in a file, and in a group of its rows.
FILE_BYTES, GROUP_ROWS = 500_000_000, 20_000
# A text has so many sentences, of which so many in a hundred are of its class.
SENTENCES, OF_CLASS = (4, 20), 60
# Each text has one of so many names that are rare or unique, as real texts have.
NAMES = 20_000_000
# So often the memory of all processes is looked at, in seconds.
EVERY = 1.0


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--part", type=int, default=20, help="one in so many fits into memory")
    parser.add_argument("--folder", type=Path, required=True, help="for corpus, cache and runs")
    parser.add_argument("options", nargs="*", help="of textcls train")
    arguments = parser.parse_args()
    corpus = arguments.folder / "corpus"
    if not corpus.exists():
        write_corpus(arguments.data, corpus, int(arguments.gigabytes * 1e9))
    files = sorted(corpus.glob("train-*.parquet"))
    part = arguments.folder / "part"
    part.mkdir(exist_ok=True)
    for path in files[: max(len(files) // arguments.part, 1)]:
        (part / path.name).unlink(missing_ok=True)
        (part / path.name).symlink_to(path.resolve())
    print("| corpus | text | prepared s | tokens | tokens/s in training | accuracy | most memory |")
    print("|---|---|---|---|---|---|---|")
    for name, folder, memory in (("whole", corpus, arguments.memory), ("part", part, "1000GB")):
        row = train(name, folder, memory, arguments.folder, arguments.options)
        print(row, flush=True)


def train(name: str, corpus: Path, memory: str, folder: Path, options: list[str]) -> str:
    """Train on a corpus; return a row of the table."""
    run, test = folder / f"run-{name}", corpus.parent / "corpus" / "test.parquet"
    shutil.rmtree(run, ignore_errors=True)
    command = [
        sys.executable, "-m", "textcls", "train", f"data.train={corpus}/train-*.parquet",
        f"data.test={test}", f"trainer.max_memory={memory}", f"run_dir={run}",
        f"cache_dir={folder}/cache-{name}", "cache_size=null", *options,
    ]  # fmt: skip
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)
        watch = Watch(process.pid)
        watch.start()
        status = process.wait()
        watch.stop()
    if status:
        raise SystemExit(f"{folder}/{name}.log: exit status {status}")
    metrics = json.loads((run / "metrics.json").read_text())
    said = (run / "train.log").read_text()
    prepared = re.search(r"prepared in ([\d.]+) s", said)
    size = sum(
        int(pq.read_schema(path).metadata[b"bytes"]) for path in corpus.glob("train-*.parquet")
    )
    tokens = json.loads((run / "data.json").read_text())["splits"]["train"]["tokens"]
    return (
        f"| {name} | {size_in_words(size)} | {prepared[1] if prepared else '?'} | {tokens:,} | "
        f"{metrics['tokens_per_second']:,.0f} | {metrics['test']['accuracy']:.4f} | "
        f"{size_in_words(watch.most)} |"
    )


@dataclass
class Watch(threading.Thread):
    """Looks at the memory that a process and all below it take, pages of files included.

    Args:
        pid: of the process.

    Attributes:
        most: bytes that all took together at most; what they share is counted once.
    """

    pid: int
    most: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._done = threading.Event()

    def run(self) -> None:
        """Look until :meth:`stop` is called."""
        while not self._done.wait(EVERY):
            self.most = max(self.most, sum(map(_memory_of, _tree(self.pid))))

    def stop(self) -> None:
        """End the thread."""
        self._done.set()
        self.join()

    __hash__ = threading.Thread.__hash__


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _tree(int(child))


def _memory_of(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:  # it has ended
        return 0
    return int(found[1]) * 1024 if found else 0


def write_corpus(data: Path, folder: Path, num_bytes: int) -> None:
    """Write a corpus of texts of four classes, of sentences of AG News and IMDb."""
    news = pq.read_table(data / "ag_news" / "train.parquet")
    reviews = pq.read_table(data / "imdb" / "train.parquet", columns=["text"])
    pools = [
        _sentences(news["text"].filter(pc.equal(news["label"], label)))
        for label in sorted(pc.unique(news["label"]).to_pylist())
    ]
    pools.append(_sentences(reviews["text"]))
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    _write_file(folder / "test.parquet", pools, rng, min(num_bytes // 200, 20_000_000))
    for number in range(-(-num_bytes // FILE_BYTES)):
        path = folder / f"train-{number:03d}.parquet"
        _write_file(path, pools, rng, min(FILE_BYTES, num_bytes - number * FILE_BYTES))


def _write_file(path: Path, pools: list[pa.Array], rng: np.random.Generator, wanted: int) -> None:
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    written, tables = 0, []
    while written < wanted:
        table, size = _texts(pools, rng)
        tables.append(table)
        written += size
    schema = schema.with_metadata({"bytes": str(written)})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


def _texts(pools: list[pa.Array], rng: np.random.Generator) -> tuple[pa.Table, int]:
    labels = rng.integers(0, 4, GROUP_ROWS)
    lengths = rng.integers(*SENTENCES, GROUP_ROWS)
    kind = np.repeat(labels, lengths)
    kind[rng.integers(0, 100, len(kind)) >= OF_CLASS] = 4
    starts = np.cumsum([0, *map(len, pools)])
    places = (rng.random(len(kind)) * np.diff(starts)[kind]).astype(np.int64) + starts[kind]
    sentences = pa.concat_arrays(pools).take(pa.array(places))
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), sentences), " ")
    names = (NAMES ** rng.random(GROUP_ROWS)).astype(np.int64)  # Zipf's law
    named = pa.array([f"name{name}" for name in names])
    texts = pc.binary_join_element_wise(texts, named, " ")
    return pa.table({"text": texts, "label": labels}), pc.sum(pc.binary_length(texts)).as_py()


def _sentences(texts: pa.ChunkedArray) -> pa.Array:
    split = pc.split_pattern_regex(texts.combine_chunks(), r"(?:[.!?] |<br /><br />)+").flatten()
    return split.filter(pc.greater(pc.binary_length(split), 20)).cast(pa.string())


if __name__ == "__main__":
    main()
