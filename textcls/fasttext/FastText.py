# ruff: noqa: N999  # fastText has a module of this name
"""fastText's Python interface (https://fasttext.cc/docs/en/python-module.html), for loaded models.

What differs from fastText: a text with line breaks is taken as one line, where fastText raises; an
empty list of texts has an empty answer; objects can be pickled, and used by several threads.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from textcls.errors import InputError
from textcls.fasttext.encoding import split
from textcls.fasttext.evaluating import Tally, tally
from textcls.fasttext.format import ModelFile
from textcls.fasttext.hashing import Words, hashes_of
from textcls.fasttext.matrices import Float32
from textcls.fasttext.model import FastTextModel

EOS, BOW, EOW = "</s>", "<", ">"

_Labels = tuple[str, ...]
_Unicode = Literal["strict", "replace", "ignore"]


class _FastText:
    """A supervised model of fastText.

    Args:
        model_path: of a ``.bin`` or ``.ftz`` file.

    Raises:
        InputError: the file is no supervised model, or damaged; it is a ``ValueError``.
        OSError: it cannot be read.
    """

    def __init__(self, model_path: str | Path) -> None:
        self._model = FastTextModel(model_path)

        self._decoded: dict[str, list[str]] = {}

    def _names(self, errors: _Unicode) -> list[str]:
        """Return the labels, decoded once."""
        if errors not in self._decoded:
            self._decoded[errors] = self.get_labels(on_unicode_error=errors)
        return self._decoded[errors]

    def __getattr__(self, name: str) -> Any:
        # dim, epoch, loss, wordNgrams, …
        if not name.startswith("_") and hasattr(self._model.arguments, name):
            return getattr(self._model.arguments, name)
        raise AttributeError(f"{type(self).__name__} has no {name}")

    # --- prediction --------------------------------------------------------------------------

    @overload
    def predict(
        self, text: str, k: int = 1, threshold: float = 0.0, on_unicode_error: _Unicode = "strict"
    ) -> tuple[_Labels, np.ndarray[tuple[int], np.dtype[np.float64]]]: ...

    @overload
    def predict(
        self,
        text: list[str],
        k: int = 1,
        threshold: float = 0.0,
        on_unicode_error: _Unicode = "strict",
    ) -> tuple[list[list[str]], list[Float32]]: ...

    def predict(
        self,
        text: str | list[str],
        k: int = 1,
        threshold: float = 0.0,
        on_unicode_error: _Unicode = "strict",
    ) -> tuple[Any, Any]:
        """Return the most probable labels of a text, or of each of several, and probabilities.

        Probabilities are fastText's, which are 1e-5 too large.

        Args:
            text: a text, or a list of them.
            k: so many labels at most; -1: all.
            threshold: labels less probable are left out.
            on_unicode_error: how labels are decoded, as by ``bytes.decode``.

        Raises:
            ValueError: ``k`` is 0, or below -1.
        """
        texts = [text] if isinstance(text, str) else list(text)
        labels: list[list[str]] = []
        probabilities: list[Float32] = []
        names = self._names(on_unicode_error)
        for numbers, values in self._model.predict(map(as_bytes, texts), k, threshold):
            labels.append([names[number] for number in numbers])
            probabilities.append(values)
        if isinstance(text, str):
            return tuple(labels[0]), probabilities[0].astype(np.float64)
        return labels, probabilities

    def test(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> tuple[int, float, float]:
        """Return the number of texts of a file of fastText's format, precision and recall at k."""
        found = self._tally(path, k, threshold)
        return found.num_texts, found.precision(), found.recall()

    def test_label(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> dict[str, dict[str, float]]:
        """Return ``precision``, ``recall`` and ``f1score`` of each label on a file."""
        found = self._tally(path, k, threshold)
        return {name: found.scores(number) for number, name in enumerate(self.labels)}

    def _tally(self, path: str | Path, k: int, threshold: float) -> Tally:
        with Path(path).open("rb") as file:
            return tally(self._model, file, k, threshold)

    # --- what the model has ------------------------------------------------------------------

    def get_labels(self, include_freq: bool = False, on_unicode_error: _Unicode = "strict") -> Any:
        """Return the labels, with their prefix, and with ``include_freq`` how often they occur."""
        file = self._model.file
        names = [name.decode("utf-8", on_unicode_error) for name in file.labels]
        return (names, file.label_counts.copy()) if include_freq else names

    def get_words(self, include_freq: bool = False, on_unicode_error: _Unicode = "strict") -> Any:
        """Return the words, and with ``include_freq`` how often they occur."""
        file = self._model.file
        names = [name.decode("utf-8", on_unicode_error) for name in file.words]
        return (names, file.word_counts.copy()) if include_freq else names

    @property
    def labels(self) -> list[str]:
        """The labels, with their prefix."""
        found: list[str] = self.get_labels()
        return found

    @property
    def words(self) -> list[str]:
        """The words."""
        found: list[str] = self.get_words()
        return found

    def get_dimension(self) -> int:
        """Return how many numbers a vector has."""
        return self._model.arguments.dim

    def is_quantized(self) -> bool:
        """Say whether the model is quantised."""
        return self._model.file.is_quantised

    def get_word_id(self, word: str) -> int:
        """Return the number of a word; -1: the model does not know it."""
        return self._model.dictionary.id_of(as_bytes(word))

    def get_label_id(self, label: str) -> int:
        """Return the number of a label; -1: there is none."""
        number = self._model.dictionary.id_of(as_bytes(label))
        return number - len(self._model.file.words) if number >= 0 else -1

    def get_subword_id(self, subword: str) -> int:
        """Return the row of the input matrix that a character n-gram has."""
        (value,) = hashes_of(Words.of([as_bytes(subword)]))
        return len(self._model.file.words) + int(value % np.uint32(self._model.arguments.bucket))

    def get_subwords(
        self, word: str, on_unicode_error: _Unicode = "strict"
    ) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]:
        """Return a word, if it is known, and its character n-grams, with the row of each."""
        return self._model.dictionary.subwords(as_bytes(word), on_unicode_error)

    def get_input_vector(self, ind: int) -> Float32:
        """Return a row of the input matrix, float32 ``[dim]``."""
        found: Float32 = self._model.file.input.rows(np.array([ind]))[0]
        return found

    def get_word_vector(self, word: str) -> Float32:
        """Return the mean of the rows of a word, float32 ``[dim]``; of none: zeros."""
        rows = self._model.dictionary.rows_of([as_bytes(word)])
        total: Float32 = self._model.file.input.sums(rows.ids, rows.offsets)[0]
        total /= max(len(rows.ids), 1)
        return total

    __getitem__ = get_word_vector

    def __contains__(self, word: str) -> bool:
        return 0 <= self.get_word_id(word) < len(self._model.file.words)

    def get_sentence_vector(self, text: str) -> Float32:
        """Return the mean of the rows of a text, float32 ``[dim]``."""
        found: Float32 = self._model.hidden([as_bytes(text)])[0][0]
        return found

    def get_line(self, text: str, on_unicode_error: _Unicode = "strict") -> tuple[Any, Any]:
        """Return the words and the labels of a text."""
        lines = split([as_bytes(text)])
        names = [lines.words[code] for code in lines.codes.tolist()]
        rows = self._model.dictionary.rows_of(names)
        is_label = [
            self.get_label_id(name.decode("utf-8", "surrogateescape")) >= 0 for name in names
        ]
        decoded = [name.decode("utf-8", on_unicode_error) for name in names]
        words = [name for name, is_word in zip(decoded, rows.is_word, strict=True) if is_word]
        return words, [name for name, label in zip(decoded, is_label, strict=True) if label]

    def get_input_matrix(self) -> Float32:
        """Return the input matrix, float32 ``[rows, dim]``.

        Raises:
            ValueError: it is quantised.
        """
        return self._dense().input.rows(np.arange(self._model.file.input.shape[0]))

    def get_output_matrix(self) -> Float32:
        """Return the output matrix, float32 ``[labels, dim]``.

        Raises:
            ValueError: the model is quantised.
        """
        return self._dense().output.rows(np.arange(self._model.file.output.shape[0]))

    def _dense(self) -> ModelFile:
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return self._model.file

    def save_model(self, path: str | Path) -> None:
        """Write the model: a copy of the file that it was read from."""
        shutil.copyfile(self._model.path, path)


def load_model(path: str | Path) -> _FastText:
    """Load a model; see :class:`_FastText`."""
    return _FastText(path)


def tokenize(text: str) -> list[str]:
    """Return the words of a text, each line of which ends with ``</s>``."""
    lines = text.split("\n")
    found = split([as_bytes(line) for line in lines])
    words = [found.words[code].decode("utf-8", "replace") for code in found.codes.tolist()]
    return words[:-1]  # the last line has no end


def as_bytes(text: str) -> bytes:
    """Return a text as bytes, without line breaks; bytes of no UTF-8 may be in it as surrogates."""
    if not isinstance(text, str):
        raise TypeError(f"a text is a string, not {type(text).__name__}")
    line = text.replace("\n", " ")
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")


__all__ = ["BOW", "EOS", "EOW", "InputError", "load_model", "tokenize"]
