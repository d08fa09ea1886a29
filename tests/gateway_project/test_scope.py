"""Staff who are held to acme see, choose and change nothing of globex, wherever they look."""

import logging
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from gateway_project import roles
from tenants_app import staff
from tenants_app.models import ApiKey, Budget, Change, Tenant
from tests.admin_site import form_of, logged_in, make_staff, registered, url_of
from tests.admin_walk import (
    Neighbours,
    autocompletes,
    filters_of,
    following,
    neighbours,
    pages_of,
    row_of,
    rows_of,
    told,
)
from tests.factories import make_tenant
from usage_app.models import LedgerEntry
from usage_app.reports.query import GROUPS

pytestmark = pytest.mark.django_db

# Tenant staff, and somebody with every permission there is, which must make no difference.
HELD = ("Tenant staff", "everything")


NOT_OFFERED = "Select a valid choice. That choice is not one of the available choices."


@pytest.fixture
def they() -> Iterator[Neighbours]:
    roles.make()
    with neighbours() as two:
        yield two


def held(they: Neighbours, kind: str) -> Client:
    user = make_staff()
    if kind == "everything":
        mark = Permission.objects.filter(codename="within_tenants")
        user.user_permissions.set(Permission.objects.difference(mark))
    else:
        user.groups.add(Group.objects.get(name=kind))
    staff.hold_to(user, [they.acme])
    client = Client()
    client.force_login(user)
    return client


