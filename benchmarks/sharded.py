"""Training on bags in several files beside the same training on the same bags in memory.

``python -m benchmarks.sharded`` prints two tables in Markdown. Speed: tokens per second of an
epoch, medians of trainings that alternate. Accuracy: of a corpus in eight files of which two are in
memory at a time, on test, beside shuffling all of it, over some seeds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks import corpora
from benchmarks.corpora import PROJECT
from benchmarks.peers.ours import configure
from textcls.config import Config
from textcls.data.bags import Bags
from textcls.data.prepare import Prepared, prepare
from textcls.data.sampler import WINDOW_SHARDS, epoch_order
from textcls.data.shard import save_shard, shard_name
from textcls.data.sharded import ShardedBags, Split
from textcls.defaults import resolve
from textcls.training.checkpoint import Checkpoints, Progress
from textcls.training.loop import evaluate, fit
from textcls.trainings import build

# Of which a quarter is in memory, and as much is read meanwhile.
SHARDS = 4 * WINDOW_SHARDS


class Speeds:
    """A tracker that keeps how many tokens a second each epoch had."""

    def __init__(self) -> None:
        self.speeds: list[float] = []

    def begin(self, epochs: int, steps_per_epoch: int, progress: Progress) -> None:
        """Nothing is shown."""

    def step(self, progress: Progress, tokens: int, loss_sum: Tensor, batch_size: int) -> None:
        """Nothing is shown."""

    def epoch(self, record: dict[str, Any], progress: Progress) -> None:
        """Remember the speed of an epoch."""
        self.speeds.append(record["tokens_per_second"])


def in_files(bags: Bags, folder: Path, number: int) -> ShardedBags:
    """Write bags as so many shards, and open them."""
    cuts = [len(bags) * i // number for i in range(number + 1)]
    names = ("indices", "offsets", "labels", "weights")
    paths, sizes = [], []
    for i, (start, stop) in enumerate(pairwise(cuts)):
        part = bags.slice(start, stop)
        tensors = {name: getattr(part, name) for name in names}
        paths.append(folder / shard_name("train", i))
        sizes.append(save_shard(paths[-1], {k: v for k, v in tensors.items() if v is not None}))
    return ShardedBags(paths, sizes, bags.num_embeddings)


def trained(config: Config, prepared: Prepared, split: Split, seed: int = 1) -> tuple[float, float]:
    """Return tokens per second of the last epoch, and the accuracy on test."""
    config, tracker = replace(config, seed=seed), Speeds()
    model = build(config, prepared, torch.device("cpu"))
    fit(model, split, None, prepared.label_names, config, Checkpoints(), tracker)  # type: ignore[arg-type]
    found = evaluate(model.composed(), prepared.test, prepared.label_names)
    return tracker.speeds[-1], 100 * found["accuracy"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of the corpus, for its speed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    corpus = corpora.find(given.data, corpora.REAL)["ag_news"]
    speeds, accuracies = [], []
    with tempfile.TemporaryDirectory() as name:
        for title, options in (("defaults", []), ("`experiment=plain`", ["experiment=plain"])):
            config = configure([*options, *corpus.overrides()])
            prepared = prepare(config.data, config.tokenizer, Path(name) / "cache")
            config = resolve(config, prepared.about)
            assert isinstance(prepared.train, Bags)
            whole = prepared.train.select(epoch_order(len(prepared.train), 0, 0))
            large = Bags.concatenate([whole] * given.copies)
            folder = Path(tempfile.mkdtemp(dir=name))
            found = speed(config, prepared, large, folder, given.repeats)
            speeds.append(f"| {title} | {large.num_tokens:,} | {found} |")
            found = accuracy(config, prepared, whole, folder, given.seeds)
            accuracies.append(f"| {title} | {found} |")
    print(
        "| | tokens | in memory, M tokens/s | in files, M tokens/s | ratio |\n|---|---|---|---|---|"
    )
    print(*speeds, sep="\n")
    print("\n| | all shuffled | two of eight files at a time |\n|---|---|---|")
    print(*accuracies, sep="\n")


def speed(config: Config, prepared: Prepared, whole: Bags, folder: Path, repeats: int) -> str:
    """Return millions of tokens per second of both ways, and their ratio."""
    config = replace(config, trainer=replace(config.trainer, epochs=1, patience=None))
    ways: dict[str, Split] = {"memory": whole, "files": in_files(whole, folder, SHARDS)}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, split in ways.items():
            found[way].append(trained(config, prepared, split)[0] / 1e6)
    memory, files = (statistics.median(found[way]) for way in ways)
    return f"{memory:.2f} | {files:.2f} | {files / memory:.2f}"


def accuracy(config: Config, prepared: Prepared, whole: Bags, folder: Path, seeds: int) -> str:
    """Return the mean accuracy of both ways, and its standard deviation over seeds."""
    with mock.patch("textcls.data.sampler.WINDOW_TOKENS", whole.num_tokens // 3):
        found = [
            [trained(config, prepared, split, seed)[1] for seed in range(1, seeds + 1)]
            for split in (whole, in_files(whole, folder, 8))
        ]
    return " | ".join(f"{statistics.mean(one):.2f} ± {statistics.stdev(one):.2f}" for one in found)


if __name__ == "__main__":
    main()
