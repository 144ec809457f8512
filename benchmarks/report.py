"""Verdicts, and the whole of ``table.md`` and the plots, out of ``results.json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import plots
from benchmarks.corpora import TITLES
from benchmarks.figures import Figures, bags_seconds, races, ratio, sizes, table
from benchmarks.measure import Record, Results
from benchmarks.settings import FASTTEXT_THREADS, PEERS, TOKENIZING
from benchmarks.tables import (
    at_work,
    cold_and_warm,
    comparison,
    compression,
    cost_against_size,
    searches,
    text_to_bags,
    throughput,
    time_to_accuracy,
)
from textcls.files import write_whole


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


def write(results: Results, folder: Path) -> str:
    """Write ``table.md`` and the plots; return the text of the former."""
    figures = Figures(results)
    if not figures.good:
        return "no measurement succeeded"
    text = "\n\n".join(sections(figures)) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "table.md", text)

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
