"""``textcls curve``: what more labelled data would come to."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, metavar="KEY=VALUE...", type=click.UNPROCESSED)
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="Folder to write.  [default: runs/DATE_TIME_NAME_curve]",
)  # fmt: skip
def curve(arguments: tuple[str, ...], out: Path | None) -> None:
    """Show how much more labelled data would help: textcls curve data.train=FILE.

    Trains on the whole of train, a half, a quarter and so on, with the options of textcls train,
    and measures each model on the rows of validation. Forecast is the score of twice the data, with
    a band, where what was measured supports a forecast. Nothing is read of the test split.
    """
    from rich.console import Console

    from textcls.app.single import configure
    from textcls.cli.shared import check_new

    if out is not None:
        check_new(out)
    config = configure(arguments, "curve")
    if config is None:
        return
    from textcls.curve.learn import learn
    from textcls.sweep import new_folder

    learn(config, lambda: out or new_folder(f"{config.data.name}_curve"), Console())
