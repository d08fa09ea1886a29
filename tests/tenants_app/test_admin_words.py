"""The rows of a tenant's page: what is wrong with one is said in words, and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest

from tenants_app.models import Tenant, TenantFallback
from tests.admin_site import form_of, logged_in, text_of, url_of
from tests.factories import make_model, make_tenant

pytestmark = pytest.mark.django_db


def save(tenant: Tenant, **values: Any) -> Any:
    client = logged_in(superuser=True)
    url = url_of(Tenant, "change", tenant.pk)
    rows = {name.replace("__", "-"): value for name, value in values.items()}
    return client.post(url, form_of(client.get(url)) | rows, follow=True)


def errors_of(answer: Any) -> list[str]:
    """Each sentence about a row."""
    return [
        message
        for inline in answer.context["inline_admin_formsets"]
        for form in inline.formset.forms
        for messages in form.errors.values()
        for message in messages
    ]


@pytest.mark.parametrize("host", ["https://acme.example", "acme.example:443", "a b"])
def test_host_that_is_none_is_told_how_one_is_written(host: str) -> None:
    answer = save(make_tenant(), hosts__TOTAL_FORMS=1, hosts__0__host=host)
    (error,) = errors_of(answer)
    assert error == (
        "A host is a name such as chat.example.com, in small letters, without https://, port or"
        " path."
    )


def test_host_of_another_tenant_is_told_to_be_taken() -> None:
    make_tenant("globex").hosts.create(host="globex.example")
    answer = save(make_tenant(), hosts__TOTAL_FORMS=1, hosts__0__host="globex.example")
    assert errors_of(answer) == ["A tenant has this host already: a host leads to one tenant only."]


@pytest.mark.parametrize("percents", ["80, many", "80, 1.5", "80, 101", "80, 0"])
def test_percent_that_is_none_is_named(percents: str) -> None:
    row = {"metric": "requests", "period": "day", "limit": "5", "alert_percents": percents}
    fields = {f"budgets__0__{name}": value for name, value in row.items()}
    answer = save(make_tenant(), budgets__TOTAL_FORMS=1, **fields)
    wrong = percents.removeprefix("80, ")
    (error,) = errors_of(answer)
    assert error == (
        f"Not a percent: “{wrong}”. Write whole numbers from 1 to 100 with commas between, such as"
        " 50, 80, 100."
    )


def test_addresses_that_are_none_are_named() -> None:
    answer = save(make_tenant(), alert_targets__0__emails="ops@acme.example, nobody, x@")
    assert errors_of(answer) == [
        "Not an address: “nobody”, “x@”. Write each as ops@example.com, with commas between."
    ]


def test_model_that_falls_back_twice_is_named_where_it_is_the_second() -> None:
    tenant = make_tenant()
    first, second = make_model("first"), make_model("second")
    TenantFallback.objects.create(tenant=tenant, model=first, position=1)
    rows = {"fallbacks__1__model": second.pk, "fallbacks__1__position": "2"}
    rows |= {"fallbacks__2__model": first.pk, "fallbacks__2__position": "3"}
    answer = save(tenant, fallbacks__TOTAL_FORMS=3, **rows)
    formset = answer.context["inline_admin_formsets"][1].formset
    assert [dict(form.errors) for form in formset.forms] == [
        {},
        {},
        {"model": ["“first” is a fallback above already: choose another, or remove this row."]},
    ]


def test_rows_alike_are_told_to_be() -> None:
    hosts = {"hosts__0__host": "acme.example", "hosts__1__host": "acme.example"}
    answer = save(make_tenant(), hosts__TOTAL_FORMS=2, **hosts)
    assert errors_of(answer) == ["Another row says the same: change or remove one of them."]
    assert "Two rows have the same host: change or remove one of them." in text_of(answer)


def test_default_model_as_a_fallback_is_told_what_it_is_good_for() -> None:
    model = make_model("first")
    tenant = make_tenant(default_model=model)
    row = {"fallbacks__0__model": model.pk, "fallbacks__0__position": "1"}
    answer = save(tenant, fallbacks__TOTAL_FORMS=1, **row)
    assert "“first” is the default model and one of its fallbacks" in text_of(answer)
    assert "“first” is the default" not in text_of(save(tenant, fallbacks__0__DELETE="on"))
