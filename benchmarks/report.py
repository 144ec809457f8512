"""Tables, verdicts and plots out of ``results.json``."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpora import TITLES
from benchmarks.measure import Record, Results
from benchmarks.peers.fast_text import DIM as FASTTEXT_DIM
from benchmarks.peers.fast_text import EPOCHS as FASTTEXT_EPOCHS
from benchmarks.settings import COMPRESSED, FASTTEXT_THREADS, PEERS, SERVING, TOKENIZING
from textcls.files import write_whole

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


# --- tables ----------------------------------------------------------------------------------


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


def comparison(figures: Figures, corpus: str) -> str:
    """One corpus: a row for each peer."""
    rows = []
    for name, peer in PEERS.items():
        key = {"what": "run", "peer": name, "corpus": corpus}
        if not figures.of(**key):
            continue
        found = figures.scores(name, corpus)
        rows.append(
            (
                peer.label,
                show(figures.median("prepare_seconds", **key)),
                show(figures.median("train_seconds", **key), 2),
                show(figures.prediction(name, corpus), 2),
                show(figures.median("seconds", **key)),
                show(figures.throughput(name, corpus), 1, 1e6),
                show(figures.median("peak_rss", **key), 0, 1e6),
                spread([accuracy for accuracy, _ in found]),
                spread([f1 for _, f1 in found]),
            )
        )
    return table(
        ("", "preparation s", "training s", "prediction s", "whole process s", "M tokens/s",
         "peak MB", "accuracy", "macro F1"), rows,
    )  # fmt: skip


def throughput(figures: Figures) -> str:
    """Tokens a second within an epoch, and how many times textcls's default has the others'."""
    rows = []
    for corpus in figures.corpora[:2]:
        ours = figures.throughput("textcls", corpus)
        for name in ("textcls", "textcls-quick", "plain", "torchtext-style", "fasttext"):
            speed = figures.throughput(name, corpus)
            label = PEERS[name].label + (f", dim {FASTTEXT_DIM}" if name == "fasttext" else "")
            rows.append((TITLES[corpus], label, show(speed, 2, 1e6), show(ratio(ours, speed), 2)))
    return table(("corpus", "", "M tokens/s", "textcls is so many times as fast"), rows)


def text_to_bags(figures: Figures) -> str:
    """Seconds and tokens a second; every peer's tokens are counted as textcls counts them."""
    corpus = figures.corpora[0]
    tokens = figures.median("tokens", what="bags", peer="textcls", corpus=corpus)
    ours = bags_seconds(figures, "textcls")
    rows = []
    for name, (_, _, label) in TOKENIZING.items():
        seconds = bags_seconds(figures, name)
        speed = ratio(tokens, seconds)
        rows.append((label, show(seconds, 2), show(speed, 2, 1e6), show(ratio(seconds, ours), 2)))
    return table(("", "seconds", "M tokens/s", "so many times textcls's seconds"), rows)


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


def time_to_accuracy(figures: Figures) -> str:
    """Training seconds at fastText's accuracy."""
    return table(
        ("corpus", "fastText", "its best accuracy", "training s", "with reading s", "textcls",
         "accuracy", "training s", "ratio", "ratio with reading"),
        [
            (
                TITLES[one.corpus],
                PEERS[theirs].label,
                f"{one.their_accuracy:.4f}",
                show(one.their_training, 2),
                show(one.their_call, 2),
                PEERS[one.peer].label,
                f"{one.accuracy:.4f}",
                show(one.seconds, 2),
                show(one.seconds / one.their_training, 3),
                show(one.seconds / one.their_call, 3),
            )
            for theirs, one in races(figures)
        ],
    )  # fmt: skip


def sizes(figures: Figures) -> dict[int, dict[str, Record]]:
    """Return the size measurements: size, peer, record with its result's figures beside."""
    found: dict[int, dict[str, Record]] = {}
    for record in figures.of(what="size"):
        merged = {**record["result"], **record}
        found.setdefault(record["key"]["size"], {})[record["key"]["peer"]] = merged
    return dict(sorted(found.items()))


