"""The Celery application and its timetable.

Tasks live in the apps and are named here by their text only. A message is a nudge: what must not be
lost is a row, and a periodic task sends it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging
from django.conf import settings

from gateway_project import file_broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

file_broker.install()
app = Celery("tollgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def every(seconds: float, task: str) -> dict[str, Any]:
    """A message that no worker took before the next one is sent is dropped."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


def at(when: crontab, task: str) -> dict[str, Any]:
    return {"task": task, "schedule": when}


# Times are UTC. Nothing here must run on time: each run catches up with what was missed.
app.conf.beat_schedule = {
    "heartbeat": every(30, "gateway_project.tasks.beat_heart"),
    "sweep": every(10, "usage_app.tasks.sweep"),
    "watch-budgets": every(60, "usage_app.tasks.watch_budgets"),
    "deliver-due-alerts": every(30, "usage_app.tasks.deliver_due_alerts"),
    "roll-up-new": every(300, "usage_app.tasks.roll_up_new"),
    "windows-ahead": at(crontab(minute=10), "usage_app.tasks.make_windows_ahead"),
    "partitions": at(crontab(hour=1, minute=40), "usage_app.tasks.make_partitions"),
    # Before the last days are made anew: that would hide what is no longer in the ledger.
    "reconcile": at(crontab(hour=2, minute=20, day_of_week="1-6"), "usage_app.tasks.reconcile"),
    "reconcile-all": at(crontab(hour=2, minute=20, day_of_week=0), "usage_app.tasks.reconcile_all"),
    "roll-up-recent": at(crontab(hour=4, minute=20), "usage_app.tasks.roll_up_recent"),
    "close-months": at(crontab(hour=4, minute=40), "usage_app.tasks.close_months"),
    "retire": at(crontab(hour=3, minute=50), "usage_app.tasks.retire"),
    "forget-sessions": at(crontab(hour=3, minute=30), "gateway_project.tasks.forget_sessions"),
    "prune-sessions": at(crontab(minute=40), "chat_app.tasks.prune_sessions"),
    "forget-circuits": at(crontab(minute=50), "chat_app.tasks.forget_circuits"),
    "forget-upstream-minutes": at(crontab(minute=55), "chat_app.tasks.forget_upstream_minutes"),
}


@setup_logging.connect(weak=False)
def keep_our_logging(**_kwargs: Any) -> None:
    """A receiver alone keeps Celery from setting up logs of its own: Django's are in force."""


def make_folders() -> None:
    """Beat's own folder and the file broker's, closed to other accounts: messages are readable."""
    folders = [Path(settings.CELERY_BEAT_SCHEDULE_FILENAME).parent]
    if settings.CELERY_BROKER_URL.startswith("filesystem:"):
        options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
        names = ("data_folder_in", "processed_folder", "control_folder")
        folders += [Path(options[name]) for name in names]
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)


make_folders()
