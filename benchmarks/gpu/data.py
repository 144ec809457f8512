"""Corpora as token ids, in one small file: they go where neither texts nor Arrow are."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from benchmarks.corpora import Corpus
from textcls.data.bags import Bags
from textcls.errors import InputError, first_line
from textcls.files import whole_file

SPLITS = ("train", "validation", "test")
# Odd, so that the hash of a bigram is one-to-one in its first word.
MULTIPLIER = 116_049_371
# Bags, tokens of each and token ids that are left of a corpus for --quick.
QUICK_BAGS, QUICK_LENGTH, QUICK_TOKENS = 2, 4, 50


@dataclass(frozen=True)
class Packed:
    """A corpus as token ids, on the CPU."""

    num_embeddings: int
    num_classes: int
    padding_id: int
    unknown_id: int
    train: Bags
    validation: Bags
    test: Bags


def pack(file: Path, found: Mapping[str, Corpus]) -> None:
    """Write corpora as token ids: words, one row each, validation cut from train as in training."""
    from benchmarks.peers.ours import configure, prepared

    arrays: dict[str, npt.NDArray[Any]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name, corpus in found.items():
            made = prepared(configure([*corpus.overrides(), f"cache_dir={cache}"]))
            facts = {
                "num_embeddings": made.encoder.num_embeddings,
                "num_classes": len(made.label_names),
                "padding_id": made.encoder.vocabulary.padding_id,
                "unknown_id": made.encoder.vocabulary.unknown_id,
            }
            arrays[f"{name}/facts"] = np.array(json.dumps(facts))
            for split in SPLITS:
                bags: Bags = getattr(made, split)
                for key in ("indices", "lengths", "labels"):
                    arrays[f"{name}/{split}/{key}"] = _smallest(getattr(bags, key).numpy())
    with whole_file(file) as scratch, scratch.open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)


def _smallest(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return whole numbers, 0 and up, in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def load(file: Path) -> dict[str, Packed]:
    """Return the corpora of a file by name.

    Raises:
        InputError: it is missing, damaged, or none of :func:`pack`'s.
    """
    found = {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            for name in dict.fromkeys(key.partition("/")[0] for key in arrays.files):
                facts = json.loads(str(arrays[f"{name}/facts"]))
                bags = {}
                for split in SPLITS:
                    indices, lengths, labels = (
                        torch.from_numpy(arrays[f"{name}/{split}/{key}"].astype(kind))
                        for key, kind in (("indices", "i4"), ("lengths", "i8"), ("labels", "i8"))
                    )
                    offsets = F.pad(lengths.cumsum(0), (1, 0))
                    bags[split] = Bags(indices, offsets, labels, facts["num_embeddings"])
                found[name] = Packed(**(facts | bags))
    except Exception as error:  # NumPy and zipfile raise a dozen kinds
        raise InputError(
            f"{file}: is no file of `python -m benchmarks.gpu pack` ({first_line(error)})"
        ) from None
    return found


def shrunk(packed: Packed) -> Packed:
    """Return a little of a corpus: few and short bags over few tokens."""
    small: dict[str, Any] = {}
    for split in SPLITS:
        whole: Bags = getattr(packed, split)
        bags = whole.slice(0, min(QUICK_BAGS, len(whole)))
        rows = torch.split(bags.indices, bags.lengths.tolist())
        parts = [row[:QUICK_LENGTH] for row in rows]
        offsets = F.pad(torch.tensor([len(part) for part in parts]).cumsum(0), (1, 0))
        small[split] = Bags(torch.cat(parts) % QUICK_TOKENS, offsets, bags.labels, QUICK_TOKENS)
    return Packed(QUICK_TOKENS, packed.num_classes, packed.padding_id, packed.unknown_id, **small)


def with_bigrams(bags: Bags, num_embeddings: int, buckets: int) -> Bags:
    """Append to each bag its bigrams: a hash of two neighbours, above the ids of the words."""
    indices, offsets = bags.indices.numpy(), bags.offsets.numpy()
    lengths = np.diff(offsets)
    starts = np.concatenate([[0], np.cumsum(lengths + np.maximum(lengths - 1, 0))])
    bag = np.repeat(np.arange(len(bags)), lengths)
    place = np.arange(len(indices)) - offsets[bag]  # in its bag
    made = np.empty(starts[-1], np.int32)
    made[starts[bag] + place] = indices
    first = np.flatnonzero(place + 1 < lengths[bag])
    hashed = (indices[first].astype(np.int64) * MULTIPLIER + indices[first + 1]) % buckets
    made[(starts[bag] + lengths[bag] + place)[first]] = num_embeddings + hashed
    return Bags(
        torch.from_numpy(made), torch.from_numpy(starts), bags.labels, num_embeddings + buckets
    )
