"""Corpus to bags: tokenized once, kept in a memory-mapped cache, found again by later runs."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy
import safetensors.torch

from textcls.arrow import little_memory, release_memory
from textcls.config import DataConfig, TokenizerConfig
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.digests import Digests
from textcls.corpus.splits import SPLITS
from textcls.data.bags import Bags
from textcls.data.cache import UNFINISHED, Manifest, find_or_make, name_of, write_json
from textcls.data.composition import Composition
from textcls.data.duplicates import Compared, compare
from textcls.data.encoder import TextEncoder
from textcls.data.entry import check_vocabulary, load_encoder, save_encoder
from textcls.data.extending import Known
from textcls.data.facts import PieceFacts, moved
from textcls.data.key import in_shards, key_of, shard_bytes_of
from textcls.data.shard import shard_name
from textcls.data.sharded import ShardedBags, Split
from textcls.data.sharding.preparation import Preparation
from textcls.data.sharding.token_shard import DamagedError
from textcls.data.targets import relative_weights
from textcls.data.tokenized import TokenizedCorpus, tokenize
from textcls.data.tokenizer import learns
from textcls.data.word_vectors import WordRows, coverage, read_vectors
from textcls.defaults import CorpusFacts, resolve_group
from textcls.errors import InputError
from textcls.memory import Plan
from textcls.vectors.found import PretrainedVectors

log = logging.getLogger("textcls")

DIGESTS = "digests.json"


@dataclass(frozen=True)
class Prepared:
    """A corpus ready to train on.

    Attributes:
        train, validation, test: bags over one vocabulary, memory-mapped, or all three in shards.
            Where train and validation are joined, validation is the last bags of train.
        encoder: what made them, learned from train only.
        label_names: of class 0, 1, 2, …
        from_cache: whether an earlier run had done the work.
        key: a hash of everything that determines the above.
        text_columns: where the texts were.
        label_columns: where the labels were.
        test_set: a hash of the test split's texts and labels, however they were tokenized: runs
            with the same one can be compared row by row.
        about: what settings are chosen by; of all of train where validation is joined to it.
        facts: what was read, ready for JSON: ``columns`` (``text``, ``label``, ``left``), ``files``
            by split, ``splits`` (what :class:`textcls.data.facts.PieceFacts` and
            :func:`textcls.data.duplicates.compare` counted),
            ``vocabulary`` (its size), ``from_model`` (whether it extends that of a model),
            ``vectors`` (``name`` and ``hash``, where there are any) and
            ``notes`` (sentences on what was decided or changed).
        composition: what words are composed of; None: there are no character n-grams.
        words: rows of pretrained vectors; None: there are none.
    """

    train: Split
    validation: Split
    test: Split
    encoder: TextEncoder
    label_names: tuple[str, ...]
    from_cache: bool
    key: str
    text_columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    test_set: str
    about: CorpusFacts
    facts: dict[str, Any]
    composition: Composition | None = None
    words: WordRows | None = None

    def joined(self) -> Prepared | None:
        """Return it with the rows of validation in train, where these are in shards.

        There the encoder stays: so many rows more would not change it. None: it is made anew.
        """
        train, validation = self.train, self.validation
        if isinstance(train, Bags) or isinstance(validation, Bags):
            return None
        return dataclasses.replace(self, train=train.followed_by(validation))


def prepare(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    cache_dir: Path,
    cache_size: int | None = None,
    joined: bool = False,
    both: bool = False,
    known: Known | None = None,
    vectors: PretrainedVectors | None = None,
    plan: Plan | None = None,
    expected: str | None = None,
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
        both: whether to make the joined entry as well, where this one is made: it has the same
            tokens, unless the tokenizer learns from the texts of train. It is asked for by
            ``joined``, with the tokenizer's options as they were chosen for this corpus.
        known: what a model knows already, whose features and labels the corpus has as well.
        vectors: of words, that are to stand beside the table.
        plan: how much memory there is: a corpus that is larger is prepared in shards, for which
            ``both`` means nothing: see :meth:`Prepared.joined`. None, and for ``joined``: enough.
        expected: the key that it had before: in memory or in shards, it is what it was.

    Raises:
        InputError: data, tokenizer or vectors cannot be used.
        TextclsError: the cache cannot be written.
    """
    source = Source(data, digests=Digests(cache_dir / DIGESTS))
    encoder = None if known is None else known.encoder
    json = None if encoder is None else encoder.tokenizer.json

    def make(scratch: Path) -> Manifest:
        with little_memory():
            labels = () if known is None else known.label_names
            corpus = tokenize(source.read(labels), tokenizer, joined, json)
            if both and not joined and (known is not None or not learns(tokenizer)):
                make_joined(corpus)
            return write_bags(corpus, scratch, encoder, vectors) | {"paths": source.paths}

    def make_joined(corpus: TokenizedCorpus) -> None:
        def make(scratch: Path) -> Manifest:
            whole = write_bags(corpus.with_joined(), scratch, encoder, vectors)
            return whole | {"paths": source.paths}

        key = key_of(data, corpus.tokenizer.config, source.fingerprint, True, known, vectors)
        find_or_make(cache_dir, key, make, lambda entry, _: entry, cache_size)

    def read(entry: Path, manifest: Manifest) -> Prepared:
        found = _read(entry, manifest, tokenizer)
        # The key is of the files' contents: their names may be others than when it was written.
        facts = moved(found.facts, manifest["paths"], source.paths)
        return dataclasses.replace(found, facts=facts)

    def make_shards(scratch: Path) -> Manifest:
        with little_memory():
            try:
                manifest = write_shards(preparation, scratch)
            except DamagedError as error:
                log.warning("%s: the preparation begins anew", error)
                shutil.rmtree(preparation.folder)
                manifest = write_shards(preparation, scratch)
            return manifest | {"paths": source.paths}

    key = key_of(data, tokenizer, source.fingerprint, joined, known, vectors)
    shard_bytes = None
    if not joined and plan is not None:
        shard_bytes = shard_bytes_of(key, source.num_bytes, plan, cache_dir, expected)
    if shard_bytes is None:
        prepared, was_there = find_or_make(cache_dir, key, make, read, cache_size)
    else:
        assert plan is not None
        key = in_shards(key, shard_bytes)
        folder = cache_dir / f"{name_of(key)}{UNFINISHED}"
        preparation = Preparation(
            source, tokenizer, folder, shard_bytes, plan.processes, known, vectors
        )
        prepared, was_there = find_or_make(cache_dir, key, make_shards, read, cache_size)
        shutil.rmtree(folder, ignore_errors=True)
    return dataclasses.replace(prepared, from_cache=was_there)


