"""Vectors of character n-grams, whose mean is that of a word: torchtext's ``CharNGram``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textcls.errors import InputError
from textcls.vectors.rows import WordVectors
from textcls.vectors.text import read_text

# The file, by the name that torchtext has for it.
FILE = "charNgram.txt"
_LENGTHS = (2, 3, 4)


def read_ngrams(path: Path, words: Sequence[str]) -> WordVectors:
    """Return the vectors of the words that have n-grams in a file.

    Args:
        path: a text file of vectors, of names such as ``2gram-ca`` and ``3gram-#BEGIN#ca``.
        words: whose vectors are wanted.

    Raises:
        InputError: the file is damaged, or has no vectors of n-grams.
        OSError: it cannot be read.
    """
    ngrams = [_ngrams_of(word) for word in words]
    needed = frozenset(ngram for own in ngrams for ngram in own)
    names, table, _ = read_text(path, lambda name, _: name in needed)
    if needed and not names:
        raise InputError(f"{path}: has no vectors of n-grams, such as {min(needed)}")
    place_of = {name: place for place, name in enumerate(names)}
    places = [[place_of[ngram] for ngram in own if ngram in place_of] for own in ngrams]
    there = [number for number, own in enumerate(places) if own]
    vectors = np.empty((len(there), table.shape[1]), np.float32)
    for row, number in enumerate(there):
        vectors[row] = table[places[number]].mean(0)
    return WordVectors([words[number] for number in there], vectors)


def _ngrams_of(word: str) -> list[str]:
    """Return the names of a word's n-grams: each as often as it stands there."""
    characters = ["#BEGIN#", *word, "#END#"]
    return [
        f"{n}gram-{''.join(characters[start : start + n])}"
        for n in _LENGTHS
        for start in range(len(characters) - n + 1)
    ]
