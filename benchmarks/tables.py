"""The tables of ``table.md``."""

from __future__ import annotations

import statistics

from benchmarks.corpora import TITLES
from benchmarks.figures import Figures, bags_seconds, races, ratio, show, sizes, spread, table
from benchmarks.peers.fast_text import DIM as FASTTEXT_DIM
from benchmarks.settings import COMPRESSED, PEERS, SERVING, TOKENIZING


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
