"""A trained model put to use: text in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.batches import runs_of_bags
from textcls.data.ngrams import Encoder
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.folder import ModelParts, load_model


class Classifier:
    """A trained text classifier.

    >>> classifier = Classifier.load("runs/my-run")
    >>> classifier.predict(["what a film", "never again"])
    ['positive', 'negative']

    Attributes:
        label_names: of class 0, 1, 2, …: the columns of :meth:`predict_proba`.
    """

    def __init__(self, parts: ModelParts) -> None:
        self.parts = parts
        self._encode = Encoder(parts.vocabulary, parts.tokenizer.config)
        self.label_names = parts.label_names

    @classmethod
    def load(cls, path: str | Path) -> Classifier:
        """Load a run folder or a model folder.

        Raises:
            InputError: there is none, or it is damaged or of a newer version.
        """
        return cls(load_model(Path(path)))

    def predict_proba(self, texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Return the class probabilities of each text, float32 ``[num_texts, num_classes]``.

        A text of no known token (None, "" or all unknown) has a row like any other: an empty bag
        gets the probabilities of the linear layer's bias.
        """
        # Lone surrogates stand in Python strings (bad bytes read with surrogateescape, say) but in
        # no UTF-8 text: they become "?".
        clean = [
            text if text is None or text.isascii() else text.encode("utf-8", "replace").decode()
            for text in texts
        ]
        tokens = self.parts.tokenizer(pa.chunked_array([pa.array(clean, pa.large_string())]))
        indices, offsets = self._encode(tokens)
        bags = Bags(
            torch.from_numpy(indices),
            torch.from_numpy(offsets),
            torch.zeros(len(clean), dtype=torch.int64),
            num_embeddings=self.parts.model.embedding.num_embeddings,
        )
        probabilities: npt.NDArray[np.float32] = (
            logits_of(self.parts.model, bags).softmax(1).numpy()
        )
        return probabilities

    def predict(self, texts: Sequence[str | None]) -> list[str]:
        """Return the most probable label of each text."""
        names = self.label_names
        return [names[i] for i in self.predict_proba(texts).argmax(1)]


@torch.inference_mode()
def logits_of(model: EmbeddingBagClassifier, bags: Bags) -> Tensor:
    """Return the class scores of all bags, float32 ``[num_bags, num_classes]`` on the CPU.

    The bags may be on another device than the model: they follow in runs of bounded size.
    """
    device = model.linear.weight.device
    was_training = model.training
    model.eval()
    parts = []
    for run in runs_of_bags(bags):
        here = run.to(device)
        parts.append(model(here.indices, here.offsets).float())
    model.train(was_training)
    if not parts:
        return torch.zeros(0, model.linear.out_features)
    return torch.cat(parts).cpu()
