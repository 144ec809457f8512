"""The command ``textcls``: what there is to do with runs and models once they are trained."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from textcls import __version__
from textcls.config import Reading
from textcls.errors import InputError, Interrupted, status_and_reason, tell, visible
from textcls.training.signals import raising

if TYPE_CHECKING:
    import pyarrow as pa

    from textcls.data.bags import Bags
    from textcls.model.classifier import Classifier

PROGRAM = "textcls"

_MODEL = click.argument("model", type=click.Path(path_type=Path))
_DEVICE = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."
)
# What may be said of a file, as textcls.config.Reading has it.
_READING = tuple(field.name for field in dataclasses.fields(Reading))
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _delimiter(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    value = "\t" if value == "\\t" else value
    if value is not None and (len(value) != 1 or value in '"\r\n'):
        raise click.BadParameter(f"{value!r} is no delimiter: give one character, such as ';'")
    return value


def _names(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    return None if value is None else tuple(value.split(","))


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number")
    return value


def _with_reading(labelled: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options that say how a file is read, those given as one dict, ``given``."""
    options = [
        click.option(
            "--text-column", "text", metavar="NAME", multiple=True,
            help="Where the text is; of several, they are joined.",
        ),
        click.option(
            "--columns", metavar="A,B,…", callback=_names,
            help="Names of the columns of a csv without a header.",
        ),
        click.option(
            "--delimiter", metavar="CHARACTER", callback=_delimiter,
            help="Between the fields of a csv.",
        ),
        click.option("--encoding", help="Of the file, such as latin-1.  [default: utf-8]"),
    ]  # fmt: skip
    if labelled:
        options += [
            click.option("--label-column", "label", metavar="NAME", help="Where the label is."),
            click.option(
                "--label-names", metavar="A,B,…", callback=_names,
                help="Names of the labels 0, 1, …, where the file has numbers.",
            ),
        ]  # fmt: skip

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def gathered(**values: Any) -> None:
            reading = {name: values.pop(name) for name in _READING if name in values}
            verb(given={name: value for name, value in reading.items() if value}, **values)

        for option in reversed(options):
            gathered = option(gathered)
        return gathered

    return decorate


class _Size(click.ParamType):  # type: ignore[type-arg]  # before click 8.2 it is no generic
    """Bytes: 500000, 500kB, 1MB (powers of ten, as disks have them) or 1MiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kMG]?)(i?)B?", str(value).strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no size: write 500kB, 1MB or a number of bytes", param, ctx)
        number, prefix, binary = found.groups()
        base = 1024 if binary else 1000
        return int(float(number) * base ** " kmg".index(prefix.lower() or " "))


@click.group(context_settings=_SETTINGS, no_args_is_help=False)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Use and compare text classifiers trained by train.py.

    MODEL is a run folder, or the model folder inside one.
    """


@cli.command()
@_MODEL
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
    callback=_number,
    metavar="P",
    help="Leave labels less probable than P empty.",
)
@click.option("--probabilities", is_flag=True, help="Add a column for each class.")
@_with_reading(labelled=False)
@_DEVICE
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
    classifier = _load(model, device)
    import pyarrow.compute as pc

    from textcls.data.corpus import read_lines, read_texts
    from textcls.report.predictions import PredictionWriter, format_by_name

    reading, usual = _reading(classifier, given), classifier.parts.reading
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


@cli.command()
@_MODEL
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for metrics.json and confusion_matrix.png.",
)
@_with_reading(labelled=True)
@_DEVICE
def evaluate(
    model: Path,
    file: Path,
    out: Path | None,
    given: dict[str, Any],
    device: str,
) -> None:
    """Score a model on a labelled file.

    Shows precision, recall and F1 by class and the confusion matrix. FILE is csv, tsv, json, jsonl,
    parquet or fastText's .txt (__label__x text), compressed or not, or a folder of datasets'
    save_to_disk.
    """
    if out is not None and any((out / name).exists() for name in ("config.yaml", "config.json")):
        raise InputError(f"--out {out}: is a run or a model: name another folder")
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is no folder")
    classifier = _load(model, device)
    bags, where = _labelled_bags(classifier, file, given)
    from rich.console import Console

    from textcls.files import write_whole
    from textcls.model.embedding_bag import logits_of
    from textcls.report.confusion import picture, summary
    from textcls.training.metrics import confusion_array, metrics_of_logits

    metrics = metrics_of_logits(
        logits_of(classifier.parts.model, bags), bags.labels, classifier.label_names
    )
    matrix = confusion_array(metrics)
    Console().print(summary(metrics, matrix, Path(where).name))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        found = {"model": str(model), "file": where, "rows": len(bags)} | metrics
        write_whole(out / "metrics.json", json.dumps(found, ensure_ascii=False, indent=1))
        picture(matrix, classifier.label_names, Path(where).name).savefig(
            out / "confusion_matrix.png"
        )
        click.echo(f"written to {out}: metrics.json, confusion_matrix.png")


