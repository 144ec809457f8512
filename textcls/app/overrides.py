"""What the arguments ``KEY=VALUE`` mean, put in the words of Hydra's grammar.

A user writes the name of a file, of a column or a label as it is. To Hydra's grammar much of that
means something else or is an error: ``a,b.csv`` is a sweep, ``it's.csv`` an open quote, ``0`` a
number, ``größe`` no word. So every argument is read here first, by a rule that goes by the
option's type in :mod:`textcls.config`:

**Text** (files, folders, columns, labels: all options that are strings). The value is taken as it
is, and quoted where Hydra would read anything else. There are four exceptions:

- ``null`` is no value.
- A value in quotes, ``'null'``, is what is between them.
- ``${…}`` is OmegaConf's interpolation.
- With ``-m``, commas separate values, each read by this rule, and ``choice(…)``, ``glob(…)`` and
  Hydra's other functions for sweeps keep their meaning.

If there is a file of exactly that name, only the first of them holds. The fourth does not hold for
``run_dir`` and ``resume``, of which a sweep has one.

**Texts** (``data.text``, ``data.label``, ``data.columns``, ``data.label_names``): as above, or
several in brackets, ``[title, body text]``, each of them a text.

**Class weights**: text (a file, or ``balanced``), or ``{label: weight, …}`` with any labels, which
are quoted where they hold a comma. Hydra's dicts cannot hold all labels: these are passed on as a
string of JSON.

**Everything else** (numbers, switches, choices, config groups, ``hydra.…``, ``~KEY``) is Hydra's
grammar. A value that is not valid there is quoted, so that the check of the option names it.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from textcls.app.options import Kind, groups, kind_of
from textcls.errors import InputError

_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\s*\(.*\)", re.DOTALL)
_INTERPOLATION = re.compile(r"\$\{.+\}", re.DOTALL)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_parser = OverridesParser.create()


def for_hydra(key: str, value: str, sweeping: bool) -> str:
    """Return the value of an option as Hydra's grammar has it.

    Args:
        key: without a sign (``+``, ``++``) before it.
        value: as it was typed.
        sweeping: whether commas separate the values of a sweep.

    Raises:
        InputError: the value cannot be written to a file, or weights name a label twice.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{key}={value!a}: this is not valid UTF-8: rename it") from None
    kind = kind_of(key)
    if kind is Kind.OTHER:
        read = parsed(value)
        if value and (read is None or (key in groups() and isinstance(read._value, int | float))):
            return quoted(value)
        return value
    sweeping = sweeping and key not in ("run_dir", "resume")
    if sweeping and not os.path.lexists(value):
        values = split(value)
        if len(values) > 1 and all(values):
            return ",".join(_single(key, kind, each, sweeping) for each in values)
    return _single(key, kind, value, sweeping)


def _single(key: str, kind: Kind, value: str, sweeping: bool) -> str:
    if kind is Kind.WEIGHTS and value.startswith("{") and value.endswith("}"):
        return _weights(key, value)
    if kind is Kind.TEXTS and value.startswith("[") and value.endswith("]"):
        inside = value[1:-1].strip()
        return f"[{','.join(_text(name, False) for name in split(inside))}]" if inside else "[]"
    return _text(value, sweeping)


def _text(value: str, sweeping: bool) -> str:
    if value in ("", "null"):
        return value
    read = parsed(value)
    held = None if read is None else read._value
    if not os.path.lexists(value):
        if isinstance(held, QuotedString) or (sweeping and held and _FUNCTION.fullmatch(value)):
            return value
        if _INTERPOLATION.search(value):
            return (
                value if isinstance(held, str) else QuotedString(value, Quote.single).with_quotes()
            )
    if isinstance(held, str) and held == value and "${" not in value and value != "???":
        return value
    return quoted(value)


def _weights(key: str, value: str) -> str:
    """Return ``{label: weight, …}`` as a quoted string of JSON."""
    inside = value[1:-1].strip()
    weights: dict[str, Any] = {}
    for pair in split(inside) if inside else []:
        label, colon, weight = pair.rpartition(":")
        if not colon:
            raise InputError(f"{key}={value}: '{pair}' has no weight: write {{LABEL: 1, LABEL: 2}}")
        label = unquoted(label.strip())
        if label in weights:
            raise InputError(f"{key}={value}: there are two weights for '{label}'")
        weights[label] = _number(weight.strip())
    return quoted(json.dumps(weights, ensure_ascii=False))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def parsed(value: str) -> Override | None:
    """Return what Hydra reads, None where it is no valid value."""
    try:
        return _parser.parse_override(f"key={value}")
    except (HydraException, ValueError, RecursionError):
        return None


def quoted(text: str) -> str:
    """Quote a text, so that Hydra and OmegaConf read just it."""
    if text == "???":  # which OmegaConf takes for a missing value, even in quotes
        text = "./???"
    escaped = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    return QuotedString(escaped, Quote.single).with_quotes()


def unquoted(value: str) -> str:
    """Return a text without the quotes that it may have; the inverse of :func:`quoted`."""
    read = parsed(value)
    if read is None or not isinstance(read._value, QuotedString):
        return value
    return re.sub(r"(\\*)\\\$\{", lambda found: found[1][::2] + "${", read._value.text)


def split(value: str) -> list[str]:
    """Return what commas separate, but not those in brackets or in quotes."""
    pieces, start, closing, quote = [], 0, "", ""
    for place, character in enumerate(value):
        if quote:
            if character == quote and not _is_escaped(value, place):
                quote = ""
        elif character in "'\"" and not value[start:place].strip(" {[("):
            quote = character if character in value[place + 1 :] else ""
        elif closing and character == closing[-1]:
            closing = closing[:-1]
        elif character in _BRACKETS and _BRACKETS[character] in value[place:]:
            closing += _BRACKETS[character]
        elif character == "," and not closing:
            pieces.append(value[start:place].strip())
            start = place + 1
    return [*pieces, value[start:].strip()]


def _is_escaped(value: str, place: int) -> bool:
    before = value[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
