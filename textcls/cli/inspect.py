"""``textcls inspect``: what is in a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from textcls.cli.options import MODEL


@click.command()
@MODEL
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
