"""A scikit-learn estimator: texts in, classes out, for pipelines, cross-validation and searches.

>>> from sklearn.model_selection import GridSearchCV
>>> from textcls.sklearn import TextClassifier
>>> search = GridSearchCV(TextClassifier(ngrams=2), {"mode": ["sqrtn", "max"]}, n_jobs=2)
>>> search.fit(texts, labels).predict(["what a film"])
array(['positive'], dtype='<U8')
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import (
        Tags,
        check_consistent_length,
        check_random_state,
        column_or_1d,
        compute_class_weight,
    )
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(
        f"textcls.sklearn needs scikit-learn, the extra of that name: "
        f"pip install 'textcls[sklearn]' ({error})"
    ) from None

from textcls.arrow import Int64
from textcls.config import (
    CharTokenWeights,
    Counts,
    Mode,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TokenizerConfig,
    TokenWeights,
    TrainerConfig,
    is_auto,
)
from textcls.corpus.splits import RowLabels
from textcls.data.bags import Bags
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.data.words import composition_of
from textcls.defaults import measure, resolve
from textcls.errors import Interrupted, TextclsError
from textcls.model.classifier import Classifier, Float32, to_arrow
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of, untrained
from textcls.model.folder import ModelParts
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.tracking import Listener

# Tokenizers that need no file.
TokenizerName = Literal["basic", "basic_english", "jieba", "split", "bpe", "wordpiece"]
_OF_TOKENIZER = (
    "min_freq", "max_tokens", "ngrams", "ngram_min_freq", "buckets", "char_ngrams", "char_weight",
    "char_token_weights", "counts", "token_weights", "ngram_weight",
)  # fmt: skip

# torch's random state and number of threads are the process's: of fits in several threads, one
# trains at a time.
_TRAINING = threading.Lock()


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Embedding bags and a linear layer as a scikit-learn classifier of texts.

    It trains as ``train.py`` does, on the CPU with one thread, but on all texts given: nothing is
    held out, and the last epoch's weights are kept. Nothing is written or printed; torch's random
    state and number of threads are afterwards what they were.

    ``X`` is everywhere a list, tuple, NumPy array, pandas Series or Arrow array of strings, in
    which None and NaN stand for no text: an empty bag, whose classes are as likely as the linear
    layer's bias says. ``configs/`` explains the parameters further, under the same names, and has
    the same defaults. ``"auto"`` is a value that fits the texts and their number: see
    :mod:`textcls.defaults`.

    Args:
        mode: how the vectors of a text's tokens become one: ``mean``, ``sum``, ``sqrtn``, ``max``,
            several side by side (``mean+max``), or ``weighted_sum`` and the like.
        tokenizer: ``basic``, ``basic_english``, ``split`` (at spaces), ``jieba``, or ``bpe`` and
            ``wordpiece``, which learn from ``X``.
        min_freq: tokens and n-grams that stand fewer times in ``X`` are left out.
        max_tokens: texts are cut after so many tokens, in predicting as well; None: they are not.
        ngrams: longest word n-gram, 1 (words alone) to 5.
        ngram_min_freq: n-grams of 2 words and more that stand fewer times in ``X`` are left out.
        buckets: rows for all n-grams of 2 words and more, hashed; None: one row each.
        char_ngrams: shortest and longest character n-gram of each word, such as ``(2, 5)``; None,
            and ``"auto"`` for ``bpe`` and ``wordpiece``: words have vectors of their own alone.
        char_weight: what a character n-gram weighs beside a word.
        char_token_weights: fixed weights of character n-grams from ``X``: ``idf``,
            ``log_count_ratio``, or both multiplied, as in ``token_weights``; None: all weigh 1.
        counts: ``count``, ``log`` or ``binary``: each distinct token of a text counts once, by its
            count, 1 + log(count), or 1; None: as often as it stands there.
        token_weights: fixed weights of tokens and n-grams from ``X``: ``idf``, ``log_count_ratio``,
            both multiplied (``idf_log_count_ratio``, or ``idf_sqrt_log_count_ratio`` with the
            root of the ratio) or ``bm25``, with ``counts`` only; None: all weigh 1.
        ngram_weight: what an n-gram weighs beside a word, with ``counts`` only.
        dim: numbers per token.
        dropout: share of the pooled vector that is zeroed while training.
        lr: Adagrad's learning rate at its start; it falls to zero in a straight line.
        initial_accumulator_value: Adagrad's: 0 makes the first step of every number as large as
            ``lr``; 1e-4 makes those of rare tokens as small as their gradients.
        epochs: passes over ``X``.
        batch_size: texts a step.
        label_smoothing: share of the target that is spread evenly over all classes.
        class_weight: weights of the classes in the loss, by label (1 where not named), or
            ``balanced``: inversely proportional to their frequency; None: all weigh 1. With
            ``initial_accumulator_value=0`` tokens that texts of one class alone have learn it as
            fast whatever it weighs: very small weights do not silence a class then.
        random_state: an int gives the same model at each fit; else as scikit-learn has it.

    Attributes:
        classes_: the labels, sorted, in the dtype of ``y``: ``[num_classes]``.
        classifier_: the trained :class:`~textcls.model.classifier.Classifier`; its labels are
            those of ``classes_`` as strings.
        n_iter_: epochs trained.
    """

    classes_: npt.NDArray[Any]
    classifier_: Classifier
    n_iter_: int

    def __init__(
        self,
        mode: Mode = "sqrtn",
        *,
        tokenizer: TokenizerName = "basic",
        min_freq: int = 1,
        max_tokens: int | None = None,
        ngrams: int | Literal["auto"] = "auto",
        ngram_min_freq: int | Literal["auto"] = "auto",
        buckets: int | None = None,
        char_ngrams: tuple[int, int] | Literal["auto"] | None = "auto",
        char_weight: float = 0.3,
        char_token_weights: CharTokenWeights | None = "auto",
        counts: Counts | None = "auto",
        token_weights: TokenWeights | None = "auto",
        ngram_weight: float = 1.0,
        dim: int | Literal["auto"] = "auto",
        dropout: float | Literal["auto"] = "auto",
        lr: float | Literal["auto"] = "auto",
        initial_accumulator_value: float = 1e-4,
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        label_smoothing: float = 0.1,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.mode = mode
        self.tokenizer = tokenizer
        self.min_freq = min_freq
        self.max_tokens = max_tokens
        self.ngrams = ngrams
        self.ngram_min_freq = ngram_min_freq
        self.buckets = buckets
        self.char_ngrams = char_ngrams
        self.char_weight = char_weight
        self.char_token_weights = char_token_weights
        self.counts = counts
        self.token_weights = token_weights
        self.ngram_weight = ngram_weight
        self.dim = dim
        self.dropout = dropout
        self.lr = lr
        self.initial_accumulator_value = initial_accumulator_value
        self.epochs = epochs
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> TextClassifier:  # noqa: N803
        """Train anew on texts and their labels, both ``[num_texts]``.

        Raises:
            ValueError: a parameter, the texts or the labels are none that can be trained with.
            TypeError: an element of ``X`` is no text.
        """
        texts = to_arrow(_texts(X))
        classes, labels = _labels(y)
        check_consistent_length(texts, labels)
        names = tuple(map(str, classes.tolist()))
        weights = compute_class_weight(self.class_weight, classes=classes, y=classes[labels])
        if not np.all((weights > 0) & np.isfinite(weights)):
            raise ValueError(
                f"class_weight={self.class_weight!r}: give finite weights above 0, "
                "and leave out the texts of a class that is not to count"
            )
        settings = self._settings(dict(zip(names, weights.tolist(), strict=True)))
        settings = resolve(settings, measure([texts], len(names)))

        tokenizer = Tokenizer(settings.tokenizer, pa.chunked_array([texts]))
        tokens = tokenizer.use_up([texts])
        if not len(tokens.codes):
            raise ValueError("empty vocabulary: X has no tokens")
        encoder, encoded = TextEncoder.learn_and_encode(tokenizer, tokens, RowLabels(labels))
        if len(encoder.vocabulary) == len(encoder.vocabulary.specials):
            raise ValueError(f"empty vocabulary: min_freq={self.min_freq} leaves no token of X")
        bags = encoder.bags(encoded, torch.from_numpy(labels))

        with _apart(settings.seed):
            model = untrained(encoder, len(names), settings.model, composition_of(encoder))
            n_iter = self._train(model, bags, names, settings)
        model = model.composed().eval().requires_grad_(False)

        self.classes_ = classes
        self.classifier_ = Classifier(ModelParts(model, encoder, names))
        self.n_iter_ = n_iter
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the most probable label of each text, ``[num_texts]``, in ``classes_``' dtype."""
        best = self.predict_proba(X).argmax(1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    def predict_proba(self, X: Any) -> Float32:  # noqa: N803
        """Return the classes' probabilities, float32 ``[num_texts, num_classes]``."""
        check_is_fitted(self)
        return self.classifier_.predict_proba(_texts(X))

    def decision_function(self, X: Any) -> Float32:  # noqa: N803
        """Return the class scores (logits), float32 ``[num_texts, num_classes]``.

        Of two classes it is what the second has above the first, ``[num_texts]``.
        """
        check_is_fitted(self)
        bags = self.classifier_.bags(_texts(X))
        scores: Float32 = logits_of(self.classifier_.parts.model, bags).numpy()
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags

    def _settings(self, class_weights: dict[str, float]) -> _Settings:
        # NumPy's numbers, of which a search's grid may consist, are none to pydantic.
        given = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
        }
        if self.tokenizer not in get_args(TokenizerName):
            known = ", ".join(get_args(TokenizerName))
            raise ValueError(f"tokenizer={self.tokenizer!r}: give one of {known}")
        if self.tokenizer in ("bpe", "wordpiece") and is_auto(self.char_ngrams):
            given["char_ngrams"] = None

        def group(*names: str, **others: Any) -> dict[str, Any]:
            return {name: given[name] for name in names} | others

        values = {
            "tokenizer": group(*_OF_TOKENIZER, name=self.tokenizer, max_size=None),
            "model": group("mode", "dim", "dropout"),
            "optimizer": group(
                "lr", "initial_accumulator_value", name="adagrad", weight_decay=0.0, rows="auto"
            ),
            "schedule": group(name="linear", warmup=0.0),
            "trainer": group(
                "epochs",
                "batch_size",
                "label_smoothing",
                class_weights=None if self.class_weight is None else class_weights,
                clip_norm=None,
                monitor="loss",
                patience=None,
                overfit=None,
                device="cpu",
                num_threads=1,
            ),
            "seed": check_random_state(self.random_state).randint(2**31 - 1),
        }
        try:
            return _adapter.validate_python(values)
        except ValidationError as error:
            raise ValueError(_describe(dict(error.errors()[0]))) from None

    def _train(
        self,
        model: EmbeddingBagClassifier,
        bags: Bags,
        names: tuple[str, ...],
        settings: _Settings,
    ) -> int:
        try:
            progress = fit(
                model,
                bags,
                validation=None,
                label_names=names,
                config=settings,
                checkpoints=Checkpoints(),
                tracker=Listener(),
            )
            # The losses were those before each step; the last one can break the weights as well.
            diverged = not bool(logits_of(model.composed(), bags).isfinite().all())
        except TextclsError:
            diverged = True
        except Interrupted as stopped:
            # What a signal means is the caller's to say: KeyboardInterrupt, or the process's end.
            signal.raise_signal(stopped.signum)
            raise
        if diverged:
            raise ValueError(f"the training diverged: lower lr (it is {settings.optimizer.lr:g})")
        return progress.epoch


@dataclass(frozen=True)
class _Settings:
    """What the parameters come to, in the groups of ``configs/``."""

    tokenizer: TokenizerConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    seed: int


_adapter = TypeAdapter(_Settings)


def _describe(item: dict[str, Any]) -> str:
    """Name the parameter at fault, not the option of the command line that it stands for."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message.replace("tokenizer.", "").replace("null", "None")
    name = str(item["loc"][1]).replace("class_weights", "class_weight")
    return f"{name}={item['input']!r}: {message[0].lower()}{message[1:]}"


def _texts(X: Any) -> list[Any]:  # noqa: N803
    """Return the elements of what may stand for texts; None or NaN for each that is missing.

    Raises:
        ValueError: ``X`` is a single string, or of two dimensions.
        TypeError: ``X`` is nothing that has elements.
    """
    if isinstance(X, str | bytes):
        raise ValueError("X is a single text: give a list of texts, as in ['…']")
    if len(getattr(X, "shape", "1")) != 1:
        raise ValueError(
            f"X has shape {tuple(X.shape)}: give one text a row, in one dimension; "
            "of a table that is a single column, df['text'] rather than df[['text']]"
        )
    if hasattr(X, "isna"):  # pandas' missing values are of many kinds
        return [None if gone else text for text, gone in zip(X, X.isna(), strict=True)]
    return list(X.to_pylist() if hasattr(X, "to_pylist") else X)


def _labels(y: Any) -> tuple[npt.NDArray[Any], Int64]:
    """Return the classes, sorted, and the number of each label's class, int64 ``[num_texts]``.

    Raises:
        ValueError: ``y`` holds no labels, or fewer than two different ones.
    """
    if y is None:
        raise ValueError("TextClassifier requires y to be passed, but the target y is None")
    y = column_or_1d(y, warn=True)
    if y.dtype == object and any(label is None or label != label for label in y):
        raise ValueError("y contains None or NaN: leave out texts without a label")
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"TextClassifier needs texts of at least 2 classes, but y has {len(classes)} class"
            + (f": {classes[0]!r}" if len(classes) else "es")
        )
    return classes, labels.astype(np.int64)


@contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Give the block its own random state and one thread (see "Threads" in docs/training.md)."""
    with _TRAINING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
