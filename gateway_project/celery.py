"""The Celery application and its timetable.

Tasks live in the apps and are named here by their text only. A message is a nudge: what must not be
lost is a row, and a periodic task sends it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

app = Celery("tollgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# name: task, and every how many seconds or by which crontab.
app.conf.beat_schedule = {}


@setup_logging.connect(weak=False)
def keep_our_logging(**_kwargs: Any) -> None:
    """A receiver alone keeps Celery from setting up logs of its own: Django's are in force."""


def make_broker_folders() -> None:
    """The file broker's folders, closed to other accounts: messages are readable text."""
    if not settings.CELERY_BROKER_URL.startswith("filesystem:"):
        return
    for name in ("data_folder_in", "processed_folder", "control_folder"):
        folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS[name])
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)


make_broker_folders()
