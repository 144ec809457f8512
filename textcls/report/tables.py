"""The tables of a comparison: on the terminal, as CSV and as markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.report.analysis import Finding, Score, in_words, p_text
from textcls.report.study import Dataset, LeftOut, Study

# From this width of a terminal on, the less important columns fit as well.
WIDE = 105


def terminal(finding: Finding, width: int) -> RenderableType:
    """Return the table of one dataset and the sentences below it."""
    rows, wide = len(finding.dataset.labels), width >= WIDE
    title = Text(f"{finding.dataset.name}, {rows:,} test rows", style="bold")
    table = Table(
        "setting", title=title, title_justify="left", box=SIMPLE_HEAD,
        collapse_padding=True, pad_edge=False,
    )  # fmt: skip
    names = finding.dataset.metrics
    first, second, *_ = names
    narrow = {first, second if finding.metric == first else finding.metric}
    metrics = [metric for metric in names if wide or metric in narrow]
    heads = ["seeds", *(names[metric] for metric in metrics), "train s"]
    heads += ["tokens/s", "parameters"] if wide else []
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column(f"by {finding.name}")
    for setting in (*finding.compared, *finding.others):
        verdict = finding.verdict(setting)
        cells = [str(len(setting.runs))]
        cells += [str(Score.of(setting.scores(metric))) for metric in metrics]
        cells += [f"{setting.median('train_seconds'):.2f}"]
        if wide:
            cells += [f"{setting.median('tokens_per_second') / 1e6:.1f} M"]
            cells += [f"{setting.median('parameters'):,.0f}"]
        pair = finding.behind(setting)
        standing = f"{verdict} by {pair.lead:.3f}" if pair and pair.real else verdict
        style = {"best": "bold green", "not told apart": "green"}.get(verdict, "")
        table.add_row(Text(setting.name), *cells, Text(standing), style=style)
    return Group(table, *(Text(sentence) for sentence in in_words(finding)))


def terminal_left_out(left_out: Sequence[LeftOut]) -> RenderableType:
    """List the runs that are not counted."""
    lines = [Text(f"  {run.folder.name}: {run.reason}") for run in left_out]
    return Group(Text(f"{len(left_out)} not counted:", style="bold"), *lines)


def rows_by_setting(study: Study, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return a row for each dataset and setting, with all figures as they are."""
    rows = []
    for finding in findings:
        for setting in (*finding.compared, *finding.others):
            row: dict[str, Any] = {"dataset": finding.dataset.name, "setting": setting.name}
            row |= setting.values
            row |= {"seeds": len(setting.runs), "test_rows": len(finding.dataset.labels)}
            for metric in finding.dataset.metrics:
                for split in ("test", "validation"):
                    prefix = metric if split == "test" else f"validation_{metric}"
                    score = Score.of(setting.scores(metric, split))
                    row |= {f"{prefix}_mean": score.mean, f"{prefix}_std": score.std}
                    row |= {f"{prefix}_min": score.low, f"{prefix}_max": score.high}
            for name in ("train_seconds", "tokens_per_second", "parameters"):
                row[f"{name}_median"] = setting.median(name)
            pair = finding.behind(setting)
            low, high = pair.interval if pair else (None, None)
            row |= {"by": finding.metric, "verdict": finding.verdict(setting)}
            row |= {"behind_best": pair and pair.lead, "behind_low": low, "behind_high": high}
            row |= {"p_other_texts": pair and pair.p_texts, "p_other_seeds": pair and pair.p_seeds}
            rows.append(row)
    return rows


def rows_by_run(study: Study) -> list[dict[str, Any]]:
    """Return a row for each run, counted or not."""
    rows: list[dict[str, Any]] = []
    for dataset in study.datasets:
        for setting in dataset.settings:
            for run in setting.runs:
                row: dict[str, Any] = {"run": str(run.folder), "status": "finished", "reason": None}
                row |= {"dataset": dataset.name, "setting": setting.name} | setting.values
                row["seed"] = run.config.seed
                for split in ("test", "validation"):
                    row |= {f"{split}_{name}": run.metrics[split][name] for name in dataset.metrics}
                for name in ("train_seconds", "tokens_per_second", "parameters", "epochs"):
                    row[name] = run.metrics[name]
                rows.append(row | {"best_epoch": run.metrics["best_epoch"]})
    return rows + [
        {"run": str(left.folder), "status": "not counted", "reason": left.reason}
        for left in study.left_out
    ]


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV; what a row does not have is empty."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(findings: Sequence[Finding]) -> str:
    """Return the table of each dataset, and the sentences below it."""
    return "\n\n".join(map(_markdown, findings)) + "\n"


def _markdown(finding: Finding) -> str:
    names = finding.dataset.metrics
    head = [
        "setting", "seeds", *names.values(), "training s", "M tokens/s", "parameters",
        f"by {finding.name}", "behind by", "p other texts", "p other seeds",
    ]  # fmt: skip
    lines = [head, ["---", *["---:"] * (len(head) - 5), "---", *["---:"] * 3]]
    for setting in (*finding.compared, *finding.others):
        pair, verdict = finding.behind(setting), finding.verdict(setting)
        lines.append(
            [
                _cell(f"**{setting.name}**" if verdict == "best" else setting.name),
                str(len(setting.runs)),
                *(str(Score.of(setting.scores(metric))) for metric in names),
                f"{setting.median('train_seconds'):.2f}",
                f"{setting.median('tokens_per_second') / 1e6:.1f}",
                f"{setting.median('parameters'):,.0f}",
                verdict,
                f"{pair.lead:.3f}" if pair else "",
                p_text(pair.p_texts).removeprefix("p ").removeprefix("= ") if pair else "",
                p_text(pair.p_seeds).removeprefix("p ").removeprefix("= ") if pair else "",
            ]
        )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    dataset: Dataset = finding.dataset
    title = f"**{_cell(dataset.name)}**, {len(dataset.labels):,} test rows"
    return f"{title}\n\n{table}\n\n{_cell(' '.join(in_words(finding)))}"


def _cell(text: str) -> str:
    """Return a text that markdown shows as it is: a name comes from a user."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
