"""The page of the five steps: from text to class, with one's own texts and models.

One file that needs no network and no other file: a browser computes in it what the model computes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from textcls import __version__
from textcls.arrow import Int32, strings
from textcls.config import TokenizerConfig
from textcls.data.scripts import PATTERN
from textcls.data.sources import CharParts, Entries, char_parts_of, entries_of
from textcls.data.tokenizer import OWN
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError
from textcls.model.classifier import Classifier
from textcls.model.pooling import WEIGHT_SCALE
from textcls.report.explain import Bag, bag_of, whole
from textcls.task.multi import MultiLabel

Float32 = npt.NDArray[np.float32]

# Bytes of embedding rows in a page, over all models; as text they take a third more.
ROWS_BUDGET = 16 << 20

EXAMPLE_TEXTS = ("a good film", "film not good enough")
# Ten rows of four numbers, such that the ids of the texts are [1, 2, 4] and [4, 3, 2, 9].
_EXAMPLE_ROWS = {
    "<unk>": (0, 0, 0, 0),
    "a": (0.1, 0, 0.2, 0.1),
    "good": (0.9, 0.6, -0.3, 0.2),
    "not": (-0.9, 0.3, 0.8, -0.6),
    "film": (0.1, -0.2, 0.4, 0.6),
    "bad": (-0.8, 0.5, 0.2, -0.4),
    "dull": (-0.7, -0.6, 0.1, 0.3),
    "great": (1, 0.8, -0.5, 0.1),
    "and": (0, 0.1, 0.1, 0),
    "enough": (-0.5, 0.1, -0.2, -0.4),
}
_EXAMPLE_LINEAR = {"negative": (-2, 0.5, 1, -1), "positive": (2, -0.5, -1, 1)}


@dataclass(frozen=True)
class _Model:
    """What the page can show of a model.

    Attributes:
        name: for the user to tell it by.
        mode: of its pooling.
        label_names: of the classes.
        vocabulary: the names of the rows, Arrow strings.
        rows: float32 ``[num_embeddings, embedding_dim]``.
        token_weights: float32 ``[num_embeddings]`` of ``weighted_sum``, else None.
        linear: float32 ``[num_classes, pooled_dim]``.
        bias: float32 ``[num_classes]``.
        tokenizer: how texts are split.
        thresholds: from which probability on each label is predicted, ``[num_classes]``; None: a
            text has one label, the most probable.
        classifier: None for the example.
    """

    name: str
    mode: str
    label_names: tuple[str, ...]
    vocabulary: pa.Array
    rows: Float32
    token_weights: Float32 | None
    linear: Float32
    bias: Float32
    tokenizer: TokenizerConfig
    thresholds: Sequence[float] | None = None
    classifier: Classifier | None = None

    @property
    def why_not_typed(self) -> str | None:
        """Why a browser cannot split new texts for it, if it cannot."""
        if self.tokenizer.name not in OWN:
            name = self.tokenizer.name
            return f"the model {self.name} has another tokenizer ({name}) than the page's own"
        if self.tokenizer.buckets is not None:
            return f"the model {self.name} has hashed n-grams, which the page cannot compute"
        if self.tokenizer.char_ngrams is not None:
            return f"the model {self.name} has character n-grams, which the page cannot compute"
        if self.tokenizer.counts is not None:
            return f"the model {self.name} weighs features, which the page cannot compute"
        if self.classifier is not None and self.classifier.parts.encoder.pieces is not None:
            return f"the model {self.name} has pieces of words, which the page cannot compute"
        return None


class _Given(NamedTuple):
    """A text that is given to a model.

    Attributes:
        bag: of the text.
        entries: of the bag.
        chars: the character n-grams of the entries.
    """

    bag: Bag
    entries: Entries
    chars: CharParts

    @classmethod
    def of(cls, classifier: Classifier, text: str) -> _Given:
        encoder, bag = classifier.parts.encoder, bag_of(classifier, text)
        entries = entries_of(encoder, bag.words, bag.sources)
        return cls(bag, entries, char_parts_of(encoder, bag.sources, entries))

    @property
    def ids(self) -> Int32:
        """The embedding rows that the page needs for it."""
        return np.concatenate([self.bag.sources.encoded.indices, self.chars.ids])

    def described(self) -> dict[str, Any]:
        """Return what the page's script reads of it."""
        indices, _, weights = self.bag.sources.encoded
        return {
            "words": self.bag.words,
            "ids": indices.tolist(),
            "runs": self.entries.runs.tolist(),
            "names": self.entries.names,
            "weights": None if weights is None else weights.tolist(),
            "chars": {
                "names": self.chars.names,
                "entries": self.chars.entries.tolist(),
                "ids": self.chars.ids.tolist(),
                "shares": self.chars.shares.tolist(),
            },
        }


