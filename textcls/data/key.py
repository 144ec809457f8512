"""The key of a cache entry: all that determines what is in it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

from textcls.config import DataConfig, TokenizerConfig
from textcls.data.extending import Known
from textcls.data.tokenizer import versions
from textcls.defaults import VERSION
from textcls.values import is_auto
from textcls.vectors.found import PretrainedVectors

# Part of every key: raise it whenever tokenizing, the vocabulary, the cut or the layout change.
FORMAT = 13


def key_of(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    fingerprint: str,
    joined: bool = False,
    known: Known | None = None,
    vectors: PretrainedVectors | None = None,
) -> dict[str, Any]:
    """Return the key of the bags of a corpus, as JSON has it.

    Args:
        data: of the corpus.
        tokenizer: its tokenizer and vocabulary.
        fingerprint: of its files' contents.
        joined: whether the rows of validation are in train.
        known: what a model knows already.
        vectors: of words.
    """
    options = dataclasses.asdict(data)
    for unimportant in ("name", "train", "validation", "test"):
        # Contents count, not names; but which splits there are does (it is in the fingerprint).
        del options[unimportant]
    options_of_tokenizer = dataclasses.asdict(tokenizer)
    if tokenizer.file is not None:  # its content counts, wherever it lies and however it is named
        with contextlib.suppress(OSError):  # Tokenizer gives a clearer message
            digest = hashlib.sha256(Path(tokenizer.file).read_bytes()).hexdigest()
            options_of_tokenizer["file"] = digest
    key: dict[str, Any] = {
        "format": FORMAT,
        "data": options,
        "fingerprint": fingerprint,
        "tokenizer": options_of_tokenizer,
        "unicode": unicodedata.unidata_version,  # decides str.lower()
    } | versions(tokenizer)
    if any(map(is_auto, options_of_tokenizer.values())):
        key["defaults"] = VERSION
    if joined:
        key["joined"] = ["train", "validation"]
    if known is not None:
        key["known"] = known.digest
    if vectors is not None:
        key["vectors"] = vectors.fingerprint
    # Through JSON, so that it equals what a manifest holds (tuples become lists).
    result: dict[str, Any] = json.loads(json.dumps(key))
    return result
