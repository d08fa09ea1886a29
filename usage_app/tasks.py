"""What Celery does for the books; gateway_project/celery.py has the timetable. Every task may run
at any moment, again, or not at all for a while: the next run catches up.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings

from usage_app import ledger_sync, partitions, reconciliation, rollups
from usage_app.alerts import delivery, watch
from usage_app.figures import Span
from usage_app.models import Alert, Reconciliation, RefusalCount
from usage_app.runs import alone
from usage_app.statements import closing

RECENT_DAYS = 3
KEEP_REFUSALS = timedelta(days=90)
KEEP_RECONCILIATIONS = timedelta(days=400)
KEEP_ALERTS = timedelta(days=400)
# At least this month and the last one, wherever it is what day.
RECONCILE_DAYS = 64

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
def watch_budgets() -> None:
    """Note the percentages of budgets that were crossed, and have that told."""
    noted = watch.note_crossed()
    if noted.alerts:
        log.info("alerts_made", alerts=len(noted.alerts), deliveries=len(noted.deliveries))
    for pk in noted.deliveries:
        deliver_alert.delay(str(pk))


@shared_task
@alone
def deliver_due_alerts() -> None:
    """Have those sent whose first message was lost, and those that are to be tried again."""
    for pk in delivery.due():
        deliver_alert.delay(str(pk))


@shared_task
def deliver_alert(pk: str) -> None:
    """Send one message of an alert; what fails is tried again by its row, not by Celery."""
    delivery.deliver(UUID(pk))


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
def reconcile() -> None:
    """Compare the books of this and the last month with one another."""
    today = datetime.now(UTC).date()
    days = Span(today - timedelta(days=RECONCILE_DAYS), today + timedelta(days=1))
    reconciliation.run(author="nightly task", span=days)


@shared_task
@alone
def reconcile_all() -> None:
    """Compare all of the books with one another."""
    reconciliation.run(author="weekly task")


@shared_task
@alone
def close_months() -> None:
    """Close the months that were over AUTO_CLOSE_AFTER_DAYS ago; 0 leaves that to people."""
    if not settings.AUTO_CLOSE_AFTER_DAYS:
        return
    closed, left = closing.close_due(settings.AUTO_CLOSE_AFTER_DAYS, by="timetable")
    for statement in closed:
        log.info("month_closed", statement=str(statement), total=str(statement.total))
    for checklist in left:
        why = checklist.against or checklist.remarks
        name = f"{checklist.tenant.slug} {checklist.month:%Y-%m}"
        log.warning("month_not_closed", month=name, why=" ".join(why))


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
    """Remove what is no longer of use: old counts of refusals, reconciliations and alerts of
    another year, processes that are long gone.
    """
    now = datetime.now(UTC)
    refusals, _ = RefusalCount.objects.filter(hour__lt=now - KEEP_REFUSALS).delete()
    Reconciliation.objects.filter(started_at__lt=now - KEEP_RECONCILIATIONS).delete()
    Alert.objects.filter(created_at__lt=now - KEEP_ALERTS).delete()
    log.info("retired", refusals=refusals, processes=ledger_sync.forget_processes())
