"""Corpus to bags: tokenized once, kept in a memory-mapped cache, found again by later runs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import safetensors.numpy
import safetensors.torch

from textcls.config import DataConfig, TokenizerConfig, is_auto
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.splits import SPLITS
from textcls.data.bags import Bags
from textcls.data.cache import Manifest, find_or_make, name_of, write_json
from textcls.data.composition import Composition
from textcls.data.encoder import TextEncoder
from textcls.data.facts import FactCounter, moved
from textcls.data.tokenizer import Tokenizer, versions
from textcls.defaults import VERSION, CorpusFacts, measure, resolve_group
from textcls.errors import InputError

# Part of every key: raise it whenever tokenizing, the vocabulary, the cut or the layout change.
FORMAT = 8
COMPOSITION = "composition.safetensors"


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to train on.

    Attributes:
        train, validation, test: bags over one vocabulary, memory-mapped. Where train and validation
            are joined, validation is the last bags of train.
        encoder: what made them, learned from train only.
        label_names: of class 0, 1, 2, …
        from_cache: whether an earlier run had done the work.
        key: a hash of everything that determines the above.
        text_columns: where the texts were.
        label_column: where the labels were.
        test_set: a hash of the test split's texts and labels, however they were tokenized: runs
            with the same one can be compared row by row.
        about: what settings are chosen by; of all of train where validation is joined to it.
        facts: what was read, ready for JSON: ``columns`` (``text``, ``label``, ``left``), ``files``
            by split, ``splits`` (what :class:`textcls.data.facts.FactCounter` counted),
            ``vocabulary`` (its size) and ``notes`` (sentences on what was decided or changed).
        composition: what words are composed of; None: there are no character n-grams.
    """

    train: Bags
    validation: Bags
    test: Bags
    encoder: TextEncoder
    label_names: tuple[str, ...]
    from_cache: bool
    key: str
    text_columns: tuple[str, ...]
    label_column: str
    test_set: str
    about: CorpusFacts
    facts: dict[str, Any]
    composition: Composition | None = None


def prepare(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    cache_dir: Path,
    cache_size: int | None = None,
    joined: bool = False,
) -> Prepared:
    """Return the bags of a corpus, out of the cache where they are there.

    The key of an entry is all that determines its content: the data (by content), how columns,
    labels and splits are chosen, the tokenizer and vocabulary, and the versions that matter.

    Args:
        data: of the corpus.
        tokenizer: its tokenizer and vocabulary.
        cache_dir: the folder of all entries.
        cache_size: bytes that they may take together; None: no limit.
        joined: whether the train split is to have the rows of validation as well, after its own:
            an entry apart, whose vocabulary is built from both.

    Raises:
        InputError: data or tokenizer cannot be used.
        TextclsError: the cache cannot be written.
    """
    source = Source(data)

    def make(scratch: Path) -> Manifest:
        return write_bags(source.read(), tokenizer, scratch, joined) | {"paths": source.paths}

    def load(entry: Path, manifest: Manifest) -> Prepared:
        found = _read(entry, manifest, tokenizer)
        # The key is of the files' contents: their names may be others than when it was written.
        facts = moved(found.facts, manifest["paths"], source.paths)
        return dataclasses.replace(found, facts=facts)

    key = _key(data, tokenizer, source.fingerprint)
    if any(map(is_auto, dataclasses.asdict(tokenizer).values())):
        key["defaults"] = VERSION
    if joined:
        key["joined"] = ["train", "validation"]
    prepared, was_there = find_or_make(cache_dir, key, make, load, cache_size)
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