def cost_against_size(figures: Figures) -> str:
    """One row for each size and peer."""
    rows = []
    for size, peers in sizes(figures).items():
        for name in ("textcls", "fasttext"):
            if name in peers:
                one = peers[name]
                rows.append(
                    (
                        f"{size} x",
                        show(one["raw_bytes"], 0, 1e6),
                        PEERS[name].label,
                        show(one["prepare_seconds"]),
                        show(one["train_seconds"]),
                        show(one["seconds"]),
                        show(one["peak_rss"], 0, 1e6),
                        show(one["peak_rss"] / one["raw_bytes"]),
                    )
                )
    return table(
        ("data", "raw MB", "", "preparation s", "training s", "whole process s", "peak MB",
         "peak / raw"), rows,
    )  # fmt: skip


def cold_and_warm(figures: Figures) -> str:
    """The whole process with an empty cache and with a full one."""
    rows = []
    for label, what in (("cold", "run"), ("warm", "warm")):
        key = {"what": what, "peer": "textcls", "corpus": figures.corpora[0]}
        rows.append(
            (
                label,
                show(figures.median("prepare_seconds", **key), 2),
                show(figures.median("train_seconds", **key), 2),
                show(figures.median("seconds", **key), 2),
            )
        )
    return table(("cache", "preparation s", "training s", "whole process s"), rows)


def at_work(figures: Figures, corpus: str) -> str:
    """Labels for raw texts: many at once, one at a time, and a long file by the command line."""
    rows = []
    for peer, (_, _, label) in SERVING.items():
        key = {"what": "serve", "peer": peer, "corpus": corpus}
        if figures.of(**key):
            count, seconds = figures.median("rows", **key), figures.median("predict_seconds", **key)
            speed = ratio(count, seconds)
            times = [figures.median(f"{name}_seconds", **key) for name in ("p50", "p99")]
            cells = [show(speed, 0), *(show(value, 0, 1e-6) for value in times)]
            rows.append([label, *cells, show(figures.median("load_seconds", **key), 2)])
    text = table(("", "texts/s", "one text, p50 µs", "p99 µs", "loading s"), rows)
    streamed = figures.of(what="stream", corpus=corpus)
    streamed.sort(key=lambda record: record["key"]["rows"])
    if streamed:
        found = [
            [f"{r['key']['rows']:,}", show(r["seconds"]), show(r["peak_rss"], 0, 1e6)]
            for r in streamed
        ]
        head = ("short rows, `textcls predict`", "whole process s", "peak MB")
        text += f"\n\n{table(head, found)}"
    return text


def searches(figures: Figures) -> str:
    """Accuracy on test after a search, beside that of the default settings on the same rows."""
    rows = []
    for corpus in figures.corpora:
        for peer in ("textcls", "fasttext"):
            found = figures.of(what="tune", peer=peer, corpus=corpus)
            for seconds in sorted({record["key"]["seconds"] for record in found}):
                records = [one for one in found if one["key"]["seconds"] == seconds]
                results = [record["result"] for record in records]
                default = [
                    record["result"]["accuracy"]
                    for record in figures.of(what="run", peer=peer, corpus=corpus)
                    if peer == "textcls"
                ]
                rows.append(
                    (
                        TITLES[corpus],
                        PEERS[peer].label + (", autotune" if peer == "fasttext" else ""),
                        str(seconds),
                        show(statistics.median(record["seconds"] for record in records)),
                        spread([result["accuracy"] for result in results]),
                        spread([result["macro_f1"] for result in results]),
                        spread(default),
                    )
                )
    return table(
        ("corpus", "", "seconds of search", "whole process s", "accuracy", "macro F1",
         "accuracy of the defaults"), rows,
    )  # fmt: skip


