"""Small models: the same predictions, or nearly, from fewer numbers.

Three steps, each on what the one before has left:

1. :func:`exact` keeps of the table only what the linear layer can tell apart. Nothing is lost.
2. :func:`prune` keeps the rows that matter most. A pruned word is unknown from then on; a pruned
   n-gram is left out of the bag.
3. :func:`quantize` writes a row in bytes: one for each number, or one for several.

How far to go is decided on labelled bags, by :func:`shrink`: the budget is of the whole folder,
whose vocabulary soon takes more room than its table.

The recipe is that of fastText.zip (Joulin et al. 2016, https://arxiv.org/abs/1612.03651), which
prunes and quantizes; product quantization is from Jégou et al. 2011
(https://doi.org/10.1109/TPAMI.2010.57).
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from textcls.arrow import integers
from textcls.data.bags import Bags
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.folder import ModelParts, save_model
from textcls.model.pooling import WEIGHT_SCALE
from textcls.model.table import CENTROIDS, CODEBOOKS, CODES, INT8, SCALE, TABLE, dequantize
from textcls.pooling import Pooling

# How a table is stored; the number of a product quantization is how many numbers share a byte.
Kind = Literal["float32", "int8", "pq2", "pq4", "pq8"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The loss of accuracy that is allowed where no budget is given.
MAX_LOSS = 0.005
# A row matters by its norm times its count to this power. On the validation splits of IMDb, AG News
# and 20 Newsgroups a quarter to a half are about as good, none (the norm alone) is far worse: Adam
# steps as far for a word that stands twice as for one that stands a thousand times.
COUNT_POWER = 1 / 3
# Rows are halved down to about so many; between two such sizes a budget is met by bisection.
FEWEST_ROWS = 32
BISECTIONS = 5
# Codebooks are fitted to so many rows, drawn by the square root of their counts, in so many rounds.
# More of either took three times as long for no better accuracy.
FITTED_ROWS = 4096
ROUNDS = 10


@dataclass(frozen=True)
class Candidate:
    """A model that was tried.

    Attributes:
        rows: of its table.
        kind: how its table is stored.
        bytes: of its whole folder, on disk.
        accuracy: on the bags.
    """

    rows: int
    kind: Kind
    bytes: int
    accuracy: float


@dataclass(frozen=True)
class Shrunk:
    """A compressed model, and what it was chosen from.

    Attributes:
        parts: the chosen one, to be saved.
        chosen: what it comes to.
        original: what the model came to before.
        curve: all that were tried, by kind, then by bytes.
        max_bytes: the budget of the whole folder, or None.
        max_loss: of accuracy, or None.
    """

    parts: ModelParts
    chosen: Candidate
    original: Candidate
    curve: tuple[Candidate, ...]
    max_bytes: int | None
    max_loss: float | None


def shrink(
    parts: ModelParts, bags: Bags, max_bytes: int | None = None, max_loss: float | None = None
) -> Shrunk:
    """Choose the compressed model that keeps a budget.

    Args:
        parts: the model; one that was compressed before may go on from there.
        bags: labelled, of a split that the model was not trained on, with the ids of its own
            vocabulary. Every candidate is judged on them.
        max_bytes: of the whole folder: the most accurate candidate within is chosen.
        max_loss: of accuracy, 0.005 for half a point: the smallest candidate within is chosen, and
            so where both are given. Neither: ``MAX_LOSS``.

    Raises:
        InputError: no candidate keeps the budget; the bags are none, or of another model.
    """
    if max_bytes is None and max_loss is None:
        max_loss = MAX_LOSS
    rows = parts.model.embedding.num_embeddings
    if not len(bags) or (bags.num_embeddings or rows) != rows:
        raise InputError(
            f"compression is judged on labelled bags over the model's own {rows:,} rows: "
            f"these are {len(bags):,} bags over {bags.num_embeddings or rows:,}"
        )
    search = _Search(parts, bags)
    floor = search.original.accuracy - (1 if max_loss is None else max_loss) - 1e-9
    ceiling = float("inf") if max_bytes is None else max_bytes

    def fits(candidate: Candidate) -> bool:
        return candidate.bytes <= ceiling

    def keeps(candidate: Candidate) -> bool:
        return candidate.accuracy >= floor

    search.halve_rows()
    for kind in KINDS:
        search.bisect(kind, fits if max_loss is None else keeps)
    tried = sorted(search.tried.values(), key=lambda one: (KINDS.index(one.kind), one.bytes))
    good = [one for one in tried if fits(one) and keeps(one)]
    if not good:
        raise InputError(_none_is_good(tried, fits, keeps, max_bytes, max_loss))
    if max_loss is None:
        chosen = max(good, key=lambda one: (one.accuracy, -one.bytes))
    else:
        chosen = min(good, key=lambda one: (one.bytes, -one.accuracy))
    made = search.make(chosen.rows, chosen.kind)
    return Shrunk(made, chosen, search.original, tuple(tried), max_bytes, max_loss)


def _none_is_good(
    tried: list[Candidate],
    fits: Callable[[Candidate], bool],
    keeps: Callable[[Candidate], bool],
    max_bytes: int | None,
    max_loss: float | None,
) -> str:
    within = [one for one in tried if fits(one)]
    if not within:
        least = min(tried, key=lambda one: one.bytes)
        return (
            f"no model fits into {max_bytes:,} bytes: the smallest takes {least.bytes:,} "
            f"(accuracy {least.accuracy:.4f}): allow as many"
        )
    best = max(within, key=lambda one: one.accuracy)
    small = [one for one in tried if keeps(one)]
    least_bytes = f"; {min(one.bytes for one in small):,} bytes would do" if small else ""
    return (
        f"no model within {f'{max_bytes:,} bytes' if max_bytes else 'reach'} loses at most "
        f"{max_loss} of accuracy: the best has {best.accuracy:.4f} in {best.bytes:,} bytes"
        f"{least_bytes}: allow more"
    )


def compress(parts: ModelParts, bags: Bags, rows_kept: float, kind: Kind = "int8") -> ModelParts:
    """Compress a model so far and no further.

    Args:
        parts: the model.
        bags: over its vocabulary, to count hashed n-grams in; their labels are not looked at.
        rows_kept: share of the rows, above 0, at most 1.
        kind: how to store the table.

    Raises:
        ValueError: the table has not the shape for product quantization.
    """
    reduced = exact(parts)
    total = reduced.model.embedding.num_embeddings
    rows = max(round(rows_kept * total), len(parts.encoder.vocabulary.specials))
    kept, new_ids = prune(reduced, _most_important(reduced, bags)[:rows])
    return quantize(kept, kind, _counts(kept, renumber(bags, new_ids, rows)))


# --- 1. what the linear layer cannot tell apart -------------------------------------------------


def exact(parts: ModelParts) -> ModelParts:
    """Return a model of as few dimensions as say the same, up to float rounding.

    A weighted sum has one weight a token: multiplied into the rows, it is a plain sum.

    Mean and sum are linear, and so is what follows: a bag's scores are the mean or sum of W·e over
    its rows e, plus a bias. Softmax sees only how the scores of the classes differ: what they
    share, the mean of W's rows, may go. The rest, W less that mean, has rows that sum to zero, so
    its rank r is at most num_classes - 1 (and embedding_dim). By its singular values it is U·S·V',
    of r columns each: S·V'·e, r numbers, is all that a row says, and U is the new linear layer. (S
    goes to the rows, so that two rows are as far apart as the scores that they give.) For two
    classes a row is one number: how much its token speaks for one of them.

    max and poolings side by side are not linear: their models come back as they are.
    """
    model, pooling = parts.model, parts.model.embedding.pooling
    table = model.embedding.weight.detach().cpu()
    weight, bias = model.linear.weight.detach().cpu(), model.linear.bias.detach().cpu()
    if model.embedding.weighing is not None:
        table = table * (1 + WEIGHT_SCALE * model.embedding.weighing.detach().cpu())
    rank = min(model.embedding.embedding_dim, max(len(weight) - 1, 1))
    if len(pooling.parts) == 1 and pooling.is_linear and rank < model.embedding.embedding_dim:
        centred = (weight - weight.mean(0)).double()
        u, s, v = torch.linalg.svd(centred, full_matrices=False)
        table = (table.double() @ (v[:rank].T * s[:rank])).float()
        weight, bias = u[:, :rank].float(), bias - bias.mean()
    elif model.embedding.weighing is None:
        return parts
    pooling = dataclasses.replace(pooling, learned=False)
    return _with_weights(parts, pooling, table, weight, bias)


def _with_weights(
    parts: ModelParts, pooling: Pooling, table: Tensor, weight: Tensor, bias: Tensor
) -> ModelParts:
    """Return parts with another network, on the CPU; its tensors are its own."""
    old = parts.model
    with torch.device("meta"):
        model = EmbeddingBagClassifier(
            len(table),
            table.shape[1],
            len(weight),
            pooling.mode,
            old.embedding.padding_idx,
            old.dropout.p,
        )
    weights = {TABLE: table, "linear.weight": weight, "linear.bias": bias}
    model.load_state_dict(
        {
            # Laid out as a file has them: then what is read back adds up in the same order.
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in weights.items()
        },
        assign=True,
    )
    return dataclasses.replace(parts, model=model.eval().requires_grad_(False), quantized=None)


# --- 2. rows that matter little -----------------------------------------------------------------


def _most_important(parts: ModelParts, bags: Bags) -> Tensor:
    """Return the rows, int64 ``[num_embeddings]``, the specials first, then by importance."""
    table = parts.model.embedding.weight.detach().cpu()
    scores = table.norm(dim=1) * _counts(parts, bags) ** COUNT_POWER
    scores[: len(parts.encoder.vocabulary.specials)] = torch.inf
    order: Tensor = scores.argsort(descending=True, stable=True)
    return order


def _counts(parts: ModelParts, bags: Bags) -> Tensor:
    """Return how often each row stands in train, float32 ``[num_embeddings]``.

    The vocabulary knows it of its tokens. Buckets are counted in the bags, and brought to scale.
    """
    counts = torch.from_numpy(parts.encoder.vocabulary.counts).float()
    total = parts.model.embedding.num_embeddings
    if len(counts) == total:
        return counts
    here = torch.bincount(bags.indices.cpu(), minlength=total).float()
    scale = counts.sum() / here[: len(counts)].sum().clamp(min=1)
    # Half a time, where it stands in no bag.
    return torch.cat([counts, (here[len(counts) :] + 0.5) * scale])


def prune(parts: ModelParts, rows: Tensor) -> tuple[ModelParts, Tensor]:
    """Keep some rows of the table, with their tokens or buckets.

    Each pruned word counts as unknown. So the row of ``<unk>`` becomes the mean of all words that
    it stands for, by their counts.

    Args:
        parts: the model; not one of a weighted sum (see :func:`exact`).
        rows: int64 ``[n]``, different, in any order, the specials among them.

    Returns:
        The model, and the new ids of the old ones, int32 ``[num_embeddings]``: 0, ``<unk>``, for a
        pruned word, -1 for an n-gram that is left out. (Where exact n-grams are counted, a token
        that holds a space is taken for one.)
    """
    rows = rows.sort().values
    vocabulary, table = parts.encoder.vocabulary, parts.model.embedding.weight.detach().cpu()
    kept = torch.zeros(len(table), dtype=torch.bool)
    kept[rows] = True
    words = _words(parts)
    new_ids = torch.where(words, vocabulary.unknown_id, -1).int()
    new_ids[rows] = torch.arange(len(rows), dtype=torch.int32)

    counts = vocabulary.counts.copy()
    unknown = words[: len(counts)] & ~kept[: len(counts)]
    unknown[vocabulary.unknown_id] = True
    stand_for = torch.from_numpy(counts) * unknown
    counts[vocabulary.unknown_id] = stand_for.sum()
    kept_table = table[rows]
    if stand_for.any():
        shares = stand_for.double() / stand_for.sum()
        kept_table[vocabulary.unknown_id] = (shares @ table[: len(counts)].double()).float()

    tokens = rows[rows < len(counts)].numpy()
    buckets = (rows[rows >= len(counts)] - len(counts)).int().numpy()
    if parts.encoder.kept_buckets is not None:
        buckets = parts.encoder.kept_buckets[buckets]
    all_buckets = len(buckets) == (parts.encoder.config.buckets or 0)
    model = parts.model
    pruned = _with_weights(
        parts, model.embedding.pooling, kept_table, model.linear.weight, model.linear.bias
    )
    encoder = dataclasses.replace(
        parts.encoder,
        vocabulary=Vocabulary(vocabulary.tokens.take(integers(tokens)), counts[tokens]),
        kept_buckets=None if all_buckets else buckets,
    )
    return dataclasses.replace(pruned, encoder=encoder), new_ids


def _words(parts: ModelParts) -> Tensor:
    """Return which rows are those of words, bool ``[num_embeddings]``; the others are n-grams'."""
    words = torch.zeros(parts.model.embedding.num_embeddings, dtype=torch.bool)
    words[: len(parts.encoder.vocabulary)] = True
    config = parts.encoder.config
    if config.ngrams > 1 and config.buckets is None:
        spaced = pc.match_substring(parts.encoder.vocabulary.tokens, " ")
        words &= ~torch.from_numpy(spaced.to_numpy(zero_copy_only=False))
    return words


