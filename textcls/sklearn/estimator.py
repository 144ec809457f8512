"""The estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from textcls.arrow import booleans
from textcls.corpus.splits import RowLabels
from textcls.data.encoder import TextEncoder
from textcls.data.features import Encoded
from textcls.data.targets import Targets, relative_weights
from textcls.data.tokenizer import Tokenizer
from textcls.data.tokens import Tokens
from textcls.data.word_vectors import WordRows, read_vectors, word_rows
from textcls.data.words import composition_of
from textcls.defaults import measure, resolve
from textcls.errors import InputError
from textcls.model.classifier import Classifier, Float32, to_arrow
from textcls.model.embedding_bag import logits_of, untrained
from textcls.model.parts import ModelParts
from textcls.sklearn.inputs import labels_of, texts_of
from textcls.sklearn.settings import (
    TokenizerName,
    in_terms_of_parameters,
    settings_of,
)
from textcls.task.tasks import task_of
from textcls.training.apart import Settings, apart, fit_apart
from textcls.values import CharTokenWeights, Counts, Mode, TokenWeights
from textcls.vectors.found import PretrainedVectors


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Embedding bags and a linear layer as a scikit-learn classifier of texts.

    A text has one of the classes, or any number of labels: ``y`` is then a matrix of 0 and 1 (see
    :meth:`fit`), and the score is the share of texts whose labels are all right. As no texts are
    held out to choose thresholds by, a label is predicted from probability 0.5 on: to decide
    otherwise, compare :meth:`predict_proba` with thresholds of your own.

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
        dim: numbers per token; ``classes``: its class scores themselves, of which a text's are
            pooled, and nothing but a bias is added.
        dropout: share of the pooled vector that is zeroed while training.
        vectors: pretrained vectors of words that stand beside class scores: a file, the folder of a
            model of static embeddings or ``user/model`` of the Hugging Face hub, or a name such as
            ``glove.6B.100d``; None: none.
        lr: Adagrad's learning rate at its start; it falls to zero in a straight line.
        initial_accumulator_value: Adagrad's: 0 makes the first step of every number as large as
            ``lr``; 1e-4 makes those of rare tokens as small as their gradients.
        epochs: passes over ``X``.
        batch_size: texts a step.
        label_smoothing: share of the target that is spread evenly over all classes; of any number
            of labels, over having one and not having it.
        class_weight: weights of the classes in the loss, by label (1 where not named), or
            ``balanced``: inversely proportional to their frequency; None: all weigh 1. Of any
            number of labels, the weight of one is that of having it and of not having it. With
            ``initial_accumulator_value=0`` tokens that texts of one class alone have learn it as
            fast whatever it weighs: very small weights do not silence a class then.
        sampled_classes: random classes that a step computes beside those of its batch; None: all.
        focal: exponent of the focal loss, such as 2: texts that are right already count less; None:
            all count the same.
        logit_adjustment: of one label a text, such as 1: class scores are learned that prefer no
            frequent class, in place of ``class_weight``; None: they are not.
        random_state: an int gives the same model at each fit; else as scikit-learn has it.

    Attributes:
        classes_: the labels, sorted, in the dtype of ``y``: ``[num_classes]``; of any number of
            labels 0, 1, 2, …, the columns of ``y``.
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
        dim: int | Literal["auto", "classes"] = "auto",
        dropout: float | Literal["auto"] = "auto",
        vectors: str | None = None,
        lr: float | Literal["auto"] = "auto",
        initial_accumulator_value: float = 1e-4,
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        label_smoothing: float | Literal["auto"] = "auto",
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        sampled_classes: int | Literal["auto"] | None = "auto",
        focal: float | None = None,
        logit_adjustment: float | None = None,
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
        self.vectors = vectors
        self.lr = lr
        self.initial_accumulator_value = initial_accumulator_value
        self.epochs = epochs
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.sampled_classes = sampled_classes
        self.focal = focal
        self.logit_adjustment = logit_adjustment
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TextClassifier:  # noqa: N803
        """Train anew on texts and their labels.

        Args:
            X: texts, ``[num_texts]``.
            y: of one label a text the labels, ``[num_texts]``; of any number a matrix of 0 and 1,
                dense or of scipy.sparse, ``[num_texts, num_labels]``, as MultiLabelBinarizer
                returns it.
            sample_weight: what each text weighs in the loss, ``[num_texts]``, finite and not
                negative; None: all weigh the same. Only their proportions matter: the loss of a
                step is the weighted mean of its texts. One that weighs 0 is as good as left out,
                its label and its tokens as well. Counts of tokens, and ``token_weights``, go by
                the texts whatever they weigh.

        Raises:
            ValueError: a parameter, the texts, labels or weights are none that can be trained with.
            TypeError: an element of ``X`` is no text.
        """
        texts = to_arrow(texts_of(X))
        labels, counted = labels_of(y, sample_weight, texts)
        texts = texts.filter(booleans(counted))
        names = tuple(map(str, labels.classes.tolist()))
        settings = settings_of(self.get_params(deep=False), labels.class_weights(self.class_weight))
        settings = resolve(settings, measure([texts], len(names), labels.several))

        tokenizer = Tokenizer(settings.tokenizer, pa.chunked_array([texts]))
        tokens = tokenizer.use_up([texts])
        if not len(tokens.codes):
            raise ValueError("empty vocabulary: X has no tokens")
        encoder, encoded, words = _learned(settings, tokenizer, tokens, labels.rows)
        if not encoder.vocabulary.counts[len(encoder.vocabulary.specials) :].any():
            raise ValueError(f"empty vocabulary: min_freq={self.min_freq} leaves no token of X")
        targets = Targets.of(labels.rows, relative_weights(labels.weights))
        bags = encoder.bags(encoded, targets)

        with apart(settings.seed):
            model = untrained(encoder, len(names), settings.model, composition_of(encoder), words)
            if model.vectors is not None:
                model.vectors.scale(bags)
            try:
                n_iter = fit_apart(model, bags, names, settings)
            except InputError as error:
                raise ValueError(in_terms_of_parameters(str(error))) from None
        model = model.composed().eval().requires_grad_(False)

        self.classes_ = labels.classes
        self.classifier_ = Classifier(ModelParts(model, encoder, names, task=task_of(bags)))
        self.n_iter_ = n_iter
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the most probable label of each text, ``[num_texts]``, in ``classes_``' dtype.

        Of any number of labels: 1 for those whose probability is 0.5 or more, 0 for others, int64
        ``[num_texts, num_labels]``.
        """
        probabilities, task = self.predict_proba(X), self.classifier_.task
        if task.several:
            decided = task.decided(torch.from_numpy(probabilities))
            return decided.dense(len(self.classes_)).long().numpy()
        labels: npt.NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> Float32:  # noqa: N803
        """Return the classes' probabilities, float32 ``[num_texts, num_classes]``.

        Those of a text sum to 1 where it has one label; of any number each stands by itself.
        """
        check_is_fitted(self)
        return self.classifier_.predict_proba(texts_of(X))

    def decision_function(self, X: Any) -> Float32:  # noqa: N803
        """Return the class scores (logits), float32 ``[num_texts, num_classes]``.

        Of two classes, one a text, it is what the second has above the first, ``[num_texts]``.
        """
        check_is_fitted(self)
        bags = self.classifier_.bags(texts_of(X))
        scores: Float32 = logits_of(self.classifier_.parts.model, bags).numpy()
        is_binary = len(self.classes_) == 2 and not self.classifier_.task.several
        return scores[:, 1] - scores[:, 0] if is_binary else scores

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_label = True
        return tags


def _learned(
    settings: Settings, tokenizer: Tokenizer, tokens: Tokens, labels: RowLabels
) -> tuple[TextEncoder, Encoded, WordRows | None]:
    """Return the encoder of texts, their bags, and the rows of their words in the vectors."""
    name = settings.model.vectors
    if name is None:
        return *TextEncoder.learn_and_encode(tokenizer, tokens, labels), None
    try:
        found = read_vectors(PretrainedVectors.find(name), tokenizer, tokens)
    except InputError as error:
        raise ValueError(in_terms_of_parameters(str(error))) from None
    encoder, encoded = TextEncoder.learn_and_encode(tokenizer, tokens, labels, vectors=found)
    return encoder, encoded, word_rows(encoder, found)
