"""The measurements of each part, beside those of accuracy on many data sets."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.corpora import Corpus
from benchmarks.measure import Record, Results, measure, measure_peer
from benchmarks.settings import (
    BUDGETS,
    COMPRESS_RATES,
    COMPRESSED,
    FASTTEXT_RATES,
    FASTTEXT_THREADS,
    PEERS,
    QUICK,
    SERVING,
    SHORT_ROWS,
    TOKENIZING,
    Peer,
)

Key = dict[str, Any]
# Rows of the test file of the size measurement: training is what is to be seen.
SIZE_TEST_ROWS = 2_000
# The plain loops are slower with two threads on two cores: their parallel regions are small.
TORCH = {"OMP_NUM_THREADS": "1"}
# fastText leaves a part of its matrix as the memory was. Blocks that come straight from the kernel
# are zero; what the process used before makes it stop with "Encountered NaN" now and then.
FASTTEXT_ATTEMPTS = 3
FASTTEXT = {"MALLOC_MMAP_THRESHOLD_": "131072"}


class Benchmark:
    """All measurements of a run, each written down as it comes."""

    def __init__(self, results: Results, seeds: list[int], peers: list[str], work: Path) -> None:
        self.results = results
        self.seeds = seeds
        self.peers = peers
        self.work = work

    def note(self, key: Key, action: Callable[..., Record], *arguments: Any) -> Record:
        """Take one measurement; one that fails is noted as such, and the others go on."""
        print(" ".join(str(value) for value in key.values()), end=" … ", flush=True)
        record = action(*arguments)
        if "error" in record:
            # Scratch paths are of no use to a reader.
            record["error"] = record["error"].replace(str(self.work), "…")
            print(f"failed: {record['error']}", flush=True)
        else:
            print(f"{record['seconds']:.1f} s, {record['peak_rss'] / 1e6:.0f} MB", flush=True)
        self.results.add(key, record)
        return record

    def corpus(self, corpus: Corpus, first: bool) -> None:
        """Run every peer on a corpus; seed by seed, so that a drift of the machine hits all.

        ``first``: the corpus on which textcls is run with a warm cache, too.
        """
        for seed in self.seeds:
            for name in self.peers:
                peer = PEERS[name]
                if peer.seeded or seed == self.seeds[0]:
                    key = {"what": "run", "peer": name, "corpus": corpus.name, "seed": seed}
                    self._peer(key, peer, corpus, seed, first)
        for name in self.peers:
            if PEERS[name].kind == "fasttext":
                self._fasttext_extras(name, corpus)

    def _peer(self, key: Key, peer: Peer, corpus: Corpus, seed: int, first: bool) -> None:
        files = {"train": str(corpus.train), "test": str(corpus.test)}
        scratch = self.work / "scratch"
        scratch.mkdir()
        cache = f"cache_dir={scratch / 'cache'}"
        if peer.kind == "textcls":
            options = [*corpus.overrides(), *peer.options, f"seed={seed}", cache]
            record = self.note(key, train, options, scratch / "run")
            is_main = key["peer"] == "textcls"
            if "error" not in record and (is_main or seed == self.seeds[0]):
                arguments = {"run": str(scratch / "run"), "test": files["test"]}
                self.note(key | {"what": "predict"}, measure_peer, "ours.predict", arguments)
                if is_main and first:
                    self.note(key | {"what": "warm"}, train, options, scratch / "again")
        elif peer.kind == "plain":
            settings = {"overrides": [*corpus.overrides(), cache], "seed": seed}
            self.note(key, measure_peer, "embedding_bag.plain", settings, TORCH)
        elif peer.kind == "torchtext":
            function = "embedding_bag.torchtext_style"
            self.note(key, measure_peer, function, files | {"seed": seed}, TORCH)
        elif peer.kind == "fasttext":
            self.note(key, fasttext_speed, files, scratch, peer, seed)
        else:
            self.note(key, measure_peer, "tfidf.fit", files | peer.options)
        shutil.rmtree(scratch)

    def _fasttext_extras(self, name: str, corpus: Corpus) -> None:
        """Take its reading time alone, and its accuracy (see benchmarks/peers/fast_text.py)."""
        peer = PEERS[name]
        key = {"peer": name, "corpus": corpus.name}
        files = {"train": str(corpus.train), "test": str(corpus.test)}
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            for seed in self.seeds:
                reading = {"what": "reading", **key, "seed": seed}
                self.note(reading, fasttext_speed, files, Path(folder), peer, seed, 0)
            arguments = {
                **files, **peer.options, "work": folder, "rates": FASTTEXT_RATES,
                "validation": str(corpus.validation) if corpus.validation else None,
                "seeds": self.seeds,
            }  # fmt: skip
            accuracy = {"what": "accuracy", **key}
            self.note(accuracy, measure_peer, "fast_text.accuracy", arguments, FASTTEXT)

    def text_to_bags(self, corpus: Corpus) -> None:
        """Tokenize the train split and number its tokens, as often as there are seeds."""
        for repeat in self.seeds:
            for name, (function, options, _) in TOKENIZING.items():
                key = {"what": "bags", "peer": name, "corpus": corpus.name, "repeat": repeat}
                self.note(key, measure_peer, function, options | {"train": str(corpus.train)})

    def size(self, corpus: Corpus, sizes: list[int]) -> None:
        """Train on the train split repeated so many times over."""
        seed = self.seeds[0]
        for size in sizes:
            with tempfile.TemporaryDirectory(dir=self.work) as name:
                folder = Path(name)
                file, test = folder / "train.parquet", folder / "test.parquet"
                made = repeat(corpus.train, file, {"times": size})
                repeat(corpus.test, test, {"rows": SIZE_TEST_ROWS})
                repeated = Corpus(corpus.name, corpus.title, file, test)
                options = [*repeated.overrides(), *PEERS["textcls"].options, f"seed={seed}",
                           f"cache_dir={folder}/cache"]  # fmt: skip
                files = {"train": str(file), "test": str(test)}
                key = {"what": "size", "corpus": corpus.name, "size": size}
                if "textcls" in self.peers:
                    ours = self.note(key | {"peer": "textcls"}, train, options, folder / "run")
                    self.results.add(key | {"peer": "textcls"}, ours | made)
                if "fasttext" in self.peers:
                    peer = PEERS["fasttext"]
                    theirs = self.note(
                        key | {"peer": "fasttext"}, fasttext_speed, files, folder, peer, seed
                    )
                    self.results.add(key | {"peer": "fasttext"}, theirs | made)

    def serve(self, corpus: Corpus, first: bool) -> None:
        """Train a model of each kind, and label the test split: at once, and text by text.

        ``first``: the corpus whose model labels long files by the command line, too.
        """
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            folder = Path(name)
            run, exported = folder / "run", folder / "numpy"
            made = train([*corpus.overrides(), *QUICK, f"cache_dir={folder / 'cache'}"], run)
            if "error" not in made:
                verb = [sys.executable, "-m", "textcls"]
                made = measure([*verb, "export", str(run), "--to", "numpy", "--out", str(exported)])
            if "error" in made:
                sys.exit(f"error: {corpus.title}: there is no model to serve: {made['error']}")
            files = {"train": str(corpus.train), "test": str(corpus.test)}
            own: dict[str, Key] = {
                "textcls": {"run": str(run), "test": files["test"]},
                "textcls-numpy": {"folder": str(exported), "test": files["test"]},
                "fasttext": files | {"work": name},
                "fasttext-split": files | {"work": name},
                "tfidf": files,
            }
            for repeat in self.seeds:
                for peer, (function, options, _) in SERVING.items():
                    if importlib.util.find_spec(function_needs(function)) is None:
                        continue
                    key = {"what": "serve", "peer": peer, "corpus": corpus.name, "repeat": repeat}
                    variables = FASTTEXT if "fasttext" in peer else TORCH
                    self.note(key, measure_peer, function, own[peer] | options, variables)
            for rows in SHORT_ROWS if first else ():
                file = folder / "short.txt"
                measure_peer("serving.short_rows", {"target": str(file), "rows": rows})
                key = {"what": "stream", "corpus": corpus.name, "rows": rows}
                out = str(folder / "out.csv")
                record = self.note(
                    key, measure, [*verb, "predict", str(run), str(file), "--out", out]
                )
                record.pop("printed", None)
                self.results.add(key, record)

    def tune(self, corpus: Corpus, seconds: int) -> None:
        """Give textcls's search and fastText's the same files and the same time."""
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            folder = Path(name)
            train, validation = corpus.train, corpus.validation
            if validation is None:
                train, validation = folder / "train.parquet", folder / "validation.parquet"
                files = {"source": corpus.train, "train": train, "validation": validation}
                made = measure_peer("files.hold_out", {k: str(file) for k, file in files.items()})
                if "error" in made:
                    sys.exit(f"error: {corpus.train}: cannot be divided: {made['error']}")
            held_out = Corpus(corpus.name, corpus.title, train, corpus.test, validation)
            for seed in self.seeds:
                key = {"what": "tune", "corpus": corpus.name, "seconds": seconds, "seed": seed}
                if "textcls" in self.peers:
                    options = [*held_out.overrides(), "tune=default", f"tune.seconds={seconds}",
                               f"seed={seed}", f"cache_dir={folder / 'cache'}"]  # fmt: skip
                    run = folder / f"run{seed}"
                    self.note(key | {"peer": "textcls"}, search, options, run)
                    shutil.rmtree(folder / "cache")  # cold, as fastText begins
                if "fasttext" in self.peers:
                    arguments = {
                        "train": str(train), "validation": str(validation),
                        "test": str(corpus.test), "work": name, "seconds": seconds, "seed": seed,
                    }  # fmt: skip
                    their_key = key | {"peer": "fasttext"}
                    self.note(their_key, measure_peer, "fast_text.autotune", arguments, FASTTEXT)

    def compress(self, corpus: Corpus) -> None:
        """Train, make small within each budget, and label the test split before and after."""
        for seed in self.seeds:
            for name in COMPRESSED:
                if name in self.peers:
                    key = {"what": "compress", "peer": name, "corpus": corpus.name, "seed": seed}
                    with tempfile.TemporaryDirectory(dir=self.work) as folder:
                        self._compress(key, PEERS[name], corpus, Path(folder))

    def _compress(self, key: Key, peer: Peer, corpus: Corpus, folder: Path) -> None:
        if peer.kind == "textcls":
            options = [*corpus.overrides(), *peer.options, f"seed={key['seed']}",
                       f"cache_dir={folder / 'cache'}"]  # fmt: skip
            trained = train(options, folder / "run")
            if "error" in trained:
                self.results.add(key, trained)
                return
            run: Key = {"run": str(folder / "run"), "test": str(corpus.test)}
            arguments = run | {"work": str(folder), "budgets": BUDGETS}
            self.note(key, measure_peer, "small.ours", arguments)
        else:
            arguments = {
                "train": str(corpus.train), "test": str(corpus.test), "work": str(folder),
                **peer.options, "lr": COMPRESS_RATES[corpus.name][key["peer"]],
                "seed": key["seed"], "budget": BUDGETS[0],
            }  # fmt: skip
            self.note(key, measure_peer, "small.fasttext", arguments, FASTTEXT)


def function_needs(function: str) -> str:
    """Return the module that a function of ``benchmarks/peers/serving.py`` is about."""
    return {"fasttext": "fasttext", "tfidf": "sklearn"}.get(function.split(".")[1], "textcls")


def repeat(source: Path, target: Path, how: dict[str, int]) -> Record:
    """Write a file's rows several times over, or only some; return how much text that is."""
    record = measure_peer("files.repeat", {"source": str(source), "target": str(target)} | how)
    if "error" in record:
        sys.exit(f"error: {source}: cannot be copied: {record['error']}")
    return {"rows": record["result"]["rows"], "raw_bytes": record["result"]["bytes"]}


