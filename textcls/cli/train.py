"""``textcls train``: train a model."""

from __future__ import annotations

import click


@click.command(
    add_help_option=False,  # --help is answered with all options and what they are now
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, metavar="KEY=VALUE...", type=click.UNPROCESSED)
@click.pass_context
def train(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Train a model: textcls train data.train=FILE."""
    from textcls.app.main import main

    context.exit(main(arguments))
