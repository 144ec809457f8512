"""The settings of a trial: values by option, set in a configuration and written as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from textcls.config import Config, parse

Settings = dict[str, Any]  # values by option, as on the command line


def configure(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return ``config`` with other settings.

    Raises:
        InputError: they do not go together.
    """
    values = config.to_dict()
    for option, value in settings.items():
        group, _, key = option.partition(".")
        values[group][key] = value
    return parse(values)


def key_of(settings: Settings) -> str:
    """Return a text that equal settings have in common, and no others."""
    return repr(sorted(settings.items()))


def as_arguments(settings: Settings) -> list[str]:
    """Return settings as arguments of the command line, not yet quoted for a shell."""
    return [f"{name}={as_word(value)}" for name, value in settings.items()]


def as_word(value: Any) -> str:
    """Return a value as the command line has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple):
        return f"[{','.join(map(as_word, value))}]"
    if isinstance(value, str) and not re.fullmatch(r"[\w.+/-]+", value):
        escaped = value.replace("'", "\\'")
        return f"'{escaped}'"
    return str(value)
