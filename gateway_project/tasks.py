"""What Celery does for itself: show that it lives."""

from celery import shared_task

from gateway_project.machinery import heartbeat


@shared_task
def beat_heart() -> None:
    """Sent by beat, brought by the broker, run by a worker: its row says that all three live."""
    heartbeat.beat()
