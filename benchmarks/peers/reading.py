"""A file of texts and labels to an Arrow table, by textcls and as others read it."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import corpora
from benchmarks.peers import timed


def write(train: str, folder: str) -> dict[str, str]:
    """Write the texts and labels of a file in each format; return the files by format."""
    import pyarrow as pa
    from pyarrow import parquet

    texts, labels = corpora.read(train)
    name = Path(train).parent.name
    files = {kind: Path(folder) / f"{name}.{kind}" for kind in ("csv", "jsonl", "parquet")}
    with files["csv"].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(texts, labels, strict=True))
    with files["jsonl"].open("w", encoding="utf-8") as file:
        for text, label in zip(texts, labels, strict=True):
            file.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
    parquet.write_table(pa.table({"text": texts, "label": labels}), files["parquet"])
    return {kind: str(file) for kind, file in files.items()}


def textcls(path: str) -> dict[str, Any]:
    """Read it as preparation does: format and dialect found out, labels numbered, rows checked."""
    from textcls.config import Reading
    from textcls.corpus.columns import choose_columns
    from textcls.corpus.formats import open_table
    from textcls.corpus.rows import RowReader

    times: dict[str, Any] = {}
    with timed(times, "seconds_of_work"):
        file = open_table(Path(path), Reading())
        rows = RowReader([file], Reading(), *choose_columns(Reading(), file)).read()
    return times | {"rows": len(rows)}


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
