"""Hosts: which of them names a tenant, and what happens when host, header and key disagree."""

from __future__ import annotations

from itertools import product

import pytest
from pytest_django import Settings

from tenants_app import directory, keys
from tenants_app.errors import ServiceUnavailable, TenantMismatch, TenantSuspended, Unauthorized
from tenants_app.models import Tenant, TenantHost
from tests.factories import make_key, make_tenant
from tests.loops import run

pytestmark = pytest.mark.django_db(transaction=True)

SLUGS = ("acme", "globex")
SPELLINGS = (
    "acme.example",
    "ACME.Example",
    "acme.example:8787",
    "acme.example:",
    "acme.example.",
    "acme.example.:443",
)
# What no edge sends, and what is mapped to nobody.
NEUTRAL = (
    "",
    "localhost:8787",
    "127.0.0.1",
    "[::1]",
    "[::1]:8787",
    "::1",
    "[acme.example]",
    "other.acme.example",
    "acme.example..",
    "acme.example:x",
    "acme.example:80:80",
    "acme.example,globex.example",
    "user@acme.example",
    "acme.example\n",
    "acme.example\x00",
)


def host_of(slug: str) -> str:
    return f"{slug}.example"


@pytest.fixture
def secrets() -> dict[str, str]:
    """acme and globex with a host and a key each; the keys by slug."""
    made: dict[str, str] = {}
    for slug in SLUGS:
        tenant = make_tenant(slug)
        TenantHost.objects.create(tenant=tenant, host=host_of(slug))
        made[slug] = make_key(tenant).secret
    return made


@pytest.fixture
def trusting(settings: Settings) -> None:
    settings.GATEWAY_TRUST_TENANT_HEADER = True


def named_by(meta: dict[str, str]) -> str:
    return run(keys.authenticate(meta)).tenant.slug


def names_someone(meta: dict[str, str]) -> bool:
    return run(keys.names_someone(meta))


@pytest.mark.usefixtures("secrets", "trusting")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_host_names_its_tenant_however_it_is_spelled(spelling: str) -> None:
    meta = {"HTTP_HOST": spelling}
    assert names_someone(meta)
    assert named_by(meta) == "acme"
    assert named_by(meta | {"HTTP_X_TENANT_ID": ""}) == "acme"


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("host", NEUTRAL)
def test_host_that_is_nobodys_is_neutral(secrets: dict[str, str], host: str) -> None:
    assert not names_someone({"HTTP_HOST": host})
    with pytest.raises(Unauthorized):
        named_by({"HTTP_HOST": host})
    assert named_by({"HTTP_HOST": host, "HTTP_X_TENANT_ID": "globex"}) == "globex"
    assert named_by({"HTTP_HOST": host, "HTTP_X_API_KEY": secrets["globex"]}) == "globex"


@pytest.mark.usefixtures("secrets")
def test_host_names_nobody_where_no_edge_is_trusted() -> None:
    assert not names_someone({"HTTP_HOST": "acme.example"})
    with pytest.raises(Unauthorized):
        named_by({"HTTP_HOST": "acme.example"})


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    ("key", "header", "host"), [p for p in product((*SLUGS, None), repeat=3) if any(p)]
)
def test_key_header_and_host_agree_or_are_refused(
    secrets: dict[str, str],
    settings: Settings,
    trusted: bool,
    key: str | None,
    header: str | None,
    host: str | None,
) -> None:
    settings.GATEWAY_TRUST_TENANT_HEADER = trusted
    meta = {"HTTP_HOST": f"{host_of(host)}:8787" if host else "localhost:8787"}
    if key:
        meta["HTTP_AUTHORIZATION"] = f"Bearer {secrets[key]}"
    if header:
        meta["HTTP_X_TENANT_ID"] = header
    named = {slug for slug in (key, header, host) if slug}
    for _ in range(2):  # loaded, and then from the cache
        if not key and not trusted:
            with pytest.raises(Unauthorized):
                named_by(meta)
        elif len(named) > 1:
            with pytest.raises(TenantMismatch):
                named_by(meta)
        else:
            assert {named_by(meta)} == named


@pytest.mark.usefixtures("secrets", "trusting")
def test_forwarded_host_is_never_believed() -> None:
    forwarded = {"HTTP_X_FORWARDED_HOST": "globex.example", "HTTP_FORWARDED": "host=globex.example"}
    assert not names_someone(forwarded | {"HTTP_HOST": "localhost"})
    assert named_by(forwarded | {"HTTP_HOST": "acme.example"}) == "acme"
    assert named_by(forwarded | {"HTTP_HOST": "localhost", "HTTP_X_TENANT_ID": "acme"}) == "acme"


@pytest.mark.usefixtures("secrets", "trusting")
def test_suspended_tenant_is_refused_by_its_host_too() -> None:
    Tenant.objects.filter(slug="acme").update(status=Tenant.Status.SUSPENDED)
    assert names_someone({"HTTP_HOST": "acme.example"})
    with pytest.raises(TenantSuspended):
        named_by({"HTTP_HOST": "acme.example"})


@pytest.mark.usefixtures("secrets", "trusting")
def test_host_that_moved_names_its_new_tenant_at_the_next_request() -> None:
    meta = {"HTTP_HOST": "acme.example"}
    before = run(keys.authenticate(meta))
    TenantHost.objects.filter(host="acme.example").update(tenant=Tenant.objects.get(slug="globex"))
    assert run(keys.current(before, meta)).tenant.slug == "globex"
    TenantHost.objects.filter(host="acme.example").delete()
    with pytest.raises(Unauthorized):
        run(keys.current(before, meta))


@pytest.mark.usefixtures("secrets", "trusting")
def test_host_names_nobody_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_host: str) -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(directory, "by_host", away)
    assert not names_someone({"HTTP_HOST": "acme.example"})
