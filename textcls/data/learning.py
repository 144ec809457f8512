"""What an encoder learns from the train split besides its vocabulary."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from textcls.arrow import Int32, Int64, booleans, lengths_of
from textcls.corpus.splits import RowLabels
from textcls.data.char_ngrams import CharNgrams
from textcls.data.features import Features, parts_of
from textcls.data.token_weights import Float32, LearnedWeights
from textcls.data.tokens import Tokens
from textcls.data.train_tokens import TrainTokens
from textcls.data.words import chars_of_vocabulary
from textcls.threads import made_ahead, usable_cpus

if TYPE_CHECKING:
    from textcls.data.encoder import TextEncoder


# A word has up to twenty character n-grams: their weights are learned from texts of about so many
# tokens, evenly spaced, where there are more.
CHARS_OF_TOKENS = 1 << 26


def with_chars(made: TextEncoder, tokens: TrainTokens) -> TextEncoder:
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


def features_of(made: TextEncoder, tokens: TrainTokens) -> Iterable[Features]:
    """Return the features of the texts of train: held, where their tokens are in memory."""

    def found(part: Tokens) -> Iterator[Features]:
        words, _ = made.numbered(part.dictionary)
        return made.features(part, words)

    if isinstance(tokens, Tokens):
        return deque(found(tokens))
    parts = made_ahead(lambda part: list(found(part)), tokens.parts(), 1, min(2, usable_cpus()))
    return chain.from_iterable(parts)


def held(features: Iterable[Features] | None) -> deque[Features] | None:
    """Return features where they are held, None where they have been used up."""
    return features if isinstance(features, deque) else None


def with_weights(
    made: TextEncoder, tokens: TrainTokens, labels: RowLabels | None
) -> tuple[TextEncoder, deque[Features] | None]:
    """Return an encoder with the weights of its features.

    Args:
        made: has its vocabulary and its character n-grams.
        tokens: of the texts of train.
        labels: of the texts, for the weights that go by them.

    Returns:
        The encoder, and the features of the texts where these were needed for it, and are held.
    """
    config = made.config
    of_features = of_chars = features = None
    if config.token_weights is not None:
        num_specials = len(made.vocabulary.specials)
        of_features = LearnedWeights(config.token_weights, made.num_features, num_specials, labels)
    if made.chars is not None:
        offsets, chars = chars_of_vocabulary(made)
        if config.char_token_weights is not None:
            of_chars = LearnedWeights(config.char_token_weights, len(made.chars), 0, labels)
    if of_features is not None or of_chars is not None:
        features = features_of(made, tokens)
        every = -(-tokens.num_tokens // CHARS_OF_TOKENS)
        first = 0
        for number, some in enumerate(features):
            if of_features is not None:
                of_features.add(some, first)
            if of_chars is not None and made.chars is not None and number % every == 0:
                # An n-gram is in a text where a word that has it is.
                of_chars.add(parts_of(some, offsets, chars, len(made.chars)), first)
            first += len(some.num_words)
        if of_chars is not None and every > 1:
            note = f"weights of character n-grams: learned from one text of {every:,}"
            made = dataclasses.replace(made, notes=(*made.notes, note))
    if of_features is not None:
        weights = of_features.weights()
        _weigh_new_words(made, weights)
        made = dataclasses.replace(made, token_weights=weights)
        if config.token_weights == "bm25":
            mean_length = max(tokens.num_tokens / tokens.num_texts, 1.0)
            made = dataclasses.replace(made, mean_length=mean_length)
    if made.chars is not None:
        each = np.ones(len(made.chars), np.float32) if of_chars is None else of_chars.weights()
        each = each * np.float32(config.char_weight)
        weights = with_weights_of_parts(made.token_weights, each, offsets, chars, made.num_features)
        made = dataclasses.replace(made, token_weights=weights, char_weights=each)
    return made, held(features)


def _weigh_new_words(made: TextEncoder, weights: Float32) -> None:
    """Let words that train lacks weigh what its words do on average: of labels nothing is known."""
    counts, of_words = made.vocabulary.counts, weights[: len(made.vocabulary)]
    is_new = made.is_word & (counts == 0)
    known = of_words[made.is_word & ~is_new]
    of_words[is_new] = (known.mean() if len(known) else 0) or 1


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
