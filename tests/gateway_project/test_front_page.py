"""The front page: what its cards tell, to whom, what turns red, and what it costs to ask."""

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from chat_app.models import OpenCircuit, UpstreamMinute
from gateway_project import roles
from gateway_project.celery import app
from gateway_project.machinery import heartbeat
from gateway_project.machinery.models import WorkerHeartbeat
from gateway_project.tasks import beat_heart
from tenants_app import staff
from tenants_app.models import ApiKey, Budget, Tenant
from tests.admin_site import logged_in, make_books, make_staff, make_world, text_of
from tests.factories import make_budget, make_key, make_raise, make_team, make_tenant, make_upstream
from tests.usage_app.entries import (
    charge,
    make_entry,
    make_hold,
    make_process,
    make_statement,
    make_window,
)
from usage_app import partitions, rollups
from usage_app.models import (
    GatewayProcess,
    ProviderBill,
    Reconciliation,
    RefusalCount,
    RollupMark,
)

pytestmark = pytest.mark.django_db


def overview(client: Client) -> Any:
    return client.get(reverse("admin:index")).context["overview"]


def cards(client: Client) -> dict[str, Any]:
    return {card.id: card.data for card in overview(client).cards}


def rolled_up() -> None:
    rollups.roll_up_new(margin=timedelta(0))


@pytest.fixture
def neighbours() -> list[Tenant]:
    """Two tenants on two sides of the globe, each with a key."""
    tenants = [
        make_tenant("acme", timezone="Asia/Tokyo"),
        make_tenant("globex", timezone="America/New_York"),
    ]
    for tenant in tenants:
        make_key(tenant, "app")
    return tenants


def test_glance_is_what_windows_and_roll_ups_count(neighbours: list[Tenant]) -> None:
    acme, globex = neighbours
    for _ in range(19):
        charge(
            acme,
            api_key=ApiKey.objects.get(tenant=acme),
            cost=Decimal("0.5"),
            latency_ms=120,
            ttft_ms=40,
        )
    charge(globex, outcome="error", latency_ms=9000, cost=None)
    for tenant, refusals in ((acme, 3), (globex, 4)):
        RefusalCount.objects.create(
            tenant=tenant, hour=timezone.now(), code="rate_limited", refusals=refusals
        )
    client = logged_in(superuser=True)
    assert cards(client)["now"].figures[4] == (
        "Errors today",
        "none yet",
        "none yet this month",
    )
    rolled_up()
    now = cards(client)["now"]
    assert now.figures == [
        ("Requests today", "20", "20 this month"),
        ("Tokens today", "300", "300 this month"),
        ("Cost today, USD", "9.50", "9.50 this month"),
        ("Refused today", "7", "7 this month"),
        ("Errors today", "5.0 %", "5.0 % this month"),
        ("95 % answered today within", "100 to 150 ms", "100 to 150 ms this month"),
        ("95 % of first tokens within", "30 to 50 ms", "30 to 50 ms this month"),
    ]
    assert [(busy.tenant, busy.requests, busy.tokens) for busy in now.busiest] == [
        ("acme", 19, 285),
        ("globex", 1, 15),
    ]


def test_charts_of_hours_say_when_nothing_is_rolled_up_yet(neighbours: list[Tenant]) -> None:
    RollupMark.objects.all().delete()
    charge(neighbours[0])
    client = logged_in(superuser=True)
    page = text_of(client.get(reverse("admin:index")))
    assert "Nothing is rolled up yet" in page
    assert "Errors by hour" not in page
    rolled_up()
    page = text_of(client.get(reverse("admin:index")))
    assert "Nothing is rolled up yet" not in page
    assert "Errors by hour" in page


