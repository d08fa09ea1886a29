"""Writes corrections and credits. With `ledger` and `ledger_sync` the only writer of entries; what
is written, `corrections` and `repricing` decide.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from usage_app import correction_sql as sql
from usage_app.figures import Span


def lock(tenant_id: int) -> None:
    """Let no other correct this tenant's entries until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(sql.LOCK, [f"usage_app.corrections {tenant_id}"])


def is_written(entry_id: UUID) -> bool:
    """Whether there is such an entry: then a form was sent twice. Ask under the tenant's `lock`."""
    with connection.cursor() as cursor:
        cursor.execute(sql.WRITTEN, [entry_id])
        return bool(cursor.fetchone()[0])


def write_corrections(rows: Iterable[Mapping[str, Any]]) -> None:
    """One entry for each row, under the tenant's `lock`."""
    _write(sql.CORRECT, rows)


def write_credit(row: Mapping[str, Any]) -> None:
    """An entry that is money alone, under the tenant's `lock`."""
    _write(sql.CREDIT, [row])


def days_of(tenant_id: int, span: Span) -> list[date]:
    """The local days of the span on which the tenant made requests."""
    with connection.cursor() as cursor:
        cursor.execute(sql.DAYS, [tenant_id, span.first, span.last])
        return [day for (day,) in cursor.fetchall()]


def compare(day: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What re-pricing a tenant's day would change, as `correction_sql` sums it up."""
    with connection.cursor() as cursor:
        cursor.execute(sql.COMPARE, day)
        return list(cursor.fetchall())


def reprice(day: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Write what re-pricing the day changes, under the tenant's `lock`; answers as `compare`."""
    with connection.cursor() as cursor:
        cursor.execute(sql.REPRICE, day)
        return list(cursor.fetchall())


def _write(statement: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Amounts travel as text, exactly."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [orjson.dumps(list(rows), default=str).decode()])
