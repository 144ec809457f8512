"""Markdown that shows text as it is: names and labels are other people's, and may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table, a line for each row."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(plain(cell) for cell in line)} |\n" for line in lines)


def plain(value: Any) -> str:
    """Return a value as Markdown that shows its text, in one line."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", text)
