"""``textcls data``: what training would read from a labelled file."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from textcls.cli.options import with_reading
from textcls.config import DataConfig, Reading, TokenizerConfig
from textcls.corpus.paths import name_of_files
from textcls.errors import InputError
from textcls.faults import describe_all

# How many rows of train are shown.
FIRST_ROWS = 5


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--test", metavar="FILE", help="Of the test split.  [default: cut from FILE]")
@click.option(
    "--validation", metavar="FILE", help="Of the validation split.  [default: cut from FILE]"
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, a line for each FILE.")
@with_reading(labelled=True)
def data(
    files: tuple[str, ...],
    test: str | None,
    validation: str | None,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    """Show what training would read, without training.

    Format and columns, rows by class and split, empty texts, duplicates, lengths, the first rows,
    and what looks like a mistake. FILE is a labelled file as training takes it, or a quoted pattern
    of several that belong together; of several FILEs, each is reported by itself.
    """
    from rich.console import Console

    from textcls.data.checks import find_mistakes
    from textcls.report.data import terminal

    if not all(files):
        raise InputError("'' names no file")
    for file in files:
        config, tokenizer = configuration(file, validation, test, given)
        facts, first_rows = read(config, tokenizer)
        warnings = find_mistakes(facts, tokenizer)
        if as_json:
            rows = [{"label": label, "text": text} for label, text in first_rows]
            whole = facts | {"warnings": warnings, "first_rows": rows}
            click.echo(json.dumps(whole, ensure_ascii=False))
        else:
            Console().print(terminal(facts, warnings, first_rows), crop=False)


def configuration(
    train: str, validation: str | None, test: str | None, given: dict[str, Any]
) -> tuple[DataConfig, TokenizerConfig]:
    """Return the configuration of a training on these files, all else as its default is.

    Raises:
        InputError: the options contradict themselves.
    """
    try:
        data = DataConfig(
            name=name_of_files(train),
            source="files",
            repo=None,
            subset=None,
            revision=None,
            train=train,
            validation=validation,
            test=test,
            validation_fraction=0.1,
            test_fraction=0.1,
            split_seed=0,
            **dataclasses.asdict(Reading()) | given,
        )
    except ValidationError as error:
        raise InputError(describe_all(error)) from None
    return data, TokenizerConfig("basic", min_freq=1, max_size=None, max_tokens=None)


def read(
    config: DataConfig, tokenizer: TokenizerConfig
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the facts of a corpus, and label and text of its first rows."""
    import pyarrow as pa

    from textcls.arrow import offsets_of
    from textcls.corpus.corpus import Source
    from textcls.data.prepare import write_bags
    from textcls.data.tokenized import tokenize

    corpus = Source(config).read()
    train = corpus.train
    texts = pa.chunked_array(train.chunks).slice(0, FIRST_ROWS).to_pylist()
    first = train.labels.slice(0, min(FIRST_ROWS, len(train)))
    words = [corpus.label_names[number] for number in first.ids]
    if first.shares is not None:
        words = [f"{name} {share:.2f}" for name, share in zip(words, first.shares, strict=True)]
    ends = offsets_of(first.counts).tolist()
    labels = [", ".join(words[start:stop]) for start, stop in pairwise(ends)]
    first_rows = [(label, text or "") for label, text in zip(labels, texts, strict=True)]
    with tempfile.TemporaryDirectory(prefix="textcls-") as scratch:
        manifest = write_bags(tokenize(corpus, tokenizer), Path(scratch))
        facts = json.loads(json.dumps(manifest["facts"]))  # as the cache does it
    return facts, first_rows
