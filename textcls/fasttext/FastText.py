# ruff: noqa: N999  # fastText has a module of this name
"""fastText's Python interface (https://fasttext.cc/docs/en/python-module.html), for loaded models.

What differs from fastText: a text with line breaks is taken as one line, where fastText raises; an
empty list of texts has an empty answer; objects can be pickled, and used by several threads; a
meter knows no label that the model lacks, where fastText takes it for all labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from textcls.fasttext.meter import Meter
from textcls.fasttext.refused import cbow, skipgram, supervised, train_unsupervised
from textcls.fasttext.similar import SimilarWords
from textcls.fasttext_models.encoding import split
from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.evaluating import Tally, tally
from textcls.fasttext_models.format import ModelFile
from textcls.fasttext_models.hashing import Words, hashes_of
from textcls.fasttext_models.matrices import Float32
from textcls.fasttext_models.model import FastTextModel, trimmed
from textcls.fasttext_models.quantising import pruned, quantised
from textcls.fasttext_models.writing import write_model_file

EOS, BOW, EOW = "</s>", "<", ">"

_Labels = tuple[str, ...]
_Unicode = Literal["strict", "replace", "ignore"]


class _FastText:
    """A supervised model of fastText.

    Args:
        model_path: of a ``.bin`` or ``.ftz`` file, or what one would hold.

    Raises:
        FastTextError: the file is no supervised model, or damaged; it is a ``ValueError``.
        OSError: it cannot be read.
    """

    def __init__(self, model_path: str | Path | ModelFile) -> None:
        self._use(model_path)

    def _use(self, source: str | Path | ModelFile) -> None:
        self._model = FastTextModel(source)
        self._similar = SimilarWords(self._model)
        self._decoded: dict[str, np.ndarray[tuple[int], np.dtype[np.object_]]] = {}

    def _names(self, errors: _Unicode) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """Return the labels, decoded once, as objects ``[num_labels]``."""
        if errors not in self._decoded:
            self._decoded[errors] = np.array(self.get_labels(on_unicode_error=errors), object)
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
        for part in self._model.ranked(map(as_bytes, texts), k, threshold):
            labels += trimmed(names[part.numbers].tolist(), part.counts)
            probabilities += trimmed(list(part.probabilities), part.counts)
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

    def get_meter(self, path: str | Path, k: int = -1) -> Meter:
        """Return precision and recall on a file, of each label and at each threshold.

        Args:
            path: of a file in fastText's format.
            k: labels that are predicted of each text at most; -1: all.
        """
        with Path(path).open("rb") as file:
            return Meter(self._model, file, k)

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

    def get_nearest_neighbors(
        self, word: str, k: int = 10, on_unicode_error: _Unicode = "strict"
    ) -> list[tuple[float, str]]:
        """Return the known words nearest to any word by the cosine of their vectors, and that.

        Raises:
            ValueError: ``k`` is 0, or below -1 (which is all of them).
        """
        found = self._similar.neighbors(as_bytes(word), k)
        return [(value, name.decode("utf-8", on_unicode_error)) for value, name in found]

    def get_analogies(
        self,
        wordA: str,  # noqa: N803
        wordB: str,  # noqa: N803
        wordC: str,  # noqa: N803
        k: int = 10,
        on_unicode_error: _Unicode = "strict",
    ) -> list[tuple[float, str]]:
        """Return the words nearest to A - B + C; see :meth:`get_nearest_neighbors`."""
        found = self._similar.analogies(as_bytes(wordA), as_bytes(wordB), as_bytes(wordC), k)
        return [(value, name.decode("utf-8", on_unicode_error)) for value, name in found]

    def get_line(
        self, text: str | list[str], on_unicode_error: _Unicode = "strict"
    ) -> tuple[list[Any], list[Any]]:
        """Return the words and the labels of a text, or a list of each of several."""
        if isinstance(text, str):
            return self._line(text, on_unicode_error)
        found = [self._line(one, on_unicode_error) for one in text]
        return [words for words, _ in found], [labels for _, labels in found]

    def _line(self, text: str, errors: _Unicode) -> tuple[list[str], list[str]]:
        lines = split([as_bytes(text)])
        is_word = self._model.dictionary.rows_of(lines.words).is_word
        first = len(self._model.file.words)
        is_label = [self._model.dictionary.id_of(name) >= first for name in lines.words]
        names = [name.decode("utf-8", errors) for name in lines.words]
        codes = lines.codes.tolist()
        words = [names[code] for code in codes if is_word[code]]
        return words, [names[code] for code in codes if is_label[code]]

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

    # --- what changes it ---------------------------------------------------------------------

    def set_matrices(
        self, input_matrix: np.ndarray[Any, Any], output_matrix: np.ndarray[Any, Any]
    ) -> None:
        """Replace the matrices; the model is not quantised any more.

        Args:
            input_matrix: ``[rows, dim]``, of any ``dim``, with as many rows as there are.
            output_matrix: ``[labels, dim]``.

        Raises:
            ValueError: the shapes do not fit.
        """
        file = self._model.file
        self._use(file.with_matrices(np.asarray(input_matrix), np.asarray(output_matrix)))

    def quantize(
        self,
        input: str | Path | None = None,
        qout: bool = False,
        cutoff: int = 0,
        retrain: bool = False,
        epoch: int | None = None,
        lr: float | None = None,
        thread: int | None = None,
        verbose: int | None = None,
        dsub: int = 2,
        qnorm: bool = False,
    ) -> None:
        """Make the model smaller: few rows, and a byte for each ``dsub`` numbers of these.

        Args:
            input: training texts, for ``retrain``.
            qout: quantise the output matrix as well.
            cutoff: keep so many rows, of the largest norms; 0: all.
            retrain: train the rows that were kept.
            epoch: for ``retrain``; None: as the model was trained.
            lr: for ``retrain``; None: 0.1. See :func:`.train_supervised`.
            thread: for ``retrain``.
            verbose: for ``retrain``.
            dsub: numbers that share a byte.
            qnorm: quantise the norms of rows apart.

        Raises:
            ValueError: the model is quantised; a matrix has fewer than 256 rows; ``retrain``.
        """
        kept = pruned(self._model.file, cutoff)
        if retrain:
            if not input:
                raise FastTextError("retrain: Need input file path if retraining")
            from textcls.fasttext.training import Options, trained_on  # brings all of training

            options = Options(
                lr=0.1 if lr is None else lr, epoch=epoch or self.epoch, thread=thread
            )
            kept = trained_on(kept, Path(input), options)
        self._use(quantised(kept, dsub, qnorm, qout))

    def save_model(self, path: str | Path) -> None:
        """Write the model, whole or not at all: ``.bin``, or of a quantised one ``.ftz``."""
        write_model_file(self._model.file, Path(path))

    def set_args(self, args: object = None) -> None:
        """Take over settings of a training as attributes, of an object that has them."""
        for name in vars(args) if args else ():
            setattr(self, name, getattr(args, name))


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
    """Return a text as bytes; bytes of no UTF-8 may be in it as surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
    except AttributeError:
        raise TypeError(f"a text is a string, not {type(text).__name__}") from None


__all__ = [
    "BOW", "EOS", "EOW", "FastTextError", "cbow", "load_model", "skipgram", "supervised",
    "tokenize", "train_unsupervised",
]  # fmt: skip
