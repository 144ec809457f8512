"""Inputs of the size measurement."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from benchmarks.corpora import read


def repeat(source: str, target: str, times: int = 1, rows: int | None = None) -> dict[str, Any]:
    """Write the rows of a file so many times over, or evenly chosen rows of it, as parquet."""
    texts, labels = read(source)
    step = max(len(texts) // rows, 1) if rows else 1
    table = pa.table({"text": texts[::step][:rows], "label": labels[::step][:rows]})
    # Row groups as large as the source, not the whole as one, which must be read at one go.
    parquet.write_table(pa.concat_tables([table] * times), target, row_group_size=len(table))
    size = pc.sum(pc.binary_length(table["text"])).as_py()
    return {"rows": table.num_rows * times, "bytes": size * times}
