"""The tenants' pages: what their forms do, and what they say when the database refuses."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants_app.admin.tenant_forms import token_budgets
from tenants_app.models import Budget, Change, Model, Route, Tenant, TenantFallback, Upstream
from tests.admin_site import (
    TOKEN,
    form_of,
    logged_in,
    make_staff,
    make_world,
    text_of,
    url_of,
)
from tests.factories import make_budget, make_model, make_tenant, make_upstream

pytestmark = pytest.mark.django_db


def change(client: Client, row: Any, **values: Any) -> Any:
    """Open a row's page, change some fields, and save."""
    url = url_of(type(row), "change", row.pk)
    return client.post(url, form_of(client.get(url)) | values)


def limits_of(tenant: Tenant) -> dict[tuple[str, str], int]:
    rows = Budget.objects.for_tenant(tenant).filter(api_key=None)
    return {(row.metric, row.period): int(row.limit) for row in rows}


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200, response
    return dict(response.context["adminform"].form.errors)


def test_tenant_is_made_with_its_two_token_budgets() -> None:
    client = logged_in(superuser=True)
    url = url_of(Tenant, "add")
    fields = {"slug": "acme", "name": "Acme", "daily_tokens": "1000", "monthly_tokens": "20000"}
    assert client.post(url, form_of(client.get(url)) | fields).status_code == 302
    acme = Tenant.objects.get(slug="acme")
    assert acme.timezone == "UTC"
    assert limits_of(acme) == {("tokens", "day"): 1000, ("tokens", "month"): 20000}


def test_plain_token_budgets_are_changed_and_removed() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    make_budget(acme, "tokens", "day", 1000)
    make_budget(acme, "tokens", "month", 9000)
    make_budget(acme, "requests", "day", 5)
    assert change(client, acme, daily_tokens="2000", monthly_tokens="").status_code == 302
    assert limits_of(acme) == {("tokens", "day"): 2000, ("requests", "day"): 5}


def test_saving_a_tenant_unchanged_changes_nothing() -> None:
    client = logged_in(superuser=True)
    acme = make_world()
    events = Change.objects.across("tenants_app.BudgetEvent").count()
    assert change(client, acme).status_code == 302
    assert Change.objects.across("tenants_app.BudgetEvent").count() == events


@pytest.mark.parametrize("verbs", [[], ["view", "add", "change"]])
def test_token_budgets_are_shown_and_kept_from_those_who_may_not_do_all_that_the_fields_do(
    verbs: list[str],
) -> None:
    client = logged_in(
        "tenants_app.change_tenant", *(f"tenants_app.{verb}_budget" for verb in verbs)
    )
    acme = make_tenant()
    make_budget(acme, "tokens", "day", 12345)
    page = client.get(url_of(Tenant, "change", acme.pk))
    assert "12,345" in text_of(page)
    assert change(client, acme, daily_tokens="9", name="New").status_code == 302
    assert limits_of(acme) == {("tokens", "day"): 12345}
    assert Tenant.objects.get(pk=acme.pk).name == "New"


def test_other_budgets_are_rows_below_and_the_plain_ones_are_not() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    make_budget(acme, "tokens", "day", 1000)
    row = {
        "budgets-TOTAL_FORMS": "1",
        "budgets-0-metric": "cost",
        "budgets-0-period": "month",
        "budgets-0-limit": "12.5",
    }
    assert change(client, acme, **row).status_code == 302
    assert Budget.objects.get(metric="cost").limit == 12.5
    page = client.get(url_of(Tenant, "change", acme.pk))
    assert form_of(page)["budgets-0-limit"] == "12.5"
    assert form_of(page)["budgets-TOTAL_FORMS"] == 1
    plain = row | {"budgets-0-metric": "tokens", "budgets-0-id": form_of(page)["budgets-0-id"]}
    assert "have fields of their own" in text_of(change(client, acme, **plain))


def test_budget_that_makes_no_sense_is_refused_in_words() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    fields = {"tenant": acme.pk, "metric": "cost", "period": "minute", "limit": "1"}
    (error,) = errors_of(client.post(url_of(Budget, "add"), fields))["__all__"]
    assert error.startswith("Per minute one limits requests or tokens,")
    zero = fields | {"period": "day", "limit": "0"}
    assert "greater than 0" in str(errors_of(client.post(url_of(Budget, "add"), zero)))


