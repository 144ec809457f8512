"""The measurements on a GPU: what they compute; and all of them, in Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow import csv

from tests import interpreter  # noqa: F401 - before the kernels
from tests.conftest import PROJECT, bags_of, make_config

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)
from benchmarks.corpora import Corpus
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.accuracy import SETTINGS, Setting, Training
from benchmarks.gpu.data import Packed, load, pack, with_bigrams
from benchmarks.gpu.peers import Loading, Plain
from benchmarks.gpu.report import tables
from benchmarks.gpu.speed import floor_bytes, use_up
from textcls.config import DataConfig
from textcls.data.prepare import prepare
from textcls.data.sampler import epoch_order
from textcls.training import loop
from textcls.training.optimizer import touches_few
from textcls.values import Mode

CPU = torch.device("cpu")
# What the machine with the GPU need not have.
ABSENT = ("pyarrow", "datasets", "hydra", "omegaconf", "yaml", "sklearn", "tensorboard", "click")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus]:
    """Pack some rows of a demo corpus as if they were IMDb's."""
    folder = tmp_path_factory.mktemp("packed")
    for split, rows in (("train", 60), ("test", 20)):
        table = csv.read_csv(PROJECT / "data" / "reviews" / f"{split}.csv")
        csv.write_csv(table.slice(0, rows), folder / f"{split}.csv")
    corpus = Corpus("imdb", "IMDb", folder / "train.csv", folder / "test.csv")
    pack(folder / "packed.npz", {"imdb": corpus})
    return folder / "packed.npz", corpus


# --- Corpora --------------------------------------------------------------------------------------


def test_a_packed_corpus_is_what_training_reads(
    packed: tuple[Path, Corpus], tmp_path: Path
) -> None:
    from benchmarks.peers.ours import configure

    file, corpus = packed
    config = configure(corpus.overrides())
    assert isinstance(config.data, DataConfig)
    expected = prepare(config.data, config.tokenizer, tmp_path)
    found = load(file)["imdb"]
    assert found.num_embeddings == expected.encoder.num_embeddings
    assert found.num_classes == len(expected.label_names)
    assert found.padding_id == expected.encoder.vocabulary.padding_id
    assert found.unknown_id == expected.encoder.vocabulary.unknown_id
    for split in ("train", "validation", "test"):
        for name in ("indices", "offsets", "labels"):
            one, other = getattr(found, split), getattr(expected, split)
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_ids_are_packed_small_and_without_pickle(packed: tuple[Path, Corpus]) -> None:
    with np.load(packed[0], allow_pickle=False) as arrays:
        assert arrays["imdb/train/indices"].dtype == np.uint16
        assert arrays["imdb/train/labels"].dtype == np.uint8


def test_bigrams_follow_the_words_of_their_bag() -> None:
    bags = bags_of([[3, 4, 3, 4], [], [5], [3, 4]], 6, [0, 1, 0, 1])
    found = with_bigrams(bags, 6, 1000)
    rows = [found.indices[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:])]  # noqa: B905
    first, second, again = rows[0][4:]
    assert rows == [[3, 4, 3, 4, first, second, again], [], [5], [3, 4, first]]
    assert first == again != second
    assert min(first, second) >= 6
    assert found.num_embeddings == 1006


# --- The floor ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "table_bytes", "memories", "expected"),
    [
        # Five tokens in two bags, four of them distinct, in three dimensions.
        # ids 5*4, rows 5*3*4, pooled 2*3*4 twice; gradient 2*3*4, entries 5*4, by token 5*3*4;
        # gradient, row and memory of 4*3 numbers, each twice.
        ("mean", 4, 1, 20 + 60 + 48 + 24 + 20 + 60 + 96 + 96 + 96),
        ("sum", 4, 0, 20 + 60 + 48 + 24 + 20 + 60 + 96 + 96),
        ("sum", 2, 1, 20 + 30 + 48 + 24 + 20 + 60 + 96 + 48 + 96),
        # gradient written and read, the chosen tokens written and read.
        ("max", 4, 1, 20 + 60 + 48 + 24 + 24 + 48 + 96 + 96 + 96),
        # and a weight by token; gradient, weight and memory of four weights, each twice.
        ("weighted_sum", 4, 1, 20 + 60 + 48 + 24 + 20 + 60 + 96 + 96 + 96 + 20 + 32 + 32 + 32),
    ],
)
def test_the_floor_counts_what_must_move(
    mode: Mode, table_bytes: int, memories: int, expected: int
) -> None:
    assert floor_bytes(5, 2, 4, 3, mode, table_bytes, memories) == expected


@pytest.mark.parametrize(("num_embeddings", "few"), [(15, False), (16, True)])
def test_rows_are_updated_as_in_training(num_embeddings: int, few: bool) -> None:
    bags = bags_of([[1, 2, 3], [3, 2, 1, 1], [2, 1, 3]], num_embeddings)  # three of them a batch
    config = make_config("seed=0", "trainer.batch_size=2")
    assert loop._touched_rows_only(bags, num_embeddings, config) == few
    assert touches_few(bags, epoch_order(len(bags), 0, 0)[:2], num_embeddings) == few


