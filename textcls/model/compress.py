"""Small models: the same predictions, or nearly, from fewer numbers.

Three steps, each on what the one before has left:

1. :func:`exact` keeps of the table only what the linear layer can tell apart. Nothing is lost.
2. :func:`prune` keeps the rows that matter most. A pruned word is unknown from then on; a pruned
   n-gram, of words or of characters, and a pruned piece are left out of the bag.
3. :func:`quantize` writes a row in bytes: one for each number, or one for several.

How far to go is decided on labelled bags, by :func:`shrink`: the budget is of the whole folder,
whose vocabulary soon takes more room than its table.

The recipe is that of fastText.zip (Joulin et al. 2016, https://arxiv.org/abs/1612.03651), which
prunes and quantizes; product quantization is from Jégou et al. 2011
(https://doi.org/10.1109/TPAMI.2010.57).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from textcls.data.bags import Bags
from textcls.errors import InputError
from textcls.model.embedding_bag import scores_of
from textcls.model.exact import exact
from textcls.model.folder import save_model
from textcls.model.parts import ModelParts
from textcls.model.prune import counts_of, most_important, prune, renumber, weights_of
from textcls.model.quantize import KINDS, Kind, fit_codebooks, quantize
from textcls.model.table import CENTROIDS, CODEBOOKS, CODES

# The loss of accuracy (of micro F1) that is allowed where no budget is given.
MAX_LOSS = 0.005
# Rows are halved down to about so many; between two such sizes a budget is met by bisection.
FEWEST_ROWS = 32
BISECTIONS = 5


@dataclass(frozen=True)
class Candidate:
    """A model that was tried.

    Attributes:
        rows: of its table.
        kind: how its table is stored.
        bytes: of its whole folder, on disk.
        score: of its decisions on the bags: see :attr:`Shrunk.metric`.
    """

    rows: int
    kind: Kind
    bytes: int
    score: float


@dataclass(frozen=True)
class Shrunk:
    """A compressed model, and what it was chosen from.

    Attributes:
        parts: the chosen one, to be saved.
        chosen: what it comes to.
        original: what the model came to before.
        curve: all that were tried, by kind, then by bytes.
        max_bytes: the budget of the whole folder, or None.
        max_loss: of the score, or None.
    """

    parts: ModelParts
    chosen: Candidate
    original: Candidate
    curve: tuple[Candidate, ...]
    max_bytes: int | None
    max_loss: float | None

    @property
    def metric(self) -> str:
        """What scores are: ``accuracy``; where a text may have several labels, ``micro_f1``."""
        return self.parts.task.headline

    def figures(self) -> dict[str, Any]:
        """Return what was tried and chosen, ready for JSON; a score has the name of its metric."""

        def of(one: Candidate) -> dict[str, Any]:
            return {
                "rows": one.rows,
                "kind": one.kind,
                "bytes": one.bytes,
                self.metric: one.score,
            }

        return {
            "original": of(self.original),
            "chosen": of(self.chosen),
            "curve": [of(one) for one in self.curve],
        }


def in_words(metric: str) -> str:
    """Return the name of a metric as people write it."""
    return metric.replace("_f1", " F1")


def shrink(
    parts: ModelParts, bags: Bags, max_bytes: int | None = None, max_loss: float | None = None
) -> Shrunk:
    """Choose the compressed model that keeps a budget.

    Args:
        parts: the model; one that was compressed before may go on from there.
        bags: labelled, of a split that the model was not trained on, with the ids of its own
            vocabulary. Every candidate is judged on them.
        max_bytes: of the whole folder: the best candidate within is chosen.
        max_loss: of :attr:`Shrunk.metric`, 0.005 for half a point: the smallest candidate within
            is chosen, and so where both are given. Neither: ``MAX_LOSS``.

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
    floor = search.original.score - (1 if max_loss is None else max_loss) - 1e-9
    ceiling = float("inf") if max_bytes is None else max_bytes

    def fits(candidate: Candidate) -> bool:
        return candidate.bytes <= ceiling

    def keeps(candidate: Candidate) -> bool:
        return candidate.score >= floor

    search.halve_rows()
    for kind in KINDS:
        search.bisect(kind, fits if max_loss is None else keeps)
    tried = sorted(search.tried.values(), key=lambda one: (KINDS.index(one.kind), one.bytes))
    good = [one for one in tried if fits(one) and keeps(one)]
    if not good:
        metric = in_words(parts.task.headline)
        raise InputError(_none_is_good(tried, fits, keeps, max_bytes, max_loss, metric))
    if max_loss is None:
        chosen = max(good, key=lambda one: (one.score, -one.bytes))
    else:
        chosen = min(good, key=lambda one: (one.bytes, -one.score))
    made = search.make(chosen.rows, chosen.kind)
    return Shrunk(made, chosen, search.original, tuple(tried), max_bytes, max_loss)


def _none_is_good(
    tried: list[Candidate],
    fits: Callable[[Candidate], bool],
    keeps: Callable[[Candidate], bool],
    max_bytes: int | None,
    max_loss: float | None,
    metric: str,
) -> str:
    within = [one for one in tried if fits(one)]
    if not within:
        least = min(tried, key=lambda one: one.bytes)
        return (
            f"no model fits into {max_bytes:,} bytes: the smallest takes {least.bytes:,} "
            f"({metric} {least.score:.4f}): allow as many"
        )
    best = max(within, key=lambda one: one.score)
    small = [one for one in tried if keeps(one)]
    least_bytes = f"; {min(one.bytes for one in small):,} bytes would do" if small else ""
    return (
        f"no model within {f'{max_bytes:,} bytes' if max_bytes else 'reach'} loses at most "
        f"{max_loss} of {metric}: the best has {best.score:.4f} in {best.bytes:,} bytes"
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
    kept, places = prune(reduced, most_important(reduced, bags)[:rows])
    bags = renumber(bags, places)
    return quantize(kept, kind, counts_of(kept, bags) * weights_of(kept, bags))


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
        self._order = most_important(self._parts, bags)
        self._codebooks: dict[Kind, Tensor] = {}
        self._pruned = (0, self._parts, bags)  # the last: several kinds are of the same rows

    def make(self, rows: int, kind: Kind) -> ModelParts:
        """Return the model of so many rows."""
        if self._pruned[0] != rows:
            pruned, places = prune(self._parts, self._order[:rows])
            self._pruned = rows, pruned, renumber(self._bags, places)
        if kind.startswith("pq") and kind not in self._codebooks:
            table = self._parts.model.embedding.weight.detach().cpu()
            counts = counts_of(self._parts, self._bags) * weights_of(self._parts, self._bags)
            self._codebooks[kind] = fit_codebooks(table, int(kind[2:]), counts)
        _, pruned, bags = self._pruned
        counts = counts_of(pruned, bags) * weights_of(pruned, bags)
        return quantize(pruned, kind, counts, self._codebooks.get(kind))

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
    """Measure a model: what it decides on the bags, and its folder by writing it."""
    score = parts.task.score(scores_of(parts.model, bags), bags.targets.to("cpu"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(parts, folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
    return Candidate(parts.model.embedding.num_embeddings, _kind_of(parts), size, score)


def _kind_of(parts: ModelParts) -> Kind:
    if parts.quantized is None:
        return "float32"
    if CODES not in parts.quantized:
        return "int8"
    width = parts.quantized[CODEBOOKS].shape[2]
    return next(kind for kind in KINDS if kind == f"pq{width}")
