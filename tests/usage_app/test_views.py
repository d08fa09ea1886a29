"""`GET /usage` and `GET /budgets`: a key's holder sees its own, exactly."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import orjson
import pytest
from django.core.handlers.asgi import ASGIRequest
from pytest_django import Settings

from tenants_app import directory
from tenants_app.models import Tenant
from tests.factories import make_budget, make_key, make_tenant
from tests.loops import run
from tests.usage_app.entries import make_entry
from tests.usage_app.test_ledger import used, wish
from usage_app import ledger, rollups
from usage_app.periods import day_period, local_day, month_period
from usage_app.views import BudgetsView, UsageView

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme", timezone="Europe/Berlin")


def ask(view: Any, query: str = "", **headers: str) -> tuple[int, Any]:
    request = ASGIRequest(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        },
        BytesIO(),
    )
    response = run(view.as_view()(request))
    return response.status_code, orjson.loads(response.content)


def figures(**told: Any) -> dict[str, Any]:
    names = (
        "requests errors aborted expired tokensIn tokensCached tokensCacheWrite tokensOut"
        " tokensReasoning totalTokens estimatedTokens unpricedTokens unpricedRequests"
    )
    return {**dict.fromkeys(names.split(), 0), "cost": "0", **told}


def test_usage_of_a_key_is_its_own(acme: Tenant) -> None:
    key, other = make_key(acme), make_key(acme)
    make_entry(acme, created_at=NOON, api_key=key.key, cost=Decimal("0.0000012300"))
    make_entry(acme, created_at=NOON, api_key=key.key, outcome="error", usage_source="estimated")
    make_entry(acme, created_at=NOON, api_key=key.key, model="other", cached_tokens=3)
    make_entry(acme, created_at=NOON, api_key=other.key, cost=Decimal(1))
    make_entry(acme, created_at=NOON, cost=Decimal(1))
    make_entry(make_tenant("globex"), created_at=NOON, cost=Decimal(1))
    one = figures(
        requests=2,
        errors=1,
        tokensIn=20,
        tokensOut=10,
        totalTokens=30,
        estimatedTokens=15,
        unpricedTokens=15,
        unpricedRequests=1,
        cost="0.00000123",
    )
    two = figures(
        requests=1,
        tokensIn=10,
        tokensCached=3,
        tokensOut=5,
        totalTokens=15,
        unpricedTokens=15,
        unpricedRequests=1,
        cost=None,
    )
    sums = {name: one[name] + two[name] for name in one if name != "cost"}
    span: dict[str, Any] = {"from": "2026-03-01", "to": "2026-03-31", "timezone": "Europe/Berlin"}
    data = {
        "tenantId": "acme",
        "scope": "key",
        "currency": "USD",
        **span,
        "totals": {**sums, "cost": "0.00000123"},
        "days": [
            {"day": "2026-03-14", "modelId": "demo-echo", **one},
            {"day": "2026-03-14", "modelId": "other", **two},
        ],
    }
    for _ in range(2):
        told = ask(UsageView, "month=2026-03", x_api_key=key.secret)
        assert told == (200, {"ok": True, "data": data})
        rollups.roll_up_new(margin=timedelta(0))


def test_usage_of_a_trusted_caller_is_the_tenants(acme: Tenant, settings: Settings) -> None:
    settings.GATEWAY_TRUST_TENANT_HEADER = True
    make_entry(acme, api_key=make_key(acme).key)
    make_entry(acme)
    make_entry(make_tenant("globex"))
    _, body = ask(UsageView, x_tenant_id="acme")
    today = local_day(datetime.now(UTC), "Europe/Berlin")
    assert body["data"]["scope"] == "tenant"
    assert body["data"]["from"] == today.replace(day=1).isoformat()
    assert body["data"]["totals"]["requests"] == 2


def test_usage_of_nothing_is_zero(acme: Tenant) -> None:
    _, body = ask(UsageView, "from=2026-03-14&to=2026-03-15", x_api_key=make_key(acme).secret)
    assert (body["data"]["totals"], body["data"]["days"]) == (figures(), [])


def test_usage_names_bad_fields(acme: Tenant) -> None:
    status, body = ask(UsageView, "month=x&page=2", x_api_key=make_key(acme).secret)
    assert (status, body) == (
        400,
        {
            "ok": False,
            "error": {
                "code": "invalid_request",
                "message": "The request is not valid.",
                "fields": {
                    "month": "This must be a month, as in 2026-03.",
                    "page": "This field is not known.",
                },
            },
        },
    )


@pytest.mark.parametrize("view", [UsageView, BudgetsView])
def test_key_needs_the_scope(acme: Tenant, view: Any) -> None:
    status, body = ask(view, x_api_key=make_key(acme, scopes=["chat"]).secret)
    assert (status, body["error"]["code"]) == (403, "insufficient_scope")
    assert ask(view)[0] == 401


def test_budgets_tell_what_is_used_and_held(acme: Tenant) -> None:
    key = make_key(acme)
    make_budget(acme, "tokens", "day", 1000)
    make_budget(acme, "cost", "month", Decimal("2.5"))
    make_budget(acme, "requests", "concurrent", 4)
    make_budget(acme, "requests", "day", 7, api_key=key.key)
    make_budget(acme, "tokens", "minute", 6000, api_key=key.key, burst=9000)
    make_budget(make_tenant("globex"), "tokens", "day", 5)

    async def reserve() -> None:
        caller = await directory.by_digest(bytes(key.key.digest))
        assert caller is not None
        await ledger.reserve(wish(caller, input=10, output=90))
        hold = await ledger.reserve(wish(caller, input=10, output=90))
        await ledger.settle(hold, used(hold, 30, cost=15_000_000_000))

    run(reserve())
    status, body = ask(BudgetsView, x_api_key=key.secret)
    now = datetime.now(UTC)
    today = local_day(now, "Europe/Berlin")
    tonight = iso(day_period(today, "Europe/Berlin").ends_at)
    budgets = {(b["scope"], b["metric"], b["period"]): b for b in body["data"].pop("budgets")}
    assert (status, body["data"]) == (
        200,
        {"tenantId": "acme", "timezone": "Europe/Berlin", "currency": "USD"},
    )
    minute = budgets.pop(("key", "tokens", "minute"))
    assert (minute["limit"], minute["burst"], minute["held"]) == (6000, 9000, 0)
    assert minute["used"] + minute["remaining"] == 9000
    assert 0 < minute["used"] <= 130
    assert now < datetime.fromisoformat(minute["resetsAt"]) < now + timedelta(seconds=5)
    assert {key: tuple(b.values())[3:] for key, b in budgets.items()} == {
        ("tenant", "tokens", "day"): (1000, 30, 100, 870, tonight, []),
        ("tenant", "cost", "month"): (
            *("2.5", "1.5", "0", "1"),
            iso(month_period(today, "Europe/Berlin").ends_at),
            [],
        ),
        ("tenant", "requests", "concurrent"): (4, 0, 1, 3, None),
        ("key", "requests", "day"): (7, 1, 1, 5, tonight, []),
    }


def test_budgets_that_nobody_used_are_whole(acme: Tenant) -> None:
    make_budget(acme, "tokens", "day", 1000)
    make_budget(acme, "requests", "minute", 60)
    _, body = ask(BudgetsView, x_api_key=make_key(acme).secret)
    assert [(b["used"], b["held"], b["remaining"]) for b in body["data"]["budgets"]] == [
        (0, 0, 60),
        (0, 0, 1000),
    ]


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def test_day_of_usage_is_the_tenants(acme: Tenant) -> None:
    key = make_key(acme)
    make_entry(acme, api_key=key.key, created_at=datetime(2026, 3, 31, 22, tzinfo=UTC))
    _, body = ask(UsageView, "month=2026-04", x_api_key=key.secret)
    assert [row["day"] for row in body["data"]["days"]] == [date(2026, 4, 1).isoformat()]
