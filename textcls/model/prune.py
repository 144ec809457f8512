"""The rows of a table that matter most, with their words and n-grams."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from textcls.arrow import Int64, booleans, integers, lengths_of
from textcls.data.bags import Bags
from textcls.data.encoder import TextEncoder
from textcls.data.token_weights import LEAST_WEIGHT
from textcls.data.vocabulary import Vocabulary
from textcls.data.words import parts_of_words
from textcls.model.exact import with_network
from textcls.model.parts import ModelParts
from textcls.vectors.pieces import WordPieces

# A row matters by its norm times its count to this power. On the validation splits of IMDb, AG News
# and 20 Newsgroups a quarter to a half are about as good, none (the norm alone) is far worse: Adam
# steps as far for a word that stands twice as for one that stands a thousand times.
COUNT_POWER = 1 / 3


def most_important(parts: ModelParts, bags: Bags) -> Tensor:
    """Return the rows, int64 ``[num_embeddings]``, the specials first, then by importance.

    Those of pieces of words come last: their tokenizer takes more room than they do.
    """
    table = parts.model.embedding.weight.detach().cpu()
    scores = table.norm(dim=1) * counts_of(parts, bags) ** COUNT_POWER * weights_of(parts, bags)
    scores[: len(parts.encoder.vocabulary.specials)] = torch.inf
    order: Tensor = scores.argsort(descending=True, stable=True)
    is_piece = order >= parts.encoder.first_piece
    return torch.cat([order[~is_piece], order[is_piece]])


def counts_of(parts: ModelParts, bags: Bags) -> Tensor:
    """Return how often each row stands in train, float32 ``[num_embeddings]``.

    The vocabulary knows it of its tokens. Others are counted in the bags, and brought to scale.
    """
    # Words that train lacks, of pretrained vectors, are rarer than those that stand once.
    counts = torch.from_numpy(parts.encoder.vocabulary.counts).float().clamp(min=0.5)
    total = parts.model.embedding.num_embeddings
    if len(counts) == total:
        return counts
    here = torch.bincount(bags.indices.cpu(), minlength=total).float()
    scale = counts.sum() / here[: len(counts)].sum().clamp(min=1)
    # Half a time, where it stands in no bag.
    return torch.cat([counts, (here[len(counts) :] + 0.5) * scale])


def weights_of(parts: ModelParts, bags: Bags) -> Tensor:
    """Return what each row weighs where it stands, on average, float32 ``[num_embeddings]``.

    What all weigh counts as one more time, and is the weight of a row that stands in no bag.
    """
    total = parts.model.embedding.num_embeddings
    if bags.weights is None or not bags.num_tokens or not parts.model.embedding.pooling.has_linear:
        return torch.ones(total)
    indices, weights = bags.indices.cpu(), bags.weights.cpu()
    counts = torch.bincount(indices, minlength=total)
    sums = torch.bincount(indices, weights.double(), minlength=total)
    return ((sums + weights.double().mean()) / (counts + 1)).float()


def prune(parts: ModelParts, rows: Tensor) -> tuple[ModelParts, Bags]:
    """Keep some rows of the table, with their tokens, buckets, character n-grams or pieces.

    Each pruned word is an unknown one from then on. So the row of ``<unk>`` becomes the mean of all
    words that it stands for, by their counts.

    Args:
        parts: the model; not one of learned weights (see :func:`exact`).
        rows: int64 ``[n]``, different, in any order, the specials among them.

    Returns:
        The model, and a bag for each of the old ids: what takes its place, in new ids. (Where exact
        n-grams are counted, a token that holds a space is taken for one.)
    """
    rows = rows.sort().values
    model, encoder = parts.model, parts.encoder
    vocabulary, table = encoder.vocabulary, model.embedding.weight.detach().cpu()
    kept = _kept(encoder, rows.numpy())
    places = _places_of(encoder, kept, rows)
    kept_table, counts = table[rows], vocabulary.counts.copy()
    # Of those that no id takes the place of it is not asked, whatever it says.
    first = torch.cat([places.indices, places.indices[:1]])[places.offsets[: len(counts)]]
    is_unknown = (first == vocabulary.unknown_id) & (places.lengths[: len(counts)] == 1)
    stand_for = torch.from_numpy(counts) * is_unknown
    if stand_for.any():
        shares = stand_for.double() / stand_for.sum()
        kept_table[vocabulary.unknown_id] = (shares @ table[: len(counts)].double()).float()
    of_kept = kept.vocabulary.counts.copy()
    of_kept[vocabulary.unknown_id] = stand_for.sum()
    kept = dataclasses.replace(kept, vocabulary=Vocabulary(kept.vocabulary.tokens, of_kept))
    pruned = with_network(
        parts, model.embedding.pooling, kept_table, model.linear.weight, model.linear.bias
    )
    return dataclasses.replace(pruned, encoder=kept), places


def _kept(encoder: TextEncoder, rows: Int64) -> TextEncoder:
    """Return an encoder of some rows alone, ascending."""
    vocabulary, starts = encoder.vocabulary, [encoder.num_features, encoder.first_piece]
    of_features, of_chars, of_pieces = np.split(rows, np.searchsorted(rows, starts))
    of_chars, of_pieces = of_chars - encoder.num_features, of_pieces - encoder.first_piece
    tokens = of_features[of_features < len(vocabulary)]
    buckets = (of_features[len(tokens) :] - len(vocabulary)).astype(np.int32)
    if encoder.kept_buckets is not None:
        buckets = encoder.kept_buckets[buckets]
    all_buckets = len(buckets) == encoder.config.num_buckets
    weights, chars, pieces = encoder.token_weights, encoder.chars, encoder.pieces
    if pieces is not None:  # without a row they say nothing, and their tokenizer takes much room
        pieces = WordPieces(pieces.json, pieces.ids[of_pieces]) if len(of_pieces) else None
    return dataclasses.replace(
        encoder,
        vocabulary=Vocabulary(vocabulary.tokens.take(integers(tokens)), vocabulary.counts[tokens]),
        kept_buckets=None if all_buckets else buckets,
        token_weights=None if weights is None else weights[of_features],
        char_weights=None if encoder.char_weights is None else encoder.char_weights[of_chars],
        chars=None if chars is None else dataclasses.replace(chars, keys=chars.keys[of_chars]),
        pieces=pieces,
    )


def _places_of(encoder: TextEncoder, kept: TextEncoder, rows: Tensor) -> Bags:
    """Return what takes the place of each id where only some rows are kept, ascending.

    Of a row that is kept its new number; of a pruned word what the encoder that is kept makes of an
    unknown one: its parts, ``<unk>``, or nothing; of a pruned n-gram nothing.
    """
    size, unknown_id = len(encoder.vocabulary), encoder.vocabulary.unknown_id
    new_ids = torch.full((encoder.num_embeddings,), -1, dtype=torch.int32)
    new_ids[rows] = torch.arange(len(rows), dtype=torch.int32)
    is_lost = (new_ids[:size] < 0) & torch.from_numpy(~encoder.is_ngram)
    numbers, part, weights = torch.zeros(size, dtype=torch.int64), new_ids[:0], torch.ones(0)
    if kept.chars is not None or kept.pieces is not None:
        lost = encoder.vocabulary.tokens.filter(booleans(is_lost.numpy()))
        parts = parts_of_words(kept, lost)
        numbers[is_lost] = torch.from_numpy(lengths_of(parts.offsets))
        part, weights = torch.from_numpy(parts.indices), torch.from_numpy(parts.weights)
    own = torch.ones(encoder.num_embeddings)
    if encoder.token_weights is not None:
        # A bag has the weights of its words: what takes the place of one has its own.
        # (One that weighs nothing adds nothing, whatever it is divided by.)
        of_words = torch.from_numpy(encoder.token_weights[:size]).clamp(min=LEAST_WEIGHT)
        weights = weights / of_words.repeat_interleave(numbers)
        own[:size][is_lost] = of_words[unknown_id] / of_words[is_lost]
    if not encoder.drops_unknown:
        new_ids[:size][is_lost & (numbers == 0)] = unknown_id
    lengths = (new_ids >= 0).long()
    lengths[:size] += numbers
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    has_parts = torch.zeros(len(lengths), dtype=torch.bool)
    has_parts[:size] = numbers > 0
    is_part = torch.repeat_interleave(has_parts, lengths)
    indices = torch.empty(len(is_part), dtype=torch.int32)
    indices[~is_part], indices[is_part] = new_ids[new_ids >= 0], part
    of_entries = torch.ones(len(is_part))
    of_entries[is_part], of_entries[~is_part] = weights, own[new_ids >= 0]
    labels = torch.zeros(len(lengths), dtype=torch.int64)
    return Bags(indices, offsets, labels, len(rows), of_entries if kept.has_weights else None)


def renumber(bags: Bags, places: Bags) -> Bags:
    """Return the bags as they are after pruning, with no text read again.

    One thing is not, of a model of a format before 4: which character n-grams are of one word that
    the encoder did not know before. Where some of them are pruned, the others keep their weights,
    where a text that is read again has larger ones. Nor is, where features are not counted, that an
    unknown word of which no part is kept has the row of ``<unk>``.

    Args:
        bags: over the table before.
        places: of :func:`prune`.
    """
    taken = places.select(bags.indices.long())
    weights = taken.weights
    if weights is not None and bags.weights is not None:
        weights = weights * torch.repeat_interleave(bags.weights, taken.lengths)
    return dataclasses.replace(
        bags,
        indices=taken.indices,
        offsets=taken.offsets[bags.offsets],
        num_embeddings=places.num_embeddings,
        weights=weights,
    )
