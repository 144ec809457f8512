"""``textcls neighbors``: the tokens or texts nearest to a query."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textcls.cli.options import DEVICE, MODEL, with_reading
from textcls.cli.shared import load, reading_of
from textcls.errors import visible

if TYPE_CHECKING:
    import pyarrow as pa


@click.command()
@MODEL
@click.argument("query")
@click.option(
    "--in",
    "file",
    type=click.Path(),
    help="Find the nearest texts of this file, or quoted pattern, rather than tokens.",
)
@click.option("-k", default=10, type=click.IntRange(1), show_default=True, help="How many.")
@click.option(
    "--min-count",
    default=5,
    type=click.IntRange(0),
    show_default=True,
    help="Only tokens that stand so often in the training data.",
)
@with_reading(labelled=False)
@DEVICE
def neighbors(
    model: Path,
    query: str,
    file: str | None,
    k: int,
    min_count: int,
    given: dict[str, Any],
    device: str,
) -> None:
    """Show the tokens, or the texts of a file, nearest to a query.

    QUERY is a token or a text. Near is what points the same way (cosine): to a classifier, what
    speaks for the same classes. Where a model has class scores in place of vectors, near is what
    has nearly the same ones (Euclidean distance).
    """
    classifier = load(model, device)
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from textcls.corpus.paths import find_files
    from textcls.corpus.reading import read_texts
    from textcls.report.neighbors import measure_of, nearest_texts, nearest_tokens, query_vector

    vector, own = query_vector(classifier, query)
    measure = measure_of(classifier)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    if file is None:
        for head in (measure, "count"):
            table.add_column(head, justify="right")
        table.add_column("token")
        for token, count, near in nearest_tokens(classifier, vector, k, min_count, own):
            table.add_row(f"{near:.3f}", f"{count:,}", Text(visible(token)))
    else:
        files = find_files(file, "in")
        for head in (measure, "row"):
            table.add_column(head, justify="right", no_wrap=True, min_width=len(head))
        if len(files) > 1:
            table.add_column("file", overflow="fold")
        table.add_column("text", overflow="ellipsis", no_wrap=True)
        reading, usual = reading_of(classifier, given), classifier.parts.reading
        starts = [0]  # the number of rows before each file

        def pieces() -> Iterator[pa.Array]:
            for path in files:
                starts.append(starts[-1])
                for texts in read_texts(path, reading, usual):
                    starts[-1] += len(texts)
                    yield texts

        for row, found, near in nearest_texts(classifier, vector, pieces(), k):
            at = bisect.bisect_left(starts, row) - 1
            names = [Text(visible(str(files[at])))] if len(files) > 1 else []
            text = Text(visible(" ".join(found.split())))
            table.add_row(f"{near:.3f}", f"{row - starts[at]:,}", *names, text)
    Console().print(table)
