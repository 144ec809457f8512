"""fastText's ``train_supervised``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from textcls.fasttext.FastText import _FastText
from textcls.fasttext_models.errors import FastTextError

# What has no meaning here, with fastText's default: whoever sets it otherwise is told why.
_OF_VECTORS = "is for vectors of words"
_TUNE = "is not there: textcls train searches, by tune=default"
MEANINGLESS: Mapping[str, tuple[object, str]] = {
    "ws": (5, _OF_VECTORS),
    "t": (1e-4, _OF_VECTORS),
    "neg": (5, "is for the loss 'ns', which is not trained here"),
    "lrUpdateRate": (100, "is not there: the rate falls with each step"),
    "minCountLabel": (0, "is not there: leave rare labels out of the file"),
    "label": ("__label__", "is not there: labels begin with __label__"),
    "pretrainedVectors": ("", "is not there: textcls train has model.vectors"),
    "autotuneValidationFile": ("", _TUNE),
    "autotuneMetric": ("f1", _TUNE),
    "autotunePredictions": (1, _TUNE),
    "autotuneDuration": (300, _TUNE),
    "autotuneModelSize": ("", _TUNE),
}
# Other names that fastText takes.
_ALIASES = {
    "min_count": "minCount", "word_ngrams": "wordNgrams", "lr_update_rate": "lrUpdateRate",
    "label_prefix": "label", "pretrained_vectors": "pretrainedVectors",
}  # fmt: skip
_ORDER = (
    "input", "lr", "dim", "ws", "epoch", "minCount", "minCountLabel", "minn", "maxn", "neg",
    "wordNgrams", "loss", "bucket", "thread", "lrUpdateRate", "t", "label", "verbose",
    "pretrainedVectors", "seed", "autotuneValidationFile", "autotuneMetric",
    "autotunePredictions", "autotuneDuration", "autotuneModelSize",
)  # fmt: skip


def check_meaningless(given: Mapping[str, object]) -> None:
    """Refuse arguments that have no meaning here, unless they are what they are by default.

    Raises:
        FastTextError: there is one; the message names it.
    """
    for name, (default, reason) in MEANINGLESS.items():
        if given.get(name, default) != default:
            raise FastTextError(f"{name} {reason}: leave it out")


def train_supervised(*arguments: object, **named: object) -> _FastText:
    """Train a model on a file of fastText's format, ``__label__x text`` in each line.

    Arguments are fastText's, in its order, and so are their defaults: ``input``, ``lr=0.1``,
    ``dim=100``, ``epoch=5``, ``minCount=1``, ``minn=0``, ``maxn=0``, ``wordNgrams=1``,
    ``loss="softmax"`` (or ``"ova"``), ``bucket=2000000``, ``thread`` (torch's number, if it is not
    given: the result is the same), ``verbose`` (nothing is shown) and ``seed=0``. What has no
    meaning here is refused by name unless it is fastText's default.

    Raises:
        FastTextError: the file or an argument is none that can be trained with; it is a
            ``ValueError``.
        OSError: the file cannot be read.
        TypeError: there is no such argument, or ``input`` is missing.
    """
    from textcls.fasttext.training import Options, train  # brings the whole of training

    given = dict(zip(_ORDER, arguments, strict=False))
    if len(arguments) > len(_ORDER):
        raise TypeError(f"train_supervised takes {len(_ORDER)} arguments, not {len(arguments)}")
    for name, value in named.items():
        own = _ALIASES.get(name, name)
        if own not in _ORDER:
            raise TypeError(f"train_supervised has no argument {name}")
        if own in given:
            raise TypeError(f"train_supervised was given {own} twice")
        given[own] = value
    check_meaningless(given)
    given = {name: value for name, value in given.items() if name not in MEANINGLESS}
    given.pop("verbose", None)
    path = given.pop("input", None)
    if not isinstance(path, str | Path):
        raise TypeError("train_supervised needs input, the path of a file")
    return _FastText(train(Path(path), Options(**given)))  # type: ignore[arg-type]
