"""Which subsets of train a learning curve is measured on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# A subset has so many rows at least, and as many as there are classes.
FEWEST = 10
# Draws by size: small subsets differ most, and cost least.
DRAWS = ((1_000, 5), (10_000, 3), (100_000, 2))


def sizes_of(num_rows: int, num_classes: int) -> list[int]:
    """Return the sizes of the subsets, ascending: the whole, a half, a quarter and so on.

    Args:
        num_rows: of the whole.
        num_classes: the smallest subset has as many rows, and no fewer than ``FEWEST``.
    """
    sizes, parts = [], 1
    while (size := round(num_rows / parts)) >= max(FEWEST, num_classes):
        sizes.append(size)
        parts *= 2
    return sizes[::-1]


def num_draws(size: int) -> int:
    """Return how many subsets of a size are drawn; of the whole, how many seeds are tried."""
    return next((draws for most, draws in DRAWS if size <= most), 1)


def drawn(num_rows: int, size: int, draw: int, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are in a subset, bool ``[num_rows]``.

    They are drawn at random, as rows are that somebody labels next: were each class given its share
    of a subset, the smallest ones would be better than such rows are. The subsets of one draw are
    nested: a larger one has the rows of the smaller ones.

    Args:
        num_rows: of the whole.
        size: of the subset.
        draw: its number.
        seed: of all draws.
    """
    order = np.random.default_rng([seed, draw]).permutation(num_rows)
    chosen = np.zeros(num_rows, np.bool_)
    chosen[order[:size]] = True
    return chosen
