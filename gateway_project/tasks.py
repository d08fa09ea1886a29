"""What Celery does for the house itself: it shows that it lives, and clears ended logins away."""

from celery import shared_task
from django.core.management import call_command

from gateway_project.machinery import heartbeat


@shared_task
def beat_heart() -> None:
    """Sent by beat, brought by the broker, run by a worker: its row says that all three live."""
    heartbeat.beat()


@shared_task
def forget_sessions() -> None:
    """Delete the sessions of staff that have ended; Django itself never does."""
    call_command("clearsessions")
