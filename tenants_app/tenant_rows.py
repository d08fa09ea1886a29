"""Reads tenants out of their tables as states, many of them in the same number of queries.

With `lock`, their rows are locked in the order of their ids until the transaction ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from tenants_app.budget_files import Allowance, Scope
from tenants_app.models import (
    ApiKey,
    Budget,
    Model,
    Route,
    Team,
    Tenant,
    TenantFallback,
    TenantHost,
    Upstream,
)
from tenants_app.tenant_files import COLUMNS, Gateway
from tenants_app.tenant_state import KeyState, TeamState, TenantState

ALLOWED: Final[Any] = Tenant.allowed_models.through
ROW_COLUMNS: Final = (*(column for column, _ in COLUMNS.values()), "allow_list_enabled")


@dataclass(slots=True)
class Rows:
    """A tenant's rows: what a state is made of, and what an import changes."""

    tenant: Tenant
    fallbacks: list[TenantFallback] = field(default_factory=list)
    allowed: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, TenantHost] = field(default_factory=dict)
    budgets: dict[Scope, Budget] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    team_budgets: dict[str, dict[Scope, Budget]] = field(default_factory=dict)
    keys: dict[bytes, ApiKey] = field(default_factory=dict)
    key_budgets: dict[bytes, dict[Scope, Budget]] = field(default_factory=dict)
    upstreams: list[Upstream] = field(default_factory=list)
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)

    def gateway(self, gateway_id: str) -> Upstream | None:
        """Its own upstream of this gateway: the default one, if it has several."""
        own = [one for one in self.upstreams if one.gateway_id == gateway_id]
        own.sort(key=lambda one: one.pk != self.tenant.default_upstream_id)
        return own[0] if own else None

    def state(self) -> TenantState:
        """The tenant as files tell it."""
        tenant, upstream = self.tenant, self.tenant.default_upstream
        is_gateway = upstream is not None and _is_gateway(upstream, tenant)
        return TenantState(
            slug=tenant.slug,
            columns={column: getattr(tenant, column) for column in ROW_COLUMNS},
            chat=tenant.default_model.public_id if tenant.default_model else None,
            fallbacks=tuple(step.model.public_id for step in self.fallbacks),
            allowed=frozenset(self.allowed),
            hosts=frozenset(self.hosts),
            budgets=_allowances(self.budgets),
            teams={
                slug: TeamState(team.name, _allowances(self.team_budgets.get(slug, {})))
                for slug, team in self.teams.items()
            },
            keys={
                digest: self._key(digest, key)
                for digest, key in self.keys.items()
                if key.revoked_at is None and not key.is_playground
            },
            gateway=Gateway(upstream.account_id, upstream.gateway_id)
            if upstream and is_gateway
            else None,
            other_upstream=upstream.name if upstream and not is_gateway else None,
            routes=frozenset(self.routes),
        )

    def _key(self, digest: bytes, key: ApiKey) -> KeyState:
        return KeyState(
            name=key.name,
            team=key.team.slug if key.team else None,
            prefix=key.prefix,
            scopes=tuple(sorted(set(key.scopes))),
            expires_at=key.expires_at and key.expires_at.astimezone(UTC),
            budgets=_allowances(self.key_budgets.get(digest, {})),
        )


def read(slugs: Iterable[str] | None = None, *, lock: bool = False) -> dict[str, Rows]:
    """The tenants of these names, or all of them, by name; who is not there is left out."""
    chosen = Tenant.objects.order_by("pk")
    if lock:
        chosen = chosen.select_for_update(no_key=True, of=("self",))
    if slugs is not None:
        chosen = chosen.filter(slug__in=list(slugs))
    found = {tenant.pk: Rows(tenant) for tenant in chosen}
    # Read after the lock, of everything that belongs to them.
    _add_models_and_upstreams(found)
    _add_lists(found)
    _add_teams_and_keys(found)
    _add_budgets(found)
    return {rows.tenant.slug: rows for rows in found.values()}


def _add_models_and_upstreams(found: Mapping[int, Rows]) -> None:
    tenants = [rows.tenant for rows in found.values()]
    models = Model.objects.in_bulk({tenant.default_model_id for tenant in tenants})
    upstreams = Upstream.objects.in_bulk({tenant.default_upstream_id for tenant in tenants})
    for tenant in tenants:
        if tenant.default_model_id is not None:
            tenant.default_model = models[tenant.default_model_id]
        if tenant.default_upstream_id is not None:
            tenant.default_upstream = upstreams[tenant.default_upstream_id]
    for upstream in Upstream.objects.filter(tenant__in=found).order_by("pk"):
        found[upstream.tenant_id or 0].upstreams.append(upstream)
    own = Route.objects.filter(tenant__in=found).select_related("model", "upstream")
    for route in own.order_by("pk"):
        rows = found[route.tenant_id or 0]
        if _is_gateway(route.upstream, rows.tenant):
            rows.routes[route.model.public_id, route.upstream.gateway_id] = route


def _add_lists(found: Mapping[int, Rows]) -> None:
    steps = TenantFallback.objects.filter(tenant__in=found).select_related("model")
    for step in steps.order_by("position"):
        found[step.tenant_id].fallbacks.append(step)
    for host in TenantHost.objects.filter(tenant__in=found):
        found[host.tenant_id].hosts[host.host] = host
    for row in ALLOWED.objects.filter(tenant__in=found).select_related("model"):
        found[row.tenant_id].allowed[row.model.public_id] = row


def _add_teams_and_keys(found: Mapping[int, Rows]) -> None:
    for team in Team.objects.filter(tenant__in=found):
        found[team.tenant_id].teams[team.slug] = team
    # Files know clients' keys only, but a budget of the playground's must find its row.
    for key in ApiKey.objects.filter(tenant__in=found).select_related("team").order_by("pk"):
        found[key.tenant_id].keys[bytes(key.digest)] = key


def _add_budgets(found: Mapping[int, Rows]) -> None:
    for budget in Budget.objects.filter(tenant__in=found).select_related("team", "api_key"):
        rows, scope = found[budget.tenant_id], (budget.metric, budget.period)
        if budget.team is not None:
            rows.team_budgets.setdefault(budget.team.slug, {})[scope] = budget
        elif budget.api_key is not None:
            rows.key_budgets.setdefault(bytes(budget.api_key.digest), {})[scope] = budget
        else:
            rows.budgets[scope] = budget


def _is_gateway(upstream: Upstream, tenant: Tenant) -> bool:
    return bool(upstream.tenant_id == tenant.pk and upstream.account_id and upstream.gateway_id)


def _allowances(rows: Mapping[Scope, Budget]) -> dict[Scope, Allowance]:
    return {scope: Allowance(row.limit, row.burst) for scope, row in rows.items()}
