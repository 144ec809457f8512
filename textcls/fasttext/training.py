"""Training with fastText's arguments, by the training loop of textcls."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from textcls.arrow import Int64, offsets_of
from textcls.config import (
    ModelConfig,
    OptimizerConfig,
    Reading,
    ScheduleConfig,
    TokenizerConfig,
    TrainerConfig,
)
from textcls.corpus.lines import FastTextFile
from textcls.corpus.opening import Unpacked
from textcls.data.encoder import TextEncoder
from textcls.data.targets import Targets
from textcls.data.tokenizer import Tokenizer
from textcls.errors import InputError
from textcls.fasttext_models.format import ModelFile
from textcls.model.embedding_bag import untrained
from textcls.model.parts import ModelParts
from textcls.model.to_fasttext import as_model_file
from textcls.task.tasks import task_of
from textcls.training.apart import apart
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.tracking import Listener

# What has no meaning here, by fastText's defaults: whoever sets it is told so.
MEANINGLESS: dict[str, tuple[Any, str]] = {
    "ws": (5, "is for vectors of words"),
    "neg": (5, "is for negative sampling, which textcls does not train"),
    "lrUpdateRate": (100, "is when threads agree on the rate, which falls with each step here"),
    "t": (1e-4, "is for vectors of words"),
    "minCountLabel": (0, "is not there: leave labels out of the file"),
    "label": ("__label__", "is fixed: begin labels with __label__"),
    "pretrainedVectors": ("", "is not there: textcls train has model.vectors"),
    "autotuneValidationFile": ("", "is not there: textcls train has tune=default"),
    "autotuneMetric": ("f1", "is not there: textcls train has tune=default"),
    "autotunePredictions": (1, "is not there: textcls train has tune=default"),
    "autotuneDuration": (300, "is not there: textcls train has tune=default"),
    "autotuneModelSize": ("", "is not there: textcls compress has --max-size"),
}
LOSSES = ("softmax", "ova")


@dataclasses.dataclass(frozen=True)
class Options:
    """fastText's arguments of a supervised training, with its defaults."""

    lr: float = 0.1
    dim: int = 100
    epoch: int = 5
    minCount: int = 1  # noqa: N815
    minn: int = 0
    maxn: int = 0
    wordNgrams: int = 1  # noqa: N815
    loss: str = "softmax"
    bucket: int = 2_000_000
    thread: int = 1
    seed: int = 0


def train(path: Path, options: Options) -> ModelFile:
    """Train on a file of fastText's format.

    The result is the same whatever the number of threads.

    Raises:
        InputError: the file or an option is none that can be trained with.
        OSError: the file cannot be read.
    """
    texts, labels = _read(path)
    names, counts = _ranked(labels)
    targets = _targets(labels, names, options.loss)
    settings = _Settings.of(options, targets.num_bags)
    tokenizer = Tokenizer(settings.tokenizer)
    tokens = tokenizer.use_up(texts)
    encoder, encoded = TextEncoder.learn_and_encode(tokenizer, tokens)
    if len(encoder.vocabulary) == len(encoder.vocabulary.specials):
        raise InputError(f"{path}: minCount={options.minCount} leaves no word")
    bags = encoder.bags(encoded, targets)
    with apart(options.seed, options.thread):
        model = untrained(encoder, len(names), settings.model)
        model.linear.bias.requires_grad_(False)  # fastText has none
        fit(
            model,
            bags,
            validation=None,
            label_names=tuple(names),
            config=settings,
            checkpoints=Checkpoints(),
            tracker=Listener(),
        )
    parts = ModelParts(
        model.eval().requires_grad_(False), encoder, tuple(names), task=task_of(bags)
    )
    file = as_model_file(parts)
    arguments = dataclasses.replace(
        file.arguments, epoch=options.epoch, minn=options.minn, maxn=options.maxn
    )
    return dataclasses.replace(file, arguments=arguments, label_counts=counts)


def _read(path: Path) -> tuple[list[pa.Array], pa.ListArray]:
    """Return the texts of a file, and the labels of each."""
    file = FastTextFile(Unpacked(path), Reading(), "replace")
    table = pa.Table.from_batches(
        batch for part in file.batches(["text", "label"]) for batch in part.to_batches()
    )
    return table.column("text").chunks, table.column("label").combine_chunks()


def _ranked(labels: pa.ListArray) -> tuple[list[str], Int64]:
    """Return the labels, the most frequent first, as fastText has them, and their counts."""
    counts = Counter(labels.flatten().to_pylist())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [name for name, _ in ranked], np.array([count for _, count in ranked], np.int64)


def _targets(labels: pa.ListArray, names: list[str], loss: str) -> Targets:
    """Return the labels of texts; for a softmax several share a text evenly.

    (fastText takes one of them by chance in each epoch, which comes to the same on average.)
    """
    places = {name: number for number, name in enumerate(names)}
    of_texts = [sorted({places[name] for name in row}) for row in labels.to_pylist()]
    lengths = np.array([len(row) for row in of_texts], np.int64)
    ids = torch.tensor([number for row in of_texts for number in row])
    offsets = torch.from_numpy(offsets_of(lengths))
    if loss == "ova":
        return Targets(ids, offsets)
    if (lengths == 1).all():
        return Targets(ids)
    return Targets(ids, offsets, shares=torch.from_numpy((1 / lengths).repeat(lengths)).float())


@dataclasses.dataclass(frozen=True)
class _Settings:
    tokenizer: TokenizerConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    seed: int

    @classmethod
    def of(cls, options: Options, num_texts: int) -> _Settings:
        # Larger batches for more texts; gradients are means over them, and Adagrad's sums begin
        # with a number as much smaller as their squares are.
        batch_size = 32 if num_texts < 20_000 else 64 if num_texts < 50_000 else 128
        has_chars = max(options.minn, 1) <= options.maxn
        return cls(
            TokenizerConfig(
                name="fasttext",
                min_freq=options.minCount,
                max_size=None,
                max_tokens=None,
                ngrams=options.wordNgrams,
                buckets=options.bucket,
                char_ngrams=(max(options.minn, 1), options.maxn) if has_chars else None,
            ),
            ModelConfig(mode="mean", dim=options.dim, dropout=0.0),
            # Within a point of fastText's accuracy or above it, at its own rates from 0.05 to 1, on
            # the validation splits of eleven data sets; SGD over batches diverges at rates of 1.
            OptimizerConfig(
                name="adagrad",
                lr=options.lr,
                weight_decay=0.0,
                rows="touched",
                initial_accumulator_value=1e-4 * (32 / batch_size) ** 2,
            ),
            ScheduleConfig(name="linear", warmup=0.0),
            TrainerConfig(
                epochs=options.epoch,
                batch_size=batch_size,
                clip_norm=None,
                class_weights=None,
                label_smoothing=0.0,
                monitor="loss",
                patience=None,
                overfit=None,
                device="cpu",
                num_threads=options.thread,
            ),
            options.seed,
        )