def compression(figures: Figures) -> str:
    """Sizes and accuracies before and after, each mean ± std over the seeds."""
    rows = []
    for corpus in figures.corpora:
        for peer in COMPRESSED:
            found = [one["result"] for one in figures.of(what="compress", peer=peer, corpus=corpus)]
            budgets = {budget for result in found for budget in result["after"]}
            for budget in sorted(budgets, key=int, reverse=True):
                after = [result["after"][budget] for result in found]
                rows.append(
                    (
                        TITLES[corpus],
                        PEERS[peer].label,
                        show(int(budget), 0, 1e3),
                        show(statistics.median(one["before"]["bytes"] for one in found), 0, 1e3),
                        show(max(one["bytes"] for one in after), 0, 1e3),
                        spread([one["before"]["accuracy"] for one in found]),
                        spread([one["accuracy"] for one in after]),
                        show(statistics.median(one["compress_seconds"] for one in after)),
                    )
                )
    return table(
        ("corpus", "", "budget kB", "kB before", "kB after (most)", "accuracy before",
         "accuracy after", "seconds to compress"), rows,
    )  # fmt: skip


# --- verdicts --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A goal and what was measured; ``value`` is None where something is missing."""

    name: str
    value: float | None
    goal: float
    at_most: bool = True
    also: bool = True  # a second condition, told in the name

    def row(self) -> tuple[str, str, str, str]:
        """Return name, figure, goal and verdict."""
        goal = f"{'≤' if self.at_most else '≥'} {self.goal:.3g}"
        if self.value is None:
            return self.name, "–", goal, "not measured"
        met = (self.value <= self.goal) if self.at_most else (self.value >= self.goal)
        return self.name, f"{self.value:.3g}", goal, "met" if met and self.also else "**not met**"


def targets(figures: Figures) -> list[Target]:
    """Compute every goal's figure."""
    first = figures.corpora[0]
    title = TITLES[first]
    found = []
    for theirs, one in races(figures):
        goal = 1 / 5 if theirs == "fasttext" else 1 / 3
        words = "as accurate" if one.reached else "less accurate"
        name = f"{TITLES[one.corpus]}: training s, {PEERS[one.peer].label} ({words})"
        for against, seconds in (
            (f"{PEERS[theirs].label} without its reading", one.their_training),
            (f"{PEERS[theirs].label} with its reading", one.their_call),
        ):
            found.append(
                Target(f"{name} / {against}", one.seconds / seconds, goal, True, one.reached)
            )
    for corpus in figures.corpora[:2]:
        for mine, peer, goal in (
            ("textcls", "fasttext", 2.0),
            ("textcls-quick", "fasttext", 2.0),
            ("textcls", "torchtext-style", 8.0),
            ("textcls", "plain", 5.0),
        ):
            pair = f"{PEERS[mine].label} / {PEERS[peer].label}"
            value = ratio(figures.throughput(mine, corpus), figures.throughput(peer, corpus))
            name = f"{TITLES[corpus]}: tokens/s in an epoch, {pair}"
            found.append(Target(name, value, goal, False))
    ours = bags_seconds(figures, "textcls")
    for peer, goal in (("torchtext", 8.0), ("hugging-face", 1.0)):
        name = f"{title}: text to bags, speed of textcls / {TOKENIZING[peer][2]}"
        found.append(Target(name, ratio(bags_seconds(figures, peer), ours), goal, False))

    def of(name: str, what: str, peer: str) -> float | None:
        return figures.median(name, what=what, peer=peer, corpus=first)

    cold, warm = of("seconds", "run", "textcls"), of("seconds", "warm", "textcls")
    theirs_prepare = of("prepare_seconds", "run", "fasttext")
    theirs_train = of("train_seconds", "run", "fasttext")
    theirs_sum = (
        None if theirs_prepare is None or theirs_train is None else theirs_prepare + theirs_train
    )
    found += [
        Target(
            f"{title}: textcls's whole cold process / fastText's preparation + training",
            ratio(cold, theirs_sum), 1,
        ),
        Target(
            f"{title}: textcls's whole cold process / fastText's whole process",
            ratio(cold, of("seconds", "run", "fasttext")), 1,
        ),
        Target(f"{title}: whole process, cold / warm", ratio(cold, warm), 2, False),
    ]  # fmt: skip
    by_size = {
        size: peers["textcls"] for size, peers in sizes(figures).items() if "textcls" in peers
    }
    if len(by_size) > 1:
        least, most = by_size[min(by_size)], by_size[max(by_size)]
        times = max(by_size) / min(by_size)

        def growth(cost: Callable[[Record], float]) -> float:
            return cost(most) / cost(least)

        found += [
            Target(
                f"{title}: {times:.3g} x data, so many times preparation + training s",
                growth(lambda one: one["prepare_seconds"] + one["train_seconds"]),
                times * 18 / 16,
            ),
            Target(
                f"{title}: {times:.3g} x data, so many times the whole process s",
                growth(lambda one: one["seconds"]), times * 18 / 16,
            ),
            Target(
                f"{title}: {max(by_size)} x data, peak memory / raw text",
                most["peak_rss"] / most["raw_bytes"], 3,
            ),
        ]  # fmt: skip
    found.append(
        Target(
            f"{title}: prediction from raw text, speed of textcls / fastText",
            ratio(figures.prediction("fasttext", first), figures.prediction("textcls", first)),
            2, False,
        )
    )  # fmt: skip
    return found