def render_steps(models: Sequence[tuple[str, Classifier]], texts: Sequence[str]) -> str:
    """Return the page of the five steps as HTML.

    It has the models' own rows: all of them where they fit into ``ROWS_BUDGET``, else those of the
    most frequent tokens and of the given texts. Where a model's tokens cannot be computed in a
    browser (weights, hashed and character n-grams, tokenizers of other packages), the page shows
    the given texts only.

    Args:
        models: each with a name for the user; with none, an example of ten rows made by hand.
        texts: to begin with; with none, those of the example.
    """
    shown = [_model_of(name, classifier) for name, classifier in models] or [_example()]
    data = _data(shown, list(texts) or list(EXAMPLE_TEXTS))
    # What users write is text, never markup: in the page it goes through JSON, whose only way out
    # of a script element, "<", is escaped; the script then sets it as text.
    blob = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = resources.files("textcls.report").joinpath("steps.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(data=Markup(blob), version=__version__)


def _model_of(name: str, classifier: Classifier) -> _Model:
    parts, task = classifier.parts, classifier.task
    if not (task.by_softmax or task.several):
        raise InputError(
            f"{name}: was trained with a tree of labels or negative sampling, which the page does "
            "not show: leave out --html"
        )
    names = tuple(parts.label_names)
    embedding, linear = parts.model.embedding, parts.model.linear
    weights = None
    if embedding.weighing is not None:
        weights = (1 + WEIGHT_SCALE * embedding.weighing.detach()[:, 0]).float().cpu().numpy()
    return _Model(
        name=name,
        mode=embedding.mode,
        label_names=names,
        vocabulary=parts.encoder.vocabulary.tokens,
        rows=embedding.weight.detach().float().cpu().numpy(),
        token_weights=weights,
        linear=linear.weight.detach().float().cpu().numpy(),
        bias=linear.bias.detach().float().cpu().numpy(),
        tokenizer=parts.encoder.config,
        thresholds=tuple(task.limits(len(names)).tolist())
        if isinstance(task, MultiLabel)
        else None,
        classifier=classifier,
    )


def _example() -> _Model:
    return _Model(
        name="example",
        mode="mean",
        label_names=tuple(_EXAMPLE_LINEAR),
        vocabulary=strings(tuple(_EXAMPLE_ROWS)),
        rows=np.array(list(_EXAMPLE_ROWS.values()), np.float32),
        token_weights=None,
        linear=np.array(list(_EXAMPLE_LINEAR.values()), np.float32),
        bias=np.zeros(2, np.float32),
        tokenizer=TokenizerConfig("basic", min_freq=1, max_size=None, max_tokens=None),
    )


def _data(models: Sequence[_Model], texts: Sequence[str]) -> dict[str, Any]:
    """Return what the page's script reads."""
    reasons = [reason for model in models if (reason := model.why_not_typed)]
    given = [
        [_Given.of(model.classifier, text) for text in texts] if model.classifier else []
        for model in models
    ]
    needed = [np.unique(np.concatenate([text.ids for text in row])) if row else () for row in given]
    kept = [0 for _ in models] if reasons else _rows_kept(models, [len(ids) for ids in needed])
    vocabularies: list[pa.Array] = []
    described = []
    for model, row, ids, first in zip(models, given, needed, kept, strict=True):
        more = [int(i) for i in ids if i >= first]
        described.append(_describe(model, first, more))
        if reasons:
            described[-1]["given"] = [text.described() for text in row]
            continue
        same = [i for i, other in enumerate(vocabularies) if other.equals(model.vocabulary)]
        described[-1]["vocabulary"] = same[0] if same else len(vocabularies)
        if not same:
            vocabularies.append(model.vocabulary)
    why = f"Texts cannot be typed here: {reasons[0]}. " if reasons else None
    why = why and f"{why}To see other texts, make the page anew with --text."
    return {
        "models": described,
        "vocabularies": [vocabulary.to_pylist() for vocabulary in vocabularies],
        "texts": [whole(text) for text in texts],
        "unspaced": PATTERN,
        "whyNotTyped": why,
    }


def _rows_kept(models: Sequence[_Model], needed: Sequence[int]) -> list[int]:
    """Return how many rows of each model, from id 0 on, the budget allows beside the needed ones.

    Ids go by frequency, so these are the rows of the most frequent tokens. What a small model
    leaves of its share, the larger ones get.
    """
    sizes = [model.rows.shape[1] * model.rows.itemsize for model in models]
    left = ROWS_BUDGET - sum(size * count for size, count in zip(sizes, needed, strict=True))
    kept = [0] * len(models)
    order = sorted(range(len(models)), key=lambda i: models[i].rows.nbytes)
    for place, i in enumerate(order):
        share = max(left, 0) // (len(order) - place)
        kept[i] = min(len(models[i].rows), share // sizes[i])
        left -= kept[i] * sizes[i]
    return kept


def _describe(model: _Model, first: int, more: list[int]) -> dict[str, Any]:
    ids = np.concatenate([np.arange(first), np.array(more, np.int64)]).astype(np.int64)
    weights = model.token_weights
    return {
        "name": model.name,
        "mode": model.mode,
        "labels": model.label_names,
        "thresholds": model.thresholds,
        "numEmbeddings": len(model.rows),
        "dim": model.rows.shape[1],
        "ngrams": model.tokenizer.ngrams,
        "maxTokens": model.tokenizer.max_tokens,
        "unspaced": model.tokenizer.name == "basic",
        "unknown": Vocabulary.unknown_id,
        "example": model.classifier is None,
        "kept": first,
        "more": more,
        "rows": _base64(model.rows[ids]),
        "weights": None if weights is None else _base64(weights[ids]),
        "linear": _base64(model.linear),
        "bias": _base64(model.bias),
    }


def _base64(numbers: Float32) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode()
