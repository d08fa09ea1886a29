"""Importing tenants: all or nothing, once is enough, and nobody's rows are taken."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from io import StringIO
from pathlib import Path
from time import monotonic
from typing import Any

import pghistory
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants_app import keys, tenant_files, tenant_plan, tenant_writes
from tenants_app.models import (
    ApiKey,
    Budget,
    Model,
    Route,
    Tenant,
    TenantFallback,
    TenantHost,
    Upstream,
)
from tests.factories import (
    make_key,
    make_model,
    make_route,
    make_tenant,
    make_upstream,
)
from tests.tenants_app.files import (
    SECRET,
    full_file,
    run,
    run_export,
    run_import,
    tenant_file,
    versions,
)
from usage_app.models import UsageWindow

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = (Tenant, TenantFallback, TenantHost, Upstream, Model, Route, ApiKey, Budget)


def rows() -> dict[str, list[Any]]:
    """Everything that is configured, but for the dates of saving."""
    found: dict[str, list[Any]] = {}
    for table in (*TABLES, Tenant.allowed_models.through):
        names = [f.attname for f in table._meta.concrete_fields if f.name != "updated_at"]
        manager = table._default_manager
        found[table._meta.label] = list(manager.order_by("pk").values_list(*names))
    return found


def test_file_makes_a_tenant_with_all_that_it_says(tmp_path: Path) -> None:
    told = run_import(tmp_path, full_file())
    assert (told.err, told.failed) == ("", "")
    acme = Tenant.objects.get(slug="acme")
    assert (acme.name, acme.timezone, acme.cost_center) == ("Acme & Söhne", "Europe/Vienna", "R&D")
    assert (acme.session_memory, acme.session_retention_days) == (False, 7)
    assert (acme.max_messages_per_session, acme.context_messages) == (50, 0)
    assert acme.context_tokens == 123
    assert (str(acme.default_model), acme.allow_list_enabled) == ("model-a", True)
    assert [str(step.model) for step in acme.fallbacks.all()] == ["model-c", "model-b"]
    assert sorted(map(str, acme.allowed_models.all())) == ["model-a", "model-b", "model-c"]
    assert [host.host for host in acme.hosts.all()] == ["acme.example", "ai.acme.example"]
    own = Upstream.objects.get()
    assert acme.default_upstream == own
    assert (own.tenant, own.name, own.kind) == (acme, "ai_gateway-1", "cloudflare")
    assert (own.account_id, own.gateway_id) == ("account-of-acme", "ai_gateway-1")
    assert (own.base_url, own.sealed_token, own.is_default) == ("", None, False)
    assert {(str(r.model), r.upstream, r.tenant) for r in Route.objects.all()} == {
        (model, own, acme) for model in ("model-a", "model-b", "model-c")
    }
    of_tenant = Budget.objects.filter(team=None, api_key=None)
    assert {(b.metric, b.period): (str(b), b.burst) for b in of_tenant} == {
        ("tokens", "day"): ("500 tokens per day", None),
        ("tokens", "month"): ("10000 tokens per month", None),
        ("requests", "minute"): ("600 requests per minute", 100),
        ("cost", "month"): ("12.0000000001 cost per month", None),
        ("requests", "concurrent"): ("4 requests per concurrent", None),
        ("tokens", "minute"): ("6000 tokens per minute", 9000),
    }
    plain = ApiKey.objects.get(digest=keys.digest(f"{SECRET}-of-acme"))
    assert (plain.name, plain.prefix, plain.scopes) == (
        "imported",
        SECRET[:7],
        ["chat", "usage:read"],
    )
    reports = ApiKey.objects.get(name="reports")
    assert (reports.scopes, str(reports.expires_at)) == (
        ["usage:read"],
        "2031-01-31 00:00:00+00:00",
    )
    assert str(reports.budgets.get()) == "10 tokens per day"


def test_model_that_nobody_has_is_made_without_a_price(tmp_path: Path, settings: Any) -> None:
    settings.DEFAULT_MODEL_OUTPUT_TOKENS = 77
    make_model("demo-slow", max_output=1234)
    told = run_import(
        tmp_path, tenant_file(aiModels={"chat": "demo-echo", "fallback": "demo-slow"})
    )
    assert "model demo-echo (new): it has no price yet" in told.out
    assert "demo-slow (new)" not in told.out
    made = Model.objects.get(public_id="demo-echo")
    assert (made.default_output, made.max_output) == (77, 8192)
    assert Model.objects.get(public_id="demo-slow").max_output == 1234


def test_twice_imported_is_once_imported(tmp_path: Path) -> None:
    run_import(tmp_path, [full_file("acme"), full_file("globex")])
    before = rows(), versions(), pghistory.models.Events.objects.count()
    told = run_import(tmp_path, [full_file("acme"), full_file("globex")])
    assert told.out == "0 new, 0 changed, 2 unchanged\n"
    assert (rows(), versions(), pghistory.models.Events.objects.count()) == before


def test_what_the_file_leaves_out_stays(tmp_path: Path) -> None:
    run_import(tmp_path, full_file())
    before = rows()
    told = run_import(tmp_path, tenant_file(aiModels={"chat": "model-a"}))
    assert told.out == "0 new, 0 changed, 1 unchanged\n"
    assert rows() == before


def test_versions_move_once_for_those_that_change_alone(tmp_path: Path) -> None:
    run_import(tmp_path, [full_file("acme"), full_file("globex")])
    before = versions()
    changed = full_file("acme") | {"tokenBudget": {"daily": 7, "monthly": None}, "name": "Other"}
    run_import(tmp_path, [changed, full_file("globex")])
    after = versions()
    assert after == before | {"acme": before["acme"] + 1}


def test_diff_tells_each_field_old_and_new(tmp_path: Path) -> None:
    run_import(tmp_path, full_file())
    changed = full_file() | {
        "name": "",
        "tokenBudget": {"daily": 501, "monthly": None},
        "rateLimit": {"perMinute": 601},
        "budgets": [{"metric": "cost", "period": "day", "limit": "0.5"}],
        "allowedHosts": ["acme.example", "new.example"],
        "aiModels": {"chat": "model-a", "fallback": "model-b"},
        "accountId": "another",
        "aiGatewayId": "gateway-2",
        "apiKeys": [{"secret": f"{SECRET}-of-acme", "name": "laptop", "expiresAt": None}],
    }
    changed["name"] = "Acme"
    told = run_import(tmp_path, changed, "--dry-run")
    assert told.out.splitlines() == [
        "acme",
        "  ~ name: Acme & Söhne → Acme",
        "  ~ accountId: account-of-acme → another",
        "  ~ aiGatewayId: ai_gateway-1 → gateway-2",
        "  ~ aiModels.fallback: model-c, model-b → model-b",
        "  ~ tokenBudget.daily: 500 tokens per day → 501 tokens per day",
        "  - tokenBudget.monthly: 10000 tokens per month",
        "  ~ rateLimit: 600 requests per minute, burst 100 → 601 requests per minute, burst 100",
        "  + budgets: 0.5 cost per day",
        "  - budgets: 12.0000000001 cost per month",
        "  - budgets: 4 requests at the same time",
        "  - budgets: 6000 tokens per minute, burst 9000",
        "  + routes: model-a at gateway-2",
        "  + routes: model-b at gateway-2",
        "  + routes: model-c at gateway-2",
        "  - routes: model-a at ai_gateway-1",
        "  - routes: model-b at ai_gateway-1",
        "  - routes: model-c at ai_gateway-1",
        "  + allowedHosts: new.example",
        "  - allowedHosts: ai.acme.example",
        "  ~ apiKeys: imported (sk-impo…), chat usage:read → laptop (sk-impo…), chat usage:read",
        "0 new, 1 changed, 0 unchanged; a dry run, so nothing was written",
    ]


def test_dry_run_writes_nothing_and_the_run_what_it_told(tmp_path: Path) -> None:
    make_tenant("acme", name="Before")
    before = rows(), versions(), pghistory.models.Events.objects.count()
    files = [full_file("acme"), full_file("globex")]
    dry = run_import(tmp_path, files, "--dry-run")
    assert (rows(), versions(), pghistory.models.Events.objects.count()) == before
    wet = run_import(tmp_path, files)
    assert dry.out.replace("; a dry run, so nothing was written", "") == wet.out
    assert run_import(tmp_path, files).out == "0 new, 0 changed, 2 unchanged\n"


def test_null_takes_a_budget_and_a_gateway_away(tmp_path: Path) -> None:
    run_import(tmp_path, full_file())
    run_import(
        tmp_path,
        full_file()
        | {"tokenBudget": None, "rateLimit": None, "budgets": []}
        | {"accountId": None, "aiGatewayId": None},
    )
    assert not Budget.objects.filter(team=None, api_key=None).exists()
    assert Budget.objects.count() == 2  # the team's and the key's own
    assert Tenant.objects.get().default_upstream is None
    assert not Route.objects.exists()
    assert Upstream.objects.count() == 1


def test_nothing_is_deleted_that_a_file_does_not_name(tmp_path: Path) -> None:
    acme = make_tenant("acme")
    make_key(acme, "kept")
    other = make_route(make_model("other"), make_upstream("mine", tenant=acme), tenant=acme)
    run_import(tmp_path, full_file() | {"apiKeys": []})
    assert ApiKey.objects.get().name == "kept"
    assert Route.objects.filter(pk=other.pk).exists()
    assert Upstream.objects.filter(name="mine").exists()


def test_upstream_of_another_kind_with_the_gateways_id_stays_as_it_is(tmp_path: Path) -> None:
    acme = make_tenant("acme")
    own = make_upstream("x", tenant=acme, account_id="old", gateway_id="ai_gateway-1")
    told = run_import(tmp_path, full_file())
    assert told.err == (
        "warning: aiGatewayId: is an upstream of the kind demo here, and stays so\n"
    )
    own.refresh_from_db()
    assert (own.kind, own.account_id) == ("demo", "account-of-acme")
    acme.refresh_from_db()
    assert acme.default_upstream == own


def test_host_moves_when_the_same_file_gives_it_up(tmp_path: Path) -> None:
    run_import(tmp_path, [tenant_file("acme", allowedHosts=["a.example"]), tenant_file("globex")])
    told = run_import(
        tmp_path,
        [tenant_file("globex", allowedHosts=["a.example"]), tenant_file("acme", allowedHosts=[])],
    )
    assert not told.failed
    assert TenantHost.objects.get().tenant.slug == "globex"


# --- what is in the way -------------------------------------------------------------------------


def refused(tmp_path: Path, content: Any) -> list[str]:
    """The problems of a file of which nothing may be written."""
    before = rows(), versions()
    told = run_import(tmp_path, content)
    assert "nothing was imported" in told.failed
    assert told.out == ""
    assert (rows(), versions()) == before
    return told.problems


def test_one_problem_keeps_out_the_whole_file(tmp_path: Path) -> None:
    files = [full_file("acme"), tenant_file("globex", tokenBudget={"daily": 0})]
    assert refused(tmp_path, files) == [
        "[1].tokenBudget.daily: must be a whole number of at least 1"
    ]


def test_account_is_not_changed_under_a_token(tmp_path: Path) -> None:
    gateway = {"form": "rest", "account_id": "old", "gateway_id": "ai_gateway-1"}
    own = make_upstream("x", kind="cloudflare", tenant=make_tenant("acme"), **gateway, token="sk-1")
    assert refused(tmp_path, full_file()) == [
        (
            "accountId: cannot change: the token of the upstream x was given for Cloudflare AI"
            " Gateway, account old, gateway ai_gateway-1; enter it again there, with the new"
            " account"
        )
    ]
    assert not run_import(tmp_path, full_file() | {"accountId": "old"}).failed
    own.seal_token("")
    own.save()
    assert not run_import(tmp_path, full_file()).failed
    own.refresh_from_db()
    assert own.account_id == "account-of-acme"


def test_what_is_another_tenants_is_told_by_path(tmp_path: Path) -> None:
    globex = make_tenant("globex")
    TenantHost.objects.create(tenant=globex, host="ai.globex.example")
    make_key(globex, secret=f"{SECRET}-of-globex")
    make_upstream("ai_gateway-1", tenant=make_tenant("acme"))
    changed = full_file() | {
        "allowedHosts": ["acme.example", "AI.globex.example"],
        "apiKeys": [f"{SECRET}-of-acme", f"{SECRET}-of-globex"],
    }
    twin = f"hmac-sha256:{keys.digest(f'{SECRET}-of-acme').hex()}"
    problems = refused(tmp_path, [changed, tenant_file("third", apiKeys=[{"digest": twin}])])
    assert problems == [
        "[0].allowedHosts[1]: belongs to the tenant globex already",
        "[1].apiKeys[0]: is the same key as [0].apiKeys[0]",
        "[0].apiKeys[1]: is a key of the tenant globex already",
        "[0].aiGatewayId: is the name of another upstream of this tenant: rename that",
    ]
    assert SECRET not in " ".join(problems)


def test_key_twice_in_a_tenant_as_secret_and_digest(tmp_path: Path) -> None:
    twin = f"hmac-sha256:{keys.digest(SECRET).hex()}"
    assert refused(tmp_path, tenant_file(apiKeys=[SECRET, {"digest": twin}])) == [
        "apiKeys[1]: is the same key as apiKeys[0]"
    ]


def test_revoked_key_does_not_come_back(tmp_path: Path) -> None:
    issued = make_key(make_tenant("acme"), secret=SECRET)
    keys.revoke(issued.key)
    told = run_import(tmp_path, tenant_file(apiKeys=[SECRET]))
    assert told.err == "warning: apiKeys[0]: was revoked here, and stays so\n"
    issued.key.refresh_from_db()
    assert issued.key.revoked_at is not None
    assert run_export("acme")[0]["apiKeys"] == []


def test_allow_list_that_lacks_the_tenants_own_model(tmp_path: Path) -> None:
    why = "lacks aiModels.chat: add it here, or set featureFlags.modelAllowList to false"
    flags = {"modelAllowList": True}
    both = tenant_file(featureFlags=flags, allowedModels=["demo-slow"])
    assert refused(tmp_path, [both]) == [f"[0].allowedModels: {why}"]
    # Half of it may be the tenant's own.
    assert refused(tmp_path, tenant_file(featureFlags=flags)) == [f"allowedModels: {why}"]
    run_import(tmp_path, both | {"aiModels": {"chat": "demo-slow"}})
    assert refused(tmp_path, tenant_file()) == [f"allowedModels: {why}"]
    told = run_import(
        tmp_path, tenant_file(aiModels={"chat": "demo-slow", "fallback": ["demo-echo"]})
    )
    assert told.err == (
        "warning: aiModels.fallback: demo-echo is not on the allow-list, so it is passed over\n"
    )


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_time_zone_is_frozen_by_the_first_request(tmp_path: Path, dry: tuple[str, ...]) -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    now = timezone.now()
    tomorrow = now + timedelta(days=1)
    UsageWindow.objects.create(tenant=acme, period="day", starts_at=now, ends_at=tomorrow)
    moved = [tenant_file(slug, timezone="Asia/Tokyo") for slug in ("acme", "globex")]
    told = run_import(tmp_path, moved, *dry)
    [problem] = told.problems
    assert problem.startswith("[0].timezone: cannot change from UTC: the tenant's days are counted")
    globex.refresh_from_db()
    assert globex.timezone == "UTC"
    assert not run_import(tmp_path, [tenant_file("acme", timezone="UTC"), moved[1]]).failed


def test_refusal_of_the_database_is_a_sentence(tmp_path: Path, settings: Any) -> None:
    settings.DEFAULT_MODEL_OUTPUT_TOKENS = settings.DEFAULT_MODEL_MAX_OUTPUT_TOKENS + 1
    told = run_import(tmp_path, tenant_file())
    assert "The default output must be at least 1 and at most the maximum." in told.failed
    assert not Tenant.objects.exists()


# --- secrets, history, files --------------------------------------------------------------------


def test_no_secret_leaves_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = run_import(tmp_path, full_file())
    exported = run("export_tenants")
    repeated = run_import(
        tmp_path, [full_file(), full_file("globex") | {"apiKeys": ["tg_" + SECRET]}]
    )
    tail = SECRET[7:]
    with connection.cursor() as cursor:
        cursor.execute("SELECT metadata::text FROM pghistory_context")
        kept = str(cursor.fetchall())
    queries = caplog.text
    assert repeated.failed
    parsed = tenant_files.parse(json.dumps(full_file()).encode())
    assert parsed.tenants
    spoken = (told, exported, repeated, kept, queries, parsed, list(rows().values()))
    for said in spoken:
        assert tail not in repr(said)
    assert "hmac-sha256:" in exported.out


def test_changes_say_which_file_they_came_from(tmp_path: Path) -> None:
    run_import(tmp_path, full_file())
    events: Any = pghistory.core.event_models(tracks_model=Tenant)[0]
    assert events.objects.first().pgh_context.metadata == {
        "command": "import_tenants",
        "reason": f"import_tenants {tmp_path / 'tenants.json'}",
    }


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in run("import_tenants", str(tmp_path / "none.json")).failed
    assert run_import(tmp_path, b" " * (20 * 1024 * 1024 + 1)).failed.endswith("split it.")


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text('{"tenantId": "acme", "aiModels": {"chat": "demo-echo"}}')
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert run("import_tenants", "-").out.endswith("1 new, 0 changed, 0 unchanged\n")


# --- many, and at once --------------------------------------------------------------------------


def test_two_imports_at_once_leave_what_one_leaves(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    files = [full_file(f"tenant-{number}") for number in range(20)]
    run_import(tmp_path, files[:5])
    (tmp_path / "tenants.json").rename(path)
    path.write_text(json.dumps(files))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            call_command("import_tenants", str(path), stdout=StringIO())
        except BaseException as error:  # noqa: BLE001 - the test tells
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert Tenant.objects.count() == 20
    assert run("import_tenants", str(path)).out == "0 new, 0 changed, 20 unchanged\n"


def queries_of(files: list[dict[str, Any]]) -> int:
    parsed = tenant_files.parse(json.dumps(files).encode())
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        tenant_writes.apply(tenant_plan.plan(parsed.tenants))
    return len(captured)


def test_number_of_queries_does_not_grow_with_the_tenants() -> None:
    # Of tables that others refer to, as budgets, Django deletes a hundred rows at a time.
    few, many = ([full_file(f"{name}-{n}") for n in range(c)] for name, c in (("a", 2), ("b", 20)))
    queries_of([full_file("first")])  # which makes the models
    assert queries_of(few) == queries_of(many)

    def changed(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            file
            | {"timezone": "Asia/Tokyo", "tokenBudget": {"daily": n + 1, "monthly": None}}
            | {"allowedHosts": [f"{file['tenantId']}.other"], "aiGatewayId": "g2", "budgets": []}
            for n, file in enumerate(files)
        ]

    assert queries_of(changed(few)) == queries_of(changed(many))


def test_a_thousand_tenants_are_imported_in_reasonable_time(tmp_path: Path) -> None:
    keyed = [tenant_file(f"t-{n}", apiKeys=[f"{SECRET}-{n}"]) for n in range(1000)]
    began = monotonic()
    assert run_import(tmp_path, keyed).out.endswith("1000 new, 0 changed, 0 unchanged\n")
    assert run_import(tmp_path, keyed).out == "0 new, 0 changed, 1000 unchanged\n"
    assert monotonic() - began < 60


def test_secret_that_was_rotated_out_is_no_key_of_its_own(tmp_path: Path) -> None:
    key = make_key(make_tenant("globex"), secret=f"{SECRET}-of-acme").key
    keys.rotate(key, until=timezone.now() + timedelta(hours=1))
    assert refused(tmp_path, tenant_file(apiKeys=[f"{SECRET}-of-acme"])) == [
        "apiKeys[0]: is the secret that a rotated key had before: leave it out, or use its new one"
    ]
