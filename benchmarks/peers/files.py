"""Inputs of the size measurement."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from benchmarks.corpora import read


def hold_out(source: str, train: str, validation: str) -> dict[str, Any]:
    """Write nine tenths of a file's rows as one parquet file and a tenth, by label, as another."""
    from sklearn.model_selection import train_test_split

    texts, labels = read(source)
    rows = range(len(texts))
    kept, held_out = train_test_split(rows, test_size=0.1, random_state=0, stratify=labels)
    table = pa.table({"text": texts, "label": labels})
    parquet.write_table(table.take(sorted(kept)), train)
    parquet.write_table(table.take(sorted(held_out)), validation)
    return {"rows": len(kept), "held_out": len(held_out)}


def repeat(source: str, target: str, times: int = 1, rows: int | None = None) -> dict[str, Any]:
    """Write the rows of a file so many times over, or evenly chosen rows of it, as parquet."""
    texts, labels = read(source)
    step = max(len(texts) // rows, 1) if rows else 1
    table = pa.table({"text": texts[::step][:rows], "label": labels[::step][:rows]})
    # Row groups as large as the source, not the whole as one, which must be read at one go.
    parquet.write_table(pa.concat_tables([table] * times), target, row_group_size=len(table))
    size = pc.sum(pc.binary_length(table["text"])).as_py()
    return {"rows": table.num_rows * times, "bytes": size * times}
