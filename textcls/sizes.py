"""Sizes in bytes, as people write and read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


def parse_size(text: str) -> int:
    """Return how many bytes 500000, 500kB, 1MB (powers of ten, as disks have them) or 1MiB are.

    Raises:
        ValueError: it is no size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no size: write 500kB, 20GB or a number of bytes")
    number, prefix, binary = found.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " kmgt".index(prefix.lower() or " "))


def size_in_words(num_bytes: float) -> str:
    """Return a size in the largest unit that it has one of: 1.5 GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.3g} {name}"
    return f"{num_bytes:.0f} bytes"


def size_of(option: str) -> Callable[[Any], Any]:
    """Return what reads the size that an option gives, and leaves alone what is no text."""

    def read(value: Any) -> Any:
        try:
            return parse_size(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"{option}={error}") from None

    return read
