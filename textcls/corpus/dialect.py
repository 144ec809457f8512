"""How a delimited file is written (delimiter, quoting, header), found out from its beginning."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from textcls.config import Reading
from textcls.corpus.tables import HEAD_ROWS, is_number, plural
from textcls.errors import InputError
from textcls.naming import can_be_typed, option

# Column names that say what they hold. Where exactly one of them is there, it is taken.
TEXT_COLUMNS = {
    "text", "texts", "sentence", "content", "review", "document", "body", "message", "tweet",
    "comment", "question", "headline", "utterance", "sms",
}  # fmt: skip
LABEL_COLUMNS = {
    "label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "tag",
}  # fmt: skip
# Names that a first line may hold beside these, if it is a header.
_OTHER_COLUMNS = {"id", "index", "title", "name", "date", "rating", "score", "stars", "split"}
DELIMITERS = ",;\t|"
# Lines that are read in all ways to see which makes sense; more take long, and say the same.
_SAMPLE_LINES = 2_000

Quoting = Literal["double", "backslash", "none"]

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a text may be long


@dataclass(frozen=True)
class Dialect:
    r"""How the rows of a delimited file are to be read.

    Attributes:
        delimiter: one character.
        quoting: ``double`` (a quote within quotes is written twice, RFC 4180), ``backslash``
            (``\"``) or ``none`` (a quote is a character like others).
        skip_blanks: whether blanks after a delimiter are no part of the field.
        columns: names, as many as the rows have fields.
        header: whether a header line is there.
        skipped: bytes of UTF-8 before the first row.
        first_line: the number of the first row's line, from 1.
        notes: sentences for the user on what was found out.
    """

    delimiter: str
    quoting: Quoting
    skip_blanks: bool = False
    columns: tuple[str, ...] = ()
    header: bool = True
    skipped: int = 0
    first_line: int = 1
    notes: tuple[str, ...] = ()

    def reader(self, lines: Iterable[str], strict: bool = False) -> Any:
        """Return Python's ``csv.reader`` of this dialect."""
        options: dict[str, dict[str, Any]] = {
            "double": {},
            "backslash": {"doublequote": False, "escapechar": "\\"},
            "none": {"quoting": csv.QUOTE_NONE},
        }
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            skipinitialspace=self.skip_blanks,
            strict=strict,
            **options[self.quoting],
        )


def find_dialect(sample: str, is_all: bool, tabbed: bool, path: Any, reading: Reading) -> Dialect:
    """Find out how a delimited file is written.

    Args:
        sample: its beginning.
        is_all: whether that is all of it.
        tabbed: whether its name says that tabs are its delimiters.
        path: for messages.
        reading: what the user says of it.

    Raises:
        InputError: it is empty, or what the user says does not fit it.
    """
    notes = []
    lines = list(io.StringIO(sample, newline=""))
    if not is_all and len(lines) > 1:
        lines.pop()  # cut short
    delimiter = reading.delimiter
    # Of blank rows, spreadsheets write the delimiters, and empty quotes.
    blank = f"\r\n \t{delimiter or DELIMITERS}" if reading.header is not False else "\r\n"
    filled = (i for i, line in enumerate(lines) if line.replace('""', "").strip(blank))
    start = next(filled, len(lines))
    if start and start < len(lines):
        notes.append(f"{plural(start, 'blank line')} at the beginning: passed over")
    said = lines[start].strip('\r\n"') if start < len(lines) else ""
    if said.lower().startswith("sep=") and len(said) == 5:  # Excel's own hint
        delimiter = delimiter or said[4]
        start += 1
    if start >= len(lines):
        raise InputError(f"{path}: is empty")
    rows = lines[start : start + _SAMPLE_LINES]
    dialect = _best(rows, delimiter, tabbed, reading.quoting)
    if _has_blanks_before_quotes(rows, dialect):
        dialect = dataclasses.replace(dialect, skip_blanks=True)
        notes.append("blanks after delimiters, before quotes: passed over")
    usual = "\t" if tabbed else ","
    if delimiter is None and dialect.delimiter != usual:
        names = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma"}
        notes.append(f"delimiter: {names.get(dialect.delimiter, dialect.delimiter)}")
    if reading.quoting is None and dialect.quoting != ("none" if tabbed else "double"):
        notes.append(f"quoting: {dialect.quoting}")
    dialect = dataclasses.replace(
        dialect,
        skipped=sum(len(line.encode()) for line in lines[:start]),
        first_line=start + 1,
    )
    return _with_columns(dialect, rows, path, reading, notes)


# --- delimiter and quoting -------------------------------------------------------------------


@dataclass(frozen=True)
class _Trial:
    """What comes of reading the sample in one way."""

    dialect: Dialect
    width: int  # fields of the first row
    share: float  # of the rows that have as many
    rows: int

    @property
    def is_even(self) -> bool:
        return self.share == 1