# --- Trainings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_the_peers_train_on_every_bag(mode: str) -> None:
    rows = [[i % 7, i % 5, i % 3][: i % 4] for i in range(10)]
    bags = bags_of(rows, 7, [i % 2 for i in range(10)])
    settings = (bags, CPU, 4, 3, mode, False)
    for peer in (Plain(*settings), Loading(*settings, 0)):
        seen = []
        for indices, offsets, labels in peer._batches():
            assert len(offsets) == len(labels) + 1
            ends = offsets.tolist()
            for start, stop, label in zip(ends[:-1], ends[1:], labels.tolist(), strict=True):
                seen.append((indices[start:stop].tolist(), label))
        assert sorted(seen) == sorted(zip(rows, bags.labels.tolist(), strict=True))
        before = peer.embedding.weight.detach().clone()
        assert len(list(peer.epoch())) == peer.num_steps == 3
        assert not torch.equal(peer.embedding.weight, before)


def test_a_training_begins_anew_each_time() -> None:
    bags = bags_of([[2, 3], [4, 5], [2], [5, 4]], 6, [0, 1, 0, 1])
    corpus = Packed(6, 2, 1, 0, bags, bags, bags)
    training = Training(corpus, Setting(2, 2, 4, 0.5, 0.0), CPU)
    runs = []
    for seed in (1, 2, 1):
        use_up(training.run(seed))
        runs.append([value.clone() for value in training.model.state_dict().values()])
    for first, other, again in zip(*runs, strict=True):
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert training.accuracy("test") == 1


def test_settings_that_are_raced_were_measured() -> None:
    for setting in SETTINGS.values():
        assert len(setting.cpu_validation) == len(setting.cpu_test) == 3


# --- All of it ------------------------------------------------------------------------------------


# A process of its own, as on the machine with the GPU, where most packages are absent.
RUN = f"""
import sys
for name in {ABSENT}:
    sys.modules[name] = None
from benchmarks.gpu.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def out(packed: tuple[Path, Corpus], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", str(packed[0]), "--out", str(folder), "--quick"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def records_of(out: Path) -> dict[str, list[dict[str, Any]]]:
    parts: dict[str, list[dict[str, Any]]] = {}
    for record in json.loads((out / "gpu.json").read_text(encoding="utf-8"))["records"]:
        parts.setdefault(record["part"], []).append(record)
    return parts


@pytest.mark.slow
def test_every_part_is_measured(out: Path) -> None:
    parts = records_of(out)
    assert [record for part in parts.values() for record in part if "error" in record] == []
    assert set(parts) == {
        "copy", "cold", "warm", "gradients", "sync", "steady", "stacked", "resident", "loader"
    }  # fmt: skip
    assert {record["result"] for record in parts["sync"]} == {"needs a GPU"}
    assert {record["capture_seconds"] for record in parts["cold"]} == {"needs a GPU"}
    assert len(parts["gradients"]) == 16
    for record in parts["gradients"]:
        for name in ("pooled_error", "table_error", "weights_error"):
            assert record.get(name, 0.0) < 1e-5
    tables_of = {record["table"] for record in parts["steady"]}
    assert tables_of == {"float32", "bfloat16", "float16"}
    for record in parts["steady"]:
        assert record["tokens_per_step"] >= record["rows_per_step"] > 0
        share = record["floor_seconds"] / record["step_seconds"]
        assert record["share_of_floor"] == pytest.approx(share)
    for record in parts["stacked"]:
        assert record["ratio"] > 0


@pytest.mark.slow
def test_the_tables_have_every_row(out: Path) -> None:
    parts = records_of(out)
    lines = (out / "gpu.md").read_text(encoding="utf-8").splitlines()
    for words in (
        "| IMDb | batch 1, epochs 2, ",
        "| words and hashed bigrams |",
        "DataLoader, 0 workers",
    ):
        assert any(words in line for line in lines)
    rows = [line for line in lines if line.startswith("| words")]
    assert len(rows) == len(parts["steady"])
    rows = [line for line in lines if line.startswith("| nn.EmbeddingBag")]
    assert len(rows) == len(parts["resident"]) + len(parts["loader"])


@pytest.mark.slow
def test_what_failed_is_listed_and_the_rest_is_shown(out: Path) -> None:
    values = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    values["records"] += [{"part": "steady", "size": 8, "error": "RuntimeError: out of | memory"}]
    text = tables(values)
    assert "| steady 8 | RuntimeError: out of \\| memory |" in text
    assert "## Steady training" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.npz", "--out", "x", "--quick"], "none.npz: is no file of `python -m"),
        (["run", "none.npz", "--out", "x"], "there is no GPU: TRITON_INTERPRET=1 and --quick"),
        (["pack", "x.npz", "--data", "nowhere"], "--data nowhere: has no imdb, ag_news, sst2"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    monkeypatch.setattr(gpu, "find_device", lambda: CPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
