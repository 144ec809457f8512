"""Train and score every system on every data set, each in a process of its own."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.accuracy.scores import load, score
from benchmarks.accuracy.settings import DATA_SETS, DEMO_SETS, MULTI_LABEL, SYSTEMS, DataSet
from benchmarks.measure import Record, Results, measure

# One thread for all: scikit-learn's solvers have no more, and more would differ by data set.
VARIABLES = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TIMEOUT_SECONDS = 4 * 3_600.0


def find(data: Path) -> dict[str, DataSet]:
    """Return the data sets whose folders are below ``data``, by name; say which are left out."""
    for name in MULTI_LABEL:
        if (data / name).exists():
            print(f"{name} is left out: its texts have several labels, which most peers cannot")
    found = {name: one for name, one in DATA_SETS.items() if (data / name / one.train).exists()}
    if found:
        return found
    return {name: one for name, one in DEMO_SETS.items() if (data / name / one.train).exists()}


def run(
    results: Results, data: Path, sets: dict[str, DataSet], systems: list[str], seeds: list[int]
) -> None:
    """Measure the systems on the data sets; predictions go to a folder beside the results."""
    for name, one in sets.items():
        files = one.files(data / name)
        predictions = results.path.parent / "predictions" / name
        for features, group in groupby(systems, key=lambda system: SYSTEMS[system].features):
            if features:
                _peers(results, name, one, files, list(group), seeds, predictions)
                continue
            for system in group:
                for seed in seeds:
                    print(f"{name} {system} {seed}", end=" … ", flush=True)
                    record = textcls(files, SYSTEMS[system].options or (), seed,
                                     predictions / f"{system}-{seed}.safetensors")  # fmt: skip
                    _note(results, name, system, seed, record)


def textcls(files: dict[str, str], options: Iterable[str], seed: int, predictions: Path) -> Record:
    """Run ``train.py`` on these files, without a cache; keep its predictions."""
    with tempfile.TemporaryDirectory(prefix="textcls-benchmarks-") as folder:
        run = Path(folder) / "run"
        record = measure(
            [sys.executable, "train.py", "data=local",
             *(f"data.{split}={path}" for split, path in files.items()), *options,
             f"seed={seed}", f"cache_dir={folder}/cache", f"run_dir={run}"],
            VARIABLES, TIMEOUT_SECONDS,
        )  # fmt: skip
        if "error" in record:
            return record
        searched = (run / "best").exists()
        run = run / "best" if searched else run
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        predictions.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / "predictions.safetensors", predictions)
        return {
            "validation": {
                key: metrics["validation"][key] for key in ("accuracy", "macro_f1", "loss")
            },
            "test": score(load(predictions)),
            "train_seconds": metrics["prepare_seconds"] + metrics["train_seconds"],
            "search_seconds": record["seconds"] if searched else 0.0,
            "bytes": sum(path.stat().st_size for path in (run / "model").iterdir()),
        }


def _peers(
    results: Results, name: str, data_set: DataSet, files: dict[str, str], systems: list[str],
    seeds: list[int], predictions: Path,
) -> None:  # fmt: skip
    """Run peers of the same features."""
    print(f"{name} {', '.join(systems)}", end=" … ", flush=True)
    arguments: dict[str, Any] = {
        "names": systems, "files": files, "spaced": data_set.spaced, "large": data_set.large,
        "seeds": {one: seeds if SYSTEMS[one].seeded else [0] for one in systems},
        "predictions": str(predictions),
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.accuracy.peers", json.dumps(arguments)]
    record = measure(command, VARIABLES, TIMEOUT_SECONDS)
    if "error" in record:
        for system in systems:
            _note(results, name, system, arguments["seeds"][system][0], record)
        return
    for one in json.loads(record["printed"].splitlines()[-1]):
        _note(results, name, one.pop("system"), one.pop("seed"), one)


def _note(results: Results, name: str, system: str, seed: int, record: Record) -> None:
    if "error" in record:
        print(f"failed: {record['error']}", flush=True)
    else:
        print(f"{system} {record['test']['accuracy']:.4f}", end=" ", flush=True)
        print(f"(validation {record['validation']['accuracy']:.4f})", flush=True)
    results.add({"set": name, "system": system, "seed": seed}, record)
