"""Periodic work of the chat: forgetting."""

import structlog
from celery import shared_task

from chat_app import sessions
from usage_app.runs import alone

log = structlog.get_logger(__name__)


@shared_task
@alone
def prune_sessions() -> None:
    """Delete messages beyond their tenant's retention."""
    log.debug("sessions_pruned", messages=sessions.prune())
