"""The texts that all systems are trained, tuned and tested on: those of textcls's splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textcls.corpus.corpus import Source
from textcls.corpus.splits import Split

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """Labelled texts.

    Attributes:
        texts: strings.
        labels: int64 ``[num_texts]``, numbers of classes.
    """

    texts: list[str]
    labels: Int64

    def __add__(self, other: Texts) -> Texts:
        return Texts(self.texts + other.texts, np.concatenate([self.labels, other.labels]))


@dataclass(frozen=True)
class Splits:
    """The three splits of a data set.

    Attributes:
        classes: how many there are.
        spaced: whether words are separated by blanks.
        large: whether to try fewer settings.
    """

    train: Texts
    validation: Texts
    test: Texts
    classes: int
    spaced: bool
    large: bool


def read(files: dict[str, str], spaced: bool = True, large: bool = False) -> Splits:
    """Read a data set as ``train.py`` does with these files, and cut off the same rows.

    Args:
        files: the path of each split; validation may be missing.
        spaced: whether words are separated by blanks.
        large: whether to try fewer settings.
    """
    from benchmarks.peers.ours import configure

    options = ["data=local", *(f"data.{split}={path}" for split, path in files.items())]
    corpus = Source(configure(options).data).read()
    parts: dict[str, Any] = {name: _texts(split) for name, split in corpus.splits.items()}
    return Splits(**parts, classes=len(corpus.label_names), spaced=spaced, large=large)


def _texts(split: Split) -> Texts:
    return Texts([text or "" for text in split.texts.to_pylist()], split.labels.ids)
