"""The timetable names real tasks, and the file broker keeps its messages to itself."""

from pathlib import Path

from django.conf import settings
from kombu.transport import resolve_transport
from pytest_django import Settings

from gateway_project.celery import app, make_folders


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled <= set(app.tasks)


def test_messages_are_json_only_and_results_are_not_kept() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.task_ignore_result is True


def test_broker_folders_are_private() -> None:
    for name in ("data_folder_in", "processed_folder", "control_folder"):
        folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS[name])
        assert folder.stat().st_mode & 0o777 == 0o700


def test_beat_has_a_folder_beside_any_broker(tmp_path: Path, settings: Settings) -> None:
    settings.CELERY_BROKER_URL = "redis://localhost:6379/0"
    settings.CELERY_BEAT_SCHEDULE_FILENAME = str(tmp_path / "new" / "beat")
    make_folders()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_redis_is_a_broker_that_can_be_named() -> None:
    assert resolve_transport("redis") is not None


def test_message_waits_in_the_folder_for_a_worker() -> None:
    folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_in"])
    before = len(list(folder.iterdir()))
    app.send_task("no.such_task", args=[1], queue="tests-only")
    assert len(list(folder.iterdir())) == before + 1
