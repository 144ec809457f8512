"""fastText's model files, ``.bin`` and ``.ftz``, written so that fastText reads them."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.format import (
    ARGUMENTS,
    COUNTS,
    ENTRY,
    LABEL,
    LOSSES,
    MAGIC,
    SUPERVISED,
    VERSIONS,
    WORD,
    ModelFile,
)
from textcls.fasttext_models.matrices import Float32, Matrix, Quantised
from textcls.files import whole_file

# Numbers of a matrix that are written at a time.
_AT_ONCE = 1 << 22


def write_model_file(model: ModelFile, path: Path) -> None:
    """Write a model, whole or not at all.

    It may be the file that the model was read from: what is mapped of that stays as it was.

    Raises:
        FastTextError: buckets are pruned, and the model is not quantised.
        OSError: the file cannot be written; what was there stays.
    """
    if model.kept_buckets is not None and not model.is_quantised:
        raise FastTextError(
            "the model has pruned buckets and a dense matrix, which fastText's files cannot hold: "
            "quantize it"
        )
    with whole_file(path) as scratch, scratch.open("wb") as file:
        file.write(struct.pack("<2i", MAGIC, VERSIONS[-1]))
        values = dataclasses.asdict(model.arguments)
        losses = {name: number for number, name in LOSSES.items()}
        ordered = [losses[value] if name == "loss" else value for name, value in values.items()]
        # What kind of model it is comes after the loss.
        ordered.insert(7, SUPERVISED)
        file.write(ARGUMENTS.pack(*ordered))
        _write_dictionary(file, model)
        for matrix in (model.input, model.output):
            file.write(struct.pack("<B", isinstance(matrix, Quantised)))
            if isinstance(matrix, Quantised):
                _write_quantised(file, matrix)
            else:
                _write_dense(file, matrix)


def _write_dictionary(file: BinaryIO, model: ModelFile) -> None:
    num_words, num_labels = len(model.words), len(model.labels)
    num_kept = -1 if model.kept_buckets is None else len(model.kept_buckets)
    file.write(
        COUNTS.pack(num_words + num_labels, num_words, num_labels, model.num_tokens, num_kept)
    )
    for names, counts, kind in (
        (model.words, model.word_counts, WORD),
        (model.labels, model.label_counts, LABEL),
    ):
        for name, count in zip(names, counts.tolist(), strict=True):
            file.write(name + b"\0" + ENTRY.pack(count, kind))
    if model.kept_buckets is not None and model.rows_of_buckets is not None:
        pairs = np.stack([model.kept_buckets, model.rows_of_buckets], 1)
        file.write(pairs.astype("<i4").tobytes())


def _write_dense(file: BinaryIO, matrix: Matrix) -> None:
    rows, width = matrix.shape
    file.write(struct.pack("<2q", rows, width))
    step = max(_AT_ONCE // width, 1)
    for start in range(0, rows, step):
        part = matrix.rows(np.arange(start, min(start + step, rows)))
        file.write(np.ascontiguousarray(part, "<f4").data)


def _write_quantised(file: BinaryIO, matrix: Quantised) -> None:
    rows, width = matrix.shape
    file.write(struct.pack("<B2qi", matrix.norms is not None, rows, width, matrix.codes.size))
    file.write(matrix.codes.tobytes())
    _write_quantiser(file, matrix.centroids, matrix.last)
    if matrix.norms is not None:
        codes, values = matrix.norms
        file.write(codes.tobytes())
        _write_quantiser(file, np.empty((0, len(values), 1), np.float32), values[:, None])


def _write_quantiser(file: BinaryIO, centroids: Float32, last: Float32) -> None:
    """Write the centroids of all parts but the last, and of that."""
    num_parts, _, part = centroids.shape
    rest = last.shape[1]
    file.write(struct.pack("<4i", num_parts * part + rest, num_parts + 1, part, rest))
    for numbers in (centroids, last):
        file.write(numbers.astype("<f4").tobytes())
