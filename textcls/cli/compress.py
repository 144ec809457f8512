"""``textcls compress``: a smaller model."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import click

from textcls.cli.options import MODEL, PROGRAM, Size, number, with_reading
from textcls.cli.shared import check_new, labelled_bags, load
from textcls.errors import InputError


@click.command()
@MODEL
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--max-size", type=Size(), help="Of the whole folder: 500kB, 1MB, …")
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 1),
    callback=number,
    help="Of accuracy, of micro F1 where texts have several labels, as a fraction.  "
    "[default: 0.005, where no size is given]",
)
@click.option(
    "--data",
    type=click.Path(),
    help="Labelled file, or quoted pattern, to judge by.  [default: the run's validation split]",
)
@with_reading(labelled=True)
def compress(
    model: Path,
    out: Path,
    max_size: int | None,
    max_loss: float | None,
    data: str | None,
    given: dict[str, Any],
) -> None:
    """Make a model small, within a size or a loss of accuracy.

    Keeps what the classes need, prunes rows, quantizes the rest. Takes the smallest model within
    --max-loss, or the best within --max-size, judged on a labelled file that training has
    not seen (nor the final test). Writes OUT/model, and the curve of size against score as
    OUT/compression.png and .json.
    """
    check_new(out)
    classifier = load(model, "cpu")
    if data is not None:
        bags, _ = labelled_bags(classifier, data, given)
    elif (model / "config.yaml").exists():
        from textcls.data.sharded import in_memory
        from textcls.run_corpus import validation_split

        held = validation_split(model)
        bags = in_memory(held)
        if len(bags) < len(held):
            click.echo(
                f"judged on {len(bags):,} of {len(held):,} rows of validation, evenly spaced"
            )
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
    write_whole(out / "compression.json", json.dumps(shrunk.figures(), indent=1))
    Console().print(curve_table(shrunk))
    click.echo(f"written to {out}")