def test_charts_are_of_each_tenants_days_and_of_clock_hours(neighbours: list[Tenant]) -> None:
    acme, globex = neighbours
    now = timezone.now()
    for tenant, ago in ((acme, 0), (globex, 0), (globex, 2), (globex, 40)):
        charge(tenant, created_at=now - timedelta(days=ago), cost=Decimal(1))
    make_entry(acme, created_at=now - timedelta(hours=23), outcome="error")
    rolled_up()
    trends = cards(logged_in(superuser=True))["trends"]
    requests, tokens, cost = trends.days
    assert [len(chart.bars) for chart in (*trends.days, *trends.hours)] == [30, 30, 30, 24, 24, 24]
    assert sum(int(bar.value) for bar in requests.bars) == 3
    assert sum(int(bar.value) for bar in tokens.bars) == 45
    assert sum(Decimal(bar.value) for bar in cost.bars) == 3
    counted, errors, _ = trends.hours
    assert [bar.value for bar in (counted.bars[0], counted.bars[-1])] == ["1", "2"]
    assert errors.bars[0].value == "1"
    assert requests.bars[-1].href.startswith(reverse("usage_report"))


def test_budgets_that_are_near_or_over_are_bars_with_the_fullest_first(
    neighbours: list[Tenant],
) -> None:
    acme, globex = neighbours
    key, team = ApiKey.objects.get(tenant=globex), make_team(globex, "shop")
    make_budget(globex, "tokens", "month", 100, team=team)
    make_window(globex, "month", team=team, tokens=60, held_tokens=40)
    make_window(globex, "month", tokens=1000)
    for tenant, api_key, period, tokens in (
        (acme, None, "day", 79),
        (acme, None, "month", 80),
        (globex, None, "day", 120),
        (globex, key, "day", 90),
    ):
        make_budget(tenant, "tokens", period, 100, api_key=api_key)
        make_window(tenant, period, api_key=api_key, tokens=tokens - 5, held_tokens=5)
    make_window(acme, "day", starts_at=timezone.now() - timedelta(days=9), tokens=500)
    found = cards(logged_in(superuser=True))["budgets"]
    assert [(bar.title, bar.percent, bar.level) for bar in found.bars] == [
        ("globex: Tokens per day", 120, "out"),
        ("globex: Tokens per month, team shop", 100, "out"),
        ("globex: Tokens per day, key app", 90, "near"),
        ("acme: Tokens per month", 80, "near"),
    ]
    assert found.others == 0
    make_raise(Budget.objects.get(tenant=acme, period="month"), extra=100)
    make_raise(Budget.objects.get(tenant=globex, team=None, api_key=None), extra=40)
    raised = cards(logged_in(superuser=True))["budgets"].bars
    assert [bar.title for bar in raised if "month" in bar.title] == [found.bars[1].title]
    (day,) = [bar for bar in raised if bar.title == "globex: Tokens per day"]
    assert (day.percent, day.limit, day.level) == (85, "140 (raised from 100)", "near")
    for number in range(12):
        extra = make_key(acme, f"app-{number}").key
        make_budget(acme, "tokens", "day", 10, api_key=extra)
        make_window(acme, api_key=extra, tokens=10)
    found = cards(logged_in(superuser=True))["budgets"]
    assert (len(found.bars), found.others) == (10, 5)
    assert "And 5 more" in text_of(logged_in(superuser=True).get(reverse("admin:index")))


def test_upstreams_that_failed_are_told_with_what_they_said() -> None:
    upstream, other = make_upstream("openai"), make_upstream("fine")
    now = timezone.now()
    for one, outcome, calls, ago, message in (
        (upstream, "ok", 8, 1, ""),
        (upstream, "error", 2, 5, "overloaded"),
        (upstream, "timeout", 1, 9, "too slow"),
        (other, "ok", 5, 1, ""),
        (other, "error", 5, 90, "long ago"),
    ):
        UpstreamMinute.objects.create(
            upstream=one, minute=now - timedelta(minutes=ago), outcome=outcome, calls=calls,
            latency_ms=10, message=message,
        )  # fmt: skip
    client = logged_in(superuser=True)
    (row,) = cards(client)["providers"].rows
    assert (row.name, row.health.failures, row.health.calls) == ("openai", 3, 11)
    assert (row.last.message, row.circuit) == ("overloaded", "")
    OpenCircuit.objects.create(
        process_id=make_process().id, upstream=upstream, failures=10, outcome="timeout",
        opened_at=now, retry_at=now + timedelta(minutes=5),
    )  # fmt: skip
    shown = overview(client)
    assert ("An upstream kept failing and is left alone for a while.", "providers") in [
        *shown.warnings
    ]