def prepare_apart(
    corpus: Corpus,
    tokenizer: TokenizerConfig,
    folder: Path,
    joined: bool = False,
    vectors: PretrainedVectors | None = None,
) -> Prepared:
    """Return the bags of a corpus that was read already, without a cache.

    Args:
        corpus: its texts are taken out of it.
        tokenizer: its tokenizer and vocabulary.
        folder: empty, and to be kept for as long as the bags.
        joined: whether the train split is to have the rows of validation as well.
        vectors: of words, that are to stand beside the table.

    Raises:
        InputError: tokenizer or vectors cannot be used.
    """
    tokenized = tokenize(corpus, tokenizer, joined)
    manifest = write_bags(tokenized, folder, vectors=vectors)
    return _read(folder, manifest | {"key": {}}, tokenizer)


def write_bags(
    tokenized: TokenizedCorpus,
    folder: Path,
    known: TextEncoder | None = None,
    vectors: PretrainedVectors | None = None,
) -> Manifest:
    """Write the bags of a corpus into a folder; return what its manifest is to say of them.

    Args:
        tokenized: the corpus; where validation is joined to train, it has no file.
        folder: empty.
        known: of a model, which the encoder of the corpus extends.
        vectors: of words, whose rows are written as well.

    Raises:
        InputError: tokenizer and vocabulary leave nothing of a split, or vectors cannot be used.
    """
    corpus, tokenizer = tokenized.corpus, tokenized.tokenizer
    notes = list(corpus.notes)
    facts_of: dict[str, PieceFacts] = {}
    compared: dict[str, Compared] = {}
    encoder = found = None
    for split, rows in tokenized.rows.items():
        where = corpus.splits[split].where
        tokens, texts = tokenized.tokens.slice(*rows), tokenized.texts.slice(*rows)
        if not len(tokens.codes):
            raise InputError(f"{where}: the {split} split has no tokens after tokenizing")
        if encoder is None:  # train comes first, and is all that the encoder learns from
            labels = texts.labels.hard()
            if vectors is not None:
                found = read_vectors(vectors, tokenizer, tokens)
                notes.append(coverage(found, tokens))
            encoder, encoded = TextEncoder.learn_and_encode(tokenizer, tokens, labels, known, found)
            check_vocabulary(encoder, tokens, where)
        else:
            encoded = encoder.encode_tokens(tokens)
        facts_of[split] = PieceFacts.of(texts, tokens, encoder, encoded, len(corpus.label_names))
        compared[split] = Compared.of(texts)
        tensors = encoded._asdict() | {
            "labels": texts.labels.ids,
            "label_offsets": texts.labels.offsets,
            "label_shares": texts.labels.shares,
        }
        if texts.labels.weights is not None:
            weights = relative_weights(texts.labels.weights)
            tensors["example_weights"] = None if weights is None else weights.numpy()
        there = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        safetensors.numpy.save_file(there, folder / f"{split}.safetensors")
        del encoded, tensors, there
        release_memory()
    assert encoder is not None
    save_encoder(encoder, found, folder)
    write_json(folder / "labels.json", corpus.label_names)
    files = {
        split: [dataclasses.asdict(file) for file in files] for split, files in corpus.files.items()
    }
    facts = _facts(
        files,
        corpus.text_columns,
        corpus.label_columns,
        corpus.weight_column,
        {
            split: facts_of[split].ready(corpus.label_names) | found
            for split, found in compare([compared]).items()
        },
        encoder,
        [*notes, *encoder.notes],
        known is not None,
        vectors,
    )
    return {
        "test_set": tokenized.test_set,
        "facts": facts,
        "joined": tokenized.joined,
        "ordered": corpus.ordered,
        "about": dataclasses.asdict(tokenized.about),
    }


