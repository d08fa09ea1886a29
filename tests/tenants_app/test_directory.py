"""Snapshots tell the whole configuration, and none is used after a change was committed."""

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from tenants_app import configuration, directory, keys
from tenants_app.configuration import read_versions
from tenants_app.database import connection_params, pool
from tenants_app.errors import TenantSuspended, Unauthorized
from tenants_app.models import (
    ApiKey,
    Budget,
    ConfigurationVersion,
    Model,
    Route,
    Tenant,
    TenantFallback,
    TenantHost,
    Upstream,
)
from tenants_app.snapshots import Caller, Limit
from tests.factories import (
    make_budget,
    make_key,
    make_model,
    make_route,
    make_tenant,
    make_upstream,
)
from tests.loops import run

pytestmark = pytest.mark.django_db(transaction=True)


def lookup(secret: str) -> Caller | None:
    return run(directory.by_digest(keys.digest(secret)))


def found(secret: str) -> Caller:
    caller = lookup(secret)
    assert caller is not None
    return caller


def current(caller: Caller) -> bool:
    """What the ledger does within an admission."""

    async def compare() -> bool:
        async with pool().connection() as db:
            versions = await read_versions(db, [caller.tenant.id])
        return (versions.get(caller.tenant.id, 0), versions.get(None, 0)) == (
            caller.tenant.version,
            caller.tenant.shared_version,
        )

    return run(compare())


def test_snapshot_tells_the_whole_configuration() -> None:
    shared = make_upstream("shared", is_default=True)
    echo, slow = make_model("demo-echo", max_output=2048), make_model("demo-slow")
    make_route(echo, shared)
    acme = make_tenant(
        default_model=echo, allow_list_enabled=True, timezone="Europe/Vienna", cost_center="R&D"
    )
    acme.allowed_models.set([echo, slow])
    TenantFallback.objects.create(tenant=acme, model=slow, position=2)
    TenantFallback.objects.create(tenant=acme, model=echo, position=1)
    TenantHost.objects.create(tenant=acme, host="ai.acme.example")
    make_budget(acme, "cost", "month", Decimal("12.5"))
    make_budget(acme, "requests", "minute", 60, burst=5)
    issued = make_key(acme, "laptop", scopes=["chat"])
    make_budget(acme, "tokens", "day", 1000, api_key=issued.key)

    caller = found(issued.secret)
    tenant = caller.tenant
    assert tenant.slug == "acme"
    assert tenant.active
    assert tenant.timezone == "Europe/Vienna"
    assert tenant.cost_center == "R&D"
    assert tenant.default_model == "demo-echo"
    assert tenant.fallback_models == ("demo-echo", "demo-slow")
    assert tenant.allowed_models == frozenset({"demo-echo", "demo-slow"})
    assert tenant.hosts == {"ai.acme.example"}
    assert tenant.host_owners == {"ai.acme.example": acme.pk}
    assert tenant.limits == (
        Limit("cost", "month", 125_000_000_000),
        Limit("requests", "minute", 60, 5),
    )
    assert caller.key is not None
    assert caller.key.scopes == {"chat"}
    assert caller.key.limits == (Limit("tokens", "day", 1000),)
    model = tenant.model("demo-echo")
    assert model is not None
    assert model.max_output == 2048
    assert [(route.upstream.name, route.upstream_model) for route in model.routes] == [
        ("shared", "demo-echo")
    ]
    passed = tenant.model("demo-slow")  # no route: the default upstream's
    assert passed is not None
    assert [route.upstream.name for route in passed.routes] == ["shared"]


def test_own_routes_hide_the_shared_ones_and_no_others_upstream_is_seen() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    model = make_model()
    make_route(model, make_upstream("shared"))
    make_route(model, make_upstream("acmes", tenant=acme), tenant=acme, upstream_model="echo-2")
    names = {}
    for tenant in (acme, globex):
        snapshot = found(make_key(tenant).secret).tenant.model("demo-echo")
        assert snapshot is not None
        names[tenant.slug] = [(r.upstream.name, r.upstream_model) for r in snapshot.routes]
    assert names == {"acme": [("acmes", "echo-2")], "globex": [("shared", "demo-echo")]}


