"""Texts to bags: the one object that training, a model folder and serving share."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from textcls.arrow import Int32, as_numpy, lengths_of, offsets_of, release_memory
from textcls.config import TokenizerConfig
from textcls.corpus.splits import RowLabels
from textcls.data.bags import Bags
from textcls.data.char_ngrams import CharNgrams
from textcls.data.extending import extended
from textcls.data.fasttext_features import FastTextFeatures
from textcls.data.features import (
    Encoded,
    Features,
    Unknown,
    amounts,
    count_features,
    drained,
    flattened,
    num_entries,
)
from textcls.data.learning import with_chars, with_weights
from textcls.data.ngrams import NgramIds, build_vocabulary
from textcls.data.targets import Targets
from textcls.data.token_weights import Float32, saturated
from textcls.data.tokenizer import Tokenizer
from textcls.data.tokens import PIECE, Tokens, alphabetical
from textcls.data.train_tokens import TrainTokens
from textcls.data.vocabulary import Vocabulary
from textcls.data.words import parts_of_words
from textcls.vectors.pieces import WordPieces

if TYPE_CHECKING:
    from textcls.data.word_vectors import TokenVectors


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """Turns texts into bags of ids, the same way in training and in serving.

    Embedding rows are numbered so: the vocabulary (words, and word n-grams that are exact), the
    buckets of hashed word n-grams, the character n-grams, the pieces of words.

    Where features are counted, a bag has each distinct one once, and its weight is::

        f(count) · token_weights[id] · (1, or ngram_weight for a word n-gram)

    with f the count, 1 + log(count), or 1. Where they are not, each occurrence is an entry. The
    weight of a word that has character n-grams is the root of the sum of the squares of its own
    weight and of theirs: see :mod:`textcls.data.words`.

    A word that is not in the vocabulary has no row. Its place take those of its character n-grams
    that have one, each with the weight ``f(count) · char_weights[n-gram]``, and of its k pieces,
    each with ``f(count) / k``. Without these it is left out where features are
    counted, and has the id 0 elsewhere.

    With the tokenizer ``fasttext`` all this is as :mod:`textcls.data.fasttext_features` has it.

    Attributes:
        tokenizer: splits texts; ``max_tokens`` included.
        vocabulary: of the words and exact n-grams, whose ids are the first rows of the embedding.
        kept_buckets: the buckets of hashed n-grams that have a row, ascending, int32; None: all.
        token_weights: float32 ``[len(vocabulary) + buckets]``, not negative; None: all weigh 1.
        char_weights: of the character n-grams, float32 ``[len(chars)]``, not negative. None with
            character n-grams is what models of formats before 4 have: the n of an unknown word
            weigh ``token_weights[0] · char_weight / √n`` each.
        mean_length: words per text of train, where ``bm25`` needs it.
        chars: the character n-grams that have a row; None: there are none.
        pieces: of words that have a row, since they have pretrained vectors; None: there are none.
        notes: sentences for the user on what was learned; empty where it was read.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    kept_buckets: Int32 | None = None
    token_weights: Float32 | None = None
    char_weights: Float32 | None = None
    mean_length: float | None = None
    chars: CharNgrams | None = None
    pieces: WordPieces | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, texts: pa.ChunkedArray, config: TokenizerConfig, labels: RowLabels | None = None
    ) -> TextEncoder:
        """Learn from the texts of the train split.

        Args:
            texts: Arrow strings.
            config: how to split and encode.
            labels: of the texts, for the weights that go by them.

        Raises:
            InputError: the tokenizer's package or file is missing or unusable.
        """
        tokenizer = Tokenizer(config, texts)
        return cls.learn(tokenizer, tokenizer(texts), labels)

    @classmethod
    def learn(
        cls,
        tokenizer: Tokenizer,
        tokens: TrainTokens,
        labels: RowLabels | None = None,
        known: TextEncoder | None = None,
        vectors: TokenVectors | None = None,
    ) -> TextEncoder:
        """Learn from the tokens of the train split; see :meth:`learn_and_encode`."""
        return cls._learn(tokenizer, tokens, labels, known, vectors)[0]

    @classmethod
    def learn_and_encode(
        cls,
        tokenizer: Tokenizer,
        tokens: Tokens,
        labels: RowLabels | None = None,
        known: TextEncoder | None = None,
        vectors: TokenVectors | None = None,
    ) -> tuple[TextEncoder, Encoded]:
        """Learn from the tokens of the train split, and return its bags as well.

        That takes less time than :meth:`learn` and :meth:`encode_tokens` together.

        Args:
            tokenizer: that split the texts.
            tokens: of the texts.
            labels: of the texts, for the weights that go by them.
            known: what it has stays as it is: see :mod:`textcls.data.extending`.
            vectors: of tokens that are to have an id as well, without spaces, and of pieces that
                unknown words are to consist of; with ``known`` there are none.
        """
        made, features = cls._learn(tokenizer, tokens, labels, known, vectors)
        release_memory()  # of what was counted
        return made, made._encode(tokens, features)

    @classmethod
    def _learn(
        cls,
        tokenizer: Tokenizer,
        tokens: TrainTokens,
        labels: RowLabels | None,
        known: TextEncoder | None = None,
        vectors: TokenVectors | None = None,
    ) -> tuple[TextEncoder, deque[Features] | None]:
        """Return an encoder, and the features of the texts where these were needed for it."""
        if known is not None:
            return extended(known, tokenizer, tokens, labels)
        vocabulary, notes = build_vocabulary(tokens, tokenizer.config)
        made = with_chars(cls(tokenizer, vocabulary, notes=tuple(notes)), tokens)
        if vectors is not None:
            longer = vocabulary.with_words(vectors.tokens)
            pieces = None if vectors.pieces is None else vectors.pieces.pieces
            made = dataclasses.replace(made, vocabulary=longer, pieces=pieces)
        return with_weights(made, tokens, labels)

    @property
    def config(self) -> TokenizerConfig:
        """How texts are split and encoded."""
        return self.tokenizer.config

    @property
    def num_features(self) -> int:
        """How many rows words and word n-grams have: those of the vocabulary, then the buckets."""
        kept = self.kept_buckets
        return len(self.vocabulary) + (self.config.num_buckets if kept is None else len(kept))

    @property
    def num_embeddings(self) -> int:
        """How many rows the embedding has, those of pieces of words at the end."""
        return self.first_piece + (0 if self.pieces is None else len(self.pieces))

    @property
    def first_piece(self) -> int:
        """The row of the first piece, after those of character n-grams."""
        return self.num_features + (0 if self.chars is None else len(self.chars))

    @property
    def has_weights(self) -> bool:
        """Whether the entries of bags have weights."""
        parts = (self.chars, self.pieces)
        return self.config.counts is not None or any(part is not None for part in parts)

    @cached_property
    def ids(self) -> NgramIds:
        """What numbers the words and the word n-grams."""
        return NgramIds(self.vocabulary, self.config, self.kept_buckets)

    @cached_property
    def of_fasttext(self) -> FastTextFeatures | None:
        """What numbers fastText's features, in the place of ``ids``; None: they are others."""
        if self.config.name != "fasttext":
            return None
        return FastTextFeatures(self.vocabulary, self.config, self.kept_buckets)

    @property
    def drops_unknown(self) -> bool:
        """Whether an unknown word without parts is left out of a bag; else it has the id 0."""
        return self.config.counts is not None or self.config.name == "fasttext"

    @cached_property
    def is_ngram(self) -> npt.NDArray[np.bool_]:
        """Which of the vocabulary are word n-grams, bool ``[len(vocabulary)]``.

        Where exact n-grams are counted, a word that holds a space is taken for one.
        """
        if self.config.ngrams == 1 or self.config.num_buckets:
            return np.zeros(len(self.vocabulary), np.bool_)
        spaced: npt.NDArray[np.bool_] = as_numpy(pc.match_substring(self.vocabulary.tokens, " "))
        return spaced

    @cached_property
    def is_word(self) -> npt.NDArray[np.bool_]:
        """Which of the vocabulary are words, bool ``[len(vocabulary)]``: not the specials."""
        is_word = ~self.is_ngram
        is_word[: len(self.vocabulary.specials)] = False
        return is_word

    def count_ngrams(self, ids: Int32) -> int:
        """Return how many of the ids are word n-grams'."""
        is_ngram = np.zeros(self.num_embeddings, np.bool_)
        is_ngram[: len(self.vocabulary)] = self.is_ngram
        is_ngram[len(self.vocabulary) : self.num_features] = True
        pieces = (ids[start : start + PIECE] for start in range(0, len(ids), PIECE))
        return sum(int(np.count_nonzero(is_ngram[piece])) for piece in pieces)

    def are_known(self, ids: Int32) -> npt.NDArray[np.bool_]:
        """Say which rows are those of words or word n-grams of train, bool ``[len(ids)]``."""
        known: npt.NDArray[np.bool_] = ids != self.vocabulary.unknown_id
        known &= ids < self.num_features
        if self.of_fasttext is not None:  # every text has an end
            known &= ids != self.of_fasttext.end_id
        return known

    @cached_property
    def _weights(self) -> Float32 | None:
        """What a feature's count is multiplied by, float32 ``[num_features]``; None: by 1."""
        weights, block = self.token_weights, self.config.ngram_weight
        if block == 1 or self.config.ngrams == 1:
            return weights
        weights = np.ones(self.num_features, np.float32) if weights is None else weights.copy()
        weights[: len(self.vocabulary)][self.is_ngram] *= np.float32(block)
        weights[len(self.vocabulary) :] *= np.float32(block)
        return weights

    # --- encoding ----------------------------------------------------------------------------

    def encode(self, texts: Sequence[pa.Array]) -> Bags:
        """Turn arrays of texts (null: an empty text) into bags; their labels are all 0."""
        encoded = self.encode_tokens(self.tokenizer.use_up(list(texts)))
        labels = torch.zeros(len(encoded.offsets) - 1, dtype=torch.int64)
        return self.bags(encoded, Targets(labels))

    def bags(self, encoded: Encoded, targets: Targets) -> Bags:
        """Return bags with labels."""
        return Bags(
            torch.from_numpy(encoded.indices),
            torch.from_numpy(encoded.offsets),
            targets.ids,
            self.num_embeddings,
            None if encoded.weights is None else torch.from_numpy(encoded.weights),
            targets.offsets,
            targets.weights,
            targets.shares,
        )

    def encode_tokens(self, tokens: Tokens) -> Encoded:
        """Turn the tokens of texts into bags."""
        return self._encode(tokens, None)

    def _encode(self, tokens: Tokens, known: deque[Features] | None) -> Encoded:
        """Turn the tokens of texts into bags; features that are known are let go of on the way."""
        if self.of_fasttext is not None:
            return Encoded(*self.of_fasttext(tokens))
        if not self.has_weights:
            return Encoded(*self.ids(tokens))
        words, unknown = self.numbered(tokens.dictionary)
        found = self.features(tokens, words) if known is None else drained(known)
        pieces = (self._entries(features, unknown) for features in found)
        first = next(pieces, None)
        if first is not None and len(first.offsets) == len(tokens.offsets):
            return first
        # Memory that is never written to is never taken.
        most = self.ids.most(tokens)
        if unknown is not None:
            most += int(num_entries(words, unknown, self.num_embeddings) @ tokens.counts())
        indices, weights = np.empty(most, np.int32), np.empty(most, np.float32)
        lengths, end = [np.zeros(0, np.int64)], 0
        for own, offsets, weight in pieces if first is None else chain([first], pieces):
            indices[end : end + len(own)] = own
            weights[end : end + len(own)] = weight
            end += len(own)
            lengths.append(lengths_of(offsets))
        return Encoded(indices[:end], offsets_of(np.concatenate(lengths)), weights[:end])

    def numbered(self, dictionary: pa.Array) -> tuple[Int32, Unknown | None]:
        """Return an id for each word, int32: of unknown ones -1, 0, or a number past all rows.

        Such a number stands for a word with character n-grams or pieces, which are returned too.
        They follow the alphabet, so that a bag is the same whatever other texts there are.
        """
        words = self.vocabulary.ids(dictionary)
        (places,) = (words == self.vocabulary.unknown_id).nonzero()
        lost = -1 if self.drops_unknown else self.vocabulary.unknown_id
        words[places] = lost
        if (self.chars is None and self.pieces is None) or not len(places):
            return words, None
        names, places = alphabetical(dictionary, places)
        parts = parts_of_words(self, names)
        numbers = np.arange(len(places)) + self.num_embeddings
        words[places] = np.where(lengths_of(parts.offsets) > 0, numbers, lost)
        return words, parts

    def features(self, tokens: Tokens, words: Int32) -> Iterator[Features]:
        """Yield the features of pieces of the texts, by an id for each word of the dictionary."""
        limit = self.num_embeddings + len(words)
        for ids, ends, num_words in self.ids.pieces(tokens, words):
            if self.config.counts is None:
                yield Features(ids, None, ends, num_words)
            else:
                features = count_features(ids, ends, num_words, limit)
                is_binary = self.config.counts == "binary"
                yield features._replace(counts=None) if is_binary else features

    def _entries(self, features: Features, unknown: Unknown | None) -> Encoded:
        """Return the entries of the bags of some texts."""
        ids, _, ends, num_words = features
        weights = amounts(features, self.config.counts)
        if self.mean_length is not None:
            lengths = np.repeat(num_words, lengths_of(ends))
            weights = saturated(weights, lengths, self.mean_length)
        known = ids < self.num_embeddings
        if self._weights is not None:
            weights[known] *= self._weights[ids[known]]
        if unknown is None or known.all():
            return Encoded(ids, ends, weights)
        return flattened(features, weights, unknown, self.num_embeddings)
