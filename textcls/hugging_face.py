"""Tokenizers of the package ``tokenizers``, as a tokenizer.json has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textcls.errors import first_line

if TYPE_CHECKING:
    import tokenizers

# What a tokenizer.json may number.
MOST_TOKENS = 1 << 24


def tokenizer_of(json: str) -> tokenizers.Tokenizer:
    """Return the tokenizer that is the content of a tokenizer.json, without limits of length.

    Raises:
        ValueError: it cannot be used.
    """
    import tokenizers

    try:
        tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_str(json)
        # One that cannot name a character it never saw would fail on some text some day.
        tokenizer.encode("\u2603 \U0010fffd")
        last = max(tokenizer.get_vocab(with_added_tokens=True).values())
    except Exception as error:  # the Rust side raises plain Exception
        raise ValueError(first_line(error)) from None
    if last >= MOST_TOKENS:  # room is made for all ids up to the highest
        raise ValueError(f"a token has the id {last:,}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
