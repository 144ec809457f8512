"""The data report: what was read, as lines of a log, on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls import markdown
from textcls.data.checks import are_several
from textcls.errors import visible

# What the log has room for; data.json holds all.
LOGGED_FILES = 3
LOGGED_CLASSES = 6
# What a table has room for.
SHOWN_FILES = 12
SHOWN_CLASSES = 30
# A text is shown up to so many characters.
SHOWN_TEXT = 500
_HEADS = (
    "split", "rows", "empty", "duplicates", "in train", "median", "95 %", "most", "unknown",
)  # fmt: skip
# Where a row may have several labels.
_LABEL_HEADS = ("split", "labels", "labels a row", "most of a row", "rows without any")


def log_lines(facts: dict[str, Any]) -> list[str]:
    """Return the report in a few lines, without its warnings."""
    lines: list[str] = []
    for split, files in facts["files"].items():
        lines += [
            f"{split}: {visible(file['path'])}: {_described(file)}" for file in files[:LOGGED_FILES]
        ]
        if len(files) > LOGGED_FILES:
            rows = sum(file["rows"] for file in files)
            more = len(files) - LOGGED_FILES
            lines.append(f"{split}: … and {more:,} more files, {rows:,} rows in all")
    lines.append(_columns(facts))
    names = _by_frequency(facts)
    shares = ", ".join(
        f"{visible(name):.40} {share}" for name, share in _shares(facts)[:LOGGED_CLASSES]
    )
    lines.append(
        f"{len(names):,} {'labels' if are_several(facts) else 'classes'}, by share of train: "
        f"{shares}" + (", …" if len(names) > LOGGED_CLASSES else "")
    )
    lines += _aligned([_HEADS, *_split_rows(facts)])
    lines.append(_explained(facts))
    if are_several(facts):
        lines += _aligned([_LABEL_HEADS, *_label_rows(facts)])
    return lines + [visible(note) for note in facts["notes"]]


def terminal(
    facts: dict[str, Any], warnings: Sequence[str], first_rows: Sequence[tuple[str, str]]
) -> RenderableType:
    """Return the whole report for a terminal; to be printed with ``crop=False``.

    Args:
        facts: see :class:`textcls.data.prepare.Prepared`.
        warnings: what :func:`textcls.data.checks.find_mistakes` says of them.
        first_rows: label and text of the first rows of train.
    """
    parts: list[RenderableType] = []
    if facts["files"]:
        parts.append(_rich(("split", "file", "read as"), _file_rows(facts), numbers=False))
    parts.append(Text(_columns(facts)))
    parts.append(_rich(_HEADS, _split_rows(facts)))
    parts.append(Text(_explained(facts)))
    if are_several(facts):
        parts.append(_rich(_LABEL_HEADS, _label_rows(facts)))
    parts.append(_rich(_class_heads(facts), _class_rows(facts)))
    if first_rows:
        rows = [(label, text[:SHOWN_TEXT]) for label, text in first_rows]
        parts.append(_rich(("label", "text of the first rows of train"), rows, numbers=False))
    parts += [_sentence(visible(note)) for note in facts["notes"]]
    parts += [_sentence(f"warning: {warning}", "yellow") for warning in warnings]
    return Group(*parts)


def _sentence(text: str, style: str = "") -> Text:
    """Return a line that is not broken, so that what it says to type can be copied."""
    return Text(text, style, no_wrap=True, overflow="ignore")


def as_markdown(facts: dict[str, Any], warnings: Sequence[str]) -> str:
    """Return the whole report as Markdown, with the names of files but not where they are."""
    parts = ["".join(f"- **Warning**: {markdown.plain(text)}\n" for text in warnings)]
    if facts["files"]:
        rows = [(split, Path(name).name, how) for split, name, how in _file_rows(facts)]
        parts.append(markdown.table(("split", "file", "read as"), rows))
    columns = _columns(facts)
    parts.append(f"{markdown.plain(columns[0].upper() + columns[1:])}.\n")
    parts.append(markdown.table(_HEADS, _split_rows(facts)))
    parts.append(
        "Duplicates repeat the text of an earlier row of their split; rows in train have a text "
        "that train has, too; unknown is the share of tokens that the vocabulary lacks "
        f"{_explained(facts)}.\n"
    )
    if are_several(facts):
        parts.append(markdown.table(_LABEL_HEADS, _label_rows(facts)))
    parts.append(markdown.table(_class_heads(facts), _class_rows(facts)))
    parts.append("".join(f"- {markdown.plain(visible(note))}\n" for note in facts["notes"]))
    return "\n".join(part for part in parts if part)


def _described(file: dict[str, Any]) -> str:
    how = [file["format"]]
    if file["compression"]:
        how.append(file["compression"])
    if file["delimiter"]:
        how.append(f"delimiter {_DELIMITERS.get(file['delimiter'], repr(file['delimiter']))}")
    if file["quoting"]:
        how.append(f"quoting {file['quoting']}")
    if file["header"] is False:
        how.append("no header")
    if file["encoding"]:
        how.append(file["encoding"])
    how.append(f"{file['rows']:,} rows")
    if file["multiline"]:
        how.append(f"{file['multiline']:,} fields of several lines")
    return ", ".join(how)


_DELIMITERS = {"\t": "tab", " ": "space"}


def _columns(facts: dict[str, Any]) -> str:
    columns = facts["columns"]
    text = " and ".join(f"'{visible(name)}'" for name in columns["text"])
    left = ", ".join(f"'{visible(name)}'" for name in columns["left"])
    return f"text from {text}, label from '{visible(', '.join(columns['label']))}'" + (
        f", not used: {left}" if left else ""
    )


def _explained(facts: dict[str, Any]) -> str:
    train = facts["splits"]["train"]
    ngrams = f" and {train['ngrams']:,} n-grams" if train["ngrams"] else ""
    return (
        f"(median, 95 % and most are tokens per text; train has {train['tokens']:,} tokens"
        f"{ngrams}, the vocabulary {facts['vocabulary']:,})"
    )


def _file_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for split, files in facts["files"].items():
        for file in files[:SHOWN_FILES]:
            yield split, visible(file["path"]), _described(file)
        if len(files) > SHOWN_FILES:
            rows = sum(file["rows"] for file in files)
            yield split, f"… and {len(files) - SHOWN_FILES:,} more", f"{rows:,} rows in all"


def _split_rows(facts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for split, own in facts["splits"].items():
        lengths = own["lengths"]
        yield (
            split,
            f"{own['rows']:,}",
            f"{own['empty']:,}",
            f"{own['duplicates']:,}",
            f"{own['in_train']['rows']:,}" if "in_train" in own else "",
            *(f"{lengths[name]:,}" for name in ("median", "p95", "longest")),
            f"{own['unknown_tokens'] / own['tokens']:.1%}",
        )


def _label_rows(facts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for split, own in facts["splits"].items():
        counts = (f"{own[name]:,}" for name in ("most_labels", "without_label"))
        yield split, f"{own['labels']:,}", f"{own['labels'] / own['rows']:.2f}", *counts


def _class_heads(facts: dict[str, Any]) -> tuple[str, ...]:
    return "label" if are_several(facts) else "class", *facts["splits"], "share of train"


def _by_frequency(facts: dict[str, Any]) -> list[str]:
    by_class: dict[str, int] = facts["splits"]["train"]["by_class"]
    return sorted(by_class, key=lambda name: -by_class[name])


def _shares(facts: dict[str, Any]) -> list[tuple[str, str]]:
    train = facts["splits"]["train"]
    return [
        (name, f"{train['by_class'][name] / train['rows']:.1%}") for name in _by_frequency(facts)
    ]


def _class_rows(facts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows by class and split, the most frequent classes first."""
    shares = _shares(facts)
    for name, share in shares[:SHOWN_CLASSES]:
        counts = (own["by_class"][name] for own in facts["splits"].values())
        yield visible(name), *(f"{count:,}" for count in counts), share
    if len(shares) > SHOWN_CLASSES:
        yield f"… and {len(shares) - SHOWN_CLASSES:,} more", "", "", "", ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns of ASCII cells: the first to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _rich(heads: Sequence[str], rows: Any, numbers: bool = True) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, head in enumerate(heads):
        right = numbers and i > 0
        table.add_column(head, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table
