from __future__ import annotations

import csv
import importlib.util
import statistics
from pathlib import Path

import pytest

from tests.conftest import PROJECT, make_config
from textcls.run import start

pytestmark = pytest.mark.usefixtures("undrawn")

FOLDERS = ("reviews", "headlines", "probe_proportion", "probe_count", "probe_trigger")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_generator_writes_the_committed_files(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "data" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.write_all(tmp_path)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.csv")}
    committed = {
        path.relative_to(PROJECT / "data"): path.read_bytes()
        for path in (PROJECT / "data").rglob("*.csv")
    }
    assert written == committed
    assert sum(map(len, committed.values())) < 2_000_000


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_text_is_in_train_and_test(folder: str) -> None:
    train, test = (read(PROJECT / "data" / folder / f"{part}.csv") for part in ("train", "test"))
    assert not {row["text"] for row in train} & {row["text"] for row in test}
    assert {row["label"] for row in train} == {row["label"] for row in test}


@pytest.mark.parametrize("folder", ["reviews", "headlines"])
def test_the_demo_is_neither_trivial_nor_hopeless(
    folder: str, tmp_path: Path, cache_dir: Path
) -> None:
    config = make_config(f"data={folder}", f"cache_dir={cache_dir}")
    accuracy = start(config, tmp_path / "run")["test"]["accuracy"]
    assert 0.78 < accuracy < 0.93  # the ceiling is 0.96: data/README.md


@pytest.mark.slow
@pytest.mark.parametrize(
    ("probe", "winner"),
    [("proportion", "mean"), ("count", "sum"), ("trigger", "max")],
)
def test_each_mode_wins_its_probe(probe: str, winner: str, tmp_path: Path, cache_dir: Path) -> None:
    """By experiment=probes, with a margin wider than the spread over seeds of either mode."""
    accuracies = {
        mode: [
            start(
                make_config(
                    "experiment=probes", f"data=probe_{probe}", f"model.mode={mode}",
                    f"seed={seed}", f"cache_dir={cache_dir}",
                ),
                tmp_path / f"{mode}{seed}",
            )["test"]["accuracy"]
            for seed in (1, 2, 3)
        ]
        for mode in ("mean", "sum", "max")
    }  # fmt: skip
    mean = {mode: statistics.mean(values) for mode, values in accuracies.items()}
    spread = {mode: statistics.stdev(values) for mode, values in accuracies.items()}
    for other in set(mean) - {winner}:
        margin = mean[winner] - mean[other]
        assert margin > max(spread[winner], spread[other]), (accuracies, margin)
