"""The ledger's monthly partitions: made ahead of time, without ever blocking a settlement behind an
open report.
"""

from collections.abc import Iterator
from datetime import date

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from usage_app.periods import next_month

TABLE = "usage_app_ledgerentry"
MONTHS_AHEAD = 12

_ATTACHED = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass(%(table)s) AND c.relname = ANY(%(names)s)
"""


def make_ahead(today: date) -> list[str]:
    """Make every partition from this month to `MONTHS_AHEAD` months on that is missing; answers
    with their names.

    Each is made beside the table and attached under a lock_timeout: `CREATE TABLE … PARTITION OF`
    would queue for a lock on the whole ledger. Raises OperationalError when the lock is not had in
    2 s; run it again later.
    """
    made = []
    for month in _months(today):
        name = f"{TABLE}_{month:%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [name])
            if cursor.fetchone()[0] is None:
                _make(cursor, name, month)
                made.append(name)
    return made


def months_ahead(today: date) -> int:
    """How many months after this one have their partitions, without a gap; -1: not even this one.
    It reads the catalogue alone.
    """
    names = [f"{TABLE}_{month:%Y_%m}" for month in _months(today)]
    with connection.cursor() as cursor:
        cursor.execute(_ATTACHED, {"table": TABLE, "names": names})
        attached = {name for (name,) in cursor}
    missing = (place for place, name in enumerate(names) if name not in attached)
    return next(missing, len(names)) - 1


def rows_in_default() -> int:
    """How many entries lie outside every month's partition. Anything but 0 wants an operator."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLE}_default")
        return int(cursor.fetchone()[0])


def _months(today: date) -> Iterator[date]:
    month = today.replace(day=1)
    for _ in range(MONTHS_AHEAD + 1):
        yield month
        month = next_month(month)


def _make(cursor: CursorWrapper, name: str, month: date) -> None:
    start, end = f"{month} 00:00+00", f"{next_month(month)} 00:00+00"
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL)")
    cursor.execute(
        f"ALTER TABLE {name} ADD CONSTRAINT within_month"
        f" CHECK (created_at >= '{start}' AND created_at < '{end}')"
    )
    cursor.execute(
        f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
    )
    cursor.execute(
        f"CREATE TRIGGER ledger_is_append_only_truncate BEFORE TRUNCATE ON {name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION tollgate_ledger_is_append_only()"
    )
