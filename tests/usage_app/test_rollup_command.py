"""`manage.py rollup`: whole days anew, on demand, in any range."""

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tenants_app.models import Tenant
from tests.factories import make_tenant
from tests.usage_app.entries import charge
from usage_app import reconciliation, rollups
from usage_app.figures import Span
from usage_app.management.progress import Progress
from usage_app.models import DailyUsage, HourlyUsage, MonthlyUsage

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)


def make_days(tenant: Tenant, days: int = 3) -> None:
    for later in range(days):
        charge(tenant, created_at=NOON + timedelta(days=later))


def days_of(tenant: Tenant) -> list[int]:
    return [day.day for day in DailyUsage.objects.for_tenant(tenant).values_list("day", flat=True)]


def test_days_that_were_asked_for_are_made_anew(capsys: pytest.CaptureFixture[str]) -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    for tenant in (acme, globex):
        make_days(tenant)
    call_command("rollup", "--from", "2026-03-15", "--to", "2026-03-15", "--tenant", "acme")
    assert (days_of(acme), days_of(globex)) == ([15], [])
    out, err = capsys.readouterr()
    assert out == "rolled up 1 days of 1 tenants\n"
    assert err == "100 % 2026-03-15 acme\n"
    call_command("rollup")
    assert sorted(days_of(acme)) == sorted(days_of(globex)) == [14, 15, 16]


def test_what_somebody_wrote_is_replaced_and_what_is_of_no_entry_goes() -> None:
    acme = make_tenant("acme")
    make_days(acme, 1)
    rollups.roll_up_new(margin=timedelta(0))
    for rows in (DailyUsage, HourlyUsage, MonthlyUsage):
        rows.objects.update(requests=9)
    stray = DailyUsage.objects.get()
    stray.pk, stray.day = None, date(2026, 5, 1)
    stray.save()
    everything = Span(date(2026, 1, 1), date(2026, 12, 31))
    assert reconciliation.compare(acme, everything).drifts != []
    call_command("rollup")
    assert reconciliation.compare(acme, everything).drifts == []
    assert days_of(acme) == [14]


def test_stopped_in_the_middle_it_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make_tenant("acme")
    make_days(acme)
    roll_up = rollups.roll_up

    def interrupted(tenant_id: int, first: date, last: date) -> None:
        if first.day == 15:
            raise KeyboardInterrupt
        roll_up(tenant_id, first, last)

    monkeypatch.setattr(rollups, "ENTRIES_A_SLICE", 1)
    monkeypatch.setattr(rollups, "roll_up", interrupted)
    with pytest.raises(CommandError, match="The rest: --from 2026-03-15") as stopped:
        call_command("rollup", "--from", "2026-03-14")
    assert stopped.value.returncode == 130
    monkeypatch.undo()
    call_command("rollup", "--from", "2026-03-15")
    assert sorted(days_of(acme)) == [14, 15, 16]


def test_nothing_to_do_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    make_tenant("acme")
    call_command("rollup")
    assert capsys.readouterr().out == "rolled up 0 days of 1 tenants\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [1, 7, 200])
def test_bar_ends_at_a_hundred_percent(total: int) -> None:
    for out in (Terminal(), io.StringIO()):
        progress = Progress(out, total)
        for number in range(total):
            progress.step(f"day {number}")
        progress.close()
        lines: list[Any] = out.getvalue().replace("\r\x1b[K", "\n").strip().split("\n")
        assert lines[-1].endswith(f"100 % day {total - 1}")
        assert len(lines) <= (total if out.isatty() else 10)
