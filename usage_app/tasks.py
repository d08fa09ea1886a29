"""What Celery does for the books; gateway_project/celery.py has the timetable. Every task may run
at any moment, again, or not at all for a while: the next run catches up.
"""

from datetime import UTC, datetime, timedelta

import structlog
from celery import shared_task

from usage_app import ledger_sync, partitions, rollups
from usage_app.models import RefusalCount
from usage_app.runs import alone

RECENT_DAYS = 3
KEEP_REFUSALS = timedelta(days=90)

log = structlog.get_logger(__name__)


@shared_task
@alone
def sweep() -> None:
    """End the holds of processes that died."""
    expired = ledger_sync.expire()
    if expired:
        log.warning("holds_expired", holds=expired)


@shared_task
@alone
def roll_up_new() -> None:
    """Bring the roll-ups up to date with what was settled since the last time."""
    groups = rollups.roll_up_new()
    log.debug("rolled_up", groups=groups)


@shared_task
@alone
def roll_up_recent() -> None:
    """Make the roll-ups of the last days anew, whatever was thought to be done."""
    groups = rollups.roll_up_recent(RECENT_DAYS)
    log.info("rolled_up_again", groups=groups)


@shared_task
@alone
def make_partitions() -> None:
    """Make the ledger's coming partitions, and say so if entries lie outside of all."""
    stray = partitions.rows_in_default()
    if stray:
        log.error("entries_outside_partitions", entries=stray)
    for name in partitions.make_ahead(datetime.now(UTC).date()):
        log.info("partition_made", partition=name)


@shared_task
@alone
def make_windows_ahead() -> None:
    """Make the windows of days that are about to begin somewhere."""
    made = ledger_sync.make_windows_ahead()
    log.debug("windows_made", windows=made)


@shared_task
@alone
def retire() -> None:
    """Remove what is no longer of use: old counts of refusals, processes that are long gone."""
    oldest = datetime.now(UTC) - KEEP_REFUSALS
    refusals, _ = RefusalCount.objects.filter(hour__lt=oldest).delete()
    log.info("retired", refusals=refusals, processes=ledger_sync.forget_processes())
