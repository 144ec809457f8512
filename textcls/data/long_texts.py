"""A text of many megabytes is split in parts: the arrays of a split take 18 bytes for each byte."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textcls.arrow import Int64
from textcls.data.tokens import BLOCK_BYTES, basic_english, join_blocks, small

# A text of more bytes is cut.
LONG = 4 * BLOCK_BYTES
# Between two of the former, one of the latter parts words and nothing else: it is not in a
# "<br />", and how its neighbours are lower-cased does not depend on what is beyond it.
_PLAIN = np.zeros(256, np.bool_)
_PLAIN[[*b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = True
_PARTING = np.zeros(256, np.bool_)
_PARTING[[*b" \n"]] = True


def split(texts: pa.Array, unspaced: bool = False) -> tuple[pa.DictionaryArray, Int64]:
    """Split texts as :func:`~textcls.data.tokens.basic_english` does, a long one in parts.

    Args:
        texts: see there; a long one stands alone (see :func:`~textcls.data.tokens.blocks`).
        unspaced: see there.
    """
    if len(texts) != 1 or texts.nbytes <= LONG or texts.null_count:
        return basic_english(texts, unspaced)
    tokens = join_blocks([basic_english(part, unspaced) for part in parts(texts)])
    whole = pa.DictionaryArray.from_arrays(tokens.codes, tokens.dictionary)
    return small(whole), np.array([len(tokens.codes)])


def parts(text: pa.Array) -> Iterator[pa.Array]:
    """Yield parts of a text, Arrow strings of one row, of ``BLOCK_BYTES`` or a little more.

    What stands between two parts is a space or a line break.
    """
    buffer = text[0].as_buffer()
    data = np.frombuffer(buffer, np.uint8)
    start = 0
    while start < len(data):
        stop = _cut(data, start + BLOCK_BYTES)
        ends = pa.py_buffer(np.array([0, stop - start], np.int32))
        yield pa.StringArray.from_buffers(1, ends, buffer.slice(start, stop - start))
        start = stop + 1


def _cut(data: npt.NDArray[np.uint8], start: int) -> int:
    """Return the first place from ``start`` on where a text may be cut, else its end."""
    while start + 2 < len(data):
        some = data[start - 1 : start + BLOCK_BYTES + 1]
        found = _PLAIN[some[:-2]] & _PARTING[some[1:-1]] & _PLAIN[some[2:]]
        if found.any():
            return start + int(found.argmax())
        start += BLOCK_BYTES
    return len(data)