def renumber(bags: Bags, new_ids: Tensor, num_embeddings: int) -> Bags:
    """Return the bags as they are after pruning, with no text read again.

    Args:
        bags: over the table before.
        new_ids: of :func:`prune`.
        num_embeddings: of the pruned table.
    """
    indices = new_ids[bags.indices]
    stays = indices >= 0
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), stays.cumsum(0)])
    return Bags(indices[stays], ends[bags.offsets], bags.labels, num_embeddings)


# --- 3. rows in bytes ---------------------------------------------------------------------------


def quantize(
    parts: ModelParts, kind: Kind, counts: Tensor, codebooks: Tensor | None = None
) -> ModelParts:
    """Store the table in another way; the model's own becomes what is read back from that.

    ``int8`` rounds each number to one of 255 steps of its dimension. Product quantization, ``pq2``
    and so on, cuts rows into parts of so many numbers, and takes for each part the nearest of 256
    centroids.

    Args:
        parts: the model.
        kind: how to store the table.
        counts: how often each row stands, ``[num_embeddings]``: its error counts as often.
        codebooks: of :func:`fit_codebooks`, where they were fitted before.

    Raises:
        ValueError: the table has not the shape for product quantization.
    """
    table = parts.model.embedding.weight.detach().cpu()
    if kind == "float32":
        return dataclasses.replace(parts, quantized=None)
    if kind == "int8":
        quantized = _to_int8(table)
    else:
        if codebooks is None:
            codebooks = fit_codebooks(table, int(kind[2:]), counts)
        quantized = _to_codes(table, codebooks, parts.encoder.vocabulary.unknown_id)
    stored, pooling = dequantize(quantized), parts.model.embedding.pooling
    weight, bias = parts.model.linear.weight.detach().cpu(), parts.model.linear.bias.detach().cpu()
    if pooling.parts == ("mean",):
        # What the average token is shifted by shifts every bag alike: the bias takes it back. (Most
        # of it is of <unk>, whose small numbers are many.)
        shares = counts.double() / counts.sum().clamp(min=1)
        bias = bias + weight @ (shares @ (table - stored).double()).float()
    made = _with_weights(parts, pooling, stored, weight, bias)
    return dataclasses.replace(made, quantized=quantized)


