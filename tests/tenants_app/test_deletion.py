"""Deleting what is configured: what goes and whose it is, and why."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.utils import timezone

from chat_app.models import OpenCircuit, UpstreamMinute
from gateway_project import roles
from tenants_app import keys
from tenants_app.models import Budget, Change, Route, Team, Upstream
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import (
    make_budget,
    make_model,
    make_route,
    make_team,
    make_tenant,
    make_upstream,
)
from tests.gateway_project.test_roles import browser

pytestmark = pytest.mark.django_db

WHY = {"post": "yes", "reason": "the pilot is over"}


def words_of(response: Any) -> str:
    return " ".join(text_of(response).split())


def reasons_of(model: type[Any]) -> list[str]:
    events = Change.objects.across(f"{model._meta.label}Event").filter(pgh_label="delete")
    return [event.reason for event in events]


def test_deleting_asks_why_and_keeps_it() -> None:
    client, budget = logged_in(superuser=True), make_budget(make_tenant(), "tokens", "day", 500000)
    url = url_of(Budget, "delete", budget.pk)
    assert 'name="reason"' in text_of(client.get(url))
    for sent in ({"post": "yes"}, {"post": "yes", "reason": " "}, {"reason": "x"}):
        assert client.post(url, sent).status_code == 200
        assert Budget.objects.exists()
    assert "Say why" in text_of(client.post(url, {"post": "yes"}))
    assert client.post(url, WHY).status_code == 302
    assert not Budget.objects.exists()
    assert reasons_of(Budget) == ["the pilot is over"]


def test_deleting_several_asks_why_and_keeps_it() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    chosen = [make_budget(acme, "tokens", period, 7000).pk for period in ("day", "month")]
    url = url_of(Budget, "changelist")
    picked = {"action": "delete_selected", ACTION_CHECKBOX_NAME: chosen}
    page = words_of(client.post(url, picked))
    assert 'name="reason"' in page
    assert "7,000 tokens per month on the whole tenant, of acme" in page
    assert "Say why" in words_of(client.post(url, {**picked, "post": "yes"}))
    assert Budget.objects.count() == 2
    assert client.post(url, {**picked, **WHY}).status_code == 302
    assert not Budget.objects.exists()
    assert reasons_of(Budget) == ["the pilot is over"] * 2


def test_a_budget_says_whose_it_is() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    team = make_team(acme, "research")
    key = keys.issue(acme, name="app").key
    told = {
        make_budget(
            acme, "tokens", "day", 5000
        ): "5,000 tokens per day on the whole tenant, of acme",
        make_budget(
            acme, "cost", "month", 10, team=team
        ): "10 cost per month on team research, of acme",
        make_budget(
            acme, "requests", "concurrent", 3, api_key=key
        ): f"3 requests at once on {key}, of acme",
    }
    for budget, words in told.items():
        assert words in words_of(client.get(url_of(Budget, "delete", budget.pk)))


def test_an_upstream_goes_with_its_routes_and_nothing_behind_the_scenes_is_told() -> None:
    roles.make()
    acme, upstream = make_tenant(), make_upstream("up", kind="demo")
    make_route(make_model("public"), upstream, tenant=acme)
    make_route(make_model("other"), upstream)
    now = timezone.now()
    UpstreamMinute.objects.create(
        upstream=upstream, minute=now, outcome="ok", calls=1, latency_ms=9
    )
    OpenCircuit.objects.create(
        process_id="11111111-1111-4111-8111-111111111111", upstream=upstream, failures=10,
        outcome="timeout", opened_at=now, retry_at=now + timedelta(seconds=5),
    )  # fmt: skip
    client, url = browser("Operator"), url_of(Upstream, "delete", upstream.pk)
    page = words_of(client.get(url))
    assert "up, shared by all tenants" in page
    assert "public → up, of acme" in page
    assert "other → up, of all tenants" in page
    assert "Together: 1 upstream, 2 routes." in page
    assert client.post(url, WHY).status_code == 302
    assert not Upstream.objects.exists() | Route.objects.exists() | UpstreamMinute.objects.exists()
    assert not OpenCircuit.objects.exists()


def test_a_team_says_whose_it_is() -> None:
    team = make_team(make_tenant(), "research")
    page = words_of(logged_in(superuser=True).get(url_of(Team, "delete", team.pk)))
    assert "research, of acme" in page
