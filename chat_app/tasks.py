"""Periodic work of the chat: forgetting."""

from celery import shared_task

from chat_app import sessions


@shared_task
def prune_sessions() -> int:
    """Delete messages beyond their tenant's retention; answers with how many."""
    return sessions.prune()
