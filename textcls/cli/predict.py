"""``textcls predict``: labels for texts."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from textcls.cli.options import ABSTAIN, DEVICE, MODEL, names, number, with_reading
from textcls.cli.shared import limit_of, load, reading_of, taken_in_words
from textcls.config import Reading
from textcls.errors import InputError, visible
from textcls.naming import option

if TYPE_CHECKING:
    from textcls.corpus.reading import Piece


@click.command()
@MODEL
@click.argument("patterns", nargs=-1, metavar="[FILE]...", type=click.Path(allow_dash=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write: .csv, .tsv, .jsonl (also .gz, .bz2, .zst) or .parquet.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
    help="Of the output.  [default: by --out's name, else csv]",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="K",
    help="The K most probable labels of each text, in columns of their own.  [default: 1; where a "
    "text may have several, a list of all that reach their threshold]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    callback=number,
    metavar="P",
    help="Leave labels less probable than P empty; where a text may have several, leave them out: "
    "P is in place of the model's own thresholds.",
)
@click.option(
    "--labels",
    metavar="A,B,…",
    callback=names,
    help="Choose from these labels alone.",
)
@click.option(
    "--keep",
    metavar="A,B,…",
    callback=names,
    help="Columns of the input to write before the labels; all: all but the text.",
)
@click.option("--probabilities", is_flag=True, help="Add a column for each class.")
@ABSTAIN
@click.option(
    "--unknown",
    is_flag=True,
    help="Add a column unknown: the share of a text's tokens that the model does not know.",
)
@with_reading(labelled=False)
@DEVICE
def predict(
    model: Path,
    patterns: tuple[str, ...],
    out: Path | None,
    format_: str | None,
    top: int | None,
    threshold: float | None,
    labels: tuple[str, ...] | None,
    keep: tuple[str, ...] | None,
    probabilities: bool,
    abstain: float | None,
    unknown: bool,
    given: dict[str, Any],
    device: str,
) -> None:
    """Label texts: one row out for each row in, in order.

    A row has the most probable label and its probability; where a text may have several labels, all
    that reach their threshold, as lists: in csv and tsv joined by the delimiter of the labels that
    the model was trained on, else by commas.

    FILE is csv, tsv, json, jsonl, parquet (compressed or not), or .txt with a text on each line, or
    a quoted pattern of several, 'new/**/*.csv'; without one, or for "-", lines are read from
    standard input. Texts are read, labelled and written piece by piece, so that no file is too
    large.
    """
    classifier = load(model, device)
    limit = None if abstain is None else limit_of(classifier, abstain, labels)
    if labels is not None:
        classifier = classifier.restricted(labels)
    import pyarrow.compute as pc

    from textcls.corpus.paths import find_files
    from textcls.model.classifier import AT_ONCE
    from textcls.report.predicted import Predicted
    from textcls.report.predictions import (
        PredictionWriter,
        compression_by_name,
        format_by_name,
        list_delimiter,
    )

    format_ = format_ or ("csv" if out is None else format_by_name(out))
    compression = None if out is None or format_ == "parquet" else compression_by_name(out)
    files = [
        file
        for pattern in patterns or ("-",)
        for file in ([Path("-")] if pattern == "-" else find_files(pattern, "train"))
    ]
    for file in files:
        if out is not None and out.exists() and file.exists() and file.samefile(out):
            raise InputError(f"--out {out}: is one of the files to read")
    reading = reading_of(classifier, given)
    kept = None if keep == ("all",) else tuple(dict.fromkeys(keep or ()))
    label_names, task = classifier.label_names, classifier.task
    least = 0.0 if limit is None else limit.confidence
    read = undecoded = unsure = 0
    rows = max(1, AT_ONCE // len(label_names))
    top = top or (None if task.several else 1)
    predicted = Predicted(label_names, task, top, threshold, probabilities, least, unknown)
    between = list_delimiter(classifier.parts.reading.label_delimiter, label_names)
    with (
        _output(out, compression, format_) as target,
        PredictionWriter(target, format_, predicted, between) as writer,
        _counted(out is not None) as count,
    ):
        for file in files:
            for piece in _pieces(file, reading, classifier.parts.reading, kept):
                for start in range(0, max(len(piece.texts), 1), rows):  # once for no text
                    texts = piece.texts.slice(start, rows)
                    kept_too = piece.kept.slice(start, rows)
                    found = classifier.predict_proba(texts)
                    shares = classifier.unknown(texts) if unknown else None
                    writer.write(found, kept_too, str(file), shares)
                    unsure += int((found.max(1, initial=0) < least).sum())
                    count(len(texts))
                read += len(piece.texts)
                undecoded += pc.sum(pc.match_substring(piece.texts, "\ufffd")).as_py() or 0
    for column, renamed in writer.renamed.items():
        click.echo(
            f"note: the input's column {visible(column)} is written as {visible(renamed)}: "
            f"{visible(column)} is what the model says",
            err=True,
        )
    if limit is not None:
        click.echo(
            f"note: {unsure:,} of {read:,} texts are left without a label; "
            f"of validation {taken_in_words(limit)}",
            err=True,
        )
    if undecoded:
        click.echo(
            f"note: {undecoded:,} texts hold U+FFFD, which stands for bytes that are no "
            f"{reading.encoding}: is --encoding right?",
            err=True,
        )


def _pieces(
    file: Path, reading: Reading, usual: Reading, keep: tuple[str, ...] | None
) -> Iterator[Piece]:
    """Yield the rows of a file, or the lines of standard input."""
    import pyarrow as pa

    from textcls.corpus.reading import Piece, read_lines, read_pieces

    if str(file) != "-":
        yield from read_pieces(file, reading, usual, keep)
        return
    if keep:
        raise InputError(f"{option('keep', *keep)}: lines on standard input have no columns")
    for texts in read_lines(sys.stdin.buffer, reading.encoding):
        yield Piece(texts, pa.table({}))


class _Terminal(io.BytesIO):
    """Standard output that is a terminal: it is shown the codes of labels, and obeys none."""

    def write(self, data: Any) -> int:
        """Show UTF-8 text."""
        lines = bytes(data).decode().split("\n")
        shown = "\n".join("\t".join(map(visible, line.split("\t"))) for line in lines)
        return sys.stdout.buffer.write(shown.encode())

    def flush(self) -> None:
        """Have it shown now."""
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _output(out: Path | None, compression: str | None, format_: str) -> Iterator[BinaryIO]:
    """Yield standard output, or a file that is there whole or not at all."""
    import pyarrow as pa

    from textcls.files import whole_file

    if out is None:
        shows = sys.stdout.isatty() and format_ != "parquet"
        yield _Terminal() if shows else sys.stdout.buffer
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as scratch, scratch.open("wb") as file:
        if compression is None:
            yield file
            return
        with pa.CompressedOutputStream(file, compression) as packed:
            yield packed


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
