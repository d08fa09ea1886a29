"""The database refuses what makes no sense, whoever writes it."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from tenants_app import sealed
from tenants_app.models import ApiKey, Budget, Route, Tenant, TenantHost, Upstream
from tests.factories import make_budget, make_model, make_route, make_tenant, make_upstream

pytestmark = pytest.mark.django_db


def make_bare_key(tenant: Tenant, digest: bytes = b"d" * 32) -> ApiKey:
    return ApiKey.objects.create(tenant=tenant, name="key", prefix="tg_abcd", digest=digest)


def refused(constraint: str, make: Any, *args: Any, **fields: Any) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        make(*args, **fields)


@pytest.mark.parametrize(
    ("constraint", "metric", "period", "limit", "burst"),
    [
        ("budget_limit_is_positive", "tokens", "day", 0, None),
        ("budget_limit_is_positive", "tokens", "day", -1, None),
        ("budget_limit_is_positive", "tokens", "day", 10**12 + 1, None),
        ("budget_limit_is_positive", "cost", "day", Decimal("NaN"), None),
        ("budget_limit_is_whole_unless_cost", "tokens", "day", Decimal("1.5"), None),
        ("budget_metric_suits_its_period", "tokens", "concurrent", 1, None),
        ("budget_metric_suits_its_period", "cost", "minute", 1, None),
        ("budget_metric_suits_its_period", "requests", "year", 1, None),
        ("budget_metric_suits_its_period", "coffee", "day", 1, None),
        ("budget_burst_only_per_minute", "requests", "day", 1, 5),
        ("budget_burst_only_per_minute", "requests", "minute", 1, 0),
    ],
)
def test_budget_refuses(
    constraint: str, metric: str, period: str, limit: Any, burst: int | None
) -> None:
    tenant = make_tenant()
    if isinstance(limit, Decimal) and limit.is_nan():
        budget = make_budget(tenant, "cost", "day", 1)
        with (
            pytest.raises(IntegrityError, match=constraint),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "UPDATE tenants_app_budget SET \"limit\" = 'NaN' WHERE id = %s", [budget.pk]
            )
        return
    refused(constraint, make_budget, tenant, metric, period, limit, burst=burst)


def test_budget_accepts_every_sensible_pair() -> None:
    tenant = make_tenant()
    make_budget(tenant, "requests", "concurrent", 4)
    make_budget(tenant, "requests", "minute", 60, burst=10)
    make_budget(tenant, "tokens", "minute", 10_000)
    for period in ("day", "month"):
        make_budget(tenant, "requests", period, 10**12)
        make_budget(tenant, "tokens", period, 1)
        make_budget(tenant, "cost", period, Decimal("0.0000000001"))
    assert Budget.objects.for_tenant(tenant).count() == 9


def test_budget_is_once_per_scope_also_without_a_key() -> None:
    tenant = make_tenant()
    make_budget(tenant, "tokens", "day", 10)
    refused("budget_once_per_scope_metric_and_period", make_budget, tenant, "tokens", "day", 20)


@pytest.mark.django_db(transaction=True)
def test_budget_of_a_key_belongs_to_the_keys_tenant() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    key = make_bare_key(acme)
    make_budget(acme, "tokens", "day", 10, api_key=key)
    refused(
        "budget_key_belongs_to_its_tenant",
        make_budget,
        globex,
        "tokens",
        "day",
        10,
        api_key=key,
    )


def test_key_digest_is_a_sha256() -> None:
    refused("key_digest_is_a_sha256", make_bare_key, make_tenant(), b"short")


@pytest.mark.parametrize("slug", ["", "Acme", "-acme", "ac me", "a" * 64, "acmé"])
def test_tenant_slug_is_plain(slug: str) -> None:
    with pytest.raises(Exception, match=r"tenant_slug_is_plain|too long"), transaction.atomic():
        make_tenant(slug)


def test_tenant_slug_takes_underscores() -> None:
    assert make_tenant("ai_gate-1").slug == "ai_gate-1"


def test_tenant_timezone_is_of_the_iana_database() -> None:
    with pytest.raises(ValidationError, match="IANA"):
        Tenant(slug="acme", name="Acme", timezone="Mars/Olympus").full_clean()


def test_host_is_lower_case_and_once() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    TenantHost.objects.create(tenant=acme, host="ai.acme.example")
    refused("unique", TenantHost.objects.create, tenant=globex, host="ai.acme.example")
    refused("host_is_a_lower_case_name", TenantHost.objects.create, tenant=acme, host="AI.Acme")


def test_upstream_default_is_shared_and_only_one() -> None:
    acme = make_tenant()
    make_upstream(is_default=True)
    refused("upstream_default_is_only_one", make_upstream, is_default=True)
    Upstream.objects.update(is_default=False)
    refused("upstream_default_is_shared", make_upstream, is_default=True, tenant=acme)


def test_upstream_that_is_no_demo_has_a_base_url() -> None:
    refused("upstream_has_a_base_url", make_upstream, kind="openai")


def test_upstream_of_cloudflare_has_a_form_and_ids_that_fit_into_a_url() -> None:
    gateway = {"kind": "cloudflare", "form": "rest", "account_id": "ab12", "gateway_id": "ai_gate"}
    make_upstream(**gateway)
    for form in ("", "soap"):
        refused("upstream_of_cloudflare_has_a_form", make_upstream, **gateway | {"form": form})
    refused("upstream_of_cloudflare_has_a_form", make_upstream, kind="demo", form="rest")
    for name in ("account_id", "gateway_id"):
        for bad in ("", "..", "a/b", "a%2e", "a?b", "a b", "größe", "a\n"):
            refused("upstream_of_cloudflare_names", make_upstream, **gateway | {name: bad})
    refused("upstream_of_cloudflare_names", make_upstream, **gateway | {"gateway_id": "a" * 65})


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/v1", "http://169.254.169.254/", "ftp://a.example", "http://u:p@a.b/"]
)
def test_upstream_address_is_judged_at_save(url: str) -> None:
    with pytest.raises(ValidationError, match="base_url"):
        Upstream(name="bad", kind="openai", base_url=url).full_clean()


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "https://b.example"},
        {"kind": "openai"},
        {"account_id": "b"},
        {"gateway_id": "b"},
    ],
    ids=str,
)
def test_token_stays_with_the_address_that_it_was_given_for(values: dict[str, str]) -> None:
    rows = Upstream.objects.filter(pk=make_upstream(base_url="https://a.example", token="sk-1").pk)
    refused("upstream_token_stays_with_its_address", rows.update, **values)
    rows.update(name="renamed", enabled=False, idle_timeout_ms=1)
    rows.update(sealed_token=sealed.seal("sk-1", context="sealed anew"), **values)
    rows.update(sealed_token=None)
    rows.update(base_url="https://c.example", account_id="c", gateway_id="c")


def test_route_is_once_per_model_and_upstream_also_when_shared() -> None:
    route = make_route(make_model())
    refused("route_once_per_model_upstream_and_tenant", make_route, route.model, route.upstream)


def test_for_tenant_never_gives_anothers_rows() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    model = make_model()
    own = make_route(model, tenant=acme)
    make_route(model)
    make_route(model, tenant=globex)
    assert list(Route.objects.for_tenant(acme)) == [own]


def test_tenant_with_everything_can_be_deleted() -> None:
    acme = make_tenant()
    upstream = make_upstream(tenant=acme)
    make_route(make_model(), upstream, tenant=acme)
    make_budget(acme, "tokens", "day", 10, api_key=make_bare_key(acme))
    Tenant.objects.filter(pk=acme.pk).update(default_upstream=upstream)
    Tenant.objects.get(pk=acme.pk).delete()
    assert not Upstream.objects.exists()
