"""Staff with the right corrects a request and gives credits, with a reason, in the admin."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants_app.models import Tenant
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import make_model, make_price, make_tenant
from tests.usage_app.entries import make_entry
from usage_app.models import LedgerEntry, Price

pytestmark = pytest.mark.django_db

RIGHTS = ("usage_app.view_ledgerentry", "tenants_app.view_tenant", "usage_app.correct_ledger")


@pytest.fixture
def request_made() -> LedgerEntry:
    price = make_price(make_model("m"), input="2", output="10")
    return make_entry(make_tenant(), model="m", price=price, cost=Decimal("0.00007"))


def correct_url(entry: LedgerEntry) -> str:
    return reverse("admin:usage_app_ledgerentry_correct", args=[entry.pk])


def credit_url(tenant: Tenant) -> str:
    return reverse("admin:tenants_app_tenant_credit", args=[tenant.pk])


def sent(client: Client, url: str, **fields: Any) -> Any:
    """The answer to the form as it was opened, filled in."""
    form = client.get(url).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return client.post(url, {name: value for name, value in (values | fields).items() if value})


def test_request_is_corrected_with_a_reason_and_its_author(request_made: LedgerEntry) -> None:
    client = logged_in(*RIGHTS)
    page = text_of(client.get(correct_url(request_made)))
    assert "0.00007" in page
    answer = sent(client, correct_url(request_made), output_tokens="-2", reason=" counted twice ")
    assert answer.status_code == 302
    entry = LedgerEntry.objects.get(corrects=request_made.pk)
    assert (entry.output_tokens, str(entry.cost)) == (-2, "-0.0000200000")
    assert (entry.reason, entry.author[:6]) == ("counted twice", "staff-")
    page = text_of(client.get(url_of(LedgerEntry, "change", request_made.pk)))
    assert "-2 tokens, cost -0.00002" in page
    assert "counted twice" in page
    again = client.get(correct_url(entry))
    assert dict(again.context["facts"])["Output tokens"] == "3"


def test_correction_that_is_refused_is_told_in_words(request_made: LedgerEntry) -> None:
    client = logged_in(*RIGHTS)
    url = correct_url(request_made)
    without = sent(client, url, output_tokens="-2")
    assert without.context["form"].errors == {"reason": ["This field is required."]}
    nothing = sent(client, url, reason="x")
    assert nothing.context["form"].non_field_errors() == [
        "A correction of nothing says nothing: give tokens or a cost."
    ]
    less = sent(client, url, output_tokens="-9", reason="x")
    assert "The request would come to less than no tokens." in text_of(less)
    assert LedgerEntry.objects.count() == 1


def test_form_that_is_sent_twice_writes_once(request_made: LedgerEntry) -> None:
    client = logged_in(*RIGHTS)
    form = client.get(correct_url(request_made)).context["form"]
    fields = {"id": str(form["id"].value()), "output_tokens": "-2", "reason": "x"}
    for _ in range(2):
        assert client.post(correct_url(request_made), fields).status_code == 302
    assert LedgerEntry.objects.count() == 2


def test_credit_and_charge_are_money_alone(request_made: LedgerEntry) -> None:
    client, tenant = logged_in(*RIGHTS), request_made.tenant
    assert "Acme (acme)" in text_of(client.get(credit_url(tenant)))
    assert sent(client, credit_url(tenant), amount="2.5", reason="goodwill").status_code == 302
    url = credit_url(tenant)
    assert sent(client, url, amount="1", favour="us", reason="a fee").status_code == 302
    written = LedgerEntry.objects.filter(kind="credit").order_by("settled_at")
    assert [(one.credit, one.reason) for one in written] == [
        (Decimal("-2.5"), "goodwill"),
        (Decimal(1), "a fee"),
    ]
    bad = sent(client, url, amount="-1", reason="x")
    assert "amount" in bad.context["form"].errors
    told = client.get(correct_url(written[0]), follow=True)
    assert "a credit is set off by another" in text_of(told)


def test_nobody_corrects_without_the_right(request_made: LedgerEntry) -> None:
    viewer, blind = logged_in(*RIGHTS[:2]), logged_in(RIGHTS[2])
    for client in (viewer, blind):
        for url in (correct_url(request_made), credit_url(request_made.tenant)):
            assert client.get(url).status_code == 403
            fields = {"output_tokens": "1", "amount": "1", "reason": "x"}
            assert client.post(url, fields).status_code == 403
    page = text_of(viewer.get(url_of(LedgerEntry, "change", request_made.pk)))
    assert "/correct" not in page
    assert LedgerEntry.objects.count() == 1


def reprice_url(tenant: Tenant) -> str:
    return reverse("admin:tenants_app_tenant_reprice", args=[tenant.pk])


@pytest.fixture
def halved(request_made: LedgerEntry) -> dict[str, str]:
    """The request's price is half of it since today; the form for this day."""
    price, day = request_made.price, request_made.local_day
    assert price is not None
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    Price.objects.create(model=price.model, valid_from=start, input=1, output=5)
    return {"first": str(day), "last": str(day)}


def test_repricing_shows_the_difference_and_then_writes_it(
    request_made: LedgerEntry, halved: dict[str, str]
) -> None:
    client, url = logged_in(*RIGHTS), reprice_url(request_made.tenant)
    shown = client.post(url, halved)
    assert [row[4:] for row in shown.context["rows"]] == [("0.00007", "0.000035")]
    assert LedgerEntry.objects.count() == 1
    write = halved | {"write": shown.context["seen"]}
    without = client.post(url, write)
    assert "A correction has a reason and an author." in text_of(without)
    assert client.post(url, write | {"reason": "late list"}).status_code == 302
    entry = LedgerEntry.objects.get(corrects=request_made.pk)
    assert (entry.reason, str(entry.cost)) == ("late list", "-0.0000350000")
    again = client.post(url, write | {"reason": "late list"})
    assert "another one by now" in text_of(again)
    assert again.context["rows"] == []
    assert LedgerEntry.objects.count() == 2


def test_repricing_of_no_days_is_refused(request_made: LedgerEntry) -> None:
    client, url = logged_in(*RIGHTS), reprice_url(request_made.tenant)
    bad = client.post(url, {"first": "2026-03-02", "last": "2026-03-01"})
    told = "This must be the first day or later, within 366 days."
    assert bad.context["form"].errors == {"last": [told]}
    assert "Acme (acme)" in text_of(client.get(url))


def test_nobody_reprices_without_the_right(
    request_made: LedgerEntry, halved: dict[str, str]
) -> None:
    for rights in (RIGHTS[:2], RIGHTS[2:]):
        answer = logged_in(*rights).post(reprice_url(request_made.tenant), halved)
        assert answer.status_code == 403
