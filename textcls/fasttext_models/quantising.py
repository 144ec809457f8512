"""fastText's compression of a model: rows that matter little are dropped, the others quantised.

A row is cut into parts of a few numbers, and each part becomes the nearest of 256 centroids, which
k-means fits to a sample of the rows. The same model comes to the same result, always.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64
from textcls.centroids import fit_centroids, nearest
from textcls.fasttext_models.encoding import END
from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.format import ModelFile
from textcls.fasttext_models.matrices import CENTROIDS, Dense, Float32, Matrix, Norms, Quantised

# Rows that centroids are fitted to, and rounds: as many as fastText takes.
_FITTED_ROWS = CENTROIDS * CENTROIDS
_ROUNDS = 25
# Numbers of a matrix that are looked at at a time.
_AT_ONCE = 1 << 22
# Numbers of the output matrix that share a byte, whatever those of the input matrix.
_OUTPUT_PART = 2
# The number of codes of a matrix is an int32 in the file.
_MOST_CODES = 2**31 - 1


def pruned(file: ModelFile, cutoff: int) -> ModelFile:
    """Keep the rows of the input matrix with the largest norms, and that of ``</s>``.

    Args:
        file: a model of dense matrices.
        cutoff: so many rows; 0 or less, or as many as there are: all.

    Raises:
        FastTextError: the model is quantised or pruned, or a number is not finite.
    """
    _check_dense(file)
    if cutoff <= 0 or cutoff >= file.input.shape[0]:
        return file
    if file.kept_buckets is not None:
        raise FastTextError(f"cutoff={cutoff}: the model is already pruned: leave it out")
    num_words = len(file.words)
    num_rows = min(file.input.shape[0], num_words + file.arguments.bucket)
    norms = _norms_of(file.input)[:num_rows]
    if END in file.words:
        norms[file.words.index(END)] = np.inf
    chosen = np.argsort(-norms, kind="stable")[:cutoff]
    words = np.sort(chosen[chosen < num_words])
    buckets = np.sort(chosen[chosen >= num_words])
    return dataclasses.replace(
        file,
        words=[file.words[number] for number in words.tolist()],
        word_counts=file.word_counts[words],
        kept_buckets=(buckets - num_words).astype(np.int32),
        rows_of_buckets=np.arange(len(buckets), dtype=np.int32),
        input=Dense(file.input.rows(np.concatenate([words, buckets]))),
    )


def quantised(file: ModelFile, part: int, with_norms: bool, with_output: bool) -> ModelFile:
    """Quantise the input matrix, and the output matrix if wanted.

    Args:
        file: a model of dense matrices.
        part: numbers of a row of the input matrix that share a byte.
        with_norms: the norm of a row has a byte of its own, and its parts are of unit length.
        with_output: the output matrix as well, two numbers to a byte.

    Raises:
        FastTextError: the model is quantised, a matrix has too few rows, ``part`` is below 1, or a
            number is not finite.
    """
    _check_dense(file)
    if part < 1:
        raise FastTextError(f"dsub={part}: choose 1 or more numbers that share a byte")
    output = file.output
    if with_output:
        output = _quantised(output, _OUTPUT_PART, with_norms, "output")
    source = _quantised(file.input, part, with_norms, "input")
    return dataclasses.replace(file, input=source, output=output)


def _check_dense(file: ModelFile) -> None:
    if file.is_quantised:
        raise FastTextError(
            "the model is already quantized: take the one that was quantized, its .bin file"
        )


def _quantised(matrix: Matrix, part: int, with_norms: bool, name: str) -> Quantised:
    num_rows, width = matrix.shape
    if num_rows < CENTROIDS:
        remedy = "leave out qout" if name == "output" else "raise the cutoff, or leave it as it is"
        raise FastTextError(
            f"the {name} matrix has {num_rows} rows, and to quantize one it must have at least "
            f"{CENTROIDS} rows: {remedy}"
        )
    part = min(part, width)
    num_parts = math.ceil(width / part)
    if num_rows * num_parts > _MOST_CODES:
        raise FastTextError(
            f"the {name} matrix has {num_rows:,} x {num_parts:,} parts, and fastText's files hold "
            f"{_MOST_CODES:,}: set a cutoff or a larger dsub"
        )
    norms = _norms_of(matrix)
    lengths = np.ones_like(norms)
    if with_norms:
        np.copyto(lengths, norms, where=norms > 0)
    chance = np.random.default_rng(0)
    sample = chance.choice(num_rows, min(num_rows, _FITTED_ROWS), replace=False)
    fitted = matrix.rows(sample) / lengths[sample, None]
    # The last part is of what is left.
    bounds = [*range(0, width, part), width]
    centroids = [
        _fitted(np.ascontiguousarray(fitted[:, start:stop]), chance)
        for start, stop in pairwise(bounds)
    ]
    codes = np.empty((num_rows, num_parts), np.uint8)
    for ids in _blocks(matrix):
        rows = matrix.rows(ids)
        rows /= lengths[ids, None]
        for place, (start, stop) in enumerate(pairwise(bounds)):
            codes[ids, place] = nearest(rows[:, start:stop], centroids[place])
    whole = np.stack(centroids[:-1]) if num_parts > 1 else np.empty((0, CENTROIDS, part), "f4")
    return Quantised(
        codes, whole, centroids[-1], _coded(norms, sample, chance) if with_norms else None
    )


def _coded(norms: Float32, sample: Int64, chance: np.random.Generator) -> Norms:
    """Return the norms of rows as codes, fitted to those of a sample of the rows."""
    values = _fitted(norms[sample, None], chance)
    return Norms(nearest(norms[:, None], values), values[:, 0])


def _fitted(points: Float32, chance: np.random.Generator) -> Float32:
    """Return 256 centroids of points, float32 ``[256, width]``."""
    # Of different points: centroids that begin at the same place stay there, and code nothing.
    distinct = np.unique(points, axis=0)
    start = chance.permutation(distinct)[:CENTROIDS]
    return fit_centroids(points, np.resize(start, (CENTROIDS, points.shape[1])), _ROUNDS)


def _norms_of(matrix: Matrix) -> Float32:
    """Return the norm of each row, float32 ``[rows]``."""
    norms = np.empty(matrix.shape[0], np.float32)
    for ids in _blocks(matrix):
        norms[ids] = np.linalg.norm(matrix.rows(ids), axis=1)
    if not np.isfinite(norms).all():
        raise FastTextError("the model has numbers that are not finite (NaN): train it anew")
    return norms


def _blocks(matrix: Matrix) -> list[npt.NDArray[np.int64]]:
    """Return the numbers of rows in runs of bounded size."""
    num_rows, width = matrix.shape
    step = max(_AT_ONCE // width, 1)
    return [
        np.arange(start, min(start + step, num_rows), dtype=np.int64)
        for start in range(0, num_rows, step)
    ]
