"""Every page of the admin asks as often with 1 000 tenants as with one."""

from collections.abc import Iterable, Iterator

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tenants_app.models import Tenant
from tests.admin_site import logged_in, make_world, registered
from tests.admin_walk import autocompletes, pages_of, row_of
from tests.many_tenants import multiply
from usage_app.reports.query import GROUPS

TENANTS = 1_000


def addresses(tenant: Tenant) -> Iterator[str]:
    """Every page; those of a row with one of this tenant's."""
    yield reverse("admin:index")
    for group in GROUPS:
        yield f"{reverse('usage_report')}?groupBy={group}"
    yield from autocompletes().values()
    for model in registered():
        yield from (url for _, url in pages_of(model, row_of(model, tenant)))


def asked(client: Client, urls: Iterable[str]) -> dict[str, int]:
    """How many queries each page takes that opens."""
    found = {}
    for url in urls:
        with CaptureQueriesContext(connection) as queries:
            response = client.get(url)
        if response.status_code == 200 and not response.streaming:
            found[url] = len(queries)
    return found


@pytest.mark.timeout(400)  # a minute of one core; more beside other work
@pytest.mark.django_db
def test_pages_ask_as_often_with_a_thousand_tenants_as_with_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL", "django.request")
    client = logged_in(superuser=True)
    tenant = make_world()
    urls = list(addresses(tenant))
    # Once before: what a process or a session asks only once is not counted.
    asked(client, urls)
    few = asked(client, urls)
    multiply(TENANTS - 1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    many = asked(client, urls)
    assert len(few) > 100
    # By now its process may have been silent for too long: then the circuit is nobody's.
    assert {url for url in few.keys() - many.keys() if "/opencircuit/" not in url} == set()
    counts = {url: (few[url], many[url]) for url in few.keys() & many.keys()}
    assert {url: pair for url, pair in counts.items() if pair[0] != pair[1]} == {}
