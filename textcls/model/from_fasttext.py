"""fastText's models as models of textcls: the same bags, rows and scores.

The mean over the rows of a text, and a linear layer without bias, are what fastText has. Losses
differ in what makes probabilities of scores: a softmax (``softmax``), a sigmoid for each of any
number of labels (``ova``), or of which one is chosen (``ns``), or a tree of labels (``hs``). They
are exact: fastText adds 1e-5 to each, and rounds sigmoids to 512 steps, as
:mod:`textcls.fasttext` does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from textcls.arrow import strings
from textcls.config import TokenizerConfig
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import PADDING, UNKNOWN, Vocabulary
from textcls.errors import InputError
from textcls.fasttext_models.encoding import LABEL
from textcls.fasttext_models.format import Arguments, ModelFile, read_model_file
from textcls.fasttext_models.losses import children_of
from textcls.fasttext_models.matrices import Dense, Float32
from textcls.faults import describe_all
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.parts import ModelParts
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.of_fasttext import SampledLabel, TreeLabel
from textcls.task.single import SingleLabel

SPECIALS = (UNKNOWN, PADDING)


def read_fasttext(path: Path) -> ModelParts:
    """Read a supervised model of fastText, ``.bin`` or ``.ftz``; it is on the CPU.

    A matrix that is not quantised stays in the file, mapped into memory.

    Raises:
        InputError: the file is no such model, is damaged, or has what textcls has not.
        OSError: it cannot be read.
    """
    return parts_of(read_model_file(path), path)


def parts_of(file: ModelFile, path: Path) -> ModelParts:
    """Return what a file of fastText's holds as a model; see :func:`read_fasttext`.

    Args:
        file: of a supervised model.
        path: of the file, for messages.
    """
    names = [label.decode("utf-8", "replace") for label in file.labels]
    if all(label.startswith(LABEL) for label in file.labels):
        names = [name.removeprefix(LABEL.decode()) for name in names]
    if len(set(names)) != len(names):
        raise InputError(f"{path}: a label stands twice, once it is decoded as UTF-8")
    encoder = _encoder_of(path, file)
    table = torch.from_numpy(_table_of(file, encoder.num_embeddings))
    rows, width = table.shape
    with torch.device("meta"):  # takes no memory, draws no numbers
        model = EmbeddingBagClassifier(rows, width, len(names), "mean")
    output = file.output.rows(np.arange(len(names)))
    model.load_state_dict(
        {
            "embedding.weight": table,
            "linear.weight": torch.from_numpy(np.ascontiguousarray(output, np.float32)),
            "linear.bias": torch.zeros(len(names)),
        },
        assign=True,
    )
    return ModelParts(
        model.eval().requires_grad_(False), encoder, tuple(names), task=_task_of(file)
    )


def _encoder_of(path: Path, file: ModelFile) -> TextEncoder:
    config = _config_of(path, file.arguments)
    counts = np.append(np.zeros(len(SPECIALS), np.int64), file.word_counts.clip(min=0))
    vocabulary = Vocabulary(strings([*SPECIALS, *_names_of(file.words)]), counts, trusted=True)
    kept = file.kept_buckets if config.num_buckets else None
    return TextEncoder(Tokenizer(config), vocabulary, kept)


def _config_of(path: Path, arguments: Arguments) -> TokenizerConfig:
    shortest, longest = max(arguments.minn, 1), arguments.maxn
    has_ngrams = shortest <= longest or arguments.wordNgrams > 1
    try:
        return TokenizerConfig(
            name="fasttext",
            min_freq=max(arguments.minCount, 1),
            max_size=None,
            max_tokens=None,
            ngrams=max(arguments.wordNgrams, 1),
            buckets=arguments.bucket if has_ngrams else None,
            char_ngrams=(shortest, longest) if shortest <= longest else None,
        )
    except ValidationError as error:
        raise InputError(
            f"{path}: has features that only textcls fasttext and textcls.fasttext have "
            f"({describe_all(error, 'tokenizer.')})"
        ) from None


def _names_of(words: list[bytes]) -> list[str]:
    """Return names of words for a vocabulary, as FastTextFeatures reads them.

    What is no UTF-8 stands in no text: its name has a space, as no word has.
    """
    names = []
    for number, word in enumerate(words):
        try:
            name = word.decode()
        except UnicodeDecodeError:
            name = f"{word.decode('utf-8', 'backslashreplace')} {number}"
        names.append(f"{name} " if name in SPECIALS else name)
    return names


def _table_of(file: ModelFile, num_rows: int) -> Float32:
    """Return the input matrix after rows of zeros for the specials."""
    before = len(SPECIALS)
    if file.kept_buckets is None and isinstance(file.input, Dense):
        return file.input.with_zeros(before)[:num_rows]
    buckets = np.arange(num_rows - before - len(file.words))
    if file.rows_of_buckets is not None and len(buckets):
        buckets = file.rows_of_buckets.astype(np.int64)
    ids = np.append(np.arange(len(file.words)), buckets + len(file.words))
    table = np.zeros((num_rows, file.input.shape[1]), np.float32)
    table[before:] = file.input.rows(ids)
    return table


def _task_of(file: ModelFile) -> Task:
    loss = file.arguments.loss
    if loss == "hs":
        return TreeLabel(torch.from_numpy(children_of(file.label_counts)))
    tasks: dict[str, Task] = {
        "softmax": SingleLabel(),
        "ova": MultiLabel(),
        "ns": SampledLabel(),
    }
    return tasks[loss]
