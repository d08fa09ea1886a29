"""Keys: their form, their life, and whom a request's headers stand for."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from tenants_app import directory, keys
from tenants_app.errors import TenantMismatch, TenantSuspended, TollgateError, Unauthorized
from tenants_app.key_format import BASE62
from tenants_app.key_uses import flush_uses, note_use
from tenants_app.models import ApiKey, ApiKeyUse, Tenant, TenantHost
from tenants_app.snapshots import Caller
from tests.factories import make_key, make_tenant
from tests.loops import run

FIXED = "tg_" + "0" * 32 + "2wjyrI"
database = pytest.mark.django_db(transaction=True)


def bearer(secret: str, **more: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}", **more}


def authenticate(meta: dict[str, str]) -> Caller:
    return run(keys.authenticate(meta))


@pytest.fixture
def no_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a connection fails the test."""

    def refuse() -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr("tenants_app.database.pool", refuse)


def test_key_has_the_form_that_scanners_know() -> None:
    secret = keys.new_secret()
    assert secret.startswith("tg_")
    assert len(secret) == 3 + 32 + 6
    assert secret[3:].isalnum()
    assert keys.well_formed(secret)
    # Fixed, so that the form can never change by accident.
    assert keys.well_formed(FIXED)
    assert not keys.well_formed(FIXED + "\n")


@given(position=st.integers(0, 40), character=st.sampled_from(BASE62 + "_- é"))
def test_every_typo_is_recognised(position: int, character: str) -> None:
    secret = keys.new_secret()
    typo = secret[:position] + character + secret[position + 1 :]
    assert keys.well_formed(typo) == (typo == secret)


@pytest.mark.parametrize(
    "secret",
    [
        "tg_" + "a" * 38,
        "tg_short",
        "tg_",
        FIXED[:-1],
        FIXED + "0",
        "too-short",
        "x" * 513,
    ],
)
def test_malformed_key_is_refused_without_a_query(secret: str, no_queries: None) -> None:
    with pytest.raises(Unauthorized):
        authenticate(bearer(secret))


@database
def test_well_formed_but_unknown_key_is_refused() -> None:
    with pytest.raises(Unauthorized):
        authenticate(bearer(keys.new_secret()))


@database
def test_database_holds_no_secret() -> None:
    issued = make_key(make_tenant())
    row = ApiKey.objects.values().get()
    assert row["prefix"] == issued.secret[:7]
    assert row["digest"] == keys.digest(issued.secret)
    assert issued.secret[7:] not in repr(row)


@database
def test_secret_is_in_no_repr() -> None:
    issued = make_key(make_tenant())
    assert issued.secret[7:] not in repr(issued) + str(issued.key) + repr(issued.key)
    assert issued.secret[7:] not in repr(authenticate(bearer(issued.secret)))


@database
def test_key_names_its_tenant() -> None:
    acme = make_tenant("acme")
    TenantHost.objects.create(tenant=acme, host="ai.acme.example")
    secret = make_key(acme, "laptop").secret
    for meta in (
        bearer(secret),
        {"HTTP_AUTHORIZATION": f"bearer   {secret} "},
        {"HTTP_X_API_KEY": secret},
        bearer(secret, HTTP_X_API_KEY=secret),
        bearer(secret, HTTP_X_TENANT_ID="acme"),
        bearer(secret, HTTP_X_TENANT_ID=""),
        bearer(secret, HTTP_HOST="AI.acme.example:8787"),
        bearer(secret, HTTP_HOST="unmapped.example"),
    ):
        caller = authenticate(meta)
        assert caller.tenant.slug == "acme", meta
        assert caller.key is not None
        assert caller.key.name == "laptop"


