"""The timetable names real tasks, and the file broker keeps its messages to itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from kombu import Connection
from kombu.exceptions import ChannelError
from kombu.transport import resolve_transport
from pytest_django import Settings

from gateway_project.celery import app, make_folders

MESSAGES = 500


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled <= set(app.tasks)


def test_books_are_compared_before_their_last_days_are_made_anew() -> None:
    """What somebody took out of the ledger is in the roll-ups until then, and nowhere else."""

    def hour(name: str) -> int:
        (at,) = app.conf.beat_schedule[name]["schedule"].hour
        return int(at)

    assert hour("reconcile") == hour("reconcile-all") < hour("roll-up-recent")


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


def test_worker_that_looks_while_a_message_is_written_takes_it_whole(tmp_path: Path) -> None:
    names = ("data_folder_in", "processed_folder", "control_folder")
    options: dict[str, Any] = {name: str(tmp_path / name) for name in names}
    options |= {"data_folder_out": options["data_folder_in"], "polling_interval": 0.0001}
    for name in names:
        (tmp_path / name).mkdir()

    def queue() -> Any:
        return Connection(settings.CELERY_BROKER_URL, transport_options=options).SimpleQueue("q")

    def send() -> None:
        sender = queue()
        for number in range(MESSAGES):
            sender.put({"number": number, "text": "x" * 50_000})

    taker = queue()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        got = {taker.get(timeout=30).payload["number"] for _ in range(MESSAGES)}
        sent.result()
    assert got == set(range(MESSAGES))
    assert not list((tmp_path / "data_folder_in").iterdir())


def test_message_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    options = {"data_folder_out": str(tmp_path / "none"), "control_folder": str(tmp_path)}
    options["data_folder_in"] = str(tmp_path)
    channel: Any = Connection(settings.CELERY_BROKER_URL, transport_options=options).channel()
    with pytest.raises(ChannelError):
        channel._put("q", {})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def channel(tmp_path: Path) -> Any:
    options = {"data_folder_out": str(tmp_path), "control_folder": str(tmp_path)}
    options["data_folder_in"] = str(tmp_path)
    return lambda: Connection(settings.CELERY_BROKER_URL, transport_options=options).channel()


def test_workers_that_start_at_once_read_whole_exchanges_and_lose_no_queue(channel: Any) -> None:
    def start(worker: int) -> None:
        own = channel()
        for number in range(25):
            own._queue_bind("events", "", "", f"q{worker}.{number}")
            assert own.get_table("events")

    with ThreadPoolExecutor(4) as pool:
        for started in [pool.submit(start, worker) for worker in range(4)]:
            started.result()
    assert len(channel().get_table("events")) == 100


def test_exchange_that_a_killed_process_left_empty_is_made_anew(
    channel: Any, tmp_path: Path
) -> None:
    file = tmp_path / "events.exchange"
    file.touch()
    one = channel()
    assert one.get_table("events") == []
    one._queue_bind("events", "key", "", "q")
    one._queue_bind("events", "key", "", "q")
    assert [row.queue for row in channel().get_table("events")] == ["q"]
    one._delete("q", "events", "key", "")
    assert channel().get_table("events") == []
    assert {path.name for path in tmp_path.iterdir()} == {"events.exchange", "events.lock"}
