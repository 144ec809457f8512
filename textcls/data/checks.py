"""What the facts of a corpus say against it: one warning for each of the usual mistakes."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from textcls.config import TokenizerConfig
from textcls.errors import visible
from textcls.naming import option

# Where a tokenizer suits a language, 0 to 18 % of the tokens of unseen texts are unknown and at
# most 6 % of the texts have no known token; where it does not (words of Chinese, Japanese or Thai
# by white space), 43 to 86 % and 42 to 90 %. (Measured on 16 corpora in 6 languages.)
HIGH_UNKNOWN = 0.3
HIGH_ALL_UNKNOWN = 0.2
# What finds tokens by white space and punctuation alone.
_BY_SPACES = ("basic_english", "split", "toktok", "moses")
# A label of so many characters is more likely a text.
LONG_LABEL = 50
# Accuracy says little where one class has so large a share of the test split.
MAJORITY = 0.95
# An accuracy that is measured on fewer rows may be off by ten points.
FEW_TEST_ROWS = 100
# Shares of a split that are more than an accident.
MANY_CONTRADICTING = 0.02
MANY_BROKEN = 0.001
_LISTED = 3
# What stands between the labels of a row in many files.
_DELIMITERS = (",", ";", "|")


def find_mistakes(facts: dict[str, Any], config: TokenizerConfig) -> list[str]:
    """Return a sentence for each mistake that the facts show, the gravest first.

    Args:
        facts: of a corpus, as :class:`textcls.data.prepare.Prepared` has them.
        config: of the tokenizer that they were counted with.
    """
    return [
        *_leaks(facts),
        *_unknown(facts, config),
        *_wrong_columns(facts),
        *(_label_counts(facts) if are_several(facts) else _joined_labels(facts)),
        *_encoding(facts),
        *_classes(facts),
        *_scores(facts),
    ]


def are_several(facts: dict[str, Any]) -> bool:
    """Say whether rows may have several labels."""
    return "labels" in facts["splits"]["train"]


def _leaks(facts: dict[str, Any]) -> Iterator[str]:
    test = facts["splits"]["test"]
    found = test["in_train"]
    if not found["rows"]:
        return
    which = "the same texts as rows of train"
    if facts["files"].get("test"):  # the numbers of rows that were cut mean nothing to the user
        which += f" (rows {_listed(found['first'], found['rows'])})"
    differ = found["other_label"]
    yield (
        f"{_share(found['rows'], test['rows'])} rows of test have {which}"
        + (f", {differ:,} of them {_otherwise(facts)}" if differ else "")
        + ": the test score says less about new texts: remove duplicates from the data"
    )


def _unknown(facts: dict[str, Any], config: TokenizerConfig) -> Iterator[str]:
    train = facts["splits"]["train"]
    for split in ("test", "validation"):
        own = facts["splits"][split]
        unknown, lost = own["unknown_tokens"] / own["tokens"], own["all_unknown"] / own["rows"]
        if unknown < HIGH_UNKNOWN and lost < HIGH_ALL_UNKNOWN:
            continue
        if train["unknown_tokens"] >= HIGH_UNKNOWN * train["tokens"]:
            mend = "lower tokenizer.min_freq or raise tokenizer.max_size"
        elif config.name in _BY_SPACES:
            mend = (
                "for a language without spaces between words (Chinese, Japanese, Thai) use "
                "tokenizer=basic tokenizer.ngrams=3"
            )
        else:
            mend = f"are the texts of {split} of the kind and language of train?"
        yield (
            f"{split}: {unknown:.1%} of the tokens are unknown (train has none such), and "
            f"{lost:.1%} of the rows have no known token: {mend}"
        )
        return  # of the other split it would be the same


def _wrong_columns(facts: dict[str, Any]) -> Iterator[str]:
    splits, columns = facts["splits"], facts["columns"]
    train, label = splits["train"], visible(", ".join(columns["label"]))
    text = ", ".join(map(visible, columns["text"]))
    for split, own in splits.items():
        if own["no_tokens"] * 2 > own["rows"]:
            yield (
                f"{split}: {_share(own['no_tokens'], own['rows'])} texts are empty or have no "
                f"token: is the text in column '{text}'? ({option('text', 'COLUMN')})"
            )
    if train["duplicates"] * 2 > train["rows"]:
        yield (
            f"train: {_share(train['duplicates'], train['rows'])} texts repeat an earlier one: "
            f"is the text in column '{text}'? ({option('text', 'COLUMN')})"
        )
    names = list(train["by_class"])
    lengths = sorted(map(len, names))
    if lengths[len(lengths) // 2] > LONG_LABEL:
        yield (
            f"half of the labels have {lengths[len(lengths) // 2]} characters or more, like "
            f"'{_short(names[0])}': is the label in column '{label}'? ({option('label', 'COLUMN')})"
        )
    elif are_several(facts) and len(names) * 2 > train["labels"]:
        yield (
            f"column '{label}' has {len(names):,} different labels, and the rows of train "
            f"{train['labels']:,} in all: does it hold labels? ({option('label', 'COLUMN')})"
        )
    elif not are_several(facts) and len(names) * 2 > train["rows"]:
        yield (
            f"column '{label}' has {len(names):,} different labels, and train {train['rows']:,} "
            f"rows: is it the label? ({option('label', 'COLUMN')})"
        )


def _label_counts(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what is odd about how many labels rows have."""
    label = visible(", ".join(facts["columns"]["label"]))
    for split, own in facts["splits"].items():
        if own["without_label"] * 2 > own["rows"]:
            yield (
                f"{split}: {_share(own['without_label'], own['rows'])} rows have no label: is it "
                f"in column '{label}'? ({option('label', 'COLUMN')})"
            )
            break
    train = facts["splits"]["train"]
    if train["most_labels"] <= 1:
        yield (
            "no row of train has more than one label: are they parted by "
            f"{option('label_delimiter', 'TEXT')}, or does each row have one "
            "(data.task=single)?"
        )
    for name, count in train["by_class"].items():
        if count >= MAJORITY * train["rows"]:
            yield (
                f"{_share(count, train['rows'])} rows of train have the label '{_short(name)}': "
                "there is nothing to tell it from, and it flatters micro F1: leave it out"
            )


