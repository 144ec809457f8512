"""Shards of bags out of the pieces that shards of tokens became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from safetensors import safe_open

from textcls.data.bags import Bags
from textcls.data.shard import Shard, save_shard, shard_name
from textcls.data.sharding.encoding import piece_path

Size = tuple[int, int]


@dataclass(frozen=True)
class SpreadJob:
    """A shard of train that takes a slice of every piece, whose rows are in random order.

    Attributes:
        folder: of the pieces.
        target: of the shards.
        number: of the shard.
        pieces: the numbers of all pieces, and how many bags and tokens each has.
    """

    folder: Path
    target: Path
    number: int
    pieces: Sequence[tuple[int, Size]]


def spread(job: SpreadJob) -> Size:
    """Write a shard; return its size."""
    path = job.target / shard_name("train", job.number)
    if path.exists():
        return _size(path)
    count, slices = len(job.pieces), []
    for index, (number, size) in enumerate(job.pieces):
        # Another slice of each: pieces of few rows would all give them to the same shards.
        turn = (job.number + index) % count
        start, stop = (size[0] * place // count for place in (turn, turn + 1))
        bags = Shard(piece_path(job.folder, "train", number), *size).mapped()
        slices.append(bags.slice(start, stop))
    return _save(path, slices)


def joined(
    folder: Path, target: Path, split: str, pieces: Sequence[tuple[int, Size]], num_tokens: int
) -> list[Size]:
    """Make shards of a split of pieces that follow one another; return their sizes.

    Args:
        folder: of the pieces.
        target: of the shards.
        split: its name.
        pieces: their numbers and sizes.
        num_tokens: of a shard, or a little more.
    """
    cuts, held = [0], 0
    for place, (_, size) in enumerate(pieces):
        held += size[1]
        if held >= num_tokens or place == len(pieces) - 1:
            cuts.append(place + 1)
            held = 0
    sizes = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        path = target / shard_name(split, number)
        paths = [(piece_path(folder, split, piece), size) for piece, size in pieces[start:stop]]
        if not path.exists():
            if len(paths) == 1:
                paths[0][0].rename(path)
            else:
                _save(path, [Shard(piece, *size).mapped() for piece, size in paths])
        sizes.append(_size(path))
    return sizes


def _size(path: Path) -> Size:
    with safe_open(path, framework="pt") as file:
        bags, tokens = (file.get_slice(name).get_shape()[0] for name in ("offsets", "indices"))
    return bags - 1, tokens


def _save(path: Path, parts: Sequence[Bags]) -> Size:
    return save_shard(path, Bags.concatenate(parts).tensors())
