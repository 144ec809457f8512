"""How the rows of a bag become one vector: a mode's name, and what it stands for.

With w the weights of a bag's entries (1 where they have none) and e the rows of their ids::

    sum     Σ w·e        mean    Σ w·e / Σ w        sqrtn   Σ w·e / √Σ w²
    max     of each number the largest of the rows, whatever their weights
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast, get_args

from textcls.values import Mode

MODES: tuple[Mode, ...] = get_args(Mode)
# Those that the kernels of textcls.model.kernels have.
KERNEL_MODES: tuple[Mode, ...] = (
    "mean", "sum", "max", "mean+sum", "mean+max", "sum+max", "mean+sum+max", "weighted_sum",
)  # fmt: skip
_LEARNED = "weighted_"


@dataclass(frozen=True)
class Pooling:
    """One or several ways of pooling, side by side.

    Attributes:
        parts: of ``mean``, ``sum``, ``sqrtn`` and ``max``, in this order.
        learned: whether each row is multiplied by a learned weight of its id; then there is one
            part, a linear one.
    """

    parts: tuple[str, ...]
    learned: bool = False

    @staticmethod
    @cache
    def parse(mode: str) -> Pooling:
        """Return the pooling of a mode's name, as in ``model.mode``.

        Raises:
            ValueError: there is no such mode.
        """
        if mode not in MODES:
            raise ValueError(f"mode='{mode}': take one of {', '.join(MODES)}")
        parts = tuple(mode.removeprefix(_LEARNED).split("+"))
        return Pooling(parts, mode.startswith(_LEARNED))

    @property
    def mode(self) -> Mode:
        """Its name."""
        return cast(Mode, (_LEARNED if self.learned else "") + "+".join(self.parts))

    @property
    def is_linear(self) -> bool:
        """Whether a bag's vector is a sum over its rows, each times a number."""
        return "max" not in self.parts

    @property
    def has_linear(self) -> bool:
        """Whether one of the parts is linear."""
        return self.parts != ("max",)

    def width(self, dim: int) -> int:
        """Return the numbers per pooled vector, for rows of ``dim`` numbers."""
        return dim * len(self.parts)