def test_worker_beat_and_broker_live_while_their_row_is_young(settings: Settings) -> None:
    assert app.conf.beat_schedule["heartbeat"]["task"] == beat_heart.name
    client = logged_in(superuser=True)
    WorkerHeartbeat.objects.all().delete()
    (worker, *_) = cards(client)["machinery"].parts
    assert (worker.state, worker.text) == (
        "bad", "No task has ever run: worker or beat is not there.",
    )  # fmt: skip
    beat_heart()
    beat_heart()
    (worker, *_) = cards(client)["machinery"].parts
    assert (worker.state, worker.at) == ("good", heartbeat.last())
    WorkerHeartbeat.objects.update(beat_at=timezone.now() - timedelta(minutes=4))
    shown = overview(client)
    told = ("No periodic task has run of late: worker or beat is not there.", "machinery")
    assert told in [*shown.warnings]
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_in": "/nowhere"}
    (worker, *_) = cards(client)["machinery"].parts
    assert worker.text == "No periodic task has run of late: the broker is not there."


def test_partitions_and_roll_ups_that_are_missing_are_red() -> None:
    client, today = logged_in(superuser=True), datetime.now(UTC).date()
    partitions.make_ahead(today)

    def states() -> list[str]:
        return [part.state for part in cards(client)["machinery"].parts[1:]]

    assert states() == ["late", "good"]
    RollupMark.objects.update_or_create(id=1, defaults={"settled_before": timezone.now()})
    assert states() == ["good", "good"]
    RollupMark.objects.update(settled_before=timezone.now() - timedelta(hours=1))
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    name = f"{partitions.TABLE}_{following:%Y_%m}"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {partitions.TABLE} DETACH PARTITION {name}")
    assert states() == ["bad", "bad"]
    assert "no partition for next month" in text_of(client.get(reverse("admin:index")))


def test_stuck_process_is_told_from_a_stopped_one() -> None:
    client, now = logged_in(superuser=True), timezone.now()
    make_books(make_tenant(), None)
    stuck = GatewayProcess.objects.get()
    hold_of = stuck.id
    for process, silence in ((hold_of, 40), (uuid.uuid4(), 50), (uuid.uuid4(), 9000)):
        beat = now - timedelta(seconds=silence)
        GatewayProcess.objects.update_or_create(
            id=process,
            defaults={"host": "web", "pid": silence, "started_at": now, "heartbeat_at": beat},
        )
    shown = cards(client)["machinery"].processes
    assert [(process.name, process.state) for process in shown] == [
        ("web #40", "stuck"),
        ("web #50", "stopped"),
    ]


def test_drift_stale_comparisons_and_old_holds_are_red() -> None:
    client, now, acme = logged_in(superuser=True), timezone.now(), make_tenant()
    assert cards(client)["books"].compared.run is None
    old = {"started_at": now - timedelta(days=2), "finished_at": now - timedelta(days=2)}
    Reconciliation.objects.create(author="task", drifts=0, **old)
    Reconciliation.objects.create(author="by hand", tenant=acme, drifts=9, finished_at=now)
    Reconciliation.objects.create(author="cut off", drifts=0)
    make_hold(acme, [], created_at=now - timedelta(hours=2))
    make_hold(acme, [])
    books = cards(client)["books"]
    assert (books.compared.drifts, books.holds.count) == (0, 2)
    assert books.warnings == [
        "The books were not compared last night.",
        "A hold is older than any request can be: the sweep does not run.",
    ]
    Reconciliation.objects.create(author="task", drifts=3, finished_at=now)
    shown = overview(client)
    assert ("The books do not agree: 3 figures drifted.", "books") in [*shown.warnings]
    assert "3 figures drifted" in text_of(client.get(reverse("admin:index")))


