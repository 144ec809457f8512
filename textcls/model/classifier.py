"""A trained model put to use: text in, probabilities out."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download

from textcls.arrow import Int64, large_strings, offsets_of
from textcls.corpus.labels import classes_named
from textcls.data.bags import Bags
from textcls.device import to_device
from textcls.errors import InputError, first_line
from textcls.model.card import model_card
from textcls.model.embedding_bag import pooled_of, scores_of
from textcls.model.folder import FILES, load_model, save_model
from textcls.model.parts import ModelParts
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.of_fasttext import TreeLabel

Texts: TypeAlias = Iterable[str | None] | pa.Array | pa.ChunkedArray
Float32 = npt.NDArray[np.float32]

# Half a character each: Python strings may hold them (bad bytes read with surrogateescape, say), no
# UTF-8 text does.
_SURROGATES = re.compile("[\ud800-\udfff]")


# Probabilities that are computed at a time: 64 MiB.
AT_ONCE = 1 << 24
# Of more classes than these only the best are sorted.
MAX_SORTED = 1_000


class Classifier(ModelHubMixin):
    """A trained text classifier.

    >>> classifier = Classifier.load("runs/my-run")
    >>> classifier.predict(["what a film", "never again"])
    ['positive', 'negative']

    Texts are strings one after another, or an Arrow array of them; None and NaN: no text. Every
    text has its row in every answer, in order. One without a known token (None, "", all unknown) is
    an empty bag: its class scores are the linear layer's bias.

    ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` are those of
    https://huggingface.co/docs/huggingface_hub/package_reference/mixins.

    Args:
        parts: what a model folder holds.

    Attributes:
        label_names: of class 0, 1, 2, …: the columns of :meth:`predict_proba`.
        task: what the labels are.
    """

    # Else the mixin would make a configuration of the arguments, by a deep copy of the model.
    _hub_mixin_config: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, parts: ModelParts) -> None:
        self.parts = parts
        self.label_names = parts.label_names
        self.task = parts.task

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", mapped: bool = False) -> Classifier:
        """Load a run folder or a model folder.

        Args:
            path: the folder.
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
            mapped: on the CPU, leave the embedding table in its file, mapped into memory: all
                processes that do so have it once. The file must stay as it is meanwhile; to replace
                the folder, as saving does, is no change of it. Quantized tables are copied.

        Raises:
            InputError: there is none, or it is damaged or of a newer version; no such device.
        """
        parts = load_model(Path(path), mapped)
        parts.model.to(to_device(device, "device"))
        return cls(parts)

    def bags(self, texts: Texts) -> Bags:
        """Turn texts into bags of token ids, as in training; their labels are all 0.

        Raises:
            TypeError: something else than texts.
        """
        return self.parts.encoder.encode([to_arrow(texts)])

    def predict_proba(self, texts: Texts, labels: Sequence[str] | None = None) -> Float32:
        """Return the class probabilities of each text, float32 ``[num_texts, num_classes]``.

        Those of a text sum to 1 where it has one label; where it may have several, each stands by
        itself.

        Args:
            texts: see the class.
            labels: those to choose from, see :meth:`restricted`; None: all.
        """
        chosen = self if labels is None else self.restricted(labels)
        none = np.zeros((0, len(chosen.label_names)), np.float32)
        return np.concatenate([none, *chosen._probabilities(texts)])

    def predict(
        self, texts: Texts, labels: Sequence[str] | None = None, abstain: float | None = None
    ) -> list[Any]:
        """Return the most probable label of each text.

        Where a text may have several: a tuple of all whose probability reaches their threshold, in
        the order of ``label_names``.

        Args:
            texts: see the class.
            labels: those to choose from, see :meth:`restricted`; None: all.
            abstain: an accuracy, such as 0.95: a text has None for a label where the model is not
                as sure as that takes on its validation split. Of one label a text, and of all
                labels alone.

        Raises:
            InputError: validation does not assure the accuracy; the message says what it does.
        """
        chosen = self if labels is None else self.restricted(labels)
        least = 0.0 if abstain is None else chosen.task.limit(abstain).confidence
        names = chosen.label_names
        predicted: list[Any] = []
        for probabilities in chosen._probabilities(texts):
            found = chosen.task.decided(torch.from_numpy(probabilities))
            ids = found.ids.tolist()
            if found.offsets is None:
                unsure = (probabilities.max(1) < least).tolist()
                pairs = zip(ids, unsure, strict=True)
                predicted += [None if left_out else names[i] for i, left_out in pairs]
            else:
                ends = found.offsets.tolist()
                predicted += [tuple(names[i] for i in ids[a:b]) for a, b in pairwise(ends)]
        return predicted

    def _probabilities(self, texts: Texts) -> Iterator[Float32]:
        """Yield the class probabilities of some texts after others."""
        for logits in scores_of(self.parts.model, self.bags(texts)).pieces(AT_ONCE):
            yield self.task.probabilities(logits).numpy()

    def predict_top(
        self,
        texts: Texts,
        k: int | None = None,
        threshold: float | None = None,
        labels: Sequence[str] | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Return the most probable labels of each text, with their probabilities, best first.

        Args:
            texts: see the class.
            k: so many labels at most; None: 5, or where a text may have several, all that reach
                their threshold.
            threshold: labels less probable are left out, so that a text may end up with none; None:
                none are, or without ``k`` those below the model's own thresholds, where it has any.
            labels: those to choose from, see :meth:`restricted`; None: all.
        """
        chosen = self if labels is None else self.restricted(labels)
        names, found = chosen.label_names, []
        for probabilities in chosen._probabilities(texts):
            if k is None and chosen.task.several:
                ids, reached, offsets = reaching(chosen.task, probabilities, threshold)
                pairs = [(names[i], p) for i, p in zip(ids.tolist(), reached.tolist(), strict=True)]
                found += [pairs[a:b] for a, b in pairwise(offsets.tolist())]
                continue
            classes, values = top(probabilities, 5 if k is None else k)
            found += [
                [(names[i], p) for i, p in zip(row, of_row, strict=True) if p >= (threshold or 0)]
                for row, of_row in zip(classes.tolist(), values.tolist(), strict=True)
            ]
        return found

    def restricted(self, labels: Sequence[str]) -> Classifier:
        """Return the classifier of some of its labels, in the order of ``label_names``.

        Where a text has one label, the probabilities of these sum to 1; where it may have several,
        they stay as they are. The table of the model is shared.

        Args:
            labels: one or more.

        Raises:
            InputError: there is no such label; the message names the nearest.
        """
        if isinstance(labels, str):
            raise TypeError("labels are a list, ['…'], not a single label")
        numbers = classes_named([str(label) for label in labels], self.label_names)
        parts, classes = self.parts, torch.tensor(numbers)
        return Classifier(
            dataclasses.replace(
                parts,
                # The scores of a tree are of its nodes: all are needed.
                model=parts.model
                if isinstance(self.task, TreeLabel)
                else parts.model.restricted(classes),
                label_names=tuple(self.label_names[i] for i in numbers),
                task=parts.task.restricted(classes),
                card=None,  # it is about all of them
            )
        )

    def unknown(self, texts: Texts) -> Float32:
        """Return the share of unknown tokens of each text, float32 ``[num_texts]``.

        Those are the tokens that its vocabulary does not have, whether their character n-grams are
        known or not. A text without tokens has nothing that is known: 1.
        """
        encoder = self.parts.encoder
        return encoder.vocabulary.unknown_shares(encoder.tokenizer.use_up([to_arrow(texts)]))

    def embed(self, texts: Texts) -> Float32:
        """Return the pooled vector of each text, float32 ``[num_texts, pooled_dim]``."""
        vectors: Float32 = pooled_of(self.parts.model, self.bags(texts)).numpy()
        return vectors

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **options: Any
    ) -> Classifier:
        """Load a folder, or a repository of the Hugging Face hub.

        Args:
            pretrained_model_name_or_path: a folder as :meth:`load` takes it, or ``user/model``.
            options: the mixin's (``revision``, ``token``, ``cache_dir``, …), and ``device``.

        Raises:
            InputError: it cannot be had, or is no model of textcls.
        """
        name = str(pretrained_model_name_or_path)
        if os.path.isdir(name):
            return cls.load(name, options.get("device", "auto"))
        try:
            return super().from_pretrained(name, **options)
        except InputError:
            raise
        except (OSError, ValueError) as error:  # of the network, of the hub, of a bad name
            raise InputError(
                f"{name}: is no folder here, and cannot be loaded from the hub "
                f"({first_line(error).rstrip('.')})"
            ) from None

    @classmethod
    def _from_pretrained(cls, *, model_id: str, device: str = "auto", **options: Any) -> Classifier:
        # Only what a model folder holds: whatever else lies in the repository stays there.
        return cls.load(snapshot_download(model_id, allow_patterns=list(FILES), **options), device)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self.parts, save_directory)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the card of the model folder, or one that says how the model is built."""
        embedding, tokenizer = self.parts.model.embedding, self.parts.encoder.config
        settings = {
            "embedding_dim": embedding.embedding_dim,
            "num_embeddings": embedding.num_embeddings,
            "tokenizer": tokenizer.name,
            "ngrams": tokenizer.ngrams,
            "max_tokens": tokenizer.max_tokens,
        }
        several = self.task.several
        own = model_card(
            "Text classifier", embedding.mode, self.label_names, settings, several=several
        )
        return ModelCard(self.parts.card or own)


def top(probabilities: Float32, k: int) -> tuple[npt.NDArray[np.int64], Float32]:
    """Return the classes of the ``k`` largest probabilities of each row, and these, descending.

    Args:
        probabilities: float32 ``[num_rows, num_classes]``.
        k: at least 1; all classes where there are fewer.

    Returns:
        int64 and float32 ``[num_rows, min(k, num_classes)]``. Of equals the first comes first.
    """
    if k < 1:
        raise ValueError(f"k={k}: ask for one label or more")
    num_rows, num_classes = probabilities.shape
    if num_classes <= MAX_SORTED or k >= num_classes:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
        return order, np.take_along_axis(probabilities, order, 1)
    least = np.partition(probabilities, num_classes - k, axis=1)[:, num_classes - k, None]
    rows, classes = np.nonzero(probabilities >= least)  # k of each row, more where some are equal
    order = np.lexsort((classes, -probabilities[rows, classes], rows))
    firsts = np.searchsorted(rows, np.arange(num_rows))
    chosen = classes[order][firsts[:, None] + np.arange(k)]
    return chosen, np.take_along_axis(probabilities, chosen, 1)


def reaching(
    task: Task, probabilities: Float32, threshold: float | None = None
) -> tuple[Int64, Float32, Int64]:
    """Return the classes that are predicted for each row, and their probabilities, descending.

    Args:
        task: of several labels.
        probabilities: float32 ``[num_rows, num_classes]``.
        threshold: of every class, in place of the task's own.

    Returns:
        int64 and float32 ``[num_labels]``, row by row, and int64 ``[num_rows + 1]``, where each
        begins and ends. Of equals the first comes first.
    """
    if threshold is not None:
        task = MultiLabel(torch.full((probabilities.shape[1],), threshold))
    found = task.decided(torch.from_numpy(probabilities))
    rows, classes = found.bags.numpy(), found.ids.numpy()
    values = probabilities[rows, classes]
    order = np.lexsort((classes, -values, rows))
    offsets = offsets_of(np.bincount(rows, minlength=len(probabilities)))
    return classes[order], values[order], offsets


def to_arrow(texts: Texts) -> pa.Array:
    """Return texts as an Arrow array; no text becomes an empty one, half a character U+FFFD.

    Raises:
        TypeError: something else than texts.
    """
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        try:
            joined = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
            return joined.cast(pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise TypeError(f"texts are an Arrow array of {texts.type}, not of strings") from None
    if isinstance(texts, str | bytes | Mapping) or hasattr(texts, "columns"):
        raise TypeError("texts are a list, ['…'], or a column: not a single text or a table")
    rows = list(texts)
    for i, text in enumerate(rows):
        if text is None or (isinstance(text, float) and math.isnan(text)):  # as pandas has it
            rows[i] = ""
        elif not isinstance(text, str):
            raise TypeError(
                f"texts[{i}] is {text!r}: give strings, and None where there is no text"
            )
        elif not text.isascii():
            rows[i] = _SURROGATES.sub("\ufffd", text)
    return large_strings([text.encode() for text in rows])
