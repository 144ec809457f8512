"""What runs in the measured processes: ``python -m benchmarks.peers NAME ARGUMENTS``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def timed(times: dict[str, Any], name: str) -> Iterator[None]:
    """Note under ``name`` how many seconds the block took."""
    began = time.perf_counter()
    yield
    times[name] = time.perf_counter() - began


def scores(labels: Sequence[Any], predicted: Sequence[Any]) -> dict[str, float]:
    """Return accuracy and macro F1."""
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
    }
