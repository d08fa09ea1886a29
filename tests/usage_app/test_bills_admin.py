"""A provider's bill comes in by a form that remembers its columns, and its page shows what matching
it gave.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants_app.models import Tenant, Upstream
from tests.admin_site import form_of, logged_in, text_of, url_of
from tests.factories import make_tenant, make_upstream
from tests.usage_app.entries import make_entry
from usage_app.models import ProviderBill, ProviderBillLine, ProviderBillMatch

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
ADD = url_of(ProviderBill, "add")
LINES = "id,day,in,usd\nr1,2026-03-14,10,0.5\nr2,2026-03-15,4,0.25"


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def cloud(db: None) -> Upstream:
    return make_upstream("cloud", kind="openai", base_url="http://127.0.0.1:9")


@pytest.fixture
def finance(db: None) -> Client:
    return logged_in("usage_app.match_bill")


def sent(upstream: Upstream, text: str = LINES, **fields: Any) -> dict[str, Any]:
    return {
        "file": SimpleUploadedFile("march.csv", text.encode()),
        "upstreams": [upstream.pk],
        "first_day": "2026-03-01",
        "last_day": "2026-03-31",
        "separator": ",",
        "decimal_mark": ".",
        "reference": "id",
        "day": "day",
        "input_tokens": "in",
        "amount": "usd",
        **fields,
    }


def test_bill_is_imported_and_shown_with_what_matching_it_gave(
    finance: Client, acme: Tenant, cloud: Upstream
) -> None:
    make_entry(
        acme, upstream="cloud", created_at=NOON, upstream_reference="r1", cost=Decimal("0.375")
    )
    bad = finance.get(ADD)
    assert bad.status_code == 200
    done = finance.post(ADD, sent(cloud))
    bill = ProviderBill.objects.get()
    url = url_of(ProviderBill, "change", bill.pk)
    assert (done.status_code, done.headers["location"]) == (302, url)
    assert (bill.name, bill.kind, bill.lines, bill.amount) == (
        *("march.csv", "openai", 2),
        Decimal("0.75"),
    )
    assert bill.imported_by.startswith("staff-")
    page = text_of(finance.get(url))
    for shown in ("Matched by reference", "+0.125", "Missing here", "r2", "0.375", "acme"):
        assert shown in page
    assert "1 missing here, 0 there" in text_of(finance.get(url_of(ProviderBill, "changelist")))
    for model, query, rows in (
        (ProviderBillMatch, f"bill={bill.pk}&outcome__exact=missing_here", 1),
        (ProviderBillLine, f"bill={bill.pk}", 2),
    ):
        response = finance.get(f"{url_of(model, 'changelist')}?{query}")
        assert len(response.context["cl"].result_list) == rows


def test_columns_are_remembered_by_the_kind_of_provider(finance: Client, cloud: Upstream) -> None:
    demo = make_upstream("demo")
    finance.post(ADD, sent(cloud))
    fields = {"separator": ";", "day": "d", "amount": "", "reference": "", "model": "n"}
    finance.post(ADD, sent(demo, "d;n\n2026-03-01;1", **fields, input_tokens="n"))
    assert ProviderBill.objects.count() == 2
    newest, openai = (form_of(finance.get(f"{ADD}{query}")) for query in ("", "?kind=openai"))
    assert (newest["day"], newest["separator"], newest["upstreams"]) == ("d", ";", [demo.pk])
    assert (openai["day"], openai["reference"], openai["upstreams"]) == ("day", "id", [cloud.pk])
    assert "?kind=demo" in text_of(finance.get(ADD))


def test_bad_file_says_what_is_wrong_and_changes_nothing(finance: Client, cloud: Upstream) -> None:
    text = LINES + "\nr3,2026-03-16,4,$1" * 30
    page = finance.post(ADD, sent(cloud, text))
    errors = page.context["adminform"].form.errors
    assert list(errors) == ["file"]
    assert errors["file"][0].startswith("line 4, amount: must be an amount like 0.25")
    assert errors["file"][-1] == "And 10 more. Nothing was imported."
    assert len(errors["file"]) == 21
    empty = finance.post(ADD, {"first_day": "soon"}).context["adminform"].form.errors
    assert {"file", "upstreams", "first_day", "last_day"} <= set(empty)
    backwards = finance.post(ADD, sent(cloud, last_day="2026-02-01"))
    assert "last day" in text_of(backwards)
    assert not ProviderBill.objects.exists()


def test_file_is_imported_once(finance: Client, cloud: Upstream) -> None:
    finance.post(ADD, sent(cloud))
    again = finance.post(ADD, sent(cloud))
    (told, _) = again.context["adminform"].form.errors["file"]
    assert "was imported already" in told
    assert ProviderBill.objects.count() == 1


def test_bill_is_matched_again_and_deleted(finance: Client, acme: Tenant, cloud: Upstream) -> None:
    finance.post(ADD, sent(cloud))
    bill = ProviderBill.objects.get()
    for reference in ("r1", "r2"):
        make_entry(acme, upstream="cloud", created_at=NOON, upstream_reference=reference)
    url = url_of(ProviderBill, "match_again", bill.pk)
    assert "made anew" in text_of(finance.get(url))
    assert finance.post(url, {"confirmed": "yes"}).status_code == 302
    bill.refresh_from_db()
    assert bill.missing_here == 0
    url = url_of(ProviderBill, "delete", bill.pk)
    assert finance.get(url).status_code == 200
    assert finance.post(url, {"post": "yes", "reason": "x"}).status_code == 302
    for model in (ProviderBill, ProviderBillLine, ProviderBillMatch):
        assert not model.objects.exists()


def test_who_may_only_look_imports_matches_and_deletes_nothing(
    finance: Client, cloud: Upstream
) -> None:
    finance.post(ADD, sent(cloud))
    bill = ProviderBill.objects.get()
    auditor = logged_in("usage_app.view_providerbill")
    assert auditor.get(url_of(ProviderBill, "change", bill.pk)).status_code == 200
    assert auditor.get(url_of(ProviderBillMatch, "changelist")).status_code == 200
    assert auditor.post(ADD, sent(cloud, LINES + "\n")).status_code == 403
    for page in ("match_again", "delete"):
        url = url_of(ProviderBill, page, bill.pk)
        assert auditor.post(url, {"confirmed": "yes", "post": "yes"}).status_code == 403
    assert ProviderBill.objects.count() == 1


def test_page_asks_as_often_for_many_matches_as_for_one(
    finance: Client, acme: Tenant, cloud: Upstream
) -> None:
    counts = []
    for month, lines in (("02", 1), ("03", 40)):
        text = "id,day,in,usd\n" + "\n".join(
            f"{month}{number},2026-{month}-14,{number},0.5" for number in range(lines)
        )
        for number in range(lines):
            make_entry(acme, upstream="cloud", created_at=NOON.replace(month=int(month)),
                       upstream_reference=f"{month}{number * 2}")  # fmt: skip
        days = {"first_day": f"2026-{month}-01", "last_day": f"2026-{month}-28"}
        finance.post(ADD, sent(cloud, text, **days))
        bill = ProviderBill.objects.latest("id")
        with CaptureQueriesContext(connection) as queries:
            assert finance.get(url_of(ProviderBill, "change", bill.pk)).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
