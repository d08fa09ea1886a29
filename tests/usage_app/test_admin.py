"""The books' pages: found by whole ids, and a price that was used is not touched."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tenants_app import keys
from tests.admin_site import form_of, logged_in, make_books, text_of, url_of
from tests.factories import make_model, make_tenant
from usage_app.models import LedgerEntry, Price, Reservation

pytestmark = pytest.mark.django_db


def found(client: Client, model: Any, term: str, **filters: Any) -> list[Any]:
    url = url_of(model, "changelist")
    return list(client.get(url, {"q": term} | filters).context["cl"].result_list)


def test_entries_and_holds_are_found_by_request_and_trace_id() -> None:
    client = logged_in(superuser=True)
    acme, globex = make_tenant(), make_tenant("globex")
    entry = make_books(acme, keys.issue(acme, name="app").key)
    make_books(globex, keys.issue(globex, name="app").key)
    assert found(client, LedgerEntry, str(entry.id)) == [entry]
    assert found(client, LedgerEntry, " trace-acme ") == [entry]
    assert found(client, LedgerEntry, "trace-") == []
    assert found(client, LedgerEntry, str(uuid.uuid4())) == []
    assert len(found(client, Reservation, "trace-acme")) == 1
    assert found(client, LedgerEntry, "", tenant__id__exact=acme.pk) == [entry]
    assert len(found(client, LedgerEntry, "")) == 2


def test_entry_without_a_price_is_unpriced_not_free() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    entry = make_books(acme, None)
    LedgerEntry.objects.create(
        **{
            field.attname: getattr(entry, field.attname)
            for field in LedgerEntry._meta.fields
            if field.name not in ("id", "cost")
        },
        id=uuid.uuid4(),
        cost=None,
    )
    page = text_of(client.get(url_of(LedgerEntry, "changelist")))
    assert "unpriced" in page
    assert "0.0001<" in page.replace("\n", "").replace(" ", "")


def price_fields(**values: Any) -> dict[str, Any]:
    return {
        "model": make_model().pk,
        "valid_from_0": "2026-01-01",
        "valid_from_1": "00:00:00",
        "input": "0.25",
        "output": "1.5",
    } | values


def test_price_is_added_and_its_form_refuses_what_the_ledger_could_not_count() -> None:
    client = logged_in(superuser=True)
    url = url_of(Price, "add")
    fields = price_fields()
    bad = client.post(url, fields | {"input": "0.12345", "output": "-1"})
    assert bad.context["adminform"].form.errors == {
        "input": ["Ensure that there are no more than 4 decimal places."],
        "output": ["Ensure this value is greater than or equal to 0."],
    }
    assert client.post(url, fields).status_code == 302
    again = client.post(url, fields)
    assert again.context["adminform"].form.errors == {
        "__all__": ["Price with this Model and Valid from already exists."]
    }


def test_unused_price_is_changed_and_deleted() -> None:
    client = logged_in(superuser=True)
    client.post(url_of(Price, "add"), price_fields())
    price = Price.objects.get()
    url = url_of(Price, "change", price.pk)
    data = form_of(client.get(url))
    assert data["input"] == "0.25"
    assert client.post(url, data | {"input": "0.5"}).status_code == 302
    assert Price.objects.get().input == 0.5
    assert (
        client.post(url_of(Price, "delete", price.pk), {"post": "yes", "reason": "x"}).status_code
        == 302
    )
    assert not Price.objects.exists()


def test_used_price_is_read_only() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    price = Price.objects.create(
        model=make_model(), valid_from=timezone.now() - timedelta(days=1), input=1, output=2
    )
    make_books(acme, None, price)
    url = url_of(Price, "change", price.pk)
    assert client.get(url).status_code == 200
    assert client.post(url, {"input": "9"}).status_code == 403
    assert (
        client.post(url_of(Price, "delete", price.pk), {"post": "yes", "reason": "x"}).status_code
        == 403
    )


def test_price_used_between_opening_and_saving_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    price = Price.objects.create(
        model=make_model(), valid_from=timezone.now() - timedelta(days=1), input=1, output=2
    )
    make_books(acme, None, price)
    monkeypatch.setattr("usage_app.selectors.is_used", lambda _price: False)
    url = url_of(Price, "change", price.pk)
    response = client.post(url, form_of(client.get(url)) | {"input": "9"})
    (error,) = response.context["adminform"].form.errors["__all__"]
    assert error == f"Price {price.pk} has been used: add one that supersedes it."
    response = client.post(
        url_of(Price, "delete", price.pk), {"post": "yes", "reason": "x"}, follow=True
    )
    assert "still in use" in text_of(response)
    assert Price.objects.get().input == 1
