"""Tokens of some rows of a corpus, on the disk until their bags are made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from textcls.arrow import Int32, Int64, as_numpy, integers, lengths_of, offsets_of, strings
from textcls.checksum import check, check_file, with_checksum
from textcls.corpus.labels import FoundLabels
from textcls.corpus.splits import bytes_of
from textcls.corpus.weights import Float64
from textcls.data.counting import UInt64, frequent
from textcls.data.duplicates import Bools
from textcls.data.tokens import Tokens
from textcls.errors import TextclsError, first_line
from textcls.files import whole_file

# So many distinct tokens are counted; and so many of parts are held before they are added up.
CAPACITY = 1 << 24
_HELD = 1 << 22
_LABELS = ("label_codes", "label_counts", "label_shares")


def check_written(path: Path) -> None:
    """Read a file that has a checksum.

    Raises:
        DamagedError: it is missing, or not what was written.
    """
    try:
        check_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise DamagedError(f"{path}: is missing or damaged ({first_line(error)})") from None


class DamagedError(TextclsError):
    """A file of an unfinished preparation is not what was written."""


@dataclass(frozen=True)
class TokenShard:
    """The tokens of some rows, and what else is asked of the rows.

    Attributes:
        tokens: of the rows, in their order.
        splits: uint8 ``[num_rows]``: the place in ``SPLITS`` of the split that each is in.
        hashes: uint64 ``[num_rows]``, of their texts.
        are_empty: bool ``[num_rows]``, which texts are.
        labels: not yet numbered.
        weights: what the rows weigh, float64 ``[num_rows]``; None: they have no weights.
        facts: what is known of the rows, as JSON has it.
    """

    tokens: Tokens
    splits: npt.NDArray[np.uint8]
    hashes: UInt64
    are_empty: Bools
    labels: FoundLabels
    weights: Float64 | None
    facts: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write it; the file is there whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        data, ends = bytes_of(self.tokens.dictionary)
        arrays = {
            "codes": self.tokens.codes,
            "offsets": self.tokens.offsets,
            "letters": np.frombuffer(data[ends[0] : ends[-1]], np.uint8),
            "ends": (ends - ends[0]).astype(np.int32),
            "counts": rows_of(self.tokens, self.splits == 0).counts(),
            "splits": self.splits,
            "hashes": self.hashes.view(np.int64),
            "are_empty": self.are_empty,
            "label_codes": self.labels.codes,
            "label_counts": self.labels.counts,
            "label_shares": self.labels.shares,
        }
        if self.weights is not None:
            arrays["weights"] = self.weights
        write_tensors(path, arrays, self.facts)

    @classmethod
    def load(cls, path: Path) -> TokenShard:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedError: it is missing or damaged.
        """
        arrays, facts = read_tensors(path)
        return cls(
            Tokens(arrays["codes"], _dictionary(arrays), arrays["offsets"]),
            arrays["splits"],
            arrays["hashes"].view(np.uint64),
            arrays["are_empty"],
            FoundLabels(*(arrays[name] for name in _LABELS)),
            arrays.get("weights"),
            facts,
        )


def token_shard(folder: Path, number: int) -> Path:
    """Return the path of a shard of tokens."""
    return folder / f"tokens-{number:05d}.safetensors"


