"""The second pass over a corpus that is larger than memory: shards of tokens to shards of bags."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from textcls.config import TokenizerConfig
from textcls.corpus.splits import SPLITS
from textcls.data.duplicates import Compared, Texts
from textcls.data.encoder import TextEncoder
from textcls.data.facts import PieceFacts
from textcls.data.shard import save_shard
from textcls.data.sharding.numbering import read_labels
from textcls.data.sharding.token_shard import (
    TokenShard,
    read_tensors,
    rows_of,
    token_shard,
    write_tensors,
)
from textcls.data.stored import load
from textcls.data.targets import Targets


@dataclass(frozen=True)
class EncodeJob:
    """A shard of tokens that is to become bags.

    Attributes:
        folder: of all shards; its folder ``encoder`` has the encoder.
        number: of the shard.
        config: of the tokenizer.
        num_classes: of the corpus.
        first_rows: how many rows of each of ``SPLITS`` are in the shards before it.
        weights: see :class:`~textcls.data.sharding.reading.ReadCorpus`.
        mixed: a seed, by which the order of the rows of train is chosen anew; None: it stays.
    """

    folder: Path
    number: int
    config: TokenizerConfig
    num_classes: int
    first_rows: tuple[int, ...]
    weights: Mapping[str, tuple[float, float]]
    mixed: int | None


def piece_path(folder: Path, split: str, number: int) -> Path:
    """Return the path of the bags of a split that a shard of tokens became."""
    return folder / f"piece-{split}-{number:05d}.safetensors"


def encode_shard(job: EncodeJob) -> None:
    """Write the bags of a shard by split, and the facts of its rows; unless they are there."""
    path = _facts_path(job.folder, job.number)
    if path.exists():  # written last
        return
    encoder = _encoder(job.folder / "encoder", job.config)
    shard = TokenShard.load(token_shard(job.folder, job.number))
    labels = read_labels(job.folder, job.number)
    arrays: dict[str, npt.NDArray[Any]] = {}
    facts: dict[str, Any] = {}
    for place, split in enumerate(SPLITS):
        wanted = shard.splits == place
        if not wanted.any():
            continue
        tokens, own = rows_of(shard.tokens, wanted), labels.select(wanted)
        encoded = encoder.encode_tokens(tokens)
        texts = Texts(shard.hashes[wanted], shard.are_empty[wanted], own)
        found = PieceFacts.of(texts, tokens, encoder, encoded, job.num_classes)
        compared = Compared.of(texts, job.first_rows[place])
        weights = None
        if own.weights is not None and split in job.weights:
            largest, mean = job.weights[split]
            weights = torch.from_numpy((own.weights / largest / mean).astype(np.float32))
        bags = encoder.bags(encoded, Targets.of(own, weights))
        if split == "train" and job.mixed is not None:
            order = np.random.default_rng([job.mixed, job.number]).permutation(len(bags))
            bags = bags.select(torch.from_numpy(order))
        size = save_shard(piece_path(job.folder, split, job.number), bags.tensors())
        facts[split] = {"size": size, "facts": found.to_json()}
        arrays |= {f"{split}.{name}": array for name, array in asdict(compared).items()}
    arrays = {name: array.view(np.int64) for name, array in arrays.items()}
    write_tensors(path, arrays, facts, synced=True)  # before what it is made of is gone
    token_shard(job.folder, job.number).unlink()


def sizes_of(folder: Path, number: int) -> dict[str, tuple[int, int]]:
    """Return how many bags and tokens a shard came to, by split."""
    _, facts = read_tensors(_facts_path(folder, number), ())
    return {split: tuple(found["size"]) for split, found in facts.items()}


def facts_of(folder: Path, numbers: Sequence[int]) -> dict[str, PieceFacts]:
    """Return the facts of the rows of all shards, by split."""
    facts: dict[str, PieceFacts] = {}
    for number in numbers:
        _, found = read_tensors(_facts_path(folder, number), ())
        for split, of_split in found.items():
            own = PieceFacts.from_json(of_split["facts"])
            facts[split] = facts[split] + own if split in facts else own
    return {split: facts[split] for split in SPLITS}


def compared_of(folder: Path, numbers: Sequence[int], share: int, of: int) -> dict[str, Compared]:
    """Return a share of the texts of all shards, to be compared: see :class:`Compared`."""
    parts: dict[str, list[Compared]] = {split: [] for split in SPLITS}
    for number in numbers:
        arrays, found = read_tensors(_facts_path(folder, number))
        for split in found:
            rows, hashes, labels = (
                arrays[f"{split}.{name}"] for name in ("rows", "hashes", "labels")
            )
            parts[split].append(Compared(rows, hashes.view(np.uint64), labels).share(share, of))
    return {split: Compared.concatenate(own) for split, own in parts.items()}


def _facts_path(folder: Path, number: int) -> Path:
    return folder / f"facts-{number:05d}.safetensors"


@functools.lru_cache(1)
def _encoder(folder: Path, config: TokenizerConfig) -> TextEncoder:
    return load(folder, config)
