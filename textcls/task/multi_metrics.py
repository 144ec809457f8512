"""How well labels are found where a text has any number of them, by scikit-learn's definitions.

Rows are gone through in parts, so that nothing of rows by labels is held beside the class scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.calibration import Reliability, reliability

if TYPE_CHECKING:
    from textcls.task.multi import MultiLabel

# The ranks at which precision and recall are measured.
RANKS = (1, 3, 5)
# Class scores in double precision at a time: 8 MiB.
DOUBLES = 1 << 20


@dataclass(frozen=True)
class Decisions:
    """What was predicted, counted.

    Attributes:
        right: int64 ``[num_classes]``, rows that have a label and were predicted to have it.
        claimed: int64 ``[num_classes]``, rows that were predicted to have it.
        exact: int64 ``[]``, rows of which all labels were predicted, and no others.
    """

    right: Tensor
    claimed: Tensor
    exact: Tensor

    @classmethod
    def of(cls, chosen: Tensor, targets: Targets) -> Decisions:
        """Count decisions, bool ``[num_rows, num_classes]``."""
        hits = chosen[targets.bags, targets.ids]
        right = torch.zeros_like(chosen[0], dtype=torch.int64)
        right.index_add_(0, targets.ids, hits.long())
        hits_of_row = torch.zeros(len(chosen), dtype=torch.int64, device=chosen.device)
        hits_of_row.index_add_(0, targets.bags, hits.long())
        assert targets.offsets is not None
        exact = (hits_of_row == targets.offsets.diff()) & (hits_of_row == chosen.sum(1))
        return cls(right, chosen.sum(0), exact.sum())

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
        found: of all rows.
        targets: of these rows.
        label_names: of class 0, 1, 2, …

    Returns:
        ``accuracy``, the share of rows of which all labels and no others are predicted (subset
        accuracy); ``micro_f1``, that of all decisions together; ``macro_f1``, the mean F1 of the
        labels that occur among rows or predictions; ``micro_precision``, ``micro_recall``; and
        ``per_class``, by label name: ``precision``, ``recall``, ``f1`` (0 where undefined) and
        ``support``, the label's rows.
    """
    support = targets.ids.bincount(minlength=len(label_names))
    right, claimed = found.right.cpu(), found.claimed.cpu()
    f1 = _share(2 * right, claimed + support)
    precision, recall = _share(right, claimed), _share(right, support)
    occurs = claimed + support > 0
    all_right, all_claimed, all_support = right.sum(), claimed.sum(), support.sum()
    columns = (t.tolist() for t in (precision, recall, f1, support))
    return {
        "accuracy": int(found.exact) / targets.num_bags,
        "micro_f1": float(_share(2 * all_right, all_claimed + all_support)),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "micro_precision": float(_share(all_right, all_claimed)),
        "micro_recall": float(_share(all_right, all_support)),
        "per_class": {
            name: {"precision": p, "recall": r, "f1": f, "support": s}
            for name, p, r, f, s in zip(label_names, *columns, strict=True)
        },
    }


def metrics_of_logits(
    task: MultiLabel, logits: Tensor, targets: Targets, label_names: Sequence[str]
) -> dict[str, Any]:
    """Return :func:`decision_metrics`, and what rankings and probabilities are worth.

    That is ``rows``, how many there are; ``loss``, the mean over rows of the binary cross-entropy
    in nats, summed over labels; ``ece``, the expected calibration error of all probabilities; for
    each k of ``RANKS`` ``precision_at_k``, of a row's k most probable labels the share that it has,
    ``recall_at_k``, of all rows' labels the share that is among them (both as fastText's ``test``
    has them, over all rows), and ``ndcg_at_k``, over the rows that have a label; and ``lrap``, the
    label ranking average precision.

    Args:
        task: says what is predicted.
        logits: float ``[num_rows, num_classes]`` on the CPU.
        targets: of these rows.
        label_names: of class 0, 1, 2, …
    """
    num_rows, num_classes = logits.shape
    found: Decisions | None = None
    sums = dict.fromkeys(("loss", "lrap", *_names_at_ranks()), 0.0)
    for scores, some in _in_parts(logits, targets):
        exact = scores.double()
        probabilities = task.probabilities(exact)
        has = some.dense(num_classes).bool()
        chosen = torch.zeros_like(has)
        decided = task.decided(probabilities.float())
        chosen[decided.bags, decided.ids] = True
        part = Decisions.of(chosen, some)
        found = part if found is None else found + part
        sums["loss"] += task.losses(exact, some).sum().item()
        sums["lrap"] += _ranking_precision(scores, some).sum().item()
        for name, value in _at_ranks(scores, has).items():
            sums[name] += value
    assert found is not None
    assert targets.offsets is not None
    divisors = {"recall": len(targets.ids), "ndcg": int((targets.offsets.diff() > 0).sum())}
    means = {
        name: total / max(divisors.get(name.partition("_")[0], num_rows), 1)
        for name, total in sums.items()
    }
    return (
        {"rows": num_rows, "loss": means.pop("loss")}
        | {"ece": reliability_of(task, logits, targets).error}
        | decision_metrics(found, targets, label_names)
        | means
    )


def reliability_of(task: MultiLabel, logits: Tensor, targets: Targets) -> Reliability:
    """Return how often labels are had, by bins of their probabilities.

    Args:
        task: says how probable they are.
        logits: float ``[num_rows, num_classes]``, num_rows > 0, on the CPU.
        targets: of these rows.
    """
    parts = [
        reliability(
            task.probabilities(scores.double()).flatten(), some.dense(scores.shape[1]).flatten()
        )
        for scores, some in _in_parts(logits, targets)
    ]
    return sum(parts[1:], start=parts[0])


def _in_parts(logits: Tensor, targets: Targets) -> Iterator[tuple[Tensor, Targets]]:
    rows = max(1, DOUBLES // logits.shape[1])
    for start in range(0, len(logits), rows):
        stop = min(start + rows, len(logits))
        yield logits[start:stop], targets.slice(start, stop)


def _names_at_ranks() -> list[str]:
    return [f"{name}_at_{k}" for k in RANKS for name in ("precision", "recall", "ndcg")]


def _at_ranks(scores: Tensor, has: Tensor) -> dict[str, float]:
    """Return sums over rows for each metric at each rank; of recall, hits."""
    best = scores.topk(min(max(RANKS), scores.shape[1])).indices
    hits = has.gather(1, best).double()
    discounts = 1 / torch.arange(2, hits.shape[1] + 2, dtype=torch.float64).log2()
    gains = (hits * discounts).cumsum(1)
    ideal = torch.cat([torch.zeros(1, dtype=torch.float64), discounts.cumsum(0)])
    sums: dict[str, float] = {}
    for k in RANKS:
        upto = min(k, hits.shape[1])
        found = hits[:, :upto].sum().item()
        wanted = ideal[has.sum(1).clamp(max=upto)]
        sums |= {
            f"precision_at_{k}": found / k,
            f"recall_at_{k}": found,
            f"ndcg_at_{k}": (gains[:, upto - 1] / wanted.clamp(min=1e-9))[wanted > 0].sum().item(),
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
    return part.double() / whole.clamp(min=1)
