"""Texts to bags: the one object that training, a model folder and serving share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch

from textcls.arrow import Int32, Int64
from textcls.config import TokenizerConfig
from textcls.data.bags import Bags
from textcls.data.ngrams import NgramIds, build_vocabulary
from textcls.data.tokenizer import Tokenizer
from textcls.data.tokens import Tokens
from textcls.data.vocabulary import Vocabulary

VOCABULARY, TOKENIZER = "vocabulary.json", "tokenizer.json"


class Encoded(NamedTuple):
    """Bags before they have labels.

    Attributes:
        indices: int32 ``[num_indices]``.
        offsets: int64 ``[num_texts + 1]``.
    """

    indices: Int32
    offsets: Int64


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """Turns texts into bags of ids, the same way in training and in serving.

    Attributes:
        tokenizer: splits texts; ``max_tokens`` included.
        vocabulary: of the words and exact n-grams, whose ids are the first rows of the embedding.
        kept_buckets: the buckets of hashed n-grams that have a row, ascending, int32; None: all.
        notes: sentences for the user on what was learned; empty where it was read.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    kept_buckets: Int32 | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, texts: pa.ChunkedArray, config: TokenizerConfig) -> TextEncoder:
        """Learn from the texts of the train split, Arrow strings.

        Raises:
            InputError: the tokenizer's package or file is missing or unusable.
        """
        tokenizer = Tokenizer(config, texts)
        return cls.learn(tokenizer, tokenizer(texts))

    @classmethod
    def learn(cls, tokenizer: Tokenizer, tokens: Tokens) -> TextEncoder:
        """Learn from the tokens of the train split."""
        vocabulary, notes = build_vocabulary(tokens, tokenizer.config)
        return cls(tokenizer, vocabulary, notes=tuple(notes))

    @property
    def config(self) -> TokenizerConfig:
        """How texts are split and encoded."""
        return self.tokenizer.config

    @property
    def num_embeddings(self) -> int:
        """How many rows the embedding has: those of the vocabulary, then the buckets."""
        kept = self.kept_buckets
        return len(self.vocabulary) + ((self.config.buckets or 0) if kept is None else len(kept))

    @cached_property
    def ids(self) -> NgramIds:
        """What numbers the words and the word n-grams."""
        return NgramIds(self.vocabulary, self.config, self.kept_buckets)

    def encode(self, texts: Sequence[pa.Array]) -> Bags:
        """Turn arrays of texts (null: an empty text) into bags; their labels are all 0."""
        indices, offsets = self.encode_tokens(self.tokenizer.use_up(list(texts)))
        return Bags(
            torch.from_numpy(indices),
            torch.from_numpy(offsets),
            torch.zeros(len(offsets) - 1, dtype=torch.int64),
            num_embeddings=self.num_embeddings,
        )

    def encode_tokens(self, tokens: Tokens) -> Encoded:
        """Turn the tokens of texts into bags."""
        return Encoded(*self.ids(tokens))

    def save(self, folder: Path) -> None:
        """Write what :meth:`load` reads into a folder.

        Raises:
            OSError: it cannot be written.
        """
        (folder / VOCABULARY).write_text(self.vocabulary.to_json(), encoding="utf-8")
        if self.tokenizer.json is not None:
            (folder / TOKENIZER).write_text(self.tokenizer.json, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, config: TokenizerConfig) -> TextEncoder:
        """Read what :meth:`save` wrote.

        Raises:
            OSError, ValueError, KeyError, TypeError, InputError: it is missing or something else.
        """
        path = folder / TOKENIZER
        json = path.read_text(encoding="utf-8") if path.exists() else None
        text = (folder / VOCABULARY).read_text(encoding="utf-8")
        return cls(Tokenizer(config, json=json), Vocabulary.from_json(text))
