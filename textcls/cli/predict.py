"""``textcls predict``: labels for texts."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from textcls.cli.options import ABSTAIN, DEVICE, MODEL, names, number, with_reading
from textcls.cli.shared import limit_of, on_one_thread, reading_of, taken_in_words
from textcls.errors import InputError, visible

if TYPE_CHECKING:
    from textcls.scoring.files import Done, FileScorer


@click.command()
@MODEL
@click.argument("patterns", nargs=-1, metavar="[FILE]...", type=click.Path(allow_dash=True))
@click.option(
    "--out",
    type=click.Path(),
    help="File to write: .csv, .tsv, .jsonl (also .gz, .bz2, .zst) or .parquet. Or a folder, DIR/: "
    "of a file for each that is read, those done before left out.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
    help="Of the output.  [default: by --out's name, else csv; in a folder parquet]",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    help="That label files into a folder, each with one thread.  [default: one for each CPU; on a "
    "GPU, 1]",
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
    out: str | None,
    format_: str | None,
    processes: int | None,
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
    large. A folder has whole files only, whatever stops this: the same command goes on.
    """
    from textcls.corpus.paths import find_files

    sources = [
        file
        for pattern in patterns or ("-",)
        for file in ([Path("-")] if pattern == "-" else find_files(pattern, "train"))
    ]
    to_folder = out is not None and _is_folder(out, len(sources))
    if processes is not None and not to_folder:
        raise InputError("--processes: they label files into a folder: name it, as in --out DIR/")
    if format_ is None:
        format_ = "parquet" if to_folder else _format_of(out)
    on_one_thread(device)
    from textcls.scoring.files import FileScorer
    from textcls.scoring.scorer import Scorer

    scorer = Scorer(model, None, top, threshold, labels, probabilities, abstain, unknown, device)
    reading = reading_of(scorer.classifier, given)
    limit = None if abstain is None else limit_of(scorer.classifier, abstain, labels)
    kept = None if keep == ("all",) else tuple(dict.fromkeys(keep or ()))
    files, failure = FileScorer(scorer, reading, kept, format_), None
    if out is not None and to_folder:
        from textcls.cli.predict_shards import predict_shards

        done, failure = predict_shards(files, patterns or ("-",), Path(out), processes)
    else:
        done = _into_one(files, sources, None if out is None else Path(out))
    for column, renamed in done.renamed.items():
        click.echo(
            f"note: the input's column {visible(column)} is written as {visible(renamed)}: "
            f"{visible(column)} is what the model says",
            err=True,
        )
    if limit is not None:
        click.echo(
            f"note: {done.counts['unlabelled']:,} of {done.counts['rows']:,} texts are left "
            f"without a label; of validation {taken_in_words(limit)}",
            err=True,
        )
    if done.counts["undecoded"]:
        click.echo(
            f"note: {done.counts['undecoded']:,} texts hold U+FFFD, which stands for bytes that "
            f"are no {reading.encoding}: is --encoding right?",
            err=True,
        )
    if failure is not None:
        raise failure


def _is_folder(out: str, sources: int) -> bool:
    """Say whether ``--out`` is a folder of a file for each, which it may have to become."""
    from textcls.report.predictions import FORMATS, suffix_of

    path = Path(out)
    if out.endswith(os.sep):
        return True
    if path.exists() or suffix_of(path) in FORMATS:
        return path.is_dir() and suffix_of(path) not in FORMATS
    return sources > 1 and not path.suffix


def _format_of(out: str | None) -> str:
    from textcls.report.predictions import format_by_name

    return "csv" if out is None else format_by_name(Path(out))


def _into_one(files: FileScorer, sources: Sequence[Path], out: Path | None) -> Done:
    """Label files one after another into one, or onto standard output."""
    from textcls.cli.progress import counted
    from textcls.report.predictions import compression_by_name
    from textcls.scoring.files import Done

    for source in sources:
        if out is not None and out.exists() and source.exists() and source.samefile(out):
            raise InputError(f"--out {out}: is one of the files to read")
    compression = None if out is None or files.format == "parquet" else compression_by_name(out)
    done = Done()
    # Beside predictions that scroll by on the same terminal, a live line would only flicker.
    is_shown = out is not None or not sys.stdout.isatty()
    with (
        _output(out, compression, files.format) as target,
        files.writer(target) as writer,
        counted(is_shown) as (count, _),
    ):
        for source in sources:
            done.counts += files.score(source, writer, count)
    done.renamed = writer.renamed
    return done


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
