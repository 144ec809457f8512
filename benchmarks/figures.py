"""What was measured, read out of ``results.json``, and how it is written."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.corpora import TITLES
from benchmarks.measure import Record, Results
from benchmarks.peers.fast_text import EPOCHS as FASTTEXT_EPOCHS
from benchmarks.settings import PEERS

Scores = list[tuple[float, float]]  # accuracy and macro F1 of each seed


class Figures:
    """What was measured, by name; None where it was not."""

    def __init__(self, results: Results) -> None:
        self.runs = results.runs
        self.good = [record for record in results.records if "error" not in record]
        self.failed = [record for record in results.records if "error" in record]
        known = {record["key"]["corpus"] for record in self.good}
        self.corpora = [name for name in TITLES if name in known]

    def of(self, **key: Any) -> list[Record]:
        """Return the records whose keys hold these values."""
        return [record for record in self.good if key.items() <= record["key"].items()]

    def median(self, name: str, **key: Any) -> float | None:
        """Return the median of a figure over the runs of one key."""
        values = [
            value
            for record in self.of(**key)
            if (value := record.get(name, record.get("result", {}).get(name))) is not None
        ]
        return statistics.median(values) if values else None

    def reading(self, peer: str, corpus: str) -> float | None:
        """Return the seconds of fastText's training call that go by before it trains."""
        return self.median("train_seconds", what="reading", peer=peer, corpus=corpus)

    def throughput(self, peer: str, corpus: str) -> float | None:
        """Return the tokens a second within an epoch."""
        key = {"what": "run", "peer": peer, "corpus": corpus}
        if PEERS[peer].kind != "fasttext":
            return self.median("tokens_per_second", **key)
        call, tokens = self.median("train_seconds", **key), self.median("tokens", **key)
        reading = self.reading(peer, corpus)
        if call is None or tokens is None or reading is None or call <= reading:
            return None
        return FASTTEXT_EPOCHS * tokens / (call - reading)

    def prediction(self, peer: str, corpus: str) -> float | None:
        """Return the seconds from the raw texts of the test split to their labels."""
        what = "predict" if PEERS[peer].kind == "textcls" else "run"
        return self.median("predict_seconds", what=what, peer=peer, corpus=corpus)

    def scores(self, peer: str, corpus: str) -> Scores:
        """Return the scores of all seeds; of fastText with the rate that validation chose."""
        if PEERS[peer].kind == "fasttext":
            rates = self._rates(peer, corpus)
            return rates[self.chosen_rate(peer, corpus)] if rates else []
        return [
            (record["result"]["accuracy"], record["result"]["macro_f1"])
            for record in self.of(what="run", peer=peer, corpus=corpus)
        ]

    def chosen_rate(self, peer: str, corpus: str) -> str:
        """Return fastText's learning rate of the best validation accuracy."""
        tried = self._accuracies(peer, corpus)
        return max(tried, key=lambda rate: tried[rate]["validation"].get("accuracy", 0))

    def generous(self, peer: str, corpus: str) -> float | None:
        """Return fastText's best mean test accuracy over the learning rates."""
        rates = self._rates(peer, corpus)
        return max((mean(found) for found in rates.values() if found), default=None)

    def _accuracies(self, peer: str, corpus: str) -> dict[str, Any]:
        found = self.of(what="accuracy", peer=peer, corpus=corpus)
        return found[-1]["result"]["rates"] if found else {}

    def _rates(self, peer: str, corpus: str) -> dict[str, Scores]:
        return {
            rate: [
                (one["accuracy"], one["macro_f1"]) for one in tried["test"] if "error" not in one
            ]
            for rate, tried in self._accuracies(peer, corpus).items()
        }


def mean(scores: Scores) -> float:
    """Return the mean accuracy."""
    return statistics.mean(accuracy for accuracy, _ in scores)


def ratio(one: float | None, other: float | None) -> float | None:
    """Divide, where both are known."""
    return None if one is None or not other else one / other


def bags_seconds(figures: Figures, name: str) -> float | None:
    """Return the seconds from text to bags."""
    return figures.median("seconds_of_work", what="bags", peer=name, corpus=figures.corpora[0])


@dataclass(frozen=True)
class Race:
    """textcls against fastText: the quickest row of ours that is at least as accurate."""

    corpus: str
    peer: str
    accuracy: float
    seconds: float
    their_accuracy: float
    their_call: float
    their_training: float

    @property
    def reached(self) -> bool:
        """Whether we are as accurate as they are at their best learning rate."""
        return self.accuracy >= self.their_accuracy


def race(figures: Figures, corpus: str, theirs: str, ours: Sequence[str]) -> Race | None:
    """Compare the training seconds at fastText's accuracy; None where something is missing."""
    target = figures.generous(theirs, corpus)
    call = figures.median("train_seconds", what="run", peer=theirs, corpus=corpus)
    reading = figures.reading(theirs, corpus)
    if target is None or call is None or reading is None:
        return None
    races = []
    for name in ours:
        seconds = figures.median("train_seconds", what="run", peer=name, corpus=corpus)
        found = figures.scores(name, corpus)
        if seconds is not None and found:
            races.append(Race(corpus, name, mean(found), seconds, target, call, call - reading))
    return min(
        races,
        key=lambda one: (not one.reached, one.seconds if one.reached else -one.accuracy),
        default=None,
    )


RACES = {
    "fasttext": ("textcls-one-epoch", "textcls-quick", "textcls"),
    "fasttext-bigrams": ("textcls-quick-bigrams", "textcls-quick-hashed", "textcls-bigrams"),
}


def races(figures: Figures) -> list[tuple[str, Race]]:
    """Return the races of the first two corpora, with fastText's name."""
    return [
        (theirs, found)
        for theirs, ours in RACES.items()
        for corpus in figures.corpora[:2]
        if (found := race(figures, corpus, theirs, ours)) is not None
    ]


def sizes(figures: Figures) -> dict[int, dict[str, Record]]:
    """Return the size measurements: size, peer, record with its result's figures beside."""
    found: dict[int, dict[str, Record]] = {}
    for record in figures.of(what="size"):
        merged = {**record["result"], **record}
        found.setdefault(record["key"]["size"], {})[record["key"]["peer"]] = merged
    return dict(sorted(found.items()))


def show(value: float | None, digits: int = 1, unit: float = 1) -> str:
    """Format a number; a dash where there is none."""
    return "–" if value is None else f"{value / unit:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """Format mean ± standard deviation, as far as there are several values."""
    if not values:
        return "–"
    text = f"{statistics.mean(values):.3f}"
    return f"{text} ± {statistics.stdev(values):.3f}" if len(values) > 1 else text


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_percent(shares: Sequence[float]) -> str:
    """Return the mean in per cent, and over several seeds the standard deviation."""
    percent = [100 * float(share) for share in shares]
    spread = f" ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{statistics.mean(percent):.1f}{spread}"
