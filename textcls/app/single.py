"""The configuration of one training, for verbs that take the arguments of ``textcls train``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from textcls.app.arguments import is_sweep, prepare
from textcls.app.compose import to_config
from textcls.app.mistakes import message_of
from textcls.config import Config
from textcls.errors import InputError
from textcls.program import CONFIGS


def configure(arguments: Sequence[str], verb: str) -> Config | None:
    """Return the configuration of arguments that ``textcls train`` takes.

    Args:
        arguments: of the command line, without the verb.
        verb: its name, for messages.

    Returns:
        None where a flag asks Hydra to print something, which it has done.

    Raises:
        InputError: they are no arguments, or ask for a sweep, a search or an earlier run.
    """
    if is_sweep(arguments):
        raise InputError(
            f"textcls {verb} takes one setting: leave out -m, and an experiment that sweeps"
        )
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises; the messages are ours
    sys.argv[1:] = prepare(arguments)  # which Hydra reads
    composed: list[DictConfig] = []
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")(
            composed.append
        )()
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise InputError(message_of(error, arguments)) from None
    if not composed:
        return None
    (cfg,) = composed
    for key, mend in (
        ("resume", "leave it out"),
        ("tune", "leave it out, and give the settings that a search has found"),
        ("run_dir", "no run is made: name the folder by --out"),
    ):
        if cfg.get(key) is not None:
            raise InputError(f"{key}= is of textcls train, not of textcls {verb}: {mend}")
    return to_config(cfg)