def test_unknown_models_pass_through_to_the_default_upstream_unless_closed() -> None:
    make_upstream("main", is_default=True)
    off = make_upstream("off", enabled=False)
    make_model("switched-off", enabled=False)
    make_route(make_model("all-upstreams-off"), off)
    make_model("without-routes", default_output=7)
    tenant = found(make_key(make_tenant()).secret).tenant
    passed = tenant.model("gpt-whatever")
    assert passed is not None
    assert (passed.id, passed.default_output, passed.max_output) == (None, 1024, 8192)
    assert [(r.upstream.name, r.upstream_model) for r in passed.routes] == [
        ("main", "gpt-whatever")
    ]
    known = tenant.model("without-routes")
    assert known is not None
    assert known.default_output == 7
    assert tenant.model("switched-off") is None
    assert tenant.model("all-upstreams-off") is None


@pytest.fixture
def world() -> dict[str, Any]:
    """One row in every table that a snapshot is made of, and the row's change."""
    shared = make_upstream("shared", is_default=True)
    model, other = make_model("demo-echo"), make_model("demo-slow")
    acme = make_tenant(default_model=model)
    acme.allowed_models.add(model)
    issued = make_key(acme)
    return {
        "acme": acme,
        "other": other,
        "issued": issued,
        "shared": shared,
        "own": make_upstream("own", tenant=acme),
        "route": make_route(model, shared),
        "fallback": TenantFallback.objects.create(tenant=acme, model=other),
        "host": TenantHost.objects.create(tenant=acme, host="ai.acme.example"),
        "budget": make_budget(acme, "tokens", "day", 10),
        "key_budget": make_budget(acme, "tokens", "day", 10, api_key=issued.key),
    }


