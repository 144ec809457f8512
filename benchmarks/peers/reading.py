"""A file of texts and labels to an Arrow table, by textcls and as others read it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import timed


def textcls(path: str) -> dict[str, Any]:
    """Read it as preparation does: format and dialect found out, labels numbered, rows checked."""
    from textcls.config import Reading
    from textcls.corpus.columns import choose_columns
    from textcls.corpus.formats import open_table
    from textcls.corpus.rows import RowReader

    times: dict[str, Any] = {}
    with timed(times, "seconds_of_work"):
        file = open_table(Path(path), Reading())
        rows = RowReader([file], Reading(), *choose_columns(Reading(), file))
    return times | {"rows": sum(map(len, rows.chunks))}


def datasets(path: str) -> dict[str, Any]:
    """Hugging Face ``datasets``, which writes an Arrow file first, and maps it into memory."""
    import datasets as library

    kind = {".csv": "csv", ".jsonl": "json", ".parquet": "parquet"}[Path(path).suffix]
    library.disable_progress_bars()
    times: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache, timed(times, "seconds_of_work"):
        dataset = library.load_dataset(kind, data_files=path, split="train", cache_dir=cache)
        table = dataset.with_format("arrow")[:]
    return times | {"rows": table.num_rows}


def pandas(path: str) -> dict[str, Any]:
    """Read it with pandas, then turn it into an Arrow table."""
    import pandas as library
    import pyarrow as pa

    times: dict[str, Any] = {}
    with timed(times, "seconds_of_work"):
        suffix = Path(path).suffix
        if suffix == ".csv":
            frame = library.read_csv(path, dtype=str, keep_default_na=False)
        elif suffix == ".jsonl":
            frame = library.read_json(path, lines=True)
        else:
            frame = library.read_parquet(path)
        table = pa.Table.from_pandas(frame)
    return times | {"rows": table.num_rows}
