"""The weights of a trained model in one that knows more features and labels.

Its class scores are those of the trained model, up to float rounding, for texts without a feature
that is new: what is new says nothing yet, but for what a word's pieces said of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from textcls.arrow import integers, lengths_of
from textcls.data.composition import Composition
from textcls.data.encoder import TextEncoder
from textcls.data.token_weights import LEAST_WEIGHT
from textcls.model.composing import composed_table
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.parts import ModelParts


@torch.no_grad()
def take_over(
    model: EmbeddingBagClassifier,
    encoder: TextEncoder,
    label_names: Sequence[str],
    parts: ModelParts,
) -> EmbeddingBagClassifier:
    """Give a model that is not trained yet the weights of a trained one; return it.

    The trained model was divided by its temperature in the end: that is undone, so that training
    goes on with scores of the size that it had made them. A label that is new keeps the bias that
    the model has for it, and has nothing else.

    Args:
        model: on the CPU, of the trained model's pooling and dimension. Its vocabulary begins with
            that of the trained model, and its character n-grams, pieces and buckets are the same.
        encoder: of the model.
        label_names: of class 0, 1, 2, … of the model, those of the trained one among them.
        parts: of the trained model.
    """
    old, temperature = parts.model, parts.temperature or 1.0
    before = len(parts.encoder.vocabulary)
    place = {name: number for number, name in enumerate(label_names)}
    classes = torch.tensor([place[name] for name in parts.label_names])
    table = old.embedding.weight
    bias = model.linear.bias
    bias[classes] = old.linear.bias * temperature
    if model.linear.weight.requires_grad:
        model.linear.weight.zero_()
        model.linear.weight[classes] = old.linear.weight * temperature
    else:  # the table holds class scores
        factor = (old.scores_factor or 1.0) * temperature
        columns = torch.zeros(len(table), len(label_names))
        # What it was divided by and is multiplied with comes to 1, but for rounding.
        columns[:, classes] = table if abs(factor - 1) < 1e-6 else table * factor
        table = columns
    num_new = model.embedding.num_embeddings - len(table)
    rows = _with_rows(table, num_new, before)
    new = slice(before, before + num_new)
    if encoder.pieces is not None:
        rows[new] = _of_pieces(rows, encoder, new)
    if model.composition is not None:
        rows = _taken_apart(rows, model.composition, new)
    model.embedding.weight.copy_(rows)
    if model.embedding.weighing is not None and old.embedding.weighing is not None:
        model.embedding.weighing.copy_(_with_rows(old.embedding.weighing, num_new, before))
    return model


def _with_rows(tensor: Tensor, count: int, place: int) -> Tensor:
    """Return a tensor with rows of zeros in between, from ``place`` on."""
    return torch.cat([tensor[:place], tensor.new_zeros(count, tensor.shape[1]), tensor[place:]])


def _of_pieces(table: Tensor, encoder: TextEncoder, new: slice) -> Tensor:
    """Return the rows of new words that say what their pieces say: ``[num_new, embedding_dim]``."""
    (places,) = encoder.is_word[new].nonzero()
    names = encoder.vocabulary.tokens.take(integers(new.start + places)).to_pylist()
    assert encoder.pieces is not None
    offsets, pieces, shares = encoder.pieces.of_words(names)
    word = places.repeat(lengths_of(offsets))
    if encoder.token_weights is not None:
        shares = shares / encoder.token_weights[new][word].clip(LEAST_WEIGHT)
    rows = table[torch.from_numpy(pieces).long() + encoder.first_piece]
    none = table.new_zeros(new.stop - new.start, table.shape[1])
    return none.index_add(0, torch.from_numpy(word), rows * torch.from_numpy(shares).unsqueeze(1))


def _taken_apart(composed: Tensor, composition: Composition, new: slice) -> Tensor:
    """Return the raw table of which a composed one is made.

    Args:
        composed: ``[num_embeddings, embedding_dim]``.
        composition: of these rows.
        new: rows that have yet to get what they are composed of beside themselves.
    """
    bags = composition.bags
    assert bags.weights is not None
    starts, lengths = bags.offsets[:-1], bags.offsets.diff()
    has_parts, own = (lengths > 1).unsqueeze(1), bags.weights[starts].unsqueeze(1)
    raw = composed.masked_fill(has_parts, 0)
    of_parts = composed_table(raw, composition)
    of_parts[new] = 0
    rest = ((composed - of_parts) / own).where(own > 0, 0)
    return torch.where(has_parts, rest, raw)
