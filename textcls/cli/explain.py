"""``textcls explain``: what each token contributes to a prediction."""

from __future__ import annotations

from pathlib import Path

import click

from textcls.cli.shared import load
from textcls.errors import InputError


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=click.Path(path_type=Path))
@click.option("-t", "--text", "texts", multiple=True, help="Text to explain; may be repeated.")
@click.option(
    "--label", help="Explain the score of this label.  [default: the predicted one, or ones]"
)
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
    from textcls.report.explain_terminal import terminal
    from textcls.report.steps import render_steps

    loaded = [(str(model), load(model, "cpu")) for model in models]
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
            found = explained(classifier, text, label)
            labels = found.predicted if label is None else ()
            console.print(terminal(found, console.width, labels))
