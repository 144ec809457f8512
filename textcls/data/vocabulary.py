"""Vocabulary: which tokens have an embedding, and in which row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int32, as_numpy, booleans, integers, offsets_of, strings
from textcls.corpus.splits import bytes_of
from textcls.data.ngram_tree import CountedNgrams, NgramTree
from textcls.data.tokens import Index, Tokens, look_up
from textcls.data.train_tokens import TrainTokens

UNKNOWN = "<unk>"
PADDING = "<pad>"


class Vocabulary:
    """Tokens in the order of their ids: first the specials, then by frequency, then by token.

    The order is that of torchtext's ``Vocab``. Id 0 stands for every unknown token. Id 1 is
    torchtext's ``<pad>``: bags need no padding, so no text gets it, and its embedding row is
    never used. The words ``<unk>`` and ``<pad>`` in a text are unknown tokens like any other.

    Args:
        tokens: all tokens, those of ``specials`` first.
        specials: tokens that stand for no text, ``<unk>`` first, then ``<pad>``.
        counts: how often each token stands in the train split, int64 ``[len(tokens)]``;
            the specials' own counts are 0, but for ``<unk>``: all tokens left out.
        trusted: whether the tokens are known to be distinct: to see that takes time and memory.

    Raises:
        ValueError: a token that stands twice, or specials that do not come first.
    """

    unknown_id = 0
    padding_id = 1

    def __init__(
        self,
        tokens: pa.Array | Sequence[str],
        counts: npt.NDArray[np.int64] | Sequence[int],
        specials: Sequence[str] = (UNKNOWN, PADDING),
        trusted: bool = False,
    ) -> None:
        self.tokens = tokens if isinstance(tokens, pa.Array) else strings(tokens)
        self._index = Index(self.tokens)
        self.counts = np.asarray(counts, np.int64)
        self.specials = tuple(specials)
        if self.specials[:2] != (UNKNOWN, PADDING):
            raise ValueError(f"specials must begin with {UNKNOWN} and {PADDING}")
        if self.tokens.slice(0, len(self.specials)).to_pylist() != list(self.specials):
            raise ValueError(f"the first tokens must be the specials {self.specials}")
        if len(self.counts) != len(self.tokens):
            raise ValueError(f"{len(self.tokens)} tokens but {len(self.counts)} counts")
        is_distinct = trusted or len(pc.unique(self.tokens)) == len(self.tokens)
        if not is_distinct or self.tokens.null_count:
            raise ValueError("each token must stand once")
        self._trees: dict[int, NgramTree] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def to_json(self) -> str:
        """Return it as JSON, as model folders have it."""
        return json.dumps(
            {"tokens": self.tokens.to_pylist(), "counts": self.counts.tolist()},
            ensure_ascii=False,
            separators=(",", ":"),
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays, which :meth:`from_arrays` reads back, many times as fast as JSON."""
        data, ends = bytes_of(self.tokens)
        return {
            "tokens": np.frombuffer(data[ends[0] : ends[-1]], np.uint8),
            "ends": (ends - ends[0]).astype(np.int32),
            "counts": self.counts,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Vocabulary:
        """Put together what :meth:`arrays` returned, without a look at the tokens.

        Raises:
            ValueError, KeyError: it is something else.
        """
        ends, data = pa.py_buffer(arrays["ends"]), pa.py_buffer(arrays["tokens"])
        tokens = pa.StringArray.from_buffers(len(arrays["ends"]) - 1, ends, data)
        return cls(tokens, arrays["counts"], trusted=True)

    @classmethod
    def build(
        cls,
        tokens: TrainTokens,
        min_freq: int = 1,
        max_size: int | None = None,
        specials: Sequence[str] = (UNKNOWN, PADDING),
        more: CountedNgrams | None = None,
    ) -> Vocabulary:
        """Build from the tokens of the train split.

        Args:
            tokens: of the train split only: what stands in the other splits must stay unseen.
            min_freq: leave out tokens that stand fewer times.
            max_size: keep at most so many tokens, the specials not counted (as torchtext does).
            specials: see the class.
            more: n-grams of these tokens.
        """
        names, counts = tokens.dictionary, tokens.counts()
        if more is not None:
            own, own_counts = more.names, more.counts
            if more.keys is None:
                # A word that holds a space may be named as an n-gram is: one row for both.
                words = names.filter(booleans(counts > 0))
                new = pc.invert(pc.is_in(own, value_set=words))
                own, own_counts = own.filter(new), own_counts[as_numpy(new)]
            names, counts = pa.concat_arrays([names, own]), np.append(counts, own_counts)
        is_special = pc.is_in(names, value_set=strings(specials))
        wanted = (counts >= max(min_freq, 1)) & ~as_numpy(is_special)
        candidates = np.flatnonzero(wanted)
        order = pc.sort_indices(
            pa.table(
                {
                    "count": integers(counts[candidates]),
                    "token": names.take(integers(candidates)),
                }
            ),
            sort_keys=[("count", "descending"), ("token", "ascending")],
        )
        chosen = candidates[as_numpy(order)][:max_size]
        kept = names.take(integers(chosen))
        words = chosen[chosen < len(tokens.dictionary)]  # an n-gram left out is no unknown token
        special_counts = np.zeros(len(specials), np.int64)
        special_counts[cls.unknown_id] = tokens.num_tokens - counts[words].sum()
        vocabulary = cls(
            pa.concat_arrays([strings(specials), kept]),
            np.concatenate([special_counts, counts[chosen]]),
            specials,
            trusted=True,
        )
        if more is not None and more.keys is not None:
            ids = np.full(len(names), -1, np.int32)
            ids[chosen] = np.arange(len(specials), len(vocabulary))
            tree = NgramTree.of_counted(tokens.dictionary, more.keys, ids[len(tokens.dictionary) :])
            vocabulary._trees[len(more.keys) + 1] = tree
        return vocabulary

    def extended(self, other: Vocabulary) -> Vocabulary:
        """Return this vocabulary and, after it, what another has besides: ids of this one stay.

        Counts are those of both together.

        Args:
            other: with the same specials.
        """
        there = as_numpy(pc.index_in(other.tokens, value_set=self.tokens), null=-1)
        is_new = there < 0
        counts = self.counts.copy()
        np.add.at(counts, there[~is_new], other.counts[~is_new])
        new = other.tokens.filter(booleans(is_new))
        return Vocabulary(
            pa.concat_arrays([self.tokens, new]),
            np.concatenate([counts, other.counts[is_new]]),
            self.specials,
            trusted=True,
        )

    def with_words(self, words: pa.Array) -> Vocabulary:
        """Return it with more words at its end, which train lacks: those of them that are new.

        Args:
            words: distinct Arrow strings without spaces.
        """
        is_new = booleans(self.ids(words) == self.unknown_id)
        added = words.filter(is_new)
        added = added.filter(pc.invert(pc.is_in(added, value_set=strings(self.specials))))
        counts = np.append(self.counts, np.zeros(len(added), np.int64))
        tokens = pa.concat_arrays([self.tokens, added])
        longer = Vocabulary(tokens, counts, self.specials, trusted=True)
        longer._trees = self._trees
        return longer

    def tree(self, longest: int) -> NgramTree:
        """Return what finds the n-grams of 2 to ``longest`` words that have an id."""
        if longest not in self._trees:
            self._trees[longest] = NgramTree.of_names(self.tokens, longest)
        return self._trees[longest]

    def ids(self, words: pa.Array) -> Int32:
        """Return the ids of Arrow strings, int32; unknown ones get ``unknown_id``."""
        found = self._index.positions(words)
        return np.where(found <= self.padding_id, np.int32(self.unknown_id), found)

    def encode(self, tokens: Tokens) -> Int32:
        """Return the tokens' ids, int32 ``[num_tokens]``; unknown tokens get ``unknown_id``."""
        return look_up(self.ids(tokens.dictionary), tokens.codes)

    def unknown_shares(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Return the share of unknown tokens of each text, float32 ``[num_texts]``.

        A text without tokens has nothing that is known: 1.
        """
        known = offsets_of(self.encode(tokens) != self.unknown_id)[tokens.offsets]
        shares: npt.NDArray[np.float64] = 1 - np.diff(known) / np.diff(tokens.offsets).clip(min=1)
        return shares.astype(np.float32)
