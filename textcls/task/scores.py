"""Class scores (logits) of many bags, part by part: rows by classes may be more than memory has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.calibration import DOUBLES

# Class scores that are held at a time, of which something is fitted that needs them all: 256 MiB.
SAMPLED = 1 << 26


class Scores:
    """The class scores of bags, made as they are asked for.

    Args:
        num_bags: how many there are.
        num_classes: classes.
        compute: returns those of bags ``start`` to ``stop - 1``, float32
            ``[stop - start, num_classes]`` on the CPU.
        compute_some: returns those of some bags, int64 ``[n]``, ascending; None: they are asked for
            one by one.
    """

    def __init__(
        self,
        num_bags: int,
        num_classes: int,
        compute: Callable[[int, int], Tensor],
        compute_some: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.num_bags, self.num_classes = num_bags, num_classes
        self._compute, self._compute_some = compute, compute_some or self._one_by_one

    @classmethod
    def of(cls, logits: Tensor) -> Scores:
        """Return scores that are there already, float ``[num_bags, num_classes]`` on the CPU."""
        num_bags, num_classes = logits.shape
        return cls(num_bags, num_classes, lambda start, stop: logits[start:stop])

    def parts(self, targets: Targets, numbers: int = DOUBLES) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the scores of some bags after others, float ``[n, num_classes]``, with targets.

        Args:
            targets: of all bags.
            numbers: that a part has at most, but it has a bag at least.
        """
        start = 0
        for logits in self.pieces(numbers):
            stop = start + len(logits)
            yield logits, targets.slice(start, stop)
            start = stop

    def pieces(self, numbers: int = DOUBLES) -> Iterator[Tensor]:
        """Yield the scores of some bags after others, float ``[n, num_classes]``.

        Args:
            numbers: as of :meth:`parts`.
        """
        rows = max(1, numbers // self.num_classes)
        for start in range(0, self.num_bags, rows):
            yield self._compute(start, min(start + rows, self.num_bags))

    def divided(self, temperature: float) -> Scores:
        """Return the scores divided by a number."""
        return Scores(
            self.num_bags,
            self.num_classes,
            lambda start, stop: self._compute(start, stop) / temperature,
            lambda bags: self._compute_some(bags) / temperature,
        )

    def sample(self, targets: Targets) -> tuple[Tensor, Targets]:
        """Return the scores of all bags in one piece, or of bags at even distances if too many.

        Args:
            targets: of all bags.
        """
        rows = min(self.num_bags, max(1, SAMPLED // self.num_classes))
        if rows == self.num_bags:
            return self._compute(0, rows), targets
        chosen = torch.arange(rows) * self.num_bags // rows
        return self._compute_some(chosen), targets.select(chosen)

    def _one_by_one(self, bags: Tensor) -> Tensor:
        return torch.cat([self._compute(i, i + 1) for i in bags.tolist()])