def test_finance_is_told_the_month_what_to_close_and_which_bills_differ(
    neighbours: list[Tenant],
) -> None:
    acme, globex = neighbours
    charge(acme, cost=Decimal(2))
    charge(globex, cost=Decimal(3))
    charge(globex, cost=None)
    past = timezone.now() - timedelta(days=40)
    make_entry(acme, created_at=past, cost=Decimal(1))
    rolled_up()
    bill: dict[str, Any] = {
        "kind": "openai", "first_day": past.date(), "last_day": past.date(), "upstreams": [],
        "layout": {}, "currency": "USD", "lines": 1, "imported_by": "finance",
    }  # fmt: skip
    for name, difference in (("agrees", 0), ("money", Decimal("1.5")), ("tokens", None)):
        missing = int(name == "tokens")
        ProviderBill.objects.create(
            **bill, name=name, digest=name, difference=difference, missing_here=missing
        )
    found = cards(logged_in(superuser=True))
    month = found["month"].month
    assert [(spent.tenant, spent.cost_told, spent.unpriced) for spent in month.dearest] == [
        ("globex", "3.00", "50.0 %"),
        ("acme", "2.00", "0 %"),
    ]
    assert (month.total.cost, month.total.unpriced_tokens, month.tenants) == (5, 15, 2)
    assert [(one.slug, one.month) for one in found["to-close"].rows] == [
        ("acme", past.astimezone().date().replace(day=1))
    ]
    assert [(row.name, told) for row, told in found["bills"].rows] == [
        ("tokens", "not told"),
        ("money", "1.50"),
    ]


LANDINGS = {
    "Operator": [
        *("now", "budgets", "providers", "machinery", "trends", "refusals", "books"),
    ],
    "Finance": ["month", "to-close", "bills", "budgets", "books", "trends", "statements"],
    "Auditor": ["books", "statements", "changes", "bills", "machinery", "month", "trends"],
    "Tenant staff": ["now", "budgets", "trends", "refusals", "books"],
}


@pytest.mark.parametrize("role", LANDINGS)
def test_each_role_lands_on_what_it_needs(role: str) -> None:
    roles.make()
    acme = make_world("acme")
    make_world("globex")
    make_statement(acme, date(2026, 1, 1))
    user, client = make_staff(), Client()
    user.groups.add(Group.objects.get(name=role))
    if role == "Tenant staff":
        staff.hold_to(user, [acme])
    client.force_login(user)
    answer = client.get(reverse("admin:index"))
    assert [card.id for card in answer.context["overview"].cards] == LANDINGS[role]
    assert ("globex" in text_of(answer)) == (role != "Tenant staff")


def test_superuser_sees_operations_and_then_money() -> None:
    found = list(cards(logged_in(superuser=True)))
    assert found == [*LANDINGS["Operator"], "month", "to-close", "bills", "statements"]


def test_without_permissions_there_are_no_figures() -> None:
    make_world()
    page = text_of(logged_in().get(reverse("admin:index")))
    assert "Choose a page in the menu" in page
    assert "acme" not in page
    assert "/admin/tenants_app/" not in page


@pytest.mark.parametrize(
    ("permission", "shown"),
    [
        ("usage_app.view_usagewindow", ["trends"]),
        ("usage_app.view_reservation", ["books"]),
        ("usage_app.view_monthlyusage", ["month"]),
        ("tenants_app.view_change", ["changes"]),
        ("usage_app.view_gatewayprocess", ["machinery"]),
        ("usage_app.view_providerbill", ["bills"]),
        ("tenants_app.view_tenant", []),
    ],
)
def test_card_is_for_those_who_may_see_its_figures(permission: str, shown: list[str]) -> None:
    assert list(cards(logged_in(permission))) == shown


def test_page_asks_as_often_for_many_tenants_as_for_one_and_never_the_ledger() -> None:
    client, counts = logged_in(superuser=True), []
    for slugs in (["acme"], ["globex", "initech"]):
        for slug in slugs:
            make_world(slug)
        client.get(reverse("admin:index"))
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse("admin:index"))
        counts.append(len(queries))
        asked = [query["sql"] for query in queries]
        assert [sql for sql in asked if 'FROM "usage_app_ledgerentry"' in sql] == []
        assert [sql for sql in asked if "FROM usage_app_ledgerentry " in sql] == []
    assert counts[0] == counts[1] < 50


def test_empty_house_has_a_page_without_any_complaint_but_the_workers() -> None:
    WorkerHeartbeat.objects.all().delete()
    partitions.make_ahead(datetime.now(UTC).date())
    client = logged_in(superuser=True)
    assert [card for _, card in overview(client).warnings] == ["machinery"]
    page = text_of(client.get(reverse("admin:index")))
    for told in ("No requests yet today.", "Nothing was rolled up yet;", "never compared"):
        assert told in page
