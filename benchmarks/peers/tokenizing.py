"""Text to ids and offsets with a vocabulary built on the way, as others do it."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from benchmarks.corpora import read
from benchmarks.peers import timed


def torchtext(train: str) -> dict[str, Any]:
    """torchtext: ``basic_english``, its vocabulary, and a loop that looks tokens up."""
    from torchtext.data.utils import get_tokenizer
    from torchtext.vocab import build_vocab_from_iterator

    texts, _ = read(train)
    tokenize = get_tokenizer("basic_english")
    times: dict[str, Any] = {}
    with timed(times, "seconds_of_work"):
        rows = [tokenize(text) for text in texts]
        lookup = build_vocab_from_iterator(rows).stoi
        indices, _ = _flat([[lookup[token] for token in row] for row in rows])
    return times | {"tokens": len(indices)}


def hugging_face(train: str) -> dict[str, Any]:
    """Hugging Face tokenizers, in Rust: lower case, punctuation apart, whole words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    texts, _ = read(train)
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=10_000_000, special_tokens=["<unk>", "<pad>"], show_progress=False
    )
    times: dict[str, Any] = {}
    with timed(times, "seconds_of_work"):
        tokenizer.train_from_iterator(texts, trainer)
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        indices, _ = _flat([encoding.ids for encoding in encodings])
    return times | {"tokens": len(indices)}


def _flat(rows: list[list[int]]) -> tuple[Any, Any]:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1])), offsets
