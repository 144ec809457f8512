"""The same classifier as plain torch programs: what textcls is compared with to judge its loop."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.corpora import read
from benchmarks.peers import scores, timed


def plain(overrides: list[str], seed: int) -> dict[str, Any]:
    """Train on textcls's bags as its ``experiment=plain`` does: ``nn.EmbeddingBag``, Adagrad.

    The backward pass is torch's own. Neither validation nor checkpoints: the training seconds are
    those of the epochs alone.
    """
    from benchmarks.peers.ours import configure, prepared
    from textcls.data.batches import batches
    from textcls.data.sharded import in_memory
    from textcls.data.windows import in_order

    times: dict[str, Any] = {"threads": torch.get_num_threads()}
    config = configure(["experiment=plain", *overrides])
    with timed(times, "prepare_seconds"):
        corpus = prepared(config)
    train, test = in_memory(corpus.train), in_memory(corpus.test)

    torch.manual_seed(seed)
    embedding = nn.EmbeddingBag(
        len(corpus.encoder.vocabulary),
        config.model.dim,
        mode=config.model.mode,
        include_last_offset=True,
    )
    nn.init.uniform_(embedding.weight, -0.05, 0.05)
    linear = nn.Linear(config.model.dim, len(corpus.label_names))
    nn.init.zeros_(linear.bias)
    with torch.no_grad():
        embedding.weight[corpus.encoder.vocabulary.unknown_id] = 0
    model = nn.Sequential(nn.Dropout(config.model.dropout), linear)
    optimizer = torch.optim.Adagrad(
        [*embedding.parameters(), *linear.parameters()], config.optimizer.lr, fused=True
    )
    size, epochs = config.trainer.batch_size, config.trainer.epochs
    steps = epochs * -(-len(train.labels) // size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)

    began = time.perf_counter()
    for _ in range(epochs):
        whole = in_order(train, torch.randperm(len(train)), size)
        for batch in batches(whole, transposed=False):
            bags = batch.bags
            loss = F.cross_entropy(model(embedding(bags.indices, bags.offsets.int())), bags.labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    times["train_seconds"] = time.perf_counter() - began
    times["tokens_per_second"] = epochs * len(train.indices) / times["train_seconds"]

    with torch.inference_mode():
        predicted = linear(embedding(test.indices, test.offsets.int())).argmax(1)
    return times | scores(test.labels.tolist(), predicted.tolist())


# The usual example: a list of token tensors, a collate function, sparse gradients, SGD.
DIM = 32
EPOCHS = 10
BATCH_SIZE = 64
LR = 5.0
GAMMA = 0.7  # of the learning rate, each epoch


def torchtext_style(train: str, test: str, seed: int) -> dict[str, Any]:
    """Train as torchtext's classic example does: dataset of tensors, ``collate_fn``, sparse SGD."""
    from torch.utils.data import DataLoader
    from torchtext.data.utils import get_tokenizer
    from torchtext.vocab import build_vocab_from_iterator

    torch.manual_seed(seed)
    times: dict[str, Any] = {"threads": torch.get_num_threads()}
    tokenize = get_tokenizer("basic_english")

    with timed(times, "prepare_seconds"):
        texts, labels = read(train)
        names = sorted(set(labels))
        tokens = [tokenize(text) for text in texts]
        ids = build_vocab_from_iterator(tokens).stoi
        data = [
            (torch.tensor([ids[token] for token in row], dtype=torch.int64), names.index(label))
            for row, label in zip(tokens, labels, strict=True)
        ]
    count = sum(len(row) for row, _ in data)

    def collate(batch: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        rows = [row for row, _ in batch]
        offsets = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        return torch.cat(rows), offsets, torch.tensor([label for _, label in batch])

    embedding = nn.EmbeddingBag(len(ids), DIM, sparse=True)
    linear = nn.Linear(DIM, len(names))
    for weight in (embedding.weight, linear.weight):
        nn.init.uniform_(weight, -0.5, 0.5)
    optimizer = torch.optim.SGD([*embedding.parameters(), *linear.parameters()], LR)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, GAMMA)
    loader: Any = DataLoader(data, BATCH_SIZE, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]

    with timed(times, "train_seconds"):
        for _ in range(EPOCHS):
            for indices, offsets, targets in loader:
                loss = F.cross_entropy(linear(embedding(indices, offsets)), targets)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            schedule.step()
    times["tokens_per_second"] = EPOCHS * count / times["train_seconds"]

    texts, labels = read(test)
    with timed(times, "predict_seconds"), torch.inference_mode():
        rows = [
            (torch.tensor([ids[token] for token in tokenize(text)], dtype=torch.int64), 0)
            for text in texts
        ]
        predicted = []
        for start in range(0, len(rows), 1024):
            indices, offsets, _ = collate(rows[start : start + 1024])
            predicted += linear(embedding(indices, offsets)).argmax(1).tolist()
    return times | scores(labels, [names[i] for i in predicted])
