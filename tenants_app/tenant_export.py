"""Makes tenant files: what `tenant_files` reads back to the same, without any secret.

Keys leave as digests, which serve only under the same pepper; provider tokens do not leave at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tenants_app import tenant_rows
from tenants_app.budget_files import DAILY, MONTHLY, NAMED, RATE, write_budgets
from tenants_app.key_files import DIGEST
from tenants_app.models import Upstream
from tenants_app.tenant_files import COLUMNS
from tenants_app.tenant_rows import Rows
from tenants_app.tenant_state import KeyState, TeamState, TenantState


def export(slugs: Iterable[str] | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """The tenants of these names that exist, or all, as a file has them and in the order of their
    names; and a sentence for everything that no file can tell.
    """
    found = tenant_rows.read(slugs)
    tenants, notes = [], []
    for slug in sorted(found):
        tenants.append(tenant_file(found[slug].state()))
        notes += [f"{slug}: {note}" for note in _left_out(found[slug])]
    return tenants, notes


def as_text(tenants: Iterable[dict[str, Any]]) -> str:
    """The file."""
    return json.dumps(list(tenants), indent=2, ensure_ascii=False) + "\n"


def tenant_file(state: TenantState) -> dict[str, Any]:
    """One tenant, with everything that is the default written out: absent would mean as it is."""
    amounts = {scope: int(one.limit) for scope, one in state.budgets.items() if scope in NAMED}
    rate = state.budgets.get(RATE)
    others = {scope: one for scope, one in state.budgets.items() if scope not in NAMED}
    return {
        "tenantId": state.slug,
        **{name: state.columns[column] for name, (column, _) in COLUMNS.items()},
        **_gateway(state),
        "aiModels": {"chat": state.chat, "fallback": list(state.fallbacks)},
        "tokenBudget": {"daily": amounts.get(DAILY), "monthly": amounts.get(MONTHLY)},
        "rateLimit": {"perMinute": amounts.get(RATE), "burst": rate.burst if rate else None},
        "budgets": write_budgets(others),
        "featureFlags": {"modelAllowList": state.columns["allow_list_enabled"]},
        "allowedModels": sorted(state.allowed),
        "allowedHosts": sorted(state.hosts),
        "teams": [_team(slug, team) for slug, team in sorted(state.teams.items())],
        "apiKeys": [_key(digest, key) for digest, key in state.keys.items()],
    }


def _gateway(state: TenantState) -> dict[str, Any]:
    """Null: the shared default serves. Nothing: an upstream that a file cannot name."""
    if state.other_upstream is not None:
        return {}
    gateway = state.gateway
    return {
        "accountId": gateway and gateway.account_id,
        "aiGatewayId": gateway and gateway.gateway_id,
    }


def _team(slug: str, team: TeamState) -> dict[str, Any]:
    return {"slug": slug, "name": team.name, "budgets": write_budgets(team.budgets)}


def _key(digest: bytes, key: KeyState) -> dict[str, Any]:
    return {
        "name": key.name,
        "team": key.team,
        "digest": f"{DIGEST}{digest.hex()}",
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "expiresAt": key.expires_at and key.expires_at.isoformat(),
        "budgets": write_budgets(key.budgets),
    }


def _left_out(rows: Rows) -> list[str]:
    notes = []
    if rows.tenant.default_model is None:
        notes.append("it has no default model: write aiModels.chat before it is imported")
    upstream, state = rows.tenant.default_upstream, rows.state()
    if state.other_upstream is not None:
        notes.append(f"its upstream {state.other_upstream} is no gateway of its own, so left out")
    elif upstream is not None and (
        upstream.kind != Upstream.Kind.CLOUDFLARE or upstream.sealed_token or upstream.base_url
    ):
        notes.append(
            f"only the ids of its upstream {upstream.name} are written, nothing else of it"
        )
    return notes
