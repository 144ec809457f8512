from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import csv

from benchmarks import fasttext_models
from benchmarks.__main__ import installed
from benchmarks.measure import Results
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


def test_packages_of_fasttext_that_are_absent_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if name != "fasttext-community":
            raise importlib.metadata.PackageNotFoundError
        return "0.11"

    monkeypatch.setattr("importlib.metadata.version", version)
    found = fasttext_models.find_peers([f"fasttext-new={tmp_path}"])
    assert found == {"fasttext-community": "", "fasttext-new": str(tmp_path)}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" is skipped")[0] for line in lines] == ["fasttext", "fasttext-predict"]
    assert fasttext_models.language_model(None, tmp_path) is None
    assert fasttext_models.pairs_model(None, tmp_path, tmp_path) is None
    short, long = capsys.readouterr().out.splitlines()
    assert short.startswith("short lines are skipped: ")
    assert long.startswith("documents of 4 kB are skipped: ")


@pytest.mark.slow
def test_models_of_fasttext_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fasttext-community is not installed")
    source, model = tmp_path / "train.txt", tmp_path / "model.bin"
    source.write_text("__label__a good day\n__label__b bad night\n" * 50, encoding="utf-8")
    fasttext.train_supervised(str(source), bucket=100, thread=1, verbose=0).save_model(str(model))
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(["good day", "bad"] * 50), encoding="utf-8")
    results = Results(tmp_path / "fasttext.json")
    for peer in (fasttext_models.OURS, "fasttext-community"):
        key = {"case": "few", "cores": 1, "peer": peer, "repeat": 0}
        record = fasttext_models.measure(peer, "", model, texts, 1)
        assert record.get("error") is None
        results.add(key, record | {"texts": 100})
    table = fasttext_models.report(results, tmp_path)
    assert [line.split("|")[3].strip() for line in table.splitlines()[2:]] == [
        "textcls.fasttext", "fasttext-community"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--parts", "fasttext", "--peer", "fasttext"], "--peer: write NAME=FOLDER"),
        (["--peers", "textcls,fasttxt"], "--peers: fasttxt: choose from textcls, "),
        (["--report"], "results.json: there are no results to report"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = benchmark("--data", str(tmp_path), "--out", str(tmp_path), *arguments)
    assert done.returncode != 0
    assert words in one_line(done)
