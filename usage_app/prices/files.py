"""A price list as a CSV file, read strictly: everything wrong is told at once, each by its line.
PURE: it knows neither the price book nor which models there are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

from tenants_app.strict_json import Finding, Findings
from usage_app.pricing import per_token_units

FIGURES: Final = ("input", "cached_input", "cache_write", "output")
OPTIONAL: Final = frozenset({"cached_input", "cache_write"})
COLUMNS: Final = ("model", "valid_from", *FIGURES)
LINES_MAX: Final = 100_000
_YEARS: Final = range(2000, 2200)

_amount = re.compile(r"[0-9]{1,10}(\.[0-9]{1,20})?").fullmatch


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A price as a line of a file tells it; a figure that is None is as the input's."""

    line: int
    model: str
    valid_from: datetime
    input: Decimal
    cached_input: Decimal | None
    cache_write: Decimal | None
    output: Decimal

    @property
    def figures(self) -> dict[str, Decimal | None]:
        """The prices per 1 000 000 tokens, by column."""
        return {name: getattr(self, name) for name in FIGURES}


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What a file says; with problems it has no rows."""

    rows: tuple[PriceRow, ...] = ()
    problems: tuple[Finding, ...] = ()


def parse(content: bytes) -> PriceFile:
    """Read a file. Lines that begin with # are comments; the first other one names the columns."""
    found = Findings()
    rows = _rows(content, found)
    if found.problems:
        return PriceFile(problems=tuple(found.problems))
    return PriceFile(rows=tuple(rows))


def _rows(content: bytes, found: Findings) -> list[PriceRow]:
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
    records = _records(lines, found)
    _, header = next(records, (0, []))
    if not _is_header(header, found):
        return []
    rows = []
    for line, cells in records:
        if len(cells) != len(header):
            text = f"has {len(cells)} cells, and the first line names {len(header)} columns"
            found.problem(f"line {line}", text)
        elif (row := _row(line, dict(zip(header, cells, strict=True)), found)) is not None:
            rows.append(row)
    _refuse_repetitions(rows, found)
    if not rows and not found.problems:
        found.problem("", "The file has no lines below its columns.")
    return rows


def _records(lines: list[str], found: Findings) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, with its number."""
    for line, text in enumerate(lines, start=1):
        if not text.strip() or text.startswith("#"):
            continue
        try:
            # Each line by itself: no cell of a price list has lines of its own.
            (cells,) = csv.reader([text], strict=True)
        except csv.Error as error:
            found.problem(f"line {line}", f"is no CSV: {error}")
            continue
        yield line, [cell.strip() for cell in cells]


def _is_header(header: list[str], found: Findings) -> bool:
    expected = ", ".join(COLUMNS)
    if len(header) == 1 and (header[0].count(";") or header[0].count("\t")):
        text = "they are split by semicolons or tabs: save the file with commas between its cells"
        found.problem("columns", text)
        return False
    for name in header[: 2 * len(COLUMNS)]:
        if name not in COLUMNS:
            close = get_close_matches(name, COLUMNS, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; the columns are {expected}"
            found.problem("columns", f"{name or 'an empty one'} is unknown{hint}")
    if len(set(header)) != len(header):
        found.problem("columns", "one is there twice")
    missing = [name for name in COLUMNS if name not in header and name not in OPTIONAL]
    if missing and not found.problems:
        text = f"{', '.join(missing)} missing: the first line names {expected}, split by commas"
        found.problem("columns", text)
    return not found.problems


def _row(line: int, cells: Mapping[str, str], found: Findings) -> PriceRow | None:
    before = len(found.problems)
    model = cells["model"]
    if not model or len(model) > 200 or not model.isprintable():
        found.problem(f"line {line}, model", "must be a model's id, of at most 200 characters")
    valid_from = _instant(line, cells["valid_from"], found)
    figures = {name: _figure(line, name, cells.get(name, ""), found) for name in FIGURES}
    plain, output = figures["input"], figures["output"]
    if len(found.problems) > before or valid_from is None or plain is None or output is None:
        return None
    cached, write = figures["cached_input"], figures["cache_write"]
    return PriceRow(line, model, valid_from, plain, cached, write, output)


def _instant(line: int, text: str, found: Findings) -> datetime | None:
    """A day, which begins at 00:00 UTC, or an instant with its offset."""
    place = f"line {line}, valid_from"
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        found.problem(place, "must be a day like 2026-03-01 or an instant like 2026-03-01T08:00Z")
        return None
    if instant.year not in _YEARS:
        found.problem(place, f"must be in the years {_YEARS[0]} to {_YEARS[-1]}")
        return None
    if instant.tzinfo is None and instant.time() != datetime.min.time():
        found.problem(place, "says no offset: end it with Z for UTC, or with one like +01:00")
        return None
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)


def _figure(line: int, name: str, text: str, found: Findings) -> Decimal | None:
    if not text and name in OPTIONAL:
        return None
    place = f"line {line}, {name}"
    if not _amount(text):
        found.problem(place, "must be an amount like 0.25, per 1 000 000 tokens and not negative")
        return None
    amount = Decimal(text)
    try:
        per_token_units(amount)
    except ValueError as error:
        found.problem(place, str(error))
    return amount


def _refuse_repetitions(rows: list[PriceRow], found: Findings) -> None:
    """Two prices of a model from one instant on would overlap, even if they are the same."""
    seen: dict[tuple[str, datetime], int] = {}
    for row in rows:
        first = seen.setdefault((row.model, row.valid_from), row.line)
        if first != row.line:
            text = (
                f"{row.model} has a price from {shown(row.valid_from)} on in line {first} already"
            )
            found.problem(f"line {row.line}", text)


def shown(instant: datetime) -> str:
    """An instant as files tell it: a day, unless it has a time."""
    instant = instant.astimezone(UTC)
    if instant.time() == datetime.min.time():
        return f"{instant:%Y-%m-%d}"
    return instant.isoformat().replace("+00:00", "Z")