def _best(
    lines: Sequence[str], delimiter: str | None, tabbed: bool, quoting: Quoting | None
) -> Dialect:
    """Choose the delimiter that splits the first row, and the others into as many fields.

    Of several that do, the file's name decides; where none does there is one column.
    """
    preferred = delimiter or ("\t,;|" if tabbed else DELIMITERS)
    trials = [_try(lines, Dialect(d, quoting or _quoting(lines, d, tabbed))) for d in preferred]
    split = [trial for trial in trials if trial.width > 1]
    if split:
        return max(split, key=lambda trial: trial.share).dialect  # the first of equals
    return max(trials, key=lambda trial: trial.share).dialect


def _try(lines: Sequence[str], dialect: Dialect) -> _Trial:
    rows = list(_rows(lines, dialect))
    width = len(rows[0]) if rows else 0
    # Without the last, which the sample may have cut within quotes.
    complete = rows[:-1] if len(rows) > 2 else rows
    even = sum(len(row) == width for row in complete)
    return _Trial(dialect, width, even / max(len(complete), 1), len(rows))


def splits_evenly(lines: Sequence[str]) -> bool:
    """Say whether a delimiter splits the lines of a text file into rows of several fields each.

    A comma or a semicolon may be one of prose: it takes five rows to tell.
    """
    for delimiter, least in (("\t", 1), ("|", 1), (";", 5), (",", 5)):
        trial = _try(lines, Dialect(delimiter, _quoting(lines, delimiter, False)))
        if trial.is_even and trial.width > 1 and trial.rows >= least:
            return True
    return False


def _rows(lines: Sequence[str], dialect: Dialect, strict: bool = False) -> Iterator[list[str]]:
    for row in dialect.reader(lines, strict):
        if row:
            yield row


def _quoting(lines: Sequence[str], delimiter: str, tabbed: bool) -> Quoting:
    """Find out what quotes mean.

    In comma-separated files they quote, unless that makes no sense; in tab-separated ones they are
    characters like others, unless they plainly quote: each quote that opens a field is closed at a
    field's end, and one of these fields could not have been written without, or all of a column are
    quoted.
    """
    opened = [line for line in lines if line.startswith('"') or f'{delimiter}"' in line]
    default: Quoting = "none" if tabbed or delimiter == "\t" else "double"
    if not opened:
        return default
    double, plain = Dialect(delimiter, "double"), Dialect(delimiter, "none")
    backslash = Dialect(delimiter, "backslash")
    escaped = any('\\"' in line for line in opened) and not _is_strict(lines, double)
    if escaped and _is_strict(lines, backslash) and _try(lines, backslash).is_even:
        return "backslash"
    unquoted, quoted = _try(lines, plain), _try(lines, double)
    if not _is_strict(lines, double):
        vanish = unquoted.is_even and unquoted.width > 1 and quoted.rows < unquoted.rows
        return "none" if default == "none" or vanish else "double"
    if default == "double":
        return "double"
    if unquoted.is_even and unquoted.width > 1 and quoted.rows < unquoted.rows:
        return "none"
    return "double" if _plainly_quoted(lines, plain, double) else "none"


def _has_blanks_before_quotes(lines: Sequence[str], dialect: Dialect) -> bool:
    """Say whether a file is written ``"text", "label"``: the quotes quote in spite of the blank."""
    if dialect.quoting == "none":
        return False
    rows = list(_rows(lines, dialect))[:HEAD_ROWS]
    hit = sum(any(field.startswith(" ") and field.lstrip(" ")[:1] == '"' for field in row)
              for row in rows)  # fmt: skip
    other = dataclasses.replace(dialect, skip_blanks=True)
    return 2 * hit > len(rows) and _is_strict(lines, other) and _try(lines, other).is_even


def _is_strict(lines: Sequence[str], dialect: Dialect) -> bool:
    """Say whether every quote that opens a field is closed before a delimiter or line end."""
    try:
        for _ in dialect.reader(lines, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error) and len(lines) > 2  # the sample's, it may be
    return True


def _plainly_quoted(lines: Sequence[str], plain: Dialect, double: Dialect) -> bool:
    # A field that holds a quote, a delimiter or a line end had to be quoted.
    special = ('""', double.delimiter, "\n", "\r")
    for row in _rows(lines, double):
        if any('"' in field or any(mark in field for mark in special) for field in row):
            return True
    rows = list(_rows(lines, plain))[1:]
    for column in zip(*rows, strict=False):
        filled = [field for field in column if field]
        if len(filled) > 1 and all(len(f) > 1 and f[0] == f[-1] == '"' for f in filled):
            return True
    return False


# --- the header ------------------------------------------------------------------------------


