"""Training with fastText's arguments, by the training loop of textcls.

``lr`` is the rate of Adagrad, which falls linearly to 0. As that gives each weight steps of its
own, the rates that fastText takes, 0.05 to 1, do here at least as well, and small ones learn much
faster. Results are the same whatever the number of threads.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import TypeAdapter, ValidationError

from textcls.arrow import offsets_of
from textcls.config import Reading
from textcls.corpus.lines import FastTextFile
from textcls.corpus.opening import Unpacked
from textcls.data.bags import Bags
from textcls.data.encoder import TextEncoder
from textcls.data.targets import Targets
from textcls.data.tokenizer import Tokenizer
from textcls.errors import InputError
from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.format import ModelFile
from textcls.model.embedding_bag import EmbeddingBagClassifier, untrained
from textcls.model.from_fasttext import parts_of
from textcls.model.parts import ModelParts
from textcls.model.to_fasttext import as_model_file
from textcls.task.tasks import task_of
from textcls.training.apart import Settings, apart, fit_apart

LOSSES = ("softmax", "ova")
# Adagrad's sums begin with it in batches of 32, in larger ones with as much less as the squares of
# their mean gradients are smaller.
_FIRST_SUM, _SMALL_BATCH = 1e-4, 32


@dataclasses.dataclass(frozen=True)
class Options:
    """How to train, by fastText's names and with its defaults; see :func:`.train_supervised`."""

    lr: float = 0.1
    dim: int = 100
    epoch: int = 5
    minCount: int = 1  # noqa: N815
    minn: int = 0
    maxn: int = 0
    wordNgrams: int = 1  # noqa: N815
    loss: str = "softmax"
    bucket: int = 2_000_000
    thread: int | None = None
    seed: int = 0


def train(path: Path, options: Options) -> ModelFile:
    """Train a model on a file of fastText's format.

    Raises:
        FastTextError: the file or an option is none that can be trained with.
        OSError: the file cannot be read.
    """
    texts, labels = _read(path)
    counts = Counter(labels.flatten().to_pylist())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))  # as fastText has them
    names = tuple(name for name, _ in ranked)
    targets = _targets(labels, names, options.loss)
    settings = _settings_of(options, targets.num_bags)
    tokenizer = Tokenizer(settings.tokenizer)
    encoder, encoded = TextEncoder.learn_and_encode(tokenizer, tokenizer.use_up(texts))
    if len(encoder.vocabulary) == len(encoder.vocabulary.specials):
        raise FastTextError(f"{path}: minCount={options.minCount} leaves no word")
    bags = encoder.bags(encoded, targets)
    with apart(options.seed, options.thread or torch.get_num_threads()):
        model = untrained(encoder, len(names), settings.model)
        _fit(model, bags, names, settings)
    file = as_model_file(ModelParts(model, encoder, names, task=task_of(bags)))
    shown = dataclasses.replace(
        file.arguments, epoch=options.epoch, minn=options.minn, maxn=options.maxn,
        loss=options.loss,
    )  # fmt: skip
    of_labels = np.array([count for _, count in ranked], np.int64)
    return dataclasses.replace(file, arguments=shown, label_counts=of_labels)


def trained_on(file: ModelFile, path: Path, options: Options) -> ModelFile:
    """Go on with the training of a model that is not quantised, on a file of its labels.

    Args:
        file: of the model.
        path: of texts.
        options: ``lr``, ``epoch``, ``thread`` and ``seed`` of it are looked at.

    Raises:
        FastTextError: the file is none that the model can be trained on.
        OSError: the file cannot be read.
    """
    loss = file.arguments.loss
    parts = parts_of(file, path)
    texts, labels = _read(path)
    targets = _targets(labels, parts.label_names, loss)
    settings = _settings_of(dataclasses.replace(options, loss=loss), targets.num_bags)
    bags = parts.encoder.bags(
        parts.encoder.encode_tokens(parts.encoder.tokenizer.use_up(texts)), targets
    )
    rows, dim = parts.model.embedding.weight.shape
    model = EmbeddingBagClassifier(rows, dim, len(parts.label_names), "mean")
    with apart(options.seed, options.thread or torch.get_num_threads()):
        model.load_state_dict(parts.model.state_dict())
        _fit(model, bags, parts.label_names, settings)
    table = model.embedding.weight.detach()[len(parts.encoder.vocabulary.specials) :].numpy()
    return file.with_matrices(_in_order_of(file, table), model.linear.weight.detach().numpy())