def _to_int8(table: Tensor) -> dict[str, Tensor]:
    # Steps that reach the largest number. (Finer ones, with what is beyond cut off, cost more.)
    scale = table.abs().amax(0).clamp(min=1e-30) / 127
    return {INT8: (table / scale).round().to(torch.int8), SCALE: scale}


def fit_codebooks(table: Tensor, width: int, counts: Tensor) -> Tensor:
    """Fit the centroids of a product quantization, by k-means on some of the rows.

    Args:
        table: float32 ``[num_embeddings, embedding_dim]``.
        width: numbers per part.
        counts: how often each row stands, ``[num_embeddings]``: frequent rows are drawn more often.
            (At 50,000 rows of IMDb that halved the loss of accuracy.)

    Returns:
        float32 ``[embedding_dim / width, 255, width]``: one is left for the row of ``<unk>``.

    Raises:
        ValueError: parts of this width do not make a row, or there are too few rows.
    """
    from scipy.cluster.vq import kmeans2

    rows, dim = table.shape
    if dim % width or rows < CENTROIDS:
        raise ValueError(f"no pq{width} of a table of {rows} rows of {dim} numbers")
    generator = np.random.default_rng(0)
    shares = (counts.double() + 1).sqrt().numpy()
    drawn = generator.choice(rows, min(rows, FITTED_ROWS), replace=False, p=shares / shares.sum())
    codebooks = []
    for part in torch.split(table[drawn], width, 1):
        points = part.contiguous().numpy()
        with warnings.catch_warnings():  # of centroids without points: they stay where they are
            warnings.simplefilter("ignore")
            centroids, _ = kmeans2(points, points[: CENTROIDS - 1], ROUNDS, minit="matrix")
        codebooks.append(torch.from_numpy(centroids).float())
    return torch.stack(codebooks)