def raw(statement: str) -> Callable[[dict[str, Any]], None]:
    def execute(world: dict[str, Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return execute


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "tenant": lambda w: Tenant.objects.filter(pk=w["acme"].pk).update(name="New"),
    "tenant raw": raw("UPDATE tenants_app_tenant SET context_messages = 3"),
    "fallback added": lambda w: TenantFallback.objects.create(
        tenant=w["acme"], model=Model.objects.get(public_id="demo-echo"), position=5
    ),
    "fallback deleted": lambda w: w["fallback"].delete(),
    "host": lambda w: TenantHost.objects.update(host="other.acme.example"),
    "host of another tenant": lambda w: TenantHost.objects.create(
        tenant=make_tenant("globex"), host="ai.globex.example"
    ),
    "allowed model added": lambda w: w["acme"].allowed_models.add(w["other"]),
    "allowed models cleared": lambda w: w["acme"].allowed_models.clear(),
    "allowed models from the other side": lambda w: w["other"].allowed_for.add(w["acme"]),
    "shared upstream": lambda w: Upstream.objects.filter(name="shared").update(enabled=False),
    "own upstream": lambda w: Upstream.objects.filter(name="own").update(idle_timeout_ms=5),
    "own upstream shared": lambda w: Upstream.objects.filter(name="own").update(tenant=None),
    "model": lambda w: Model.objects.filter(public_id="demo-echo").update(max_output=5000),
    "model added": lambda w: make_model("brand-new"),
    "model deleted raw": raw(
        "DELETE FROM tenants_app_tenantfallback; "
        "DELETE FROM tenants_app_model WHERE public_id = 'demo-slow'"
    ),
    "shared route": lambda w: Route.objects.update(priority=1),
    "own route": lambda w: make_route(w["other"], w["own"], tenant=w["acme"]),
    "key renamed": lambda w: ApiKey.objects.update(name="new"),
    "budget": lambda w: Budget.objects.filter(pk=w["budget"].pk).update(limit=11),
    "budget of a key": lambda w: Budget.objects.filter(pk=w["key_budget"].pk).update(limit=11),
    "budget deleted": lambda w: w["budget"].delete(),
    "budgets bulk": lambda w: Budget.objects.bulk_create(
        [Budget(tenant=w["acme"], metric="requests", period="day", limit=1)]
    ),
    "truncate": raw("TRUNCATE tenants_app_budget CASCADE"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_snapshot_is_known_stale_once_a_change_is_committed(
    name: str, world: dict[str, Any]
) -> None:
    secret = world["issued"].secret
    caller = found(secret)
    assert current(caller)
    assert found(secret) is caller
    with transaction.atomic():
        CHANGES[name](world)
        assert current(caller)  # not before the commit
    assert not current(caller)

    newest = run(directory.ensure_current(caller))
    assert newest != caller
    assert current(newest)
    assert run(directory.ensure_current(newest)) is newest


@pytest.mark.parametrize("name", ["key revoked", "key deleted", "tenant deleted", "suspended"])
def test_caller_who_is_gone_is_refused_at_the_next_request(
    name: str, world: dict[str, Any]
) -> None:
    caller = found(world["issued"].secret)
    gone: dict[str, Callable[[], Any]] = {
        "key revoked": lambda: keys.revoke(world["issued"].key),
        "key deleted": world["issued"].key.delete,
        "tenant deleted": world["acme"].delete,
        "suspended": lambda: Tenant.objects.update(status="suspended"),
    }
    gone[name]()
    assert not current(caller)
    with pytest.raises(TenantSuspended if name == "suspended" else Unauthorized):
        run(directory.ensure_current(caller))


def test_rolled_back_change_leaves_the_snapshot_current(world: dict[str, Any]) -> None:
    caller = found(world["issued"].secret)
    with transaction.atomic():
        Tenant.objects.update(name="New")
        transaction.set_rollback(True)
    assert current(caller)


def test_other_tenants_change_leaves_the_snapshot_current(world: dict[str, Any]) -> None:
    globex = make_tenant("globex")
    caller = found(world["issued"].secret)
    Tenant.objects.filter(pk=globex.pk).update(name="New")
    make_budget(globex, "tokens", "day", 5)
    assert current(caller)


def test_missing_version_rows_count_as_zero_and_the_next_change_is_seen(
    world: dict[str, Any],
) -> None:
    ConfigurationVersion.objects.all().delete()
    directory.forget(world["acme"].pk, shared=True)
    caller = found(world["issued"].secret)
    assert (caller.tenant.version, caller.tenant.shared_version) == (0, 0)
    assert current(caller)
    Model.objects.filter(public_id="demo-echo").update(max_output=5000)
    assert not current(caller)


def test_new_snapshot_of_a_tenant_replaces_the_one_of_its_other_keys(
    world: dict[str, Any],
) -> None:
    one, two = world["issued"].secret, make_key(world["acme"]).secret
    found(one)
    Tenant.objects.update(name="New")
    assert found(two).tenant.name == "New"
    assert directory.cached("digest", keys.digest(one)) is None
    assert found(one).tenant is found(two).tenant


def test_forget_makes_the_next_lookup_read_again(world: dict[str, Any]) -> None:
    secret = world["issued"].secret
    caller = found(secret)
    Tenant.objects.update(name="New")
    directory.forget(caller.tenant.id)
    assert found(secret).tenant.name == "New"


def test_many_lookups_at_once_share_one_load(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    make_snapshot = configuration._tenant

    def counted(row: Any, *rest: Any) -> Any:
        loads.append(row["id"])
        return make_snapshot(row, *rest)

    monkeypatch.setattr(configuration, "_tenant", counted)
    others = [make_key(world["acme"]) for _ in range(5)]

    async def all_at_once() -> list[Caller | None]:
        digests = [keys.digest(issued.secret) for issued in others * 10]
        return await asyncio.gather(*map(directory.by_digest, digests))

    callers = run(all_at_once())
    assert None not in callers
    assert len(loads) == 1


def test_many_who_find_a_snapshot_out_of_date_share_one_load(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    make_snapshot = configuration._tenant

    def counted(row: Any, *rest: Any) -> Any:
        loads.append(row["id"])
        return make_snapshot(row, *rest)

    secrets = [make_key(world["acme"]).secret for _ in range(5)]
    callers = [found(secret) for secret in secrets] * 10
    Tenant.objects.update(name="New")
    monkeypatch.setattr(configuration, "_tenant", counted)

    async def all_at_once() -> list[Caller]:
        return await asyncio.gather(*map(directory.ensure_current, callers))

    assert {caller.tenant.name for caller in run(all_at_once())} == {"New"}
    assert len(loads) == 1


def test_versions_of_many_callers_are_asked_for_together(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    globex_secret = make_key(make_tenant("globex")).secret
    callers = [found(world["issued"].secret), found(globex_secret)]
    asked: list[set[int]] = []

    async def counted(db: Any, tenant_ids: set[int]) -> Any:
        asked.append(set(tenant_ids))
        return await read_versions(db, tenant_ids)

    monkeypatch.setattr(configuration, "read_versions", counted)

    async def all_at_once() -> list[Caller]:
        return await asyncio.gather(*map(directory.ensure_current, callers * 50))

    assert run(all_at_once()) == callers * 50
    assert asked == [{caller.tenant.id for caller in callers}]


def test_leaving_caller_does_not_take_the_load_with_it(world: dict[str, Any]) -> None:
    digest = keys.digest(world["issued"].secret)

    async def leave_then_stay() -> Caller | None:
        leaver = asyncio.create_task(directory.by_digest(digest))
        stayer = asyncio.create_task(directory.by_digest(digest))
        await asyncio.sleep(0)
        leaver.cancel()
        return await stayer

    assert run(leave_then_stay()) is not None


def commit(statement: str) -> None:
    """A change by somebody else, in the middle of our work."""
    with psycopg.connect(**connection_params()) as other:
        other.execute(statement)


def test_key_revoked_between_the_two_reads_of_a_load_is_not_found(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = keys.digest(world["issued"].secret)
    read_caller = configuration.read_caller

    async def revoked_before(*arguments: Any) -> Any:
        commit("UPDATE tenants_app_apikey SET revoked_at = now()")
        return await read_caller(*arguments)

    monkeypatch.setattr(configuration, "read_caller", revoked_before)
    assert run(directory.by_digest(digest)) is None


def test_snapshot_is_of_one_moment_though_it_takes_several_reads(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = configuration._read

    async def changed_before(*arguments: Any) -> Any:
        commit("UPDATE tenants_app_tenant SET name = 'New'")
        commit("UPDATE tenants_app_model SET max_output = 5000")
        return await read(*arguments)

    before = found(world["issued"].secret)
    directory.forget(0, shared=True)
    monkeypatch.setattr(configuration, "_read", changed_before)
    assert found(world["issued"].secret) == before
    assert not current(before)


def test_lookup_after_forget_does_not_join_a_load_that_began_before(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = keys.digest(world["issued"].secret)
    read_identity = configuration.read_identity

    async def change_while_the_first_load_waits() -> tuple[Caller | None, Caller | None]:
        may_go_on, has_read = asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> Any:
            identity = await read_identity(*arguments)
            has_read.set()
            await may_go_on.wait()
            return identity

        monkeypatch.setattr(configuration, "read_identity", slow)
        first = asyncio.create_task(directory.by_digest(digest))
        await has_read.wait()
        monkeypatch.setattr(configuration, "read_identity", read_identity)
        commit("UPDATE tenants_app_apikey SET revoked_at = now()")
        directory.forget(world["acme"].pk)
        later = await directory.by_digest(digest)
        may_go_on.set()
        return await first, later

    _, later = run(change_while_the_first_load_waits())
    assert later is None


def test_callers_never_see_less_than_what_was_committed_before_they_asked(
    world: dict[str, Any],
) -> None:
    secrets = [world["issued"].secret, make_key(world["acme"]).secret]
    committed = 0
    done = threading.Event()

    def keep_changing() -> None:
        nonlocal committed
        with psycopg.connect(**connection_params(), autocommit=True) as other:
            for number in range(1, 150):
                other.execute("UPDATE tenants_app_tenant SET cost_center = %s", (str(number),))
                committed = number
        done.set()

    async def keep_asking(secret: str) -> int:
        asked = 0
        while not done.is_set():
            before = committed
            found = await directory.by_digest(keys.digest(secret))
            assert found is not None
            current = await directory.ensure_current(found)
            assert int(current.tenant.cost_center or 0) >= before
            asked += 1
        return asked

    async def all_asking() -> list[int]:
        return await asyncio.gather(*(keep_asking(secret) for secret in secrets * 3))

    changer = threading.Thread(target=keep_changing)
    changer.start()
    assert min(run(all_asking())) > 0
    changer.join()


def test_cache_of_callers_is_bounded(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "CALLERS_MAX", 3)
    directory.forget(0, shared=True)
    tenants = [make_tenant(f"tenant-{number}") for number in range(6)]
    for tenant in tenants:
        found(make_key(tenant).secret)
    assert len(directory._cache.callers) == 3
    assert len(directory._cache.lookups) == 3
