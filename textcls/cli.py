"""The command ``textcls``: what there is to do with runs once they are trained."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from textcls.errors import InputError, Interrupted, status_and_reason
from textcls.training.signals import raising


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Tell a mistake in one line, like every other."""
        raise InputError(f"{message} ({self.prog} --help tells more)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="textcls", description="Work with trained text classifiers.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    compare = verbs.add_parser(
        "compare",
        help="compare runs: which setting is best, and is it more than chance?",
        description="Compare runs that were tested on the same rows: means over seeds, tests of "
        "every difference, plots, a page and a TensorBoard run.",
    )
    compare.add_argument(
        "runs", nargs="+", metavar="RUNS", help="run folders, sweeps, folders of them, or globs"
    )
    compare.add_argument(
        "--out", type=Path, help="folder to write (default: compare, beside the runs)"
    )
    compare.add_argument(
        "--metric",
        choices=("accuracy", "macro_f1", "loss"),
        default="accuracy",
        help="by which the best is chosen (default: %(default)s)",
    )
    compare.set_defaults(verb=_compare)
    return parser


def _compare(options: argparse.Namespace) -> None:
    from rich.console import Console

    from textcls.report.compare import compare
    from textcls.report.study import COMPARISON, common_folder, find_runs

    runs = find_runs(options.runs)
    out = options.out or common_folder(runs) / COMPARISON
    compare(runs, out, Console(), options.metric)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 2 bad input, 130 or 143 interrupted, 1 anything else."""
    status, message = 0, ""
    with raising() as received:
        try:
            options = _parser().parse_args(arguments)
            options.verb(options)
        except SystemExit as done:  # --help
            status = int(done.code or 0)
        except Interrupted as error:
            status, message = error.exit_status, str(error)
        except Exception as error:
            status, message = status_and_reason(error)
    if received.signum is not None and status != 128 + received.signum:
        stopped = Interrupted(received.signum)
        status, message = stopped.exit_status, str(stopped)
    if message:
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