def test_fallback_chain_is_kept_in_the_order_of_the_form() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    first, second, third = (make_model(f"model-{n}") for n in (1, 2, 3))
    TenantFallback.objects.create(tenant=acme, model=first, position=1)
    TenantFallback.objects.create(tenant=acme, model=second, position=2)
    rows = {
        "fallbacks-TOTAL_FORMS": "3",
        "fallbacks-0-position": "2",
        "fallbacks-1-position": "1",
        "fallbacks-2-position": "7",
        "fallbacks-2-model": third.pk,
    }
    assert change(client, acme, **rows).status_code == 302
    chain = TenantFallback.objects.for_tenant(acme).values_list("model__public_id", "position")
    assert list(chain) == [("model-2", 1), ("model-1", 2), ("model-3", 3)]


def test_default_model_outside_of_the_allow_list_is_refused() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    model, other = make_model("one"), make_model("two")
    values = {"allow_list_enabled": "on", "default_model": model.pk}
    response = change(client, acme, **values, allowed_models=[other.pk])
    assert errors_of(response) == {
        "default_model": [
            "“one” is not among the allowed models: add it there, or choose one of two."
        ]
    }
    response = change(client, acme, **values, allowed_models=[other.pk, model.pk])
    assert response.status_code == 302


def test_time_zone_is_read_only_once_the_books_count_days() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    assert change(client, acme, timezone="Europe/Berlin").status_code == 302
    make_world("globex")
    globex = Tenant.objects.get(slug="globex")
    page = client.get(url_of(Tenant, "change", globex.pk))
    assert "frozen since its first request" in text_of(page)
    assert change(client, globex, timezone="Asia/Tokyo").status_code == 302
    assert Tenant.objects.get(pk=acme.pk).timezone == "Europe/Berlin"
    assert Tenant.objects.get(pk=globex.pk).timezone == "UTC"


def test_tenant_on_the_books_is_not_deleted() -> None:
    client = logged_in(superuser=True)
    acme, globex = make_world(), make_tenant("globex")
    assert (
        client.post(url_of(Tenant, "delete", acme.pk), {"post": "yes", "reason": "x"}).status_code
        == 403
    )
    assert (
        client.post(url_of(Tenant, "delete", globex.pk), {"post": "yes", "reason": "x"}).status_code
        == 302
    )
    assert list(Tenant.objects.all()) == [acme]


@pytest.mark.django_db(transaction=True)
def test_refusal_at_commit_becomes_an_error_of_the_form() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    upstream = make_upstream("shared")
    make_tenant("globex", default_upstream=upstream)
    response = change(client, upstream, tenant=acme.pk)
    assert errors_of(response) == {
        "__all__": ["An upstream that belongs to a tenant is used by that tenant alone."]
    }
    assert Upstream.objects.get(pk=upstream.pk).tenant is None
    assert list(get_messages(response.wsgi_request)) == []
    assert "successfully" not in text_of(client.get(url_of(Upstream, "change", upstream.pk)))


def test_model_in_use_is_not_deleted_and_says_so() -> None:
    client = logged_in(superuser=True)
    model = make_model()
    make_tenant(default_model=model)
    page = text_of(
        client.post(url_of(Model, "delete", model.pk), {"post": "yes", "reason": "x"}, follow=True)
    )
    assert "still in use" in page or "protected" in page
    picked = {
        "action": "delete_selected",
        "_selected_action": model.pk,
        "post": "yes",
        "reason": "x",
    }
    assert client.post(url_of(Model, "changelist"), picked).status_code in (200, 302)
    assert Model.objects.filter(pk=model.pk).exists()


def test_suspending_asks_first_and_is_on_record() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    url = f"{url_of(Tenant, 'change', acme.pk).removesuffix('change/')}suspend/"
    assert "all its requests are refused" in text_of(client.get(url))
    assert Tenant.objects.get(pk=acme.pk).status == "active"
    asked = client.post(url, {"confirmed": "yes", "reason": " "})
    assert "Say why, in a few words" in text_of(asked)
    assert Tenant.objects.get(pk=acme.pk).status == "active"
    assert client.post(url, {"confirmed": "yes", "reason": "unpaid"}).status_code == 302
    assert Tenant.objects.get(pk=acme.pk).status == "suspended"
    picked = {"action": "resume_selected", "_selected_action": acme.pk}
    assert "Resume" in text_of(client.post(url_of(Tenant, "changelist"), picked))
    client.post(url_of(Tenant, "changelist"), picked | {"confirmed": "yes", "reason": "paid"})
    assert Tenant.objects.get(pk=acme.pk).status == "active"
    history = client.get(url_of(Tenant, "history", acme.pk))
    told = [
        (field.before, field.after, entry.why)
        for entry in history.context["changes"]
        for field in entry.fields
        if field.name == "status" and entry.verb == "changed"
    ]
    assert told == [("suspended", "active", "paid"), ("active", "suspended", "unpaid")]


