"""How a message names an option on how files are read: as ``train.py`` has it, or the command.

The same reading serves ``train.py data.text=COLUMN`` and ``textcls predict --text-column COLUMN``,
and its errors print what to type. What raises them says which option it means; which of the two
names that is depends on the program that is running.
"""

import contextlib
import csv
import io
import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from textcls.errors import visible

Style = Callable[[str, Sequence[str]], str]

# The names of the command's options that are not those of the keys.
_COMMAND = {"text": "--text-column", "label": "--label-column"}


def option(key: str, *values: str) -> str:
    """Return an option as it can be typed in a shell, quoted where the shell needs that.

    Args:
        key: of ``data`` in the configuration: ``text``, ``header``, …
        values: what to set it to; several where the option takes several; none to name the option
            alone. ``"true"`` and ``"false"`` are the values of ``header``.

    Returns:
        ``data.text=COLUMN``, ``'data.text=[title,body]'``, ``data.delimiter=';'``,
        ``data.header=false``, ``data.columns``; in a verb of the command ``--text-column COLUMN``,
        ``--text-column title --text-column body``, ``--delimiter ';'``, ``--no-header``,
        ``--columns``. A file that the command takes without an option, ``train``, is its name.
    """
    return _style(key, ["tab" if value == "\t" else value for value in values])


def can_be_typed(*values: str) -> bool:
    """Say whether values, of a file that may hold anything, are worth printing as what to type."""
    names = all(visible(value) == value and not set(value) & set('"{}\\') for value in values)
    return names and sum(map(len, values)) <= 40


@contextlib.contextmanager
def command_names() -> Iterator[None]:
    """Let messages name the command's options while a verb runs."""
    # A variable of the module, not of a context: files are also read in threads, which have none.
    global _style
    before, _style = _style, _of_command
    try:
        yield
    finally:
        _style = before


def _of_train(key: str, values: Sequence[str]) -> str:
    if not values:
        return f"data.{key}"
    if len(values) == 1:
        return f"data.{key}={shlex.quote(values[0])}"
    return shlex.quote(f"data.{key}=[{','.join(map(_element, values))}]")


def _of_command(key: str, values: Sequence[str]) -> str:
    name = _COMMAND.get(key, f"--{key.replace('_', '-')}")
    if key == "train":
        return shlex.join(values) or "FILE"
    if key == "header":
        return "--no-header" if values == ["false"] else "--header"
    if key in ("columns", "label_names", "keep") and values:
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(values)
        return f"{name} {shlex.quote(row.getvalue())}"
    return " ".join(f"{name} {shlex.quote(value)}" for value in values) or name


def _element(value: str) -> str:
    """Quote an element of a list for Hydra, where it is more than a word."""
    if re.fullmatch(r"[A-Za-z_][\w-]*", value, re.ASCII) and value.lower() not in (
        "null", "true", "false", "nan", "inf",
    ):  # fmt: skip
        return value
    # A backslash stands for itself, except before a quote.
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f'"{escaped}"'


_style: Style = _of_train
