"""How long a file of texts and labels takes to read, and in how much memory.

``python -m benchmarks.reading`` writes two corpora as csv, jsonl and parquet, reads each file with
textcls, Hugging Face datasets and pandas, each time in a fresh process, and prints medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks import corpora
from benchmarks.corpora import PROJECT
from benchmarks.measure import measure_peer

READERS = ("textcls", "datasets", "pandas")


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
            # In a process of its own: what this one holds would count as its children's memory.
            written = measure_peer(
                "reading.write", {"train": str(found[name].train), "folder": folder}
            )
            for suffix, file in written["result"].items():
                records: dict[str, list[tuple[float, float]]] = {reader: [] for reader in READERS}
                # In turn, so that a drift of the machine hits all.
                for _ in range(arguments.repeats):
                    for reader in READERS:
                        record = measure_peer(f"reading.{reader}", {"path": file})
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
