"""Pretrained vectors of the words of train, and of words that train lacks.

They stand beside what is trained, and in the same bags. The word with id ``t`` weighs there
``f(count) · token_weights[t]``, and the bag is to have its vector ``f(count)`` times: the row that
is kept is the vector over ``token_weights[t]``. So a bag of such rows is pooled as one of the
table's, and what is learned of vectors can be added to the table. Any other word consists of its
pieces, where these have vectors: each is to be there ``f(count)`` over their number times, and
weighs as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from textcls.arrow import Int32, booleans, integers, lengths_of, strings
from textcls.data.token_weights import Float32
from textcls.data.train_tokens import TrainTokens
from textcls.errors import InputError
from textcls.vectors.found import PretrainedVectors
from textcls.vectors.pieces import PieceVectors

if TYPE_CHECKING:
    from textcls.data.encoder import TextEncoder
    from textcls.data.tokenizer import Tokenizer

# Words that are taken from the beginning of the vectors' file: those after them are rare.
MORE_WORDS = 100_000
# The most frequent tokens without a vector that are named.
_NAMED = 8


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """Vectors of tokens.

    Attributes:
        tokens: distinct Arrow strings.
        vectors: float32 ``[len(tokens), width]``.
        pieces: those of which words beside these consist; None: there are none.
    """

    tokens: pa.Array
    vectors: Float32
    pieces: PieceVectors | None = None


@dataclass(frozen=True, eq=False)
class WordRows:
    """Rows of vectors for some ids: what stands beside the table.

    Attributes:
        ids: int32 ``[n]``, ascending.
        rows: float32 ``[n, width]``.
    """

    ids: Int32
    rows: Float32


def read_vectors(
    pretrained: PretrainedVectors, tokenizer: Tokenizer, tokens: TrainTokens
) -> TokenVectors:
    """Read the vectors of the words of train, and of words beside these.

    A vector is that of the one token that its word is to the tokenizer; of words that are the same
    token, the one that is spelled as the token is, or else the first, counts.

    Args:
        pretrained: what to read.
        tokenizer: of the texts.
        tokens: of the texts of train.

    Raises:
        InputError: the vectors cannot be read, or the tokenizer's tokens are no words.
        OSError: a file cannot be read.
    """
    if tokenizer.json is not None or tokenizer.config.name in ("revtok", "subword"):
        raise InputError(
            f"model.vectors has vectors of words, tokenizer={tokenizer.config.name} makes tokens "
            "of other kinds: set tokenizer=basic"
        )
    of_train = frozenset(tokens.dictionary.filter(booleans(tokens.counts() > 0)).to_pylist())
    words, vectors, pieces = pretrained.read(of_train, MORE_WORDS)
    split = tokenizer.use_up([strings(words)])
    names = split.dictionary.to_pylist()
    place_of: dict[str, int] = {}
    for place in np.flatnonzero(lengths_of(split.offsets) == 1).tolist():
        name = names[split.codes[split.offsets[place]]]
        if " " not in name and (
            name not in place_of or name == words[place] != words[place_of[name]]
        ):
            place_of[name] = place  # (a name with a space would be that of an n-gram)
    if of_train.isdisjoint(place_of):
        raise InputError(
            f"model.vectors={pretrained.name}: none of the {len(of_train):,} distinct tokens of "
            "train has a vector: are they of another language?"
        )
    return TokenVectors(strings(list(place_of)), vectors[list(place_of.values())], pieces)


def word_rows(encoder: TextEncoder, found: TokenVectors) -> WordRows:
    """Return the rows of an encoder's ids that have a vector, those of pieces of words included.

    The vectors' mean over the words of train is taken off: all texts would have it.

    Args:
        encoder: with the tokens of the vectors in its vocabulary.
        found: the vectors.
    """
    ids = encoder.vocabulary.ids(found.tokens)
    order = np.argsort(ids)
    order = order[ids[order] != encoder.vocabulary.unknown_id]
    ids, rows = ids[order], found.vectors[order]
    counts = encoder.vocabulary.counts[ids].astype(np.float64)
    mean = counts @ rows / counts.sum() if counts.any() else np.zeros(rows.shape[1])
    weights = np.ones(len(ids)) if encoder.token_weights is None else encoder.token_weights[ids]
    if found.pieces is not None:
        own = np.arange(encoder.first_piece, encoder.num_embeddings, dtype=np.int32)
        ids, rows = np.append(ids, own), np.concatenate([rows, found.pieces.vectors])
        weights = np.append(weights, np.ones(len(own)))
    rows = rows - mean.astype(np.float32)
    rows /= np.where(weights > 0, weights, 1)[:, None]
    rows[weights <= 0] = 0
    return WordRows(ids, np.ascontiguousarray(rows, np.float32))


def coverage(found: TokenVectors, tokens: TrainTokens) -> str:
    """Return a sentence on how much of train has a vector.

    Args:
        found: the vectors.
        tokens: of the texts of train.
    """
    counts = tokens.counts()
    (there,) = counts.nonzero()
    names, counts = tokens.dictionary.take(integers(there)).to_pylist(), counts[there]
    known = frozenset(found.tokens.to_pylist())
    has_one = np.array([name in known for name in names], np.bool_)
    (without,) = (~has_one).nonzero()
    most = without[np.argsort(-counts[without], kind="stable")][:_NAMED]
    named = ", ".join(f"{names[place]} ({counts[place]:,})" for place in most.tolist())
    return (
        f"vectors of {found.vectors.shape[1]} numbers: {has_one.sum():,} of {len(names):,} "
        f"distinct tokens of train have one ({has_one.mean():.1%}), which are "
        f"{counts[has_one].sum() / counts.sum():.1%} of its tokens, and "
        f"{len(known) - has_one.sum():,} words that train lacks; "
        + (f"most frequent without: {named}" if named else "none is without")
    )
