"""A corpus that is larger than memory becomes bags in shards, step by step.

Each step leaves files in one folder, and is not done again where they are there: a preparation that
was interrupted goes on with the first shard that is missing.

1. read: rows become shards of tokens, their labels are numbered;
2. learn: all tokens of train are counted, the encoder is learned from them;
3. encode: shards of tokens become bags;
4. spread: where the rows are sorted, those of train are spread over all shards.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textcls.config import TokenizerConfig
from textcls.corpus.corpus import Source
from textcls.corpus.paths import hash_file
from textcls.corpus.splits import SPLITS, RowLabels
from textcls.corpus.tables import plural
from textcls.data.duplicates import compare
from textcls.data.encoder import TextEncoder
from textcls.data.entry import check_vocabulary, save_encoder
from textcls.data.extending import Known
from textcls.data.sharding.encoding import (
    EncodeJob,
    compared_of,
    encode_shard,
    facts_of,
    sizes_of,
)
from textcls.data.sharding.numbering import read_labels
from textcls.data.sharding.pool import Log, done_by_processes
from textcls.data.sharding.reading import (
    ReadCorpus,
    read_corpus,
    sample_texts,
)
from textcls.data.sharding.spreading import Size, SpreadJob, joined, spread
from textcls.data.sharding.token_shard import (
    DamagedError,
    TokenParts,
    check_written,
    read_tensors,
    token_shard,
)
from textcls.data.stored import load
from textcls.data.tokenizer import Tokenizer, learns
from textcls.data.word_vectors import coverage, read_vectors
from textcls.defaults import CorpusFacts, resolve_group
from textcls.errors import InputError, first_line
from textcls.files import whole_folder, write_whole
from textcls.sizes import size_in_words
from textcls.vectors.found import PretrainedVectors

log = logging.getLogger("textcls")

READ, LEARNED = "read.json", "learned.json"
# A corpus of which a shard differs by more from the whole is sorted.
SORTED = 0.05
# Texts that a tokenizer learns from, which does so in memory.
LEARNED_BYTES = 1 << 28
# Texts whose hashes are compared at one go.
_COMPARED = 1 << 24


@dataclass(frozen=True)
class ShardedCorpus:
    """A corpus in shards.

    Attributes:
        read: what was found out while it was read.
        encoder: of its texts.
        sizes: of each split, how many bags and tokens each of its shards has.
        facts: of the rows of each split, ready for JSON.
        notes: sentences for the user.
    """

    read: ReadCorpus
    encoder: TextEncoder
    sizes: dict[str, list[Size]]
    facts: dict[str, dict[str, Any]]
    notes: list[str]


@dataclass(frozen=True)
class Preparation:
    """A preparation, done or to be done.

    Attributes:
        source: of the corpus.
        tokenizer: its configuration.
        folder: of its files; those of an interrupted one may be there.
        shard_bytes: of texts in a shard.
        processes: that prepare shards at the same time.
        known: what a model knows already.
        vectors: of words.
    """

    source: Source
    tokenizer: TokenizerConfig
    folder: Path
    shard_bytes: int
    processes: int
    known: Known | None = None
    vectors: PretrainedVectors | None = None

    @property
    def shards(self) -> Path:
        """The folder of the shards of bags."""
        return self.folder / "shards"

    @property
    def encoder(self) -> Path:
        """The folder of the encoder."""
        return self.folder / "encoder"

    def run(self) -> ShardedCorpus:
        """Do what is left to do.

        Raises:
            InputError: the corpus, its tokenizer or the vectors cannot be used.
            TextclsError: a process was killed.
            OSError: a file cannot be written.
        """
        self.shards.mkdir(parents=True, exist_ok=True)
        self._remove_scratch()
        self._check()
        read = self._read()
        config = resolve_group("tokenizer", self.tokenizer, CorpusFacts(**read.about))
        notes = self._learn(read, config)
        encoder = load(self.encoder, config)
        sizes = self._encode(read, config)
        numbers = range(len(read.sizes))
        facts = facts_of(self.folder, numbers)
        shares = -(-sum(map(sum, read.sizes)) // _COMPARED)
        compared = compare(
            compared_of(self.folder, numbers, share, shares) for share in range(shares)
        )
        ready = {
            split: found.ready(read.label_names) | compared[split] for split, found in facts.items()
        }
        if read.sorted > SORTED:
            notes = [
                *notes,
                f"the rows of train are sorted (the shares of labels or words in a part of them "
                f"differ by {read.sorted:.0%} from those in all): spread over all shards",
            ]
        return ShardedCorpus(read, encoder, sizes, ready, [*read.notes, *notes])

    def put_into(self, folder: Path) -> None:
        """Put the shards and the encoder into a folder, beside this one's, once all are there."""
        for path in (*self.shards.iterdir(), *self.encoder.iterdir()):
            try:
                os.link(path, folder / path.name)
            except OSError:  # a file system without links
                shutil.copyfile(path, folder / path.name)

    def _remove_scratch(self) -> None:
        """Remove what a killed preparation was writing: nobody else has this folder's lock."""
        for path in (*self.folder.glob(".*"), *self.shards.glob(".*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _check(self) -> None:
        """Check what an interrupted preparation has left and nothing else checks.

        Raises:
            DamagedError: it is not what was written.
        """
        for path in (*self.folder.glob("piece-*"), *self.shards.iterdir()):
            check_written(path)
        if self.encoder.exists():
            try:
                for name, digest in self._learned()["files"].items():
                    if hash_file(self.encoder / name) != digest:
                        raise ValueError(f"{name} has changed")
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = first_line(error)
                raise DamagedError(f"{self.encoder}: is damaged ({reason})") from None

    def _learned(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.encoder / LEARNED).read_text(encoding="utf-8"))
        return found

    def _read(self) -> ReadCorpus:
        path = self.folder / READ
        if not path.exists():
            log.info(
                "the corpus is larger than memory (trainer.max_memory): prepared in shards of "
                "%s of text, by %s",
                size_in_words(self.shard_bytes),
                plural(self.processes, "process", "processes"),
            )
            labels = () if self.known is None else self.known.label_names
            read = read_corpus(
                self.source,
                self._tokenizer(self.tokenizer),
                self.folder,
                self.shard_bytes,
                self.processes,
                labels,
            )
            write_whole(path, json.dumps(dataclasses.asdict(read)))
        try:
            return ReadCorpus(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DamagedError(f"{path}: is damaged ({first_line(error)})") from None

    def _tokenizer(self, config: TokenizerConfig) -> Tokenizer:
        """Return what splits the texts; one that learns does so from some of the texts of train."""
        json_file = self.folder / "tokenizer.json"
        if self.known is not None:
            return Tokenizer(config, json=self.known.encoder.tokenizer.json)
        if not learns(config):
            return Tokenizer(config)
        if not json_file.exists():
            learned = Tokenizer(config, sample_texts(self.source, LEARNED_BYTES))
            write_whole(json_file, str(learned.json))
        return Tokenizer(config, json=json_file.read_text(encoding="utf-8"))

    def _learn(self, read: ReadCorpus, config: TokenizerConfig) -> list[str]:
        """Learn the encoder, unless it is there; return sentences on it."""
        if not self.encoder.exists():
            numbers = [number for number, sizes in enumerate(read.sizes) if sizes[0]]
            tokens = TokenParts([token_shard(self.folder, number) for number in numbers])
            where = read.files["train"][0]["path"]
            if not tokens.num_tokens:
                raise InputError(f"{where}: the train split has no tokens after tokenizing")
            log.info(
                "counted %s tokens of train, %s distinct",
                f"{tokens.num_tokens:,}",
                f"{len(tokens.dictionary):,}",
            )
            notes, found = [], None
            if tokens.error:
                notes.append(
                    f"of distinct tokens the most frequent were counted: any count may be too low "
                    f"by {tokens.error:,}"
                )
            tokenizer = self._tokenizer(config)
            if self.vectors is not None:
                found = read_vectors(self.vectors, tokenizer, tokens)
                notes.append(coverage(found, tokens))
            labels = _labels_of_train(self.folder, numbers).hard()
            known = None if self.known is None else self.known.encoder
            encoder = TextEncoder.learn(tokenizer, tokens, labels, known, found)
            check_vocabulary(encoder, tokens, where)
            with whole_folder(self.encoder, synced=True) as scratch:
                save_encoder(encoder, found, scratch)
                notes += encoder.notes
                files = {path.name: hash_file(path) for path in scratch.iterdir()}
                learned = json.dumps({"notes": notes, "files": files})
                (scratch / LEARNED).write_text(learned, encoding="utf-8")
        return list(self._learned()["notes"])

    def _encode(self, read: ReadCorpus, config: TokenizerConfig) -> dict[str, list[Size]]:
        """Make the shards of bags that are missing; return the sizes of all."""
        is_sorted = read.sorted > SORTED
        first_rows = np.cumsum([[0, 0, 0], *read.sizes], axis=0)
        jobs = [
            EncodeJob(
                self.folder,
                number,
                config,
                len(read.label_names),
                tuple(first_rows[number].tolist()),
                read.weights,
                self.source.config.split_seed if is_sorted else None,
            )
            for number in range(len(read.sizes))
        ]
        progress = Log()
        for number, _ in enumerate(done_by_processes(encode_shard, jobs, self.processes), 1):
            progress.say(f"encoded {number:,} of {len(jobs):,} shards")
        pieces: dict[str, list[tuple[int, Size]]] = {split: [] for split in SPLITS}
        for number in range(len(jobs)):
            for split, size in sizes_of(self.folder, number).items():
                pieces[split].append((number, size))
        largest = max(size[1] for _, size in pieces["train"])
        sizes = {
            split: joined(self.folder, self.shards, split, pieces[split], largest // 2)
            for split in SPLITS
            if split != "train" or not is_sorted
        }
        if is_sorted:
            spreads = [
                SpreadJob(self.folder, self.shards, number, pieces["train"])
                for number in range(len(pieces["train"]))
            ]
            sizes["train"] = list(done_by_processes(spread, spreads, self.processes))
        return sizes


def _labels_of_train(folder: Path, numbers: Sequence[int]) -> RowLabels:
    parts = []
    for number in numbers:
        arrays, _ = read_tensors(token_shard(folder, number), ("splits",))
        parts.append(read_labels(folder, number).select(arrays["splits"] == 0))
    return RowLabels.concatenate(parts)
