"""The corpus of a run: the bags that its configuration is about."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from textcls.config import Config, read_config
from textcls.continuing import Start, read_start
from textcls.data.bags import Bags
from textcls.data.prepare import Prepared, prepare
from textcls.data.sharded import Split
from textcls.defaults import resolve
from textcls.errors import InputError
from textcls.fitting import refits
from textcls.memory import Plan
from textcls.vectors.found import PretrainedVectors

log = logging.getLogger("textcls")

# In a run folder: the key of its corpus.
KEY = "corpus.txt"


def corpus(
    config: Config,
    joined: bool = False,
    both: bool = False,
    start: Start | None = None,
    expected: str | None = None,
) -> Prepared:
    """Return the bags that this configuration is about.

    Args:
        config: of a run.
        joined: whether train has the rows of validation as well.
        both: whether they will be asked for joined too.
        start: the model that the run starts from.
        expected: the key that it had when the run began.

    Raises:
        InputError: data, tokenizer or vectors cannot be used.
        TextclsError: the cache cannot be written.
    """
    known = None if start is None else start.known
    name = config.model.vectors
    vectors = None if name is None else PretrainedVectors.find(name)
    plan = Plan.of(config.trainer.max_memory)
    prepared = prepare(
        config.data, config.tokenizer, config.cache, config.cache_size, joined, both, known,
        vectors, plan, expected,
    )  # fmt: skip
    if config.trainer.overfit:
        prepared = _only(prepared, config.trainer.overfit)
    return prepared


def key_before(folder: Path) -> str | None:
    """Return the key of the corpus that a run began with; None: it has not begun."""
    try:
        return (folder / KEY).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None


def validation_split(folder: Path) -> Split:
    """Return the bags that a run was measured on, in the ids of its model.

    Where the model was trained on them afterwards, a warning says so.

    Raises:
        InputError: there is no run, or its data cannot be used or has changed since.
    """
    config = read_config(folder)
    start = read_start(config)
    expected = key_before(folder)
    prepared = corpus(config, start=start, expected=expected)
    if expected != prepared.key:
        raise InputError(
            f"{folder}: its data, or how it is tokenized, has changed since: name a labelled file "
            "by --data FILE"
        )
    if not refits(config):
        return prepared.validation
    log.warning(
        "%s: with trainer.refit its model has learned from the validation split as well, so that "
        "scores on it say little: name a labelled file by --data FILE",
        folder,
    )
    whole = prepared.joined()
    if whole is None:
        whole = corpus(resolve(config, prepared.about), joined=True, start=start)
    return whole.validation


def _only(prepared: Prepared, count: int) -> Prepared:
    """Keep ``count`` train bags, evenly spaced, as train, validation and test at once."""
    rows = torch.linspace(0, len(prepared.train) - 1, min(count, len(prepared.train))).long()
    few: Bags = prepared.train.select(torch.unique(rows))
    log.info("trainer.overfit: train, validation and test are the same %d bags of train", len(few))
    return dataclasses.replace(
        prepared, train=few, validation=few, test=few, test_set=f"{prepared.key}-{len(few)}"
    )
