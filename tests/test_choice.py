"""What the kernels for GPUs have, by which a training takes them or not. No GPU is needed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import torch

from tests.conftest import PROJECT, bags_of, make_config
from textcls.config import CIRCUMSTANCES, OptimizerConfig, parse
from textcls.data.bags import Bags
from textcls.data.shard import save_shard, shard_name
from textcls.data.sharded import ShardedBags, Split
from textcls.model.embedding_bag import EmbeddingBagClassifier, hold_scores
from textcls.pooling import KERNEL_MODES
from textcls.task.objective import Objective
from textcls.training.choice import LACKING, Training, lacking
from textcls.training.optimizer import Optimizer
from textcls.training.sampling import ClassSampler
from textcls.training.together import Together
from textcls.values import Mode, OptimizerName

BAGS = bags_of([[2 + i % 7, 2 + i % 5, 2 + i % 11][: 1 + i % 3] for i in range(24)], 16)


def test_kernels_are_a_circumstance() -> None:
    config = make_config()
    assert config.trainer.kernels == "auto"
    assert "trainer.kernels" in CIRCUMSTANCES
    older = config.to_dict()
    del older["trainer"]["kernels"]
    assert parse(older) == config


def test_nothing_but_training_uses_the_kernels() -> None:
    """Prediction, evaluation and what else there is go by torch's operators on any device."""
    package = PROJECT / "textcls"
    of_kernels = re.compile(
        r"^\s*(?:from|import) textcls\.(?:model\.(?:kernels|resident_bag)|data\.resident"
        r"|training\.(?:captured|proof|proven))\b",
        re.MULTILINE,
    )
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if of_kernels.search(path.read_text(encoding="utf-8"))
    }
    assert users == {
        "model/resident_bag.py", "training/captured.py", "training/choice.py", "training/proof.py",
        "training/proven.py", "machine.py",
    }  # fmt: skip
    # Nor are they imported on a CPU.
    choice = (package / "training" / "choice.py").read_text(encoding="utf-8")
    assert not re.search(r"^from textcls\.training\.(captured|proof|proven)\b", choice, re.M)


# --- what the kernels have -----------------------------------------------------------------------


def in_files(bags: Bags) -> ShardedBags:
    """Return bags of which no more than the labels is read."""
    with TemporaryDirectory() as folder:
        path = Path(folder, shard_name("train", 0))
        names = ("indices", "offsets", "labels")
        size = save_shard(path, {name: getattr(bags, name) for name in names})
        found = ShardedBags([path], [size])
        assert len(found.targets.ids) == len(bags)
    return found


def training_of(
    mode: Mode = "mean", optimizer: OptimizerName = "adagrad", touched: bool = True, **has: Any
) -> Training:
    """Return a training that has what is said, and nothing else."""
    model = EmbeddingBagClassifier(16, 4, 3, mode)
    model.embedding.sparse = touched
    decay, momentum = has.pop("weight_decay", 0.0), has.pop("momentum", 0.0)
    config = OptimizerConfig(
        name=optimizer, lr=0.1, weight_decay=decay, rows="auto", momentum=momentum
    )
    if has.pop("scores", False):
        model = EmbeddingBagClassifier(16, 3, 3, mode)
        hold_scores(model)
    for name in ("composition", "vectors"):
        if has.pop(name, False):
            setattr(model, name, torch.nn.Identity() if name == "vectors" else object())
    bags: Split = dataclasses.replace(BAGS, **has.pop("bags", {}))
    if has.pop("files", False):
        bags = in_files(BAGS)
    sampler, together = has.pop("sampler", None), has.pop("together", None)
    return Training(
        model, Optimizer(config, model.named_parameters()), bags, 8, Objective(**has), sampler,
        together,
    )  # fmt: skip


ONES = torch.ones(len(BAGS))
OFFSETS = torch.arange(len(BAGS) + 1)
# Of each thing that the kernels do not have, trainings that do.
HAVING: dict[str, list[dict[str, Any]]] = {
    "the poolings with sqrtn, and weighted_mean": [
        {"mode": mode} for mode in get_args(Mode) if "sqrtn" in mode or mode == "weighted_mean"
    ],
    "weighted features": [{"bags": {"weights": torch.ones(BAGS.num_tokens)}}],
    "probabilities of labels": [{"bags": {"label_offsets": OFFSETS, "label_shares": ONES}}],
    "several labels a text": [{"bags": {"label_offsets": OFFSETS}}],
    "weights of rows": [{"bags": {"example_weights": ONES}}],
    "the focal loss": [{"focal": 2.0}],
    "targets that are spread over neighbours": [{"ordinal": 2.0}],
    "sampled classes": [{"sampler": ClassSampler(BAGS.targets, 3, 1, 8, Objective(), 1)}],
    "a table of class scores": [{"scores": True}],
    "words composed of character n-grams": [{"composition": True}],
    "pretrained vectors of words": [{"vectors": True}],
    "a split in several files": [{"files": True}],
    "several processes": [{"together": Together()}],
    "max of touched rows with Adam, momentum or weight decay": [
        {"mode": "max", "optimizer": "adam"},
        {"mode": "max", "optimizer": "adamw"},
        {"mode": "max", "optimizer": "sgd", "momentum": 0.9},
        {"mode": "max", "weight_decay": 0.1},
    ],
}


def test_the_list_of_what_the_kernels_lack_is_true() -> None:
    assert list(HAVING) == list(LACKING)
    for what, trainings in HAVING.items():
        for has in trainings:
            assert lacking(training_of(**has)) == what
    everything = {
        "class_weights": torch.ones(3), "label_smoothing": 0.1, "clip_norm": 1.0,
        "adjustment": torch.ones(3), "bags": {"ordered": True},
    }  # fmt: skip
    for mode in KERNEL_MODES:
        for optimizer in get_args(OptimizerName):
            only_plain = mode == "max" and optimizer in ("adam", "adamw")
            for touched in (False,) if only_plain else (True, False):
                assert lacking(training_of(mode, optimizer, touched, **everything)) is None

    text = (PROJECT / "docs" / "speed.md").read_text(encoding="utf-8")
    section = text.partition("### What the kernels have")[2].partition("\n## ")[0]
    listed = re.findall(r"^- (.+?)(?: \(.*\))?$", section, re.MULTILINE)
    assert listed == list(LACKING)
    assert re.findall(r"`([^`]+)`", section.partition(".")[0]) == list(KERNEL_MODES)
