"""Facts about a corpus, counted while it is prepared: rows, duplicates, lengths, unknown tokens.

Texts are compared by a 64-bit hash of their bytes, so no text is held twice; among ten million
different texts, two share a hash with a probability of three in a million.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from textcls.arrow import Int64, as_numpy, integers
from textcls.corpus.splits import RowLabels, bytes_of
from textcls.data.encoder import TextEncoder
from textcls.data.features import Encoded
from textcls.data.ngrams import num_ngrams_of
from textcls.data.tokens import Tokens

Bools = npt.NDArray[np.bool_]
UInt64 = npt.NDArray[np.uint64]

# Texts are hashed one by one, so many of them at a time.
_HASHED_ROWS = 1 << 16
# How many of the rows that are in another split are listed.
LISTED_ROWS = 5
# A character that could not be decoded.
_UNDECODED = "\ufffd"
# "Ã" and a character of U+0080 to U+00BF: two bytes of UTF-8 that were read as latin-1 or cp1252,
# in lower case where the tokenizer lowers. Not before « and », which may follow a Portuguese word.
_MISREAD_FIRST = "Ãã"
_MISREAD = f"[{_MISREAD_FIRST}][\u0080-\u00aa\u00ac-\u00ba\u00bc-\u00bf]"


def hash_texts(chunks: Sequence[pa.Array]) -> UInt64:
    """Return a hash of each text, uint64 ``[num_texts]``; null hashes as an empty text."""
    parts = [np.zeros(0, np.uint64)]
    for chunk in chunks:
        for start in range(0, len(chunk), _HASHED_ROWS):
            data, places = bytes_of(chunk.slice(start, _HASHED_ROWS))
            ends = places.tolist()
            texts = (data[a:b] for a, b in itertools.pairwise(ends))
            hashes = map(xxhash.xxh3_64_intdigest, texts)
            parts.append(np.fromiter(hashes, np.uint64, len(ends) - 1))
    return np.concatenate(parts)


def are_empty(chunks: Sequence[pa.Array]) -> Bools:
    """Say which texts are null or hold nothing but white space: bool ``[num_texts]``."""
    parts = [np.zeros(0, np.bool_)]
    for chunk in chunks:
        is_nothing = as_numpy(pc.binary_length(chunk), null=0) == 0
        parts.append(is_nothing | as_numpy(pc.utf8_is_space(chunk), null=True))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Texts:
    """What is counted and compared of texts.

    Attributes:
        hashes: uint64 ``[num_texts]``.
        are_empty: bool ``[num_texts]``.
        labels: of as many rows.
        label_sets: int64 ``[num_texts]``, the same for texts of the same labels.
    """

    hashes: UInt64
    are_empty: Bools
    labels: RowLabels
    label_sets: Int64

    @classmethod
    def of(cls, chunks: Sequence[pa.Array], labels: RowLabels) -> Texts:
        """Return it of Arrow strings, ``[num_texts]`` in all, and their labels."""
        sets = labels.hard().ids
        if labels.several:
            _, sets = np.unique(labels.sets(), return_inverse=True)
        return cls(hash_texts(chunks), are_empty(chunks), labels, sets)

    def slice(self, start: int, stop: int) -> Texts:
        """Return it of texts ``start`` to ``stop - 1``."""
        rows = slice(start, stop)
        return Texts(
            self.hashes[rows],
            self.are_empty[rows],
            self.labels.slice(start, stop),
            self.label_sets[rows],
        )


class FactCounter:
    """Counts while the splits of a corpus become bags, one split after another.

    Args:
        label_names: of class 0, 1, 2, …
    """

    def __init__(self, label_names: Sequence[str]) -> None:
        self.label_names = tuple(label_names)
        self._facts: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, _Compared] = {}

    def count_texts(self, split: str, texts: Texts) -> None:
        """Count rows, classes and empty texts of a split."""
        rows = np.flatnonzero(~texts.are_empty)
        self._texts[split] = _Compared(rows, texts.hashes[rows], texts.label_sets[rows])
        labels = texts.labels.hard()
        by_class = np.bincount(labels.ids, minlength=len(self.label_names)).tolist()
        self._facts[split] = {
            "rows": len(texts.labels),
            "by_class": dict(zip(self.label_names, by_class, strict=True)),
            "empty": len(texts.labels) - len(rows),
        }
        if labels.several:
            counts = texts.labels.counts
            self._facts[split] |= {
                "labels": len(texts.labels.ids),
                "without_label": int(np.count_nonzero(counts == 0)),
                "most_labels": int(counts.max(initial=0)),
            }

    def count_tokens(self, split: str, tokens: Tokens) -> None:
        """Count tokens, and characters in them that tell of a wrong encoding.

        Args:
            split: whose texts were counted before.
            tokens: words, without n-grams.
        """
        lengths = np.diff(tokens.offsets)
        data, ends = bytes_of(tokens.dictionary)
        text = data[ends[0] : ends[-1]].tobytes()
        self._facts[split] |= {
            "tokens": len(tokens.codes),
            "lengths": lengths_of(lengths),
            "no_tokens": int(np.count_nonzero(lengths == 0)),
            "undecoded_tokens": _count(tokens, text, _UNDECODED, _UNDECODED),
            "misread_tokens": _count(tokens, text, _MISREAD, _MISREAD_FIRST),
        }

    def count_ids(self, split: str, encoder: TextEncoder, tokens: Tokens, encoded: Encoded) -> None:
        """Count word n-grams, unknown tokens, and rows of which nothing is known.

        Args:
            split: whose tokens were counted before.
            encoder: that made the bags.
            tokens: of the texts.
            encoded: the bags.
        """
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
        self._facts[split] |= {
            "ngrams": num_ngrams,
            "unknown_tokens": int(tokens.counts()[unknown].sum()),
            "all_unknown": num_with_tokens - int(np.count_nonzero(has_known)),
        }

    def splits(self) -> dict[str, dict[str, Any]]:
        """Return what was counted, by split, and compare the texts of all splits."""
        compared = _compare(self._texts)
        return {split: facts | compared[split] for split, facts in self._facts.items()}


@dataclass(frozen=True)
class _Compared:
    """The texts of a split that are not empty.

    Attributes:
        rows: int64 ``[n]``, their rows in the split.
        hashes: uint64 ``[n]``.
        labels: int64 ``[n]``, the same for the same labels.
    """

    rows: Int64
    hashes: UInt64
    labels: Int64


def _compare(splits: Mapping[str, _Compared]) -> dict[str, dict[str, Any]]:
    """Count rows whose text another row has, in the same split and in the splits before it.

    A row contradicts where its text has another label in another row of the split.
    """
    hashes = np.concatenate([texts.hashes for texts in splits.values()])
    hashes.sort()
    num_classes = 1 + max(int(texts.labels.max(initial=0)) for texts in splits.values())
    # Texts that stand once, mostly nearly all, need no comparison.
    repeated = pc.unique(_as_arrow(hashes[1:][hashes[1:] == hashes[:-1]]))
    facts: dict[str, dict[str, Any]] = {}
    # By split: how many labels each repeated text has there, and these pairs of text and label.
    before: dict[str, tuple[Int64, Int64]] = {}
    for split, texts in splits.items():
        numbers = pc.index_in(_as_arrow(texts.hashes), value_set=repeated)
        rows = np.flatnonzero(as_numpy(numbers.is_valid()))
        number = as_numpy(numbers.drop_null()).astype(np.int64)
        pair = number * num_classes + texts.labels[rows]
        pairs = np.unique(pair)
        num_labels = np.bincount(pairs // num_classes, minlength=len(repeated))
        facts[split] = {
            "duplicates": len(rows) - int(np.count_nonzero(num_labels)),
            "contradicting": int(np.count_nonzero(num_labels[number] > 1)),
        }
        for other, (labels_there, pairs_there) in before.items():
            found = labels_there[number] > 0
            facts[split][f"in_{other}"] = {
                "rows": int(np.count_nonzero(found)),
                "other_label": int(np.count_nonzero(found & ~np.isin(pair, pairs_there))),
                "first": (texts.rows[rows[found]][:LISTED_ROWS] + 1).tolist(),
            }
        before[split] = num_labels, pairs
    return facts


def _as_arrow(hashes: UInt64) -> pa.Int64Array:
    return integers(hashes.view(np.int64))


def lengths_of(lengths: Int64) -> Mapping[str, int]:
    """Return the median, the 95th percentile and the maximum of ``lengths``, int64 ``[n]``, n > 0.

    A percentile is the smallest length that at least so many per cent of the rows do not exceed.
    """
    middle, high = (-(-len(lengths) * percent // 100) - 1 for percent in (50, 95))
    ordered = np.partition(lengths, [middle, high])
    return {
        "median": int(ordered[middle]),
        "p95": int(ordered[high]),
        "longest": int(lengths.max()),
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
