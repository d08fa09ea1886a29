"""Every page of the admin: it opens, costs a fixed number of queries, and shows no secret."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tenants_app import keys
from tenants_app.models import Tenant, Upstream
from tests.admin_site import (
    SIGNING_SECRET,
    TOKEN,
    external_urls,
    form_of,
    logged_in,
    make_staff,
    make_world,
    registered,
    text_of,
    url_of,
)

pytestmark = pytest.mark.django_db

READ_ONLY = [
    "chat_app.ChatMessage",
    "chat_app.OpenCircuit",
    "tenants_app.Change",
    "tenants_app.ConfigurationVersion",
    "usage_app.Alert",
    "usage_app.DailyUsage",
    "usage_app.Drift",
    "usage_app.GatewayProcess",
    "usage_app.HourlyUsage",
    "usage_app.LedgerEntry",
    "usage_app.MonthlyUsage",
    "usage_app.ProviderBillLine",
    "usage_app.ProviderBillMatch",
    "usage_app.RateBucket",
    "usage_app.Reconciliation",
    "usage_app.RefusalCount",
    "usage_app.Reservation",
    "usage_app.Statement",
    "usage_app.UsageWindow",
]
# Written by the house, cleared by people.
CLEARED = {"gateway_project.LoginThrottle"}
# Versions are written by triggers at COMMIT, which a test's transaction never reaches.
OF_ITS_OWN = {"tenants_app.ConfigurationVersion", "auth.User"}


def rows_of(model: type[Model], client: Client) -> list[Any]:
    response = client.get(url_of(model, "changelist"))
    return list(response.context["cl"].result_list)


def telling(rows: list[Any]) -> list[Any]:
    """Of many events those of rows that have secrets; of all else everything."""
    secretive = ("tenants_app.Upstream", "tenants_app.ApiKey")
    return [row for row in rows if getattr(row, "pgh_obj_model", secretive[0]) in secretive]


def actions_of(page: Any) -> Iterator[str]:
    """Those of a row's page, those in menus too."""
    for action in getattr(page, "actions_detail", ()):
        yield from action["items"] if isinstance(action, dict) else (action,)


def pages(client: Client) -> Iterator[str]:
    """Every page there is: lists, forms, histories, confirmations."""
    yield reverse("admin:index")
    for model in registered():
        yield url_of(model, "changelist")
        page = admin.site._registry[model]
        if model._meta.label not in CLEARED.union(READ_ONLY):
            yield url_of(model, "add")
        for row in telling(rows_of(model, client)):
            yield url_of(model, "change", row.pk)
            yield url_of(model, "history", row.pk)
            for action in actions_of(page):
                opts = model._meta
                name = f"admin:{opts.app_label}_{opts.model_name}_{action}"
                yield reverse(name, args=[row.pk])


@pytest.mark.parametrize("model", registered(), ids=lambda model: model._meta.label)
def test_list_opens_and_asks_as_often_for_three_rows_as_for_one(model: type[Model]) -> None:
    client = logged_in(superuser=True)
    client.get(url_of(model, "changelist"))
    counts = []
    for slugs in (["acme"], ["globex", "initech"]):
        for slug in slugs:
            make_world(slug)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            response = client.get(url_of(model, "changelist"))
        assert response.status_code == 200
        rows = len(response.context["cl"].result_list)
        counts.append((len(queries), [query["sql"] for query in queries.captured_queries]))
        assert rows >= len(slugs) or model._meta.label in OF_ITS_OWN
    assert counts[0][0] == counts[1][0], "\n".join(counts[1][1])


@pytest.mark.parametrize("model", registered(), ids=lambda model: model._meta.label)
def test_pages_of_a_row_open(model: type[Model]) -> None:
    client = logged_in(superuser=True)
    make_world()
    for row in rows_of(model, client):
        assert client.get(url_of(model, "change", row.pk)).status_code == 200
        history = client.get(url_of(model, "history", row.pk), follow=True)
        assert history.status_code == 200
    expected = 403 if model._meta.label in CLEARED.union(READ_ONLY) else 200
    # A raise is of a budget: without one it leads to where these are chosen.
    assert client.get(url_of(model, "add"), follow=True).status_code == expected


@pytest.mark.parametrize("label", READ_ONLY)
def test_facts_are_not_added_changed_or_deleted_here(label: str) -> None:
    client = logged_in(superuser=True)
    make_world()
    model = next(one for one in registered() if one._meta.label == label)
    assert client.post(url_of(model, "add"), {}).status_code == 403
    for row in rows_of(model, client):
        assert client.post(url_of(model, "change", row.pk), {}).status_code == 403
        assert client.post(url_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_no_page_shows_a_secret_or_another_machine() -> None:
    client = logged_in(superuser=True)
    acme = make_world()
    issued = keys.issue(acme, name="crawled")
    sealed = Upstream.objects.get(name="acme-upstream").sealed_token
    secrets = [
        TOKEN,
        SIGNING_SECRET,
        issued.secret,
        issued.key.digest.hex(),
        repr(issued.key.digest),
    ]
    secrets.append(str(getattr(sealed, "_stored", "missing")))
    seen = 0
    for url in pages(client):
        response = client.get(url, follow=True)
        page = text_of(response)
        assert response.status_code == 200, url
        assert [secret for secret in secrets if secret in page] == [], url
        assert external_urls(page) == [], url
        seen += 1
    assert seen > 80


def test_lists_do_not_show_what_was_said() -> None:
    client = logged_in(superuser=True)
    make_world()
    model = next(one for one in registered() if one._meta.label == "chat_app.ChatMessage")
    assert "a private sentence" not in text_of(client.get(url_of(model, "changelist")))
    (row,) = rows_of(model, client)
    assert "a private sentence" in text_of(client.get(url_of(model, "change", row.pk)))


def test_a_viewer_may_look_and_not_touch() -> None:
    client = logged_in("tenants_app.view_tenant", "tenants_app.view_upstream")
    acme = make_world()
    upstream = Upstream.objects.get(name="acme-upstream")
    for row in (acme, upstream):
        assert client.get(url_of(type(row), "change", row.pk)).status_code == 200
        assert client.post(url_of(type(row), "change", row.pk), {}).status_code == 403
    assert Tenant.objects.get(pk=acme.pk).name == "Acme"


def test_login_that_was_asked_for_by_itself_leads_to_the_front_page() -> None:
    user = make_staff()
    sent = {"username": user.username, "password": "x"}
    answer = Client().post(reverse("admin:login"), sent)
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))


def test_permissions_are_granted_by_name_from_those_that_open_a_page() -> None:
    client = logged_in(superuser=True)
    user = make_staff()
    url = url_of(type(user), "change", user.pk)
    page = client.get(url)
    field = page.context["adminform"].form.fields["user_permissions"]
    assert "select2" in str(field.widget.media)
    view = Permission.objects.get(codename="view_tenant")
    assert view in field.queryset
    sent = form_of(page) | {"user_permissions": [view.pk]}
    assert client.post(url, sent).status_code == 302
    assert user.has_perm("tenants_app.view_tenant")
