"""Settings that fit the corpus: what the word ``auto`` stands for in a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import as_numpy, integers
from textcls.config import Config, flatten, is_auto
from textcls.data.scripts import SCRIPTS

# Part of the key of bags made with ``auto``: raise it whenever :func:`choose` changes.
VERSION = 1
# Adagrad's learning rate, which suits short and long texts, few and many documents.
LEARNING_RATE = 0.2
# Words are counted in so many texts, evenly spaced.
COUNTED_TEXTS = 2_000
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
        median_words: by document.
        unspaced: share of the characters that are of scripts without spaces between words.
    """

    documents: int
    classes: int
    mean_words: float
    median_words: float
    unspaced: float


def choose(facts: CorpusFacts) -> dict[str, Any]:
    """Return a value for each setting that may be ``auto``, by its name on the command line."""
    is_small = facts.documents < 20_000
    return {
        # Pairs of words tell what single ones do not ("not good"), in topics as in opinions.
        "tokenizer.ngrams": 2,
        # Parts of words stand for words that few documents have: many documents have their own.
        "tokenizer.char_ngrams": (2, 5) if is_small else None,
        "model.dim": 32,
        "model.dropout": 0.3,
        "optimizer.lr": LEARNING_RATE,
        "trainer.epochs": 6,
        "trainer.batch_size": 128,
    }


def measure(texts: Sequence[pa.Array], num_classes: int) -> CorpusFacts:
    """Return the facts of a train split.

    Args:
        texts: Arrow strings, ``[num_texts]`` in all; null counts as an empty text.
        num_classes: classes to tell apart.
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
        median_words=float(np.median(lengths)),
        unspaced=num_unspaced / max(num_characters, 1),
    )


def resolve(settings: _Settings, facts: CorpusFacts) -> _Settings:
    """Return settings with values in place of ``auto``.

    Args:
        settings: a dataclass of groups of options, such as a :class:`~textcls.config.Config`.
        facts: of the corpus.
    """
    parts = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    groups = {
        name: resolve_group(name, part, facts)
        for name, part in parts.items()
        if dataclasses.is_dataclass(part)
    }
    return dataclasses.replace(settings, **groups)  # type: ignore[type-var]


def resolve_group(name: str, group: _Settings, facts: CorpusFacts) -> _Settings:
    """Return a group of options with values in place of ``auto``.

    Args:
        name: of the group: ``tokenizer``, ``model``, …
        group: a dataclass.
        facts: of the corpus.
    """
    changes = {}
    for option, value in choose(facts).items():
        of, _, key = option.partition(".")
        if of == name and is_auto(getattr(group, key, None)):
            changes[key] = value
    return dataclasses.replace(group, **changes) if changes else group  # type: ignore[type-var]


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
    words = [f"{option}={_word(value)}" for option, value in values.items()]
    return (
        f"chosen for {facts.documents:,} documents of {facts.median_words:.0f} words and "
        f"{facts.classes} classes: {' '.join(words)}"
    )


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else str(value)
