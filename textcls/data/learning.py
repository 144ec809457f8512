"""What an encoder learns from the train split besides its vocabulary."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from textcls.arrow import Int32, Int64, booleans, lengths_of
from textcls.corpus.splits import RowLabels
from textcls.data.char_ngrams import CharNgrams
from textcls.data.features import Features, parts_of
from textcls.data.token_weights import Float32, learned
from textcls.data.tokens import Tokens
from textcls.data.words import chars_of_vocabulary

if TYPE_CHECKING:
    from textcls.data.encoder import TextEncoder


def with_chars(made: TextEncoder, tokens: Tokens) -> TextEncoder:
    """Return an encoder with the character n-grams that have a row, where it is to have any."""
    config = made.config
    if config.char_ngrams is None or config.name == "fasttext":  # whose buckets all have a row
        return made
    counts = tokens.counts()
    chars, distinct = CharNgrams.fit(
        tokens.dictionary.filter(booleans(counts > 0)),
        counts[counts > 0],
        config.char_ngrams,
        config.char_min_freq,
        config.char_buckets,
    )
    what = "distinct in train" if config.char_buckets is None else "buckets used by train"
    note = f"character n-grams: {len(chars):,} kept of {distinct:,} {what}"
    return dataclasses.replace(made, chars=chars, notes=(*made.notes, note))


def with_weights(
    made: TextEncoder, tokens: Tokens, labels: RowLabels | None
) -> tuple[TextEncoder, deque[Features] | None]:
    """Return an encoder with the weights of its features.

    Args:
        made: has its vocabulary and its character n-grams.
        tokens: of the texts of train.
        labels: of the texts, for the weights that go by them.

    Returns:
        The encoder, and the features of the texts where these were needed for it.
    """
    config, num_texts = made.config, len(tokens.offsets) - 1
    features = None
    if config.token_weights is not None or (made.chars and config.char_token_weights):
        words, _ = made.numbered(tokens.dictionary)
        features = deque(made.features(tokens, words))
    if config.token_weights is not None and features is not None:
        num_specials = len(made.vocabulary.specials)
        weights = learned(
            config.token_weights, features, made.num_features, num_specials, num_texts, labels
        )
        _weigh_new_words(made, weights)
        made = dataclasses.replace(made, token_weights=weights)
        if config.token_weights == "bm25":
            mean_length = max(float(lengths_of(tokens.offsets).mean()), 1.0)
            made = dataclasses.replace(made, mean_length=mean_length)
    if made.chars is not None:
        made = _with_weights_of_chars(made, features, num_texts, labels)
    return made, features


def _weigh_new_words(made: TextEncoder, weights: Float32) -> None:
    """Let words that train lacks weigh what its words do on average: of labels nothing is known."""
    counts, of_words = made.vocabulary.counts, weights[: len(made.vocabulary)]
    is_new = made.is_word & (counts == 0)
    known = of_words[made.is_word & ~is_new]
    of_words[is_new] = (known.mean() if len(known) else 0) or 1


def _with_weights_of_chars(
    made: TextEncoder, features: deque[Features] | None, num_texts: int, labels: RowLabels | None
) -> TextEncoder:
    """Return an encoder with weights of character n-grams, and of words with these."""
    assert made.chars is not None
    offsets, chars = chars_of_vocabulary(made)
    how, each = made.config.char_token_weights, np.ones(len(made.chars), np.float32)
    if how is not None and features is not None:
        # An n-gram is in a text where a word that has it is.
        of_texts = parts_of(features, offsets, chars, len(each))
        each = learned(how, of_texts, len(each), 0, num_texts, labels)
    each = each * np.float32(made.config.char_weight)
    weights = with_weights_of_parts(made.token_weights, each, offsets, chars, made.num_features)
    return dataclasses.replace(made, token_weights=weights, char_weights=each)


def with_weights_of_parts(
    own: Float32 | None, each: Float32, offsets: Int64, chars: Int32, num_features: int
) -> Float32:
    """Return the weights of features that are composed of character n-grams as well.

    Args:
        own: those of the features by themselves, float32 ``[num_features]``; None: all weigh 1.
        each: of the character n-grams, float32.
        offsets: of the character n-grams of each id of the vocabulary.
        chars: places in ``each``.
        num_features: words and word n-grams.
    """
    weights = np.ones(num_features, np.float32) if own is None else own.copy()
    words = weights[: len(offsets) - 1]
    word = np.repeat(np.arange(len(words)), lengths_of(offsets))
    squares = np.bincount(word, each[chars] ** 2, len(words))
    words[:] = np.sqrt(words.astype(np.float64) ** 2 + squares)
    return weights
