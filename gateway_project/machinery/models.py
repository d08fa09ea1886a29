"""The sign of life of beat, broker and worker."""

from django.db import models
from django.db.models import Q


class WorkerHeartbeat(models.Model):
    """One row: when a worker last ran the task that beat had sent it through the broker. While it
    is young, all three do their work.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    beat_at = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="worker_heart_is_one"),)

    def __str__(self) -> str:
        return f"alive at {self.beat_at:%Y-%m-%d %H:%M:%S}"
