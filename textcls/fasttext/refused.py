"""Functions of fastText's module that are not here, each with the reason why."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from textcls.fasttext_models.errors import FastTextError


def _refusing(message: str) -> Callable[..., NoReturn]:
    """Return a function that raises :class:`FastTextError` with a message."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise FastTextError(message)

    return refuse


train_unsupervised = _refusing(
    "train_unsupervised: vectors of words are not trained here: train them with fastText, and name "
    "its model in model.vectors"
)
cbow = _refusing("cbow is not supported, by fastText neither: it was train_unsupervised")
skipgram = _refusing("skipgram is not supported, by fastText neither: it was train_unsupervised")
supervised = _refusing("supervised is not supported, by fastText neither: it is train_supervised")
