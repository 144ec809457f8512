"""What the verbs do alike: load a model, read files as it was trained on, check an output."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textcls.config import Reading
from textcls.errors import InputError

if TYPE_CHECKING:
    from textcls.data.bags import Bags
    from textcls.model.classifier import Classifier
    from textcls.task.selective import Limit


def check_new(out: Path) -> None:
    """Refuse a folder to write that is there and holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: is there already: name another folder")


def load(model: Path, device: str) -> Classifier:
    """Load a model for a verb."""
    from textcls.model.classifier import Classifier

    on_one_thread(device)
    return Classifier.load(model, device)


def on_one_thread(device: str) -> None:
    """Check the device of a verb, and have torch compute with one thread on the CPU."""
    import torch

    from textcls.device import to_device

    if device != "auto":
        to_device(device, "--device")  # a message names it as it is typed here
    # Reading and tokenizing take most of the time, and have threads of their own; torch's, with
    # other work beside them, would wait for each other.
    torch.set_num_threads(1)


def reading_of(classifier: Classifier, given: dict[str, Any]) -> Reading:
    """Return how a file is read: as the options say, else as the model's own files were.

    (The columns of these are only looked for: see :mod:`textcls.corpus.corpus`.)
    """
    usual = classifier.parts.reading
    none = dict.fromkeys(("text", "label", "label_names", "weight"))
    return dataclasses.replace(usual, **none | given)  # type: ignore[arg-type]


def limit_of(classifier: Classifier, accuracy: float, labels: object = None) -> Limit:
    """Return from which probability on a model is sure enough, for ``--abstain``."""
    if labels is not None:
        raise InputError(
            "--abstain: what validation assures is of all labels, not of some: leave out --labels"
        )
    try:
        return classifier.task.limit(accuracy)
    except InputError as error:
        raise InputError(f"--abstain {accuracy:g}: {error}") from None


def taken_in_words(found: Limit) -> str:
    """Return what predicting from a probability on comes to, such as ``80.0% are …``."""
    right = "" if found.accuracy is None else f", {found.accuracy:.1%} of these right"
    return f"{found.coverage:.1%} are at least {found.confidence:.4g} probable{right}"


def labelled_bags(classifier: Classifier, pattern: str, given: dict[str, Any]) -> tuple[Bags, str]:
    """Return labelled files as bags of the model's token ids, and where they come from."""
    import pyarrow as pa

    from textcls.corpus.reading import read_labelled
    from textcls.data.targets import Targets, relative_weights

    reading, usual = reading_of(classifier, given), classifier.parts.reading
    several = classifier.task.several
    split = read_labelled(pattern, reading, usual, classifier.label_names, several)
    texts = pa.concat_arrays([chunk.cast(pa.large_string()) for chunk in split.chunks])
    weights = split.labels.weights
    targets = Targets.of(split.labels, None if weights is None else relative_weights(weights))
    bags = dataclasses.replace(
        classifier.bags(texts),
        labels=targets.ids,
        label_offsets=targets.offsets,
        example_weights=targets.weights,
        label_shares=targets.shares,
    )
    return bags, split.where
