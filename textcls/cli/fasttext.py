"""``textcls fasttext``: fastText's command line, for models that are trained already."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from textcls.fasttext.model import FastTextModel


@click.group(no_args_is_help=True)
def fasttext() -> None:
    """Use fastText's models, .bin and .ftz, with fastText's own commands and arguments.

    MODEL is a supervised model. TEXTS is a file with a text in each line, - the standard input.
    """


def _command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Return a decorator: a command with the arguments MODEL TEXTS [K] [THRESHOLD]."""

    def decorate(function: Callable[..., None]) -> click.Command:
        for declaration, options in (
            ("threshold", {"type": float, "default": 0.0, "required": False}),
            ("k", {"type": int, "default": 1, "required": False}),
            ("texts", {"type": click.Path(allow_dash=True)}),
            ("model", {"type": click.Path(path_type=Path)}),
        ):
            function = click.argument(declaration, **options)(function)
        return fasttext.command(name)(function)

    return decorate


@_command("predict")
def predict(model: Path, texts: str, k: int, threshold: float) -> None:
    """Print the K most probable labels of each text; -1: all."""
    for names, _ in _predictions(model, texts, k, threshold):
        click.echo(" ".join(names))


@_command("predict-prob")
def predict_prob(model: Path, texts: str, k: int, threshold: float) -> None:
    """Print the K most probable labels of each text, each with its probability."""
    for names, values in _predictions(model, texts, k, threshold):
        pairs = zip(names, values, strict=True)
        click.echo(" ".join(f"{name} {value:.6g}" for name, value in pairs))


@_command("test")
def test(model: Path, texts: str, k: int, threshold: float) -> None:
    """Print the number of labelled texts, and precision and recall of the K best labels."""
    from textcls.fasttext.evaluating import tally

    with _lines(texts) as lines:
        found = tally(_loaded(model, k), lines, k, threshold)
    click.echo(f"N\t{found.num_texts}")
    click.echo(f"P@{k}\t{found.precision():.3g}")
    click.echo(f"R@{k}\t{found.recall():.3g}")


@_command("test-label")
def test_label(model: Path, texts: str, k: int, threshold: float) -> None:
    """Print F1, precision and recall of each label."""
    from textcls.fasttext.evaluating import tally

    loaded = _loaded(model, k)
    with _lines(texts) as lines:
        found = tally(loaded, lines, k, threshold)
    for number, name in enumerate(_names(loaded)):
        scores = found.scores(number)
        shown = [
            f"{title} : {'--------' if math.isnan(scores[key]) else f'{scores[key]:.6f}'}  "
            for title, key in (
                ("F1-Score", "f1score"),
                ("Precision", "precision"),
                ("Recall", "recall"),
            )
        ]
        click.echo(f"{''.join(shown)} {name}")


@fasttext.command("print-word-vectors")
@click.argument("model", type=click.Path(path_type=Path))
def print_word_vectors(model: Path) -> None:
    """Print each word of the standard input, and its vector."""
    from textcls.fasttext import load_model

    loaded = load_model(model)
    for line in sys.stdin:
        for word in line.split():
            click.echo(f"{word} {_in_words(loaded.get_word_vector(word))}")


@fasttext.command("print-sentence-vectors")
@click.argument("model", type=click.Path(path_type=Path))
def print_sentence_vectors(model: Path) -> None:
    """Print the vector of each line of the standard input."""
    from textcls.fasttext import load_model

    loaded = load_model(model)
    for line in sys.stdin:
        click.echo(_in_words(loaded.get_sentence_vector(line)))


def _in_words(vector: Iterable[float]) -> str:
    return "".join(f"{number:.5g} " for number in vector)


def _predictions(
    path: Path, texts: str, k: int, threshold: float
) -> Iterator[tuple[list[str], list[float]]]:
    model = _loaded(path, k)
    names = _names(model)
    with _lines(texts) as lines:
        for numbers, values in model.predict(lines, k, threshold):
            yield [names[number] for number in numbers], values.tolist()


def _names(model: FastTextModel) -> list[str]:
    return [name.decode("utf-8", "replace") for name in model.file.labels]


def _loaded(path: Path, k: int) -> FastTextModel:
    from textcls.fasttext.model import FastTextModel

    if k == 0 or k < -1:
        raise click.UsageError(f"K is {k}: ask for one label or more, or for -1, all")
    return FastTextModel(path)


@contextmanager
def _lines(texts: str) -> Iterator[Iterable[bytes]]:
    """Open a file of texts, or the standard input."""
    with click.open_file(texts, "rb") as file:
        yield file