def fasttext_speed(
    files: dict[str, str], folder: Path, peer: Peer, seed: int, epochs: int | None = None
) -> Record:
    """Run fastText for its speed, again if it fails by NaN; with ``epochs=0`` it only reads."""
    arguments = {
        **files, **peer.options, "work": str(folder), "threads": FASTTEXT_THREADS, "seed": seed
    }  # fmt: skip
    if epochs is not None:
        arguments["epochs"] = epochs
    for attempt in range(1, FASTTEXT_ATTEMPTS + 1):
        record = measure_peer("fast_text.speed", arguments, FASTTEXT) | {"attempts": attempt}
        if "NaN" not in record.get("error", ""):
            break
    return record


def train(options: list[str], run: Path) -> Record:
    """Run ``train.py``; what it measured itself is in its ``metrics.json``."""
    record = measure([sys.executable, "train.py", *options, f"run_dir={run}"])
    if record.pop("printed", None) is not None:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        record["result"] = {
            name: metrics[name]
            for name in ("prepare_seconds", "train_seconds", "tokens_per_second", "epochs")
        } | {name: metrics["test"][name] for name in ("accuracy", "macro_f1")}
    return record


def search(options: list[str], run: Path) -> Record:
    """Run a search of ``train.py``; its result is that of its ``best``."""
    record = measure([sys.executable, "train.py", *options, f"run_dir={run}"])
    if record.pop("printed", None) is not None:
        metrics = json.loads((run / "best" / "metrics.json").read_text(encoding="utf-8"))
        with (run / "trials.csv").open(encoding="utf-8", newline="") as file:
            trials = list(csv.DictReader(file))
        command = (run / "tune.log").read_text(encoding="utf-8").splitlines()[-1]
        record["result"] = {
            "trials": len(trials),
            "given_validation_accuracy": float(trials[0]["accuracy"]),
            "validation_accuracy": metrics["validation"]["accuracy"],
            "settings": command.partition("cache_dir=")[2].partition(" ")[2],
        } | {name: metrics["test"][name] for name in ("accuracy", "macro_f1")}
    return record