def _fit(
    model: EmbeddingBagClassifier, bags: Bags, names: tuple[str, ...], settings: Settings
) -> None:
    model.linear.bias.requires_grad_(False)  # fastText has none
    try:
        fit_apart(model, bags, names, settings)
    except InputError as error:
        raise FastTextError(str(error)) from None
    model.eval().requires_grad_(False)


def _in_order_of(file: ModelFile, rows: Any) -> Any:
    """Return the rows of words and buckets as the input matrix of a file has them."""
    whole, first = file.input.rows(np.arange(file.input.shape[0])), len(file.words)
    order = file.rows_of_buckets
    places = np.arange(len(rows) - first) if order is None else order
    whole[:first], whole[first + places] = rows[:first], rows[first:]
    return whole


def _read(path: Path) -> tuple[list[pa.Array], pa.ListArray]:
    """Return the texts of a file, and the labels of each."""
    try:
        file = FastTextFile(Unpacked(path), Reading(), "replace")
        table = pa.concat_tables(file.batches(["text", "label"]))
    except InputError as error:
        raise FastTextError(str(error)) from None
    return table.column("text").chunks, table.column("label").combine_chunks()


def _targets(labels: pa.ListArray, names: tuple[str, ...], loss: str) -> Targets:
    """Return the labels of texts; for a softmax several share a text evenly.

    (fastText takes one of them by chance in each epoch, which comes to the same on average.)
    """
    if loss not in LOSSES:
        raise FastTextError(f"loss={loss!r}: is not trained here: take one of {', '.join(LOSSES)}")
    places = {name: number for number, name in enumerate(names)}
    new = next((one for one in labels.flatten().to_pylist() if one not in places), None)
    if new is not None:
        raise FastTextError(f"the model has no label {new!r}: leave its texts out")
    of_texts = [sorted({places[name] for name in row}) for row in labels.to_pylist()]
    lengths = np.array([len(row) for row in of_texts], np.int64)
    ids = torch.tensor([number for row in of_texts for number in row])
    offsets = torch.from_numpy(offsets_of(lengths))
    if loss == "ova":
        return Targets(ids, offsets)
    if (lengths == 1).all():
        return Targets(ids)
    return Targets(ids, offsets, shares=torch.from_numpy((1 / lengths).repeat(lengths)).float())


_adapter = TypeAdapter(Settings)


def _settings_of(options: Options, num_texts: int) -> Settings:
    """Return the settings of a training.

    They were chosen on validation splits of eleven data sets, beside fastText with the same ``lr``
    and ``epoch``: see docs/fasttext.md.
    """
    batch_size = _SMALL_BATCH * (1 if num_texts < 20_000 else 2 if num_texts < 50_000 else 4)
    shortest = max(options.minn, 1)
    values = {
        "tokenizer": {
            "name": "fasttext",
            "min_freq": max(options.minCount, 1),
            "max_size": None,
            "max_tokens": None,
            "ngrams": max(options.wordNgrams, 1),
            "buckets": options.bucket,
            "char_ngrams": (shortest, options.maxn) if shortest <= options.maxn else None,
        },
        "model": {"mode": "mean", "dim": options.dim, "dropout": 0.0},
        "optimizer": {
            "name": "adagrad",
            "lr": options.lr,
            "initial_accumulator_value": _FIRST_SUM * (_SMALL_BATCH / batch_size) ** 2,
            "weight_decay": 0.0,
            "rows": "touched",
        },
        "schedule": {"name": "linear", "warmup": 0.0},
        "trainer": {
            "epochs": options.epoch,
            "batch_size": batch_size,
            "clip_norm": None,
            "class_weights": None,
            "label_smoothing": 0.0,
            "monitor": "loss",
            "patience": None,
            "overfit": None,
            "device": "cpu",
            "num_threads": options.thread,
        },
        "seed": options.seed,
    }
    try:
        return _adapter.validate_python(values)
    except ValidationError as error:
        raise FastTextError(_described(error)) from None


# What fastText calls the options that can be wrong.
_NAMES = {
    "tokenizer.min_freq": "minCount", "tokenizer.ngrams": "wordNgrams",
    "tokenizer.buckets": "bucket", "tokenizer.char_ngrams": "maxn", "model.dim": "dim",
    "optimizer.lr": "lr", "trainer.epochs": "epoch", "trainer.num_threads": "thread",
    "seed": "seed",
}  # fmt: skip


def _described(error: ValidationError) -> str:
    """Return what is wrong with an argument, by fastText's name of it."""
    item = error.errors()[0]
    key = ".".join(str(part) for part in item["loc"][:2])
    return f"{_NAMES.get(key, key)}={item['input']!r}: {item['msg'].lower()}"
