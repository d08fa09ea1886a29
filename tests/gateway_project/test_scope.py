"""Staff who are held to acme see, choose and change nothing of globex, wherever they look."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from gateway_project import roles
from tenants_app import staff
from tests.admin_site import make_staff, registered, url_of
from tests.admin_walk import (
    Neighbours,
    autocompletes,
    filters_of,
    following,
    neighbours,
    pages_of,
    row_of,
    told,
)

pytestmark = pytest.mark.django_db

# Tenant staff, and somebody with every permission there is, which must make no difference.
HELD = ("Tenant staff", "everything")


@pytest.fixture
def they() -> Iterator[Neighbours]:
    roles.make()
    with neighbours() as two:
        yield two


def held(they: Neighbours, kind: str) -> Client:
    user = make_staff()
    if kind == "everything":
        mark = Permission.objects.filter(codename="within_tenants")
        user.user_permissions.set(Permission.objects.difference(mark))
    else:
        user.groups.add(Group.objects.get(name=kind))
    staff.hold_to(user, [they.acme])
    client = Client()
    client.force_login(user)
    return client


def urls_of(they: Neighbours) -> Iterator[str]:
    """Every page with globex's rows where a row is named, and every way to ask for them."""
    yield reverse("admin:index")
    yield f"{reverse('admin:search')}?s=globex&extended=1"
    for model in registered():
        yield from (url for _, url in pages_of(model, row_of(model, they.globex)))
        yield from filters_of(model, they.globex)
        yield f"{url_of(model, 'add')}?tenant={they.globex.pk}"
    for url, _ in autocompletes():
        yield f"{url}&term="
        yield f"{url}&term=globex"
    report = reverse("usage_report")
    for group in ("tenant", "costCenter", "model", "key", "day", "detail"):
        yield f"{report}?groupBy={group}"
    for form in ("csv", "xlsx", "focus"):
        yield f"{report}?groupBy=detail&format={form}"
        yield f"{report}?tenant=globex&format={form}"


@pytest.mark.parametrize("kind", HELD)
def test_no_page_shows_anything_of_another_tenant(they: Neighbours, kind: str) -> None:
    client = held(they, kind)
    shown = {}
    for url in urls_of(they):
        for response in following(client, url):
            # What was asked for may be repeated: it is no news to whoever asked.
            found = {*they.marks.findall(told(response))} - {*they.marks.findall(url)}
            if found:
                shown[url] = sorted(found)
    assert shown == {}
