"""Where the words of a text are in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from textcls.data.tokenizer import OWN, Tokenizer

Span = tuple[int, int]

# How many characters past where a token should stand it is looked for: far enough for what a
# tokenizer drops between two tokens, too near for the same word of another sentence. Each token
# that was not found before it widens the look by as many.
LOOK_AHEAD = 32
# What mark tokenizers put before (or after) the letters of a piece.
_PIECE_MARKS = ("##", "Ġ", "▁")


def align(text: str, words: Sequence[str], tokenizer: Tokenizer) -> tuple[Span | None, ...]:
    """Find each word of a text in it, one after the other; None for one that is not found.

    For ``basic_english`` and ``basic`` it is exact: their words are the text's own letters,
    lower-cased, less the quotes. Other tokenizers may rewrite what they split (Unicode forms,
    bytes): their words are looked for a little way ahead, whatever their case.
    """
    basic = tokenizer.config.name in OWN
    folded, places = _fold_basic_english(text) if basic else _fold(text)
    spans: list[Span | None] = []
    at = missed = 0
    for word in words:
        reach = LOOK_AHEAD * (1 + missed)
        while at < len(folded) and folded[at].isspace():
            at += 1
        start = length = 0
        for letters in [word] if basic else _spellings(word):
            start, length = folded.find(letters, at, at + len(letters) + reach), len(letters)
            if start >= 0:
                break
        if start < 0 or not length:
            spans.append(None)
            missed += 1
            continue
        at, missed = start + length, 0
        spans.append((places[start], places[at - 1] + 1))
    return tuple(spans)


def _fold(text: str) -> tuple[str, list[int]]:
    """Return the text in one spelling for all its cases and forms, and where each letter stood."""
    folded = [unicodedata.normalize("NFKC", c).lower().replace("ς", "σ") for c in text]
    return "".join(folded), [i for i, letters in enumerate(folded) for _ in letters]


def _fold_basic_english(text: str) -> tuple[str, list[int]]:
    """Return the text as ``basic_english`` splits it, and where each letter stood."""
    lowered = text.lower()
    # The final sigma depends on its neighbours, but no length does: İ is two letters anywhere.
    places = [i for i, c in enumerate(text) for _ in c.lower()]
    kept = [(c, i) for c, i in zip(lowered, places, strict=True) if c != '"']
    folded = "".join(c for c, _ in kept).replace("<br />", " " * len("<br />"))
    return folded.replace(";", " ").replace(":", " "), [i for _, i in kept]


def _spellings(word: str) -> list[str]:
    bare = [word.removeprefix(mark) for mark in _PIECE_MARKS if word.startswith(mark)]
    return [_fold(spelling)[0] for spelling in (word, *bare) if spelling]


def joined(spans: Sequence[Span | None]) -> Span | None:
    """Return from where the first of the spans begins to where the last ends."""
    known = [span for span in spans if span is not None]
    return (known[0][0], known[-1][1]) if len(known) == len(spans) and known else None
