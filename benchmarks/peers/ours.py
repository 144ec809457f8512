"""All that the benchmark uses of textcls beside its command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from hydra import compose, initialize_config_dir

from benchmarks.corpora import PROJECT, read
from benchmarks.peers import scores, timed
from textcls.app.compose import to_config
from textcls.config import Config
from textcls.data.prepare import Prepared


def configure(overrides: list[str]) -> Config:
    """Compose the configuration as ``train.py`` does."""
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        return to_config(compose("config", overrides=overrides))


def prepared(config: Config) -> Prepared:
    """Return the corpus as bags."""
    from textcls.data.prepare import prepare

    return prepare(config.data, config.tokenizer, Path(config.cache_dir))


def predict(run: str, test: str) -> dict[str, Any]:
    """Load a finished run and label the texts of a file."""
    from textcls import Classifier

    texts, labels = read(test)
    times: dict[str, Any] = {"rows": len(texts)}
    with timed(times, "load_seconds"):
        classifier = Classifier.load(run)
    with timed(times, "predict_seconds"):
        predicted = classifier.predict(texts)
    return times | scores(labels, predicted)


def text_to_bags(train: str, cores: int | None = None) -> dict[str, Any]:
    """Turn texts into ids and offsets, the vocabulary built on the way."""
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from textcls.data.encoder import TextEncoder
    from textcls.data.tokenizer import Tokenizer

    texts = pa.chunked_array([pa.array(read(train)[0], pa.large_string())])
    config = configure(["experiment=plain"]).tokenizer  # what torchtext is compared with
    tokenizer = Tokenizer(config)
    times: dict[str, Any] = {}

    def work(texts: pa.ChunkedArray) -> int:
        tokens = tokenizer(texts)
        return len(TextEncoder.learn(tokenizer, tokens).encode_tokens(tokens).indices)

    work(texts.slice(0, 100))  # loads what is imported late
    with timed(times, "seconds_of_work"):
        count = work(texts)
    return times | {"tokens": count}
