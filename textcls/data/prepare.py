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
from filelock import FileLock
from safetensors import SafetensorError

from textcls.config import DataConfig, TokenizerConfig
from textcls.data.bags import Bags
from textcls.data.corpus import SPLITS, Corpus, Source, hash_file
from textcls.data.ngrams import Encoder, build_vocabulary, num_embeddings
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError, TextclsError
from textcls.files import whole_folder

log = logging.getLogger("textcls")

# Part of every key: raise it whenever tokenizing, the vocabulary, the cut or the layout change.
FORMAT = 4


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

    An entry of the cache is a folder, named by a hash of everything that determines its content:
    the data (by content), how columns, labels and splits are chosen, the tokenizer and
    vocabulary, and the versions that matter. It is written beside its place and renamed into it,
    so that it is there whole or not at all; a file lock lets one of several runs that start
    together do the work. Every file's hash is checked before an entry is used; one that fails
    is rebuilt.

    Raises:
        InputError: data or tokenizer cannot be used.
        TextclsError: the cache cannot be written.
    """
    source = Source(data)
    key = _key(data, tokenizer, source.fingerprint)
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    entry = cache_dir / name
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / f"{name}.lock"):
            found = _open(entry, key, tokenizer)
            if found is not None:
                return dataclasses.replace(found, from_cache=True)
            _write(source.read(), tokenizer, key, entry)
            found = _open(entry, key, tokenizer)
    except (OSError, SafetensorError) as error:  # the latter where safetensors finds a full disk
        reason = getattr(error, "strerror", None) or error
        raise TextclsError(
            f"cache_dir={cache_dir}: cannot be written ({reason}): make room, or name another place"
        ) from None
    if found is None:
        raise TextclsError(f"cache_dir={cache_dir}: what was just written reads back damaged")
    return found


def _key(data: DataConfig, tokenizer: TokenizerConfig, fingerprint: str) -> dict[str, Any]:
    options = dataclasses.asdict(data)
    for unimportant in ("name", "train", "validation", "test"):
        # Contents count, not names; but which splits there are does (it is in the fingerprint).
        del options[unimportant]
    key: dict[str, Any] = {
        "format": FORMAT,
        "data": options,
        "fingerprint": fingerprint,
        "tokenizer": dataclasses.asdict(tokenizer),
        "unicode": unicodedata.unidata_version,  # decides str.lower()
    }
    if tokenizer.name in ("bpe", "wordpiece", "file"):
        import tokenizers

        key["tokenizers"] = tokenizers.__version__
    if tokenizer.file is not None:
        with contextlib.suppress(OSError):  # Tokenizer tells it better
            key["file"] = hashlib.sha256(Path(tokenizer.file).read_bytes()).hexdigest()
    # Through JSON, so that it equals what a manifest holds (tuples become lists).
    result: dict[str, Any] = json.loads(json.dumps(key))
    return result


def _write(corpus: Corpus, config: TokenizerConfig, key: dict[str, Any], entry: Path) -> None:
    tokenizer = Tokenizer(config, corpus.train.texts)
    notes = list(corpus.notes)
    with whole_folder(entry) as scratch:
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
        _dump(scratch / "labels.json", corpus.label_names)
        if tokenizer.json is not None:
            (scratch / "tokenizer.json").write_text(tokenizer.json, encoding="utf-8")
        hashes = {path.name: hash_file(path) for path in sorted(scratch.iterdir())}
        notes += [f"vocabulary: {len(vocabulary):,} tokens", *ngram_notes]
        columns = {"text": corpus.text_columns, "label": corpus.label_column}
        manifest = {"key": key, "columns": columns, "test_set": test_set}
        manifest |= {"files": hashes, "notes": notes}
        _dump(scratch / "manifest.json", manifest)


def _open(entry: Path, key: dict[str, Any], config: TokenizerConfig) -> Prepared | None:
    """Open an entry; return None where there is none, or none that can be trusted."""
    if not entry.exists():
        return None
    try:
        manifest = json.loads(_read(entry / "manifest.json"))
        if manifest["key"] != key:
            raise ValueError("made from something else")
        for name, digest in manifest["files"].items():
            if hash_file(entry / name) != digest:
                raise ValueError(f"{name} has changed")
        vocabulary = Vocabulary.from_json(_read(entry / "vocabulary.json"))
        label_names = tuple(json.loads(_read(entry / "labels.json")))
        text = entry / "tokenizer.json"
        tokenizer = Tokenizer(config, json=_read(text) if text.exists() else None)
        bags = {
            # Mapped into memory, not read.
            split: Bags(
                **safetensors.torch.load_file(entry / f"{split}.safetensors"),
                num_embeddings=num_embeddings(vocabulary, config),
            )
            for split in SPLITS
        }
    except (
        OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError
    ) as error:  # fmt: skip
        log.warning("%s: damaged cache entry (%s): it is made anew", entry, error)
        return None
    for note in manifest["notes"]:
        log.info(note)
    return Prepared(
        **bags,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        label_names=label_names,
        from_cache=False,
        key=entry.name,
        text_columns=tuple(manifest["columns"]["text"]),
        label_column=manifest["columns"]["label"],
        test_set=manifest["test_set"],
    )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0), encoding="utf-8")
