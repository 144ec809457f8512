"""The two plots."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from benchmarks.corpora import TITLES
from benchmarks.figures import Figures, mean, sizes
from benchmarks.settings import PEERS

# Training and, lighter, preparation.
OURS, OTHERS = ("#1f6f8b", "#a9cfdb"), ("#8a8375", "#d9d5cb")


def write(figures: Figures, folder: Path) -> None:
    """Write what there are figures for."""
    accuracy_and_seconds(figures, folder / "training.png")
    cost_against_size(figures, folder / "size.png")


def accuracy_and_seconds(figures: Figures, path: Path) -> None:
    """A panel for each corpus: bars of seconds, accuracy written at their ends."""
    corpora = [name for name in figures.corpora if figures.of(what="run", corpus=name)]
    peers = [name for name in PEERS if figures.of(what="run", peer=name)]
    if not corpora:
        return
    figure, axes = plt.subplots(
        1, len(corpora), sharey=True, squeeze=False, layout="constrained",
        figsize=(2.2 + 2.6 * len(corpora), 1.1 + 0.34 * len(peers)),
    )  # fmt: skip
    for axis, corpus in zip(axes[0], corpora, strict=True):
        for place, name in enumerate(peers):
            key = {"what": "run", "peer": name, "corpus": corpus}
            prepare = figures.median("prepare_seconds", **key)
            seconds = figures.median("train_seconds", **key)
            if prepare is None or seconds is None:
                continue
            ours = PEERS[name].kind == "textcls"
            dark, light = OURS if ours else OTHERS
            axis.barh(place, prepare, color=light)
            axis.barh(place, seconds, left=prepare, color=dark)
            found = figures.scores(name, corpus)
            score = f"{100 * mean(found):.1f} %" if found else ""
            axis.annotate(
                score, (prepare + seconds, place), (4, 0), textcoords="offset points", va="center",
                fontsize=8, fontweight="bold" if ours else "normal",
            )  # fmt: skip
        axis.margins(x=0.3)  # room for the accuracy
        axis.set_title(TITLES[corpus], fontsize=10)
        axis.set_yticks(range(len(peers)), [PEERS[name].label for name in peers], fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="x", labelsize=8)
    axes[0][0].invert_yaxis()
    figure.supxlabel(
        "seconds of preparation (light) and training (dark); test accuracy beside each bar",
        fontsize=9,
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def cost_against_size(figures: Figures, path: Path) -> None:
    """Seconds and peak memory against the size of the text, both axes logarithmic."""
    found = sizes(figures)
    if not found:
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for name, colour in (("textcls", OURS[0]), ("fasttext", OTHERS[0])):
        rows = [peers[name] for peers in found.values() if name in peers]
        if not rows:
            continue
        raw = [row["raw_bytes"] / 1e6 for row in rows]
        label = PEERS[name].label
        for figure_name, style, words in (
            ("seconds", "-", "whole process"),
            ("prepare_seconds", "--", "preparation"),
            ("train_seconds", ":", "training"),
        ):
            left.plot(
                raw, [row[figure_name] for row in rows], style, marker="o", markersize=4,
                color=colour, label=f"{label}, {words}",
            )  # fmt: skip
        memory = [row["peak_rss"] / 1e6 for row in rows]
        right.plot(raw, memory, marker="o", markersize=4, color=colour, label=label)
    right.plot(raw, raw, color="#cccccc", linewidth=1, label="the raw text itself")
    for axis, words in ((left, "seconds"), (right, "peak memory, MB")):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(raw, [f"{value:,.0f}" for value in raw])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("raw text of the train split, MB")
        axis.set_ylabel(words)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.legend(
            fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2
        )
    figure.savefig(path, dpi=150)
    plt.close(figure)
