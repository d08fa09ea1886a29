"""Writes and reads the sign of life of beat, broker and worker, by the database's clock."""

from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from gateway_project.machinery.models import WorkerHeartbeat

# It is sent every half minute; a worker that is busy with long work answers late.
SILENCE: Final = timedelta(minutes=3)

_BEAT = """
INSERT INTO gateway_project_workerheartbeat (id, beat_at) VALUES (1, clock_timestamp())
ON CONFLICT (id) DO UPDATE
SET beat_at = greatest(gateway_project_workerheartbeat.beat_at, excluded.beat_at)
"""


def beat() -> None:
    """We live."""
    with connection.cursor() as cursor:
        cursor.execute(_BEAT)


def last() -> datetime | None:
    """When they last did; None: never."""
    return WorkerHeartbeat.objects.values_list("beat_at", flat=True).first()
