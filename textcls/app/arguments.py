"""The command line: which arguments are flags, which are options, and what they imply.

``data.train=FILE`` names the corpus, so that it implies ``data=local``.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from textcls.app.mistakes import no_assignment, no_option
from textcls.app.options import (
    NEEDED_GROUPS,
    Kind,
    choices,
    chosen_files,
    groups,
    kind_of,
    takes_list,
)
from textcls.app.overrides import for_hydra, parsed, split, unquoted
from textcls.errors import InputError

# Hydra's flags: whether a value follows.
_FLAGS = {
    "-h": False, "--help": False, "--hydra-help": False, "--version": False, "-r": False,
    "--run": False, "-m": False, "--multirun": False, "--resolve": False, "-i": False,
    "--info": False, "-sc": False, "--shell-completion": False, "-c": True, "--cfg": True,
    "-p": True, "--package": True, "-cp": True, "--config-path": True, "-cn": True,
    "--config-name": True, "-cd": True, "--config-dir": True,
}  # fmt: skip
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_ARGUMENT = re.compile(r"(\+\+|\+|~)?([^=]*)(=?)(.*)", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_$][\w$-]*([./@:][\w$-]+)*", re.ASCII)
# Options that say which corpus it is, so that none is chosen by default.
_NAME_CORPUS = ("data.train", "data.validation", "data.test", "data.repo")


@dataclass(frozen=True)
class Argument:
    """One argument ``KEY=VALUE``.

    Attributes:
        sign: ``+``, ``++``, ``~`` or nothing.
        key: the option or config group.
        value: as typed; None where there is no ``=``.
    """

    sign: str
    key: str
    value: str | None

    @classmethod
    def read(cls, argument: str) -> Argument:
        """Take an argument apart."""
        sign, key, equals, value = _ARGUMENT.fullmatch(argument).groups()  # type: ignore[union-attr]
        return cls(sign or "", key, value if equals else None)


def prepare(arguments: Sequence[str]) -> list[str]:
    """Return a command line for Hydra that means what ``arguments`` mean to a user.

    Raises:
        InputError: they mean nothing; one line.
    """
    flags, words = _split_flags(arguments)
    if {"-sc", "--shell-completion"} & set(flags):
        return list(arguments)
    given = [_checked(word, Argument.read(word)) for word in words]
    files = _files_of(given, flags)
    sweeping = _are_swept(given, flags, files)
    implied = _implied(given, files)
    return [*flags, *implied, *(_for_hydra(argument, sweeping) for argument in given)]


def is_sweep(arguments: Sequence[str]) -> bool:
    """Say whether arguments ask for several runs.

    Raises:
        InputError: as of :func:`prepare`.
    """
    flags, words = _split_flags(arguments)
    given = [Argument.read(word) for word in words]
    return _are_swept(given, flags, _files_of(given, flags))


def _files_of(given: Sequence[Argument], flags: Sequence[str]) -> list[Any]:
    """Return what the files hold that arguments choose."""
    folders = [value for flag, value in pairwise(flags) if flag in ("-cd", "--config-dir")]
    named = [(a.key, a.value) for a in given if a.value and not a.sign.startswith("~")]
    return list(chosen_files([(key, value) for key, value in named if key in groups()], folders))


def _are_swept(given: Sequence[Argument], flags: Sequence[str], files: Sequence[Any]) -> bool:
    return (
        bool({"-m", "--multirun"} & set(flags))
        or any(a.key == "hydra.mode" and (a.value or "").upper() == "MULTIRUN" for a in given)
        or any(_hydra_part(file, "mode") == "MULTIRUN" for file in files)
    )


def _split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate flags, with their values, from the rest."""
    flags: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
            continue
        if name not in _FLAGS:
            raise InputError(_unknown_flag(word, rest))
        if equals and not _FLAGS[name] and name != "--info":
            raise InputError(f"{word}: {name} takes no value")
        flags.append(word)
        if _FLAGS[name] and not equals:
            if not rest:
                raise InputError(f"{word} needs a value after it")
            value = rest.pop(0)
            if name in ("-c", "--cfg") and value not in ("job", "hydra", "all"):
                raise InputError(f"{word} {value}: choose job, hydra or all")
            flags.append(value)
        elif name in ("-i", "--info") and rest and rest[0] in _INFO:
            flags.append(rest.pop(0))
        elif name == "--info" and equals and word.partition("=")[2] not in _INFO:
            raise InputError(f"{word}: choose one of {', '.join(_INFO)}")
    return flags, words


