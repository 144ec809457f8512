"""``textcls compare``: runs beside each other."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write.  [default: compare, beside the runs]",
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "micro_f1", "macro_f1", "quadratic_kappa", "loss"]),
    help="By which the best is chosen; micro_f1 where texts have several labels.  "
    "[default: accuracy, or micro_f1]",
)
def compare(runs: tuple[str, ...], out: Path | None, metric: str | None) -> None:
    """Compare runs: which is best, and is it more than chance?

    RUNS are run folders, sweeps, folders of them, or quoted globs, tested on the same rows. Shown
    are means over seeds and tests of every difference; written are plots, a page and a run for
    TensorBoard.
    """
    from rich.console import Console

    from textcls.report.compare import compare as compared
    from textcls.report.study import COMPARISON, common_folder, find_runs

    found = find_runs(runs)
    compared(found, out or common_folder(found) / COMPARISON, Console(), metric)
