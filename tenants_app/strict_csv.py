"""CSV as a person or a spreadsheet writes it, read strictly: everything wrong is told at once, each
by its line. PURE; it knows no tenants and no prices.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from tenants_app.strict_json import Findings

LINES_MAX: Final = 100_000
# A spreadsheet would run a cell that begins so as a formula.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Row = tuple[int, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a file may have; those that are `optional` may be missing."""

    names: tuple[str, ...]
    optional: frozenset[str] = field(default_factory=frozenset)


def read(content: bytes, columns: Columns, found: Findings) -> Iterator[Row]:
    """Each row below the columns with the number of its line, its cells by column and stripped.

    Lines that begin with # are comments. What is wrong is found on the way, so that problems come
    in the order of the lines; a row that is none is passed over, and so is all of a file that is
    wrong as a whole.
    """
    lines = _lines(content, found)
    records = _records(lines, found)
    _, header = next(records, (0, []))
    if not lines or not _is_header(header, columns, found):
        return
    empty = True
    for line, cells in records:
        empty = False
        if len(cells) != len(header):
            text = f"has {len(cells)} cells, and the first line names {len(header)} columns"
            found.problem(f"line {line}", text)
        else:
            yield line, dict(zip(header, cells, strict=True))
    if empty and not found.problems:
        found.problem("", "The file has no lines below its columns.")


def write(rows: Iterable[Sequence[str]]) -> str:
    """Lines that no spreadsheet runs as formulas, and that `read` gives back as they were."""
    return "".join(f"{','.join(map(_cell, row))}\r\n" for row in rows)


def _cell(text: str) -> str:
    safe = f"'{text}" if text.startswith(FORMULA) else text
    quoted = safe.replace('"', '""')
    return f'"{quoted}"' if any(mark in safe for mark in '",\r\n#') else safe


def _lines(content: bytes, found: Findings) -> list[str]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = ["\0"]
    # UTF-16 can be read as UTF-8, with a NUL beside each letter.
    if any("\0" in line for line in lines):
        found.problem("", "The file is not UTF-8: save it as CSV UTF-8.")
        return []
    if len(lines) > LINES_MAX:
        found.problem("", f"The file has more than {LINES_MAX:,} lines: split it.")
        return []
    return lines or [""]


def _records(lines: list[str], found: Findings) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, with its number."""
    for line, text in enumerate(lines, start=1):
        if not text.strip() or text.startswith("#"):
            continue
        try:
            # Each line by itself: no cell of these files has lines of its own.
            (cells,) = csv.reader([text], strict=True)
        except csv.Error as error:
            found.problem(f"line {line}", f"is no CSV: {error}")
            continue
        yield line, [_plain(cell.strip()) for cell in cells]


def _plain(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell


def _is_header(header: list[str], columns: Columns, found: Findings) -> bool:
    expected = ", ".join(columns.names)
    if len(header) == 1 and (header[0].count(";") or header[0].count("\t")):
        text = "they are split by semicolons or tabs: save the file with commas between its cells"
        found.problem("columns", text)
        return False
    for name in header[: 2 * len(columns.names)]:
        if name not in columns.names:
            close = get_close_matches(name, columns.names, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; the columns are {expected}"
            found.problem("columns", f"{name or 'an empty one'} is unknown{hint}")
    if len(set(header)) != len(header):
        found.problem("columns", "one is there twice")
    missing = [name for name in columns.names if name not in {*header, *columns.optional}]
    if missing and not found.problems:
        text = f"{', '.join(missing)} missing: the first line names {expected}, split by commas"
        found.problem("columns", text)
    return not found.problems
