"""``textcls fasttext``: fastText's command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from textcls.fasttext.FastText import _FastText
    from textcls.fasttext_models.model import FastTextModel


@click.group(no_args_is_help=True)
def fasttext() -> None:
    """Use fastText's models, .bin and .ftz, with fastText's own commands and arguments.

    MODEL is a supervised model. TEXTS is a file with a text in each line, - the standard input.
    """


# Options of fastText that are refused by name, unless they are its defaults.
_MEANINGLESS: dict[str, type] = {
    "ws": int, "neg": int, "lrUpdateRate": int, "t": float, "minCountLabel": int, "label": str,
    "pretrainedVectors": str,
}  # fmt: skip


def _with_meaningless(function: Callable[..., None]) -> Callable[..., None]:
    for name, kind in _MEANINGLESS.items():
        function = click.option(
            f"-{name}", name, type=kind, hidden=True, expose_value=False, callback=_refused
        )(function)
    return function


def _refused(_: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None:
        from textcls.fasttext.arguments import check_meaningless

        check_meaningless({str(parameter.name): value})


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


def _model_command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Return a decorator: a command whose first argument is MODEL."""

    def decorate(function: Callable[..., None]) -> click.Command:
        decorated = click.argument("model", type=click.Path(path_type=Path))(function)
        return fasttext.command(name)(decorated)

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
    from textcls.fasttext_models.evaluating import tally

    with _lines(texts) as lines:
        found = tally(_loaded(model, k), lines, k, threshold)
    click.echo(f"N\t{found.num_texts}")
    click.echo(f"P@{k}\t{found.precision():.3g}")
    click.echo(f"R@{k}\t{found.recall():.3g}")


@_command("test-label")
def test_label(model: Path, texts: str, k: int, threshold: float) -> None:
    """Print F1, precision and recall of each label, then what test prints."""
    from textcls.fasttext_models.evaluating import tally

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
    click.echo(f"N\t{found.num_texts}")
    click.echo(f"P@{k}\t{found.precision():.3f}")
    click.echo(f"R@{k}\t{found.recall():.3f}")


@fasttext.command("supervised")
@click.option("-input", required=True, type=click.Path(), help="training texts, with __label__s")
@click.option("-output", required=True, metavar="NAME", help="NAME.bin is written")
@click.option("-lr", type=float, default=0.1, show_default=True, help="learning rate")
@click.option("-dim", type=int, default=100, show_default=True, help="numbers of a vector")
@click.option("-epoch", type=int, default=5, show_default=True, help="passes over the texts")
@click.option("-minCount", "minCount", type=int, default=1, help="rarer words are left out")
@click.option("-minn", type=int, default=0, help="shortest character n-gram")
@click.option("-maxn", type=int, default=0, help="longest character n-gram; 0: none")
@click.option("-wordNgrams", "wordNgrams", type=int, default=1, help="longest word n-gram")
@click.option("-loss", default="softmax", show_default=True, help="softmax, or ova (one-vs-all)")
@click.option("-bucket", type=int, default=2_000_000, show_default=True, help="rows of n-grams")
@click.option("-thread", type=int, help="the result is the same whatever their number")
@click.option("-seed", type=int, default=0, help="of the weights, and the order of texts")
@click.option("-verbose", type=int, default=2, help="not looked at")
@_with_meaningless
def supervised(output: str, **settings: Any) -> None:
    """Train a model: see docs/fasttext.md for what differs from fastText."""
    from textcls.fasttext import train_supervised

    model = train_supervised(**settings)
    model.save_model(f"{output}.bin")
    click.echo(f"{len(model.words):,} words, {len(model.labels):,} labels: {output}.bin")


@fasttext.command("quantize")
@click.option("-output", required=True, metavar="NAME", help="NAME.bin is read, NAME.ftz written")
@click.option("-input", type=click.Path(), help="training texts, for -retrain")
@click.option("-qnorm", is_flag=True, help="quantize the norms of rows apart")
@click.option("-qout", is_flag=True, help="quantize the output matrix as well")
@click.option("-cutoff", type=int, default=0, help="keep so many words and n-grams; 0: all")
@click.option("-dsub", type=int, default=2, help="numbers that share a byte")
@click.option("-retrain", is_flag=True, help="train what the cutoff kept")
@click.option("-epoch", type=int, help="for -retrain")
@click.option("-lr", type=float, help="for -retrain")
@click.option("-thread", type=int, help="for -retrain")
@click.option("-verbose", type=int, help="for -retrain")
def quantize(output: str, **settings: Any) -> None:
    """Make a model smaller."""
    from textcls.fasttext import load_model
    from textcls.fasttext_models.errors import FastTextError

    source = Path(f"{output}.bin")
    model = load_model(source)
    try:
        model.quantize(**settings)
    except FastTextError as error:
        raise FastTextError(f"{source}: {error}") from None
    model.save_model(f"{output}.ftz")