def write_shards(preparation: Preparation, folder: Path) -> Manifest:
    """Prepare a corpus in shards, put these into a folder; return what its manifest is to say.

    Args:
        preparation: begun or not.
        folder: empty.

    Raises:
        InputError: see :func:`write_bags`.
    """
    made = preparation.run()
    read = made.read
    preparation.put_into(folder)
    write_json(folder / "labels.json", read.label_names)
    facts = _facts(
        read.files,
        read.text_columns,
        read.label_columns,
        preparation.source.config.weight,
        made.facts,
        made.encoder,
        made.notes,
        preparation.known is not None,
        preparation.vectors,
    )
    return {
        "test_set": read.test_set,
        "facts": facts,
        "shards": made.sizes,
        "ordered": preparation.source.config.task == "ordered",
        "about": read.about,
    }


def _facts(
    files: Mapping[str, Sequence[Mapping[str, Any]]],
    text_columns: Sequence[str],
    label_columns: Sequence[str],
    weight_column: str | None,
    splits: Mapping[str, Mapping[str, Any]],
    encoder: TextEncoder,
    notes: Sequence[str],
    from_model: bool,
    vectors: PretrainedVectors | None,
) -> dict[str, Any]:
    """Return :attr:`Prepared.facts`."""
    columns = (name for of_split in files.values() for file in of_split for name in file["columns"])
    taken = {*text_columns, *label_columns, weight_column}
    left = [name for name in dict.fromkeys(columns) if name not in taken]
    facts = {
        "columns": {"text": text_columns, "label": label_columns, "left": left},
        "files": files,
        "splits": splits,
        "vocabulary": len(encoder.vocabulary),
        "from_model": from_model,
        "notes": notes,
    }
    if vectors is not None:
        facts["vectors"] = {"name": vectors.title, "hash": vectors.fingerprint}
    return facts


def _read(entry: Path, manifest: Manifest, config: TokenizerConfig) -> Prepared:
    """Open what :func:`write_bags` wrote."""
    about = CorpusFacts(**manifest["about"])
    config = resolve_group("tokenizer", config, about)
    encoder, composition, words = load_encoder(entry, config)
    bags: dict[str, Split] = {
        # Mapped into memory, not read.
        split: Bags(
            **safetensors.torch.load_file(entry / f"{split}.safetensors"),
            num_embeddings=encoder.num_embeddings,
            ordered=manifest["ordered"],
        )
        for split in SPLITS
        if (entry / f"{split}.safetensors").exists()
    }
    for split, sizes in manifest.get("shards", {}).items():
        paths = [entry / shard_name(split, number) for number in range(len(sizes))]
        bags[split] = ShardedBags(paths, sizes, encoder.num_embeddings, manifest["ordered"])
    if "validation" not in bags:
        train = bags["train"]
        bags["validation"] = train.slice(len(train) - manifest["joined"], len(train))
    columns = manifest["facts"]["columns"]
    return Prepared(
        **bags,
        encoder=encoder,
        composition=composition,
        words=words,
        label_names=tuple(json.loads((entry / "labels.json").read_text(encoding="utf-8"))),
        from_cache=False,
        key=name_of(manifest["key"]),
        text_columns=tuple(columns["text"]),
        label_columns=tuple(columns["label"]),
        test_set=manifest["test_set"],
        about=about,
        facts=manifest["facts"],
    )
