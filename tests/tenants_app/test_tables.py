"""Tenants and budgets as tables: looked at before they are written, and the same again."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tenants_app import keys, staff, strict_csv
from tenants_app.models import Budget, Tenant
from tenants_app.models import Change as Event
from tenants_app.strict_csv import Columns
from tenants_app.strict_json import Findings
from tests.admin_site import logged_in, make_staff, text_of, url_of
from tests.factories import make_budget, make_model, make_team, make_tenant

pytestmark = pytest.mark.django_db

REASON = "the new year's budgets"


@pytest.fixture
def operator() -> Client:
    return logged_in(superuser=True)


def look(client: Client, model: Any, *lines: str, **more: Any) -> Any:
    return client.post(
        url_of(model, "import_csv"), {"table": "\n".join(lines), "reason": REASON, **more}
    )


def write(client: Client, model: Any, *lines: str) -> Any:
    seen = look(client, model, *lines).context["preview"].fingerprint
    return look(client, model, *lines, seen=seen)


def problems(page: Any) -> list[str]:
    return [str(finding) for finding in page.context["preview"].problems]


def test_tenants_are_made_and_changed_once_they_were_looked_at(operator: Client) -> None:
    acme = make_tenant("acme", default_model=make_model("m"))
    make_budget(acme, "tokens", "day", 1000)
    lines = (
        "tenant,name,status,timezone,default_model,daily_tokens,monthly_tokens",
        "acme,Acme Ltd,,,,none,50000",
        "globex,Globex,active,Europe/Vienna,m,7,",
    )
    page = look(operator, Tenant, *lines)
    assert [(whose, list(told)) for whose, told in page.context["preview"].changes] == [
        (
            "acme",
            [
                "~ name: Acme → Acme Ltd",
                "- daily_tokens: 1000 tokens per day",
                "+ monthly_tokens: 50000 tokens per month",
            ],
        ),
        ("globex (new)", page.context["preview"].changes[1][1]),
    ]
    assert list(Tenant.objects.values_list("name", flat=True)) == ["Acme"], "nothing is written"

    answer = write(operator, Tenant, *lines)
    assert [str(told) for told in get_messages(answer.wsgi_request)] == [
        "Imported: 2 rows changed."
    ]
    assert Tenant.objects.get(slug="globex").timezone == "Europe/Vienna"
    limits = Budget.objects.values_list("tenant__slug", "metric", "period", "limit")
    assert {(*place, int(limit)) for *place, limit in limits} == {
        ("acme", "tokens", "month", 50000),
        ("globex", "tokens", "day", 7),
    }
    again = look(operator, Tenant, *lines).context["preview"]
    assert (list(again.changes), again.unchanged) == ([], 2)
    reasons = {event.pgh_context["reason"] for event in Event.objects.all() if event.pgh_context}
    assert REASON in reasons


def test_export_of_tenants_changes_nothing_when_imported(operator: Client) -> None:
    acme = make_tenant("acme", default_model=make_model("m"), name='=cmd|"x", and more')
    make_budget(acme, "tokens", "day", 1000)
    make_tenant("globex", default_model=make_model("n"), cost_center="#7")
    table = text_of(operator.get(url_of(Tenant, "export_csv")))
    assert "\"'=cmd|" in table, "no spreadsheet runs it"
    preview = look(operator, Tenant, table).context["preview"]
    assert (list(preview.problems), list(preview.changes), preview.unchanged) == ([], [], 2)


def test_everything_wrong_with_a_table_is_told_by_line_and_column(operator: Client) -> None:
    make_tenant("acme", default_model=make_model("m"))
    page = look(
        operator,
        Tenant,
        "tenant,timezone,daily_tokens,default_model",
        "acme,Mars/Olympus,0,",
        "acme,,,",
        "globex,,12.5,",
        "ACME,,,m",
        "short,,",
    )
    assert problems(page) == [
        "line 2, timezone: must be a time zone of the IANA database, like Europe/Vienna",
        "line 2, daily_tokens: must be a whole number of at least 1",
        "line 4, default_model: is missing",
        "line 4, daily_tokens: must be a whole number of at least 1",
        "line 5, tenant: must be 1 to 63 small letters, digits, - and _, like acme-1",
        "line 6: has 3 cells, and the first line names 4 columns",
        "line 3, tenant: is the same tenant as line 2",
    ]
    assert "Nothing can be imported" in text_of(page)
    assert 'name="seen"' not in text_of(page)


def test_budgets_are_made_changed_and_taken_away(operator: Client) -> None:
    acme = make_tenant("acme")
    key = keys.issue(acme, name="shop").key
    make_budget(acme, "tokens", "day", 1000)
    make_budget(acme, "requests", "minute", 60, burst=5)
    make_budget(acme, "cost", "month", "12.50", api_key=key)
    lines = (
        "tenant,key,metric,period,limit,burst",
        "acme,,tokens,day,2000,",
        "acme,,requests,minute,none,",
        "acme,shop,cost,month,12.5,",
        "acme,shop,cost,day,0.75,",
    )
    preview = look(operator, Budget, *lines).context["preview"]
    assert [(whose, *told) for whose, told in preview.changes] == [
        ("acme", "~ budget: 1000 tokens per day → 2000 tokens per day"),
        ("acme", "- budget: 60 requests per minute, burst 5"),
        ("acme, key shop", "+ budget: 0.75 cost per day"),
    ]
    assert preview.unchanged == 1
    write(operator, Budget, *lines)
    found = Budget.objects.values_list("api_key__name", "metric", "period", "limit")
    assert sorted((name or "", *rest) for name, *rest in found) == [
        ("", "tokens", "day", 2000),
        ("shop", "cost", "day", pytest.approx(0.75)),
        ("shop", "cost", "month", 12.5),
    ]
    table = text_of(operator.get(url_of(Budget, "export_csv")))
    assert not look(operator, Budget, table).context["preview"].changes


def test_everything_wrong_with_budgets_is_told(operator: Client) -> None:
    acme = make_tenant("acme")
    for _ in range(2):
        keys.issue(acme, name="twin")
    page = look(
        operator,
        Budget,
        "tenant,key,metric,period,limit,burst",
        "acme,,tokens,day,0,",
        "acme,,cost,minute,1,",
        "acme,,requests,day,5,2",
        "globex,,tokens,day,5,",
        "acme,twin,tokens,day,5,",
        "acme,nobody,tokens,day,5,",
        "acme,,tokens,month,5,",
        "acme,,tokens,month,6,",
    )
    assert problems(page) == [
        "line 2, limit: must be a whole number of at least 1",
        "line 3, metric: must be requests or tokens for the period minute",
        "line 4, burst: belongs to the period minute only",
        "line 5, tenant: there is no such tenant",
        "line 6, key: several keys have this name: set their budgets on their pages",
        "line 7, key: the tenant has no live key of this name",
        "line 9: is about the same budget as line 8",
    ]
    assert not Budget.objects.exists()


def test_what_changed_since_it_was_looked_at_is_looked_at_again(operator: Client) -> None:
    acme = make_tenant("acme")
    lines = ("tenant,metric,period,limit", "acme,tokens,day,10")
    seen = look(operator, Budget, *lines).context["preview"].fingerprint
    make_budget(acme, "tokens", "day", 5)
    page = look(operator, Budget, *lines, seen=seen)
    assert "The changes are others by now" in text_of(page)
    assert Budget.objects.get().limit == 5


def test_staff_of_some_tenants_neither_see_nor_touch_the_others() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    for tenant in (acme, globex):
        make_budget(tenant, "tokens", "day", 5)
    verbs = [f"tenants_app.{verb}_{model}" for verb in ("view", "add", "change", "delete")
             for model in ("tenant", "budget")]  # fmt: skip
    held = make_staff(*verbs)
    staff.hold_to(held, [acme])
    client = Client()
    client.force_login(held)
    assert "globex" not in text_of(client.get(url_of(Budget, "export_csv")))
    assert "globex" not in text_of(client.get(url_of(Tenant, "export_csv")))
    page = look(client, Budget, "tenant,metric,period,limit", "globex,tokens,day,9")
    assert problems(page) == ["line 2, tenant: there is no such tenant"]
    assert look(client, Tenant, "tenant", "globex").status_code == 403


def test_who_may_only_look_exports_and_imports_nothing() -> None:
    client = logged_in("tenants_app.view_budget", "tenants_app.view_tenant")
    for model in (Tenant, Budget):
        assert client.get(url_of(model, "export_csv")).status_code == 200
        assert client.get(url_of(model, "import_csv")).status_code == 403


def test_a_table_of_tenants_does_no_more_than_its_reader_may_one_by_one() -> None:
    tenants = [f"tenants_app.{verb}_tenant" for verb in ("view", "add", "change")]
    budgets = [f"tenants_app.{verb}_budget" for verb in ("add", "change", "delete")]
    assert look(logged_in(*tenants, *budgets[:2]), Tenant, "tenant", "acme").status_code == 403
    page = look(logged_in(*tenants, *budgets), Tenant, "tenant,default_model", "acme,new-model")
    assert problems(page) == ["There is no model new-model, and you may not add one."]


@pytest.mark.parametrize("content", [b"", b"\xff\xfea\x00", b"tenant;limit\nacme;5", b"\x00", b'"'])
def test_files_that_are_no_table_change_nothing(operator: Client, content: bytes) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    file = SimpleUploadedFile("t.csv", content)
    page = operator.post(url_of(Budget, "import_csv"), {"file": file, "reason": "x"})
    assert page.status_code == 200
    assert not Budget.objects.exists()
    assert 'name="seen"' not in text_of(page)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]))))
def test_cells_come_back_as_they_were_written(cells: list[str]) -> None:
    found = Findings()
    table = strict_csv.write([("a", "b"), *((cell, "x") for cell in cells)])
    rows = list(strict_csv.read(table.encode(), Columns(("a", "b")), found))
    assert [row["a"] for _, row in rows] == [cell.strip() for cell in cells]


def test_budgets_of_a_team_are_beside_the_tenants_own(operator: Client) -> None:
    acme = make_tenant("acme")
    team = make_team(acme)
    own = make_budget(acme, "tokens", "day", 1000)
    shared = make_budget(acme, "tokens", "day", 500, team=team)
    lines = (
        "tenant,team,key,metric,period,limit,burst",
        "acme,,,tokens,day,1000,",
        "acme,research,,tokens,day,700,",
        "acme,research,,requests,minute,60,",
    )
    page = look(operator, Budget, *lines)
    assert [(whose, list(told)) for whose, told in page.context["preview"].changes] == [
        ("acme, team research", ["~ budget: 500 tokens per day → 700 tokens per day"]),
        ("acme, team research", ["+ budget: 60 requests per minute"]),
    ]
    write(operator, Budget, *lines)
    limits = dict(Budget.objects.filter(period="day").values_list("pk", "limit"))
    assert limits == {own.pk: 1000, shared.pk: 700}
    exported = operator.get(url_of(Budget, "export_csv")).content.decode()
    assert exported.split() == [lines[0], lines[3], lines[2], lines[1]]
    wrong = look(operator, Budget, lines[0], "acme,sales,,tokens,day,7,", "acme,a,b,tokens,day,7,")
    assert problems(wrong) == [
        "line 2, team: the tenant has no such team",
        "line 3, team: a budget is of a team or of a key, not of both",
    ]


def test_a_number_is_told_what_is_wrong_with_it(operator: Client) -> None:
    make_tenant("acme")
    for text, wrong in (
        ("0", "must be a whole number of at least 1"),
        ("9" * 60, "must be at most 1000000000000"),
        ('"1,000"', "must be a whole number of at least 1, without marks between its digits"),
    ):
        page = look(operator, Tenant, "tenant,default_model,daily_tokens", f"acme,m,{text}")
        assert problems(page) == [f"line 2, daily_tokens: {wrong}"]


def test_a_new_model_stands_out_and_says_which_may_be_meant(operator: Client) -> None:
    make_model("small-model")
    page = look(operator, Tenant, "tenant,name,default_model", "globex,Globex,smal-model")
    (warning,) = page.context["preview"].warnings
    assert str(warning) == (
        "smal-model is a new model: it is made, and has neither a price nor a route yet."
        " Or did you mean small-model?"
    )
    assert "Look at this before you import:" in text_of(page)


def test_a_page_tells_so_many_problems_and_counts_the_others(operator: Client) -> None:
    make_tenant("acme")
    lines = ("acme,tokens,day,x" for _ in range(1000))
    page = look(operator, Budget, "tenant,metric,period,limit", *lines)
    assert len(problems(page)) >= 1000
    text = text_of(page)
    assert f"and {len(problems(page)) - 200:,} more of the kind." in text
    assert text.count("<li>line ") == 200
    assert len(text) < 200_000