# --- the whole -------------------------------------------------------------------------------


def write(results: Results, folder: Path) -> str:
    """Write ``table.md`` and the plots; return the text of the former."""
    figures = Figures(results)
    if not figures.good:
        return "no measurement succeeded"
    text = "\n\n".join(sections(figures)) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "table.md", text)

    from benchmarks import plots

    plots.write(figures, folder)
    return text


def sections(figures: Figures) -> list[str]:
    """Return the paragraphs of ``table.md``."""
    first = TITLES[figures.corpora[0]]
    parts = ["# textcls beside its peers", *map(_of_run, figures.runs)]
    if len(figures.runs) > 1:
        parts.append("These figures come from several runs: only those of one run compare.")
    parts.append(
        "Seconds and peak memory are medians over seeds, each from a fresh process; scores are "
        "mean ± standard deviation on the test split. Read `benchmarks/README.md` for what each "
        "row does."
    )
    parts += ["## Targets", table(("", "figure", "goal", ""), (t.row() for t in targets(figures)))]
    for corpus in figures.corpora:
        if figures.of(what="run", corpus=corpus):
            parts += [f"## {TITLES[corpus]}", comparison(figures, corpus)]
    parts += ["## Training throughput", throughput(figures)]
    if races(figures):
        parts += ["## Time to fastText's accuracy", time_to_accuracy(figures)]
    if figures.of(what="bags"):
        parts += [f"## Text to bags, {first}", text_to_bags(figures)]
    if sizes(figures):
        parts += [f"## Cost against size, {first}", cost_against_size(figures)]
    if figures.of(what="warm"):
        parts += [f"## Cold against warm, {first}", cold_and_warm(figures)]
    for corpus in figures.corpora:
        if figures.of(what="serve", corpus=corpus):
            parts += [f"## Models at work, {TITLES[corpus]}", at_work(figures, corpus)]
    if figures.of(what="tune"):
        parts += ["## Searches: the same time, the same validation rows", searches(figures)]
    if figures.of(what="compress"):
        parts += ["## Small models, whole folders or files", compression(figures)]
    rates = [
        f"{PEERS[peer].label} {figures.chosen_rate(peer, corpus)} on {TITLES[corpus]}"
        for peer in ("fasttext", "fasttext-bigrams")
        for corpus in figures.corpora
        if figures.of(what="accuracy", peer=peer, corpus=corpus)
    ]
    if rates:
        parts.append(f"Learning rates chosen on validation splits: {', '.join(rates)}.")
    if figures.failed:
        parts += [
            "## Failed",
            "\n".join(
                f"- {' '.join(str(value) for value in record['key'].values())}: {record['error']}"
                for record in figures.failed
            ),
        ]
    return parts


def _of_run(run: Record) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    seeds = ", ".join(map(str, run["seeds"]))
    return (
        f"{run['started']}, commit {run['commit']}: {run['cores']} cores of {run['cpu']}, "
        f"{run['memory'] / 2**30:.0f} GiB, load before {run['load_before']}; "
        f"seeds {seeds}; fastText's speed with {FASTTEXT_THREADS} threads, torch peers' with one, "
        f"textcls as it comes. {run['platform']}, Python {run['python']}, {versions}."
    )
