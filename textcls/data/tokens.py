"""Tokens of many texts as flat arrays, and the basic_english tokenizer that makes them fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

# Small enough that a block's bytes stay in the processor's cache, large enough that the fixed
# cost of some forty NumPy and Arrow calls does not show.
BLOCK_ROWS = 1_000
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Tokens:
    """The tokens of many texts, each distinct token stored once.

    Attributes:
        codes: int32 ``[num_tokens]``, positions in ``dictionary``.
        dictionary: Arrow string array of the distinct tokens (some may be unused).
        offsets: int64 ``[num_texts + 1]``; text ``i`` has ``codes[offsets[i]:offsets[i + 1]]``.
    """

    codes: Int32
    dictionary: pa.Array
    offsets: Int64

    def truncate(self, max_tokens: int | None) -> Tokens:
        """Keep the first ``max_tokens`` tokens of each text (all where it is None)."""
        lengths = np.diff(self.offsets)
        if max_tokens is None or not len(lengths) or lengths.max() <= max_tokens:
            return self
        position = np.arange(len(self.codes)) - np.repeat(self.offsets[:-1], lengths)
        return Tokens(
            self.codes[position < max_tokens],
            self.dictionary,
            offsets_of(np.minimum(lengths, max_tokens)),
        )

    def to_lists(self) -> list[list[str]]:
        """Return the tokens of each text as Python lists (to look at, and in tests)."""
        words = np.asarray(self.dictionary.to_pylist(), dtype=object)
        return [
            words[self.codes[start:stop]].tolist()
            for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]


def offsets_of(lengths: npt.NDArray[np.integer]) -> Int64:
    """Return int64 ``[n + 1]`` offsets for ``[n]`` lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def blocks(texts: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Cut texts into arrays of at most ``BLOCK_ROWS`` rows and ``BLOCK_BYTES`` (or one row)."""
    for chunk in texts.chunks:
        ends = np.cumsum(pc.fill_null(pc.binary_length(chunk), 0).to_numpy(zero_copy_only=False))
        start = 0
        while start < len(chunk):
            before = int(ends[start - 1]) if start else 0
            fits = int(np.searchsorted(ends, before + BLOCK_BYTES, side="right"))
            stop = min(max(fits, start + 1), start + BLOCK_ROWS)
            yield chunk.slice(start, stop - start).cast(pa.string())
            start = stop


def join_blocks(parts: list[tuple[pa.DictionaryArray, Int64]]) -> Tokens:
    """Join blocks of (tokens, lengths of the block's texts) over one common dictionary."""
    if not parts:
        return Tokens(np.zeros(0, np.int32), pa.array([], pa.string()), np.zeros(1, np.int64))
    arrays = pa.chunked_array([array for array, _ in parts]).unify_dictionaries().chunks
    codes = np.concatenate([array.indices.to_numpy() for array in arrays])
    lengths = np.concatenate([lengths for _, lengths in parts])
    return Tokens(codes, arrays[-1].dictionary, offsets_of(lengths))


# --- basic_english ---------------------------------------------------------------------------

_SPACE, _WORD, _LONE, _ROW_END = range(4)
# Each byte's class. Bytes of 0x80 and above belong to non-ASCII characters, which are all parts
# of words once the non-ASCII white space is gone.
_CLASS = np.full(256, _WORD, np.uint8)
_CLASS[[*b"\t\v\f\r\x1c\x1d\x1e\x1f ;:"]] = _SPACE
_CLASS[[*b"'.,()!?"]] = _LONE
_CLASS[ord("\n")] = _ROW_END
_CLASS_TABLE = _CLASS.tobytes()

_WIDE_SPACES = [
    space.encode()
    for space in (
        "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
        "\u2028\u2029\u202f\u205f\u3000"
    )
]


def basic_english(texts: pa.Array) -> tuple[pa.DictionaryArray, Int64]:
    r"""Split texts as torchtext's ``basic_english`` does, token for token, in flat arrays.

    torchtext lower-cases, sets ``'.,()!?`` apart, drops ``"``, turns ``<br />``, ``;`` and ``:``
    into spaces and splits on white space. Here a block of texts is one buffer of UTF-8 bytes,
    with ``\n`` between the rows. Each byte has a class (space, part of a word, a token by itself,
    end of row); a token starts at a lone byte, and at a word's byte that follows no word's byte.
    Deleting the other bytes leaves the tokens end to end: with their starts that *is* an Arrow
    string array.

    Args:
        texts: Arrow string array; null stands for an empty text.

    Returns:
        The tokens, dictionary-encoded, and int64 ``[len(texts)]`` tokens per text.
    """
    # A line break inside a text becomes a tab: white space as well, but no part of "<br />".
    rows = pc.replace_substring(pc.fill_null(texts, ""), pattern="\n", replacement="\t")
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), "\n")
    raw: bytes = joined[0].as_buffer().to_pybytes() + b"\n"
    if raw.isascii():
        raw = raw.lower()
    else:
        # Python's own lower(): Arrow's differs for some characters. A line break is neither cased
        # nor case-ignorable, so that it keeps even the final sigma of one row from the next.
        raw = raw.decode().lower().encode()
        for space in _WIDE_SPACES:
            raw = raw.replace(space, b"\t")
    # Dropping quotes first is torchtext's order: <br" /> is a line break to it.
    raw = raw.replace(b'"', b"").replace(b"<br />", b" ")

    data = np.frombuffer(raw, np.uint8)
    kind = np.frombuffer(raw.translate(_CLASS_TABLE), np.uint8)
    word = kind == _WORD
    lone = kind == _LONE
    starts_here = word.copy()
    starts_here[1:] &= ~word[:-1]
    starts_here |= lone
    kept = word | lone
    # Where in the kept bytes each token starts: its place less the bytes dropped before it.
    starts = np.flatnonzero(starts_here)
    dropped = np.cumsum(~kept, dtype=np.int32)
    token_offsets = np.append(starts - dropped[starts], np.count_nonzero(kept)).astype(np.int32)
    tokens = pa.StringArray.from_buffers(
        len(starts), pa.py_buffer(token_offsets), pa.py_buffer(data[kept])
    )
    row_ends = np.searchsorted(starts, np.flatnonzero(kind == _ROW_END))
    return tokens.dictionary_encode(), np.diff(row_ends, prepend=0).astype(np.int64)
