"""Default settings on real data: only the data options are given."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.conftest import make_config, shared
from textcls.run import start

pytestmark = pytest.mark.slow


def scores(
    train: str, test: str, seed: int, folder: Path, cache_dir: Path, *options: str
) -> dict[str, float]:
    config = make_config(
        "data=local", f"data.train={shared(train)}", f"data.test={shared(test)}", f"seed={seed}",
        f"cache_dir={cache_dir}", *options,
    )  # fmt: skip
    found: dict[str, float] = start(config, folder)["test"]
    return found


def accuracy(train: str, test: str, seed: int, folder: Path, cache_dir: Path) -> float:
    return scores(train, test, seed, folder, cache_dir)["accuracy"]


@pytest.mark.parametrize(
    ("train", "test", "least", "seeds"),
    [
        ("imdb/train.parquet", "imdb/test.parquet", 0.875, 3),
        ("ag_news/train.parquet", "ag_news/test.parquet", 0.912, 3),
        ("20newsgroups/train.parquet", "20newsgroups/test.parquet", 0.83, 3),
        # More seeds, for a test split of 872 rows: a row is a tenth of a point.
        ("sst2/train.tsv", "sst2/validation.tsv", 0.81, 8),
    ],
)
def test_default_accuracy(
    train: str, test: str, least: float, seeds: int, tmp_path: Path, cache_dir: Path
) -> None:
    values = [
        accuracy(train, test, seed, tmp_path / str(seed), cache_dir) for seed in range(1, seeds + 1)
    ]
    assert statistics.mean(values) >= least, values


@pytest.mark.parametrize(
    ("train", "test", "least"),
    [
        # Always the most frequent class would give 0.22 and 0.87.
        ("tweet_emoji/train.jsonl", "tweet_emoji/test.jsonl", 0.25),
        ("sms_spam/train.csv", "sms_spam/test.csv", 0.97),
    ],
)
def test_others_train_without_special_care(
    train: str, test: str, least: float, tmp_path: Path, cache_dir: Path
) -> None:
    assert accuracy(train, test, 1, tmp_path / "run", cache_dir) >= least


@pytest.mark.parametrize(
    ("train", "test", "least"),
    [
        ("cooking/train.txt", "cooking/test.txt", 0.62),
        ("goemotions/train.parquet", "goemotions/test.parquet", 0.58),
    ],
)
def test_the_first_of_several_labels_is_right(
    train: str, test: str, least: float, tmp_path: Path, cache_dir: Path
) -> None:
    options = "experiment=null", "trainer.refit=false"  # half of the time
    found = scores(train, test, 1, tmp_path / "run", cache_dir, *options)
    assert found["precision_at_1"] >= least
