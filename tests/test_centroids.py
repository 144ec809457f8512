"""The nearest of centroids, and k-means: the oracle is scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.vq import vq

from textcls.centroids import fit_centroids, nearest


@pytest.mark.parametrize("width", [1, 2, 7])
def test_the_nearest_centroid_is_scipys(width: int) -> None:
    chance = np.random.default_rng(0)
    points = chance.normal(size=(3_000, width)).astype(np.float32)
    # (Far from zero as well: the squares of distances are small beside those of the points.)
    for shift in (0, 100):
        moved = points + np.float32(shift)
        centroids = chance.permutation(moved)[:256]
        expected = vq(moved.astype(np.float64), centroids.astype(np.float64))[1]
        found = np.linalg.norm(moved - centroids[nearest(moved, centroids)], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_centroids_move_to_the_means_of_their_points() -> None:
    chance = np.random.default_rng(0)
    points = (chance.normal(size=(2_000, 2)) + 10 * chance.integers(4, size=(2_000, 1))).astype(
        "f4"
    )
    start = points[:8]
    centroids = fit_centroids(points, start, 20)
    assert centroids.dtype == np.float32
    np.testing.assert_array_equal(centroids, fit_centroids(points, start, 20))
    before, after = (
        np.square(points - one[nearest(points, one)]).sum() for one in (start, centroids)
    )
    assert after < before / 2


def test_a_centroid_without_points_stays(recwarn: pytest.WarningsRecorder) -> None:
    points = np.zeros((10, 1), np.float32)
    far = np.array([[0], [5]], np.float32)
    np.testing.assert_array_equal(fit_centroids(points, far, 3), far)
    assert not recwarn.list
