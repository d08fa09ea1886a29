"""The audit trail's page: found by whom, whose and why, and taken along as a file."""

import csv
from typing import Any

import pghistory
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from tenants_app import staff
from tenants_app.models import Change, Tenant
from tests.admin_site import logged_in, make_staff, text_of, url_of
from tests.factories import make_budget, make_model, make_team, make_tenant

pytestmark = pytest.mark.django_db

URL = "/admin/tenants_app/change/"


def lines(client: Client, **filters: Any) -> list[dict[str, str]]:
    answer = client.get(f"{URL}export/", filters)
    assert answer["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(text_of(answer).splitlines()))


@pytest.mark.django_db(transaction=True)  # a context lasts until its transaction ends
def test_export_tells_before_and_after_with_who_and_why_also_of_sql() -> None:
    alice = make_staff()
    with pghistory.context(user=alice.pk, reason="=cmd() a new name"):
        acme = make_tenant("acme")
        Tenant.objects.filter(pk=acme.pk).update(name="Acme Ltd")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tenants_app_tenant SET cost_center = '#7' WHERE id = %s", [acme.pk])
    call_command("create_key", "acme", "--name", "shop")
    found = lines(logged_in(superuser=True))
    changed = [
        (one["who"], one["command"], one["reason"], one["field"], one["before"], one["after"])
        for one in found
        if one["change"] == "changed" and one["what"] == "tenant"
    ]
    assert changed == [
        ("", "", "", "cost center", "", "#7"),
        (alice.get_username(), "", "'=cmd() a new name", "name", "Acme", "Acme Ltd"),
    ]
    keys = {one["field"]: one for one in found if one["what"] == "API key"}
    assert (keys["name"]["after"], keys["name"]["command"]) == ("shop", "create_key")
    assert "digest" not in keys
    page = text_of(logged_in(superuser=True).get(URL))
    assert "SQL, no user" in page
    assert "command create_key" in page
    assert "=cmd() a new name" in page


@pytest.mark.django_db(transaction=True)
def test_list_and_file_are_of_the_same_changes() -> None:
    alice = make_staff()
    acme, globex = make_tenant("acme"), make_tenant("globex")
    with pghistory.context(user=alice.pk):
        make_budget(acme, "tokens", "day", 5)
    make_budget(globex, "tokens", "day", 7)
    client = logged_in(superuser=True)
    for filters, limits in (
        ({"tenant": "acme"}, ["5"]),
        ({"tenant": "globex"}, ["7"]),
        ({"tenant": "nobody"}, []),
        ({"who": alice.get_username()}, ["5"]),
        ({"who": "nobody"}, []),
        ({"what": "tenants_app.Budget"}, ["7", "5"]),
        ({"change": "delete"}, []),
    ):
        found = lines(client, **filters)
        assert [one["after"][:1] for one in found if one["field"] == "limit"] == limits
        page = client.get(URL, filters)
        shown = {event.pgh_obj_id for event in page.context["cl"].result_list}
        assert shown == {one["row"] for one in found}, filters
    assert "export/?tenant=acme" in text_of(client.get(URL, {"tenant": "acme"}))
    assert client.get(f"{URL}export/", {"pgh_created_at": "x"}).status_code == 302


def test_changes_of_one_transaction_stand_in_the_order_in_which_they_were_made() -> None:
    acme = make_tenant("acme")
    names = [f"Acme {number}" for number in range(12)]  # their numbers pass a power of ten
    for name in names:
        Tenant.objects.filter(pk=acme.pk).update(name=name)
    events = logged_in(superuser=True).get(URL, {"change": "update"}).context["cl"].result_list
    assert [event.pgh_data["name"] for event in events] == names[::-1]


def test_rows_are_told_by_their_names_and_their_tenant() -> None:
    acme = make_tenant("acme")
    make_budget(acme, "tokens", "day", 5)
    Tenant.objects.filter(pk=acme.pk).update(default_model=make_model("small"))
    page = text_of(logged_in(superuser=True).get(URL))
    for told in ("budget tokens per day of acme", "tenant acme", "none → small", "model small"):
        assert told in page
    assert f"budget #{acme.budgets.get().pk}" not in page


def test_staff_of_some_tenants_take_along_their_own() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    held = make_staff("tenants_app.view_change", "tenants_app.view_tenant")
    staff.hold_to(held, [acme])
    client = Client()
    client.force_login(held)
    assert "globex" not in text_of(client.get(f"{URL}export/"))
    assert lines(client, tenant="globex") == []
    assert {one["row"] for one in lines(client)} == {str(acme.pk)}
    assert Change.objects.across().filter(pgh_obj_id=str(globex.pk)).exists()


def test_who_may_not_see_changes_takes_none_along() -> None:
    assert logged_in("tenants_app.view_tenant").get(f"{URL}export/").status_code == 403
    assert Client().get(url_of(Change, "export")).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_command_is_named_on_the_tenants_page_too() -> None:
    acme = make_tenant("acme")
    call_command("create_key", "acme", "--name", "shop")
    client = logged_in(superuser=True)
    for page in ("history", "change"):
        assert "command create_key" in text_of(client.get(url_of(Tenant, page, acme.pk)))


def test_the_file_names_rows_and_whose_they_are() -> None:
    acme = make_tenant("acme", default_model=make_model("small"))
    make_budget(acme, "tokens", "day", 5, team=make_team(acme, "research"))
    found = {(one["what"], one["field"]): one for one in lines(logged_in(superuser=True))}
    limit = found["budget", "limit"]
    assert (limit["name"], limit["tenant"]) == ("tokens per day on team research", "acme")
    assert found["budget", "team"]["after"] == "research"
    model = found["tenant", "default model"]
    assert (model["name"], model["tenant"], model["after"]) == ("Acme", "acme", "small")


def test_the_filter_of_days_has_a_name_for_people() -> None:
    page = text_of(logged_in(superuser=True).get(URL))
    assert "By when" in page
    assert "pgh created" not in page
