"""Functions that learning curves follow, and their fits.

The forms are those that Hestness et al., "Deep Learning Scaling is Predictable, Empirically"
(2017), and Viering and Loog, "The Shape of Learning Curves: a Review" (2022), name for scores that
grow with the number of rows n: power laws of the error with and without a floor that no number of
rows goes below, and a straight line by log n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

Float64 = npt.NDArray[np.float64]
# Returns scores of numbers of rows, float64 of any shape.
Curve = Callable[[Float64], Float64]
Form = Literal["pow3", "pow2", "log"]
# The error falls no faster than by so many powers of n.
STEEPEST = 2.0


def fitted(form: Form, sizes: Float64, scores: Float64, weights: Float64) -> Curve:
    """Return the curve that is nearest to some scores, by weighted least squares.

    Args:
        form: ``pow3``, ``1 - c - b * n ** -a``; ``pow2``, the same with ``c = 0``; ``log``,
            ``a + b * log(n)``, which ends at 1. No curve falls as n grows.
        sizes: numbers of rows, ``[n]``, ascending.
        scores: 1 where nothing is wrong, ``[n]``.
        weights: of the squares, ``[n]``.
    """
    largest = sizes[-1]
    roots = np.sqrt(weights / weights.max())
    if form == "log":
        design = np.stack([np.ones_like(sizes), np.log(sizes / largest)], 1)
        (level, slope), *_ = np.linalg.lstsq(design * roots[:, None], scores * roots, rcond=None)
        slope = max(slope, 0.0)
        return lambda n: np.minimum(level + slope * np.log(n / largest), 1)

    floors = form == "pow3"

    def errors(parameters: Float64, n: Float64) -> Float64:
        scale, power, floor = parameters if floors else (*parameters, 0.0)
        values: Float64 = floor + scale * (n / largest) ** -power
        return values

    # In units of the largest size the scale is the error there: a start that is near.
    error = float(np.clip(1 - scores[-1], 1e-3, 1))
    start = [0.7 * error, 0.4, 0.3 * error] if floors else [error, 0.25]
    limits = ([0.0] * len(start), [1.0, STEEPEST, 1.0][: len(start)])
    found = least_squares(
        lambda parameters: roots * (errors(parameters, sizes) - (1 - scores)), start, bounds=limits
    )
    return lambda n: 1 - errors(found.x, n)
