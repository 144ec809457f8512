"""Facts about a corpus, counted while it is prepared: rows, classes, lengths, unknown tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from textcls.arrow import Int64, as_numpy, integers
from textcls.corpus.splits import bytes_of
from textcls.data.counting import runs_of
from textcls.data.duplicates import Texts
from textcls.data.encoder import TextEncoder
from textcls.data.features import Encoded
from textcls.data.ngrams import num_ngrams_of
from textcls.data.tokens import Tokens

# A character that could not be decoded.
_UNDECODED = "\ufffd"
# "Ã" and a character of U+0080 to U+00BF: two bytes of UTF-8 that were read as latin-1 or cp1252,
# in lower case where the tokenizer lowers. Not before « and », which may follow a Portuguese word.
_MISREAD_FIRST = "Ãã"
_MISREAD = f"[{_MISREAD_FIRST}][\u0080-\u00aa\u00ac-\u00ba\u00bc-\u00bf]"


@dataclass
class PieceFacts:
    """What is counted of some rows of a split.

    Attributes:
        counts: what adds up: ``rows``, ``empty``, ``tokens``, ``no_tokens``, ``undecoded_tokens``,
            ``misread_tokens``, ``ngrams``, ``unknown_tokens``, ``all_unknown``; of rows of several
            labels ``labels`` and ``without_label``.
        by_class: rows of each class, int64 ``[num_classes]``.
        lengths: different numbers of tokens that a row has, int64 ``[n]``, ascending.
        times: how many rows have each, int64 ``[n]``.
        most_labels: that a row has; None: rows have one label each.
    """

    counts: Counter[str]
    by_class: Int64
    lengths: Int64
    times: Int64
    most_labels: int | None

    @classmethod
    def of(
        cls, texts: Texts, tokens: Tokens, encoder: TextEncoder, encoded: Encoded, num_classes: int
    ) -> PieceFacts:
        """Count the rows of some texts.

        Args:
            texts: what is known of them.
            tokens: words, without n-grams.
            encoder: that made the bags.
            encoded: the bags.
            num_classes: in all.
        """
        counts = Counter({"rows": len(texts.labels), "empty": int(texts.are_empty.sum())})
        labels = texts.labels.hard()
        most_labels = None
        if labels.several:
            of_rows = labels.counts
            counts["labels"] = len(texts.labels.ids)
            counts["without_label"] = int(np.count_nonzero(of_rows == 0))
            most_labels = int(of_rows.max(initial=0))
        counts.update(_counts_of_tokens(tokens))
        counts.update(_counts_of_ids(encoder, tokens, encoded))
        lengths, times = runs_of(np.diff(tokens.offsets))
        by_class = np.bincount(labels.ids, minlength=num_classes)
        return cls(counts, by_class, lengths, times, most_labels)

    def __add__(self, other: PieceFacts) -> PieceFacts:
        """Return those of the rows of both."""
        lengths, place = np.unique(np.append(self.lengths, other.lengths), return_inverse=True)
        times = np.bincount(place, np.append(self.times, other.times)).astype(np.int64)
        most = [m for m in (self.most_labels, other.most_labels) if m is not None]
        counts = self.counts.copy()
        counts.update(other.counts)
        by_class = self.by_class + other.by_class
        return PieceFacts(counts, by_class, lengths, times, max(most) if most else None)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads, as JSON has it."""
        arrays = {name: getattr(self, name).tolist() for name in ("by_class", "lengths", "times")}
        return arrays | {"counts": dict(self.counts), "most_labels": self.most_labels}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PieceFacts:
        """Return what :meth:`to_json` gave."""
        by_class, lengths, times = (
            np.array(found[name], np.int64) for name in ("by_class", "lengths", "times")
        )
        return cls(Counter(found["counts"]), by_class, lengths, times, found["most_labels"])

    def ready(self, label_names: Sequence[str]) -> dict[str, Any]:
        """Return them ready for JSON."""
        by_class = dict(zip(label_names, self.by_class.tolist(), strict=True))
        facts = {
            **self.counts,
            "by_class": by_class,
            "lengths": lengths_of(self.lengths, self.times),
        }
        return facts if self.most_labels is None else facts | {"most_labels": self.most_labels}


