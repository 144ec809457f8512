"""The folder of a search: whose it is, with what it began, and the lock on its study."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
import yaml

from textcls.config import Config, read_config
from textcls.errors import InputError, TakenError
from textcls.files import SEARCH, write_whole
from textcls.locks import locked
from textcls.run_folder import RUN_FILES, check_same, write_settings
from textcls.tuning.space import Range, TuneConfig, parse_tuning

STUDY = "study.db"


def claim(
    config: Config, tuning: TuneConfig, folder: Path, fixed: Sequence[str], device: torch.device
) -> None:
    """Write the search's settings into its folder, after checking what is there.

    Raises:
        TakenError: a run is there, or a search of another configuration or space.
        InputError: a search is there, and is damaged.
    """
    with study_lock(folder):
        taken = [name for name in RUN_FILES if name != SEARCH and (folder / name).exists()]
        if taken:
            raise TakenError(
                f"run_dir={folder}: holds a run already ({taken[0]}): name another folder"
            )
        if (folder / STUDY).exists():
            check_same(read_config(folder), config, folder)
            _check_same_space(read_settings(folder)[0], tuning, folder)
        _write_settings(tuning, fixed, folder)  # first: it says whose folder this is
        if not (folder / STUDY).exists():
            write_settings(config, folder, device)


def _check_same_space(there: TuneConfig, wanted: TuneConfig, folder: Path) -> None:
    for option in sorted(there.space.keys() | wanted.space.keys()):
        if there.space.get(option) != wanted.space.get(option):
            raise TakenError(
                f"{folder}: holds a search of another tune.space.{option}: name another run_dir"
            )


def _write_settings(tuning: TuneConfig, fixed: Sequence[str], folder: Path) -> None:
    space = {
        option: dataclasses.asdict(tried) if isinstance(tried, Range) else list(tried)
        for option, tried in tuning.space.items()
    }
    values = {"seconds": tuning.seconds, "trials": tuning.trials, "space": space}
    text = yaml.safe_dump({"tune": values, "fixed": list(fixed)}, sort_keys=False)
    write_whole(folder / SEARCH, text)


def read_settings(folder: Path) -> tuple[TuneConfig, list[str]]:
    """Return what a search tries, and what the command line of a run needs beside it.

    Raises:
        InputError: there is no search in ``folder``, or it is damaged.
    """
    try:
        values = yaml.safe_load((folder / SEARCH).read_text(encoding="utf-8"))
        return parse_tuning(values["tune"]), list(values["fixed"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, InputError) as error:
        raise InputError(f"resume={folder}: its {SEARCH} is damaged ({error})") from None


def study_lock(folder: Path) -> AbstractContextManager[None]:
    """Return what lets one of several processes at a time ask for a trial."""
    return locked(folder / ".study.lock")
