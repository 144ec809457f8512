"""A table of input files: what each must give, and how that is checked.

An input is read as training reads it and as prediction does. It gives exactly the expected texts
and labels, or one line that names the file and, where there is one, a way to mend it; the way is
then tried as it is printed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import make_config
from textcls.config import DataConfig, Reading
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.reading import read_texts
from textcls.errors import InputError, visible

Row = tuple[str, str]
# Labels come again, texts hold commas, semicolons and quotes that no dialect may stumble over.
ROWS: list[Row] = [
    ("what a film", "pos"),
    ("never, never again", "neg"),
    ('they call it "art"', "pos"),
    ("so dull; I left", "neg"),
    ("ça va, déjà vu", "pos"),
    ("no", "neg"),
]
PLAIN: list[Row] = [("what a film", "pos"), ("never again", "neg"), ("fine", "pos"), ("no", "neg")]
# Enough rows to see which column repeats.
MANY: list[Row] = [(f"{text} {i}", label) for i in range(3) for text, label in PLAIN]
# Words of a parser or of Python, which a user who reads a file did not ask for.
JARGON = re.compile(
    r"Traceback|tokenizing|Arrow|pandas|codec|Expecting|CSV parse|0x[0-9a-f]{6,}|Errno"
    r"|object has no|NoneType|<class|\bstraddl",
)
# `data.key=value` as a shell would read it; the value, or all of it, may be quoted.
WORD = r"""(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])"""
OPTION = re.compile(rf"(?:'data\.\w+=[^']*'{WORD}*|data\.\w+={WORD}+)")
LIMIT = 300


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        content: of the file.
        name: of the file.
        rows: the expected texts and labels; of a refused file, those after mending.
        note: a pattern that one of the notes matches.
        error: a pattern that the error matches; None: the file is read.
        options: of ``data``.
        fill: values for the options that an error prints with a placeholder in capitals.
    """

    content: bytes
    name: str
    rows: list[Row] | None
    note: str | None
    error: str | None
    options: dict[str, Any]
    fill: dict[str, str] = field(default_factory=dict)


def reads(
    what: str,
    content: str | bytes,
    rows: list[Row] = PLAIN,
    name: str = "train.csv",
    note: str | None = None,
    **options: Any,
) -> Any:
    """Return a parameter: a file that is read as these rows."""
    content = content.encode() if isinstance(content, str) else content
    return pytest.param(Case(content, name, rows, note, None, options), id=what)


def refused(
    what: str,
    content: str | bytes,
    error: str,
    name: str = "train.csv",
    mended: list[Row] | None = None,
    fill: dict[str, str] | None = None,
    **options: Any,
) -> Any:
    """Return a parameter: a file that is refused, and read as ``mended`` as the message says."""
    content = content.encode() if isinstance(content, str) else content
    return pytest.param(Case(content, name, mended, None, error, options, fill or {}), id=what)


def check(case: Case, folder: Path) -> None:
    """Write the file, read it as training and as prediction do, and check what comes of it."""
    path = folder / case.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(case.content)
    if case.error is None:
        assert case.rows is not None
        corpus = read(path, case.options)
        assert rows_of(corpus) == case.rows
        check_notes(corpus.notes, case.note)
        assert predicted(path, case.options, corpus) == [text for text, _ in case.rows]
        return
    message = refusal(path, case.options)
    assert re.search(case.error, message), message
    if case.rows is not None:
        options = case.options | mend(message, case.fill)
        assert rows_of(read(path, options)) == case.rows, message


def read(path: Path | str, options: dict[str, Any], **splits: str) -> Corpus:
    """Read a file as all three splits, so that nothing is cut, or the splits that are given."""
    splits = splits or {"validation": str(path), "test": str(path)}
    return Source(data_config(train=str(path), **splits, **options)).read()


def data_config(**changes: Any) -> DataConfig:
    return dataclasses.replace(_local(), **changes)


