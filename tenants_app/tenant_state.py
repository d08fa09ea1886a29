"""What a tenant is, as far as files tell it; what a file makes of it; and the difference. PURE.

`tenant_rows` reads it from the tables, `tenant_writes` writes it there, `tenant_export` makes a
file of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from tenants_app.budget_files import NAMED, Allowance, Scope, shown_limit
from tenants_app.key_files import KeyFile
from tenants_app.key_format import DEFAULT_SCOPES, SHOWN_CHARACTERS
from tenants_app.team_files import TeamFile
from tenants_app.tenant_files import COLUMNS, Gateway, TenantFile

NEW_KEY: Final = "imported"
# A diff's lines come in this order.
FIELDS: Final = (
    *COLUMNS,
    *("accountId", "aiGatewayId", "upstream", "aiModels.chat", "aiModels.fallback"),
    *(*NAMED.values(), "budgets", "featureFlags.modelAllowList", "allowedModels", "routes"),
    *("allowedHosts", "teams", "apiKeys"),
)
SHOWN_COLUMNS: Final = {name: column for name, (column, _) in COLUMNS.items()} | {
    "featureFlags.modelAllowList": "allow_list_enabled"
}


@dataclass(frozen=True, slots=True)
class TeamState:
    """A team as files tell it."""

    name: str
    budgets: Mapping[Scope, Allowance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key as files tell it."""

    name: str
    prefix: str
    scopes: tuple[str, ...]
    team: str | None = None
    expires_at: datetime | None = None
    budgets: Mapping[Scope, Allowance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant as files tell it."""

    slug: str
    columns: Mapping[str, Any]
    chat: str | None = None
    fallbacks: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    budgets: Mapping[Scope, Allowance] = field(default_factory=dict)
    # By slug.
    teams: Mapping[str, TeamState] = field(default_factory=dict)
    # By digest, without revoked ones.
    keys: Mapping[bytes, KeyState] = field(default_factory=dict, repr=False)
    # The default upstream, if it is a gateway of the tenant's own; any other has a name alone.
    gateway: Gateway | None = None
    other_upstream: str | None = None
    # The tenant's own routes to gateways of its own: model and gateway id.
    routes: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a diff: `+` with what is new, `-` with what goes, `~` with both."""

    sign: Literal["+", "~", "-"]
    field: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        arrow = " → " if self.sign == "~" else ""
        return f"{self.sign} {self.field}: {self.old}{arrow}{self.new}"


def after(have: TenantState, file: TenantFile, keys: Mapping[bytes, KeyFile]) -> TenantState:
    """The tenant when the file is imported; `keys` are the file's, by digest."""
    named = {file.chat, *(file.fallbacks or ()), *(file.allowed or ())}
    gateway, other, routes = have.gateway, have.other_upstream, have.routes
    if file.names_gateway:
        gateway, other = file.gateway, None
        target = gateway.gateway_id if gateway else None
        routes = frozenset(
            (model, to) for model, to in routes if model not in named or to == target
        )
        if target is not None:
            routes |= {(model, target) for model in named}
    return replace(
        have,
        columns={**have.columns, **file.columns, **_allow_list(file)},
        chat=file.chat,
        fallbacks=have.fallbacks if file.fallbacks is None else file.fallbacks,
        allowed=have.allowed if file.allowed is None else frozenset(file.allowed),
        hosts=have.hosts if file.hosts is None else frozenset(file.hosts),
        budgets=_budgets(have, file),
        teams={**have.teams, **{team.slug: _team(have, team) for team in file.teams}},
        keys={**have.keys, **{digest: _key(have, digest, key) for digest, key in keys.items()}},
        gateway=gateway,
        other_upstream=other,
        routes=routes,
    )


def changes(have: TenantState, want: TenantState) -> list[Change]:
    """From one to the other, field by field; no key is told by more than its name and prefix."""
    old, new = dict(_facts(have)), dict(_facts(want))
    found: list[Change] = []
    for fact in dict.fromkeys([*new, *old]):
        label = fact[0]
        if fact not in old:
            found.append(Change("+", label, new=new[fact]))
        elif fact not in new:
            found.append(Change("-", label, old=old[fact]))
        elif old[fact] != new[fact]:
            found.append(Change("~", label, old[fact], new[fact]))
    return sorted(found, key=lambda change: FIELDS.index(change.field))


def _budgets(have: TenantState, file: TenantFile) -> dict[Scope, Allowance]:
    budgets = dict(have.budgets)
    if file.other_budgets is not None:
        budgets = {scope: one for scope, one in budgets.items() if scope in NAMED}
        budgets |= file.other_budgets
    for scope, one in file.budgets.items():
        before = budgets.pop(scope, None)
        if one is not None:
            burst = before.burst if before and one.keeps_burst else one.burst
            budgets[scope] = Allowance(one.limit, burst)
    return budgets


def _allow_list(file: TenantFile) -> dict[str, bool]:
    return {} if file.allow_list is None else {"allow_list_enabled": file.allow_list}


def _team(have: TenantState, file: TeamFile) -> TeamState:
    before = have.teams.get(file.slug) or TeamState(file.slug)
    budgets = before.budgets if file.budgets is None else file.budgets
    return TeamState(file.name or before.name, budgets)


def _key(have: TenantState, digest: bytes, file: KeyFile) -> KeyState:
    prefix = (file.secret or "")[:SHOWN_CHARACTERS]
    before = have.keys.get(digest) or KeyState(NEW_KEY, prefix, DEFAULT_SCOPES)
    budgets = before.budgets if file.budgets is None else file.budgets
    return replace(before, **file.columns, budgets=budgets)


def _facts(state: TenantState) -> Iterator[tuple[tuple[str, object], str]]:
    """All that a diff may tell, each with what it is told as: field and, of a list, which item."""
    for name, value in _single(state).items():
        if value is not None:
            yield (name, None), _shown(value)
    for scope, one in sorted(state.budgets.items()):
        yield (NAMED.get(scope, "budgets"), scope), shown_budget(scope, one)
    for name, items in (("allowedModels", state.allowed), ("allowedHosts", state.hosts)):
        yield from (((name, item), item) for item in sorted(items))
    for model, gateway in sorted(state.routes):
        yield ("routes", (model, gateway)), f"{model} at {gateway}"
    for slug, team in sorted(state.teams.items()):
        yield ("teams", slug), ", ".join([f"{slug} ({team.name})", *_shown_budgets(team.budgets)])
    for digest, key in state.keys.items():
        yield ("apiKeys", digest), _shown_key(key)


def _single(state: TenantState) -> dict[str, object]:
    columns = {name: state.columns.get(column) for name, column in SHOWN_COLUMNS.items()}
    return columns | {
        "accountId": state.gateway and state.gateway.account_id,
        "aiGatewayId": state.gateway and state.gateway.gateway_id,
        "upstream": state.other_upstream,
        "aiModels.chat": state.chat,
        "aiModels.fallback": ", ".join(state.fallbacks) or None,
    }


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) or '""'


def shown_budget(scope: Scope, one: Allowance) -> str:
    metric, period = scope
    how = "at the same time" if period == "concurrent" else f"per {period}"
    burst = "" if one.burst is None else f", burst {one.burst}"
    return f"{shown_limit(metric, one.limit)} {metric} {how}{burst}"


def _shown_key(key: KeyState) -> str:
    parts = [f"{key.name} ({key.prefix}…)", " ".join(key.scopes) or "no scopes"]
    if key.team is not None:
        parts.append(f"team {key.team}")
    if key.expires_at is not None:
        parts.append(f"expires {key.expires_at.isoformat()}")
    return ", ".join([*parts, *_shown_budgets(key.budgets)])


def _shown_budgets(budgets: Mapping[Scope, Allowance]) -> list[str]:
    return [shown_budget(scope, one) for scope, one in sorted(budgets.items())]