def write_bags(
    corpus: Corpus, config: TokenizerConfig, folder: Path, joined: bool = False
) -> Manifest:
    """Write the bags of a corpus into a folder; return what its manifest is to say of them.

    The texts are taken out of the corpus on the way.

    Args:
        corpus: its texts and labels.
        config: of tokenizer and vocabulary.
        folder: empty.
        joined: whether train gets the rows of validation as well, which has no file then.

    Raises:
        InputError: the tokenizer cannot be used, or leaves nothing of a split.
    """
    about = measure(corpus.train.chunks, len(corpus.label_names))
    config = resolve_group("tokenizer", config, about)
    splits = corpus.splits
    num_held = len(corpus.validation)
    if joined:
        splits["train"] = corpus.train.followed_by(splits.pop("validation"))
    tokenizer = Tokenizer(config, splits["train"].texts)
    counter = FactCounter(corpus.label_names)
    encoder = None
    for split, part in splits.items():
        if split == "test":
            test_set = part.fingerprint(corpus.label_names)
        counter.count_texts(split, part.chunks, part.labels)
        tokens = tokenizer.use_up(part.chunks)
        pa.default_memory_pool().release_unused()  # the texts' memory, to the system
        num_words = len(tokens.codes)
        if not num_words:
            raise InputError(f"{part.where}: the {split} split has no tokens after tokenizing")
        if encoder is None:  # train comes first, and is all that the encoder learns from
            encoder, encoded = TextEncoder.learn_and_encode(tokenizer, tokens, part.labels)
            vocabulary = encoder.vocabulary
            if len(vocabulary) == len(vocabulary.specials):
                raise InputError(
                    f"tokenizer.min_freq={config.min_freq} leaves no token of {part.where}: "
                    f"the most frequent stands {tokens.counts().max():,} times"
                )
        else:
            encoded = encoder.encode_tokens(tokens)
        counter.count_tokens(split, tokens)
        counter.count_ids(split, encoder, tokens, encoded)
        del tokens  # writing takes a copy of the indices: not beside this one
        tensors = {name: tensor for name, tensor in encoded._asdict().items() if tensor is not None}
        safetensors.numpy.save_file(
            tensors | {"labels": part.labels}, folder / f"{split}.safetensors"
        )
    assert encoder is not None
    encoder.save(folder)
    composition = encoder.composition()
    if composition is not None:
        safetensors.torch.save_file(
            {
                name: getattr(composition.bags, name)
                for name in ("indices", "offsets", "labels", "weights")
            },
            folder / COMPOSITION,
        )
    write_json(folder / "labels.json", corpus.label_names)
    facts = {
        "columns": {
            "text": corpus.text_columns,
            "label": corpus.label_column,
            "left": _left(corpus),
        },
        "files": {
            split: [dataclasses.asdict(file) for file in files]
            for split, files in corpus.files.items()
        },
        "splits": counter.splits(),
        "vocabulary": len(vocabulary),
        "notes": [*corpus.notes, *encoder.notes],
    }
    return {
        "test_set": test_set,
        "facts": facts,
        "joined": num_held if joined else 0,
        "about": dataclasses.asdict(about),
    }


def _left(corpus: Corpus) -> list[str]:
    """Return the columns that some file has and nobody took, in order."""
    columns = (name for files in corpus.files.values() for file in files for name in file.columns)
    taken = {*corpus.text_columns, corpus.label_column}
    return [name for name in dict.fromkeys(columns) if name not in taken]


def _read(entry: Path, manifest: Manifest, config: TokenizerConfig) -> Prepared:
    """Open what :func:`write_bags` wrote."""
    about = CorpusFacts(**manifest["about"])
    config = resolve_group("tokenizer", config, about)
    encoder = TextEncoder.load(entry, config)
    bags = {
        # Mapped into memory, not read.
        split: Bags(
            **safetensors.torch.load_file(entry / f"{split}.safetensors"),
            num_embeddings=encoder.num_embeddings,
        )
        for split in SPLITS
        if (entry / f"{split}.safetensors").exists()
    }
    if "validation" not in bags:
        train = bags["train"]
        bags["validation"] = train.slice(len(train) - manifest["joined"], len(train))
    composition = None
    if (entry / COMPOSITION).exists():
        tensors = safetensors.torch.load_file(entry / COMPOSITION)
        composition = Composition(Bags(**tensors, num_embeddings=encoder.num_embeddings))
    columns = manifest["facts"]["columns"]
    return Prepared(
        **bags,
        encoder=encoder,
        composition=composition,
        label_names=tuple(json.loads((entry / "labels.json").read_text(encoding="utf-8"))),
        from_cache=False,
        key=name_of(manifest["key"]),
        text_columns=tuple(columns["text"]),
        label_column=columns["label"],
        test_set=manifest["test_set"],
        about=about,
        facts=manifest["facts"],
    )
