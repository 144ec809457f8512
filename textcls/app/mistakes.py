"""What is wrong with a command line, in terms of its options: one line that says how to mend it.

Hydra's and OmegaConf's own messages are for those who write configs. Here they are put in terms of
what was typed.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import MissingConfigException

from textcls.app.options import (
    OPTIONS,
    choices,
    choices_with,
    groups,
    options_with_choice,
)

# Hydra's launchers that are optional extras of ours: the name of the extra.
PLUGINS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray"}
# What other programs call an option.
_ELSEWHERE = {
    "learning_rate": "optimizer.lr", "separator": "data.delimiter", "sep": "data.delimiter",
    "embedding_dim": "model.dim", "pooling": "model.mode", "random_state": "seed",
    "out": "run_dir", "output": "run_dir", "output_dir": "run_dir", "dataset": "data",
}  # fmt: skip
_DATA_FILES = (
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".xlsx", ".gz",
    ".zip", ".zst", ".bz2", ".xz",
)  # fmt: skip


def no_assignment(word: str) -> str:
    """Say what to write instead of a word without ``=``."""
    if _is_data(word):
        return f"{word}: to train on a file, write {_typed('data.train', word)}"
    if word in OPTIONS or word in groups():
        return f"{word} has no value: write {word}=VALUE"
    return f"'{word}' is no option: options are written KEY=VALUE, as in trainer.epochs=3"


def no_option(key: str, value: str, word: str = "") -> str:
    """Say which option may have been meant by one that there is not.

    Args:
        key: the option.
        value: as typed.
        word: the whole argument.
    """
    word = word or f"{key}={value}"
    fault = f"{_clip(word)}: there is no option '{_clip(key)}'"
    if os.path.exists(word):
        return f"{fault}: to train on a file, write {_typed('data.train', word)}"
    if key.startswith("trainer.class_weights."):
        label = key.removeprefix("trainer.class_weights.")
        return f"{fault}: write {_typed('trainer.class_weights', f'{{{label}: {value}}}')}"
    if key in OPTIONS:
        return _not_composed(key, value)
    meant = _meant(key, value)
    if not meant:
        return f"{fault}: see --help"
    if len(meant) == 1:
        return f"{fault}: did you mean {_typed(meant[0], value)}?"
    return f"{fault}: did you mean {', '.join(meant[:-1])} or {meant[-1]}?"


def _not_composed(key: str, value: str) -> str:
    """Say which choice of a group brings an option."""
    group = key.split(".")[0]
    if group == "tune":
        return f"{key}={_clip(value)} is for a search: add tune=default"
    bringing = choices_with(key)
    which = " or ".join(bringing) or f"another {group}"
    return f"{key}={_clip(value)}: the chosen {group} has no such option: it belongs to {which}"


def _meant(key: str, value: str) -> list[str]:
    """Return the options that ``key`` may stand for, at most three."""
    key = key.strip().replace("-", "_").lower()
    name = key.rsplit(".", 1)[-1]
    if "." not in key and _is_data(value) and key not in ("train", "validation", "test"):
        return ["data.train"]
    known = [*OPTIONS, *(group for group in groups() if group not in OPTIONS)]
    if key in known or name in _ELSEWHERE:
        return [_ELSEWHERE.get(name, key)]
    same = [option for option in known if option.rsplit(".", 1)[-1] == name]
    if same:
        return same[:3]
    whole = difflib.get_close_matches(key, known, 1, 0.75)
    if whole:
        return whole
    names = {option.rsplit(".", 1)[-1]: option for option in reversed(known)}
    return [names[near] for near in difflib.get_close_matches(name, names, 1, 0.7)]


def no_choice(group: str, name: str, options: Sequence[str] = ()) -> str:
    """Say what to choose from in a config group, where there is no choice of that name."""
    fault = f"{group}={_clip(name)}: there is no such choice"
    if group == "data" and _is_data(name):
        return f"{fault}: to train on a file, write {_typed('data.train', name)}"
    if group == "hydra/launcher" and name in PLUGINS:
        extra = PLUGINS[name]
        return f"launcher={extra} needs another package: pip install 'textcls[{extra}]'"
    known = [option for option in options if option != "base"] or list(choices(group))
    near = difflib.get_close_matches(name.lower(), known, 1)
    if near:
        return f"{fault}: did you mean {group}={near[0]}?"
    meant = [option for option in options_with_choice(name) if option.startswith(f"{group}.")]
    if meant:
        return f"{fault}: did you mean {meant[0]}={name}?"
    return _clip(f"{fault}: choose one of {', '.join(known)}", 280)


def message_of(error: BaseException, arguments: Sequence[str]) -> str:
    """Return what Hydra or OmegaConf found wrong, in one line.

    Args:
        error: theirs.
        arguments: as they were typed.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    typed = {key.lstrip("+~"): value for key, _, value in (a.partition("=") for a in arguments)}
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, name = _group_and_name(str(error.missing_cfg_file))
        if group:
            return no_choice(group, name, [str(option) for option in error.options or ()])
    if found := re.match(r"In '.*': Could not (?:find|load) '(.*)'", text):
        return no_choice(*_group_and_name(found[1]))
    if found := re.match(r"Could not override '(.*)'\.", text):
        return no_option(found[1], typed.get(found[1], ""))
    already = (
        r"Could not append to config\. An item is already at '(.*)'|Multiple values for (\S+)\."
    )
    if found := re.match(already, text):
        key = found[1] or found[2]
        return f"+{key}: it is there already: write {_typed(key, typed.get(key, 'VALUE'))}"
    if found := re.match(r"Could not delete from config\. '(.*)' does not exist", text):
        return no_option(found[1], "", f"~{found[1]}")
    if found := re.match(r"Could not delete from config\. The value of '(.*)' is", text):
        return f"~{found[1]}: {text.removeprefix('Could not delete from config. ')}"
    if found := re.match(r"Error merging override (.*)", text):
        return f"{_clip(found[1])}: {_clip(str(error.__cause__).splitlines()[0], 200)}"
    # Hydra and OmegaConf put the reason first and where it is in the lines after it.
    key = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key")), "")
    if text.startswith("Missing mandatory value"):
        return f"{key} is missing: add {key}=VALUE"
    return f"{key}: {_clip(text, 200)}" if key else _clip(text, 280)


def _group_and_name(missing: str) -> tuple[str, str]:
    """Take ``group/name`` apart; a name may be typed as a path."""
    if missing.startswith("hydra/"):
        group, _, name = missing.rpartition("/")
    else:
        group, _, name = missing.partition("/")
    return (group, name) if name or group in groups() else ("", missing)


def _typed(key: str, value: str) -> str:
    """Return an argument as it is to be typed in a shell."""
    return shlex.quote(f"{key}={value}") if len(value) <= 80 else f"{key}=…"


def _is_data(word: str) -> bool:
    return word.lower().endswith(_DATA_FILES) or Path(word).is_file()


def _clip(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
