"""Trainings that processes share: ``python -m tests.distributed_cases FOLDER CASE…``, as rank."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from tests.conftest import make_config, seed_cpu, with_options
from tests.test_direct import CHARS, CLASSES, WORDS, make_bags, make_composition
from tests.test_static import make_words
from textcls.config import Config
from textcls.data.bags import Bags
from textcls.distributed import Team, joined, place
from textcls.model.embedding_bag import EmbeddingBagClassifier, hold_scores
from textcls.model.static import StaticVectors
from textcls.training.by_columns import ByColumns
from textcls.training.by_rows import ByRows
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.together import Together
from textcls.training.tracking import Listener
from textcls.values import Mode

ROWS, DIM, NUM_BAGS, BATCH = WORDS + CHARS, 5, 61, 12  # the last batch of an epoch is one bag


@dataclasses.dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        mode: of pooling.
        labels: single, ordered, soft or multi.
        model: what the model has beside: composed, scores, vectors.
        weighted: whether entries and bags have weights.
        optimizer, trainer: options.
        dropout: of the model.
    """

    mode: Mode = "mean"
    labels: str = "single"
    model: str = ""
    weighted: bool = False
    optimizer: dict[str, Any] = dataclasses.field(default_factory=dict)
    trainer: dict[str, Any] = dataclasses.field(default_factory=dict)
    dropout: float = 0.0


_TOUCHED = {"rows": "touched"}
_ADAM = {"name": "adam", "lr": 0.02}
_CLIPPED = {"clip_norm": 0.05}
_BALANCED = {"class_weights": "balanced"}
CASES = {
    "direct": Case(optimizer=_TOUCHED),
    "weights": Case("sqrtn", weighted=True, optimizer=_TOUCHED, trainer=_BALANCED),
    "composed": Case("sum", model="composed", optimizer=_TOUCHED | {"name": "adamw", "lr": 0.02}),
    "scores": Case("sqrtn", model="scores", weighted=True, optimizer=_TOUCHED),
    "vectors": Case("mean", model="scores vectors", weighted=True, optimizer=_TOUCHED),
    "of all rows": Case("mean", optimizer={"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}),
    "max": Case("max", optimizer=_TOUCHED),
    "max of all rows": Case("mean+max", optimizer=_ADAM, trainer=_CLIPPED),
    "learned": Case("weighted_sqrtn", weighted=True, optimizer=_TOUCHED, trainer=_CLIPPED),
    "learned of all": Case("weighted_mean", model="composed", optimizer=_ADAM),
    "several parts": Case("mean+sum", optimizer=_TOUCHED | _ADAM, dropout=0.4),
    "focal": Case("sum", optimizer=_TOUCHED, trainer={"focal": 2.0, "logit_adjustment": 1.0}),
    "sampled": Case("mean", optimizer=_TOUCHED, trainer={"sampled_classes": 1}),
    "sampled by autograd": Case("max", labels="multi", trainer={"sampled_classes": 1}),
    "multi": Case("sqrtn", "multi", weighted=True, optimizer=_TOUCHED, trainer=_BALANCED),
    "multi by autograd": Case("mean+max", "multi", optimizer=_TOUCHED, trainer={"focal": 2.0}),
    "soft": Case("mean", "soft", weighted=True, optimizer=_TOUCHED, trainer=_BALANCED),
    "ordered": Case("mean", "ordered", optimizer=_TOUCHED, trainer={"ordinal": 2.0} | _BALANCED),
}  # fmt: skip
# Of these a row that no maximum credits would stand still in some processes only.
NOT_BY_COLUMNS = {"max by momentum": Case("max", optimizer=_TOUCHED | _ADAM)}


class Records(Listener):
    """Keeps the records of epochs."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def epoch(self, record: dict[str, Any], progress: Any) -> None:
        self.records.append(record)


def bags_of(case: Case) -> Bags:
    """Return the bags of a case."""
    whole = make_bags().select(torch.arange(8, 8 + NUM_BAGS))
    rng = np.random.default_rng(6)
    changes: dict[str, Any] = {}
    if not case.weighted:
        changes["weights"] = None
    else:
        changes["example_weights"] = torch.from_numpy(rng.random(NUM_BAGS, dtype=np.float32))
    if case.labels in ("soft", "multi"):
        has = torch.from_numpy(rng.random((NUM_BAGS, CLASSES)) < 0.5)
        if case.labels == "soft":
            has[:, 0] |= ~has.any(1)
        counts = has.sum(1)
        changes["labels"] = has.nonzero()[:, 1]
        changes["label_offsets"] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        if case.labels == "soft":
            changes["label_shares"] = torch.repeat_interleave(1 / counts.float(), counts)
    return dataclasses.replace(whole, ordered=case.labels == "ordered", **changes)


def model_of(case: Case, bags: Bags) -> EmbeddingBagClassifier:
    """Return the model of a case before training."""
    seed_cpu(3)
    dim = CLASSES if "scores" in case.model else DIM
    model = EmbeddingBagClassifier(ROWS, dim, CLASSES, case.mode, dropout=case.dropout)
    if "scores" in case.model:
        hold_scores(model)
    if "composed" in case.model:
        model.composition = make_composition()
    if "vectors" in case.model:
        model.vectors = StaticVectors(make_words(), ROWS, CLASSES, case.mode)
        model.vectors.scale(bags)
    return model


def config_of(case: Case) -> Config:
    """Return the configuration of a case."""
    config = with_options(
        make_config(), "trainer", epochs=2, batch_size=BATCH, label_smoothing=0.0,
        monitor="loss", sampled_classes=None,
    )  # fmt: skip
    config = with_options(config, "optimizer", lr=0.2, initial_accumulator_value=1e-4)
    config = with_options(config, "trainer", **case.trainer)
    return with_options(config, "optimizer", **case.optimizer)


def trained(
    case: Case, together: Together | None, folder: Path | None = None
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Return the weights that a training comes to, and its records; these where it leads."""
    bags, tracker = bags_of(case), Records()
    model, names = model_of(case, bags), ("a", "b", "c")
    fit(model, bags, bags, names, config_of(case), Checkpoints(folder), tracker, None, together)
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return weights, tracker.records


def ways(team: Team) -> Iterator[tuple[str, Callable[[], Together]]]:
    """Return the ways of sharing, by name."""
    yield "data", lambda: ByRows(team)
    yield "columns", lambda: ByColumns(team, torch.device("cpu"))


def losses(records: list[dict[str, Any]]) -> Tensor:
    """Return the numbers of records that several processes come to alike."""
    return torch.tensor(
        [
            [record["train"]["loss"], record["train"]["accuracy"], record["validation"]["loss"]]
            for record in records
        ]
    )


def main(folder: Path, names: Sequence[str]) -> None:
    """Train some cases, as one of several processes; rank by rank leaves a file."""
    here = place()
    assert here is not None
    torch.set_num_threads(1)
    found: dict[str, Tensor] = {}
    with joined(here, torch.device("cpu")) as team:
        for way, make in ways(team):
            for name in names:
                try:
                    weights, records = trained(CASES[name], make())
                except Exception as error:
                    error.add_note(f"{way}: {name}")
                    raise
                if way == "data" or here.leads:
                    found |= {f"{way}/{name}/{key}": value for key, value in weights.items()}
                if here.leads:
                    found[f"{way}/{name}/records"] = losses(records)
    safetensors.torch.save_file(found, folder / f"{here.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