@database
def test_credentials_are_refused() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    TenantHost.objects.create(tenant=globex, host="ai.globex.example")
    a, g = make_key(acme).secret, make_key(globex).secret
    refusals: list[tuple[dict[str, str], type[TollgateError]]] = [
        (bearer(a, HTTP_X_API_KEY=g), Unauthorized),
        (bearer("", HTTP_X_API_KEY=g), Unauthorized),
        ({"HTTP_AUTHORIZATION": f"Basic {a}"}, Unauthorized),
        ({"HTTP_AUTHORIZATION": a}, Unauthorized),
        (bearer(f"{a},Bearer {g}"), Unauthorized),
        ({"HTTP_X_TENANT_ID": "acme"}, Unauthorized),
        ({"HTTP_HOST": "ai.acme.example"}, Unauthorized),
        ({}, Unauthorized),
        (bearer(a, HTTP_X_TENANT_ID="globex"), TenantMismatch),
        (bearer(a, HTTP_X_TENANT_ID="nobody"), TenantMismatch),
        (bearer(a, HTTP_HOST="ai.globex.example"), TenantMismatch),
        (bearer(a, HTTP_HOST="AI.GLOBEX.example.:80"), TenantMismatch),
    ]
    for meta, error in refusals * 2:  # loaded, and then from the cache
        with pytest.raises(error):
            authenticate(meta)


@database
def test_second_request_is_answered_without_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = bearer(make_key(make_tenant()).secret)
    assert keys.authenticate_cached(meta) is None
    caller = authenticate(meta)
    monkeypatch.setattr("tenants_app.database.pool", None)
    assert keys.authenticate_cached(meta) is caller
    assert authenticate(meta) is caller


@database
def test_revoked_key_is_dead_at_the_next_request_and_keeps_its_date() -> None:
    issued = make_key(make_tenant())
    meta = bearer(issued.secret)
    caller = authenticate(meta)
    keys.revoke(issued.key)
    revoked_at = issued.key.revoked_at
    keys.revoke(issued.key)
    assert issued.key.revoked_at == revoked_at
    with pytest.raises(Unauthorized):
        run(directory.ensure_current(caller))
    with pytest.raises(Unauthorized):
        authenticate(meta)


@database
def test_rotated_key_keeps_its_row_and_its_old_secret_is_dead() -> None:
    issued = make_key(make_tenant())
    caller = authenticate(bearer(issued.secret))
    rotated = keys.rotate(issued.key)
    assert rotated.key.pk == issued.key.pk
    assert run(directory.ensure_current(caller)).key is not None
    with pytest.raises(Unauthorized):
        authenticate(bearer(issued.secret))
    newest = authenticate(bearer(rotated.secret))
    assert newest.key is not None
    assert newest.key.id == issued.key.pk


@database
def test_revoked_key_is_not_rotated() -> None:
    issued = make_key(make_tenant())
    keys.revoke(issued.key)
    with pytest.raises(ValueError, match="revoked"):
        keys.rotate(issued.key)


@database
def test_key_expires_while_it_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = timezone.now() + timedelta(hours=1)
    meta = bearer(make_key(make_tenant(), expires_at=soon).secret)
    authenticate(meta)

    class Later:
        @staticmethod
        def now(_zone: Any) -> Any:
            return soon

    monkeypatch.setattr(keys, "datetime", Later)
    assert keys.authenticate_cached(meta) is None
    with pytest.raises(Unauthorized, match="expired"):
        authenticate(meta)


@database
def test_suspended_tenant_is_refused() -> None:
    meta = bearer(make_key(make_tenant(status=Tenant.Status.SUSPENDED)).secret)
    with pytest.raises(TenantSuspended):
        authenticate(meta)


@database
def test_imported_key_may_be_any_text() -> None:
    secret = "sk-imported-from-elsewhere"
    make_key(make_tenant(), secret=secret)
    assert authenticate(bearer(secret)).tenant.slug == "acme"