@functools.cache
def _local() -> DataConfig:
    return make_config("data=local", "data.train=x").data


def rows_of(corpus: Corpus, split: str = "train") -> list[Row]:
    """Return texts and labels; no text is an empty one."""
    part = corpus.splits[split]
    texts = [text or "" for text in part.texts.to_pylist()]
    return list(zip(texts, (corpus.label_names[i] for i in part.labels.ids), strict=True))


def predicted(path: Path, options: dict[str, Any], corpus: Corpus) -> list[str]:
    """Return the texts that prediction reads for a model of this corpus."""
    usual = Reading(text=corpus.text_columns, label=corpus.label_columns)
    reading = dataclasses.replace(data_config(**options).reading, label_names=None)
    pieces = read_texts(path, reading, usual)
    return [text or "" for piece in pieces for text in piece.to_pylist()]


def refusal(
    path: Path | str, options: dict[str, Any], name: str | None = None, **splits: str
) -> str:
    """Read a file that must be refused; return the message after checking its form.

    Args:
        name: of the file at fault, if that is not the path's.
    """
    with pytest.raises(InputError) as caught:
        read(path, options, **splits)
    check_message(str(caught.value), name or Path(path).name)
    return str(caught.value)


def check_message(message: str, name: str) -> None:
    """Check that a message is one short line in plain words that names the file or the option."""
    line = visible(" ".join(message.split()))  # as textcls.errors.tell prints it
    assert len(line) < LIMIT, f"{len(line)} characters: {line}"
    assert name in message or "data." in message, message
    assert not JARGON.search(line), message


def check_notes(notes: tuple[str, ...], wanted: str | None) -> None:
    for note in notes:
        assert len(visible(" ".join(note.split()))) < LIMIT, note
    if wanted is not None:
        assert any(re.search(wanted, note) for note in notes), notes


def mend(message: str, fill: dict[str, str]) -> dict[str, Any]:
    """Return the options that a message prints, as a shell and the command line read them.

    Where a message offers a choice of options (``data.x=…, or data.y=…``), the first one counts.
    Only those of ``fill`` are taken of an option with a placeholder (``data.text=COLUMN``).
    """
    found: dict[str, str] = {}
    for match in OPTION.finditer(re.split(r",? or '?data\.", message)[0]):
        (word,) = shlex.split(match.group().rstrip(".,;:)"))
        key, value = word.removeprefix("data.").split("=", 1)
        found[key] = fill.get(key, value)
    missing = set(fill) - set(found)
    assert not missing, f"no data.{missing}= in: {message}"
    assert found, f"nothing to type in: {message}"
    return {key: _value(key, value) for key, value in found.items()}


def _value(key: str, value: str) -> Any:
    if key in ("text", "columns", "label_names"):
        names = OverridesParser.create().parse_override(f"x={value}").value()
        return tuple(names) if isinstance(names, list) else (value,)
    return {"true": True, "false": False}.get(value, value) if key == "header" else value


def csv_text(
    rows: list[Row],
    header: str | None = "text,label",
    delimiter: str = ",",
    end: str = "\n",
    quote: str = '"',
) -> str:
    """Write rows as csv with every text quoted."""
    lines = [] if header is None else [header]
    for text, label in rows:
        doubled = text.replace(quote, quote * 2)
        lines.append(f"{quote}{doubled}{quote}{delimiter}{label}")
    return end.join(lines) + end


def plain_text(
    rows: list[Row] = PLAIN,
    header: str | None = "text,label",
    delimiter: str = ",",
    end: str = "\n",
) -> str:
    """Write rows without any quoting."""
    lines = [] if header is None else [header]
    return end.join([*lines, *(f"{text}{delimiter}{label}" for text, label in rows)]) + end


def jsonl_text(rows: list[Row] = ROWS, **options: Any) -> str:
    return "".join(
        json.dumps({"text": text, "label": label}, **options) + "\n" for text, label in rows
    )