def test_history_of_a_tenant_tells_of_all_that_belongs_to_it_and_by_whom() -> None:
    user = make_staff(superuser=True)
    client = Client()
    client.force_login(user)
    acme, globex = make_tenant(), make_tenant("globex")
    change(client, acme, daily_tokens="100")
    change(client, acme, daily_tokens="250")
    change(client, globex, name="Other")
    changes = client.get(url_of(Tenant, "history", acme.pk)).context["changes"]
    # All of a test happens at one instant of the database, so between tables there is no order.
    (raised,) = (one for one in changes if one.verb == "changed")
    assert (raised.who, raised.what.split(" #")[0]) == (user.username, "budget")
    assert [(f.name, f.before, f.after) for f in raised.fields] == [("limit", "100", "250")]
    (made,) = (one for one in changes if one.what == f"tenant #{acme.pk}")
    assert (made.who, made.verb) == ("SQL, no user", "added")
    assert "Other" not in str(changes)


def test_history_hides_what_the_user_may_not_view() -> None:
    client = logged_in("tenants_app.view_tenant")
    acme = make_tenant()
    make_budget(acme, "tokens", "day", 77)
    changes = client.get(url_of(Tenant, "history", acme.pk)).context["changes"]
    assert [entry.what for entry in changes] == [f"tenant #{acme.pk}"]


def test_upstream_token_goes_in_and_never_comes_out() -> None:
    client = logged_in(superuser=True)
    upstream = make_upstream("one")
    assert change(client, upstream, token=TOKEN).status_code == 302
    upstream.refresh_from_db()
    assert upstream.open_token() == TOKEN
    page = client.get(url_of(Upstream, "change", upstream.pk))
    assert "Set since" in text_of(page)
    assert TOKEN not in text_of(page)
    assert change(client, upstream, name="two").status_code == 302
    upstream.refresh_from_db()
    assert (upstream.name, upstream.open_token()) == ("two", TOKEN)
    assert change(client, upstream, remove_token="on").status_code == 302
    upstream.refresh_from_db()
    assert upstream.sealed_token is None
    assert "Not set." in text_of(client.get(url_of(Upstream, "change", upstream.pk)))


def test_upstream_token_is_not_shown_again_by_a_form_with_errors() -> None:
    client = logged_in(superuser=True)
    upstream = make_upstream("one")
    response = change(client, upstream, token=TOKEN, remove_token="on")
    assert errors_of(response) == {"remove_token": ["Either set a token or remove it."]}
    assert TOKEN not in text_of(response)
    for bad in ("two words", "new\nline", "schlüssel"):
        assert "token" in errors_of(change(client, upstream, token=bad))


GATEWAY = {"kind": "cloudflare", "form": "rest", "account_id": "ab12", "gateway_id": "ai_gate"}
ELSEWHERE = [
    {"base_url": "https://other.example/v1"},
    {"base_url": ""},
    {"kind": "openai", "form": ""},
    {"account_id": "cd34"},
    {"gateway_id": "another"},
]


@pytest.mark.parametrize("values", ELSEWHERE, ids=str)
def test_token_goes_to_no_address_but_the_one_that_it_was_given_for(
    values: dict[str, str],
) -> None:
    client = logged_in("tenants_app.change_upstream", "tenants_app.view_upstream")
    upstream = make_upstream("one", **GATEWAY, base_url="https://one.example/v1", token=TOKEN)
    told = (
        "The token was given for https://one.example/v1, account ab12, gateway ai_gate:"
        " enter it again, or remove it."
    )
    assert errors_of(change(client, upstream, **values)) == {"token": [told]}
    upstream.refresh_from_db()
    assert (upstream.base_url, upstream.account_id) == ("https://one.example/v1", "ab12")
    assert change(client, upstream, **values, token="sk-new").status_code == 302
    upstream.refresh_from_db()
    assert upstream.open_token() == "sk-new"
    assert all(getattr(upstream, name) == value for name, value in values.items())


def test_address_changes_once_the_token_is_removed_or_where_none_is() -> None:
    client = logged_in(superuser=True)
    upstream = make_upstream(kind="openai", base_url="https://one.example/v1", token=TOKEN)
    elsewhere = {"base_url": "https://two.example/v1"}
    assert change(client, upstream, **elsewhere, remove_token="on").status_code == 302
    upstream.refresh_from_db()
    assert (upstream.base_url, upstream.sealed_token) == (elsewhere["base_url"], None)
    assert change(client, upstream, base_url="https://three.example/v1").status_code == 302


