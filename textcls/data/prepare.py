"""Corpus to bags: tokenized once, kept in a memory-mapped cache, found again by later runs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy
import safetensors.torch

from textcls.config import DataConfig, TokenizerConfig
from textcls.data.bags import Bags
from textcls.data.cache import Manifest, find_or_make, write_json
from textcls.data.corpus import Corpus, Source
from textcls.data.ngrams import Encoder, build_vocabulary, num_embeddings
from textcls.data.splits import SPLITS
from textcls.data.tokenizer import Tokenizer, versions
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError

log = logging.getLogger("textcls")

# Part of every key: raise it whenever tokenizing, the vocabulary, the cut or the layout change.
FORMAT = 5


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to train on.

    Attributes:
        train, validation, test: bags over one vocabulary, memory-mapped.
        vocabulary: built from the train split only.
        tokenizer: the one that made the tokens.
        label_names: of class 0, 1, 2, …
        from_cache: whether an earlier run had done the work.
        key: a hash of everything that determines the above.
        text_columns: where the texts were.
        label_column: where the labels were.
        test_set: a hash of the test split's texts and labels, however they were tokenized: runs
            with the same one can be compared row by row.
    """

    train: Bags
    validation: Bags
    test: Bags
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    label_names: tuple[str, ...]
    from_cache: bool
    key: str
    text_columns: tuple[str, ...]
    label_column: str
    test_set: str

    @property
    def num_embeddings(self) -> int:
        """How many rows the embedding has."""
        return num_embeddings(self.vocabulary, self.tokenizer.config)


def prepare(data: DataConfig, tokenizer: TokenizerConfig, cache_dir: Path) -> Prepared:
    """Return the bags of a corpus, out of the cache where they are there.

    The key of an entry is all that determines its content: the data (by content), how columns,
    labels and splits are chosen, the tokenizer and vocabulary, and the versions that matter.

    Raises:
        InputError: data or tokenizer cannot be used.
        TextclsError: the cache cannot be written.
    """
    source = Source(data)

    def make(scratch: Path) -> Manifest:
        return _write(source.read(), tokenizer, scratch)

    def load(entry: Path, manifest: Manifest) -> Prepared:
        return _read(entry, manifest, tokenizer)

    key = _key(data, tokenizer, source.fingerprint)
    prepared, was_there = find_or_make(cache_dir, key, make, load)
    return dataclasses.replace(prepared, from_cache=was_there)


def _key(data: DataConfig, tokenizer: TokenizerConfig, fingerprint: str) -> dict[str, Any]:
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
    # Through JSON, so that it equals what a manifest holds (tuples become lists).
    result: dict[str, Any] = json.loads(json.dumps(key))
    return result


def _write(corpus: Corpus, config: TokenizerConfig, scratch: Path) -> Manifest:
    """Write the bags of a corpus into a folder; return what its manifest is to say of them."""
    tokenizer = Tokenizer(config, corpus.train.texts)
    notes = list(corpus.notes)
    encode = None
    for split in SPLITS:
        part = corpus.splits[split]
        if split == "test":
            test_set = part.fingerprint(corpus.label_names)  # before its texts are used up
        tokens = tokenizer.use_up(part.chunks)
        pa.default_memory_pool().release_unused()  # the texts' memory, to the system
        num_words = len(tokens.codes)
        if not num_words:
            raise InputError(f"{part.where}: the {split} split has no tokens after tokenizing")
        if encode is None:  # train comes first, and is all that the vocabulary sees
            vocabulary, ngram_notes = build_vocabulary(tokens, config)
            if len(vocabulary) == len(vocabulary.specials):
                raise InputError(
                    f"tokenizer.min_freq={config.min_freq} leaves no token of {part.where}: "
                    f"the most frequent stands {tokens.counts().max():,} times"
                )
            encode = Encoder(vocabulary, config)
        empty = int((np.diff(tokens.offsets) == 0).sum())
        indices, offsets = encode(tokens)
        del tokens  # writing takes a copy of the indices: not beside this one
        unknown = np.count_nonzero(indices == vocabulary.unknown_id) / num_words
        ngrams = f", {len(indices) - num_words:,} n-grams" if config.ngrams > 1 else ""
        notes.append(
            f"{split}: {len(part):,} bags, {num_words:,} tokens{ngrams}, "
            f"{unknown:.1%} unknown, {empty:,} bags empty"
        )
        safetensors.numpy.save_file(
            {"indices": indices, "offsets": offsets, "labels": part.labels},
            scratch / f"{split}.safetensors",
        )
    (scratch / "vocabulary.json").write_text(vocabulary.to_json(), encoding="utf-8")
    write_json(scratch / "labels.json", corpus.label_names)
    if tokenizer.json is not None:
        (scratch / "tokenizer.json").write_text(tokenizer.json, encoding="utf-8")
    notes += [f"vocabulary: {len(vocabulary):,} tokens", *ngram_notes]
    columns = {"text": corpus.text_columns, "label": corpus.label_column}
    return {"columns": columns, "test_set": test_set, "notes": notes}


def _read(entry: Path, manifest: Manifest, config: TokenizerConfig) -> Prepared:
    """Open what :func:`_write` wrote, and log its notes."""
    vocabulary = Vocabulary.from_json(_text(entry / "vocabulary.json"))
    text = entry / "tokenizer.json"
    tokenizer = Tokenizer(config, json=_text(text) if text.exists() else None)
    bags = {
        # Mapped into memory, not read.
        split: Bags(
            **safetensors.torch.load_file(entry / f"{split}.safetensors"),
            num_embeddings=num_embeddings(vocabulary, config),
        )
        for split in SPLITS
    }
    prepared = Prepared(
        **bags,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        label_names=tuple(json.loads(_text(entry / "labels.json"))),
        from_cache=False,
        key=entry.name,
        text_columns=tuple(manifest["columns"]["text"]),
        label_column=manifest["columns"]["label"],
        test_set=manifest["test_set"],
    )
    for note in manifest["notes"]:
        log.info(note)
    return prepared


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
