"""Training on bags in several files: to what it comes, where it goes on, what memory it takes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import make_config, shared
from tests.test_sharded import sharded
from tests.test_training import (
    NAMES,
    TRAIN,
    VALIDATION,
    Recorder,
    assert_same,
    config_of,
    make_model,
    weights,
    without_times,
)
from textcls.config import Config
from textcls.data import sampler as sampling
from textcls.data.bags import Bags
from textcls.data.prepare import Prepared, prepare
from textcls.data.sampler import Epoch, Sampler, epoch_order
from textcls.data.shard import save_shard, shard_name
from textcls.data.sharded import ShardedBags, Split
from textcls.defaults import resolve
from textcls.errors import InputError, Interrupted
from textcls.model.embedding_bag import EmbeddingBagClassifier, scores_of
from textcls.training import checkpoint
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import evaluate, fit
from textcls.trainings import build

SIZES = [30, 70, 1, 50, 49, 60, 40]
# Of autograd, of touched rows without it, and of a maximum.
MODES = (
    ["model.mode=mean+max", "model.dropout=0.3"],
    ["model.mode=sqrtn", "optimizer.rows=touched"],
    ["model.mode=weighted_sum", "optimizer=adam"],
)


@pytest.fixture
def in_files(tmp_path: Path) -> ShardedBags:
    return sharded(TRAIN, tmp_path, SIZES)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "WINDOW_TOKENS", TRAIN.num_tokens // 3)


def train(
    config: Config,
    split: Split,
    folder: Path | None = None,
    tracker: Recorder | None = None,
    validation: Split | None = VALIDATION,
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Return the weights that a training comes to, and its records."""
    model, tracker = make_model(config), tracker or Recorder()
    model.embedding.padding_idx = None  # which steps without autograd do not know
    fit(model, split, validation, NAMES, config, Checkpoints(folder), tracker)
    return weights(model), without_times(tracker.records)


def assert_same_training(
    a: tuple[dict[str, Tensor], list[dict[str, Any]]],
    b: tuple[dict[str, Tensor], list[dict[str, Any]]],
) -> None:
    assert_same(a[0], b[0])
    assert a[1] == b[1]


@pytest.mark.parametrize("options", MODES)
def test_in_one_window_it_is_the_training_in_memory(
    options: list[str], in_files: ShardedBags
) -> None:
    config = config_of(*options, epochs=2)
    assert_same_training(train(config, in_files), train(config, TRAIN))


