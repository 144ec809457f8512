"""Centroids of points, by k-means, and the nearest of them."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

# Points whose products with all centroids are held at a time: what fits into a processor's cache.
_AT_ONCE = 1024


def fit_centroids(points: Float32, start: Float32, rounds: int) -> Float32:
    """Move centroids to the means of the points nearest to them, again and again.

    The same points and start make the same centroids.

    Args:
        points: float32 ``[num_points, width]``.
        start: float32 ``[num_centroids, width]``; one without points stays where it is.
        rounds: how often.

    Returns:
        float32 ``[num_centroids, width]``.
    """
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():  # of centroids without points
        warnings.simplefilter("ignore")
        centroids, _ = kmeans2(points, start, rounds, minit="matrix")
    return np.asarray(centroids, np.float32)


def nearest(points: Float32, centroids: Float32) -> npt.NDArray[np.uint8]:
    """Return the number of the centroid nearest to each point, uint8 ``[num_points]``.

    Args:
        points: float32 ``[num_points, width]``.
        centroids: float32 ``[num_centroids, width]``, 256 at most.
    """
    found = np.empty(len(points), np.uint8)
    # Distances between centroids far from zero would drown in the rounding of their squares.
    middle = centroids.mean(0)
    shifted = centroids - middle
    halves = np.square(shifted).sum(1) / 2
    for start in range(0, len(points), _AT_ONCE):
        part = points[start : start + _AT_ONCE] - middle
        found[start : start + _AT_ONCE] = (part @ shifted.T - halves).argmax(1)
    return found
