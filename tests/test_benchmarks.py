from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import csv

from benchmarks.__main__ import installed
from tests.conftest import PROJECT, one_line

RUN = [sys.executable, "-m", "benchmarks"]


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run three peers on some rows of a demo corpus."""
    data = tmp_path_factory.mktemp("data")
    (data / "reviews").mkdir()
    for split, rows in (("train", 3_000), ("test", 500)):
        table = csv.read_csv(PROJECT / "data" / "reviews" / f"{split}.csv")
        csv.write_csv(table.slice(0, rows), data / "reviews" / f"{split}.csv")
    out = tmp_path_factory.mktemp("out")
    peers = "textcls,plain,torchtext-style"
    done = benchmark(
        "--data", str(data), "--out", str(out), "--peers", peers, "--seeds", "1",
        "--parts", "corpora",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    return out


@pytest.mark.slow
def test_every_measurement_is_kept(results: Path) -> None:
    values = json.loads((results / "results.json").read_text(encoding="utf-8"))
    (run,) = values["runs"]
    assert run["cores"] >= 1
    assert run["versions"]["torch"]
    records = {
        (record["key"]["what"], record["key"]["peer"]): record for record in values["records"]
    }
    assert set(records) == {
        ("run", "textcls"), ("predict", "textcls"), ("warm", "textcls"),
        ("run", "plain"), ("run", "torchtext-style"),
    }  # fmt: skip
    for record in records.values():
        assert record["seconds"] > 0
        assert record["peak_rss"] > 10e6
        assert record["result"]["accuracy"] > 0.7
        assert record["result"]["macro_f1"] > 0.7
    assert records["run", "plain"]["result"]["tokens_per_second"] > 0


@pytest.mark.slow
def test_the_table_has_a_row_for_each_peer(results: Path) -> None:
    table = (results / "table.md").read_text(encoding="utf-8")
    for row in ("textcls plain", "plain EmbeddingBag", "torchtext style"):
        assert f"| {row} |" in table
    assert "not measured" in table
    assert "| fastText |" not in table.split("## Demo reviews")[1].split("##")[0]
    assert (results / "training.png").stat().st_size > 1000


@pytest.mark.slow
def test_report_measures_nothing(results: Path) -> None:
    before = (results / "results.json").read_bytes()
    (results / "table.md").unlink()
    done = benchmark("--out", str(results), "--report")
    assert done.returncode == 0, done.stderr
    assert (results / "table.md").read_text(encoding="utf-8") in done.stdout
    assert (results / "results.json").read_bytes() == before


def test_a_peer_that_is_not_installed_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fasttext" else 1)
    assert installed({"textcls": "textcls", "fasttext": "fasttext"}) == ["textcls"]
    assert "fasttext is skipped: fasttext is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peers", "textcls,fasttxt"], "--peers: fasttxt: choose from textcls, "),
        (["--report"], "results.json: there are no results to report"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = benchmark("--data", str(tmp_path), "--out", str(tmp_path), *arguments)
    assert done.returncode != 0
    assert words in one_line(done)
