"""The labels of the rows of all shards, numbered once all are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textcls.arrow import booleans
from textcls.config import DataConfig
from textcls.corpus.labels import FoundLabels
from textcls.corpus.notes import notes_of_rows
from textcls.corpus.rows import RowReader, Rows
from textcls.corpus.splits import SPLITS, RowLabels
from textcls.data.sharding.sortedness import difference
from textcls.data.sharding.token_shard import read_tensors, token_shard, write_tensors
from textcls.errors import InputError
from textcls.naming import option

# Classes without a row in train that are named.
_NAMED = 5


def read_labels(folder: Path, number: int) -> RowLabels:
    """Return the labels of the rows of a shard of tokens, with what the rows weigh."""
    arrays, _ = read_tensors(_label_shard(folder, number))
    return RowLabels(*(arrays.get(name) for name in ("ids", "offsets", "weights", "shares")))  # type: ignore[arg-type]


def _label_shard(folder: Path, number: int) -> Path:
    return folder / f"labels-{number:05d}.safetensors"


class NumberedLabels:
    """Numbers the labels of the rows of all shards, and counts them.

    Args:
        folder: of the shards.
        readers: of the splits, that have read all rows.
        names: of the classes.
        several: whether rows have any number of them.
    """

    def __init__(
        self, folder: Path, readers: dict[str, RowReader], names: list[str], several: bool
    ) -> None:
        self._folder, self._readers, self._names = folder, readers, names
        self._several = several
        self._test: list[RowLabels] = []
        self._by_class: list[npt.NDArray[np.int64]] = []
        # By split that a row was read from, and by split that it is in.
        self._bounds: dict[str, tuple[float, float]] = {}
        self._weights: defaultdict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)

    def number(self, number: int, split: str, first: int) -> None:
        """Write the labels of a shard, whose first row is number ``first`` of a split."""
        wanted = ("splits", "weights", "label_codes", "label_counts", "label_shares")
        arrays, _ = read_tensors(token_shard(self._folder, number), wanted)
        found = FoundLabels(*(arrays[name] for name in wanted[2:]))
        weights, splits = arrays.get("weights"), arrays["splits"]
        rows = Rows([], found, weights)
        labels = self._readers[split].numbered(rows, self._names, self._several, "train", first)
        stored = {"ids": labels.ids, "offsets": labels.offsets, "shares": labels.shares}
        there = {name: array for name, array in stored.items() if array is not None}
        if weights is not None:
            there["weights"] = weights
            low, high = self._bounds.get(split, (np.inf, -np.inf))
            self._bounds[split] = min(low, weights.min()), max(high, weights.max())
        write_tensors(_label_shard(self._folder, number), there, {})
        for place, name in enumerate(SPLITS):
            own = splits == place
            if weights is not None and own.any():
                of_split = weights[own]
                summed = [of_split.min(), of_split.max(), of_split.sum(), len(of_split)]
                self._weights[name].append(np.array(summed))
        self._test.append(labels.select(splits == 2))
        of_train = labels.select(splits == 0).hard()
        if len(of_train):
            self._by_class.append(np.bincount(of_train.ids, minlength=len(self._names)))

    @property
    def test(self) -> RowLabels:
        """The labels of the test split."""
        return RowLabels.concatenate([part for part in self._test if len(part)])

    def notes(self, config: DataConfig, no_text: Mapping[str, int]) -> Iterator[str]:
        """Yield sentences on the rows of each split that was read."""
        for split, reader in self._readers.items():
            yield from notes_of_rows(config, split, reader, no_text[split], self._bounds.get(split))
        found = set(self._readers["train"].labels.distinct)  # a model may know more
        in_train = np.sum(self._by_class, axis=0)
        missing = [
            name
            for name, count in zip(self._names, in_train, strict=True)
            if not count and name in found
        ]
        if missing:
            named = ", ".join(f"'{name:.40}'" for name in missing[:_NAMED])
            more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
            yield (
                f"train has no row of {named}{more}: all were held out, by a hash of their number; "
                f"give {option('validation', 'FILE')} and {option('test', 'FILE')}"
            )

    def weights(self) -> dict[str, tuple[float, float]]:
        """Return by split the largest weight of a row, and the mean in relation to it.

        Raises:
            InputError: every row of a split weighs 0.
        """
        found = {}
        for split, parts in self._weights.items():
            low, high = min(part[0] for part in parts), max(part[1] for part in parts)
            total, count = sum(part[2] for part in parts), sum(part[3] for part in parts)
            if not high:
                raise InputError(f"every row of {split} weighs 0: give some a weight")
            if low < high:
                found[split] = float(high), float(total / high / count)
        return found

    def sortedness(self) -> float:
        """Return how much a shard of train differs from all of train in the shares of labels."""
        return difference(np.stack(self._by_class).astype(np.float64))


def mask(wanted: npt.NDArray[np.bool_]) -> pa.ChunkedArray:
    """Return what an Arrow table of texts is filtered by, of bool ``[num_rows]``."""
    return pa.chunked_array([booleans(wanted)])
