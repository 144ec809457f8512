"""Vectors of words from a model of fastText, supervised or not: ``.bin`` and ``.ftz``.

The vector of a word is the mean of its row and of those of its character n-grams, so that words
that the model lacks have one as well where it has character n-grams.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from textcls.arrow import lengths_of
from textcls.errors import InputError
from textcls.fasttext_models.encoding import Dictionary
from textcls.fasttext_models.format import read_model_file
from textcls.vectors.rows import WordVectors

_WORDS = 10_000


def read_model(path: Path, words: Collection[str], more: int) -> WordVectors:
    """Return the vectors of words, of others that differ by case alone, and the first of all.

    Args:
        path: of the model.
        words: whose vectors are wanted.
        more: so many vectors, from the first on, are returned as well.

    Raises:
        InputError: the file is damaged, or a vector has numbers that are not finite.
        OSError: it cannot be read.
    """
    file = read_model_file(path, labelled=False)
    dictionary, known = Dictionary(file), frozenset(words)
    names = [name.decode("utf-8", "replace") for name in file.words]
    wanted = [
        name
        for number, name in enumerate(names)
        if number < more or name in known or name.lower() in known
    ]
    there = {name.lower() for name in wanted}
    wanted += sorted(word for word in known if word.lower() not in there)
    found, vectors = [], [np.zeros((0, file.arguments.dim), np.float32)]
    for start in range(0, len(wanted), _WORDS):
        batch = wanted[start : start + _WORDS]
        rows = dictionary.rows_of([word.encode("utf-8", "replace") for word in batch])
        lengths = lengths_of(rows.offsets)
        (places,) = lengths.nonzero()
        means = file.input.sums(rows.ids, rows.offsets)[places] / lengths[places, None]
        found += [batch[place] for place in places.tolist()]
        vectors.append(means.astype(np.float32))
    table = np.concatenate(vectors)
    if not np.isfinite(table).all():
        raise InputError(f"{path}: has numbers that are not finite")
    return WordVectors(found, table)
