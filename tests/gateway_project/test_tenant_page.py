"""The page of a tenant: what its sections tell, to whom, and what it costs to ask."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat_app.errors import ModelNotAllowed, ModelUnknown
from gateway_project import roles
from tenants_app import keys
from tenants_app.errors import ServiceUnavailable, TollgateError
from tenants_app.models import ApiKey, Team, Tenant, TenantFallback, TenantHost
from tests.admin_site import form_of, logged_in, make_staff, make_world, text_of, url_of
from tests.architecture.sources import ROOT
from tests.chat_app.contract import house
from tests.factories import make_budget, make_key, make_model, make_route, make_team, make_tenant
from tests.live import Server
from tests.loopback import Loopback
from tests.usage_app.entries import make_entry, make_window
from usage_app import rollups
from usage_app.admin.refusal_words import WORDS
from usage_app.errors import BudgetExceeded, ModelUnpriced, RateLimited
from usage_app.models import RefusalCount

pytestmark = pytest.mark.django_db


def page_of(client: Client, tenant: Tenant) -> Any:
    return client.get(url_of(Tenant, "change", tenant.pk))


def sections_of(response: Any) -> dict[str, Any]:
    found = [*response.context["above"], *response.context["below"]]
    return {section.id: section.data for section in found}


def live_url(tenant: Tenant) -> str:
    return reverse("admin:tenants_app_tenant_live", args=[tenant.pk])


def test_head_tells_state_hosts_zone_and_currency() -> None:
    acme = make_tenant(timezone="Asia/Tokyo", cost_center="research")
    for number in range(5):
        TenantHost.objects.create(tenant=acme, host=f"h{number}.example")
    page = text_of(page_of(logged_in(superuser=True), acme))
    for told in ("active", "h0.example, h1.example, h2.example …", "Asia/Tokyo", "USD", "research"):
        assert told in page


def test_bars_tell_used_held_left_and_when_it_resets_where_the_tenant_is() -> None:
    acme = make_tenant(timezone="Asia/Tokyo")
    make_budget(acme, "tokens", "day", 1000)
    make_budget(acme, "cost", "month", "12.5")
    make_budget(acme, "requests", "minute", 60, burst=10)
    make_window(acme, tokens=840, requests=7, held_tokens=60)
    (requests, tokens, cost) = sections_of(page_of(logged_in(superuser=True), acme))["budgets"].bars
    assert (tokens.title, tokens.used, tokens.held, tokens.left, tokens.limit) == (
        "Tokens per day", "840", "60", "100", "1,000",
    )  # fmt: skip
    assert (tokens.percent, tokens.level) == (90, "near")
    assert (tokens.used_width, tokens.held_width) == (840, 60)
    assert tokens.resets.startswith("resets at 00:00 on ")
    assert " (Asia/Tokyo), in " in tokens.resets
    assert (requests.title, requests.left, requests.limit) == (
        "Requests per minute", "10", "60, 10 in a burst",
    )  # fmt: skip
    assert (cost.title, cost.used, cost.left, cost.level) == ("USD per month", "0", "12.50", "ok")


def test_figures_of_today_and_this_month_are_those_of_the_windows() -> None:
    acme = make_tenant()
    make_window(acme, tokens=840, requests=7, held_tokens=60)
    today = sections_of(page_of(logged_in(superuser=True), acme))["budgets"].periods[0]
    assert (today.title, today.tokens, today.requests, today.held_tokens) == ("Today", 840, 7, 60)


def test_live_part_is_the_bars_of_now() -> None:
    acme, client = make_tenant(), logged_in(superuser=True)
    make_budget(acme, "tokens", "day", 1000)
    page = text_of(page_of(client, acme))
    assert f'data-live="{live_url(acme)}"' in page
    assert "0 used, 0 held" in page
    make_window(acme, tokens=1000)
    answer = client.get(live_url(acme))
    assert "1,000 used, 0 held" in text_of(answer)
    assert "used up" in text_of(answer)
    assert "<html" not in text_of(answer)
    assert "no-store" in answer["Cache-Control"]


def test_live_part_is_for_those_who_may_see_it() -> None:
    acme = make_tenant()
    assert logged_in().get(live_url(acme)).status_code == 403
    assert logged_in("tenants_app.view_tenant").get(live_url(acme)).status_code == 403
    assert logged_in("usage_app.view_usagewindow").get(live_url(acme)).status_code == 403
    both = logged_in("tenants_app.view_tenant", "usage_app.view_usagewindow")
    assert both.get(live_url(acme)).status_code == 200
    assert both.get(reverse("admin:tenants_app_tenant_live", args=[0])).status_code == 404
    assert Client().get(live_url(acme)).status_code == 302


def test_keys_that_nearly_used_up_their_budget_are_named() -> None:
    acme = make_tenant()
    for number, tokens in enumerate((10, 85, 100)):
        key = make_key(acme, f"app-{number}").key
        make_budget(acme, "tokens", "day", 100, api_key=key)
        make_window(acme, api_key=key, tokens=tokens)
    bars = sections_of(page_of(logged_in(superuser=True), acme))["budgets"].keys
    assert [(bar.title, bar.level) for bar in bars] == [
        ("Tokens per day, key app-2", "out"),
        ("Tokens per day, key app-1", "near"),
    ]


def test_budgets_of_teams_are_bars_with_the_fullest_first() -> None:
    acme = make_tenant()
    teams = [make_team(acme, slug) for slug in ("idle", "busy", "full")]
    for team, tokens in zip(teams, (0, 40, 100), strict=True):
        make_budget(acme, "tokens", "day", 100, team=team)
        if tokens:
            make_window(acme, team=team, tokens=tokens)
    # What a key of the team used is in the team's window, too, and is not counted twice.
    make_window(acme, api_key=make_key(acme, team=teams[0]).key, tokens=7)
    bars = sections_of(page_of(logged_in(superuser=True), acme))["budgets"].teams
    assert [(bar.title, bar.percent, bar.level, bar.href) for bar in bars] == [
        ("Tokens per day, team full", 100, "out", url_of(Team, "change", teams[2].pk)),
        ("Tokens per day, team busy", 40, "ok", url_of(Team, "change", teams[1].pk)),
        ("Tokens per day, team idle", 0, "ok", url_of(Team, "change", teams[0].pk)),
    ]
    assert "team full" in text_of(logged_in(superuser=True).get(live_url(acme)))


def test_refusals_are_told_with_what_they_mean_and_whose_they_were() -> None:
    acme, globex = make_tenant(), make_tenant("globex")
    key, now = make_key(acme, "app").key, timezone.now()
    counts = [
        (acme, key, now, "budget_exceeded", 7),
        (acme, None, now - timedelta(days=3), "budget_exceeded", 5),
        (acme, key, now, "something_new", 1),
        (acme, key, now - timedelta(days=8), "model_unknown", 9),
        (globex, None, now, "rate_limited", 4),
    ]
    for tenant, api_key, hour, code, refusals in counts:
        RefusalCount.objects.create(
            tenant=tenant, api_key=api_key, hour=hour, code=code, refusals=refusals
        )
    response = page_of(logged_in(superuser=True), acme)
    told = [
        (reason.code, reason.last_day, reason.last_week, [*reason.keys])
        for reason in sections_of(response)["refusals"]
    ]
    assert told == [
        ("budget_exceeded", 7, 12, ["app", "no key"]),
        ("something_new", 1, 1, ["app"]),
    ]
    assert "Raise the budget, or wait until it resets" in text_of(response)
    assert "See docs/reference/errors.md." in text_of(response)


def test_usage_is_the_ledgers_and_leads_to_its_days() -> None:
    acme = make_tenant()
    for days in (0, 3, 40):
        make_entry(acme, created_at=timezone.now() - timedelta(days=days))
    rollups.roll_up_new(margin=timedelta(0))
    make_entry(acme)
    sections = sections_of(page_of(logged_in(superuser=True), acme))
    assert sections["usage"].figures[0] == ("Requests", "3", "no errors")
    requests, tokens, _ = sections["usage"].charts
    assert [bar.value for bar in requests.bars][-4:] == ["1", "0", "0", "2"]
    assert (tokens.bars[-1].value, len(tokens.bars)) == ("30", 30)
    assert "tenant=acme" in tokens.bars[-1].href
    assert len(sections["entries"]) == 4


def test_models_are_told_with_their_ways_and_what_is_wrong() -> None:
    default, spare, off = (make_model(name) for name in ("default", "spare", "off"))
    acme = make_tenant(default_model=default, allow_list_enabled=True)
    acme.allowed_models.add(default, off)
    TenantFallback.objects.create(tenant=acme, model=spare, position=1)
    make_route(default)
    own = make_route(default, tenant=acme, upstream_model="their-name")
    make_route(spare)
    rows = sections_of(page_of(logged_in(superuser=True), acme))["models"].rows
    told = [
        (str(row.model), [*row.roles], [(str(way.upstream), way.whose) for way in row.ways])
        for row in rows
    ]
    assert told[0] == ("default", ["default"], [(str(own.upstream), "own route")])
    assert (told[1][:2], told[2]) == (("spare", ["fallback 1"]), ("off", [], []))
    assert [row.problem.split(":")[0] for row in rows] == [
        "", "Not on the allow-list", "No upstream answers for it",
    ]  # fmt: skip


def test_page_asks_as_often_for_many_of_everything_as_for_one() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    model = make_model()
    make_route(model)
    acme.allowed_models.add(model)
    counts = []
    for number in (1, 3):
        for place in range(number):
            name = f"app-{number}-{place}"
            key = make_key(acme, name).key
            make_budget(acme, "tokens", "day", 5, api_key=key)
            make_window(acme, api_key=key, tokens=5)
            make_entry(acme, api_key=key)
            TenantHost.objects.create(tenant=acme, host=f"{name}.example")
            RefusalCount.objects.create(
                tenant=acme, api_key=key, hour=timezone.now(), code="rate_limited", refusals=1
            )
        page_of(client, acme)
        with CaptureQueriesContext(connection) as queries:
            assert page_of(client, acme).status_code == 200
        counts.append([query["sql"] for query in queries.captured_queries])
    assert len(counts[0]) == len(counts[1]), "\n".join(counts[1])


def test_page_is_bounded_however_many_keys_there_are() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    many = [
        ApiKey(tenant=acme, name=f"k{n}", prefix=f"tg_{n}", digest=n.to_bytes(32))
        for n in range(99)
    ]
    ApiKey.objects.bulk_create(many)
    sections = sections_of(page_of(client, acme))
    assert (len(sections["keys"].rows), sections["keys"].live) == (10, 99)
    assert len(sections["changes"]) == 8
    assert "All 99 keys" in text_of(page_of(client, acme))


def test_keys_are_counted_as_in_the_list_of_tenants() -> None:
    acme = make_tenant()
    client = logged_in(superuser=True)
    for name in ("app", "job", "old"):
        make_key(acme, name=name)
    keys.revoke(ApiKey.objects.get(name="old"))
    keys.playground(acme)
    told = sections_of(page_of(client, acme))["keys"]
    assert (told.live, told.others) == (2, 1)
    (row,) = client.get(url_of(Tenant, "changelist")).context["cl"].result_list
    assert row.keys_live == 2


def test_advice_on_refusals_is_words_and_then_a_link() -> None:
    acme = make_tenant()
    now = timezone.now()
    RefusalCount.objects.create(tenant=acme, hour=now, code="model_not_allowed", refusals=1)
    page = text_of(page_of(logged_in(superuser=True), acme))
    assert 'ask for one of them. <a class="underline" href="#settings">To the settings</a>' in page


def test_two_fields_of_the_signing_secret_have_two_names() -> None:
    page = page_of(logged_in(superuser=True), make_tenant())
    (form,) = page.context["inline_admin_formsets"][2].formset.forms
    assert form["secret"].label == "New signing secret"


def test_way_to_a_tenant_names_it_as_it_is_called() -> None:
    page = " ".join(text_of(page_of(logged_in(superuser=True), make_tenant("acme"))).split())
    way = re.findall(r"tracking-tight\"> (\S+) </", page)
    assert way == ["Setup", "Tenants", "acme"]


def test_search_of_the_menu_says_that_nothing_is_called_so() -> None:
    client = logged_in(superuser=True)
    assert "Nothing in the menu" in text_of(client.get(reverse("admin:search"), {"s": "qqq"}))
    assert "Nothing in the menu" not in text_of(client.get(reverse("admin:search"), {"s": "ten"}))


@pytest.mark.parametrize("role", ["Operator", "Finance", "Auditor"])
def test_each_role_sees_its_sections_and_acts_only_where_it_may(role: str) -> None:
    roles.make()
    acme = make_world()
    user = make_staff()
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    response = page_of(client, acme)
    everything = {"budgets", "refusals", "usage", "keys", "teams", "models", "entries", "changes"}
    expected = everything - {"models"} if role == "Finance" else everything
    assert set(sections_of(response)) == expected
    page = text_of(response)
    may = role == "Operator"
    for words in (">Rotate<", "Issue a key", "Add a route of its own", "_reason"):
        assert (words in page) is may, words
    url = reverse("admin:tenants_app_tenant_suspend", args=[acme.pk])
    answer = client.post(url, {"confirmed": "yes", "reason": "x"})
    assert answer.status_code == (302 if may else 403)
    assert (Tenant.objects.get(pk=acme.pk).status == "suspended") is may


def test_form_with_errors_comes_first_and_alone() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    response = client.post(
        url_of(Tenant, "change", acme.pk), form_of(page_of(client, acme)) | {"name": ""}
    )
    assert response.context["adminform"].form.errors
    assert (response.context["above"], response.context["below"]) == ([], [])


def test_new_tenant_leads_to_its_page() -> None:
    client = logged_in(superuser=True)
    url = url_of(Tenant, "add")
    fields = form_of(client.get(url)) | {"slug": "acme", "name": "Acme"}
    answer = client.post(url, fields, follow=True)
    acme = Tenant.objects.get(slug="acme")
    assert answer.redirect_chain == [(url_of(Tenant, "change", acme.pk), 302)]
    assert "Issue a key, and its first request can be made." in text_of(answer)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"daily_tokens": "0"}, "daily_tokens", "suspend the tenant instead"),
        ({"monthly_tokens": "-5"}, "monthly_tokens", "Empty means no budget"),
        ({"daily_tokens": "1e3"}, "daily_tokens", "Whole tokens in digits only"),
        ({"timezone": "Mars/Base"}, "timezone", "There is no time zone “Mars/Base”. Choose one"),
        ({"allow_list_enabled": "on"}, "allowed_models", "every request would be refused"),
        ({"slug": "Acme!"}, "slug", "small letters, digits, - and _"),
    ],
)
def test_what_makes_no_sense_is_told_with_what_to_do(
    values: dict[str, str], field: str, words: str
) -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    data = form_of(page_of(client, acme)) | values
    response = client.post(url_of(Tenant, "change", acme.pk), data)
    (error,) = response.context["adminform"].form.errors[field]
    assert words in error


def test_suspension_says_since_when_by_whom_and_why() -> None:
    user = make_staff(superuser=True)
    client, acme = Client(), make_tenant()
    client.force_login(user)
    for action, reason in (("suspend", "unpaid"), ("resume", "paid"), ("suspend", "unpaid again")):
        url = reverse(f"admin:tenants_app_tenant_{action}", args=[acme.pk])
        client.post(url, {"confirmed": "yes", "reason": reason})
    page = text_of(page_of(client, acme))
    assert f"by {user.username}: “unpaid again”." in " ".join(page.split())
    assert reverse("admin:tenants_app_tenant_resume", args=[acme.pk]) in page


def test_changes_tell_who_what_and_why_by_name() -> None:
    user = make_staff(superuser=True)
    client, model = Client(), make_model("gpt")
    client.force_login(user)
    acme = make_tenant()
    data = form_of(page_of(client, acme))
    said = {"default_model": model.pk, "daily_tokens": "100", "_reason": "they asked for it"}
    client.post(url_of(Tenant, "change", acme.pk), data | said)
    changes = sections_of(page_of(client, acme))["changes"]
    budget = next(one for one in changes if one.name == "tokens per day")
    assert (budget.who, budget.verb, budget.why) == (user.username, "added", "they asked for it")
    (changed,) = (one for one in changes if one.verb == "changed")
    told = [(field.name, field.before, field.after) for field in changed.fields]
    assert told == [("default model", None, "gpt")]


def test_every_refusal_has_words_and_its_status() -> None:
    lines = (ROOT / "docs/reference/errors.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| `")]
    statuses = {row[1].strip(" `"): int(row[2]) for row in rows}
    counted: list[type[TollgateError]] = [
        RateLimited, BudgetExceeded, ModelUnpriced, ModelNotAllowed, ModelUnknown,
        ServiceUnavailable,
    ]  # fmt: skip
    codes = {error.default_code for error in counted}
    assert {code: words.status for code, words in WORDS.items()} == {
        code: statuses[code] for code in codes
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.xdist_group("live")
def test_suspension_counts_from_the_next_request_on(live: Server, loopback: Loopback) -> None:
    acme, client = house(loopback), logged_in(superuser=True)
    assert live.chat(acme.key).status_code == 200
    for action, status in (("suspend", 403), ("resume", 200)):
        url = reverse(f"admin:tenants_app_tenant_{action}", args=[acme.tenant.pk])
        client.post(url, {"confirmed": "yes", "reason": "to see what happens"})
        assert live.chat(acme.key).status_code == status
