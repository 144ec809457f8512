"""What tests of a search share: small searches, and what they wrote."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from tests.conftest import PROJECT
from textcls.tuning.space import Range, TuneConfig


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tiny_space(**changes: Any) -> TuneConfig:
    space: dict[str, Any] = {"model.dim": (4, 8), "trainer.epochs": Range(1, 2)}
    values: dict[str, Any] = {"seconds": 60, "trials": 3, "space": space}
    return TuneConfig(**(values | changes))


def make_values(*overrides: str) -> dict[str, Any]:
    """Compose the plain values of ``tune`` as the command line would."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        cfg = compose("config", overrides=list(overrides))
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    tuning: dict[str, Any] = values["tune"]
    return tuning