@pytest.mark.parametrize("options", MODES)
def test_in_several_windows_it_is_the_training_in_their_order(
    options: list[str],
    in_files: ShardedBags,
    small_windows: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(*options, epochs=2)
    found = train(config, in_files)
    windows, in_windows = Sampler(in_files.sizes, 32, config.seed), Sampler.epoch
    assert len(windows.epoch(0).spans) > 2

    def epoch(self: Sampler, number: int) -> Epoch:
        of_epoch = in_windows(windows, number)
        order = torch.cat([of_epoch.batch(step) for step in range(of_epoch.num_steps)])
        return Epoch.of(order, 32, number)

    monkeypatch.setattr(Sampler, "epoch", epoch)
    assert_same_training(found, train(config, TRAIN))


def test_validation_may_be_in_files_too(in_files: ShardedBags, tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    held = sharded(VALIDATION, tmp_path / "validation", [60, 1, 39])
    config = config_of(epochs=2)
    expected = train(config, TRAIN)
    found = train(config, in_files, validation=held)
    assert_same(found[0], expected[0])
    for mine, theirs in zip(found[1], expected[1], strict=True):
        assert mine["train"] == theirs["train"]
        assert mine["validation"]["loss"] == pytest.approx(theirs["validation"]["loss"], rel=1e-6)
    model = make_model(config)
    assert evaluate(model, held, NAMES) == evaluate(model, VALIDATION, NAMES)


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("signal_at", [1, 5, 13, 19])  # 10 steps an epoch, in 4 windows
def test_an_interrupted_training_ends_as_if_it_had_not(
    options: list[str], signal_at: int, in_files: ShardedBags, small_windows: None, tmp_path: Path
) -> None:
    config = config_of(*options, epochs=2)
    whole = train(config, in_files)
    first, second = Recorder(signal_at), Recorder()
    with pytest.raises(Interrupted):
        train(config, in_files, tmp_path / "cut", first)
    resumed, _ = train(config, in_files, tmp_path / "cut", second)
    assert (first.steps, second.steps) == (signal_at, 20 - signal_at)
    assert_same(resumed, whole[0])
    assert without_times(first.records + second.records) == whole[1]


def killed_at(step: int, config: Config, split: ShardedBags, folder: Path) -> None:
    """Train in a process that is killed at a step."""
    process = multiprocessing.get_context("fork").Process(
        target=train, args=(config, split, folder, Recorder(step, signal.SIGKILL))
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_training_goes_on(
    in_files: ShardedBags, small_windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_AFTER", 0.0)
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0)
    config = config_of(epochs=3)
    killed_at(14, config, in_files, tmp_path / "cut")
    resumed, whole = Recorder(), Recorder()
    found, _ = train(config, in_files, tmp_path / "cut", resumed)
    assert resumed.steps == 20
    assert_same(found, train(config, in_files, None, whole)[0])
    assert without_times(resumed.records) == without_times(whole.records)[1:]


def test_a_training_that_is_killed_in_a_long_epoch_goes_on_within_it(
    in_files: ShardedBags, small_windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_IN_EPOCH", 0.0)  # after each step
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0)
    config = config_of(epochs=2)
    killed_at(14, config, in_files, tmp_path / "cut")
    resumed, whole = Recorder(), Recorder()
    found, _ = train(config, in_files, tmp_path / "cut", resumed)
    assert resumed.steps == 20 - 13  # the 14th was not saved
    assert_same(found, train(config, in_files, None, whole)[0])
    assert without_times(resumed.records) == without_times(whole.records)[1:]


def peak_of_training(folder: Path, number: int, pipe: Any) -> None:
    """Send how many bytes a training on so many shards takes at its peak; for a forked process."""

    def peak() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(lines.partition("VmHWM:")[2].split()[0])

    before = peak()
    paths = [folder / shard_name("train", i % 3) for i in range(number)]
    split = ShardedBags(paths, [(300, 600_000)] * number, 1_000)
    config = config_of("model.mode=sqrtn", "optimizer.rows=touched", epochs=1, batch_size=5)
    model = EmbeddingBagClassifier(1_000, 2, 3, "sqrtn")
    fit(model, split, None, NAMES, config, Checkpoints(), Recorder())
    pipe.send(peak() - before)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_number_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "WINDOW_SHARDS", 2)
    for number in range(3):
        tensors = {
            "indices": torch.randint(1_000, (600_000,), dtype=torch.int32),
            "offsets": torch.arange(301) * 2_000,
            "labels": torch.randint(3, (300,)),
        }
        save_shard(tmp_path / shard_name("train", number), tensors)
    fork, peaks = multiprocessing.get_context("fork"), []
    for shards in (6, 36):
        mine, its = fork.Pipe()
        child = fork.Process(target=peak_of_training, args=(tmp_path, shards, its))
        child.start()
        peaks.append(mine.recv() / 1e6)
        child.join()
    # Megabytes: of all that is in the files, there would be 72 more.
    assert peaks[1] - peaks[0] < 30, peaks


@pytest.fixture(scope="module")
def news(cache_dir: Path) -> Prepared:
    """Return a sixth of AG News, its rows shuffled."""
    files = {name: shared(f"ag_news/{name}.parquet") for name in ("train", "test")}
    config = make_config(
        "experiment=null", "data=local", *(f"data.{name}={path}" for name, path in files.items())
    )
    found = prepare(config.data, config.tokenizer, cache_dir)
    rows = epoch_order(len(found.train), 0, 0)[: len(found.train) // 6]
    return dataclasses.replace(found, train=found.train.select(rows))


def test_windows_of_a_quarter_are_as_good_as_the_whole(
    news: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = torch.arange(9) * len(news.train) // 8
    assert isinstance(news.train, Bags)
    in_files = sharded(news.train, tmp_path, cuts.diff().tolist())
    monkeypatch.setattr(sampling, "WINDOW_TOKENS", news.train.num_tokens // 3)
    assert len(Sampler(in_files.sizes, 256, 0).epoch(0).spans) == 4
    found = []
    for split in (news.train, in_files):
        config = resolve(make_config("experiment=null", "trainer.epochs=3"), news.about)
        model = build(config, news, torch.device("cpu"))
        fit(model, split, None, news.label_names, config, Checkpoints(), Recorder())
        found.append(evaluate(model.composed(), news.test, news.label_names)["accuracy"])
    assert min(found) > 0.88
    assert abs(found[0] - found[1]) < 0.01, found


def test_scores_are_made_as_they_are_asked_for(
    in_files: ShardedBags, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("textcls.model.embedding_bag", "textcls.task.scores"):
        monkeypatch.setattr(f"{where}.SAMPLED", 300)
    monkeypatch.setattr("textcls.model.embedding_bag.SELECTED", 30)
    model = make_model(config_of())
    found, expected = scores_of(model, in_files), scores_of(model, TRAIN)
    for mine, theirs in zip(found.pieces(120), expected.pieces(120), strict=True):
        torch.testing.assert_close(mine, theirs)
    for some in (found, found.divided(2.0)):
        logits, targets = some.sample(TRAIN.targets)
        of_some, of_targets = expected.sample(TRAIN.targets)
        torch.testing.assert_close(logits, of_some if some is found else of_some / 2)
        assert torch.equal(targets.ids, of_targets.ids)


def test_a_shard_that_is_gone_is_named(in_files: ShardedBags, tmp_path: Path) -> None:
    (tmp_path / "train-00003.safetensors").unlink()
    with pytest.raises(InputError, match=r"train-00003\.safetensors: is missing"):
        train(config_of(), in_files)