def _unknown_flag(word: str, rest: Sequence[str]) -> str:
    """Say what is meant by a flag that there is not, such as ``--epochs 3``."""
    name, equals, value = word.lstrip("-").partition("=")
    if near := difflib.get_close_matches(word, [flag for flag in _FLAGS if len(flag) > 2], 1):
        return f"{word}: there is no such flag: did you mean {near[0]}?"
    if name and word.startswith("--"):
        if not equals and rest and not rest[0].startswith("-") and "=" not in rest[0]:
            value = rest[0]
        return no_option(name.replace("-", "_"), value or "VALUE", word)
    return f"{word}: there is no such flag: see --help"


def _checked(word: str, argument: Argument) -> Argument:
    """Return the argument.

    Raises:
        InputError: it is no ``KEY=VALUE``, or leaves out what no run can be without.
    """
    if argument.value is None and argument.sign != "~":
        raise InputError(no_assignment(word))
    key = argument.key.strip()
    if key != argument.key:
        meant = shlex.quote(f"{argument.sign}{key}={(argument.value or '').strip()}")
        raise InputError(f"'{word}': write {meant}, without spaces around the =")
    if not key:
        raise InputError(f"'{word}' has no option before the =: options are written KEY=VALUE")
    if not _KEY.fullmatch(key):
        raise InputError(no_option(key, argument.value or "", word))
    if key in (*NEEDED_GROUPS, "launcher"):
        if argument.sign == "~":
            raise InputError(f"{word}: every run needs {key}: leave this out, or choose another")
        if argument.value in ("", "null") or (argument.value or "").startswith(("[", "{")):
            raise InputError(f"{word}: choose one of {', '.join(choices(key))}")
    if key in ("run_dir", "resume", "init_from") and not argument.value:
        raise InputError(f"{word} names no folder: write {key}=FOLDER, or leave it out")
    return argument


def _hydra_part(file: Any, *keys: str) -> Any:
    """Return what a config file says of Hydra itself; None where it says nothing."""
    part = file.get("hydra")
    for key in keys:
        part = part.get(key) if isinstance(part, dict) else None
    return part


def _implied(given: Sequence[Argument], files: Sequence[Any]) -> list[str]:
    """Return ``data=local`` where files are named and no corpus is chosen.

    Raises:
        InputError: a train file is named beside a corpus that has its own, whose test split would
            be scored; or files are named, and a chosen config sweeps over corpora.
    """
    naming = [a for a in given if a.key in _NAME_CORPUS and a.value not in (None, "null")]
    chosen = next((a.value for a in given if a.key == "data" and a.value), "local")
    train = next((a.value for a in naming if a.key == "data.train"), None)
    if train is not None and any("train" in file and "source" not in file for file in files):
        raise InputError(
            f"data={chosen} has files of its own: leave it out to train on "
            f"{shlex.quote(f'data.train={train}')}"
        )
    if not naming or any(a.key == "data" or a.key.startswith("data@") for a in given):
        return []
    for argument in naming:
        if argument.value in choices("data") and not os.path.lexists(argument.value):
            raise InputError(
                f"{argument.key}={argument.value}: there is no such file: did you mean "
                f"data={argument.value}?"
            )
    for file in files:
        swept = _hydra_part(file, "sweeper", "params")
        if isinstance(swept, dict) and "data" in swept:
            raise InputError(
                f"{naming[0].key}={naming[0].value}: the chosen experiment trains on corpora of "
                "its own: leave out one of the two"
            )
        for default in file.get("defaults") or []:
            names = default if isinstance(default, dict) else {}
            if any(name.split()[-1].lstrip("/") == "data" for name in names):
                return []
    return ["data=local"]


def _for_hydra(argument: Argument, sweeping: bool) -> str:
    key, value = argument.key, argument.value
    before = f"{argument.sign}{key}"
    if value is None:
        return before
    if argument.sign == "~" or key.startswith("hydra") or "@" in key or ":" in key:
        return f"{before}={value}"
    if not sweeping:
        _check_single(key, value)
    return f"{before}={for_hydra(key, value, sweeping)}"


def _check_single(key: str, value: str) -> None:
    """Refuse several values where there is no sweep.

    Raises:
        InputError: there are several.
    """
    if kind_of(key) is Kind.OTHER:
        read = parsed(value)
        if read is not None and read.is_sweep_override():
            as_list = f"; for a list, write {shlex.quote(f'{key}=[{value}]')}"
            raise InputError(
                f"{key}={value} has several values: add -m to train with each of them"
                f"{as_list if takes_list(key) and ',' in value else ''}"
            )
    elif not os.path.lexists(value):
        inner = (
            value[1:-1] if kind_of(key) is Kind.TEXT and value[:1] + value[-1:] == "[]" else value
        )
        names = [unquoted(name) for name in split(inner)]
        if len(names) > 1 and all(map(os.path.exists, names)):
            raise InputError(
                f"{key}={value} names several files: add -m to train on each of them, or name all "
                "rows of one corpus by a pattern, such as 'part-*.csv'"
            )
