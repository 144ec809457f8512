"""Models of textcls as files of fastText's, where its format can say what they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from textcls.data.fasttext_features import arguments_of, words_of
from textcls.errors import InputError
from textcls.fasttext_models.encoding import LABEL
from textcls.fasttext_models.format import ModelFile
from textcls.fasttext_models.matrices import Dense
from textcls.fasttext_models.writing import write_model_file
from textcls.model.parts import ModelParts

# What the format calls the ways to probabilities, by the names of our tasks.
LOSSES = {"single": "softmax", "ordered": "softmax", "multi": "ova", "sampled": "ns"}


def export_fasttext(parts: ModelParts, path: Path) -> None:
    """Write a model as a ``.bin`` file, which fastText loads and predicts with as we do.

    Raises:
        InputError: fastText has no such model; the line says what to train.
        OSError: it cannot be written; what was there stays.
    """
    write_model_file(as_model_file(parts), path)


def as_model_file(parts: ModelParts) -> ModelFile:
    """Return what fastText's file of a model holds.

    A bias is one dimension more, which is 1 in each row and so in each mean, and the bias in the
    output matrix. Labels have a count of 1: how many texts they had is not known any more.

    Raises:
        InputError: fastText has no such model.
    """
    reason = _why_not(parts)
    if reason is not None:
        raise InputError(f"fastText's format has no model like this: {reason}")
    model, vocabulary = parts.model, parts.encoder.vocabulary
    specials = len(vocabulary.specials)
    rows = model.embedding.weight.detach().cpu().float()[specials:].numpy()
    output = model.linear.weight.detach().cpu().float().numpy()
    bias = model.linear.bias.detach().cpu().float().numpy()
    if bias.any():
        rows = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], 1)
        output = np.concatenate([output, bias[:, None]], 1)
    arguments = dataclasses.replace(
        arguments_of(parts.encoder.config), dim=rows.shape[1], loss=LOSSES[parts.task.name]
    )
    counts = vocabulary.counts[specials:]
    return ModelFile(
        arguments,
        words_of(vocabulary)[specials:],
        counts,
        [LABEL + name.encode() for name in parts.label_names],
        np.ones(len(parts.label_names), np.int64),
        int(counts.sum()),
        None,
        None,
        Dense(rows),
        Dense(output),
    )


def _why_not(parts: ModelParts) -> str | None:
    """Return what a model has that fastText has not; None: nothing."""
    encoder, mode = parts.encoder, parts.model.embedding.mode
    if encoder.of_fasttext is None:
        return (
            f"its features are those of tokenizer={encoder.config.name}: train it with "
            "experiment=fasttext, or with tokenizer=fasttext model.mode=mean"
        )
    if mode != "mean":
        return f"it pools by {mode}: train it with model.mode=mean"
    if encoder.kept_buckets is not None or parts.quantized is not None:
        return "it is compressed: name the one that it was made from"
    if parts.task.name not in LOSSES:
        return "its labels are a tree: the .bin or .ftz file that it was read from has it"
    odd = next((name for name in parts.label_names if "\0" in name or not name), None)
    return None if odd is None else f"a label is {odd!r}: labels are words there"