@cli.command()
@_MODEL
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def inspect(model: Path, as_json: bool) -> None:
    """Show what is in a model folder.

    Sizes, vocabulary, classes, settings, and the scores of its run.
    """
    from rich.console import Console

    from textcls.model.folder import load_model
    from textcls.report.describe import as_table, describe

    known = describe(model, load_model(model))
    if as_json:
        click.echo(json.dumps(known, ensure_ascii=False, indent=1))
    else:
        Console().print(as_table(known))


@cli.command()
@_MODEL
@click.argument("query")
@click.option(
    "--in",
    "file",
    type=click.Path(path_type=Path),
    help="Find the nearest texts of this file, rather than tokens.",
)
@click.option("-k", default=10, type=click.IntRange(1), show_default=True, help="How many.")
@click.option(
    "--min-count",
    default=5,
    type=click.IntRange(0),
    show_default=True,
    help="Only tokens that stand so often in the training data.",
)
@_with_reading(labelled=False)
@_DEVICE
def neighbors(
    model: Path,
    query: str,
    file: Path | None,
    k: int,
    min_count: int,
    given: dict[str, Any],
    device: str,
) -> None:
    """Show the tokens, or the texts of a file, nearest to a query.

    QUERY is a token or a text. Near is what points the same way (cosine): to a classifier, what
    speaks for the same classes.
    """
    classifier = _load(model, device)
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from textcls.data.corpus import read_texts
    from textcls.report.neighbors import nearest_texts, nearest_tokens, query_vector

    vector, own = query_vector(classifier, query)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    if file is None:
        for head in ("cosine", "count"):
            table.add_column(head, justify="right")
        table.add_column("token")
        for token, count, cosine in nearest_tokens(classifier, vector, k, min_count, own):
            table.add_row(f"{cosine:.3f}", f"{count:,}", Text(visible(token)))
    else:
        for head in ("cosine", "row"):
            table.add_column(head, justify="right", no_wrap=True, min_width=6)
        table.add_column("text", overflow="ellipsis", no_wrap=True)
        texts = read_texts(file, _reading(classifier, given), classifier.parts.reading)
        for row, found, cosine in nearest_texts(classifier, vector, texts, k):
            table.add_row(f"{cosine:.3f}", f"{row:,}", Text(visible(" ".join(found.split()))))
    Console().print(table)


@cli.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=click.Path(path_type=Path))
@click.option("-t", "--text", "texts", multiple=True, help="Text to explain; may be repeated.")
@click.option("--label", help="Explain the score of this label.  [default: the predicted one]")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Write the five steps as a page, to look at and to change.",
)
def explain(
    models: tuple[Path, ...], texts: tuple[str, ...], label: str | None, html: Path | None
) -> None:
    """Show what each token contributes to a prediction.

    With --html a page shows the five steps from tokens to probabilities, where texts can be typed
    and the pooling switched; several MODELs stand side by side there, and without one it shows a
    tiny example.
    """
    if not models and html is None:
        raise InputError("name a MODEL; or --html PAGE for the five steps on a tiny example")
    if not models and label is not None:
        raise InputError("--label needs a MODEL whose label it is")
    if not texts and html is None:
        raise InputError("give a text to explain: --text 'what a film'")
    from rich.console import Console

    from textcls.files import write_whole
    from textcls.report.explain import explain as explained
    from textcls.report.explain import terminal
    from textcls.report.steps import render_steps

    loaded = [(str(model), _load(model, "cpu")) for model in models]
    for _, classifier in loaded:
        if label is not None and label not in classifier.label_names:
            known = ", ".join(f"{name:.40}" for name in classifier.label_names[:20])
            raise InputError(f"--label {label}: the model's labels are {known}")
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write_whole(html, render_steps(loaded, texts))
        click.echo(f"written to {html}")
        return
    console = Console()
    for name, classifier in loaded:
        if len(loaded) > 1:
            console.print(name, style="bold", markup=False)
        for text in texts:
            console.print(terminal(explained(classifier, text, label), console.width))


@cli.command()
@_MODEL
@click.option(
    "--to",
    "target",
    type=click.Choice(["onnx", "torch", "numpy"]),
    required=True,
    help="onnx: a .onnx file; torch: a .pt2 file of torch.export; numpy: a folder with a "
    "predict.py that needs nothing but NumPy.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="File or folder to write."
)
def export(model: Path, target: str, out: Path) -> None:
    """Write a model for places without textcls.

    onnx and torch take token ids and offsets, as Classifier.bags gives them; numpy takes texts.
    """
    from textcls.model import export as exporting
    from textcls.model.folder import load_model

    parts = load_model(model)
    if target == "numpy":
        _check_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write = {
        "onnx": exporting.export_onnx,
        "torch": exporting.export_torch,
        "numpy": exporting.export_numpy,
    }[target]
    write(parts, out)
    click.echo(f"written to {out}")


