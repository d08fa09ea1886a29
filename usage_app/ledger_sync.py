"""The books off the request path, on Django's connection: expires the holds of silent processes and
makes windows ahead of their day. With `ledger` and `ledger_corrections` the only writer of the
books.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from usage_app import ledger_sql as sql
from usage_app.models import GatewayProcess, Reservation
from usage_app.periods import Period, day_period, local_day, month_period

# Six heartbeats of a gateway process; also how long after Postgres' own start nothing is swept,
# since no heart could beat while it was down.
SILENCE = timedelta(seconds=30)
FORGET_PROCESS_AFTER = timedelta(days=1)
WINDOWS_AHEAD = timedelta(hours=3)
_ROWS_A_STATEMENT = 1_000


def expire(limit: int = 500, *, silence: timedelta = SILENCE) -> int:
    """End every hold whose process has been silent for `silence`, `limit` in a transaction; answers
    how many were ended.

    Each becomes a full entry: charged for its estimated input and what its last heartbeat had
    relayed, or in full if it had not begun to stream. Locks windows, then buckets, by id, then the
    holds, and passes over those that another transaction has: any number of sweeps may run at once.
    """
    expired = 0
    while True:
        found, ended = _expire_some(limit, silence)
        expired += ended
        if found < limit or not ended:
            return expired


def forget_processes(silent_for: timedelta = FORGET_PROCESS_AFTER) -> int:
    """Remove the processes that have been silent this long and hold nothing; answers how many."""
    holds = Reservation.objects.values("process_id").exclude(process_id=None)
    silent = GatewayProcess.objects.filter(heartbeat_at__lt=datetime.now(UTC) - silent_for)
    return silent.exclude(id__in=holds).delete()[0]


def make_windows_ahead(now: datetime | None = None, ahead: timedelta = WINDOWS_AHEAD) -> int:
    """Make the windows of the day, and the month, that begins within `ahead` for every tenant,
    team and key that made a request yesterday or today; answers how many were missing.

    So the first requests after midnight find them, and need not all make them at once.
    """
    now = now or datetime.now(UTC)
    rows = sorted(_windows_ahead(now, ahead), key=_place)
    made = 0
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        with connection.cursor() as cursor:
            some = orjson.dumps(rows[start : start + _ROWS_A_STATEMENT]).decode()
            cursor.execute(sql.CREATE_WINDOWS, [some])
            made += cursor.rowcount
    return made


def _expire_some(limit: int, silence: timedelta) -> tuple[int, int]:
    """How many holds were found and how many of them ended."""
    silent: dict[str, Any] = {"silence": f"{silence.total_seconds()} seconds", "limit": limit}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.FIND_EXPIRED, silent)
        found = cursor.fetchall()
        if not found:
            return 0, 0
        window_ids = sorted({window for _, windows, _ in found for window in windows})
        bucket_ids = sorted({bucket for _, _, buckets in found for bucket in buckets})
        cursor.execute(sql.LOCK_WINDOW_IDS, [window_ids])
        cursor.execute(sql.LOCK_BUCKETS, [bucket_ids])
        return len(found), _expire_locked(cursor, [row[0] for row in found], silent)


def _expire_locked(cursor: CursorWrapper, ids: list[Any], silent: dict[str, Any]) -> int:
    cursor.execute(sql.LOCK_EXPIRED, {**silent, "ids": ids})
    locked = [hold_id for (hold_id,) in cursor.fetchall()]
    if not locked:
        return 0
    cursor.execute(sql.EXPIRE, [locked])
    return int(cursor.fetchone()[0])


_ACTIVE_SCOPES = """
SELECT DISTINCT w.tenant_id, w.team_id, w.api_key_id, t.timezone
FROM usage_app_usagewindow w
JOIN tenants_app_tenant t ON t.id = w.tenant_id AND t.status = 'active'
LEFT JOIN tenants_app_apikey k ON k.id = w.api_key_id
WHERE w.period = 'day' AND w.starts_at > %s AND w.requests + w.held_requests > 0
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > %s)
"""


def _windows_ahead(now: datetime, ahead: timedelta) -> Iterator[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(_ACTIVE_SCOPES, [now - timedelta(days=2), now])
        scopes = cursor.fetchall()
    for tenant_id, team_id, key_id, timezone in scopes:
        for period in _periods_ahead(now, ahead, timezone):
            yield {
                "tenant_id": tenant_id,
                "team_id": team_id,
                "api_key_id": key_id,
                "period": period.kind,
                "starts_at": period.starts_at,
                "ends_at": period.ends_at,
            }


def _periods_ahead(now: datetime, ahead: timedelta, timezone: str) -> Iterator[Period]:
    today, soon = local_day(now, timezone), local_day(now + ahead, timezone)
    if soon != today:
        yield day_period(soon, timezone)
    if soon.replace(day=1) != today.replace(day=1):
        yield month_period(soon, timezone)


def _place(row: dict[str, Any]) -> tuple[int, int, int, str]:
    """The order in which all writers make windows, so that none waits for another in a circle."""
    return row["tenant_id"], row["team_id"] or 0, row["api_key_id"] or 0, row["period"]
