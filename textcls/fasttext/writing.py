"""fastText's ``.bin`` files, written so that fastText reads them."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from textcls.fasttext.format import (
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
from textcls.fasttext.matrices import Matrix
from textcls.files import whole_file

# Numbers of a matrix that are written at a time.
_AT_ONCE = 1 << 22


def write_model_file(model: ModelFile, path: Path) -> None:
    """Write a model of dense matrices, whole or not at all.

    Raises:
        ValueError: a matrix is quantised, or buckets are pruned.
        OSError: the file cannot be written; what was there stays.
    """
    if model.is_quantised or model.kept_buckets is not None:
        raise ValueError("only models of dense matrices are written")
    with whole_file(path) as scratch, scratch.open("wb") as file:
        file.write(struct.pack("<2i", MAGIC, VERSIONS[-1]))
        values = dataclasses.asdict(model.arguments)
        losses = {name: number for number, name in LOSSES.items()}
        ordered = [losses[value] if name == "loss" else value for name, value in values.items()]
        # What kind of model it is comes after the loss.
        ordered.insert(7, SUPERVISED)
        file.write(ARGUMENTS.pack(*ordered))
        num_words, num_labels = len(model.words), len(model.labels)
        size = num_words + num_labels
        file.write(COUNTS.pack(size, num_words, num_labels, model.num_tokens, -1))
        for names, counts, kind in (
            (model.words, model.word_counts, WORD),
            (model.labels, model.label_counts, LABEL),
        ):
            for name, count in zip(names, counts.tolist(), strict=True):
                file.write(name + b"\0" + ENTRY.pack(count, kind))
        for matrix in (model.input, model.output):
            _write_matrix(file, matrix)


def _write_matrix(file: BinaryIO, matrix: Matrix) -> None:
    rows, width = matrix.shape
    file.write(struct.pack("<B2q", 0, rows, width))
    step = max(_AT_ONCE // width, 1)
    for start in range(0, rows, step):
        part = matrix.rows(np.arange(start, min(start + step, rows)))
        file.write(np.ascontiguousarray(part, "<f4").data)
