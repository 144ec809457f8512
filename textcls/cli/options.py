"""Options and types of options that several verbs have."""

from __future__ import annotations

import csv
import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from textcls.config import Reading
from textcls.naming import command_names
from textcls.sizes import parse_size
from textcls.values import Quoting, one_character

PROGRAM = "textcls"

MODEL = click.argument("model", type=click.Path(path_type=Path))
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."
)
# What may be said of a file, as textcls.config.Reading has it.
_READING = tuple(field.name for field in dataclasses.fields(Reading))


def _delimiter(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else one_character(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def names(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Take names apart as the fields of a csv: one that holds a comma can be quoted."""
    if value is None:
        return None
    try:
        found = tuple(next(csv.reader([value]), ()))
    except csv.Error:  # a line end
        raise click.BadParameter("names are in one line, with commas between them") from None
    if not any(found):
        raise click.BadParameter("there is no name in it")
    return found


def number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse ``nan``, which click takes for a number within any limits."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number")
    return value


def with_reading(labelled: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options that say how a file is read, those given as one dict, ``given``.

    In messages that come while it runs, options have the names that they have here.
    """
    options = [
        click.option(
            "--text-column", "text", metavar="NAME", multiple=True,
            help="Where the text is; of several, they are joined.",
        ),
        click.option(
            "--columns", metavar="A,B,…", callback=names,
            help="Names of the columns of a csv without a header.",
        ),
        click.option(
            "--delimiter", metavar="CHARACTER", callback=_delimiter,
            help="Between the fields of a csv.",
        ),
        click.option(
            "--header/--no-header", default=None,
            help="Whether the first line of a csv names the columns.",
        ),
        click.option(
            "--quoting", type=click.Choice(get_args(Quoting)),
            help="How fields of a csv are quoted; none: quotes are ordinary characters.",
        ),
        click.option("--encoding", help="Of the file, such as latin-1.  [default: utf-8]"),
    ]  # fmt: skip
    if labelled:
        options += [
            click.option(
                "--label-column", "label", metavar="NAME", multiple=True,
                help="Where the label is; of several, each says by 1 or 0 whether a row has it, or "
                "how probable it is. 'p(*)': columns by a pattern.",
            ),
            click.option(
                "--label-delimiter", metavar="TEXT", help="Between the labels of a row.",
            ),
            click.option(
                "--label-names", metavar="A,B,…", callback=names,
                help="Names of the labels 0, 1, …, where the file has numbers.",
            ),
        ]  # fmt: skip

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def gathered(**values: Any) -> None:
            reading = {name: values.pop(name) for name in _READING if name in values}
            with command_names():
                verb(given={k: v for k, v in reading.items() if v not in (None, ())}, **values)

        for option in reversed(options):
            gathered = option(gathered)
        return gathered

    return decorate


ABSTAIN = click.option(
    "--abstain",
    type=click.FloatRange(0, 1, min_open=True),
    callback=number,
    metavar="ACCURACY",
    help="Label only texts of which the model is so sure that its validation split assures this "
    "accuracy, such as 0.95.",
)


class Size(click.ParamType):  # type: ignore[type-arg]  # before click 8.2 it is no generic
    """Bytes: 500000, 500kB, 1MB (powers of ten, as disks have them) or 1MiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return a number of bytes."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
