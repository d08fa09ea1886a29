"""The periodic tasks of the books: one run at a time, and what each leaves behind."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from gateway_project.celery import app
from tests.factories import make_tenant
from tests.usage_app.entries import make_entry, make_process
from usage_app import ledger_sync, tasks
from usage_app.models import DailyUsage, GatewayProcess, RefusalCount
from usage_app.runs import sole_run

pytestmark = pytest.mark.django_db


def test_second_run_is_left_out_until_the_first_ends() -> None:
    name = uuid4().hex
    with sole_run(name) as first, sole_run(name) as second, sole_run(name + "x") as other:
        assert (first, second, other) == (True, False, True)
    with sole_run(name) as again:
        assert again


def test_run_ends_when_the_work_fails() -> None:
    name = uuid4().hex
    with pytest.raises(ZeroDivisionError), sole_run(name):
        _ = 1 / 0
    with sole_run(name) as again:
        assert again


def test_task_is_skipped_while_it_runs_elsewhere() -> None:
    make_entry(make_tenant())
    with sole_run("usage_app.tasks.roll_up_new"):
        tasks.roll_up_new()
    assert not DailyUsage.objects.exists()
    tasks.roll_up_new()
    assert DailyUsage.objects.get().requests == 1


def test_recent_days_are_rolled_up_again() -> None:
    make_entry(make_tenant())
    tasks.roll_up_recent()
    assert DailyUsage.objects.get().requests == 1


def test_sweep_tells_how_many_holds_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_sync, "expire", lambda: 3)
    with capture_logs() as logs:
        tasks.sweep()
    assert logs == [{"event": "holds_expired", "holds": 3, "log_level": "warning"}]


def test_entries_outside_all_partitions_are_an_error() -> None:
    with capture_logs() as logs:
        tasks.make_partitions()
    assert logs == []
    make_entry(make_tenant(), created_at=datetime(1999, 1, 1, tzinfo=UTC))
    with capture_logs() as logs:
        tasks.make_partitions()
    assert logs == [{"event": "entries_outside_partitions", "entries": 1, "log_level": "error"}]


def test_windows_ahead_need_nobody() -> None:
    tasks.make_windows_ahead()


def test_old_refusals_and_processes_are_retired() -> None:
    tenant, now = make_tenant(), datetime.now(UTC)
    for days in (89, 91):
        RefusalCount.objects.create(
            tenant=tenant, hour=now - timedelta(days=days), code="rate_limited", refusals=1
        )
    make_process(silent_for=timedelta(days=2))
    tasks.retire()
    assert RefusalCount.objects.get().hour == now - timedelta(days=89)
    assert not GatewayProcess.objects.exists()


def test_timetable_has_every_task_of_the_books() -> None:
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    ours = {name for name in app.tasks if name.startswith("usage_app.tasks.")}
    # An alert's delivery is sent for by the watch, which is in the timetable.
    assert ours - {"usage_app.tasks.deliver_alert"} <= scheduled