@pytest.mark.parametrize(
    "secret", ["short", "x" * 513, "tg_" + "a" * 38, "with a space 12345", "é" * 20]
)
def test_key_that_could_not_be_recognised_is_not_imported(secret: str) -> None:
    with pytest.raises(ValueError, match="imported key"):
        keys.issue(Tenant(slug="acme"), name="imported", secret=secret)


@database
def test_trusted_edge_names_the_tenant_by_header_or_host(settings: Settings) -> None:
    settings.GATEWAY_TRUST_TENANT_HEADER = True
    acme, globex = make_tenant("acme"), make_tenant("globex")
    TenantHost.objects.create(tenant=acme, host="ai.acme.example")
    for meta in (
        {"HTTP_X_TENANT_ID": "acme", "HTTP_HOST": "localhost:8787"},
        {"HTTP_HOST": "ai.acme.example:8787"},
        {"HTTP_X_TENANT_ID": "acme", "HTTP_HOST": "ai.acme.example"},
    ):
        caller = authenticate(meta)
        assert (caller.tenant.slug, caller.key) == ("acme", None)
    by_key = authenticate(bearer(make_key(globex).secret, HTTP_X_TENANT_ID="globex"))
    assert by_key.key is not None


@database
def test_trusted_edge_is_refused(settings: Settings) -> None:
    settings.GATEWAY_TRUST_TENANT_HEADER = True
    TenantHost.objects.create(tenant=make_tenant("acme"), host="ai.acme.example")
    make_tenant("globex")
    refusals: list[tuple[dict[str, str], type[TollgateError]]] = [
        ({"HTTP_X_TENANT_ID": "nobody"}, Unauthorized),
        ({"HTTP_X_TENANT_ID": "a\x00b"}, Unauthorized),
        ({"HTTP_X_TENANT_ID": "acme\n"}, Unauthorized),
        ({"HTTP_HOST": "unmapped.example"}, Unauthorized),
        ({"HTTP_HOST": "\x00"}, Unauthorized),
        ({}, Unauthorized),
        ({"HTTP_X_TENANT_ID": "globex", "HTTP_HOST": "ai.acme.example"}, TenantMismatch),
        # A bad key is never excused by a good name.
        (bearer("tg_wrong", HTTP_X_TENANT_ID="acme"), Unauthorized),
    ]
    for meta, error in refusals:
        with pytest.raises(error):
            authenticate(meta)


@database
def test_host_that_moves_names_its_new_tenant(settings: Settings) -> None:
    settings.GATEWAY_TRUST_TENANT_HEADER = True
    acme, globex = make_tenant("acme"), make_tenant("globex")
    host = TenantHost.objects.create(tenant=acme, host="ai.example")
    caller = authenticate({"HTTP_HOST": "ai.example"})
    host.tenant = globex
    host.save()
    run(directory.ensure_current(caller))
    assert authenticate({"HTTP_HOST": "ai.example"}).tenant.slug == "globex"


@database
def test_uses_are_written_in_one_batch() -> None:
    acme = make_tenant()
    used, gone = make_key(acme).key, make_key(acme).key
    gone_id = gone.pk
    gone.delete()

    async def use() -> None:
        for _ in range(10):
            note_use(used.pk)
            note_use(gone_id)
        await flush_uses()
        note_use(used.pk)
        await flush_uses()
        await flush_uses()

    run(use())
    assert [use.key_id for use in ApiKeyUse.objects.all()] == [used.pk]
    assert timezone.now() - ApiKeyUse.objects.get().last_used_at < timedelta(minutes=1)


@database
def test_uses_are_written_by_the_loop_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from tenants_app import key_uses

    monkeypatch.setattr(key_uses, "FLUSH_SECONDS", 0.01)
    key = make_key(make_tenant()).key

    async def use_and_wait() -> None:
        note_use(key.pk)
        await asyncio.sleep(0.02)
        await asyncio.gather(*key_uses._uses.flushes)

    run(use_and_wait())
    assert ApiKeyUse.objects.filter(key=key).exists()
