from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from textcls.data.bags import Bags
from textcls.data.shard import save_shard, shard_name
from textcls.data.sharded import ShardedBags
from textcls.errors import InputError

NUM_EMBEDDINGS = 50
KINDS = ("plain", "weighted", "several", "shares")


def make_bags(kind: str, num_bags: int = 40, seed: int = 0) -> Bags:
    """Return bags, some of them empty, with all that such bags have."""
    rng = np.random.default_rng(seed)
    offsets = np.append(0, rng.integers(0, 6, num_bags).cumsum())
    more: dict[str, Any] = {}
    num_labels = num_bags
    if kind == "weighted":
        more["weights"] = torch.from_numpy(rng.random(offsets[-1], dtype=np.float32))
        more["example_weights"] = torch.from_numpy(rng.random(num_bags, dtype=np.float32))
    if kind in ("several", "shares"):
        counts = rng.integers(1 if kind == "shares" else 0, 3, num_bags)
        more["label_offsets"] = torch.from_numpy(np.append(0, counts.cumsum()))
        num_labels = int(counts.sum())
        if kind == "shares":
            more["label_shares"] = torch.from_numpy(np.repeat(1 / counts, counts)).float()
    indices = torch.from_numpy(rng.integers(0, NUM_EMBEDDINGS, offsets[-1], dtype=np.int32))
    labels = torch.from_numpy(rng.integers(0, 3, num_labels))
    return Bags(indices, torch.from_numpy(offsets), labels, NUM_EMBEDDINGS, **more)


def tensors_of(bags: Bags) -> dict[str, torch.Tensor]:
    names = (
        "indices", "offsets", "labels", "weights", "label_offsets", "example_weights",
        "label_shares",
    )  # fmt: skip
    return {name: one for name in names if (one := getattr(bags, name)) is not None}


def sharded(bags: Bags, folder: Path, sizes: list[int]) -> ShardedBags:
    """Write bags as shards of such numbers of bags, and open them."""
    cuts = np.append(0, np.cumsum(sizes)).tolist()
    assert cuts[-1] == len(bags)
    paths = [folder / shard_name("train", number) for number in range(len(sizes))]
    found = [
        save_shard(path, tensors_of(bags.slice(start, stop)))
        for path, start, stop in zip(paths, cuts[:-1], cuts[1:], strict=True)
    ]
    return ShardedBags(paths, found, bags.num_embeddings, bags.ordered)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_the_bags_that_were_written(kind: str, tmp_path: Path) -> None:
    bags = make_bags(kind)
    found = sharded(bags, tmp_path, [15, 1, 24])
    found.verify()
    assert (len(found), found.num_tokens) == (len(bags), bags.num_tokens)
    assert found.has_weights == bags.has_weights
    for mine, theirs in zip(found.targets, bags.targets, strict=True):
        if mine is None or theirs is None:
            assert mine is theirs
        else:
            assert torch.equal(mine, theirs)
    assert Bags.concatenate(list(found.shards())) == bags
    assert found.slice(0, 40) == bags
    assert found.slice(3, 33) == bags.slice(3, 33)
    for numbers in ([], [39], [20, 3, 3, 0, 15, 39], list(range(40))):
        of_these = torch.tensor(numbers, dtype=torch.int64)
        assert found.select(of_these) == bags.select(of_these)
    rows, first = torch.tensor([0, 2, 15, 16, 30]), bags.slice(5, 9)
    assert found.read(rows, first) == Bags.concatenate([first, bags.select(rows)])


def test_what_is_read_does_not_change_with_the_files(tmp_path: Path) -> None:
    bags = make_bags("plain")
    found = sharded(bags, tmp_path, [40]).slice(0, 40)
    path = tmp_path / shard_name("train", 0)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert found == bags


def test_only_bags_are_written(tmp_path: Path) -> None:
    tensors = tensors_of(make_bags("plain"))
    with pytest.raises(ValueError, match="offsets"):
        save_shard(tmp_path / "x", tensors | {"offsets": np.arange(3)})
    assert not list(tmp_path.iterdir())


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    bags = make_bags("plain")
    found = sharded(bags, tmp_path, [20, 20])
    first, second = (tmp_path / shard_name("train", number) for number in range(2))
    whole = second.read_bytes()
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    for content, complaint in (
        (bytes(damaged), "checksum"),
        (whole[:-5], "damaged"),
        (first.read_bytes(), "damaged .* is not I"),
        (b"", "damaged"),
        (b"\xff" * 100, "does not begin as a shard"),
    ):
        second.write_bytes(content)
        with pytest.raises(InputError, match=rf"train-00001\.safetensors: .*{complaint}"):
            found.verify()
    second.unlink()
    for ask in (found.verify, lambda: found.targets, lambda: found.slice(10, 30)):
        with pytest.raises(InputError, match=r"train-00001.* is missing or damaged"):
            ask()
    other = save_shard(second, tensors_of(make_bags("weighted").slice(20, 40)))
    with pytest.raises(InputError, match=r"train-00001.* other tensors than train-00000"):
        ShardedBags([first, second], [found.sizes[0], other]).select(torch.tensor([30]))
