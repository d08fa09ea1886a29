"""Exporting tenants: what a file makes, an export says; and it makes the same again."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app import keys, tenant_export, tenant_files, tenant_plan, tenant_writes
from tenants_app.models import ApiKey, Model, Tenant
from tests.factories import make_key, make_model, make_tenant, make_upstream
from tests.tenants_app.files import full_file, run, run_export, run_import, tenant_file

DATABASE = pytest.mark.django_db


@DATABASE
def test_export_says_everything(tmp_path: Path) -> None:
    run_import(tmp_path, full_file())
    [exported] = run_export("acme")
    plain, reports = (exported.pop("apiKeys"), full_file())[0]
    said = full_file()
    said.pop("apiKeys")
    assert exported == said | {"allowedHosts": ["acme.example", "ai.acme.example"]}
    digest = keys.digest("sk-imported-from-elsewhere-0123456789-of-acme")
    assert plain == {
        "name": "imported",
        "team": None,
        "digest": f"hmac-sha256:{digest.hex()}",
        "prefix": "sk-impo",
        "scopes": ["chat", "usage:read"],
        "expiresAt": None,
        "budgets": [],
    }
    assert reports["expiresAt"] == "2031-01-31T00:00:00+00:00"
    assert reports["team"] == "research"
    assert reports["budgets"] == [{"metric": "tokens", "period": "day", "limit": 10}]


@DATABASE
def test_what_is_not_there_is_said_too() -> None:
    make_tenant("acme", default_model=make_model("demo-echo"))
    assert run_export() == [
        {
            "tenantId": "acme",
            "name": "Acme",
            "status": "active",
            "timezone": "UTC",
            "costCenter": "",
            "sessionRetentionDays": 30,
            "maxMessagesPerSession": 200,
            "sessionMemory": True,
            "contextMessages": 20,
            "contextTokens": 8000,
            "accountId": None,
            "aiGatewayId": None,
            "aiModels": {"chat": "demo-echo", "fallback": []},
            "tokenBudget": {"daily": None, "monthly": None},
            "rateLimit": {"perMinute": None, "burst": None},
            "budgets": [],
            "featureFlags": {"modelAllowList": False},
            "allowedModels": [],
            "allowedHosts": [],
            "teams": [],
            "apiKeys": [],
        }
    ]


@DATABASE
def test_what_no_file_can_tell_is_warned_of() -> None:
    make_tenant("bare")
    shared = make_upstream("shared")
    model = make_model()
    make_tenant("elsewhere", default_model=model, default_upstream=shared)
    owner = make_tenant("owner", default_model=model)
    owner.default_upstream = make_upstream(
        "own", tenant=owner, account_id="a", gateway_id="g", token="a-provider-token"
    )
    owner.save()
    told = run("export_tenants")
    assert told.err.splitlines() == [
        "warning: bare: it has no default model: write aiModels.chat before it is imported",
        "warning: elsewhere: its upstream shared is no gateway of its own, so left out",
        "warning: owner: only the ids of its upstream own are written, nothing else of it",
    ]
    bare, elsewhere, own = json.loads(told.out)
    assert bare["aiModels"]["chat"] is None
    assert "accountId" not in elsewhere
    assert (own["accountId"], own["aiGatewayId"]) == ("a", "g")
    assert "provider" not in told.out


@DATABASE
def test_export_of_some_into_a_file(tmp_path: Path) -> None:
    model = make_model()
    for slug in ("acme", "globex", "initech"):
        make_tenant(slug, default_model=model)
    path = tmp_path / "out.json"
    assert run("export_tenants", "initech", "acme", "--output", str(path)).out == ""
    assert [tenant["tenantId"] for tenant in json.loads(path.read_text())] == ["acme", "initech"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [left.name for left in tmp_path.iterdir()] == ["out.json"]


@DATABASE
def test_export_follows_a_link_and_puts_no_file_in_the_place_of_a_pipe(tmp_path: Path) -> None:
    make_tenant("acme", default_model=make_model())
    link, pipe = tmp_path / "link.json", tmp_path / "pipe"
    link.symlink_to("out.json")
    run("export_tenants", "--output", str(link))
    assert link.is_symlink()
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        run("export_tenants", "--output", str(pipe))
        assert reader.read() == (tmp_path / "out.json").read_text()
    assert pipe.is_fifo()
    assert run("export_tenants", "--output", str(tmp_path)).failed.endswith("Is a directory.")


@DATABASE
def test_export_of_nobody_says_so(tmp_path: Path) -> None:
    make_tenant("acme")
    assert run("export_tenants", "acme", "nobody").failed == "There is no tenant 'nobody'."
    told = run("export_tenants", "acme", "--output", str(tmp_path / "none" / "out.json"))
    assert told.failed.endswith("cannot be written: No such file or directory.")


@DATABASE
def test_number_of_queries_does_not_grow_with_the_tenants(
    tmp_path: Path, django_assert_num_queries: Any
) -> None:
    files = [full_file(f"tenant-{number}") for number in range(20)]
    for count in (1, 20):
        run_import(tmp_path, files[:count])
        with django_assert_num_queries(11):
            assert len(tenant_export.export()[0]) == count


# --- there and back -----------------------------------------------------------------------------

NAMES = st.text(
    st.characters(categories=("L", "N", "P", "S"), include_characters=" "), min_size=1, max_size=20
)
MODELS = st.sampled_from(["model-a", "model-b", "@cf/meta/llama", "demo-echo", "ünïcode"])
LIMITS = st.integers(1, 10**12)
MAYBE = st.none() | LIMITS
SCOPES = [("requests", p) for p in ("concurrent", "day", "month")] + [("tokens", "minute")]


@st.composite
def budget_lists(draw: Any, *, of_key: bool) -> list[dict[str, Any]]:
    more = [("tokens", "day"), ("tokens", "month"), ("requests", "minute")] if of_key else []
    chosen = draw(st.lists(st.sampled_from([*SCOPES, *more]), unique=True, max_size=4))
    budgets = [{"metric": m, "period": p, "limit": draw(LIMITS)} for m, p in chosen]
    for budget in budgets:
        if budget["period"] == "minute" and draw(st.booleans()):
            budget["burst"] = draw(LIMITS)
    if draw(st.booleans()):
        cents = draw(st.integers(1, 10**14))
        money = {
            "metric": "cost",
            "period": "day",
            "limit": f"{cents // 10**10}.{cents % 10**10:010}",
        }
        budgets.append(money)
    return budgets


@st.composite
def key_lists(draw: Any, slug: str) -> list[Any]:
    made: list[Any] = []
    for number in range(draw(st.integers(0, 2))):
        secret = f"secret-{slug}-{number}-{draw(st.integers(10**9, 10**10))}"
        more = {
            "name": draw(NAMES),
            "scopes": draw(st.lists(st.sampled_from(["chat", "usage:read", "x"]), unique=True)),
            "expiresAt": draw(st.none() | st.just("2031-01-31T01:02:03.000004+05:30")),
            "budgets": draw(budget_lists(of_key=True)),
        }
        kept = draw(st.lists(st.sampled_from(sorted(more)), unique=True))
        made.append({"secret": secret} | {name: more[name] for name in kept} if kept else secret)
    return made


@st.composite
def files(draw: Any, slug: str) -> dict[str, Any]:
    chat = draw(MODELS)
    rate = draw(MAYBE)
    optional = {
        "name": draw(NAMES),
        "status": draw(st.sampled_from(["active", "suspended"])),
        "timezone": draw(st.sampled_from(["UTC", "Europe/Vienna", "Asia/Kathmandu"])),
        "costCenter": draw(st.just("") | NAMES),
        "tokenBudget": {"daily": draw(MAYBE), "monthly": draw(MAYBE)},
        "rateLimit": {"perMinute": rate, "burst": draw(MAYBE) if rate else None},
        "budgets": draw(budget_lists(of_key=False)),
        "sessionRetentionDays": draw(st.integers(1, 3650)),
        "maxMessagesPerSession": draw(st.integers(2, 10_000)),
        "sessionMemory": draw(st.booleans()),
        "contextMessages": draw(st.integers(0, 10_000)),
        "contextTokens": draw(st.integers(0, 1_000_000)),
        "allowedHosts": draw(
            st.lists(st.sampled_from([f"{slug}.example", f"{slug}.test", f"A.{slug}"]), unique=True)
        ),
        "apiKeys": draw(key_lists(slug)),
    }
    kept = draw(st.lists(st.sampled_from(sorted(optional)), unique=True))
    file = {"tenantId": slug} | {name: optional[name] for name in kept}
    file["aiModels"] = {"chat": chat, "fallback": draw(st.lists(MODELS, unique=True))}
    if draw(st.booleans()):
        others = draw(st.lists(MODELS, unique=True))
        file |= {"allowedModels": [chat, *(model for model in others if model != chat)]}
        file |= {"featureFlags": {"modelAllowList": draw(st.booleans())}}
    ids = draw(st.none() | st.sampled_from(["ai-gate", "ai_gateway", "G1"]))
    if draw(st.booleans()):
        file |= {"accountId": ids and "account", "aiGatewayId": ids}
    return file


def imported(value: Any) -> tenant_plan.Plan:
    parsed = tenant_files.parse(json.dumps(value).encode())
    assert parsed.problems == ()
    plan = tenant_plan.plan(parsed.tenants)
    assert plan.problems == ()
    tenant_writes.apply(plan)
    return plan


class RoundTrip(TestCase):
    """On hypothesis' own TestCase: each example is rolled back."""

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(acme=files("acme"), globex=files("globex"), before=files("acme"))
    def test_file_to_tables_to_file_to_tables(
        self, acme: dict[str, Any], globex: dict[str, Any], before: dict[str, Any]
    ) -> None:
        both = [acme, globex]
        imported(both)
        told, _ = tenant_export.export()
        # The file once more, and what was exported of it, change nothing.
        assert not any(one.changes for one in imported(both).tenants)
        assert not any(one.changes for one in imported(told).tenants)

        # From nothing, and from other tenants of the same names, the export makes the same.
        Tenant.objects.all().delete()
        Model.objects.all().delete()
        imported(told)
        assert tenant_export.export()[0] == told
        Tenant.objects.all().delete()
        imported(before)
        imported(told)
        [now, other] = tenant_export.export()[0]
        # Keys that the file does not name live on.
        own = {key["digest"] for key in told[0]["apiKeys"]}
        now["apiKeys"] = [key for key in now["apiKeys"] if key["digest"] in own]
        assert [now, other] == told


@DATABASE
def test_exported_key_serves_under_the_same_pepper(tmp_path: Path) -> None:
    issued = make_key(make_tenant("acme", default_model=make_model("demo-echo")), "laptop")
    exported = run_export()
    Tenant.objects.all().delete()
    assert not run_import(tmp_path, exported).failed
    key = ApiKey.objects.get()
    assert (bytes(key.digest), key.name, key.prefix) == (
        keys.digest(issued.secret),
        "laptop",
        issued.secret[:7],
    )
    assert run_import(tmp_path, tenant_file()).out == "0 new, 0 changed, 1 unchanged\n"