@cli.command()
@_MODEL
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--max-size", type=_Size(), help="Of the whole folder: 500kB, 1MB, …")
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 1),
    callback=_number,
    help="Of accuracy, as a fraction.  [default: 0.005, where no size is given]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Labelled file to judge by.  [default: the run's validation split]",
)
@_with_reading(labelled=True)
def compress(
    model: Path,
    out: Path,
    max_size: int | None,
    max_loss: float | None,
    data: Path | None,
    given: dict[str, Any],
) -> None:
    """Make a model small, within a size or a loss of accuracy.

    Keeps what the classes need, prunes rows, quantizes the rest. Takes the smallest model within
    --max-loss, or the most accurate within --max-size, judged on a labelled file that training has
    not seen (nor the final test). Writes OUT/model, and the curve of size against accuracy as
    OUT/compression.png and .json.
    """
    _check_new(out)
    classifier = _load(model, "cpu")
    if data is not None:
        bags, _ = _labelled_bags(classifier, data, given)
    elif (model / "config.yaml").exists():
        from textcls.run import validation_split

        bags = validation_split(model)
    else:
        raise InputError(
            f"{model}: is no run folder, so name a labelled file to judge by: --data FILE"
        )
    from rich.console import Console

    from textcls.files import write_whole
    from textcls.model.card import compressed_card
    from textcls.model.compress import shrink
    from textcls.model.folder import save_model
    from textcls.report.shrinkage import curve_picture, curve_table

    command = shlex.join([PROGRAM, *click.get_current_context().obj])
    card = compressed_card(classifier.parts.card or "", command)
    shrunk = shrink(dataclasses.replace(classifier.parts, card=card), bags, max_size, max_loss)
    save_model(shrunk.parts, out / "model")
    curve_picture(shrunk).savefig(out / "compression.png")
    figures = {
        "original": dataclasses.asdict(shrunk.original),
        "chosen": dataclasses.asdict(shrunk.chosen),
        "curve": [dataclasses.asdict(candidate) for candidate in shrunk.curve],
    }
    write_whole(out / "compression.json", json.dumps(figures, indent=1))
    Console().print(curve_table(shrunk))
    click.echo(f"written to {out}")


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write.  [default: compare, beside the runs]",
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "macro_f1", "loss"]),
    default="accuracy",
    show_default=True,
    help="By which the best is chosen.",
)
def compare(runs: tuple[str, ...], out: Path | None, metric: str) -> None:
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


# --- what verbs share ------------------------------------------------------------------------


def _check_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: is there already: name another folder")


def _load(model: Path, device: str) -> Classifier:
    import torch

    from textcls.model.classifier import Classifier

    # Reading and tokenizing take most of the time, and have threads of their own; torch's, with
    # other work beside them, would wait for each other.
    torch.set_num_threads(1)
    return Classifier.load(model, device)


def _reading(classifier: Classifier, given: dict[str, Any]) -> Reading:
    """Return how a file is read: as the options say, else as the model's own files were.

    (The columns of these are only looked for: see :mod:`textcls.data.corpus`.)
    """
    usual = classifier.parts.reading
    return dataclasses.replace(usual, **{"text": None, "label": None, "label_names": None} | given)


def _labelled_bags(classifier: Classifier, file: Path, given: dict[str, Any]) -> tuple[Bags, str]:
    """Return a labelled file as bags of the model's token ids, and where they come from."""
    import pyarrow as pa
    import torch

    from textcls.data.corpus import read_labelled

    reading, usual = _reading(classifier, given), classifier.parts.reading
    split = read_labelled(str(file), reading, usual, classifier.label_names)
    texts = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in split.chunks])
    bags = dataclasses.replace(classifier.bags(texts), labels=torch.from_numpy(split.labels))
    return bags, split.where


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


def _told(error: Exception) -> tuple[int, str]:
    """Tell an error in one line; options of train.py by their names here."""
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        more = f" ({context.command_path} --help tells more)" if context else ""
        return 2, error.format_message() + more
    status, message = status_and_reason(error)
    message = message.replace("data.train=", "")
    message = message.replace("data.text=[COLUMN,COLUMN] to join several", "several to join them")
    message = re.sub(r"\bdata\.(text|label)\b=?", r"--\1-column ", message)
    message = re.sub(r"\bdata\.(\w+)=?", lambda key: f"--{key[1].replace('_', '-')} ", message)
    return status, message


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 2 bad input, 130 or 143 interrupted, 1 anything else."""
    status, message = 0, ""
    if sys.stdin is None:  # closed, as by <&-
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not have every character
        sys.stdout.reconfigure(errors="replace")
    with raising() as received:
        try:
            # Without standalone_mode click raises, and telling is ours; --help gives a status.
            typed = sys.argv[1:] if arguments is None else list(arguments)
            status = cli.main(typed, PROGRAM, standalone_mode=False, obj=typed) or 0
            sys.stdout.flush()
        except SystemExit as done:  # the shell completion ends so
            status = int(done.code or 0)
        except BrokenPipeError:  # whoever read has seen enough: | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1  # as click has it
        except Interrupted as error:
            status, message = error.exit_status, str(error)
        except Exception as error:
            status, message = _told(error)
    if received.signum is not None and status != 128 + received.signum:
        stopped = Interrupted(received.signum)
        status, message = stopped.exit_status, str(stopped)
    if message:
        tell(message)
    return status
