"""Periodic work of the chat: forgetting."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.utils import timezone

from chat_app import retention, selectors
from chat_app.models import OpenCircuit, UpstreamMinute
from usage_app.runs import alone

# A process that hangs for a moment is not dead.
KEPT = timedelta(hours=1)
MINUTES_KEPT = timedelta(days=2)

log = structlog.get_logger(__name__)


@shared_task
@alone
def prune_sessions() -> None:
    """Delete messages beyond their tenant's retention."""
    log.debug("sessions_pruned", deleted=retention.prune())


@shared_task
@alone
def forget_circuits() -> None:
    """Delete what processes that have ended wrote down of their circuits."""
    living = selectors.open_circuits().values("id")
    OpenCircuit.objects.exclude(id__in=living).filter(opened_at__lt=timezone.now() - KEPT).delete()


@shared_task
@alone
def forget_upstream_minutes() -> None:
    """Delete how upstreams fared longer ago than anybody is shown."""
    UpstreamMinute.objects.filter(minute__lt=timezone.now() - MINUTES_KEPT).delete()