def test_upstream_address_is_refused_with_a_reason() -> None:
    client = logged_in(superuser=True)
    upstream = make_upstream("one")
    errors = errors_of(change(client, upstream, kind="openai", base_url="http://10.0.0.1/v1"))
    assert errors == {
        "base_url": ["The address 10.0.0.1 is not public and not in UPSTREAM_ALLOWED_NETWORKS."]
    }
    errors = errors_of(change(client, upstream, kind="openai", base_url=""))
    assert errors == {"__all__": ["This kind of upstream needs a base URL."]}


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({}, {}),
        ({"form": "workers-ai", "base_url": "http://127.0.0.1:9/v1"}, {}),
        (
            {"form": "", "account_id": "", "gateway_id": ""},
            {
                "form": ["Choose which of Cloudflare's APIs is spoken; REST if in doubt."],
                "account_id": [
                    "Cloudflare needs the account id; it is in the address of its dashboard."
                ],
                "gateway_id": [
                    "Cloudflare needs the gateway's name; default is one that always works."
                ],
            },
        ),
        (
            {"gateway_id": "../other"},
            {"gateway_id": ["Letters, digits, - and _ only: it becomes part of a URL."]},
        ),
        (
            {"account_id": "a%2e"},
            {"account_id": ["Letters, digits, - and _ only: it becomes part of a URL."]},
        ),
        (
            {"kind": "demo"},
            {"form": ["Only a Cloudflare AI Gateway has a form; choose none here."]},
        ),
    ],
    ids=str,
)
def test_gateway_says_what_it_still_needs(
    values: dict[str, str], errors: dict[str, list[str]]
) -> None:
    client = logged_in(superuser=True)
    upstream = make_upstream("one")
    response = change(client, upstream, **GATEWAY | values)
    upstream.refresh_from_db()
    if errors:
        assert errors_of(response) == errors
        assert upstream.kind == "demo"
    else:
        assert response.status_code == 302
        assert (upstream.kind, upstream.form) == ("cloudflare", values.get("form", "rest"))


def test_gateway_that_is_sent_the_environments_token_says_so(settings: Any) -> None:
    client = logged_in(superuser=True)
    settings.CLOUDFLARE_API_TOKEN = "cf-token-of-the-deployment"
    said = "Not set: CLOUDFLARE_API_TOKEN of the environment is sent."
    for base_url, sent in (("", True), ("http://127.0.0.1:9/v1", False)):
        upstream = make_upstream(**GATEWAY, base_url=base_url)
        page = text_of(client.get(url_of(Upstream, "change", upstream.pk)))
        assert (said in page) is sent
        assert "cf-token" not in page


def test_route_is_added_on_its_models_page() -> None:
    client = logged_in(superuser=True)
    model, upstream = make_model(), make_upstream()
    rows = {"routes-TOTAL_FORMS": "1", "routes-0-upstream": upstream.pk, "routes-0-priority": "5"}
    assert change(client, model, **rows).status_code == 302
    assert Route.objects.get().upstream == upstream


def test_tenants_page_asks_as_often_for_many_keys_as_for_one() -> None:
    from tenants_app import keys

    client = logged_in(superuser=True)
    acme = make_tenant()
    counts = []
    for names in (["a"], ["b", "c"]):
        for name in names:
            make_budget(acme, "tokens", "day", 5, api_key=keys.issue(acme, name=name).key)
        client.get(url_of(Tenant, "change", acme.pk))
        with CaptureQueriesContext(connection) as queries:
            client.get(url_of(Tenant, "change", acme.pk))
        counts.append([query["sql"] for query in queries.captured_queries])
    assert len(counts[0]) == len(counts[1]), "\n".join(counts[1])


def test_head_of_a_list_speaks_of_results_only_when_something_was_looked_for() -> None:
    make_tenant("acme")
    make_tenant("globex")
    client, url = logged_in(superuser=True), url_of(Tenant, "changelist")
    assert "2 results" not in text_of(client.get(url))
    assert "1 result (" in text_of(client.get(url, {"q": "acme"}))


def test_permissions_on_offer_are_those_of_pages() -> None:
    from gateway_project.pages.staff import grantable

    names = set(grantable().values_list("codename", flat=True))
    assert {"view_tenant", "change_apikey", "view_ledgerentry", "add_tenanthost"} <= names
    assert not {"view_tenantevent", "add_session", "change_contenttype"} & names


def test_saving_only_a_budget_changes_no_tenant() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    before = Tenant.objects.get(pk=acme.pk).updated_at
    assert change(client, acme, daily_tokens="100").status_code == 302
    assert token_budgets(acme) == {"daily_tokens": 100}
    assert Tenant.objects.get(pk=acme.pk).updated_at == before
    assert change(client, acme, name="Other").status_code == 302
    assert Tenant.objects.get(pk=acme.pk).name == "Other"
