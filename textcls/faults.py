"""What pydantic finds wrong with options, in the words of the command line."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError


def describe_all(error: ValidationError, prefix: str = "") -> str:
    """Return what is wrong in one line, of many faults those that a line has room for."""
    faults = list(dict.fromkeys(describe_error(dict(item), prefix) for item in error.errors()))
    shown = 1
    while shown < len(faults) and len("; ".join(faults[: shown + 1])) <= 270:
        shown += 1
    more = f"; and {len(faults) - shown} more" if shown < len(faults) else ""
    return "; ".join(faults[:shown]) + more


def describe_error(item: dict[str, Any], prefix: str = "") -> str:
    """Return one of pydantic's errors in terms of options, whose names begin with ``prefix``."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error" and len(item["loc"]) < 2:  # of a group, not of a key in it
        return message
    # Steps into a union are numbers or type names, not keys of ours: the first two name the key.
    key = prefix + ".".join(str(part) for part in item["loc"][:2])
    if item["type"] == "unexpected_keyword_argument":
        return f"{key}: there is no such option"
    if item["type"] in ("missing", "missing_argument"):
        return f"{key} is missing"
    value = str(item["input"])
    shown = value if len(value) <= 60 else f"{value[:59]}…"
    return f"{key}={shown}: {message[0].lower()}{message[1:]}"