def _with_columns(
    dialect: Dialect, lines: Sequence[str], path: Any, reading: Reading, notes: list[str]
) -> Dialect:
    reader = dialect.reader(lines)
    first = next(reader)
    used = reader.line_num
    rest = [row for row in reader if row][:HEAD_ROWS]
    names = None if reading.columns is None else list(reading.columns)
    header = has_header(first, rest, names, path) if reading.header is None else reading.header
    if not header:
        columns = names or [f"column_{i}" for i in range(1, len(first) + 1)]
        if names is None:
            notes.append(f"no header line: the columns are called {columns[0]} to {columns[-1]}")
    else:
        if names is not None and _clean(first) != names:
            notes.append(f"the first line is a header, {', '.join(first):.80}: passed over")
        columns = names or column_names(first, notes)
        numbered = [row[0] for row in rest[:2] if len(row) == len(columns) + 1] == ["1", "2"]
        if numbered and names is None:
            columns = ["column_0", *columns]  # R's row numbers have none
            notes.append("the first column has no name: it is called column_0")
    expected = len(first) if not header or names else len(columns)
    if len(columns) != expected:
        raise InputError(
            f"{path}: {option('columns')} names {plural(len(columns), 'column')}, its first line "
            f"has {len(first)} (delimiter {dialect.delimiter!r})"
        )
    _check_distinct(columns, path)
    return dataclasses.replace(
        dialect,
        columns=tuple(columns),
        header=header,
        skipped=dialect.skipped + (sum(len(ln.encode()) for ln in lines[:used]) if header else 0),
        first_line=dialect.first_line + (used if header else 0),
        notes=tuple(notes),
    )


def _check_distinct(columns: Sequence[str], path: Any) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if not twice:
        return
    seen: Counter[str] = Counter()
    numbered = []
    for name in columns:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    typed = option("columns", *numbered)
    mend = f", as in {typed} {option('header', 'true')}" if can_be_typed(*numbered) else ""
    raise InputError(
        f"{path}: two columns have one name, {twice[0]:.40}: rename one, or name all columns by "
        f"{option('columns')}{mend}"
    )


def column_names(first: Sequence[str], notes: list[str]) -> list[str]:
    """Return the names that a header line gives; a cell without one becomes ``column_N``."""
    names = _clean(first)
    if names != list(first):
        notes.append("blanks around column names: taken off")
    unnamed = sum(not name for name in names)
    if unnamed:
        notes.append(f"{plural(unnamed, 'column')} without a name: called column_N by position")
    return [name or f"column_{i}" for i, name in enumerate(names, 1)]


def _clean(names: Sequence[str]) -> list[str]:
    return [name.strip().strip("\ufeff").strip() for name in names]


def has_header(
    first: Sequence[str], rest: Sequence[Sequence[str]], names: Sequence[str] | None, path: Any
) -> bool:
    """Say whether the first row is a header.

    It is one where it numbers the columns, or all of its cells are known names. It is none where
    one of its cells comes again below it, in a column of few distinct values: a label; nor where
    it holds a number and no known name. With names given it is one only where a cell is a known
    name, or one of those given. Rows that repeat all of it, as cat leaves them, do not count.

    Raises:
        InputError: with names given, it may be one or not.
    """
    cells = _clean(first)
    known = TEXT_COLUMNS | LABEL_COLUMNS | _OTHER_COLUMNS
    is_known = any(cell.lower() in known for cell in cells)
    if names is not None and [c.lower() for c in cells] == [name.lower() for name in names]:
        return True
    if len(cells) > 1:
        rest = [row for row in rest if _clean(row) != cells]
    distinct_below = [{row[i].strip() for row in rest if i < len(row)} for i in range(len(cells))]
    few = [2 * len(values) <= len(rest) for values in distinct_below]
    recurs = any(cell and few[i] and cell in distinct_below[i] for i, cell in enumerate(cells))
    if names is None and _are_positions(cells, distinct_below):
        return True
    if names is None and all(cell.lower() in known for cell in cells):
        return True
    if names is None:
        has_number = any(is_number(cell) for cell in cells)
        return not recurs and (is_known or not has_number)
    if recurs:
        return False
    if is_known or {cell.lower() for cell in cells} & {name.lower() for name in names}:
        return True
    if len(rest) >= 10 and any(
        4 * len(values) <= len(rest) and cells[i] and cells[i] not in values
        for i, values in enumerate(distinct_below)
    ):
        raise InputError(
            f"{path}: is its first line, {', '.join(cells):.80}, a header or a row? "
            f"say {option('header', 'true')} or {option('header', 'false')}"
        )
    return False


def _are_positions(cells: Sequence[str], below: Sequence[set[str]]) -> bool:
    """Say whether cells are 0, 1, 2, …, what pandas calls columns without names, not values."""
    filled = [i for i, cell in enumerate(cells) if cell]
    return (
        len(filled) > 1
        and [cells[i] for i in filled] == [str(number) for number in range(len(filled))]
        and any(below[i] and not any(map(is_number, below[i])) for i in filled)
    )
