"""Sends what is due, again and again within bounds, and writes down what became of it.

A delivery is claimed by moving its next attempt ahead, so that no two workers send it at once and a
worker that dies while sending leaves it to a later one: at least once, never silently lost.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from usage_app.alerts import watch
from usage_app.alerts.channels import NotSent, send
from usage_app.models import Alert, AlertDelivery

# Before the second attempt, the third, and so on: eight in some eight hours.
DELAYS: Final = tuple(
    timedelta(seconds=seconds) for seconds in (30, 120, 600, 1800, 3600, 7200, 14400)
)
MOST_ATTEMPTS: Final = len(DELAYS) + 1
# Longer than any attempt takes.
CLAIM: Final = timedelta(minutes=5)
# At once, of what is due: the rest is for the next run.
MOST_AT_ONCE: Final = 500

PENDING, SENT, FAILED = AlertDelivery.State

log = structlog.get_logger(__name__)


def deliver(pk: UUID) -> None:
    """One attempt, if it is due and nobody else makes it."""
    mine = AlertDelivery.objects.filter(
        pk=pk, state=PENDING, next_attempt_at__lte=Now(), attempts__lt=MOST_ATTEMPTS
    ).update(attempts=F("attempts") + 1, next_attempt_at=Now() + CLAIM)
    if not mine:
        return
    row = AlertDelivery.objects.select_related(
        "alert__tenant", "alert__team", "alert__api_key"
    ).get(pk=pk)
    try:
        send(row)
    except NotSent as error:
        _failed(row, error)
    else:
        _mark(row, state=SENT, sent_at=Now(), last_error="")
        log.info("alert_sent", **_of(row))


def due() -> Sequence[UUID]:
    """The deliveries whose next attempt is due, the oldest first."""
    _give_up_what_kills_its_worker()
    rows = AlertDelivery.objects.filter(state=PENDING, next_attempt_at__lte=Now())
    return list(rows.order_by("next_attempt_at").values_list("pk", flat=True)[:MOST_AT_ONCE])


def send_again(alert: Alert) -> list[UUID]:
    """Make what failed pending, and tell those who are new among the tenant's addresses."""
    with transaction.atomic():
        failed = AlertDelivery.objects.filter(alert=alert, state=FAILED)
        failed.update(state=PENDING, attempts=0, next_attempt_at=Now(), last_error="")
        watch.address([alert.pk])
        rows = AlertDelivery.objects.filter(alert=alert, state=PENDING)
        return list(rows.values_list("pk", flat=True))


def _failed(row: AlertDelivery, error: NotSent) -> None:
    why = str(error)[:200]
    if error.for_good or row.attempts >= MOST_ATTEMPTS:
        _mark(row, state=FAILED, last_error=why)
        log.warning("alert_given_up", why=why, **_of(row))
        return
    # A little apart, so that what failed together does not come back together.
    delay = DELAYS[row.attempts - 1] * random.randint(100, 120) / 100  # noqa: S311 - no secret
    _mark(row, next_attempt_at=Now() + delay, last_error=why)
    log.info("alert_not_sent", why=why, **_of(row))


def _mark(row: AlertDelivery, **values: object) -> None:
    """Only for the attempt that is ours: a later one may have been made meanwhile."""
    AlertDelivery.objects.filter(pk=row.pk, state=PENDING, attempts=row.attempts).update(**values)


def _give_up_what_kills_its_worker() -> None:
    AlertDelivery.objects.filter(
        state=PENDING, next_attempt_at__lte=Now(), attempts__gte=MOST_ATTEMPTS
    ).update(state=FAILED, last_error="its worker ended before it could tell")


def _of(row: AlertDelivery) -> dict[str, object]:
    alert = row.alert
    return {
        "tenantId": alert.tenant.slug,
        "alert": str(alert.pk),
        "channel": row.channel,
        "attempt": row.attempts,
        "percent": alert.percent,
    }
