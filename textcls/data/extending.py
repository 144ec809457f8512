"""An encoder that knows more: that of a trained model, with what another train split has besides.

All that the model knows stays: ids of the vocabulary, weights of features, character n-grams. A
text without a feature that is new has the same bag as before. What is new gets an id after those of
the vocabulary, and a weight that is learned from the new train split alone.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textcls.corpus.splits import RowLabels
from textcls.data.features import Features
from textcls.data.learning import features_of, held, with_weights_of_parts
from textcls.data.ngrams import build_vocabulary
from textcls.data.token_weights import Float32, LearnedWeights
from textcls.data.tokenizer import Tokenizer
from textcls.data.train_tokens import TrainTokens
from textcls.data.words import chars_of_vocabulary

if TYPE_CHECKING:
    from textcls.data.encoder import TextEncoder


@dataclass(frozen=True, eq=False)
class Known:
    """What a trained model knows before it has seen a new corpus.

    Attributes:
        encoder: of its texts.
        label_names: of class 0, 1, 2, …
        digest: a hash of the model.
    """

    encoder: TextEncoder
    label_names: tuple[str, ...]
    digest: str


def extended(
    known: TextEncoder, tokenizer: Tokenizer, tokens: TrainTokens, labels: RowLabels | None
) -> tuple[TextEncoder, deque[Features] | None]:
    """Return an encoder that knows the features of new texts as well.

    Args:
        known: of the model.
        tokenizer: of the new texts, which splits as that of ``known`` does.
        tokens: of the texts of the new train split.
        labels: of these texts, for the weights that go by them.

    Returns:
        The encoder, and the features of the texts where these were needed for it, and are held.
    """
    found, notes = build_vocabulary(tokens, tokenizer.config)
    vocabulary = known.vocabulary.extended(found)
    before, after = len(known.vocabulary), len(vocabulary)
    made = dataclasses.replace(
        known,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        token_weights=None,
        notes=(*notes, f"vocabulary: {before:,} of the model, {after - before:,} new"),
    )
    how, features, own = made.config.token_weights, None, None
    if how is not None:
        features = features_of(made, tokens)
        learned = LearnedWeights(how, made.num_features, len(vocabulary.specials), _present(labels))
        first = 0
        for some in features:
            learned.add(some, first)
            first += len(some.num_words)
        own = learned.weights()
    weights = own
    if made.chars is not None and made.char_weights is not None:
        offsets, chars = chars_of_vocabulary(made)
        weights = with_weights_of_parts(own, made.char_weights, offsets, chars, made.num_features)
    if weights is not None and known.token_weights is not None:
        weights = inserted(known.token_weights, weights[before:after], before)
    return dataclasses.replace(made, token_weights=weights), held(features)


def inserted(old: Float32, new: Float32, place: int) -> Float32:
    """Return values with others in between, from ``place`` on."""
    return np.concatenate([old[:place], new, old[place:]])


def _present(labels: RowLabels | None) -> RowLabels | None:
    """Return labels numbered without those that no row has: these say nothing of any feature."""
    if labels is None:
        return None
    _, ids = np.unique(labels.ids, return_inverse=True)
    return dataclasses.replace(labels, ids=ids)
