"""fastText in the place of textcls: a :class:`textcls.Scorer` whose answers are fastText's.

Tables are taken apart and put together by the same code, so what differs is the prediction.

    python -m benchmarks.scale.peer MODEL 'SHARDS/*.parquet' OUT PROCESSES

labels files with the processes of ``textcls predict``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

import textcls
from benchmarks.scale.documents import peer_model
from textcls.config import Reading
from textcls.scoring.files import FileScorer
from textcls.scoring.shards import Shard, shards_of
from textcls.scoring.workers import Workers

_PREFIX = "__label__"
_ROWS = 1 << 14


@dataclass(frozen=True)
class Scorer(textcls.Scorer):
    """Adds the label of fastText's model, and its probability."""

    @cached_property
    def fasttext(self) -> Any:
        """The model beside the run folder."""
        import fasttext

        return fasttext.load_model(str(peer_model(Path(self.model))))

    def answers(self, texts: pa.Array | pa.ChunkedArray) -> Iterator[pa.Table]:
        """Yield the columns that are added."""
        for start in range(0, max(len(texts), 1), _ROWS):
            some = texts.slice(start, _ROWS).to_pylist()
            lines = [(text or "").replace("\n", " ") for text in some]
            # A line without a word that is known has no label.
            found, shares = self.fasttext.predict(lines) if lines else ([], [])
            labels = [label[0].removeprefix(_PREFIX) if len(label) else None for label in found]
            numbers = [share[0] if len(share) else None for share in shares]
            columns = {
                "label": pa.array(labels, pa.string()),
                "probability": pa.array(numbers, pa.float32()),
            }
            yield pa.table(columns)


def main() -> None:
    """Label files."""
    model, pattern, out, processes = sys.argv[1:]

    def end(shard: Shard, fault: str | None) -> None:
        if fault is not None:
            sys.exit(f"error: {shard.source}: {fault}")

    scorer = Scorer(model, "text")
    _ = scorer.fasttext  # which the processes share
    files = FileScorer(scorer, Reading(), ("id",), "parquet")
    shards = shards_of([pattern], Path(out), "parquet")
    Workers(files, int(processes), lambda _: None, end, lambda _, reason: sys.exit(reason)).run(
        shards
    )


if __name__ == "__main__":
    main()
