"""The trained model that a run starts from, and whether the configuration of the run fits it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcls.config import Config, flatten, inherited_options, parse
from textcls.corpus.paths import absolute, hash_file
from textcls.data.extending import Known
from textcls.data.targets import Targets
from textcls.defaults import word_of
from textcls.errors import InputError
from textcls.fasttext_models.format import is_model_file
from textcls.model.folder import WEIGHTS, files_of, load_model, model_folder
from textcls.model.parts import ModelParts
from textcls.values import CLASSES, is_auto

log = logging.getLogger("textcls")

# The tasks that there are trainings for.
TRAINED = ("single", "ordered", "multi")


@dataclass(frozen=True, eq=False)
class Start:
    """A trained model that a training starts from.

    Attributes:
        folder: of the model.
        parts: that it holds.
        digest: a hash of all of it but its card.
        sha256: of its weights file.
    """

    folder: Path
    parts: ModelParts
    digest: str
    sha256: str

    @property
    def known(self) -> Known:
        """What a corpus is prepared with."""
        return Known(self.parts.encoder, self.parts.label_names, self.digest)

    def about(self) -> dict[str, str]:
        """Return what is said of it in a run's results."""
        return {"model": str(self.folder), "sha256": self.sha256}

    def check(self, config: Config) -> None:
        """Check that a configuration has the model's features and shape.

        Raises:
            InputError: it has not; the message names an option and both values.
        """
        if config.model.vectors is not None:
            raise InputError(
                f"model.vectors={config.model.vectors}: init_from={self.folder} has no vectors "
                "beside its table any more: leave this option out, or start anew"
            )
        given = flatten(config.to_dict())
        for name, own in self.inherited.items():
            value = given[name]
            if value != own and not self._is_same_file(name, value):
                raise InputError(self._contradiction(name, value, own))
        if config.data.task not in self.tasks:
            raise InputError(self._contradiction("data.task", config.data.task, self.tasks[0]))

    def _contradiction(self, name: str, given: Any, own: Any) -> str:
        return (
            f"{name}={word_of(given)}: init_from={self.folder} has {word_of(own)}: "
            "leave this option out, or start anew"
        )

    @property
    def inherited(self) -> dict[str, Any]:
        """The model's own values of the options that are those of the model."""
        tokenizer = dataclasses.asdict(self.parts.encoder.config)
        values = {f"tokenizer.{key}": value for key, value in tokenizer.items()}
        values |= {"model.mode": self.parts.model.embedding.mode, "model.dim": self._dim}
        return {name: values[name] for name in inherited_options()}

    def _is_same_file(self, name: str, given: Any) -> bool:
        """Say whether a file that lies elsewhere holds the model's own tokenizer."""
        if name != "tokenizer.file" or given is None:
            return False
        try:
            return Path(given).read_text(encoding="utf-8") == self.parts.encoder.tokenizer.json
        except (OSError, UnicodeDecodeError):
            return False

    @property
    def _dim(self) -> int | str:
        model = self.parts.model
        return model.embedding.embedding_dim if model.scores_factor is None else CLASSES

    @property
    def tasks(self) -> tuple[str, ...]:
        """What ``data.task`` may be; the first is what ``auto`` stands for."""
        name = self.parts.task.name
        return ("auto", "single", "soft") if name == "single" else (name,)


def read_start(config: Config) -> Start | None:
    """Return the model that a configuration starts from; None: there is none.

    Raises:
        InputError: it cannot be read, cannot be continued, or the configuration does not fit it.
    """
    if config.init_from is None:
        return None
    start = _read(Path(config.init_from))
    start.check(config)
    return start


def adopted(config: Config, given: Collection[str]) -> Config:
    """Return a configuration that has the features and the shape of the model it starts from.

    Args:
        config: as the command line has it.
        given: options by name that are to be as they are; where these are not ``auto``, and not
            those of the model, it cannot be continued.

    Raises:
        InputError: as of :func:`read_start`.
    """
    if config.init_from is None:
        return config
    start = _read(Path(config.init_from).expanduser())
    values = config.to_dict() | {"init_from": absolute(config.init_from)}
    for name, own in start.inherited.items():
        group, _, key = name.partition(".")
        if name not in given or is_auto(values[group][key]):
            values[group][key] = own
    if is_auto(config.data.task):
        values["data"]["task"] = start.tasks[0]
    config = parse(values)
    start.check(config)
    return config


def with_absent_kept(config: Config, targets: Targets, label_names: Sequence[str]) -> Config:
    """Return a configuration by which labels that no row of train has stay as they are.

    That is where a text may have several: a corpus that never has a label was hardly asked for it,
    so that its rows are no examples of texts without. Of classes that exclude each other, a row of
    another class is one. Class weights that are given are left as they are.

    Args:
        config: of the run.
        targets: of train.
        label_names: of class 0, 1, 2, …
    """
    if (
        targets.offsets is None
        or targets.shares is not None
        or config.trainer.class_weights is not None
    ):
        return config
    counts = targets.ids.bincount(minlength=len(label_names)).tolist()
    absent = [name for name, count in zip(label_names, counts, strict=True) if not count]
    if not absent:
        return config
    log.info("labels that train lacks stay as the model has them: %s", ", ".join(absent[:20]))
    trainer = dataclasses.replace(config.trainer, class_weights=dict.fromkeys(absent, 0.0))
    return dataclasses.replace(config, trainer=trainer)


def _read(folder: Path) -> Start:
    is_file = is_model_file(folder)
    try:
        place = folder if is_file else model_folder(folder)
        parts = load_model(place)
    except InputError as error:
        raise InputError(f"init_from={error}") from None
    reason = None
    beside = (place / "compression.json", place.parent / "compression.json")
    if parts.quantized is not None or any(path.exists() for path in beside):
        reason = "is a compressed model: name the one that it was made from"
    elif parts.encoder.kept_buckets is not None:
        reason = "lacks buckets, as compressed models do: name the one that it was made from"
    elif parts.encoder.chars is not None and parts.encoder.char_weights is None:
        reason = "is of a release that weighed character n-grams otherwise: train it anew"
    elif parts.model.embedding.padding_idx is not None:
        reason = "is of a release that had padding: train it anew"
    elif parts.task.name not in TRAINED:
        reason = (
            "was trained with a tree of labels or negative sampling, as textcls does not train: "
            "name a model of fastText with the loss softmax or ova"
        )
    if reason is not None:
        raise InputError(f"init_from={folder}: {reason}")
    files = files_of(place)
    hashes = str([(path.name, hash_file(path)) for path in files])
    with (place if is_file else place / WEIGHTS).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Start(place.absolute(), parts, hashlib.sha256(hashes.encode()).hexdigest(), sha256)
