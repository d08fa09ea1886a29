"""Takes old months of the ledger out of it, once every entry in them is in a statement. Nothing is
deleted: a detached partition is a table of its own, to be archived and dropped by hand.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from usage_app.partitions import TABLE

# How long before the look at a partition an entry may have been settled that could not be seen yet.
UNSEEN: Final = timedelta(minutes=10)

_OLD = f"""
SELECT c.relname FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = '{TABLE}'::regclass AND c.relname ~ '_[0-9]{{4}}_[0-9]{{2}}$'
    AND to_date(right(c.relname, 7), 'YYYY_MM') < %s
ORDER BY c.relname
"""

# Whose months in this partition are not closed.
_OPEN = """
SELECT t.slug, to_char(min(e.local_day), 'YYYY-MM'), count(*)
FROM {table} e
JOIN tenants_app_tenant t ON t.id = e.tenant_id
LEFT JOIN (
    SELECT tenant_id, max(month) AS month FROM usage_app_statement GROUP BY tenant_id
) s ON s.tenant_id = e.tenant_id
WHERE e.settled_at >= %s AND (s.month IS NULL OR e.local_day >= s.month + interval '1 month')
GROUP BY t.slug ORDER BY t.slug
"""

# Detaching takes away the triggers that the partition had from the ledger.
_KEEP_FROZEN = """
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION tollgate_ledger_is_append_only()
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A month of the ledger, by the clock of UTC, as it was at an instant."""

    table: str
    looked_at: datetime
    entries: int
    still_open: tuple[str, ...]  # tenants and months that are not closed


class StillOpen(Exception):
    """Something was written meanwhile; the partition stays."""


def old(before: date) -> list[Partition]:
    """The partitions of the months before this one, and what keeps each of them in the ledger."""
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [before])
        tables = [name for (name,) in cursor.fetchall()]
        return [_partition(cursor, table) for table in tables]


def detach(partition: Partition) -> None:
    """Take it out of the ledger, in a short transaction; it stays as a table that never changes.

    Raises StillOpen if something came into it meanwhile, and OperationalError when the lock on the
    ledger is not had in 2 s; then nothing has changed.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {partition.table}")
        if later := _still_open(cursor, partition.table, partition.looked_at - UNSEEN):
            raise StillOpen(", ".join(later))
        cursor.execute(_KEEP_FROZEN.format(table=partition.table))


def _partition(cursor: CursorWrapper, table: str) -> Partition:
    # The name is the catalogue's own.
    cursor.execute(f"SELECT clock_timestamp(), count(*) FROM {table}")
    looked_at, entries = cursor.fetchone()
    return Partition(table, looked_at, entries, _still_open(cursor, table, "-infinity"))


def _still_open(cursor: CursorWrapper, table: str, since: datetime | str) -> tuple[str, ...]:
    cursor.execute(_OPEN.format(table=table), [since])
    return tuple(f"{slug} from {month} ({count})" for slug, month, count in cursor.fetchall())
