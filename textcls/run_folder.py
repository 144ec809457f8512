"""The folder of a run: its settings, its lock, and what it began with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from textcls.config import CIRCUMSTANCES, Config, flatten, read_config
from textcls.corpus.paths import absolute
from textcls.corpus.splits import SPLITS
from textcls.environment import environment
from textcls.errors import BusyError, InputError, TakenError
from textcls.files import FINISHED, SEARCH, write_whole
from textcls.locks import Timeout, acquire

log = logging.getLogger("textcls")

# What training writes: none of it may be there when a run begins. (A run that failed before it,
# over a misspelt column say, leaves a log and its configuration: these give way.)
RUN_FILES = (FINISHED, "epochs.jsonl", "model", "checkpoints", SEARCH)


# See :mod:`textcls.files`.
_LEFT_FILE = re.compile(r"\.\w+\.(csv|json|jsonl|md|png|safetensors|txt|yaml)\.\d+")
_LEFT_FOLDER = re.compile(r"\.model-[0-9a-f]{8}(-old)?")
# In environment.json: a hash of the settings that the run began with.
_SETTINGS = "settings"


def write_settings(config: Config, folder: Path, device: torch.device) -> None:
    """Write ``config.yaml`` and ``environment.json``."""
    write_config(config, folder, synced=True)
    _write_environment(folder, device)


def _write_environment(folder: Path, device: torch.device) -> None:
    values = environment(device) | {_SETTINGS: _hash_of_settings(folder)}
    write_whole(folder / "environment.json", json.dumps(values, indent=2))


def check_settings(folder: Path, device: torch.device) -> None:
    """Check that ``config.yaml`` is what the run began with, but for its circumstances.

    An ``environment.json`` that cannot be read is written anew, with a warning.

    Raises:
        InputError: it has been changed.
    """
    path = folder / "environment.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8")).get(_SETTINGS)
    except (FileNotFoundError, ValueError, AttributeError):
        log.warning("%s: is missing or damaged: it is written anew", path)
        _write_environment(folder, device)
        return
    # Earlier releases did not write it.
    if known is not None and known != _hash_of_settings(folder):
        raise InputError(
            f"{folder}: its config.yaml was changed since this run began: put back what was there, "
            "or start a new run"
        )


def _hash_of_settings(folder: Path) -> str:
    values = flatten(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    rest = {key: value for key, value in values.items() if key not in CIRCUMSTANCES}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def configured(folder: Path) -> Config:
    """Return the configuration of the run that ``resume=`` names.

    Raises:
        InputError: there is no run, or it cannot be read.
    """
    try:
        return read_config(folder)
    except InputError as error:
        raise InputError(f"resume={error}") from None


def write_config(config: Config, folder: Path, synced: bool = False) -> None:
    """Write ``config.yaml``, from which a run goes on."""
    write_whole(folder / "config.yaml", yaml.safe_dump(_settings(config), sort_keys=False), synced)


def _settings(config: Config) -> dict[str, Any]:
    """Return the configuration as ``config.yaml`` has it: paths hold from any directory."""
    values: dict[str, Any] = plain(config.to_dict())
    for group, keys in (("data", SPLITS), ("tokenizer", ("file",))):
        for key in keys:
            path = values[group][key]
            if path is not None and (group == "tokenizer" or config.data.source == "files"):
                values[group][key] = absolute(path)
    if config.init_from is not None:
        values["init_from"] = absolute(config.init_from)
    vectors = config.model.vectors
    if vectors is not None and Path(vectors).expanduser().exists():  # else a name
        values["model"]["vectors"] = absolute(vectors)
    return values


def check_same(there: Config, wanted: Config, folder: Path) -> None:
    """Check that two configurations come to the same result.

    Raises:
        TakenError: they do not.
    """
    old, new = flatten(_settings(there)), flatten(_settings(wanted))
    changed = [key for key in old if old[key] != new[key] and key not in CIRCUMSTANCES]
    if changed:
        key = changed[0]
        raise TakenError(
            f"{folder}: holds a run with other settings ({key} is {old[key]} there, "
            f"{new[key]} now): name another run_dir"
        )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the run folder, and keep other processes out of it while this one writes it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"run_dir={folder}: there is a file in its place") from None
    try:
        lock = acquire(folder / ".lock", timeout=0)
    except Timeout:
        raise BusyError(f"run_dir={folder}: another process is training there") from None
    try:
        if (folder / "config.yaml").exists():
            _remove_leftovers(folder)
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove what is left of files and folders whose writer was killed; who writes has the lock."""
    for place, names, files in os.walk(folder):
        for name in filter(_LEFT_FOLDER.fullmatch, list(names)):
            shutil.rmtree(Path(place, name), ignore_errors=True)
            names.remove(name)
        for name in filter(_LEFT_FILE.fullmatch, files):
            Path(place, name).unlink(missing_ok=True)


def check_unchanged(path: Path, key: str) -> None:
    """A resumed run must go on with the very bags that it began with."""
    if path.exists() and path.read_text(encoding="utf-8", errors="replace").strip() != key:
        raise InputError(
            f"{path.parent}: the data, or how it is tokenized, has changed since this run began: "
            "start a new run"
        )
    write_whole(path, f"{key}\n")


def plain(value: Any) -> Any:
    """Turn tuples into lists, for YAML."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
