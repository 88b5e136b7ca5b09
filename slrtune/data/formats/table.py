"""Tables as they come: comma, tab, semicolon or bar; UTF-8 or UTF-16; any line ends; odd quotes."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from slrtune.config.errors import UserError
from slrtune.data.formats.listing import refuse
from slrtune.data.manifest import ClipRecord

_DELIMITERS = ("|", "\t", ";", ",")


@dataclass(frozen=True)
class Row:
    """One row: where it ends in the file, and its values by `column_key`; absent ones are ''."""

    line: int
    values: dict[str, str]

    def get(self, *columns: str) -> str:
        """The first of ``columns`` that has a value; '' where none has."""
        return next((self.values[name] for name in columns if self.values.get(name)), "")


@dataclass(frozen=True)
class Table:
    """A file's header, as spelled there, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def has(self, *columns: str) -> bool:
        """Whether the header names all of them (as `column_key` spells them)."""
        return set(columns) <= {column_key(name) for name in self.columns}


class _Parsed(NamedTuple):
    """A row, its first and last line, and whether its quotes swallowed lines for want of an end."""

    first: int
    last: int
    values: list[str]
    is_torn: bool


def column_key(name: str) -> str:
    """One spelling for ``Video file``, ``video_file`` and ``VIDEO-FILE``."""
    return re.sub(r"[\s\-]+", "_", name.strip().casefold())


def read_header(file: Path) -> tuple[str, ...]:
    """The column names of a table's first line.

    Raises:
        UserError: the file cannot be read as text.
    """
    text = _text(file)
    return _header(text, _delimiter(text))


def read_table(file: Path, *, ends_in_text: bool = False, columns: tuple[str, ...] = ()) -> Table:
    """All rows; blank lines are left out.

    Args:
        ends_in_text: the last column is a sentence, which may hold the delimiter without quotes.
        columns: names of the columns of a file without a header.

    Raises:
        UserError: the file is no text, or rows do not fit its header: all of them at once.
    """
    text = _text(file)
    delimiter = _delimiter(text)
    has_header = not columns
    columns = columns or _header(text, delimiter)
    keys = [column_key(name) for name in columns]
    rows, mistakes = [], []
    for first, line, values, is_torn in _records(text, delimiter, len(columns))[has_header:]:
        if len(values) > len(columns) and not any(values[len(columns) :]):
            values = values[: len(columns)]  # a spreadsheet's empty columns
        if is_torn or (line > first and len(values) > len(columns)):
            mistakes.append(
                f"{first}: must close its quotation mark, but the row would run to line {line}; "
                "put quotes around the whole value and double those within it, or take them out"
            )
            continue
        if len(values) > len(columns) and ends_in_text:
            values[len(columns) - 1 :] = [delimiter.join(values[len(columns) - 1 :])]
        if len(values) > len(columns):
            mistakes.append(
                f"{line}: must have {len(columns)} values ({', '.join(columns)}), but has "
                f"{len(values)}; put quotes around a value that holds {delimiter!r}"
            )
        values += [""] * (len(columns) - len(values))
        rows.append(Row(line, {key: v.strip() for key, v in zip(keys, values, strict=False)}))
    refuse(file, mistakes)
    return Table(columns, tuple(rows))


def records_of(
    file: Path, table: Table, read: Callable[[Row], ClipRecord], cure: str = ""
) -> list[ClipRecord]:
    """One record per row.

    Args:
        read: raises ValueError for a row that cannot be read.
        cure: added to what it says.

    Raises:
        UserError: rows cannot be read; all of them at once.
    """
    records, mistakes = [], []
    for row in table.rows:
        try:
            records.append(read(row))
        except ValueError as error:
            mistakes.append(f"{row.line}: {error}{cure}")
    refuse(file, mistakes)
    return records


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: must be a file that can be read, but {error}") from error
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: must be a UTF-8 text file, but {error}; save it as UTF-8"
        ) from error


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")


def _delimiter(text: str) -> str:
    first = _first_line(text)
    return max(_DELIMITERS, key=lambda mark: (first.count(mark), mark == ","))


def _header(text: str, delimiter: str) -> tuple[str, ...]:
    values = next(csv.reader([_first_line(text)], delimiter=delimiter), [])
    while values and not values[-1].strip():
        values.pop()
    return tuple(value.strip() for value in values)


def _records(text: str, delimiter: str, width: int) -> list[_Parsed]:
    """All rows and the header, read with quotes unless the quotes are just text.

    A lone quote at the beginning of a sentence swallows the lines up to the next one. Where every
    line alone has the header's width, but rows span lines or a value's quotes end within it, the
    quotes are no quotes. Tables with bars have none.
    """
    plain = _parse(text, delimiter, csv.QUOTE_NONE)
    quoted = _parse(text, delimiter, csv.QUOTE_MINIMAL)
    fits = plain is not None and all(len(row.values) == width for row in plain)
    spans_lines = quoted is None or any(row.last > row.first for row in quoted)
    has_loose = any(
        v.startswith('"') and not v.endswith('"') for row in plain or () for v in row.values
    )
    is_plain = delimiter == "|" or (fits and (spans_lines or has_loose))
    chosen = plain if is_plain and plain is not None else quoted or plain
    return chosen or []


def _parse(text: str, delimiter: str, quoting: Literal[0, 3]) -> list[_Parsed] | None:
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting)
    rows, last = [], 0
    try:
        for values in reader:
            first, last = last + 1, reader.line_num
            if any(value.strip() for value in values):
                is_torn = last > first and not _is_well_quoted(lines[first - 1 : last], delimiter)
                rows.append(_Parsed(first, last, values, is_torn))
    except csv.Error:  # a field beyond any limit: quotes that do not close
        return None
    return rows


def _is_well_quoted(lines: list[str], delimiter: str) -> bool:
    """Whether quotes open where a value begins and close where it ends."""
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True
