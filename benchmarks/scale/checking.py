"""Whether each row came out once, and what was said of all of them, as one number to compare."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset


@dataclass(frozen=True)
class Found:
    """What a folder of answers holds.

    Attributes:
        rows: how many.
        lost: ids that it lacks.
        doubled: rows more than one of an id, and of ids that were not given.
        digest: of ids, labels and the bits of probabilities, sorted by id.
    """

    rows: int
    lost: int
    doubled: int
    digest: str


def check(folder: Path, given: int) -> Found:
    """Read a folder of answers.

    Args:
        folder: Parquet files with the columns ``id``, ``label`` and ``probability``.
        given: so many rows were to be labelled, with ids from 0.
    """
    files = dataset.dataset(folder, format="parquet")
    table = files.to_table(columns=["id", "label", "probability"])
    ids = table["id"].cast(pa.uint64()).to_numpy()  # Spark has no such type
    # Not the order in which labels occur: that depends on the files.
    names = sorted(name for name in pc.unique(table["label"]).to_pylist() if name is not None)
    labels = pc.fill_null(pc.index_in(table["label"], pa.array(names)), -1).to_numpy()
    probabilities = table["probability"].cast(pa.float32()).to_numpy()
    counts = np.bincount(ids[ids < given].astype(np.int64), minlength=given)
    order = np.argsort(ids, kind="stable")
    digest = hashlib.sha256("\n".join(names).encode())
    for column in (ids, labels.astype(np.int32), probabilities.view(np.uint32)):
        digest.update(column[order].tobytes())
    lost = int((counts == 0).sum())
    doubled = len(ids) - (given - lost)
    return Found(len(ids), lost, doubled, digest.hexdigest()[:16])