def _joined_labels(facts: dict[str, Any]) -> Iterator[str]:
    """Yield a delimiter at which labels fall into fewer labels: each row seems to have several."""
    names = list(facts["splits"]["train"]["by_class"])
    for delimiter in _DELIMITERS:
        joined = [name for name in names if delimiter in name]
        parts = {part.strip() for name in names for part in name.split(delimiter)}
        if joined and len(parts) < len(names):
            yield (
                f"{_share(len(joined), len(names))} labels look like several in one "
                f"({_quoted(joined)}): to learn each by itself, "
                f"{option('label_delimiter', delimiter)}"
            )
            return


def _encoding(facts: dict[str, Any]) -> Iterator[str]:
    for split, own in facts["splits"].items():
        if own["undecoded_tokens"] > MANY_BROKEN * own["tokens"]:
            yield (
                f"{split}: {own['undecoded_tokens']:,} tokens hold U+FFFD, which stands for bytes "
                "that could not be decoded: the file was damaged before, or is in another encoding"
            )
        if own["misread_tokens"] > MANY_BROKEN * own["tokens"]:
            yield (
                f"{split}: {own['misread_tokens']:,} tokens look like 'schÃ¶n' for 'schön', UTF-8 "
                f"that was read in another encoding: is {option('encoding')} right?"
            )


def _classes(facts: dict[str, Any]) -> Iterator[str]:
    splits = facts["splits"]
    train = splits["train"]["by_class"]
    classes = "labels" if are_several(facts) else "classes"
    for alike in _alike(train):
        yield f"the labels {_quoted(alike)} look alike, and are different {classes}: make them one"
    never = "only known from the model before" if facts.get("from_model") else "never learned"
    single = [name for name, count in train.items() if count == 1]
    if single:
        yield (
            f"train has a single row of {_share(len(single), len(train))} {classes} "
            f"({_quoted(single)}): too few to learn from"
        )
    for split, own in splits.items():
        absent = [name for name, count in own["by_class"].items() if not count]
        if absent:
            yield (
                f"{split} has no row of {_share(len(absent), len(train))} {classes} "
                f"({_quoted(absent)}): {never if split == 'train' else 'not scored'}"
            )
    if splits["train"]["contradicting"] > MANY_CONTRADICTING * splits["train"]["rows"]:
        yield (
            f"{_share(splits['train']['contradicting'], splits['train']['rows'])} rows of train "
            f"have a text that other rows have {_otherwise(facts)}: each text gets "
            + ("the same labels every time" if are_several(facts) else "one label only")
        )


def _scores(facts: dict[str, Any]) -> Iterator[str]:
    test = facts["splits"]["test"]
    name, count = max(test["by_class"].items(), key=lambda item: item[1])
    if not are_several(facts) and count >= MAJORITY * test["rows"]:
        yield (
            f"{_share(count, test['rows'])} rows of test are '{_short(name)}': always to say so "
            "has that accuracy: go by macro F1 (trainer.monitor=macro_f1)"
        )
    if test["rows"] < FEW_TEST_ROWS:
        margin = 1.96 * math.sqrt(0.25 / test["rows"])
        yield (
            f"test has {test['rows']} rows: an accuracy measured on so few may be off by "
            f"{100 * margin:.0f} points"
        )


def _otherwise(facts: dict[str, Any]) -> str:
    return "with other labels" if are_several(facts) else "under another label"


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Group names that differ by case, width or spaces only."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(plain, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _share(count: int, total: int) -> str:
    return f"{count:,} of {total:,}"


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{_short(name)}'" for name in names[:_LISTED])
    return shown + (", …" if len(names) > _LISTED else "")


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= 40 else text[:39] + "…"


def _listed(numbers: Sequence[int], total: int) -> str:
    return ", ".join(f"{number:,}" for number in numbers) + (", …" if total > len(numbers) else "")