@_model_command("nn")
@click.argument("k", type=int, default=10)
def nn(model: Path, k: int) -> None:
    """Print the K words nearest to each word of the standard input; -1: all."""
    found = _vectors_of(model, k)
    click.echo(prompt := "Query word? ", nl=False)
    for word in _words():
        _print_similar(found.get_nearest_neighbors(word, k, "replace"))
        click.echo(prompt, nl=False)


@_model_command("analogies")
@click.argument("k", type=int, default=10)
def analogies(model: Path, k: int) -> None:
    """Print the K words nearest to A - B + C, for each three words of the standard input."""
    click.echo(f"Loading model {model}")
    found = _vectors_of(model, k)
    click.echo(prompt := "Query triplet (A - B + C)? ", nl=False)
    words = _words()
    for a, b, c in zip(words, words, words, strict=False):
        _print_similar(found.get_analogies(a, b, c, k, "replace"))
        click.echo(prompt, nl=False)


@_model_command("dump")
@click.argument("what", type=click.Choice(["args", "dict", "input", "output"]))
def dump(model: Path, what: str) -> None:
    """Print how a model was trained, its words and labels, or a matrix."""
    import numpy as np

    from textcls.fasttext_models.errors import FastTextError
    from textcls.fasttext_models.format import read_model_file

    file = read_model_file(model)
    if what == "args":
        for name, value in file.arguments.shown():
            click.echo(f"{name} {value}")
    elif what == "dict":
        click.echo(len(file.words) + len(file.labels))
        for names, counts, kind in (
            (file.words, file.word_counts, "word"),
            (file.labels, file.label_counts, "label"),
        ):
            for entry, count in zip(names, counts.tolist(), strict=True):
                click.echo(f"{entry.decode('utf-8', 'replace')} {count} {kind}")
    else:
        if file.is_quantised:
            raise FastTextError(f"{model}: is quantized, and {what} is shown of .bin models alone")
        matrix = file.input if what == "input" else file.output
        click.echo(f"{matrix.shape[0]} {matrix.shape[1]}")
        for number in range(matrix.shape[0]):
            click.echo(" ".join(f"{one:.6g}" for one in matrix.rows(np.array([number]))[0]))


@_model_command("print-word-vectors")
def print_word_vectors(model: Path) -> None:
    """Print each word of the standard input, and its vector."""
    from textcls.fasttext import load_model

    loaded = load_model(model)
    for word in _words():
        click.echo(f"{word} {_in_words(loaded.get_word_vector(word))}")


@_model_command("print-ngrams")
@click.argument("word")
def print_ngrams(model: Path, word: str) -> None:
    """Print the vectors of a word, if it is known, and of its character n-grams."""
    from textcls.fasttext.similar import ngram_vectors
    from textcls.fasttext_models.model import FastTextModel

    for name, vector in ngram_vectors(FastTextModel(model), word.encode("utf-8", "replace")):
        click.echo(f"{name.decode('utf-8', 'replace')} {_in_words(vector)}")


@_model_command("print-sentence-vectors")
def print_sentence_vectors(model: Path) -> None:
    """Print the vector of each line of the standard input."""
    from textcls.fasttext import load_model

    loaded = load_model(model)
    with _lines("-") as lines:
        for line in lines:
            text = line.decode("utf-8", "surrogateescape")
            click.echo(_in_words(loaded.get_sentence_vector(text)))


def _vectors_of(path: Path, k: int) -> _FastText:
    from textcls.fasttext import load_model

    _check_k(k, "word")
    return load_model(path)


def _words() -> Iterator[str]:
    """Yield the words of the standard input, as they come."""
    with _lines("-") as lines:
        for line in lines:
            for word in line.split():
                yield word.decode("utf-8", "surrogateescape")


def _print_similar(found: Iterable[tuple[float, str]]) -> None:
    for value, word in found:
        click.echo(f"{word} {value:.6g}")


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
    from textcls.fasttext_models.model import FastTextModel

    _check_k(k, "label")
    return FastTextModel(path)


def _check_k(k: int, what: str) -> None:
    if k == 0 or k < -1:
        raise click.UsageError(f"K is {k}: ask for one {what} or more, or for -1, all")


@contextmanager
def _lines(texts: str) -> Iterator[Iterable[bytes]]:
    """Open a file of texts, or the standard input."""
    with click.open_file(texts, "rb") as file:
        yield file
