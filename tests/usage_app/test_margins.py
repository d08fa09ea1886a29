"""Prices and margins are kept in the admin; every change leaves an event, and a closed month's
margins stay.
"""

from datetime import date
from typing import Any

import pghistory
import pytest

from tenants_app.models import Tenant
from tests.admin_site import form_of, logged_in, text_of, url_of
from tests.factories import make_model, make_price, make_tenant
from tests.usage_app.entries import make_statement
from usage_app.models import AUDITED, Margin, Price

pytestmark = pytest.mark.django_db


def margin_fields(tenant: Tenant, **values: Any) -> dict[str, Any]:
    return {"tenant": tenant.pk, "valid_from": "2026-03-01", "percent": "12.5"} | values


def test_margin_is_added_changed_and_deleted() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    assert client.post(url_of(Margin, "add"), margin_fields(acme)).status_code == 302
    margin = Margin.objects.get()
    url = url_of(Margin, "change", margin.pk)
    data = form_of(client.get(url))
    assert data["percent"] == "12.5"
    assert client.post(url, data | {"percent": "-20"}).status_code == 302
    assert Margin.objects.get().percent == -20
    assert "-20 %" in text_of(client.get(url_of(Margin, "changelist")))
    assert (
        client.post(url_of(Margin, "delete", margin.pk), {"post": "yes", "reason": "x"}).status_code
        == 302
    )
    assert not Margin.objects.exists()


def test_margin_that_makes_no_sense_is_refused_in_words() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    url = url_of(Margin, "add")
    bad = client.post(url, margin_fields(acme, percent="-100.5", valid_from="soon"))
    assert bad.context["adminform"].form.errors == {
        "percent": ["Ensure this value is greater than or equal to -100."],
        "valid_from": ["Enter a valid date."],
    }
    client.post(url, margin_fields(acme))
    again = client.post(url, margin_fields(acme, percent="3"))
    assert again.context["adminform"].form.errors == {
        "__all__": ["Margin with this Tenant and Valid from already exists."]
    }
    assert Margin.objects.get().percent == 12.5


def test_margin_of_a_closed_month_stays() -> None:
    client = logged_in(superuser=True)
    acme = make_tenant()
    client.post(url_of(Margin, "add"), margin_fields(acme))
    margin = Margin.objects.get()
    make_statement(acme, date(2026, 3, 1))
    url = url_of(Margin, "change", margin.pk)
    assert client.get(url).status_code == 200
    assert client.post(url, margin_fields(acme, percent="1")).status_code == 403
    assert (
        client.post(url_of(Margin, "delete", margin.pk), {"post": "yes", "reason": "x"}).status_code
        == 403
    )
    late = client.post(url_of(Margin, "add"), margin_fields(acme, valid_from="2026-03-31"))
    (told,) = late.context["adminform"].form.errors["valid_from"]
    assert told == (
        "The month of this day is closed for this tenant: its margin stays as it is. Choose a day"
        " in an open month."
    )
    in_time = client.post(url_of(Margin, "add"), margin_fields(acme, valid_from="2026-04-01"))
    assert in_time.status_code == 302


def test_changes_of_prices_and_margins_are_audited() -> None:
    acme = make_tenant()
    with pghistory.context(reason="the new contract"):
        for row in (
            make_price(make_model(), input="1", output="2"),
            Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 1), percent=5),
        ):
            field = "input" if isinstance(row, Price) else "percent"
            type(row).objects.filter(pk=row.pk).update(**{field: 7})
            row.delete()
    assert {Price, Margin} <= AUDITED.keys()
    for model, field in ((Price, "input"), (Margin, "percent")):
        events: Any = pghistory.core.event_models(tracks_model=model)[0]
        told = [
            (event.pgh_label, getattr(event, field), event.pgh_context.metadata["reason"])
            for event in events.objects.order_by("pgh_id")
        ]
        why = "the new contract"
        first = 1 if model is Price else 5
        assert told == [("insert", first, why), ("update", 7, why), ("delete", 7, why)]


def test_why_a_margin_is_changed_is_asked_beside_its_buttons_and_kept() -> None:
    acme, client = make_tenant(), logged_in(superuser=True)
    assert 'name="_reason"' in text_of(client.get(url_of(Margin, "add")))
    client.post(url_of(Margin, "add"), margin_fields(acme, _reason="the new contract"))
    history = client.get(url_of(Tenant, "history", acme.pk))
    (made,) = (one for one in history.context["changes"] if one.what.startswith("margin"))
    assert made.why == "the new contract"
    assert "Why: “the new contract”" in text_of(history)


def test_tenants_history_tells_of_its_margins_to_those_who_may_see_them() -> None:
    acme = make_tenant()
    client = logged_in(superuser=True)
    client.post(url_of(Margin, "add"), margin_fields(acme))
    history = url_of(Tenant, "history", acme.pk)
    assert "percent" in text_of(client.get(history))
    assert "percent" not in text_of(logged_in("tenants_app.view_tenant").get(history))
