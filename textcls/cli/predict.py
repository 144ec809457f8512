"""``textcls predict``: labels for texts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from textcls.cli.options import DEVICE, MODEL, number, with_reading
from textcls.cli.shared import load, reading_of
from textcls.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


@click.command()
@MODEL
@click.argument(
    "files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, allow_dash=True)
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write (.csv, .jsonl, .parquet)."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Of the output.  [default: by --out's name, else csv]",
)
@click.option(
    "--top",
    default=1,
    type=click.IntRange(1),
    metavar="K",
    show_default=True,
    help="Labels for each text, the most probable first.",
)
@click.option(
    "--threshold",
    default=0.0,
    type=click.FloatRange(0, 1),
    callback=number,
    metavar="P",
    help="Leave labels less probable than P empty.",
)
@click.option("--probabilities", is_flag=True, help="Add a column for each class.")
@with_reading(labelled=False)
@DEVICE
def predict(
    model: Path,
    files: tuple[Path, ...],
    out: Path | None,
    format_: str | None,
    top: int,
    threshold: float,
    probabilities: bool,
    given: dict[str, Any],
    device: str,
) -> None:
    """Label texts: one row out for each row in, in order.

    FILE is csv, tsv, json, jsonl, parquet (compressed or not), or .txt with a text on each line;
    without one, or for "-", lines are read from standard input. Texts are read, labelled and
    written piece by piece, so that no file is too large.
    """
    classifier = load(model, device)
    import pyarrow.compute as pc

    from textcls.data.reading import read_lines, read_texts
    from textcls.report.predictions import PredictionWriter, format_by_name

    reading, usual = reading_of(classifier, given), classifier.parts.reading
    format_ = format_ or ("csv" if out is None else format_by_name(out))
    for file in files:
        if str(file) != "-" and not file.exists():
            raise InputError(f"{file}: there is no such file")
        if out is not None and out.exists() and file.exists() and file.samefile(out):
            raise InputError(f"--out {out}: is one of the files to read")

    def pieces() -> Iterator[pa.Array]:
        for file in files or (Path("-"),):
            if str(file) == "-":
                yield from read_lines(sys.stdin.buffer, reading.encoding)
            else:
                yield from read_texts(file, reading, usual)

    names, undecoded = classifier.label_names, 0
    with (
        _output(out) as target,
        PredictionWriter(target, format_, names, top, threshold, probabilities) as writer,
        _counted(out is not None) as count,
    ):
        for texts in pieces():
            writer.write(classifier.predict_proba(texts))
            count(len(texts))
            undecoded += pc.sum(pc.match_substring(texts, "\ufffd")).as_py() or 0
    if undecoded:
        click.echo(
            f"note: {undecoded:,} texts hold U+FFFD, which stands for bytes that are no "
            f"{reading.encoding}: is --encoding right?",
            err=True,
        )


@contextlib.contextmanager
def _output(out: Path | None) -> Iterator[BinaryIO]:
    """Yield standard output, or a file that is there whole or not at all."""
    from textcls.files import whole_file

    if out is None:
        yield sys.stdout.buffer
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as scratch, scratch.open("wb") as file:
        yield file


@contextlib.contextmanager
def _counted(to_file: bool) -> Iterator[Any]:
    """Yield a function that is told of rows, and shows their number and pace on a terminal."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    # Beside predictions that scroll by on the same terminal, a live line would only flicker.
    shown = console.is_terminal and (to_file or not sys.stdout.isatty())
    columns = (
        TextColumn("{task.completed:,.0f} rows"),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task("", total=None, pace="")

        def count(rows: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(task, advance=rows, pace=f"{speed:,.0f} rows/s" if speed else "")

        yield count
