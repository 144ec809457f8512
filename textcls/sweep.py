"""A sweep: its folder, the names of its runs, and how it is started again.

This is Hydra's side of it: Hydra composes each run's configuration anew and may do so in another
process or on another machine, so whatever the runs share is put into words of the command line
before the first of them starts.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from textcls.app.overrides import quoted
from textcls.errors import InputError
from textcls.files import BEST, FAILED, FINISHED, write_whole

FIXED_KEYS = "hydra.job.config.override_dirname.exclude_keys"
# Set anew whenever a sweep begins.
OWN_KEYS = ("hydra.mode", "hydra.sweep.dir", FIXED_KEYS)


class Sweep(Callback):
    """Called by Hydra before a sweep: decides what its runs have in common.

    Attributes:
        folder: of the sweep that this process has begun, if it has.
    """

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Name the sweep's folder, and tell the runs which options are the same for all."""
        given = config.run_dir
        folder = new_folder("sweep") if given is None else Path(given).expanduser()
        overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        fixed = [
            override.key_or_group for override in overrides if not override.is_sweep_override()
        ]
        with open_dict(config):
            config.hydra.sweep.dir = str(folder)
            config.hydra.overrides.hydra += [
                f"hydra.sweep.dir={quoted(str(folder))}",
                f"{FIXED_KEYS}=[{','.join(fixed)}]",
            ]
        Sweep.folder = folder


def new_folder(kind: str) -> Path:
    """Make and return a folder that was not there before: ``runs/DATE_TIME_kind``."""
    name = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{kind}"
    number, folder = 1, Path("runs") / name
    while True:
        try:
            folder.mkdir(parents=True)  # atomic: two runs of one second get two folders
            return folder
        except FileExistsError:
            number += 1
            folder = Path("runs") / f"{name}_{number}"


def swept_values() -> dict[str, str]:
    """Return what this run of the sweep has apart from the others: values by key."""
    here = HydraConfig.get()
    fixed = set(here.job.config.override_dirname.exclude_keys)
    return {
        override.key_or_group: override.get_value_element_as_str()
        for override in OverridesParser.create().parse_overrides(list(here.overrides.task))
        if override.key_or_group not in fixed
    }


def run_folder(swept: dict[str, str]) -> Path:
    """Return the folder of this run, named by what is swept: ``mode=max,seed=1``."""
    here = HydraConfig.get()
    parts = [f"{key.rsplit('.', 1)[-1]}={_name_of(value)}" for key, value in swept.items()]
    return Path(here.sweep.dir) / (",".join(parts) or str(here.job.num))


def _name_of(value: str) -> str:
    """Return a value as a part of a folder's name; different values get different names."""
    name = re.sub(r"[^\w.+-]+", "-", value.replace("/", "-"))[:80].strip("-")
    return name if name == value else f"{name}-{zlib.crc32(value.encode()):08x}"


def record_failure(
    folder: Path, reason: str, exit_status: int, swept: Mapping[str, str] | None = None
) -> None:
    """Leave in a run's folder why it failed; the sweep goes on, and tries it again if restarted."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "reason": " ".join(reason.split()),
        "exit_status": exit_status,
        "swept": dict(swept or {}),
    }
    write_whole(folder / FAILED, json.dumps(record, ensure_ascii=False))


def record_unfinished(sweep: Path, reason: str) -> None:
    """Record those runs of the sweep as failed that have begun, and neither finished nor failed."""
    for path in sweep.glob("*/config.yaml"):
        ends = (FINISHED, FAILED, f"{BEST}/{FINISHED}")
        if not any((path.parent / end).exists() for end in ends):
            record_failure(path.parent, reason, 1)


def statuses_of_failures(sweep: Path) -> list[int]:
    """Return the exit status of each run in the sweep's folder that failed; 1 of a damaged one."""
    failed = [path for path in sweep.glob(f"*/{FAILED}") if not path.with_name(FINISHED).exists()]
    statuses = []
    for path in failed:
        try:
            statuses.append(int(json.loads(path.read_text(encoding="utf-8"))["exit_status"]))
        except (ValueError, KeyError, TypeError):
            statuses.append(1)
    return statuses


def command_again(folder: Path) -> list[str] | None:
    """Return the arguments that began the sweep in ``folder``; None if there is none.

    The working directory becomes the one it was begun in, so that relative paths hold.

    Raises:
        InputError: its ``multirun.yaml`` is damaged, or that directory is gone.
    """
    file = folder / "multirun.yaml"
    if not file.exists():
        return None
    try:
        hydra = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
        overrides = [*hydra["overrides"]["task"], *hydra["overrides"]["hydra"]]
        cwd = hydra["runtime"]["cwd"]
        if cwd != os.getcwd():
            folder = folder.absolute()
            os.chdir(cwd)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"resume={folder}: its multirun.yaml is damaged or of another machine ({error}): "
            f"give the sweep's own command again, with run_dir={folder}"
        ) from None
    again = [o for o in overrides if o.split("=", 1)[0] not in ("run_dir", *OWN_KEYS)]
    return ["-m", *again, f"run_dir={quoted(str(folder))}"]
