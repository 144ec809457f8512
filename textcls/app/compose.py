"""From Hydra's configuration to ours: below this, there is no DictConfig."""

from __future__ import annotations

from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from textcls.app.mistakes import message_of
from textcls.app.weights import weights_by_label
from textcls.config import Config, inherited_options, parse
from textcls.corpus.paths import name_of_files
from textcls.errors import InputError
from textcls.program import CONFIGS, ROOT, train_command
from textcls.tuning.space import TuneConfig, parse_tuning
from textcls.values import is_auto

OmegaConf.register_new_resolver("textcls.project", lambda path: str(ROOT / path), replace=True)
OmegaConf.register_new_resolver("textcls.command", train_command, replace=True)


def _times(rate: float | str, factor: float) -> float:
    """Return a multiple of a learning rate, of Adagrad's where it is left to the corpus."""
    if is_auto(rate):
        from textcls.defaults import LEARNING_RATE  # brings Arrow

        rate = LEARNING_RATE
    return float(f"{float(rate) * factor:.6g}")  # rounded: 3 * 0.1 is to be 0.3


OmegaConf.register_new_resolver("textcls.times", _times, replace=True)


def to_config(cfg: DictConfig) -> Config:
    """Turn Hydra's configuration into ours.

    Class weights that a file holds become part of it, so that a run does not depend on the file.

    Raises:
        InputError: a missing, unknown or wrong value, in one line.
    """
    values = _plain(cfg)
    for key in ("run_dir", "resume", "tune"):  # of the command line alone
        values.pop(key, None)
    data, trainer = values.get("data"), values.get("trainer")
    if isinstance(data, dict) and data.get("name") == "local":
        data["name"] = name_of_files(data.get("train"))
    if isinstance(trainer, dict) and isinstance(trainer.get("class_weights"), str):
        trainer["class_weights"] = weights_by_label(trainer["class_weights"])
    return parse(values)


def given_options(cfg: DictConfig, overrides: list[str]) -> set[str]:
    """Return the options of tokenizer and model that the command line sets, or a group on it.

    Args:
        cfg: as composed.
        overrides: of the command line.
    """
    given = {one.key_or_group for one in OverridesParser.create().parse_overrides(overrides)}
    if "tokenizer" in given:
        given.add("tokenizer.name")
    values = _plain(cfg)
    for group, file in (("tokenizer", "base"), ("model", "embedding_bag")):
        held = (CONFIGS / group / f"{file}.yaml").read_text(encoding="utf-8")
        usual = yaml.safe_load(held) | ({"name": "basic"} if group == "tokenizer" else {})
        given |= {f"{group}.{key}" for key, own in values[group].items() if own != usual.get(key)}
    return given


def to_tuning(cfg: DictConfig, overrides: list[str]) -> tuple[TuneConfig, list[str]]:
    """Return the search, and the overrides that a run needs beside the settings it will find.

    Raises:
        InputError: a missing, unknown or wrong value, in one line.
    """
    keys = {
        override: parsed.key_or_group
        for override, parsed in zip(
            overrides, OverridesParser.create().parse_overrides(overrides), strict=True
        )
    }
    inherited = [] if cfg.init_from is None else inherited_options()
    tuning = parse_tuning(_plain(cfg)["tune"], {*keys.values(), *inherited})
    for option in inherited:
        if option in tuning.space:
            raise InputError(
                f"tune.space.{option}: is that of the model which init_from names: leave it out"
            )
    fixed = [
        override
        for override, key in keys.items()
        if key.split(".")[0] not in ("tune", "run_dir", "resume") and key not in tuning.space
    ]
    return tuning, fixed


def _plain(cfg: DictConfig) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise InputError(message_of(error, [])) from None
