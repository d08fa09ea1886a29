"""What is noted of budgets that are being used up: each percentage once per window."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants_app import raises
from tenants_app.models import Budget
from tests.factories import make_budget, make_key, make_raise, make_team, make_tenant
from tests.usage_app.alerting import make_watched, make_window, told, use
from usage_app.alerts import watch, words
from usage_app.models import Alert, AlertDelivery, UsageWindow

pytestmark = pytest.mark.django_db


def test_percentage_is_noted_once_per_window() -> None:
    _budget, window = make_watched(tokens=799)
    watch.note_crossed()
    assert told() == []
    use(window, 800)
    watch.note_crossed()
    watch.note_crossed()
    use(window, 949)
    watch.note_crossed()
    assert told() == [("acme", 80, 80)]


def test_of_several_at_once_the_highest_is_told_and_none_later() -> None:
    _budget, window = make_watched(tokens=1003, emails=["ops@acme.example"])
    noted = watch.note_crossed()
    assert told() == [("acme", 80, 100), ("acme", 95, 100), ("acme", 100, 100)]
    assert [row.percent for row in Alert.objects.filter(pk__in=noted.alerts)] == [100]
    assert AlertDelivery.objects.get().alert.percent == 100
    use(window, 5000)
    assert watch.note_crossed() == watch.Noted()


def test_what_is_held_is_not_used() -> None:
    _budget, window = make_watched(tokens=100)
    UsageWindow.objects.filter(pk=window.pk).update(held_tokens=900)
    watch.note_crossed()
    assert told() == []


def test_changed_limit_tells_nothing_twice() -> None:
    budget, window = make_watched(tokens=960)
    watch.note_crossed()
    Budget.objects.update(limit=10_000)
    watch.note_crossed()
    use(window, 9_600)
    watch.note_crossed()
    Budget.objects.update(limit=9_600)
    watch.note_crossed()
    assert told() == [("acme", 80, 95), ("acme", 95, 95), ("acme", 100, 100)]
    assert Alert.objects.get(percent=100).limit == Decimal(9_600)
    assert budget.pk == Alert.objects.get(percent=80).budget_id


def test_percentage_is_of_the_limit_with_its_raises() -> None:
    budget, window = make_watched(tokens=1_200)
    given = make_raise(budget, extra=1_000)
    make_raise(budget, starts_at=timezone.now() + timedelta(hours=1),
               ends_at=timezone.now() + timedelta(hours=2))  # fmt: skip
    watch.note_crossed()
    assert told() == []
    use(window, 1_600)
    watch.note_crossed()
    assert told() == [("acme", 80, 80)]
    assert Alert.objects.get().limit == Decimal(2_000)
    # Without the raise all of it is used up; what was told is not told again.
    raises.cancel(given, by="ann")
    watch.note_crossed()
    watch.note_crossed()
    assert told() == [("acme", 80, 80), ("acme", 95, 100), ("acme", 100, 100)]
    assert Alert.objects.get(percent=100).limit == Decimal(1_000)


@pytest.mark.parametrize(("minutes", "alerts"), [(1, 1), (-1, 0)])
def test_window_that_is_over_is_compared_with_the_limit_it_ended_with(
    minutes: int, alerts: int
) -> None:
    budget, window = make_watched(tokens=800)
    over = timezone.now() - timedelta(minutes=10)
    UsageWindow.objects.filter(pk=window.pk).update(
        starts_at=over - timedelta(days=1), ends_at=over
    )
    # Begun after its end, or before: of the former it had nothing.
    begun = over + timedelta(minutes=minutes)
    make_raise(budget, starts_at=begun, ends_at=over + timedelta(days=1))
    watch.note_crossed()
    assert Alert.objects.count() == alerts


def test_next_window_is_told_anew() -> None:
    _budget, window = make_watched(tokens=800)
    watch.note_crossed()
    midnight = timezone.now() - timedelta(minutes=5)
    UsageWindow.objects.filter(pk=window.pk).update(ends_at=midnight)
    make_window(window.tenant, 800, starts_at=midnight)
    watch.note_crossed()
    assert told() == [("acme", 80, 80), ("acme", 80, 80)]


@pytest.mark.parametrize(("minutes_ago", "alerts"), [(10, 1), (20, 0)])
def test_what_was_crossed_in_a_windows_last_minutes_is_told(minutes_ago: int, alerts: int) -> None:
    _budget, window = make_watched(tokens=800)
    over = timezone.now() - timedelta(minutes=minutes_ago)
    UsageWindow.objects.filter(pk=window.pk).update(
        starts_at=over - timedelta(days=1), ends_at=over
    )
    watch.note_crossed()
    assert Alert.objects.count() == alerts


def test_each_scope_metric_and_period_is_compared_with_its_own_window() -> None:
    acme, globex = make_tenant(), make_tenant("globex")
    key = make_key(acme).key
    make_budget(acme, "tokens", "day", 1000, alert_percents=[50])
    make_budget(acme, "cost", "month", Decimal("0.10"), alert_percents=[100])
    make_budget(acme, "requests", "day", 10, api_key=key, alert_percents=[70])
    make_budget(acme, "requests", "minute", 1)
    make_budget(globex, "tokens", "day", 1000, alert_percents=[])
    make_window(acme, 400, requests=1000)
    make_window(acme, 0, requests=7, api_key=key)
    make_window(acme, 10**6, period="month", cost=Decimal("0.1"))
    make_window(globex, 5000)
    watch.note_crossed()
    found = Alert.objects.values_list("metric", "period", "percent", "used").order_by("metric")
    assert list(found) == [
        ("cost", "month", 100, Decimal("0.1")),
        ("requests", "day", 70, Decimal(7)),
    ]


def test_budget_of_a_team_is_compared_with_the_teams_window_and_named() -> None:
    acme = make_tenant()
    team = make_team(acme)
    make_budget(acme, "tokens", "day", 1000, alert_percents=[50])
    make_budget(acme, "tokens", "day", 100, team=team, alert_percents=[90])
    make_window(acme, 95)
    make_window(acme, 95, team=team)
    watch.note_crossed()
    alert = Alert.objects.get()
    assert (alert.team, alert.percent, int(alert.used)) == (team, 90, 95)
    assert words.scope(alert) == "the team research"
    assert json.loads(words.payload(alert))["data"]["scope"] == "team"


def test_deleted_budget_leaves_its_alerts() -> None:
    budget, _window = make_watched(tokens=800)
    watch.note_crossed()
    budget.delete()
    assert told() == [("acme", 80, 80)]


@pytest.mark.parametrize("percents", [[0], [101], [None], list(range(1, 12))])
def test_percentages_that_make_no_sense_are_refused(percents: Any) -> None:
    budget, _window = make_watched()
    with pytest.raises(IntegrityError), transaction.atomic():
        Budget.objects.filter(pk=budget.pk).update(alert_percents=percents)


def test_more_tenants_are_compared_in_as_many_statements() -> None:
    make_watched(tokens=900, emails=["ops@acme.example"])
    with CaptureQueriesContext(
        connection,
    ) as one:
        watch.note_crossed()
    for number in range(3):
        make_watched(f"tenant-{number}", tokens=900, emails=["ops@tenant.example"])
    with CaptureQueriesContext(connection) as many:
        assert len(watch.note_crossed().deliveries) == 3
    assert len(one) == len(many)


@pytest.mark.django_db(transaction=True)
def test_two_that_look_at_once_note_each_percentage_once() -> None:
    for slug in ("acme", "globex"):
        make_watched(slug, tokens=1000, emails=[f"ops@{slug}.example"])

    def look(_: int) -> int:
        try:
            return len(watch.note_crossed().deliveries)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(look, range(8)))
    assert (made, Alert.objects.count(), AlertDelivery.objects.count()) == (2, 6, 2)
