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
from textcls.data.cache import Manifest, name_of
from textcls.data.extending import Known
from textcls.data.tokenizer import versions
from textcls.defaults import VERSION
from textcls.memory import SIZES, Plan
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


def shard_bytes_of(
    key: Manifest, num_bytes: int, plan: Plan, cache_dir: Path, expected: str | None
) -> int | None:
    """Return how many bytes of text a shard is to have; None: all is to be in memory.

    What memory is free changes: what was prepared already is taken as it is, unless somebody says
    how much memory there is.

    Args:
        key: of the corpus in memory.
        num_bytes: of its texts, about.
        plan: how much memory there is.
        cache_dir: the folder of all entries.
        expected: the name of the entry that it had before; None: it is new.
    """
    planned = None if plan.holds(num_bytes) else plan.shard_bytes
    names = {size: name_of(in_shards(key, size)) for size in (planned, None, *SIZES)}
    for size, name in names.items():
        if name == expected:
            return size
    if not plan.is_given:
        return next((size for size, name in names.items() if (cache_dir / name).exists()), planned)
    return planned


def in_shards(key: Manifest, shard_bytes: int | None) -> Manifest:
    """Return the key of the same corpus in shards of so many bytes of text; None: in memory."""
    return key if shard_bytes is None else key | {"shard_bytes": shard_bytes}