def _counts_of_tokens(tokens: Tokens) -> dict[str, int]:
    """Count tokens, and characters in them that tell of a wrong encoding."""
    data, ends = bytes_of(tokens.dictionary)
    text = data[ends[0] : ends[-1]].tobytes()
    return {
        "tokens": len(tokens.codes),
        "no_tokens": int(np.count_nonzero(np.diff(tokens.offsets) == 0)),
        "undecoded_tokens": _count(tokens, text, _UNDECODED, _UNDECODED),
        "misread_tokens": _count(tokens, text, _MISREAD, _MISREAD_FIRST),
    }


def _counts_of_ids(encoder: TextEncoder, tokens: Tokens, encoded: Encoded) -> dict[str, int]:
    """Count word n-grams, unknown tokens, and rows of which nothing is known."""
    unknown = encoder.vocabulary.ids(tokens.dictionary) == encoder.vocabulary.unknown_id
    indices, offsets = encoded.indices, encoded.offsets
    num_ngrams = len(indices) - len(tokens.codes)
    if encoder.of_fasttext is not None:
        num_ngrams = num_ngrams_of(tokens, 2, encoder.config.ngrams)
    elif encoded.weights is not None:  # entries are no occurrences
        num_ngrams = encoder.count_ngrams(indices)
    # Of a word that is not in the vocabulary, a bag has <unk>, its parts or nothing.
    known = encoder.are_known(indices)
    starts = offsets[:-1][np.diff(offsets) > 0]
    has_known = np.logical_or.reduceat(known, starts) if len(starts) else known
    num_with_tokens = int(np.count_nonzero(np.diff(tokens.offsets)))
    return {
        "ngrams": num_ngrams,
        "unknown_tokens": int(tokens.counts()[unknown].sum()),
        "all_unknown": num_with_tokens - int(np.count_nonzero(has_known)),
    }


def lengths_of(lengths: Int64, times: Int64) -> Mapping[str, int]:
    """Return the median, the 95th percentile and the maximum of the lengths of rows.

    A percentile is the smallest length that at least so many per cent of the rows do not exceed.

    Args:
        lengths: different ones, int64 ``[n]``, ascending, n > 0.
        times: how many rows have each, int64 ``[n]``, at least 1.
    """
    ends = np.cumsum(times)
    middle, high = (-(-int(ends[-1]) * percent // 100) for percent in (50, 95))
    return {
        "median": int(lengths[np.searchsorted(ends, middle)]),
        "p95": int(lengths[np.searchsorted(ends, high)]),
        "longest": int(lengths[-1]),
    }


def moved(facts: dict[str, Any], old: Sequence[str], new: Sequence[str]) -> dict[str, Any]:
    """Return the facts of files that were moved since: with the paths that they have now.

    Args:
        facts: of a corpus.
        old: the paths in them.
        new: the paths that they have now, in the same order.
    """
    to = {a: b for a, b in zip(old, new, strict=True) if a != b}
    if not to:
        return facts
    longest_first = sorted(to, key=len, reverse=True)
    # A path within a longer one, or a name that goes on, is another file's. A plain name, such as
    # "train", may be a word as well: it is looked for at the beginning only.
    alone = [
        re.escape(path) if re.search(r"[./\\]", path) else f"^{re.escape(path)}"
        for path in longest_first
    ]
    some = re.compile(rf"(?<![\w./\\-])(?:{'|'.join(alone)})(?![\w.-])")

    def replaced(part: Any) -> Any:
        if isinstance(part, str):
            return some.sub(lambda found: to[found[0]], part)
        if isinstance(part, dict):  # keys are labels, and names of ours
            return {key: replaced(value) for key, value in part.items()}
        return [replaced(value) for value in part] if isinstance(part, list) else part

    return {**facts, "files": replaced(facts["files"]), "notes": replaced(facts["notes"])}


def _count(tokens: Tokens, text: bytes, pattern: str, needs: str) -> int:
    """Return how many tokens match a pattern.

    Args:
        tokens: where to look.
        text: the bytes of their dictionary.
        pattern: a regular expression.
        needs: letters; what matches has one of them. Mostly no token has, and then letters are
            found much faster than a pattern.
    """
    matches = np.zeros(len(tokens.dictionary), np.bool_)
    for letter in needs:
        if letter.encode() in text:
            found = pc.match_substring(tokens.dictionary, letter)
            matches |= as_numpy(found)
    candidates = np.flatnonzero(matches)
    names = tokens.dictionary.take(integers(candidates))
    wrong = candidates[as_numpy(pc.match_substring_regex(names, pattern))]
    return int(tokens.counts()[wrong].sum()) if len(wrong) else 0
