"""Staff tokens are issued once, and open `GET /reports/usage` while they and their owner live."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.urls import reverse
from django.utils import timezone

from tenants_app import keys, staff
from tests.admin_site import form_of, logged_in, make_staff, text_of, url_of
from tests.factories import make_key, make_team, make_tenant
from tests.loops import run
from tests.usage_app.entries import make_entry
from usage_app.models import StaffToken
from usage_app.reports import page as report_page
from usage_app.reports import staff_tokens
from usage_app.reports.query import parse
from usage_app.views_reports import UsageReportView

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
MARCH = "month=2026-03"


def ask(secret: str | None, query: str = MARCH) -> tuple[int, Any]:
    sent = [] if secret is None else [(b"authorization", f"Bearer {secret}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode()}
    request = ASGIRequest({**scope, "headers": sent}, BytesIO())
    view: Any = UsageReportView.as_view()
    response = run(view(request))
    return response.status_code, orjson.loads(response.content)


def data_of(secret: str, query: str) -> Any:
    return ask(secret, query)[1]["data"]


def error_of(secret: str | None, query: str = MARCH) -> Any:
    return ask(secret, query)[1]["error"]


@pytest.fixture
def owner() -> User:
    return make_staff()


@pytest.fixture
def secret(owner: User) -> str:
    return staff_tokens.issue(owner, name="sheets").secret


def test_report_is_that_of_the_page(secret: str) -> None:
    acme = make_tenant("acme", cost_center="R&D")
    for number in range(3):
        fields = {"cost": Decimal(f"1.{number}"), "cost_center": "R&D", "model": f"m{number}"}
        make_entry(acme, created_at=NOON, **fields)
    make_entry(make_tenant("globex"), created_at=NOON)
    asked = f"{MARCH}&tenant=acme&groupBy=model"
    page = report_page.read(parse(parse_qs(asked), NOON.date()), acme)
    data = data_of(secret, f"{asked}&limit=2")
    told = {name: data[name] for name in ("from", "to", "groupBy", "currency", "page", "pages")}
    assert told == {"from": "2026-03-01", "to": "2026-03-31", "groupBy": "model",
                    "currency": "USD", "page": 1, "pages": 2}  # fmt: skip
    assert [line["modelId"] for line in data["lines"]] == ["m2", "m1"]
    total = page.total.line.figures
    assert Decimal(data["totals"]["price"]) == total.price == Decimal("3.3")
    assert data["totals"]["totalTokens"] == total.total_tokens == 45
    assert data["totals"]["latencyMs"]["p95"] == {"from": 100, "below": 150}
    assert data["lines"][0]["cost"] == "1.2"
    assert [line["modelId"] for line in data_of(secret, f"{asked}&limit=2&page=2")["lines"]] == [
        "m0"
    ]
    by_center = data_of(secret, f"{MARCH}&groupBy=costCenter")
    assert [line["costCenter"] for line in by_center["lines"]] == ["R&D", ""]


def test_report_is_by_team_and_of_a_team(owner: User, secret: str) -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    shop = make_team(acme, "shop", name="The shop")
    key = make_key(acme, team=shop).key
    make_entry(acme, created_at=NOON, api_key=key, cost=Decimal(2))
    make_entry(acme, created_at=NOON, cost=Decimal(1))
    make_entry(globex, created_at=NOON, api_key=make_key(globex, team=make_team(globex)).key)
    data = data_of(secret, f"{MARCH}&tenant=acme&groupBy=team")
    told = [(line["teamId"], line["teamName"], line["price"]) for line in data["lines"]]
    assert told == [("shop", "The shop", "2"), ("", "", "1")]
    assert data["totals"]["price"] == "3"
    one = data_of(secret, f"{MARCH}&tenant=acme&team=shop&groupBy=key")
    assert [(line["keyId"], line["teamId"]) for line in one["lines"]] == [(key.pk, "shop")]
    assert one["totals"]["price"] == "2"
    assert data_of(secret, f"{MARCH}&tenant=acme&team=-")["totals"]["price"] == "1"
    no_team = {"team": "The tenant has no such team."}
    assert error_of(secret, "tenant=globex&team=shop")["fields"] == no_team
    assert error_of(secret, "tenant=acme&team=research")["fields"] == no_team
    assert set(error_of(secret, "team=shop")["fields"]) == {"team"}
    staff.hold_to(owner, [acme])
    no_tenant = {"tenant": "There is no such tenant."}
    assert error_of(secret, "tenant=globex&team=research")["fields"] == no_tenant


def test_token_tells_of_the_tenants_that_its_owner_sees(owner: User, secret: str) -> None:
    acme = make_tenant("acme")
    for tenant in (acme, make_tenant("globex")):
        make_entry(tenant, created_at=NOON, cost=Decimal(1), model=f"model of {tenant}")
    staff.hold_to(owner, [acme])
    for group, name in (("tenant", "tenantId"), ("model", "modelId"), ("day", "day")):
        data = data_of(secret, f"{MARCH}&groupBy={group}")
        assert (data["totals"]["requests"], data["totals"]["price"]) == (1, "1")
        assert len(data["lines"]) == 1, name
    assert error_of(secret, f"{MARCH}&tenant=globex")["fields"] == {
        "tenant": "There is no such tenant."
    }
    staff.hold_to(owner, [])
    assert data_of(secret, MARCH)["lines"] == []


def test_bad_query_is_told_by_its_fields(secret: str) -> None:
    status, body = ask(secret, "month=x&groupBy=y&tenat=z")
    assert (status, set(body["error"]["fields"])) == (400, {"month", "groupBy", "tenat"})
    assert error_of(secret, "tenant=nobody")["fields"] == {"tenant": "There is no such tenant."}
    for query in ("limit=0", "limit=1001", "page=x", "page=-1"):
        assert error_of(secret, query)["code"] == "invalid_request"


@pytest.mark.parametrize("end", ["revoked", "expired", "closed", "not staff", "gone"])
def test_token_ends_with_its_owner_and_its_time(end: str, owner: User) -> None:
    issued = staff_tokens.issue(owner, name="sheets")
    assert ask(issued.secret)[0] == 200
    match end:
        case "revoked":
            staff_tokens.revoke(issued.token)
        case "expired":
            StaffToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "closed":
            User.objects.update(is_active=False)
        case "not staff":
            User.objects.update(is_staff=False)
        case "gone":
            owner.delete()
    assert error_of(issued.secret)["code"] == "unauthorized"


def test_other_credentials_and_scopes_are_refused(secret: str) -> None:
    key = make_key(make_tenant("acme"))
    for bad in (None, "", key.secret, secret[:-1] + "!", secret.replace("tgs_", "tg_"), "tgs_x"):
        assert error_of(bad)["code"] == "unauthorized"
    StaffToken.objects.update(scopes=["else"])
    assert error_of(secret)["code"] == "insufficient_scope"


def test_token_is_shown_once_and_revoked_after_a_question() -> None:
    client = logged_in("usage_app.add_stafftoken", "usage_app.change_stafftoken",
                       "usage_app.view_stafftoken")  # fmt: skip
    url = url_of(StaffToken, "add")
    data = form_of(client.get(url)) | {"name": "sheets"}
    page = client.post(url, data)
    secret = page.context["secret"]
    token = StaffToken.objects.get()
    assert bytes(token.digest) == keys.digest(secret)
    assert secret in text_of(page)
    assert "no-store" in page["Cache-Control"]
    again = client.post(url, data)
    assert again.context["adminform"].form.errors == {
        "name": ["There is a live token of this name already."]
    }
    assert secret not in text_of(client.get(url_of(StaffToken, "change", token.pk)))
    revoke = reverse("admin:usage_app_stafftoken_revoke", args=[token.pk])
    assert "cannot be undone" in text_of(client.post(revoke))
    assert client.post(revoke, {"confirmed": "yes"}).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert client.post(url_of(StaffToken, "delete", token.pk), {"post": "yes"}).status_code == 403
