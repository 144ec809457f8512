"""A corpus after tokenizing: tokens in place of texts, from which bags are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from textcls.arrow import release_memory
from textcls.config import TokenizerConfig
from textcls.corpus.corpus import Corpus
from textcls.corpus.splits import RowLabels
from textcls.data.duplicates import Texts
from textcls.data.tokenizer import Tokenizer, learns
from textcls.data.tokens import Tokens
from textcls.defaults import CorpusFacts, measure, resolve_group


@dataclass(frozen=True)
class TokenizedCorpus:
    """The tokens of a corpus, and what else is asked of its texts.

    Attributes:
        corpus: without its texts.
        tokenizer: that made the tokens.
        tokens: of all rows: those of train, then those of validation and test.
        texts: facts about the texts of all rows, in the same order.
        rows: of each split, train first: its first row, and the one after its last.
        joined: so many rows at the end of train are those of validation, which is no split then.
        test_set: a hash of the test split's texts and labels.
        about: what settings are chosen by.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    tokens: Tokens
    texts: Texts
    rows: dict[str, tuple[int, int]]
    joined: int
    test_set: str
    about: CorpusFacts

    def with_joined(self) -> TokenizedCorpus:
        """Return the corpus with the rows of validation in train, after its own."""
        start, stop = self.rows["validation"]
        rows = {"train": (0, stop), "test": self.rows["test"]}
        return dataclasses.replace(self, rows=rows, joined=stop - start)


def tokenize(
    corpus: Corpus, config: TokenizerConfig, joined: bool = False, json: str | None = None
) -> TokenizedCorpus:
    """Tokenize a corpus; the texts are taken out of it on the way.

    Args:
        corpus: its texts and labels.
        config: of the tokenizer.
        joined: whether the tokenizer, if it learns, learns from the texts of validation too, which
            are joined to those of train.
        json: the content of a tokenizer.json; None: the tokenizer learns it, if it does.

    Raises:
        InputError: the tokenizer cannot be used.
    """
    labels = corpus.train.labels
    about = measure(
        corpus.train.chunks, len(corpus.label_names), labels.several, labels.shares is not None
    )
    config = resolve_group("tokenizer", config, about)
    test_set = corpus.test.fingerprint(corpus.label_names)
    to_learn_from = None
    if learns(config) and json is None:
        more = corpus.validation.chunks if joined else []
        to_learn_from = pa.chunked_array([*corpus.train.chunks, *more])
    tokenizer = Tokenizer(config, to_learn_from, json)
    del to_learn_from

    parts = corpus.splits.values()
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    rows = dict(zip(corpus.splits, pairwise(ends), strict=True))
    chunks = [chunk for part in parts for chunk in part.chunks]
    for part in parts:
        part.chunks.clear()  # from here on the list alone holds the texts
    texts = Texts.of(chunks, RowLabels.concatenate([part.labels for part in parts]))
    tokens = tokenizer.use_up(chunks)
    release_memory()  # of the texts
    whole = TokenizedCorpus(corpus, tokenizer, tokens, texts, rows, 0, test_set, about)
    return whole.with_joined() if joined else whole
