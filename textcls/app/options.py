"""The options and config groups that the command line has: their types, files and choices."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from textcls.config import Config
from textcls.program import CONFIGS


class Kind(enum.Enum):
    """How the value of an option is written."""

    TEXT = enum.auto()
    TEXTS = enum.auto()
    WEIGHTS = enum.auto()
    OTHER = enum.auto()


_hints = get_type_hints(Config)
# Config groups without which there is no run, and the dataclass of each.
NEEDED_GROUPS: dict[str, Any] = {
    name: hint for name, hint in _hints.items() if dataclasses.is_dataclass(hint)
}
# All options by name, with their types; the last four are of the command line alone.
OPTIONS: dict[str, Any] = (
    {name: hint for name, hint in _hints.items() if name not in NEEDED_GROUPS}
    | {
        f"{group}.{name}": hint
        for group, options in NEEDED_GROUPS.items()
        for name, hint in get_type_hints(options).items()
    }
    | {"run_dir": str | None, "resume": str | None}
    | {"tune.seconds": float, "tune.trials": int | None}
)


def kind_of(key: str) -> Kind:
    """Return how values of the option ``key`` are written."""
    if key == "trainer.class_weights":
        return Kind.WEIGHTS
    hint = OPTIONS.get(key)
    accepted = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if tuple[str, ...] in accepted:
        return Kind.TEXTS
    return Kind.TEXT if str in accepted else Kind.OTHER


def takes_list(key: str) -> bool:
    """Say whether the option is a list that is written in brackets."""
    return get_origin(OPTIONS.get(key)) is tuple or key.startswith("tune.space.")


def options_with_choice(name: str) -> list[str]:
    """Return the options of which ``name`` is a possible value."""
    return [
        key
        for key, hint in OPTIONS.items()
        if get_origin(hint) is Literal and name in get_args(hint)
    ]


@cache
def groups() -> tuple[str, ...]:
    """Return the names of all config groups of ``configs/``."""
    return tuple(sorted(path.name for path in CONFIGS.iterdir() if path.is_dir()))


@cache
def choices(group: str) -> tuple[str, ...]:
    """Return the names to choose from in a config group, in order."""
    names = sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
    return tuple(name for name in names if name != "base")


def choices_with(key: str) -> list[str]:
    """Return the choices ``group=name`` whose files have the option ``key``."""
    group, _, name = key.partition(".")
    return [
        f"{group}={choice}" for choice in choices(group) if name in _load(CONFIGS / group, choice)
    ]


def chosen_files(given: Sequence[tuple[str, str]], folders: Sequence[str]) -> Iterator[Any]:
    """Yield what the files hold that are chosen by ``group=name``.

    Args:
        given: groups and names.
        folders: in which to look besides ``configs/``.
    """
    for group, name in given:
        for folder in (*map(Path, folders), CONFIGS):
            if found := _load(folder / group, name):
                yield found
                break


def _load(folder: Path, name: str) -> dict[str, Any]:
    """Return what a config file holds; nothing where Hydra will say what is wrong with it."""
    try:
        held = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return held if isinstance(held, dict) else {}