def _to_codes(table: Tensor, codebooks: Tensor, unknown_id: int) -> dict[str, Tensor]:
    from scipy.cluster.vq import vq

    parts = table.view(len(table), len(codebooks), -1)
    # The row that stands for every unknown token is kept as it is.
    codebooks = torch.cat([codebooks, parts[unknown_id].unsqueeze(1)], 1)
    codes = [
        vq(parts[:, m].contiguous().numpy(), centroids.numpy())[0]
        for m, centroids in enumerate(codebooks)
    ]
    return {CODES: torch.from_numpy(np.stack(codes, 1).astype(np.uint8)), CODEBOOKS: codebooks}


# --- how far to go ------------------------------------------------------------------------------


class _Search:
    """Makes and measures candidates.

    Attributes:
        original: the model as it is.
        tried: all candidates so far, by rows and kind.
    """

    def __init__(self, parts: ModelParts, bags: Bags) -> None:
        self.original = _measured(parts, bags)
        self.tried: dict[tuple[int, Kind], Candidate] = {}
        self._parts = exact(parts)
        self._bags = bags
        self._order = _most_important(self._parts, bags)
        self._codebooks: dict[Kind, Tensor] = {}
        self._pruned = (0, self._parts, bags)  # the last: several kinds are of the same rows

    def make(self, rows: int, kind: Kind) -> ModelParts:
        """Return the model of so many rows."""
        if self._pruned[0] != rows:
            pruned, new_ids = prune(self._parts, self._order[:rows])
            self._pruned = rows, pruned, renumber(self._bags, new_ids, rows)
        if kind.startswith("pq") and kind not in self._codebooks:
            table = self._parts.model.embedding.weight.detach().cpu()
            counts = _counts(self._parts, self._bags)
            self._codebooks[kind] = fit_codebooks(table, int(kind[2:]), counts)
        _, pruned, bags = self._pruned
        return quantize(pruned, kind, _counts(pruned, bags), self._codebooks.get(kind))

    def measure(self, rows: int, kind: Kind) -> Candidate:
        """Return the candidate of so many rows; measured once."""
        if (rows, kind) not in self.tried:
            made = self.make(rows, kind)
            self.tried[rows, kind] = _measured(made, self._pruned[2])
        return self.tried[rows, kind]

    def halve_rows(self) -> None:
        """Measure all kinds at all rows, half of them, a quarter, and so on."""
        rows, dim = self._parts.model.embedding.weight.shape
        while True:
            for kind in KINDS:
                if _pays(kind, rows, dim):
                    self.measure(rows, kind)
            rows //= 2
            if rows < FEWEST_ROWS:
                return

    def bisect(self, kind: Kind, good: Callable[[Candidate], bool]) -> None:
        """Look closer between the two fewest rows of a kind of which only one is good."""
        tried = sorted((c for c in self.tried.values() if c.kind == kind), key=lambda c: c.rows)
        for fewer, more in itertools.pairwise(tried):
            if good(fewer) != good(more):
                break
        else:
            return
        low, high = fewer.rows, more.rows
        for _ in range(BISECTIONS):
            middle = (low + high) // 2
            if good(self.measure(middle, kind)) == good(fewer):
                low = middle
            else:
                high = middle


def _pays(kind: Kind, rows: int, dim: int) -> bool:
    """Say whether a kind can be had, and takes fewer bytes than int8 if it is a finer one."""
    if not kind.startswith("pq"):
        return True
    width = int(kind[2:])
    codebooks = CENTROIDS * dim * 4
    return dim % width == 0 and rows >= CENTROIDS and rows * dim // width + codebooks < rows * dim


def _measured(parts: ModelParts, bags: Bags) -> Candidate:
    """Measure a model: its accuracy on the bags, and its folder by writing it."""
    hits = logits_of(parts.model, bags).argmax(1) == bags.labels.cpu()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(parts, folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
    return Candidate(
        parts.model.embedding.num_embeddings, _kind_of(parts), size, hits.double().mean().item()
    )


def _kind_of(parts: ModelParts) -> Kind:
    if parts.quantized is None:
        return "float32"
    if CODES not in parts.quantized:
        return "int8"
    width = parts.quantized[CODEBOOKS].shape[2]
    return next(kind for kind in KINDS if kind == f"pq{width}")
