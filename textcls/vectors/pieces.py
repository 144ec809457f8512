"""Pieces of words, as the tokenizer of a model of static embeddings makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32, Int64, offsets_of
from textcls.hugging_face import tokenizer_of

if TYPE_CHECKING:
    import tokenizers

Float32 = npt.NDArray[np.float32]

# What stands for a part of a word that no piece has.
_UNKNOWN = ("[UNK]", "<unk>")
# Words that are split at one go: they bound the memory that is needed beside.
_WORDS = 10_000


class Pieces(NamedTuple):
    """The pieces of some words: of word ``w`` ``places[offsets[w]:offsets[w + 1]]``.

    Attributes:
        offsets: int64 ``[num_words + 1]``.
        places: int32 ``[n]``, in :attr:`WordPieces.ids`.
        shares: float32 ``[n]``: of each piece, one over how many the word has, those without a row
            included.
    """

    offsets: Int64
    places: Int32
    shares: Float32


@dataclass(frozen=True, eq=False)
class WordPieces:
    """Splits words into pieces, and knows which of these have a row.

    Attributes:
        json: the content of a tokenizer.json.
        ids: int32 ``[num_pieces]``, ascending: the tokenizer's numbers of those that have a row.
    """

    json: str
    ids: Int32

    @classmethod
    def all_of(cls, json: str) -> WordPieces:
        """Return those of a tokenizer.json, of which each has a row.

        Raises:
            ValueError: it cannot be used.
        """
        none = cls(json, np.zeros(0, np.int32))
        ids = set(none.tokenizer.get_vocab().values()) - none._unknown
        # As it is written shortest, and without limits of length.
        return cls(none.tokenizer.to_str(), np.array(sorted(ids), np.int32))

    @cached_property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """What splits words; a ValueError says that the JSON cannot be used."""
        return tokenizer_of(self.json)

    @cached_property
    def _unknown(self) -> frozenset[int | None]:
        return frozenset(map(self.tokenizer.token_to_id, _UNKNOWN))

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPieces, (self.json, self.ids)

    def of_words(self, words: Sequence[str]) -> Pieces:
        """Return the pieces of words.

        A word is spelled as it is, Capitalized or in UPPER case, whichever makes the fewest pieces:
        names are pieces in the case that they mostly have.
        """
        split = [
            ids for at in range(0, len(words), _WORDS) for ids in self._split(words[at:][:_WORDS])
        ]
        counts = np.fromiter(map(len, split), np.int64, len(split))
        ids = np.fromiter((i for own in split for i in own), np.int32, int(counts.sum()))
        word = np.arange(len(split)).repeat(counts)
        places = self.ids.searchsorted(ids)
        there = np.append(self.ids, np.int32(-1))[places] == ids
        numbers = np.bincount(word[there], minlength=len(split))
        shares = (1 / counts[word[there]]).astype(np.float32)
        return Pieces(offsets_of(numbers), places[there].astype(np.int32), shares)

    def names(self, word: str) -> dict[int, str]:
        """Return the pieces of a word that have a row, by their places in ``ids``."""
        places = self.of_words([word]).places.tolist()
        return {place: self.tokenizer.id_to_token(int(self.ids[place])) or "" for place in places}

    def _split(self, words: Sequence[str]) -> list[list[int]]:
        """Return the tokenizer's numbers of the pieces of words."""
        spellings = (list(words), [w.capitalize() for w in words], [w.upper() for w in words])
        encoded = [
            self.tokenizer.encode_batch_fast(spelled, add_special_tokens=False)
            for spelled in spellings
        ]
        unknown = self._unknown
        found = (
            [[i for i in one.ids if i not in unknown] for one in of]
            for of in zip(*encoded, strict=True)
        )
        return [min(filter(None, own), key=len, default=[]) for own in found]


class PieceVectors(NamedTuple):
    """Vectors of pieces: that of a word is their mean.

    Attributes:
        pieces: of a model of static embeddings.
        vectors: float32 ``[len(pieces), width]``.
    """

    pieces: WordPieces
    vectors: Float32
