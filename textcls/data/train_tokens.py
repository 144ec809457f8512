"""The tokens of train, as what is learned from them asks for them: in memory or on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from textcls.arrow import Int64
from textcls.data.tokens import Tokens


class TrainTokens(Protocol):
    """The tokens of the texts of train, in memory or in many parts on the disk."""

    @property
    def dictionary(self) -> pa.Array:
        """The distinct tokens, Arrow strings."""

    @property
    def num_tokens(self) -> int:
        """How many tokens all texts have."""

    @property
    def num_texts(self) -> int:
        """How many texts there are."""

    def counts(self) -> Int64:
        """Return how often each entry of the dictionary stands."""

    def parts(self) -> Iterator[Tokens]:
        """Yield the tokens of some texts after others, each part with a dictionary of its own."""
