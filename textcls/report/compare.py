"""Compare runs: read them, say which setting is best and how surely, and write it all down."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from textcls.errors import InputError
from textcls.files import whole_folder
from textcls.report.analysis import Finding, findings
from textcls.report.page import Section, render
from textcls.report.plots import Look, draw, looks_of
from textcls.report.study import Dataset, Setting, Study, find_runs, read_study
from textcls.report.tables import (
    as_csv,
    as_markdown,
    rows_by_run,
    rows_by_setting,
    terminal,
    terminal_left_out,
)
from textcls.report.texts import only_right, read_texts

# What a comparison writes: a folder that holds anything else is not replaced.
FILES = ("index.html", "table.csv", "table.md", "runs.csv", "*.png", "events.out.tfevents.*")


def compare(
    folders: Sequence[Path], out: Path, console: Console, metric: str | None = None
) -> None:
    """Show on the console how the runs compare, and write tables, plots and a page.

    Args:
        folders: of runs, or folders that hold some.
        out: the folder to write; an earlier comparison there is replaced.
        console: where the table goes.
        metric: ``accuracy``, ``macro_f1`` or ``loss``, by which the best is chosen; where texts
            have any number of labels, ``micro_f1`` as well. None: ``accuracy``, or ``micro_f1``
            where there is such.

    Raises:
        InputError: there is nothing to compare, the runs cannot be compared, one of them cannot be
            read, or ``out`` holds something else.
        OSError: ``out`` cannot be written.
    """
    out = Path(os.path.abspath(out))  # "." has no name to put a folder beside
    _check_free(out)
    study = read_study(find_runs(folders))
    metric = metric or next(iter(study.metrics))
    if metric not in study.metrics:
        raise InputError(f"--metric {metric}: these runs have {', '.join(study.metrics)}")
    found = [findings(dataset, metric) for dataset in study.datasets]
    shown = [by_metric[metric] for by_metric in found]
    for finding in shown:
        console.print(terminal(finding, console.width))
    if study.left_out:
        console.print(terminal_left_out(study.left_out))

    compared = [finding.in_order for finding in shown]
    looks = looks_of([setting for settings in compared for setting in settings])
    sections = [
        _section(dataset, by_metric, settings, looks)
        for dataset, by_metric, settings in zip(study.datasets, found, compared, strict=True)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(out) as scratch:
        _write(scratch, study, shown, sections, metric, looks)
    # torch is needed for this alone. In place, since TensorBoard would take a folder that is still
    # being filled beside it for one more run.
    from textcls.report.events import write_events

    write_events(out, sections, as_markdown(shown))
    console.print(Text(f"page         {out / 'index.html'}"), soft_wrap=True)


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out={out}: there is a file in its place")
    for path in sorted(out.iterdir()) if out.exists() else ():
        if not any(path.match(name) for name in FILES):
            raise InputError(
                f"--out={out}: holds {path.name}, which is not of a comparison: name another folder"
            )


def _section(
    dataset: Dataset,
    by_metric: dict[str, Finding],
    settings: Sequence[Setting],
    looks: dict[str, Look],
) -> Section:
    rights = only_right(dataset, settings)
    texts: dict[int, str] = {}
    no_texts = None
    wanted = [row.index for right in rights for row in right.rows]
    if wanted:
        try:
            texts = read_texts(dataset, wanted)
        except InputError as error:
            no_texts = str(error)
    plots = list(draw(dataset, settings, looks))
    return Section(dataset, by_metric, plots, rights, texts, no_texts)


def _write(
    folder: Path,
    study: Study,
    shown: Sequence[Finding],
    sections: Sequence[Section],
    metric: str,
    looks: dict[str, Look],
) -> None:
    texts = {
        "table.csv": as_csv(rows_by_setting(study, shown)),
        "table.md": as_markdown(shown),
        "runs.csv": as_csv(rows_by_run(study)),
        "index.html": render(study, sections, metric, looks),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for section in sections:
        name = re.sub(r"[^\w.-]+", "-", section.dataset.name)
        prefix = f"{name}_" if len(sections) > 1 else ""
        for plot in section.plots:
            (folder / f"{prefix}{plot.name}.png").write_bytes(plot.png)
