"""The classifier: look up, pool, classify."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textcls.config import ModelConfig
from textcls.data.batches import runs_of_bags
from textcls.data.composition import Composition, Items
from textcls.data.sharded import ShardedBags, Split
from textcls.data.transpose import Transpose, transpose
from textcls.forking import compute_alone_after_fork
from textcls.model.composing import composed_table
from textcls.model.pooling import TransposedEmbeddingBag
from textcls.model.static import StaticVectors
from textcls.task.scores import SAMPLED, Scores
from textcls.values import Mode, is_of_scores

if TYPE_CHECKING:
    from textcls.data.encoder import TextEncoder
    from textcls.data.word_vectors import WordRows

compute_alone_after_fork()

# What of a model's weights is learned of frozen vectors.
OF_VECTORS = "vectors.weight"
# Bags that are brought out of files at once.
SELECTED = 1 << 16


class EmbeddingBagClassifier(nn.Module):
    """``nn.EmbeddingBag`` followed by dropout and ``nn.Linear``.

    The five steps, for two bags in two dimensions::

        indices [1, 2, 4, 4, 3]     offsets [0, 3, 5]
        1  embedding.weight   one row per token id                 [num_embeddings, embedding_dim]
        2  offsets split      [1, 2, 4]          [4, 3]
        3  look up            rows 1, 2, 4       rows 4, 3
        4  pool               mean, sum, … over the rows of each bag
        5  pooled             one vector per bag                   [num_bags, embedding_dim]
        then  linear(pooled)  one score per class and bag          [num_bags, num_classes]

    Of several poolings, as in ``mean+max``, step 5 puts the vectors side by side (``pooled_dim``).
    Entries may have weights, by which step 3 multiplies their rows; so it does by what the
    ``weighted_`` modes learn of each token. :mod:`textcls.pooling` has the modes.

    An empty bag pools to zeros, so that its scores are the linear layer's bias. The row of
    ``padding_id`` is zero, never learns, and is left out of every mode's pooling.
    See https://docs.pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html.

    Args:
        num_embeddings: token ids lie below it.
        embedding_dim: numbers per token.
        num_classes: classes to tell apart.
        mode: how the vectors of a bag become one.
        padding_id: the token id that never contributes; None if there is none.
        dropout: share of the pooled vector that is zeroed in training.

    Attributes:
        composition: what the words are composed of, in training: the table then has raw rows, each
            of its own, and :meth:`composed` returns the model that is kept. None: nothing.
        vectors: frozen vectors of words that add to the class scores, in training; the table then
            has class scores itself, and :meth:`composed` adds theirs to it. None: there are none.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        num_classes: int,
        mode: Mode = "mean",
        padding_id: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = TransposedEmbeddingBag(
            num_embeddings, embedding_dim, mode, padding_idx=padding_id
        )
        self.dropout = _Dropout(dropout)
        self.composition: Composition | None = None
        self.vectors: StaticVectors | None = None
        self.linear = nn.Linear(self.embedding.pooled_dim, num_classes)
        nn.init.zeros_(self.linear.bias)

    def embed(
        self,
        indices: Tensor,
        offsets: Tensor,
        weights: Tensor | None = None,
        transposed: Transpose | None = None,
        items: Items | None = None,
    ) -> Tensor:
        """Return the pooled vectors, float ``[num_bags, pooled_dim]``.

        Args:
            indices: int32 or int64 ``[num_tokens]``.
            offsets: int32 or int64 ``[num_bags + 1]``, first 0, last ``num_tokens``.
            weights: float ``[num_tokens]``, not negative; None: every entry weighs 1.
            transposed: the batch's transpose, where it was made ahead for the backward pass; with
                positions, if there are weights.
            items: of the batch, where they were made ahead from the composition.
        """
        if self.composition is not None and items is None:
            transposed = transpose(indices, offsets, with_positions=True)
            items = self.composition.to(indices.device).items(len(indices), transposed)
        pooled: Tensor = self.embedding(indices, offsets, weights, transposed, items)
        return pooled

    def forward(
        self,
        indices: Tensor,
        offsets: Tensor,
        weights: Tensor | None = None,
        transposed: Transpose | None = None,
        items: Items | None = None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """Return the class scores (logits), float ``[num_bags, num_classes]``.

        The arguments are those of :meth:`embed`, and ``classes``, int64 ``[n]``: the scores of
        these alone, float ``[num_bags, n]``; None: all.
        """
        pooled = self.dropout(self.embed(indices, offsets, weights, transposed, items))
        if classes is None:
            scores: Tensor = self.linear(pooled)
            if self.vectors is not None:
                scores = scores + self.vectors(indices, offsets, weights)
            return scores
        assert self.vectors is None, "vectors add to the scores of all classes"
        return F.linear(pooled, self.linear.weight[classes], self.linear.bias[classes])

    @property
    def scores_factor(self) -> float | None:
        """By what its table is to be multiplied for class scores; None: they are not in the table.

        They are where the linear layer does no more than that.
        """
        weight, num_parts = self.linear.weight, len(self.embedding.pooling.parts)
        if weight.shape[1] != num_parts * len(weight):  # of very many classes there is no identity
            return None
        identity = torch.eye(len(weight), device=weight.device).repeat(1, num_parts)
        return float(weight[0, 0]) if torch.equal(weight, weight[0, 0] * identity) else None

    def composed(self) -> EmbeddingBagClassifier:
        """Return the model to keep: itself, or one of a composed table, which pools bags as such.

        That one is in evaluation mode, for inference; all but its table it shares.
        """
        if self.composition is None and self.vectors is None:
            return self
        table = self.embedding.weight.detach()
        if self.composition is not None:
            table = composed_table(table, self.composition)
        if self.vectors is not None:
            table = self.vectors.added_to(table)
        kept = self.embedding.state_dict(prefix="embedding.") | {"embedding.weight": table}
        return self._shaped(kept | self.linear.state_dict(prefix="linear."))

    def holding(self, state: Mapping[str, Tensor]) -> EmbeddingBagClassifier:
        """Return a model of the same shape, in evaluation mode, that shares other weights.

        Args:
            state: such as ``state_dict`` returns; its linear layer may be of other classes.
        """
        other = self._shaped({name: state[name] for name in state if name != OF_VECTORS})
        other.composition = self.composition
        if self.vectors is not None:
            other.vectors = self.vectors.holding(state[OF_VECTORS])
        return other

    def _shaped(self, state: Mapping[str, Tensor]) -> EmbeddingBagClassifier:
        """Return a model of the same shape for inference, whose table is one of rows as they are.

        Args:
            state: its weights, which it shares.
        """
        embedding = self.embedding
        with torch.device("meta"):
            other = EmbeddingBagClassifier(
                embedding.num_embeddings,
                embedding.embedding_dim,
                len(state["linear.bias"]),
                embedding.pooling.mode,
                embedding.padding_idx,
                self.dropout.p,
            )
        other.load_state_dict(state, assign=True)
        return other.eval().requires_grad_(False)

    def restricted(self, classes: Tensor) -> EmbeddingBagClassifier:
        """Return the model of some of its classes, int64 ``[n]``, in evaluation mode.

        It shares the table.
        """
        state, linear = self.state_dict(), ("linear.weight", "linear.bias")
        return self.holding(state | {name: state[name][classes] for name in linear})


class _Dropout(nn.Dropout):
    """torch's dropout, on a CPU by uniform numbers, which are drawn three times as fast there.

    Attributes:
        draw: returns uniform numbers for a tensor, of its shape, where it is part of a larger one;
            None: they are drawn for it alone.
    """

    draw: Callable[[Tensor], Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        is_own = self.draw is None
        if not self.training or not self.p or (is_own and input.device.type != "cpu"):
            return super().forward(input)
        drawn = torch.rand_like(input) if self.draw is None else self.draw(input)
        return input * (drawn >= self.p).to(input.dtype).div_(1 - self.p)


def untrained(
    encoder: TextEncoder,
    num_classes: int,
    config: ModelConfig,
    composition: Composition | None = None,
    words: WordRows | None = None,
) -> EmbeddingBagClassifier:
    """Return a model to train, its first weights drawn from torch's global generator.

    Args:
        encoder: of the texts. Its ``<unk>`` says nothing at first: with ``min_freq=1`` its row is
            never learned. Nor is that of its ``<pad>``, which no text has.
        num_classes: classes to tell apart.
        config: the model's shape.
        composition: what its words are composed of.
        words: frozen vectors that are to stand beside a table of class scores.
    """
    of_scores = is_of_scores(config.dim)
    model = EmbeddingBagClassifier(
        encoder.num_embeddings,
        num_classes if of_scores else config.dim,
        num_classes,
        config.mode,
        dropout=config.dropout,
    )
    model.composition = composition
    if of_scores:
        hold_scores(model)
    if words is not None:
        (part,) = model.embedding.pooling.parts
        model.vectors = StaticVectors(words, encoder.num_embeddings, num_classes, part)
    vocabulary = encoder.vocabulary
    with torch.no_grad():
        model.embedding.weight[[vocabulary.unknown_id, vocabulary.padding_id]] = 0
    return model


@torch.no_grad()
def hold_scores(model: EmbeddingBagClassifier) -> None:
    """Make the table one of class scores, 0 at first: its linear layer learns the bias alone."""
    num_classes, num_parts = model.linear.out_features, len(model.embedding.pooling.parts)
    nn.init.zeros_(model.embedding.weight)
    model.linear.weight.copy_(torch.eye(num_classes).repeat(1, num_parts))
    model.linear.weight.requires_grad_(False)


def logits_of(model: EmbeddingBagClassifier, bags: Split) -> Tensor:
    """Return the class scores of all bags, float32 ``[num_bags, num_classes]`` on the CPU.

    The bags may be on another device than the model: they follow in runs of bounded size.
    """
    return _in_runs(model, model.forward, bags, model.linear.out_features)


def scores_of(model: EmbeddingBagClassifier, bags: Split) -> Scores:
    """Return the class scores of all bags, in parts where they would take much memory at once."""
    if len(bags) * model.linear.out_features <= SAMPLED:
        return Scores.of(logits_of(model, bags))
    # Copied, so that scores stay what they are when the linear layer changes.
    layer = model.linear.state_dict(prefix="linear.")
    own = {name: tensor.clone() for name, tensor in layer.items()}
    fixed = model.holding(model.state_dict() | own)

    def compute(start: int, stop: int) -> Tensor:
        return logits_of(fixed, bags.slice(start, stop))

    def compute_some(rows: Tensor) -> Tensor:
        return torch.cat(
            [logits_of(fixed, bags.select(some)) for some in torch.split(rows, SELECTED)]
        )

    # Of files, one bag takes as long as many.
    of_files = compute_some if isinstance(bags, ShardedBags) else None
    return Scores(len(bags), model.linear.out_features, compute, of_files)


def pooled_of(model: EmbeddingBagClassifier, bags: Split) -> Tensor:
    """Return the pooled vectors of all bags, float32 ``[num_bags, pooled_dim]`` on the CPU."""
    return _in_runs(model, model.embed, bags, model.linear.in_features)


@torch.inference_mode()
def _in_runs(
    model: EmbeddingBagClassifier,
    compute: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    bags: Split,
    width: int,
) -> Tensor:
    device = model.linear.weight.device
    was_training = model.training
    if was_training:  # asked, because of a single text the switching takes a tenth of the time
        model.eval()
    # A GPU takes as much at once as memory bears: 128 MiB of ids, 256 MiB of vectors.
    sizes = () if device.type == "cpu" else (1 << 25, (1 << 26) // model.linear.in_features)
    parts = []
    for run in runs_of_bags(bags, *sizes):
        here = run.to(device)
        parts.append(compute(here.indices, here.offsets, here.weights).float().cpu())
    if was_training:
        model.train()
    return torch.cat(parts) if parts else torch.zeros(0, width)
