"""Settings that fit the corpus: what the word ``auto`` stands for in a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import as_numpy, integers
from textcls.config import Config, flatten
from textcls.data.scripts import SCRIPTS
from textcls.values import AUTO, CLASSES, is_auto, is_of_scores

# Part of the key of bags made with ``auto``: raise it whenever :func:`choose` changes.
VERSION = 13
# About the middle of the learning rates below: a search looks around it.
LEARNING_RATE = 0.2
# Of the learning rate of a new training, where one starts from a model: what docs/training.md
# measures there.
CONTINUED = 0.3
# Shortest and longest character n-gram.
CHAR_NGRAMS = (2, 5)
# Documents that take seconds however often they are trained on.
FEW_DOCUMENTS = 1_000
# Words are counted in so many texts, evenly spaced.
COUNTED_TEXTS = 2_000
# Words times labels of a corpus whose features may have a number for each label.
LARGEST_TABLE = 2e8
# Documents of a class that suffice to learn it by itself, and classes that are few in any case.
ENOUGH_DOCUMENTS, FEW_CLASSES = 1_000, 10
NOTHING: Mapping[str, Any] = MappingProxyType({})
_UNSPACED = f"[{SCRIPTS}]"

_Settings = TypeVar("_Settings")


@dataclasses.dataclass(frozen=True)
class CorpusFacts:
    """What settings are chosen by: facts about the train split, before it is tokenized.

    A word is here what white space parts, and each character of a script without spaces.

    Attributes:
        documents: of train.
        classes: to tell apart.
        mean_words: by document.
        unspaced: share of the characters that are of scripts without spaces between words.
        several: whether a text may have several of the classes.
        soft: whether labels are probabilities of the classes.
    """

    documents: int
    classes: int
    mean_words: float
    unspaced: float
    several: bool = False
    soft: bool = False


def choose(facts: CorpusFacts, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return a value for each setting that may be ``auto``, by its name on the command line.

    The values were chosen on validation splits of the corpora that docs/accuracy.md names.

    Args:
        facts: of the corpus.
        given: options by their names on the command line, ``auto`` or not: some settings suit only
            some others.
    """
    documents, classes = facts.documents, facts.classes
    words, by_class = documents * facts.mean_words, documents / classes
    unspaced = facts.unspaced > 0.3
    is_small = documents < 20_000
    # A class of a few texts is learned slowly.
    epochs = 10 if by_class < ENOUGH_DOCUMENTS else 6 if is_small else 3
    continued = given.get("init_from") is not None
    if documents <= FEW_DOCUMENTS and not (facts.several or unspaced or continued):
        epochs = 20
    # Few documents of each class need long steps, many documents have enough of short ones.
    rate = 0.1 if by_class >= ENOUGH_DOCUMENTS and not is_small else 0.3 if classes > 50 else 0.2
    has_very_many = classes > 5_000
    if has_very_many:
        # Few texts of each class are few steps of its own.
        rate = 0.6
    if facts.several:
        # Each text teaches all labels, what it has not as much as what it has.
        epochs = -(-epochs // 2)
    if unspaced:
        # Each character is part of up to ten n-grams, which learn it together.
        epochs, rate = max(epochs // 2, 2), min(rate, 0.1)
    by_ratio = "idf_log_count_ratio" if classes <= (50 if facts.several else 10) else "idf"
    dim = given.get("model.dim", AUTO)
    if is_auto(dim):
        dim = _dim(facts, given)
    of_scores = is_of_scores(dim)
    # Small corpora need many steps, fewer where these are long.
    batch_size = 128 if documents >= 50_000 else 32 if is_small else 64
    if of_scores:
        # Its rows are multiplied by nothing that grows as they learn.
        rate = 1.0
    if of_scores and not facts.several:
        batch_size = max(batch_size, 64)
        rate = 1.5 if batch_size > 64 else 1.0
    if continued:
        # Longer steps learn the new rows little better, and forget more of the old ones.
        rate = round(rate * CONTINUED, 4)
    # Large corpora have enough words without their parts, which would take several times as long.
    has_parts = words < 1e6 and words * epochs < 5e6
    # What is spread over all classes would go to the rare ones in the main.
    is_balanced = given.get("trainer.class_weights") or given.get("trainer.logit_adjustment")
    return {
        # Pairs of words tell what single ones do not ("not good"). Where a word is a character, a
        # real word is up to four of them.
        "tokenizer.ngrams": 4 if unspaced else 2,
        # What a large corpus has once says little, and is most of its n-grams.
        "tokenizer.ngram_min_freq": 2 if unspaced or words > 1e7 else 1,
        # Parts of words stand for words that are rare or new.
        "tokenizer.char_ngrams": (
            CHAR_NGRAMS if has_parts or given.get("tokenizer.char_buckets") else None
        ),
        "tokenizer.counts": "log",
        # How much more often one class has a word than the rest says more than how rare it is, as
        # long as "the rest" is not many different classes.
        "tokenizer.token_weights": (
            None
            if given.get("tokenizer.counts", AUTO) is None
            else by_ratio
            if facts.several
            else "idf_sqrt_log_count_ratio"
            if classes <= 4
            else "idf"
        ),
        # Most character n-grams are part of words of all kinds: it takes more classes until their
        # ratios say less.
        "tokenizer.char_token_weights": by_ratio,
        "model.dim": dim,
        # Smoothed labels do what dropout would.
        "model.dropout": 0.0,
        "optimizer.lr": rate,
        "trainer.epochs": epochs,
        # That a text lacks most of several labels is learned soon, and is not worth more and more
        # certainty. Probabilities say by themselves how certain labels are.
        "trainer.label_smoothing": (
            0.0 if is_balanced or facts.soft else 0.02 if facts.several else 0.1
        ),
        # Some of very many classes tell as much of a text as all of them.
        "trainer.sampled_classes": (
            2_000
            if has_very_many and not of_scores and given.get("trainer.ordinal") is None
            else None
        ),
        "trainer.monitor": "lrap" if facts.several else "accuracy",
        "trainer.batch_size": batch_size,
    }


def _dim(facts: CorpusFacts, given: Mapping[str, Any]) -> int | str:
    """Return ``model.dim`` for a corpus."""
    classes = facts.classes
    if given.get("model.vectors") is not None:
        return CLASSES
    sampled = given.get("trainer.sampled_classes", AUTO)
    # Steps that compute the scores of some classes only take vectors.
    has_all_scores = not isinstance(sampled, int) or sampled >= classes
    # The rate of class scores suits bags of one norm.
    may_hold_scores = has_all_scores and given.get("model.mode", "sqrtn") == "sqrtn"
    by_classes = 16 if classes <= FEW_CLASSES else 32
    if not facts.several:
        # Classes of few documents learn from each other what their vectors have in common.
        by_itself = classes <= FEW_CLASSES or facts.documents / classes >= ENOUGH_DOCUMENTS
        return CLASSES if may_hold_scores and by_itself and classes <= by_classes else by_classes
    if may_hold_scores and facts.documents * facts.mean_words * classes < LARGEST_TABLE:
        # Labels that need not exclude each other need room: a feature says of each by itself.
        return CLASSES
    return min(max(by_classes, 1 << (2 * classes - 1).bit_length()), 256)


def measure(
    texts: Sequence[pa.Array], num_classes: int, several: bool = False, soft: bool = False
) -> CorpusFacts:
    """Return the facts of a train split.

    Args:
        texts: Arrow strings, ``[num_texts]`` in all; null counts as an empty text.
        num_classes: classes to tell apart.
        several: whether a text may have several of them.
        soft: whether labels are probabilities of them.
    """
    count = sum(map(len, texts))
    step = max(1, count // COUNTED_TEXTS)
    words, num_unspaced, num_characters, first = [], 0, 0, 0
    for chunk in texts:
        rows = np.arange(first, len(chunk), step)
        first = (first - len(chunk)) % step
        some = chunk.take(integers(rows))
        unspaced = as_numpy(pc.count_substring_regex(some, _UNSPACED), null=0)
        words.append(as_numpy(pc.count_substring_regex(some, r"\S+"), null=0) + unspaced)
        num_unspaced += int(unspaced.sum())
        num_characters += pc.sum(pc.utf8_length(some)).as_py() or 0
    lengths = np.concatenate(words)
    return CorpusFacts(
        documents=count,
        classes=num_classes,
        mean_words=float(lengths.mean()),
        unspaced=num_unspaced / max(num_characters, 1),
        several=several,
        soft=soft,
    )


def resolve(settings: _Settings, facts: CorpusFacts) -> _Settings:
    """Return settings with values in place of ``auto``.

    Args:
        settings: a dataclass of groups of options, such as a :class:`~textcls.config.Config`.
        facts: of the corpus.
    """
    groups = {
        name: group for name, group in _fields(settings).items() if dataclasses.is_dataclass(group)
    }
    given = {
        option: value for name, group in groups.items() for option, value in _options(name, group)
    }
    given["init_from"] = getattr(settings, "init_from", None)
    values = {name: resolve_group(name, group, facts, given) for name, group in groups.items()}
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]


def resolve_group(
    name: str, group: _Settings, facts: CorpusFacts, others: Mapping[str, Any] = NOTHING
) -> _Settings:
    """Return a group of options with values in place of ``auto``.

    Args:
        name: of the group: ``tokenizer``, ``model``, …
        group: a dataclass.
        facts: of the corpus.
        others: options of other groups. None of the tokenizer's depends on them.
    """
    given = dict(_options(name, group))
    wanted = choose(facts, {**others, **given})
    changes = {
        option.removeprefix(f"{name}."): wanted[option]
        for option, value in given.items()
        if is_auto(value) and option in wanted
    }
    return dataclasses.replace(group, **changes) if changes else group  # type: ignore[type-var]


def _fields(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def _options(name: str, group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the options of a group by their names on the command line."""
    for key, value in _fields(group).items():
        yield f"{name}.{key}", value


def chosen(given: Config, resolved: Config) -> dict[str, Any]:
    """Return what stands in the place of ``auto``, by its name on the command line."""
    values = flatten(resolved.to_dict())
    return {
        option: values[option]
        for option, value in flatten(given.to_dict()).items()
        if is_auto(value) and not is_auto(values[option])
    }


def in_words(values: Mapping[str, Any], facts: CorpusFacts) -> str:
    """Return what was chosen, and for what corpus, as a line of the log."""
    words = [f"{option}={word_of(value)}" for option, value in values.items()]
    return (
        f"chosen for {facts.documents:,} documents of {facts.mean_words:.0f} words and "
        f"{facts.classes} classes: {' '.join(words)}"
    )


def word_of(value: Any) -> str:
    """Return the value of an option in a word, about as the command line has it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else str(value)