def write_tensors(
    path: Path,
    arrays: Mapping[str, npt.NDArray[Any]],
    facts: Mapping[str, Any],
    synced: bool = False,
) -> None:
    """Write arrays, and facts as JSON, with a checksum; there whole or not at all.

    See :func:`~textcls.files.whole_file` for ``synced``.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()
    }
    with whole_file(path, synced) as scratch:
        metadata = with_checksum(tensors, {"facts": json.dumps(facts)})
        safetensors.torch.save_file(tensors, scratch, metadata)


def read_tensors(
    path: Path, names: Sequence[str] | None = None
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote: all of it, checked, or some of the arrays.

    Raises:
        DamagedError: it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            there = file.keys()
            wanted = there if names is None else [name for name in names if name in there]
            tensors = {name: file.get_tensor(name) for name in wanted}
        if names is None:
            check(tensors, metadata)
        facts: dict[str, Any] = json.loads(metadata["facts"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DamagedError(f"{path}: is missing or damaged ({first_line(error)})") from None
    return {name: tensor.numpy() for name, tensor in tensors.items()}, facts


def rows_of(tokens: Tokens, wanted: Bools) -> Tokens:
    """Return the tokens of some texts, bool ``[num_texts]``, over the same dictionary."""
    if wanted.all():
        return tokens
    lengths = lengths_of(tokens.offsets)
    codes = tokens.codes[np.repeat(wanted, lengths)]
    return Tokens(codes, tokens.dictionary, offsets_of(lengths[wanted]))


class TokenParts:
    """The tokens of the train split in shards: :class:`~textcls.data.train_tokens.TrainTokens`.

    Args:
        paths: of the shards.

    Attributes:
        dictionary: the distinct tokens of train, of the most frequent ``CAPACITY`` at most.
        error: by how much their counts may be too low at most.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.num_tokens = self.num_texts = 0
        counter = _WordCounter(CAPACITY)
        for path in paths:
            names = ["letters", "ends", "counts", "splits"]
            arrays, _ = read_tensors(path, names)
            self.num_texts += int((arrays["splits"] == 0).sum())
            self.num_tokens += int(arrays["counts"].sum())
            counter.add(_dictionary(arrays), arrays["counts"])
        self.dictionary, self._counts = counter.total()
        self.error = counter.error

    def counts(self) -> Int64:
        """Return how often each token of the dictionary stands: int64 ``[len(dictionary)]``."""
        return self._counts

    def parts(self) -> Iterator[Tokens]:
        """Yield the tokens of the rows of train in one shard after another."""
        for path in self._paths:
            shard = TokenShard.load(path)
            tokens = rows_of(shard.tokens, shard.splits == 0)
            if len(tokens.offsets) > 1:
                yield tokens


class _WordCounter:
    """Adds up how often each word stands; see :class:`~textcls.data.counting.KeyCounter`."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self.error = capacity, 0
        self._words, self._counts = [strings([])], [np.zeros(0, np.int64)]
        self._held = 0

    def add(self, words: pa.Array, counts: Int64) -> None:
        """Add counts of distinct words."""
        self._words.append(words)
        self._counts.append(counts)
        self._held += len(words)
        if self._held > _HELD + len(self._words[0]):
            self._merge()

    def total(self) -> tuple[pa.Array, Int64]:
        """Return the words that stand anywhere, and their counts."""
        self._merge()
        (there,) = self._counts[0].nonzero()
        return self._words[0].take(integers(there)), self._counts[0][there]

    def _merge(self) -> None:
        chunks = [words for words in self._words if len(words)]
        counts = np.concatenate(self._counts)
        encoded = pa.chunked_array(chunks, pa.string()).dictionary_encode().combine_chunks()
        words = encoded.dictionary if chunks else strings([])
        codes: Int32 = as_numpy(encoded.indices) if chunks else np.zeros(0, np.int32)
        sums = np.bincount(codes, counts, len(words)).astype(np.int64)  # exact below 2**53
        if len(words) > self._capacity:
            kept, least = frequent(sums, self._capacity // 2)
            words, sums = words.take(integers(kept)), sums[kept]
            self.error += least
        self._words, self._counts, self._held = [words], [sums], 0


def _dictionary(arrays: Mapping[str, npt.NDArray[Any]]) -> pa.Array:
    ends, letters = pa.py_buffer(arrays["ends"]), pa.py_buffer(arrays["letters"])
    return pa.StringArray.from_buffers(len(arrays["ends"]) - 1, ends, letters)
