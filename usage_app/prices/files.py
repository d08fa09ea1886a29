"""A price list as a CSV file, read strictly: everything wrong is told at once, each by its line.
PURE: it knows neither the price book nor which models there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from tenants_app import strict_csv
from tenants_app.strict_csv import Columns
from tenants_app.strict_json import Finding, Findings
from usage_app.pricing import per_token_units

FIGURES: Final = ("input", "cached_input", "cache_write", "output")
OPTIONAL: Final = frozenset({"cached_input", "cache_write"})
COLUMNS: Final = Columns(("model", "valid_from", *FIGURES), OPTIONAL)
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
    records = strict_csv.read(content, COLUMNS, found)
    rows = [row for line, cells in records if (row := _row(line, cells, found)) is not None]
    _refuse_repetitions(rows, found)
    return rows


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