def urls_of(they: Neighbours) -> Iterator[str]:
    """Every page with globex's rows where a row is named, and every way to ask for them."""
    yield reverse("admin:index")
    yield f"{reverse('admin:search')}?s=globex&extended=1"
    for model in registered():
        yield from (url for _, url in pages_of(model, row_of(model, they.globex)))
        yield from filters_of(model, they.globex)
        yield f"{url_of(model, 'add')}?tenant={they.globex.pk}"
    for url in autocompletes().values():
        yield f"{url}&term="
        yield f"{url}&term=globex"
    report = reverse("usage_report")
    for group in GROUPS:
        yield f"{report}?groupBy={group}"
        yield f"{report}?groupBy={group}&tenant=globex&team=research"
    for form in ("csv", "xlsx", "focus"):
        yield f"{report}?groupBy=detail&format={form}"
        yield f"{report}?tenant=globex&format={form}"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A line and a trace for each refusal would take longer than refusing."""
    caplog.set_level(logging.CRITICAL, "django.request")


@pytest.mark.parametrize("kind", HELD)
def test_no_page_shows_anything_of_another_tenant(they: Neighbours, kind: str) -> None:
    client = held(they, kind)
    shown = {}
    for url in urls_of(they):
        # That there was nothing of the number asked for before.
        client.cookies.pop("messages", None)
        for response in following(client, url):
            # What was asked for may be repeated: it is no news to whoever asked.
            found = {*they.marks.findall(told(response))} - {*they.marks.findall(url)}
            if found:
                shown[url] = sorted(found)
    assert shown == {}


@pytest.mark.parametrize("kind", HELD)
def test_nothing_of_another_tenant_is_written(they: Neighbours, kind: str) -> None:
    client, before, asked = held(they, kind), rows_of(they.globex), set()
    for model in registered():
        row = row_of(model, they.globex)
        asked.add(str(getattr(row, "pk", "")))
        sent = {"post": "yes", "confirmed": "yes", "name": "taken"}
        bulk = {"_selected_action": [getattr(row, "pk", "")], "select_across": "1"}
        posts = [(url, sent) for _, url in pages_of(model, row)] + [
            (url_of(model, "changelist"), {**sent, **bulk, "action": action})
            for action in ("delete_selected", "suspend_selected", "revoke_selected")
        ]
        for url, data in posts:
            # Messages may tell, also a page later, that there is nothing of the number asked for.
            assert not {*they.marks.findall(told(client.post(url, data)))} - asked, url
    assert rows_of(they.globex) == before


def test_rows_are_not_given_to_another_tenant_nor_taken_from_one(they: Neighbours) -> None:
    client, before = held(they, "everything"), rows_of(they.globex)
    acmes = they.acme.budgets.filter(team=None, api_key=None).get()
    key = they.globex.keys.get()
    foreign = {"tenant": they.globex.pk, "metric": "requests", "period": "day", "limit": 5}
    for url in (url_of(Budget, "add"), url_of(Budget, "change", acmes.pk)):
        page = client.post(url, foreign)
        assert page.context["adminform"].form.errors["tenant"] == [NOT_OFFERED]
        page = client.post(url, foreign | {"tenant": they.acme.pk, "api_key": key.pk})
        assert page.context["adminform"].form.errors["api_key"] == [NOT_OFFERED]
    issued = client.post(
        url_of(ApiKey, "add"), {"tenant": they.globex.pk, "name": "x", "scopes": ["chat"]}
    )
    assert issued.context["adminform"].form.errors == {"tenant": [NOT_OFFERED]}
    assert rows_of(they.globex) == before
    assert Budget.objects.get(pk=acmes.pk).tenant == they.acme


def test_rows_within_a_page_are_those_of_its_tenant(they: Neighbours) -> None:
    client, before = held(they, "everything"), rows_of(they.globex)
    url = url_of(Tenant, "change", they.acme.pk)
    foreign = they.globex.budgets.exclude(api_key=None).get()
    sent = form_of(client.get(url))
    assert "budgets-TOTAL_FORMS" in sent
    for extra in (
        {"id": foreign.pk, "metric": "requests", "period": "day", "limit": 1},
        {"api_key": foreign.api_key_id, "metric": "requests", "period": "day", "limit": 1},
        {"tenant": they.globex.pk, "metric": "requests", "period": "month", "limit": 1},
    ):
        more = {f"budgets-0-{name}": value for name, value in extra.items()}
        initial = 1 if "id" in extra else 0
        counts = {"budgets-TOTAL_FORMS": 1, "budgets-INITIAL_FORMS": initial}
        page = client.post(url, sent | counts | more)
        assert page.status_code == 200, extra
    assert rows_of(they.globex) == before


def test_own_rows_are_seen_chosen_and_written(they: Neighbours) -> None:
    client = held(they, "Tenant staff")
    (shown,) = client.get(url_of(Tenant, "changelist")).context["cl"].result_list
    assert shown == they.acme
    assert client.post(
        url_of(ApiKey, "add"), {"tenant": they.acme.pk, "name": "new", "scopes": ["chat"]}
    ).context["key"].tenant == they.acme  # fmt: skip
    overview = client.get(reverse("admin:index")).context["overview"]
    cards = {card.id: card.data for card in overview.cards}
    assert cards["now"].figures[0] == ("Requests today", "1", "0 this month")
    assert (cards["books"].holds.count, cards["books"].compared) == (1, None)
    assert not {"machinery", "providers", "bills", "to-close", "changes"} & set(cards)
    changes = client.get(url_of(Change, "changelist")).context["cl"].result_list
    assert {one.pgh_obj_model for one in changes} >= {"tenants_app.Tenant", "tenants_app.ApiKey"}
    assert client.get(f"{reverse('usage_report')}?tenant=globex").status_code == 400


def test_whose_tenants_are_all_gone_sees_empty_lists(they: Neighbours) -> None:
    client = held(they, "everything")
    user = User.objects.get(pk=client.session["_auth_user_id"])
    staff.hold_to(user, [])
    for model in (Tenant, ApiKey, Budget, LedgerEntry):
        assert list(client.get(url_of(model, "changelist")).context["cl"].result_list) == []


def test_tenants_are_given_and_taken_on_the_users_page_and_that_is_audited() -> None:
    boss, user, acme = logged_in(superuser=True), make_staff(), make_tenant("acme")
    url = url_of(User, "change", user.pk)
    sent = form_of(boss.get(url))
    assert sent["staff_scope-TOTAL_FORMS"] == 0
    given = {"staff_scope-TOTAL_FORMS": 1, "staff_scope-0-tenants": [acme.pk]}
    assert boss.post(url, sent | given).status_code == 302
    assert staff.tenants_of(User.objects.get(pk=user.pk)) == frozenset({acme.pk})
    emptied = form_of(boss.get(url)) | {"staff_scope-0-tenants": []}
    assert boss.post(url, emptied).status_code == 302
    assert staff.tenants_of(User.objects.get(pk=user.pk)) == frozenset()
    changes = boss.get(f"{url_of(Change, 'changelist')}?what=tenants_app.ScopedTenant")
    told_of = [(one.pgh_label, str(one.user)) for one in changes.context["cl"].result_list]
    name = User.objects.get(is_superuser=True).username
    assert told_of == [("delete", name), ("insert", name)]
