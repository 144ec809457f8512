"""Whether the rows of a corpus are sorted: by their labels, or by where they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from textcls.arrow import as_numpy, integers
from textcls.data.sharding.token_shard import TokenParts, token_shard

# It is seen in so many shards, by the shares of so many words.
_COMPARED_SHARDS, _COMPARED_WORDS = 32, 500
# Occurrences of a word that come together.
_BURST = 4


def difference(counts: npt.NDArray[np.float64]) -> float:
    """Return how much rows of counts differ from their sum in the shares of what is counted.

    It is the largest total variation distance of a row, 0 to 1, beyond what chance would give.

    Args:
        counts: ``[num_rows, num_kinds]``.
    """
    number = counts.sum(1)
    counts, number = counts[number > 0], number[number > 0]
    shares = counts.sum(0) / counts.sum()
    distance = np.abs(counts / number[:, None] - shares).sum(1) / 2
    by_chance = 0.4 * np.sqrt(shares).sum() / np.sqrt(number)
    return float(np.max(distance - 3 * by_chance, initial=0))


def sortedness_of_words(folder: Path, num_shards: int) -> float:
    """Return how much a shard of train differs from others in the shares of frequent words."""
    paths = [token_shard(folder, number) for number in range(num_shards)]
    parts = [TokenParts([path]) for path in paths[:: -(-num_shards // _COMPARED_SHARDS)]]
    parts = [part for part in parts if part.num_tokens]
    words = TokenParts(paths[:: -(-num_shards // _COMPARED_SHARDS)])
    most = np.argsort(-words.counts(), kind="stable")[:_COMPARED_WORDS]
    names = words.dictionary.take(integers(most))
    counts = []
    for part in parts:
        place = as_numpy(pc.index_in(names, value_set=part.dictionary), null=-1)
        own = np.append(part.counts(), 0)[place].astype(np.float64)
        # A text has its words several times: as if so many fewer were drawn by chance.
        counts.append(np.append(own, part.num_tokens - own.sum()) / _BURST)
    return difference(np.stack(counts))
