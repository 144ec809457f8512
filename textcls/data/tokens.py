"""Tokens of many texts as flat arrays, and the tokenizers basic_english and basic, made fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import (
    Int32,
    Int64,
    as_numpy,
    booleans,
    integers,
    large_strings,
    offsets_of,
    strings,
)
from textcls.data.scripts import borders, set_apart

# Small enough that a block's arrays stay in the processor's cache, and that the allocator keeps
# their memory rather than ask the kernel anew; large enough that the fixed cost of some forty NumPy
# and Arrow calls does not show.
BLOCK_ROWS = 4_000
BLOCK_BYTES = 3 << 17
# NumPy turns int32 positions into int64 ones before it uses them: in pieces, that is no second
# copy of a corpus.
PIECE = 1 << 20
# So many values are looked up one by one: the tokens of a text or two.
FEW = 1_000
# So many texts, of so many bytes in all, are split one by one.
FEW_TEXTS = 16
FEW_BYTES = 1 << 14


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

    @property
    def num_tokens(self) -> int:
        """How many tokens all texts have."""
        return len(self.codes)

    @property
    def num_texts(self) -> int:
        """How many texts there are."""
        return len(self.offsets) - 1

    def parts(self) -> Iterator[Tokens]:
        """Yield all of it, as what lies on the disk in many parts yields these."""
        yield self

    def counts(self) -> Int64:
        """Return how often each entry of the dictionary stands: int64 ``[len(dictionary)]``."""
        counts = np.zeros(len(self.dictionary), np.int64)
        step = max(PIECE, len(counts))
        for start in range(0, len(self.codes), step):
            counts += np.bincount(self.codes[start : start + step], minlength=len(counts))
        return counts

    def slice(self, start: int, stop: int) -> Tokens:
        """Return the tokens of texts ``start`` to ``stop - 1``, over the same dictionary."""
        offsets = self.offsets[start : stop + 1]
        return Tokens(self.codes[offsets[0] : offsets[-1]], self.dictionary, offsets - offsets[0])

    def pieces(self, size: int) -> Iterator[Tokens]:
        """Yield the tokens of some texts after others, about ``size`` of them, or of one text."""
        start, ends = 0, self.offsets
        while start + 1 < len(ends):
            fits = int(ends.searchsorted(ends[start] + size, side="right")) - 1
            stop = max(fits, start + 1)
            yield self.slice(start, stop)
            start = stop

    def to_lists(self) -> list[list[str]]:
        """Return the tokens of each text as Python lists (to look at, and in tests)."""
        words = np.asarray(self.dictionary.to_pylist(), dtype=object)
        return [
            words[self.codes[start:stop]].tolist()
            for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]


def blocks(chunks: list[pa.Array]) -> Iterator[pa.Array]:
    """Cut texts into arrays of at most ``BLOCK_ROWS`` rows and ``BLOCK_BYTES`` (or one row).

    ``chunks`` is emptied on the way, so that texts can be let go of once they are used.
    """
    while chunks:
        chunk = chunks.pop(0)
        ends = np.cumsum(as_numpy(pc.binary_length(chunk), null=0))
        start = 0
        while start < len(chunk):
            before = int(ends[start - 1]) if start else 0
            fits = int(np.searchsorted(ends, before + BLOCK_BYTES, side="right"))
            stop = min(max(fits, start + 1), start + BLOCK_ROWS)
            block = chunk.slice(start, stop - start)
            if pa.types.is_large_string(chunk.type):
                # A copy of its own: a place beyond 2 GB in the chunk's has no 32-bit offset.
                block = pa.concat_arrays([block]).cast(pa.string())
            yield block
            start = stop


def look_up(table: Int32, codes: Int32) -> Int32:
    """Return ``table[codes]``, int32 ``[len(codes)]``."""
    found = np.empty(len(codes), np.int32)
    for start in range(0, len(codes), PIECE):
        found[start : start + PIECE] = table[codes[start : start + PIECE]]
    return found


class Index:
    """Says where strings stand among distinct ones, fast whether many are asked for or few.

    Args:
        among: Arrow strings, distinct, without nulls.
    """

    def __init__(self, among: pa.Array) -> None:
        self.among = among
        self._last: tuple[pa.Array, Int32] | None = None

    def positions(self, values: pa.Array) -> Int32:
        """Return the position of each value, int32 ``[len(values)]``, read-only; -1 for none.

        Args:
            values: Arrow strings, without nulls.
        """
        # All splits of a corpus have one dictionary, which is asked for several times.
        last = self._last  # another thread may replace it
        if last is None or last[0] is not values:
            last = self._last = values, self._find(values)
        return last[1]

    def _find(self, values: pa.Array) -> Int32:
        if len(values) <= FEW:
            places = self._places
            found = [places.get(value, -1) for value in values.to_pylist()]
            return np.array(found, np.int32)
        if 4 * len(values) > len(self.among):
            at: Int32 = as_numpy(pc.index_in(values, value_set=self.among), null=-1)
            return at
        # Look for the values among ours, rather than make a hash table of all of ours to look into.
        encoded = values.dictionary_encode()
        which = pc.index_in(self.among, value_set=encoded.dictionary)
        there = np.flatnonzero(as_numpy(which.is_valid()))
        of_distinct = np.full(len(encoded.dictionary), -1, np.int32)
        of_distinct[as_numpy(which.drop_null())] = there
        codes: Int32 = as_numpy(encoded.indices)
        return of_distinct[codes]

    @cached_property
    def _places(self) -> dict[str, int]:
        # Arrow's look-up makes its hash table anew at each call: for the few tokens of one text,
        # that takes longer than all the rest. Made at the first such text only.
        return {value: place for place, value in enumerate(self.among.to_pylist())}


def alphabetical(words: pa.Array, places: Int64) -> tuple[pa.Array | list[str], Int64]:
    """Return some of the words, ascending, and their places.

    Args:
        words: Arrow strings, without nulls.
        places: int64 ``[n]``, of those to return.

    Returns:
        Arrow strings ``[n]``, of a few texts a list of Python's, and int64 ``[n]``.
    """
    if len(words) <= FEW:
        names = words.to_pylist()
        order = sorted(places.tolist(), key=names.__getitem__)
        return [names[place] for place in order], np.array(order, np.int64)
    some = words.take(integers(places))
    order = pc.sort_indices(some)
    return some.take(order), places[as_numpy(order)]


def truncate(
    tokens: pa.DictionaryArray, lengths: Int64, max_tokens: int | None
) -> tuple[pa.DictionaryArray, Int64]:
    """Keep the first ``max_tokens`` tokens of each text (all where it is None)."""
    if max_tokens is None or not len(lengths) or lengths.max() <= max_tokens:
        return tokens, lengths
    position = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return tokens.filter(booleans(position < max_tokens)), np.minimum(lengths, max_tokens)


def join_blocks(parts: list[tuple[pa.DictionaryArray, Int64]]) -> Tokens:
    """Join blocks of (tokens, lengths of the block's texts) over one common dictionary.

    ``parts`` is emptied on the way, so that the tokens are not held twice.
    """
    offsets = offsets_of(np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)]))
    codes = np.empty(offsets[-1], np.int32)
    # Chunks that are encoded in one go share one dictionary: the codes of a block's own
    # dictionary in it say how the block's codes change. (Arrow drops empty chunks.)
    own = [array.dictionary for array, _ in parts if len(array.dictionary)]
    common = pa.chunked_array(own, pa.string()).dictionary_encode().chunks
    dictionary = common[0].dictionary if common else strings([])
    stop = len(codes)
    while parts:
        array, _ = parts.pop()
        start = stop - len(array)
        if len(array.dictionary):
            codes[start:stop] = as_numpy(common.pop().indices)[as_numpy(array.indices)]
        stop = start
    return Tokens(codes, dictionary, offsets)


# --- basic_english and basic -----------------------------------------------------------------

_SPACE, _WORD, _LONE, _ROW_END = range(4)
# No byte of UTF-8 text has this value, so that it can stand between rows.
_END = b"\xff"
_END_SCALAR = large_strings([_END]).cast(pa.large_binary()).cast(pa.binary())[0]
# Each byte's class. Bytes of 0x80 and above belong to non-ASCII characters, which are all parts
# of words once the non-ASCII white space is gone.
_CLASS = np.full(256, _WORD, np.uint8)
_CLASS[[*b"\t\n\v\f\r\x1c\x1d\x1e\x1f ;:"]] = _SPACE
_CLASS[[*b"'.,()!?"]] = _LONE
_CLASS[[*_END]] = _ROW_END
_CLASS_TABLE = _CLASS.tobytes()
_LOWER_TABLE = bytes(range(256)).lower()  # of ASCII: bytes.lower leaves the others
_LINE_BREAK = np.frombuffer(b"<br />", np.uint8)

# White space beyond ASCII, as UTF-8: two bytes of 0xC2 and one more, or three.
_WIDE_SPACES = (
    "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_WIDE_2 = [space.encode()[1] for space in _WIDE_SPACES if len(space.encode()) == 2]
_WIDE_3 = [int.from_bytes(space.encode()) for space in _WIDE_SPACES if len(space.encode()) == 3]


def basic_english(texts: pa.Array, unspaced: bool = False) -> tuple[pa.DictionaryArray, Int64]:
    r"""Split texts as torchtext's ``basic_english`` does, token for token, in flat arrays.

    torchtext lower-cases, sets ``'.,()!?`` apart, drops ``"``, turns ``<br />``, ``;`` and ``:``
    into spaces and splits on white space. Here a block of texts is one buffer of UTF-8 bytes,
    with an end mark after each row. Each byte has a class (space, part of a word, a token by
    itself, end of row); a token starts at a lone byte, and at a word's byte that follows no
    word's byte. Deleting the other bytes leaves the tokens end to end: with their starts that
    *is* an Arrow string array.

    Args:
        texts: Arrow string array; null stands for an empty text.
        unspaced: set characters of scripts without spaces between words apart, as ``basic`` does
            (:func:`textcls.data.scripts.set_apart`).

    Returns:
        The tokens, dictionary-encoded, and int64 ``[len(texts)]`` tokens per text.
    """
    rows = pc.fill_null(texts, "") if texts.null_count else texts
    wide = pc.invert(pc.string_is_ascii(rows))
    rows = rows.cast(pa.binary())  # no copy; the end mark is no text
    if pc.any(wide).as_py():
        rows = pc.replace_with_mask(rows, wide, _lower(rows.filter(wide), unspaced))
    # Dropping quotes before looking for line breaks is torchtext's order: <br" /> is one to it.
    raw = _joined(rows).translate(_LOWER_TABLE, b'"')

    data = np.frombuffer(raw, np.uint8)
    kind = np.frombuffer(raw.translate(_CLASS_TABLE), np.uint8)
    tags = np.flatnonzero(data == _LINE_BREAK[0])
    tags = tags[tags <= len(data) - len(_LINE_BREAK)]
    if len(tags):
        spans = tags[:, None] + np.arange(len(_LINE_BREAK))
        kind = kind.copy()
        kind[spans[(data[spans] == _LINE_BREAK).all(1)]] = _SPACE
    word = kind == _WORD
    lone = kind == _LONE
    starts_here = word.copy()
    starts_here[1:] &= ~word[:-1]
    starts_here |= lone
    last_here = word.copy()
    last_here[:-1] &= ~word[1:]
    last_here |= lone
    starts = np.flatnonzero(starts_here)
    token_offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(np.flatnonzero(last_here) - starts + 1, out=token_offsets[1:])
    word |= lone
    kept = np.compress(word, data)
    tokens = pa.StringArray.from_buffers(
        len(starts), pa.py_buffer(token_offsets), pa.py_buffer(kept)
    )
    row_ends = np.searchsorted(starts, np.flatnonzero(kind == _ROW_END))
    return small(tokens.dictionary_encode()), np.diff(row_ends, prepend=0).astype(np.int64)


def are_few(chunks: Sequence[pa.Array]) -> bool:
    """Say whether texts are so few that they are better split one by one."""
    return sum(map(len, chunks)) <= FEW_TEXTS and sum(c.nbytes for c in chunks) <= FEW_BYTES


def basic_english_one_by_one(
    texts: Sequence[str], max_tokens: int | None, unspaced: bool = False
) -> Tokens:
    """Split texts like :func:`basic_english`, each by Python's own string methods.

    What is fixed about the other way, some forty calls into NumPy and Arrow, takes longer than
    a few texts by this one.
    """
    rows = []
    for text in texts:
        text = set_apart(text.lower()) if unspaced else text.lower()
        text = text.replace('"', "").replace("<br />", " ")
        for mark in "'.,()!?":
            text = text.replace(mark, f" {mark} ")
        rows.append(text.replace(";", " ").replace(":", " ").split()[:max_tokens])
    places: dict[str, int] = {}
    codes = [places.setdefault(token, len(places)) for row in rows for token in row]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return Tokens(np.array(codes, np.int32), strings(list(places)), offsets_of(lengths))


def small(tokens: pa.DictionaryArray) -> pa.DictionaryArray:
    """Halve the codes of a block, where they allow it: all blocks of a corpus are held at once."""
    if len(tokens.dictionary) > 1 << 16:
        return tokens
    return pa.DictionaryArray.from_arrays(tokens.indices.cast(pa.uint16()), tokens.dictionary)


def _joined(rows: pa.BinaryArray) -> bytes:
    """Return the rows end to end, each followed by the end mark."""
    ends = np.array([0, len(rows)], np.int32)
    buffers = [None, pa.py_buffer(ends)]
    as_list = pa.Array.from_buffers(pa.list_(rows.type), 1, buffers, children=[rows])
    joined = pc.binary_join(as_list, _END_SCALAR)
    text: bytes = joined[0].as_buffer().to_pybytes()
    return text + _END


def _lower(rows: pa.BinaryArray, unspaced: bool) -> pa.BinaryArray:
    """Lower-case rows that are not ASCII, and turn their wide spaces into tabs.

    Where ``unspaced``, characters of scripts without spaces between words are set apart.

    It is Python's own lower(): Arrow's differs for some characters. The end mark decodes to a lone
    surrogate, which is neither cased nor case-ignorable, so that it keeps even the final sigma of
    one row from the next.
    """
    text = _joined(rows).decode(errors="surrogateescape").lower()
    data = np.frombuffer(text.encode(errors="surrogateescape"), np.uint8).copy()
    if unspaced and len(places := borders(text)):
        firsts = np.flatnonzero((data & 0xC0) != 0x80)  # the first byte of each character
        kept = np.ones(len(data) + len(places), bool)
        kept[firsts[places] + np.arange(len(places))] = False
        spaced = np.full(len(kept), ord(" "), np.uint8)
        spaced[kept] = data
        data = spaced
    for places in _wide_spaces(data):
        data[places] = ord("\t")
    ends = np.flatnonzero(data == _END[0])
    offsets = np.append(0, ends - np.arange(len(ends))).astype(np.int32)  # without the marks
    content = np.delete(data, ends)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    )


def _wide_spaces(data: npt.NDArray[np.uint8]) -> Iterator[Int64]:
    """Yield the places of the bytes of wide spaces."""
    # All begin with one of these four, which are rare in most texts. (The end mark follows the
    # last character, so that two more bytes can be read at once.)
    at = np.flatnonzero(data == 0xC2)
    at = at[np.isin(data[at + 1], _WIDE_2)]
    yield at
    yield at + 1
    at = np.flatnonzero((data >= 0xE1) & (data <= 0xE3))
    code = data[at].astype(np.int32) << 16
    code |= data[at + 1].astype(np.int32) << 8
    code |= data[at + 2]
    at = at[np.isin(code, _WIDE_3)]
    yield at
    yield at + 1
    yield at + 2
