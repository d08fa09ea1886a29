"""What tests of tenant files share: files as Python values, and commands with what they print."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

from tenants_app.models import ConfigurationVersion, Tenant

SECRET = "sk-imported-from-elsewhere-0123456789"


def tenant_file(slug: str = "acme", **more: Any) -> dict[str, Any]:
    """The least that a file must say, and more."""
    return {"tenantId": slug, "aiModels": {"chat": "demo-echo"}, **more}


def full_file(slug: str = "acme") -> dict[str, Any]:
    """Everything that a file can say."""
    return {
        "tenantId": slug,
        "name": "Acme & Söhne",
        "status": "active",
        "timezone": "Europe/Vienna",
        "costCenter": "R&D",
        "accountId": f"account-of-{slug}",
        "aiGatewayId": "ai_gateway-1",
        "aiModels": {"chat": "model-a", "fallback": ["model-c", "model-b"]},
        "tokenBudget": {"daily": 500, "monthly": 10_000},
        "rateLimit": {"perMinute": 600, "burst": 100},
        "budgets": [
            {"metric": "cost", "period": "month", "limit": "12.0000000001"},
            {"metric": "requests", "period": "concurrent", "limit": 4},
            {"metric": "tokens", "period": "minute", "limit": 6000, "burst": 9000},
        ],
        "sessionRetentionDays": 7,
        "maxMessagesPerSession": 50,
        "sessionMemory": False,
        "contextMessages": 0,
        "contextTokens": 123,
        "featureFlags": {"modelAllowList": True},
        "allowedModels": ["model-a", "model-b", "model-c"],
        "allowedHosts": [f"ai.{slug}.example", f"{slug}.example"],
        "teams": [
            {
                "slug": "research",
                "name": "Research & Co",
                "budgets": [{"metric": "cost", "period": "day", "limit": "0.5"}],
            },
            {"slug": "support", "name": "support", "budgets": []},
        ],
        "apiKeys": [
            f"{SECRET}-of-{slug}",
            {
                "name": "reports",
                "team": "research",
                "secret": f"{SECRET}-reports-of-{slug}",
                "scopes": ["usage:read"],
                "expiresAt": "2031-01-31T01:00:00+01:00",
                "budgets": [{"metric": "tokens", "period": "day", "limit": 10}],
            },
        ],
    }


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said, and whether it failed."""

    out: str
    err: str
    failed: str = ""

    @property
    def problems(self) -> list[str]:
        return [line for line in self.err.splitlines() if not line.startswith("warning: ")]


def run_import(folder: Path, content: Any, *options: str) -> Told:
    """Import this value, or these bytes, from a file of the folder."""
    path = folder / "tenants.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return run("import_tenants", str(path), *options)


def run_export(*arguments: str) -> list[dict[str, Any]]:
    """What an export writes to standard output."""
    told = run("export_tenants", *arguments)
    assert not told.failed
    tenants: list[dict[str, Any]] = json.loads(told.out)
    return tenants


def run(command: str, *arguments: str) -> Told:
    out, err = StringIO(), StringIO()
    failed = ""
    try:
        call_command(command, *arguments, stdout=out, stderr=err)
    except CommandError as error:
        failed = str(error)
    return Told(out.getvalue(), err.getvalue(), failed)


def versions() -> dict[str | None, int]:
    """Of each tenant by name, and of what they share."""
    slugs = dict(Tenant.objects.values_list("pk", "slug"))
    rows = ConfigurationVersion.objects.values_list("tenant", "version")
    return {slugs.get(pk or 0): version for pk, version in rows}
