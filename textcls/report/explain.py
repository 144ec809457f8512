"""Why a text got its labels: how much each of its tokens adds to each class's score."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from textcls.arrow import Int32, Int64
from textcls.data.encoder import TextEncoder
from textcls.data.features import places_of
from textcls.data.sources import Sources, char_parts_of, entries_of, sources_of
from textcls.errors import InputError
from textcls.model.classifier import Classifier
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.report.contributions import Float64, contributions_of, contributions_of_chars
from textcls.report.spans import Span, align, joined
from textcls.task.multi import MultiLabel

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bag:
    """The tokens of one text.

    Attributes:
        text: as the tokenizer saw it (:func:`whole`); as long as the original.
        words: in the order of the text.
        sources: which entries of the bag come from which tokens.
    """

    text: str
    words: tuple[str, ...]
    sources: Sources

    @property
    def ids(self) -> Int32:
        """The rows of the tokens; that of ``<unk>`` for unknown words."""
        return self.sources.ids

    @property
    def runs(self) -> Int32:
        """Which words each token is made of."""
        return self.sources.runs

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens by name: a word, or the words of an n-gram joined by spaces."""
        return tuple(" ".join(self.words[start:stop]) for start, stop in self.runs)


def whole(text: str) -> str:
    """Return a text as a classifier takes it: halves of characters (lone surrogates) replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def bag_of(classifier: Classifier, text: str) -> Bag:
    """Split a text as in serving, and say which words each of its tokens is made of."""
    clean = whole(text)
    encoder = classifier.parts.encoder
    tokens = encoder.tokenizer(pa.chunked_array([pa.array([clean], pa.large_string())]))
    return Bag(clean, tuple(tokens.to_lists()[0]), sources_of(encoder, tokens))


@dataclass(frozen=True)
class Chars:
    """What character n-grams add as parts of the tokens of an explanation.

    Attributes:
        names: their texts, ends of words marked; those that share an embedding row are named
            together.
        tokens: int64 ``[num_parts]``, ascending: the token that each is part of.
        contributions: float64 ``[num_parts, num_classes]``.
    """

    names: tuple[str, ...]
    tokens: Int64
    contributions: Float64


@dataclass(frozen=True)
class Explanation:
    """The scores of one text, taken apart by token.

    A class's score (logit) is ``bias + contributions.sum(0)``, up to float rounding: the numbers
    are exact parts of the score, not estimates. Of a model of one label a text, a part of one score
    alone says little, though: softmax compares scores, and a token that raises all of them alike
    changes nothing. Where a text may have several labels, each score is the log-odds of its label,
    whatever the others are. :meth:`margin` is what a token does for one class *against the others*,
    or to the log-odds; colours and order go by it.

    Attributes:
        text: as given.
        tokens: by name, words and n-grams; a hashed n-gram too has the name of its words.
        ids: int32 ``[num_tokens]``, rows of the embedding.
        unknown: bool ``[num_tokens]``: not in the vocabulary: the row of ``<unk>`` counts, or those
            of character n-grams, or nothing.
        contributions: float64 ``[num_tokens, num_classes]``.
        chars: what character n-grams have of these; the rest of a token (:meth:`own`) is its own.
            It is empty for models of formats before 4.
        bias: float64 ``[num_classes]``.
        logits: float64 ``[num_classes]``, the model's own scores.
        probabilities: float64 ``[num_classes]``.
        label_names: of the classes.
        label: the one explained.
        predicted: the labels that the text gets, the most probable first.
        thresholds: float64 ``[num_classes]``, from which probability on each label is predicted;
            None: a text has one label, the most probable.
        spans: where each token stands in ``text``, an n-gram from its first word to its last; None
            where that cannot be told.
        word_spans: those of the words alone, in order.
        runs: int32 ``[num_tokens, 2]``: which words each token is made of.
        mode: of the pooling.
    """

    text: str
    tokens: tuple[str, ...]
    ids: Int32
    unknown: Bools
    contributions: Float64
    chars: Chars
    bias: Float64
    logits: Float64
    probabilities: Float64
    label_names: tuple[str, ...]
    label: str
    predicted: tuple[str, ...]
    thresholds: Float64 | None
    spans: tuple[Span | None, ...]
    word_spans: tuple[Span | None, ...]
    runs: Int32
    mode: str

    def index(self, label: str | None = None) -> int:
        """Return the class number of a label, by default of the one explained.

        Raises:
            InputError: the model has no such label.
        """
        return _index(self.label_names, self.label if label is None else label)

    def own(self) -> Float64:
        """Return what each token adds without its character n-grams, as ``contributions``.

        Of a known word it is what its own embedding row adds, with what cannot be divided: its
        maxima under max pooling, and n-grams that ``textcls compress`` has pruned. Of an unknown
        word it is zero, up to float rounding.
        """
        own = self.contributions.copy()
        np.subtract.at(own, self.chars.tokens, self.chars.contributions)
        return own

    @property
    def several(self) -> bool:
        """Whether the text may have several labels."""
        return self.thresholds is not None

    def margin(self, label: str | None = None) -> Float64:
        """Return what each token adds to a label's :meth:`standing`, float64 ``[num_tokens]``.

        These are exact sums too: with that of the bias they add up to that of the scores.

        Raises:
            InputError: the model has no such label.
        """
        return self.standing(self.contributions, label)

    def standing(self, scores: Float64, label: str | None = None) -> Float64:
        """Return what a label's probability goes by: its :func:`lead`, or its log-odds.

        The lead is the label's score less the mean score of the other classes. Where a text may
        have several labels, it is the label's own score.

        Args:
            scores: float64 ``[..., num_classes]``: of classes, or parts of them.
            label: by default the one explained.

        Returns:
            float64 ``[...]``.

        Raises:
            InputError: the model has no such label.
        """
        k = self.index(label)
        own: Float64 = scores[..., k]
        return own if self.several else lead(scores, k)


def lead(scores: Float64, label: int) -> Float64:
    """Return the score of one class less the mean of the others' (the score, where there is none).

    Args:
        scores: float64 ``[..., num_classes]``.
        label: the class number.

    Returns:
        float64 ``[...]``.
    """
    others = np.delete(scores, label, axis=-1)
    own: Float64 = scores[..., label]
    return own - others.mean(-1) if others.shape[-1] else own


def explain(classifier: Classifier, text: str, label: str | None = None) -> Explanation:
    """Take the scores of a text apart.

    Per pooling, with W_k the linear layer's row of class k and e_t the row of token t:

    - mean: ``W_k·e_t / length``; sum: ``W_k·e_t``;
    - sqrtn: ``W_k·e_t / √length``; weighted_sum and so on: times the token's learned weight;
    - max: ``W_kd max_d`` of each dimension d goes to the token that has the largest number there
      (the first of equals, as torch chooses);
    - several side by side: the sum over the parts, each with its columns of W.

    Of a tree of labels, as fastText has it, a class's score is the sum of those of the nodes on the
    way to it, negative where the way goes left.

    Where features are counted and weighed, the sums above are over distinct features, with their
    weights; the tokens that are one feature share its part evenly. What an unknown word adds is the
    sum over its character n-grams. The vector of a known word with character n-grams is a weighted
    sum of their rows and its own, and so is what it adds, but under max. Padding contributes
    nothing and has no part in the length.

    Args:
        classifier: whose prediction it is.
        text: to classify.
        label: which class to explain; by default the most probable, where a text may have several
            labels of those predicted, if there are any.

    Raises:
        InputError: the model has no such label.
    """
    names = classifier.label_names
    if label is not None:
        _index(names, label)
    bag = bag_of(classifier, text)
    encoder, model, task = classifier.parts.encoder, classifier.parts.model, classifier.task
    logits = logits_of(model, classifier.bags([text]))
    decided = task.decided(task.probabilities(logits)).ids.tolist()
    logits = logits.double()
    probabilities = task.probabilities(logits)[0].numpy()
    logits = task.class_scores(logits)
    best = sorted(decided, key=lambda k: -probabilities[k]) or [int(probabilities.argmax())]
    thresholds = task.limits(len(names)).double().numpy() if isinstance(task, MultiLabel) else None
    contributions, chars = _by_token(model, encoder, bag)
    contributions, of_chars, bias = (
        task.class_scores(scores).numpy()
        for scores in (
            torch.from_numpy(contributions),
            torch.from_numpy(chars.contributions),
            model.linear.bias.detach().double().cpu(),
        )
    )
    chars = dataclasses.replace(chars, contributions=of_chars)
    words = align(bag.text, bag.words, encoder.tokenizer)
    return Explanation(
        text=text,
        tokens=bag.tokens,
        ids=bag.ids,
        unknown=bag.ids == encoder.vocabulary.unknown_id,
        contributions=contributions,
        chars=chars,
        bias=bias,
        logits=logits[0].numpy(),
        probabilities=probabilities,
        label_names=names,
        label=names[best[0]] if label is None else label,
        predicted=tuple(names[k] for k in best if k in decided),
        thresholds=thresholds,
        spans=tuple(joined(words[start:stop]) for start, stop in bag.runs),
        word_spans=words,
        runs=bag.runs,
        mode=model.embedding.mode,
    )


def _by_token(
    model: EmbeddingBagClassifier, encoder: TextEncoder, bag: Bag
) -> tuple[Float64, Chars]:
    """Return what each token adds, and what the character n-grams have of it.

    Tokens that have entries in common share what these add, evenly. Character n-grams of an unknown
    word add up to what the word adds.
    """
    encoded, feature = bag.sources.encoded, bag.sources.feature
    entries = contributions_of(model, encoded.indices, encoded.weights)
    named = entries_of(encoder, bag.words, bag.sources)
    parts = char_parts_of(encoder, bag.sources, named, model.embedding.pooling.has_linear)
    divided = contributions_of_chars(model, encoded.indices, encoded.weights, parts)
    is_entry = parts.ids == encoded.indices[parts.entries]
    divided[is_entry] = entries[parts.entries[is_entry]]
    # From entries to features, and from features to their tokens.
    feature_of_entry, num_features = bag.sources.feature_of_entry, bag.sources.num_features
    times = np.maximum(np.bincount(feature, minlength=num_features + 1), 1)
    by_feature = np.zeros((num_features + 1, entries.shape[1]))
    np.add.at(by_feature, feature_of_entry, entries)
    of_parts = feature_of_entry[parts.entries]
    taken, lengths = places_of(np.searchsorted(of_parts, np.arange(num_features + 2)), feature)
    chars = Chars(
        tuple(parts.names[part] for part in taken.tolist()),
        np.repeat(np.arange(len(feature)), lengths),
        divided[taken] / times[of_parts[taken], None],
    )
    return by_feature[feature] / times[feature, None], chars


def _index(names: Sequence[str], label: str) -> int:
    if label not in names:
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise InputError(f"label '{label}': the model has none of that name; take one of {shown}")
    return names.index(label)
