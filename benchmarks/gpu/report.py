"""The tables of ``gpu.json``."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.corpora import PROJECT, TITLES
from benchmarks.figures import ratio, show, spread, table
from benchmarks.measure import Record

# Rows of results.json that say what the CPU, and fastText, come to.
CPU_PEERS = ("textcls", "textcls-quick", "fasttext")
SETTING = "batch {batch_size}, epochs {epochs}, dim {dim}, rate {lr:g}, dropout {dropout:g}"


def tables(values: Record) -> str:
    """Return all that was measured, as Markdown.

    Args:
        values: of ``gpu.json``: ``machine``, and ``records`` with a ``part`` each.
    """
    by_part: dict[str, list[Record]] = {}
    for record in values["records"]:
        if "error" not in record:
            by_part.setdefault(record["part"], []).append(record)
    parts = [
        "# Training on a GPU",
        ", ".join(f"{key} {value}" for key, value in values["machine"].items()),
        _accuracy(by_part),
        _cold(by_part),
        _steady(by_part),
        _peers(by_part),
        _checks(by_part),
    ]
    failed = [record for record in values["records"] if "error" in record]
    if failed:
        rows = [[_name(record), record["error"].replace("|", "\\|")] for record in failed]
        parts.append("## Failed\n\n" + table(["", "error"], rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _name(record: Record) -> str:
    left_out = ("error", "wall_seconds", "peak_bytes")
    return " ".join(str(value) for key, value in record.items() if key not in left_out)


def _millis(seconds: float | None) -> str:
    return show(seconds, 3, 1e-3)


def _mib(record: Record) -> str:
    return show(record.get("peak_bytes"), 0, 2**20)


def _accuracy(by_part: dict[str, list[Record]]) -> str:
    rows: list[list[str]] = []
    colds = {record["corpus"]: record for record in by_part.get("cold", [])}
    for record in by_part.get("warm", []):
        name, setting = record["corpus"], record["setting"]
        cold = colds.get(name, {})
        rows.append(
            [
                str(TITLES.get(name, name)),
                SETTING.format(**setting),
                _millis(record["seconds"]),
                f"{_millis(record['seconds_lowest'])}–{_millis(record['seconds_highest'])}",
                show(cold.get("training_seconds"), 2),
                spread(record["validation"]),
                spread(setting["cpu_validation"]),
                show(record["fasttext_validation"], 3),
                spread(record["test"]),
                spread(setting["cpu_test"]),
                *(spread(accuracies) for accuracies in _on_cpu(name)),
                _mib(record),
            ]
        )
    if not rows:
        return ""
    header = [
        "corpus", "setting", "ms, warm", "lowest–highest", "s, cold", "validation",
        "validation on CPU", "fastText's", "test", "test on CPU",
        *(f"test, {peer} on CPU" for peer in CPU_PEERS), "peak MiB",
    ]  # fmt: skip
    return (
        "## Time to accuracy\n\nFrom ids on the host to a trained model: copy, first weights, "
        "layout, all steps. Warm: the median of several seeds, all compiled and captured; cold: "
        "the first in a fresh process, compiling and capturing, imports apart. The columns of "
        "named peers are those of the benchmark on the CPU, at their own settings.\n\n"
        + table(header, rows)
    )


def _on_cpu(corpus: str) -> list[list[float]]:
    """Return the test accuracies that ``results.json`` has of each of CPU_PEERS."""
    file: Path = PROJECT / "benchmarks" / "results" / "results.json"
    records = json.loads(file.read_text(encoding="utf-8"))["records"] if file.exists() else []
    found: dict[str, list[float]] = {peer: [] for peer in CPU_PEERS}
    for record in records:
        key, result = record["key"], record.get("result")
        if result is None or key.get("corpus") != corpus or key.get("peer") not in found:
            continue
        if key["what"] == "run" and "accuracy" in result:
            found[key["peer"]].append(result["accuracy"])
        elif key["what"] == "accuracy":  # fastText's, by rate
            best = max(result["rates"].values(), key=lambda of: of["validation"]["accuracy"])
            found[key["peer"]] = [test["accuracy"] for test in best["test"]]
    return list(found.values())


def _cold(by_part: dict[str, list[Record]]) -> str:
    copies = by_part.get("copy", [])
    text = "".join(
        f"Copy bandwidth (read + written): {copy['bytes_per_second'] / 1e9:,.1f} GB/s.\n\n"
        for copy in copies
    )
    names = ["import", "device", "build", "first_step", "second_step", "capture", "training"]
    rows: list[list[str]] = []
    for record in by_part.get("cold", []):
        found = [record[f"{name}_seconds"] for name in names]
        shown = [value if isinstance(value, str) else show(value, 3) for value in found]
        rows.append([str(TITLES.get(record["corpus"], record["corpus"])), *shown])
    header = ["corpus", "imports s", "device s", "building s", "first step s (layout, compiling)",
              "second step s", "third step s (capture)", "all of the training s"]  # fmt: skip
    return "## A fresh process\n\n" + text + (table(header, rows) if rows else "")


def _steady(by_part: dict[str, list[Record]]) -> str:
    rows: list[list[str]] = [
        [
            record["vocabulary"], f"{record['size']:,}", str(record["dim"]), record["mode"],
            record["table"], record["updates"],
            show(record["tokens_per_step"], 0), show(record["rows_per_step"], 0),
            _millis(record["step_seconds"]),
            f"{_millis(record['step_seconds_lowest'])}–{_millis(record['step_seconds_highest'])}",
            show(record["tokens_per_second"], 1, 1e6),
            _millis(record["floor_seconds"]), show(record["share_of_floor"], 2),
            _millis(record["layout_seconds"]), _millis(record["epoch_seconds"]),
            show(record["epoch_tokens_per_second"], 1, 1e6), _mib(record),
        ]
        for record in by_part.get("steady", [])
    ]  # fmt: skip
    if not rows:
        return ""
    header = [
        "vocabulary", "batch", "dim", "mode", "table", "updates", "tokens a step", "rows a step",
        "step ms", "lowest–highest", "M tokens/s", "floor ms", "share of floor", "layout ms",
        "epoch ms", "M tokens/s, epoch", "peak MiB",
    ]  # fmt: skip
    return (
        "## Steady training\n\nA step is the median of single replays; lowest and highest are the "
        "medians of the repetitions. An epoch is whole: order, layout, steps. The floor is what "
        "the step must move (`floor_bytes` in `benchmarks/gpu/speed.py`) over the copy bandwidth."
        "\n\n" + table(header, rows)
    )


def _peers(by_part: dict[str, list[Record]]) -> str:
    ours = {
        (record["size"], record["mode"], record["dim"]): record
        for record in reversed(by_part.get("steady", []))  # the first counts: as training decides
        if record["vocabulary"] == "words" and record["table"] == "float32"
    }
    rows: list[list[str]] = []
    for record in by_part.get("resident", []) + by_part.get("loader", []):
        own = ours.get((record["size"], record["mode"], record["dim"]), {})
        name = "on resident data"
        if record["part"] == "loader":
            name = f"DataLoader, {record['workers']} workers"
        rows.append(
            [
                f"nn.EmbeddingBag {name}", f"{record['size']:,}", record["mode"],
                "sparse" if record["sparse"] else "dense",
                _millis(record["step_seconds"]),
                show(record["epoch_tokens_per_second"], 1, 1e6),
                show(own.get("epoch_tokens_per_second"), 1, 1e6),
                show(ratio(own.get("epoch_tokens_per_second"), record["epoch_tokens_per_second"])),
                _mib(record),
            ]
        )  # fmt: skip
    if not rows:
        return ""
    header = ["peer", "batch", "mode", "gradient", "step ms", "M tokens/s", "textcls M tokens/s",
              "textcls is so many times as fast", "peak MiB"]  # fmt: skip
    return (
        "## Beside plain nn.EmbeddingBag\n\nWhole epochs on both sides, the layout included.\n\n"
        + table(header, rows)
    )


def _checks(by_part: dict[str, list[Record]]) -> str:
    lines = [
        f"- {record['mode']}: an epoch that never waits: {record['result']}"
        for record in by_part.get("sync", [])
    ] + [
        f"- {record['runs']} runs of dim {record['dim']} as one model, batch {record['size']:,}: "
        f"{record['ratio']:.2f} of the time that they take one after another"
        for record in by_part.get("stacked", [])
    ]
    errors = [
        [
            record["mode"], "touched" if record["sparse"] else "all",
            *(f"{record[key]:.1e}" if key in record else "–"
              for key in ("pooled_error", "table_error", "weights_error")),
        ]
        for record in by_part.get("gradients", [])
    ]  # fmt: skip
    if not lines and not errors:
        return ""
    header = ["mode", "rows", "pooled", "gradient of the table", "of token weights"]
    text = "## Checks\n\n" + "\n".join(lines)
    if errors:
        text += (
            "\n\nRelative errors (2-norm) against plain computation in float64, every buffer NaN "
            "before:\n\n" + table(header, errors)
        )
    return text
