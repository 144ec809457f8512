"""How long a file of texts and labels takes to read, and in how much memory.

``python -m benchmarks.reading`` writes two corpora as csv, jsonl and parquet, reads each file with
textcls, Hugging Face datasets and pandas, each time in a fresh process, and prints medians.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks import corpora
from benchmarks.corpora import PROJECT
from benchmarks.measure import measure_peer

READERS = ("textcls", "datasets", "pandas")
FORMATS = ("csv", "jsonl", "parquet")


def write(train: Path, folder: Path) -> dict[str, Path]:
    """Write the texts and labels of a file in each format; return the files by format."""
    import pyarrow as pa
    from pyarrow import parquet

    texts, labels = corpora.read(train)
    files = {suffix: folder / f"{train.parent.name}.{suffix}" for suffix in FORMATS}
    with files["csv"].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(texts, labels, strict=True))
    with files["jsonl"].open("w", encoding="utf-8") as file:
        for text, label in zip(texts, labels, strict=True):
            file.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
    parquet.write_table(pa.table({"text": texts, "label": labels}), files["parquet"])
    return files


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print("| corpus | format | " + " | ".join(f"{name} s, MB" for name in READERS) + " |")
    print("|---|---|" + "---|" * len(READERS))
    found = corpora.find(arguments.data, corpora.REAL)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("imdb", "ag_news"):
            for suffix, file in write(found[name].train, Path(folder)).items():
                records: dict[str, list[tuple[float, float]]] = {reader: [] for reader in READERS}
                # In turn, so that a drift of the machine hits all.
                for _ in range(arguments.repeats):
                    for reader in READERS:
                        record = measure_peer(f"reading.{reader}", {"path": str(file)})
                        if "error" in record:
                            raise SystemExit(record["error"])
                        seconds, peak = (
                            record["result"]["seconds_of_work"],
                            record["peak_rss"] / 1e6,
                        )
                        records[reader].append((seconds, peak))
                cells = []
                for reader in READERS:
                    seconds, peaks = zip(*records[reader], strict=True)
                    cells.append(
                        f"{statistics.median(seconds):.2f}, {statistics.median(peaks):.0f}"
                    )
                print(f"| {name} | {suffix} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
