"""Reports by team: found through the key, the same sums to the last digit, and closed months that
stay as they were grouped.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants_app import keys, staff
from tenants_app.models import ApiKey, Team, Tenant
from tests.admin_site import logged_in, make_staff, text_of, url_of
from tests.factories import make_key, make_team, make_tenant
from tests.usage_app.entries import charge, make_credit, make_entry
from usage_app import rollups, selectors
from usage_app.figures import Span
from usage_app.models import (
    DailyUsage,
    HourlyUsage,
    LedgerEntry,
    Margin,
    MonthlyUsage,
    RefusalCount,
)
from usage_app.reports import focus_files
from usage_app.reports import page as report_page
from usage_app.reports.lines import sum_of
from usage_app.reports.query import ReportQuery
from usage_app.statements import closing

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
BY_TEAM = ReportQuery(MARCH, group_by="team")
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
URL = "/admin/usage/?month=2026-03"

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Tenant:
    """Two teams, a key of none and calls without one; half of it rolled up. globex has a team of
    the same name.
    """
    acme, globex = make_tenant("acme"), make_tenant("globex")
    Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 1), percent=Decimal("33.3333"))
    research, shop = make_team(acme), make_team(acme, "shop", name="The shop")
    told = {
        make_key(acme, "a", team=research).key: ("1.0000000001", 1),
        make_key(acme, "b", team=research).key: ("2.0000000002", 2),
        make_key(acme, "c", team=shop).key: ("4.0000000004", 4),
        make_key(acme, "d").key: ("8.0000000008", 8),
        None: ("16.0000000016", 16),
        make_key(globex, "e", team=make_team(globex)).key: ("32.0000000032", 32),
    }
    for key, (cost, tokens) in told.items():
        at: Any = {"created_at": NOON, "cost": Decimal(cost), "api_key": key}
        charge(key.tenant if key else acme, **at, input_tokens=tokens)
        if tokens == 4:
            rollups.roll_up_new(margin=timedelta(0))
    make_credit(acme, created_at=NOON, credit=Decimal("-0.5"))
    return acme


def told(query: ReportQuery = BY_TEAM, tenant: Tenant | None = None) -> Mapping[Any, int]:
    """Input tokens by tenant and team."""
    lines = selectors.report_lines(query, tenant)
    return {(line.tenant, line.team): line.figures.input_tokens for line in lines}


def test_lines_are_teams_and_what_is_of_no_team(acme: Tenant) -> None:
    by_team = {("acme", "research"): 3, ("acme", "shop"): 4, ("acme", ""): 24,
               ("globex", "research"): 32}  # fmt: skip
    assert told() == by_team
    total = report_page.read(ReportQuery(MARCH), None).total.line
    report = report_page.read(BY_TEAM, None)
    assert sum_of(row.line for row in report.rows).figures == total.figures
    assert report.total.line.figures == total.figures
    assert total.figures.cost == Decimal("63.0000000063")
    rollups.roll_up_new(margin=timedelta(0))
    assert told() == by_team
    assert report_page.read(BY_TEAM, None).total.line.figures == total.figures


def test_page_shows_and_filters_teams(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    page = text_of(client.get(f"{URL}&groupBy=team"))
    for shown in ("Team", "research", "shop", "no team"):
        assert shown in page
    one = client.get(f"{URL}&tenant=acme&team=shop")
    assert one.context["report"].total.line.figures.input_tokens == 4
    assert '<option value="shop">The shop</option>' in one.content.decode()
    # Keys tell their teams where there are any.
    by_key = client.get(f"{URL}&tenant=acme&groupBy=key").context["report"]
    assert list(by_key.headings) == ["Tenant", "Team", "Key"]
    assert {row.names[1] for row in by_key.rows} == {"research", "shop", "no team"}
    none = client.get(f"{URL}&tenant=acme&team=-&groupBy=key").context["report"]
    assert list(none.headings) == ["Tenant", "Key"]
    assert none.total.line.figures.input_tokens == 24


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("team=research", "Name its tenant, too"),
        ("tenant=globex&team=shop", "The tenant has no such team."),
    ],
)
def test_page_and_api_say_which_team_there_is_not(acme: Tenant, query: str, told: str) -> None:
    page = logged_in(superuser=True).get(f"{URL}&{query}")
    assert page.status_code == 400
    assert told in text_of(page)


def test_refusals_are_those_of_the_teams_keys(acme: Tenant) -> None:
    research = Team.objects.get(tenant=acme, slug="research")
    for key in (*acme.keys.order_by("name"), None):
        RefusalCount.objects.create(tenant=acme, api_key=key, hour=NOON, code="x", refusals=1)
    lines = selectors.report_lines(replace(BY_TEAM, tenant="acme"), acme)
    assert {line.team: line.refusals for line in lines} == {"research": 2, "shop": 1, "": 2}
    query = ReportQuery(MARCH, tenant="acme", team="research", team_id=research.pk, group_by="day")
    assert sum_of(selectors.report_lines(query, acme)).refusals == 2
    none = sum_of(selectors.report_lines(replace(query, team="", team_id=None), acme))
    assert none.refusals == 2


def test_files_tell_the_team_of_each_key(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    response: Any = client.get(f"{URL}&tenant=acme&groupBy=key&format=csv")
    rows = list(csv.DictReader(b"".join(response.streaming_content).decode().splitlines()))
    found = {row["key"][:1]: (row["team"], row["team_name"]) for row in rows}
    assert found == {"a": ("research", "Research"), "b": ("research", "Research"),
                     "c": ("shop", "The shop"), "d": ("", ""), "w": ("", "")}  # fmt: skip
    rows = list(csv.DictReader("".join(focus_files.focus_chunks(BY_TEAM)).splitlines()))
    billed = {team: sum(Decimal(row["x_Cost"]) for row in rows if row["x_Team"] == team)
              for team in ("research", "shop", "")}  # fmt: skip
    assert billed == {"research": Decimal("35.0000000035"), "shop": Decimal("4.0000000004"),
                      "": Decimal("24.0000000024")}  # fmt: skip


def test_team_of_a_closed_month_stays(acme: Tenant) -> None:
    rollups.roll_up_new(margin=timedelta(0))
    closing.close(acme, MARCH.first, by="ann")
    lines = list(selectors.report_lines(BY_TEAM, None))
    key = acme.keys.get(name="a")
    shop = acme.teams.get(slug="shop")
    refused = (
        lambda: ApiKey.objects.filter(pk=key.pk).update(team=shop),
        lambda: ApiKey.objects.filter(pk=key.pk).update(team=None),
        lambda: ApiKey.objects.filter(name="d").update(team=shop),
        lambda: Team.objects.filter(tenant=acme, slug="research").delete(),
        key.delete,
    )
    for change in refused:
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    keys.rotate(key)
    keys.revoke(key)
    keys.issue(shop, name="new")
    assert list(selectors.report_lines(BY_TEAM, None)) == lines


def test_ledger_is_filtered_by_the_teams_keys(acme: Tenant) -> None:
    client, shop = logged_in(superuser=True), acme.teams.get(slug="shop")
    days = "local_day_from=2026-03-01&local_day_to=2026-03-31"
    url = f"{url_of(LedgerEntry, 'changelist')}?{days}"
    page = client.get(f"{url}&api_key__team__id__exact={shop.pk}")
    assert [entry.input_tokens for entry in page.context["cl"].result_list] == [4]
    none = client.get(f"{url}&tenant__id__exact={acme.pk}&api_key__team__isnull=True")
    assert sum_of_list(none) == 24
    empty = client.get(f"{url}&api_key__team__id__exact={make_team(acme, 'new').pk}")
    assert empty.context["cl"].result_list == []
    wrong = client.get(f"{url}&api_key__team__id__exact=x")
    assert wrong.headers["location"].endswith("e=1")


def test_ledger_of_a_team_goes_on_along_its_tenants_index(acme: Tenant) -> None:
    client, shop = logged_in(superuser=True), acme.teams.get(slug="shop")
    key = acme.keys.get(name="c")
    made = {make_entry(acme, api_key=key).pk for _ in range(60)}
    make_entry(acme)
    first = client.get(f"{url_of(LedgerEntry, 'changelist')}?api_key__team__id__exact={shop.pk}")
    assert "of the last 31 days" in text_of(first)
    with CaptureQueriesContext(connection) as asked:
        second = client.get(url_of(LedgerEntry, "changelist") + first.context["cl"].next_url)
    seen = [*first.context["cl"].result_list, *second.context["cl"].result_list]
    assert {entry.pk for entry in seen} == made
    (statement,) = [one["sql"] for one in asked if 'FROM "usage_app_ledgerentry"' in one["sql"]]
    assert "OFFSET" not in statement
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN {statement}")
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert f"tenant_id = {acme.pk}" in plan


def test_roll_ups_are_filtered_by_the_teams_keys(acme: Tenant) -> None:
    rollups.roll_up_new(margin=timedelta(0))
    client, shop = logged_in(superuser=True), acme.teams.get(slug="shop")
    for model in (HourlyUsage, DailyUsage, MonthlyUsage):
        url = f"{url_of(model, 'changelist')}?"
        of_shop = client.get(f"{url}api_key__team__id__exact={shop.pk}")
        assert sum_of_list(of_shop) == 4
        of_none = client.get(f"{url}tenant__id__exact={acme.pk}&api_key__team__isnull=True")
        assert sum_of_list(of_none) == 24


def sum_of_list(response: Any) -> int:
    return sum(row.input_tokens for row in response.context["cl"].result_list)


def test_held_staff_filters_by_its_own_teams_alone(acme: Tenant) -> None:
    globex = Tenant.objects.get(slug="globex")
    theirs = Team.objects.create(tenant=globex, slug="secret", name="Hidden things")
    user = make_staff(
        "usage_app.view_ledgerentry", "tenants_app.view_apikey", "tenants_app.view_team"
    )
    staff.hold_to(user, [acme])
    client = Client()
    client.force_login(user)
    page = client.get(f"{URL}&tenant=acme").content.decode()
    assert '<option value="shop">' in page
    assert "secret" not in page + client.get(URL).content.decode()
    assert client.get(f"{URL}&tenant=globex&team=secret").status_code == 400
    of_ledger = url_of(LedgerEntry, "changelist")
    own = acme.teams.get(slug="shop")
    assert "shop" in text_of(client.get(f"{of_ledger}?api_key__team__id__exact={own.pk}"))
    hidden = text_of(client.get(f"{of_ledger}?api_key__team__id__exact={theirs.pk}"))
    assert "secret" not in hidden
    field = "app_label=tenants_app&model_name=apikey&field_name=team"
    offered = client.get(f"/admin/autocomplete/?{field}&term=").json()["results"]
    assert [one["text"] for one in offered] == ["research", "shop"]
