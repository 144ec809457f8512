"""A trained model with all that prediction needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from textcls.config import Reading
from textcls.data.encoder import TextEncoder
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.base import Task
from textcls.task.single import SingleLabel


@dataclass(frozen=True)
class ModelParts:
    """What a model folder holds.

    Attributes:
        model: the network, in evaluation mode; its table is float32 however it is stored.
        encoder: as in training; its ids are the rows of the embedding.
        label_names: of class 0, 1, 2, …
        card: the model card, README.md, if there is one.
        quantized: the tensors that are stored in place of the table, which is :func:`dequantize` of
            them; None: the table itself is.
        reading: how the files that the model was trained on were read.
        temperature: that the class scores of training were divided by, if they were.
        task: what the labels are.
        vectors: ``name`` and ``hash`` of the pretrained vectors of words that the model was trained
            with, which nothing needs any more; None: without.
    """

    model: EmbeddingBagClassifier
    encoder: TextEncoder
    label_names: tuple[str, ...]
    card: str | None = None
    quantized: Mapping[str, Tensor] | None = None
    reading: Reading = Reading()  # noqa: RUF009  # it is frozen
    temperature: float | None = None
    task: Task = SingleLabel()  # noqa: RUF009  # it never changes
    vectors: Mapping[str, str] | None = None
