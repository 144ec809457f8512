"""How well labels are found where a text has any number of them, by scikit-learn's definitions.

Rows are gone through in parts, so that nothing of rows by labels is held beside the class scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.assessment import Assessment, weighted_mean
from textcls.task.calibration import Reliability, reliability
from textcls.task.scores import Scores

if TYPE_CHECKING:
    from textcls.task.multi import MultiLabel

# The ranks at which precision and recall are measured.
RANKS = (1, 3, 5)


@dataclass(frozen=True)
class Decisions:
    """What was predicted, counted.

    Attributes:
        right: ``[num_classes]``, rows that have a label and were predicted to have it: int64, or
            where rows have weights, what these weigh, float64.
        claimed: ``[num_classes]``, rows that were predicted to have it.
        exact: ``[]``, rows of which all labels were predicted, and no others.
    """

    right: Tensor
    claimed: Tensor
    exact: Tensor

    @classmethod
    def of(cls, chosen: Tensor, targets: Targets, weights: Tensor | None = None) -> Decisions:
        """Count decisions.

        Args:
            chosen: bool ``[num_rows, num_classes]``.
            targets: of these rows.
            weights: float ``[num_rows]``, what each row counts; None: 1 each.
        """
        counts = chosen.new_ones(len(chosen), dtype=torch.int64)
        if weights is not None:
            counts = weights.double()
        hits = chosen[targets.bags, targets.ids]
        right = counts.new_zeros(chosen.shape[1])
        right.index_add_(0, targets.ids, hits * counts[targets.bags])
        hits_of_row = torch.zeros(len(chosen), dtype=torch.int64, device=chosen.device)
        hits_of_row.index_add_(0, targets.bags, hits.long())
        assert targets.offsets is not None
        exact = (hits_of_row == targets.offsets.diff()) & (hits_of_row == chosen.sum(1))
        claimed = chosen.sum(0) if weights is None else counts @ chosen.double()
        return cls(right, claimed, (exact * counts).sum())

    def __add__(self, other: Decisions) -> Decisions:
        """Return the counts of both."""
        return Decisions(
            self.right + other.right, self.claimed + other.claimed, self.exact + other.exact
        )


def decision_metrics(
    found: Decisions, targets: Targets, label_names: Sequence[str]
) -> dict[str, Any]:
    """Return the metrics of decisions.

    Args:
        found: of all rows; by their weights, if they have some.
        targets: of these rows.
        label_names: of class 0, 1, 2, …

    Returns:
        ``accuracy``, the share of rows of which all labels and no others are predicted (subset
        accuracy); ``micro_f1``, that of all decisions together; ``macro_f1``, the mean F1 of the
        labels that occur among rows or predictions; ``micro_precision``, ``micro_recall``; and
        ``per_class``, by label name: ``precision``, ``recall``, ``f1`` (0 where undefined) and
        ``support``, the label's rows.
    """
    support = had = targets.ids.bincount(minlength=len(label_names))
    if targets.weights is not None:
        of_labels = targets.weights.double()[targets.bags]
        had = targets.ids.bincount(of_labels, minlength=len(label_names))
    right, claimed = found.right.cpu(), found.claimed.cpu()
    f1 = _share(2 * right, claimed + had)
    precision, recall = _share(right, claimed), _share(right, had)
    occurs = claimed + had > 0
    all_right, all_claimed, all_had = right.sum(), claimed.sum(), had.sum()
    columns = (t.tolist() for t in (precision, recall, f1, support))
    return {
        "accuracy": float(found.exact) / targets.total_weight,
        "micro_f1": float(_share(2 * all_right, all_claimed + all_had)),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "micro_precision": float(_share(all_right, all_claimed)),
        "micro_recall": float(_share(all_right, all_had)),
        "per_class": {
            name: {"precision": p, "recall": r, "f1": f, "support": s}
            for name, p, r, f, s in zip(label_names, *columns, strict=True)
        },
    }


def assess(
    task: MultiLabel, scores: Scores, targets: Targets, label_names: Sequence[str]
) -> Assessment:
    """Return :func:`decision_metrics`, and what rankings and probabilities are worth.

    That is ``rows``, how many there are; ``loss``, the mean over rows of the binary cross-entropy
    in nats, summed over labels; ``ece``, the expected calibration error of all probabilities; for
    each k of ``RANKS`` ``precision_at_k``, of a row's k most probable labels the share that it has,
    ``recall_at_k``, of all rows' labels the share that is among them (both as fastText's ``test``
    has them, over all rows), and ``ndcg_at_k``, over the rows that have a label; and ``lrap``, the
    label ranking average precision.

    Args:
        task: says what is predicted.
        scores: class scores of some rows, at least one.
        targets: of these rows.
        label_names: of class 0, 1, 2, …
    """
    num_classes, sums = scores.num_classes, dict.fromkeys(("lrap", *_names_at_ranks()), 0.0)
    parts: list[tuple[Decisions, Reliability]] = []
    losses, decisions = [], []
    for logits, some in scores.parts(targets):
        exact = logits.double()
        probabilities, has = task.probabilities(exact), some.dense(num_classes)
        decided = task.decided(probabilities.float())
        chosen = torch.zeros_like(has, dtype=torch.bool)
        chosen[decided.bags, decided.ids] = True
        of_labels = None if some.weights is None else some.weights.repeat_interleave(num_classes)
        parts.append(
            (
                Decisions.of(chosen, some, some.weights),
                reliability(probabilities.flatten(), has.flatten(), of_labels),
            )
        )
        losses.append(task.losses(exact, some))
        decisions.append(decided)
        counts = torch.ones(len(has)) if some.weights is None else some.weights
        sums["lrap"] += (_ranking_precision(logits, some) * counts).sum().item()
        for name, value in _at_ranks(logits, has.bool(), counts.double()).items():
            sums[name] += value
    found, reliable = (sum(column[1:], start=column[0]) for column in zip(*parts, strict=True))
    loss = torch.cat(losses)
    metrics = {"rows": scores.num_bags, "loss": weighted_mean(loss, targets.weights)}
    metrics |= {"ece": reliable.error} | decision_metrics(found, targets, label_names)
    metrics |= _means(sums, targets)
    return Assessment(metrics, reliable, Targets.concatenate(decisions), loss.float())


def _means(sums: Mapping[str, float], targets: Targets) -> dict[str, float]:
    """Return the means of sums over rows; of recall, over their labels."""
    assert targets.offsets is not None
    weights = torch.ones(targets.num_bags) if targets.weights is None else targets.weights
    counts, exact = targets.offsets.diff(), weights.double()
    divisors = {"recall": exact @ counts.double(), "ndcg": exact[counts > 0].sum()}
    return {
        name: total / float(divisors.get(name.partition("_")[0], exact.sum()) or 1)
        for name, total in sums.items()
    }


def _names_at_ranks() -> list[str]:
    return [f"{name}_at_{k}" for k in RANKS for name in ("precision", "recall", "ndcg")]


def _at_ranks(scores: Tensor, has: Tensor, weights: Tensor) -> dict[str, float]:
    """Return sums over rows, by their weights, for each metric at each rank; of recall, hits."""
    best = scores.topk(min(max(RANKS), scores.shape[1])).indices
    hits = has.gather(1, best).double()
    discounts = 1 / torch.arange(2, hits.shape[1] + 2, dtype=torch.float64).log2()
    gains = (hits * discounts).cumsum(1)
    ideal = torch.cat([torch.zeros(1, dtype=torch.float64), discounts.cumsum(0)])
    sums: dict[str, float] = {}
    for k in RANKS:
        upto = min(k, hits.shape[1])
        found = (hits[:, :upto].sum(1) * weights).sum().item()
        wanted = ideal[has.sum(1).clamp(max=upto)]
        sums |= {
            f"precision_at_{k}": found / k,
            f"recall_at_{k}": found,
            f"ndcg_at_{k}": (gains[:, upto - 1] / wanted.clamp(min=1e-9) * weights)[wanted > 0]
            .sum()
            .item(),
        }
    return sums


def _ranking_precision(scores: Tensor, targets: Targets) -> Tensor:
    """Return the label ranking average precision of each row; 1 where it has none, or all.

    For each label of a row: of the labels ranked as high or higher, the share that the row has.
    """
    assert targets.offsets is not None
    counts = targets.offsets.diff()
    total = scores.new_zeros(len(scores), dtype=torch.float64)
    ascending = scores.sort(1).values
    own = scores[targets.bags, targets.ids]
    # Of all labels, and of those that the row has, how many score as much or more.
    rank = scores.shape[1] - torch.searchsorted(
        ascending[targets.bags], own.unsqueeze(1), right=False
    ).squeeze(1)
    # Those of each row in ascending order; equal scores count together, as the lowest of them.
    order = torch.argsort(own, stable=True)
    order = order[torch.argsort(targets.bags[order], stable=True)]
    values, bags = own[order], targets.bags[order]
    is_first = torch.ones(len(order), dtype=torch.bool)
    is_first[1:] = (values[1:] != values[:-1]) | (bags[1:] != bags[:-1])
    firsts = is_first.nonzero().squeeze(1)
    lowest = torch.empty_like(order)
    lowest[order] = firsts[is_first.long().cumsum(0) - 1] if len(order) else order
    among = targets.offsets[1:][targets.bags] - lowest
    total.index_add_(0, targets.bags, (among / rank).double())
    precision = total / counts.clamp(min=1)
    precision[(counts == 0) | (counts == scores.shape[1])] = 1
    return precision


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return part.double() / whole.where(whole > 0, 1)
