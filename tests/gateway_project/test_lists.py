"""Lists of facts run what they offer and nothing else, and not for long."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.db import DataError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants_app.admin import lists
from tenants_app.admin.pages import ReadOnlyAdmin
from tests.admin_site import logged_in, make_world, text_of, url_of
from tests.factories import make_tenant
from tests.usage_app.entries import make_entry
from usage_app.admin.ledger import LedgerEntryAdmin
from usage_app.models import LedgerEntry, RefusalCount

pytestmark = pytest.mark.django_db

LEDGER = 'FROM "usage_app_ledgerentry"'
AN_INSTANT = timedelta(milliseconds=100)
NOT_OFFERED = [
    "metadata__icontains=x",
    "attempts__icontains=x",
    "trace_id__contains=x",
    "user_hash__contains=x",
    "error_code=ai_error",
    "upstream=demo",
    "total_tokens__gt=5",
    "model__icontains=x",
    "kind=credit",
    "outcome__in=ok,error",
    "tenant__slug__contains=x",
    "tenant__id__exact=1&reason__contains=x",
    "created_at__gte=2026-01-01",
    "nothing=1",
]


@pytest.fixture
def client() -> Client:
    return logged_in(superuser=True)


@pytest.mark.parametrize("asked", NOT_OFFERED)
def test_the_ledger_refuses_what_no_filter_offers_and_asks_nothing(
    client: Client, asked: str
) -> None:
    make_entry(make_tenant(), trace_id="x")
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(f"{url_of(LedgerEntry, 'changelist')}?{asked}")
    assert (answer.status_code, answer["location"][-4:]) == (302, "?e=1")
    assert not [one["sql"] for one in queries if LEDGER in one["sql"]]


def test_no_list_of_facts_runs_a_lookup_that_it_does_not_offer(client: Client) -> None:
    pages = [page for page in admin.site._registry.values() if isinstance(page, ReadOnlyAdmin)]
    assert len(pages) > 15
    for page in pages:
        offered: set[Any] = {one[0] if isinstance(one, tuple) else one for one in page.list_filter}
        for name in sorted({field.name for field in page.opts.concrete_fields} - offered):
            answer = client.get(f"{page.url_of('changelist')}?{name}__isnull=True")
            assert answer.status_code == 302, (page, name)
            assert answer["location"].endswith("?e=1")


def test_no_column_is_sorted_by_that_is_not_offered(client: Client) -> None:
    make_world()
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"{url_of(RefusalCount, 'changelist')}?o=5").status_code == 200
    asked = [one["sql"] for one in queries if 'ORDER BY "usage_app_refusalcount"' in one["sql"]]
    assert asked
    assert all('ORDER BY "usage_app_refusalcount"."id" DESC' in sql for sql in asked)


@pytest.mark.parametrize(
    "days",
    [
        "",
        "&local_day_from=never",
        "&q=%20",
        "&created_at_from_0=2020-01-01",
        "&local_day_to=2099-01-01",
    ],
)
@pytest.mark.parametrize("rare", ["model=rare", "kind__exact=usage", "cost_center=rare"])
def test_what_no_index_finds_is_narrowed_unless_a_first_day_is_chosen(
    client: Client, rare: str, days: str
) -> None:
    old = timezone.now() - timedelta(days=90)
    found = make_entry(make_tenant(), created_at=old, model="rare", cost_center="rare")
    url = f"{url_of(LedgerEntry, 'changelist')}?{rare}"
    narrowed = client.get(url + days)
    assert list(narrowed.context["cl"].result_list) == []
    assert "choose a first day" in text_of(narrowed)
    chosen = client.get(f"{url}&local_day_from={old:%Y-%m-%d}")
    assert list(chosen.context["cl"].result_list) == [found]


def test_a_look_that_takes_too_long_is_stopped_and_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entry(make_tenant())
    whole = LedgerEntryAdmin.get_queryset

    def slow(page: Any, request: Any) -> Any:
        return whole(page, request).extra(where=["pg_sleep(3) IS NOT NULL"])

    monkeypatch.setattr(LedgerEntryAdmin, "get_queryset", slow)
    monkeypatch.setattr(lists, "LOOK", AN_INSTANT)
    url = url_of(LedgerEntry, "changelist")
    began = timezone.now()
    answer = client.get(f"{url}?model=demo-echo")
    assert timezone.now() - began < timedelta(seconds=2.5)
    assert (answer.status_code, answer["location"]) == (302, url)
    (told,) = get_messages(answer.wsgi_request)
    assert "choose fewer days" in str(told)
    with pytest.raises(lists.TooLong):
        client.get(url)


@pytest.mark.django_db(transaction=True)
def test_the_bound_ends_with_its_block() -> None:
    with pytest.raises(lists.TooLong), lists.bounded(AN_INSTANT), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(3)")
    with lists.bounded(AN_INSTANT):
        pass
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_other_failures_pass_the_bound_as_they_are() -> None:
    with (
        pytest.raises(DataError) as failed,
        lists.bounded(lists.LOOK),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1 / 0")
    assert isinstance(failed.value.__cause__, psycopg.errors.DivisionByZero)
