"""A closed statement as files: the canonical document whose SHA-256 is its checksum, its lines as
CSV, and the entries behind it. Made from frozen rows alone, so always the same bytes.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from io import StringIO
from typing import Any, Final
from uuid import UUID

from django.db import connection

from usage_app.models import Statement, StatementDay, StatementLine
from usage_app.periods import next_month
from usage_app.statements import sql

FORMAT: Final = "tollgate-statement-1"
ENTRIES_A_PAGE: Final = 5_000
_LINE_COUNTS = (
    *("requests", "input_tokens", "cached_tokens", "output_tokens", "total_tokens"),
    *("estimated_tokens", "unpriced_requests", "unpriced_tokens"),
)


def checksum(
    statement: Statement, lines: Iterable[StatementLine], days: Iterable[StatementDay]
) -> str:
    """SHA-256 of the canonical document, in hex."""
    return sha256(_document(statement, lines, days)).hexdigest()


def document(statement: Statement) -> bytes:
    """The canonical document of a closed statement: JSON, ASCII, its keys sorted, amounts as text.

    It carries the checksum of the statement before it, and not its own.
    """
    return _document(statement, statement.lines.all(), statement.days.all())


def lines_csv(statement: Statement) -> str:
    """The lines for a spreadsheet, and their total."""
    buffer = _Lines()
    # Python quotes a carriage return only if its lines end with one.
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(
        (
            *("tenant", "month", "cost_center", "model", *_LINE_COUNTS),
            *("cost", "credit", "price", "amount", "currency"),
        )
    )
    whose = (statement.tenant_slug, f"{statement.month:%Y-%m}")
    for line in statement.lines.all():
        told = _line(line, statement.minor_unit)
        money = (told[name] for name in ("cost", "credit", "price", "amount"))
        named = (_safe(line.cost_center), _safe(line.model))
        counts = (getattr(line, name) for name in _LINE_COUNTS)
        writer.writerow((*whose, *named, *counts, *money, statement.currency))
    total = f"{statement.total:.{statement.minor_unit}f}"
    sums = (f"{statement.cost:.10f}", f"{statement.credit:.10f}", f"{statement.price:.16f}")
    blank = [""] * len(_LINE_COUNTS)
    writer.writerow((*whose, "", "TOTAL", *blank, *sums, total, statement.currency))
    return buffer.getvalue()


class _Lines(StringIO):
    """CSV whose lines end with a newline alone."""

    def write(self, text: str) -> int:
        """One line, as a writer hands it over."""
        return super().write(text.removesuffix("\r\n") + "\n")


def entries_left(statement: Statement) -> int:
    """How many entries of the month the ledger still has; partitions may have been detached."""
    with connection.cursor() as cursor:
        cursor.execute(sql.COUNT, _month(statement))
        return int(cursor.fetchone()[0])


def entries_csv(statement: Statement) -> Iterator[str]:
    """Every entry of the month as the digests were made of it, in pages; text that a spreadsheet
    would run begins with an apostrophe.
    """
    yield f"{sql.HEADER}\n"
    place: dict[str, Any] = {
        "day": statement.month,
        "id": UUID(int=0),
        "created_at": datetime(1, 1, 2, tzinfo=UTC),
    }
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql.LINES, {**_month(statement), **place, "limit": ENTRIES_A_PAGE})
            rows = cursor.fetchall()
        yield "".join(f"{line}\n" for *_, line in rows)
        if len(rows) < ENTRIES_A_PAGE:
            return
        place = dict(zip(("day", "id", "created_at"), rows[-1], strict=False))


def _month(statement: Statement) -> dict[str, Any]:
    return {
        "tenant_id": statement.tenant_id,
        "month": statement.month,
        "next_month": next_month(statement.month),
    }


def _document(
    statement: Statement, lines: Iterable[StatementLine], days: Iterable[StatementDay]
) -> bytes:
    told = {
        "format": FORMAT,
        "tenant": statement.tenant_slug,
        "name": statement.tenant_name,
        "month": f"{statement.month:%Y-%m}",
        "timezone": statement.timezone,
        "currency": statement.currency,
        "minorUnit": statement.minor_unit,
        "entries": statement.entries,
        "cost": _exact(statement.cost),
        "credit": _exact(statement.credit),
        "price": _exact(statement.price, 16),
        "total": _exact(statement.total, statement.minor_unit),
        "remarks": statement.remarks,
        "closedAt": f"{statement.closed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "closedBy": statement.closed_by,
        "previous": statement.previous,
        "lines": [_line(line, statement.minor_unit) for line in lines],
        "days": [_day(day) for day in days],
    }
    return (json.dumps(told, sort_keys=True, indent=1) + "\n").encode()


def _line(line: StatementLine, minor_unit: int) -> dict[str, Any]:
    return {
        "costCenter": line.cost_center,
        "model": line.model,
        **{_camel(name): getattr(line, name) for name in _LINE_COUNTS},
        "cost": _exact(line.cost),
        "credit": _exact(line.credit),
        "price": _exact(line.price, 16),
        "amount": _exact(line.amount, minor_unit),
    }


def _day(day: StatementDay) -> dict[str, Any]:
    return {
        "day": day.day.isoformat(),
        "entries": day.entries,
        "percent": _exact(day.percent, 4),
        "cost": _exact(day.cost),
        "credit": _exact(day.credit),
        "digest": day.digest,
    }


def _exact(amount: Decimal, places: int = 10) -> str:
    return f"{amount:.{places}f}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _safe(text: str) -> str:
    """No formula for a spreadsheet."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
