"""Tenants as files: JSON into frozen values, with everything that is wrong told by its path. PURE.

What a file leaves out is left as it is: what it makes of a tenant is for `tenant_state`, writing
that for `tenant_writes`. Bounds are those of the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from tenants_app.budget_files import NAMED, Allowance, Scope, read_budgets, read_rate, read_tokens
from tenants_app.key_files import KeyFile, read_keys
from tenants_app.strict_json import (
    NOTHING,
    Bad,
    Finding,
    Findings,
    Read,
    Reader,
    load,
    matching,
    one_of,
    text,
    truth,
    whole,
)
from tenants_app.team_files import TeamFile, read_teams

MODEL: Final = text(1, 200)
SLUG: Final = matching(
    r"[a-z0-9][a-z0-9_-]{0,62}", "must be 1 to 63 small letters, digits, - and _, like acme-1"
)
ACCOUNT_ID: Final = matching(r"[A-Za-z0-9_-]{1,100}", "must be 1 to 100 letters, digits, - and _")
GATEWAY_ID: Final = matching(r"[A-Za-z0-9_-]{1,64}", "must be 1 to 64 letters, digits, - and _")
HOST: Final = matching(
    r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
    "must be a host name alone, like ai.acme.example: no scheme, port or path",
)


@cache
def _timezones() -> frozenset[str]:
    # Asking walks through the whole database on the disk.
    return frozenset(available_timezones())


def _timezone(value: object) -> str:
    if not isinstance(value, str) or value not in _timezones():
        raise Bad("must be a time zone of the IANA database, like Europe/Vienna")
    return value


def _host(value: object) -> str:
    """Hosts are compared in lower case and without the root's dot; so they are kept."""
    return HOST(value.lower().removesuffix(".") if isinstance(value, str) else value)


# The file's name of a column of the tenant's row, the column, and how it is read.
COLUMNS: Final[Mapping[str, tuple[str, Read[Any]]]] = {
    "name": ("name", text(1, 200)),
    "status": ("status", one_of("active", "suspended")),
    "timezone": ("timezone", _timezone),
    "costCenter": ("cost_center", text(0, 100)),
    "sessionRetentionDays": ("session_retention_days", whole(1, 3650)),
    "maxMessagesPerSession": ("max_messages_per_session", whole(2, 10_000)),
    "sessionMemory": ("session_memory", truth),
    "contextMessages": ("context_messages", whole(0, 10_000)),
    "contextTokens": ("context_tokens", whole(0, 1_000_000)),
}
GATEWAY: Final = {"accountId": ACCOUNT_ID, "aiGatewayId": GATEWAY_ID}
NAMES: Final = (
    *("tenantId", *COLUMNS, *GATEWAY, "aiModels", "tokenBudget", "rateLimit", "budgets"),
    *("featureFlags", "allowedModels", "allowedHosts", "teams", "apiKeys"),
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A tenant's own AI Gateway."""

    account_id: str
    gateway_id: str


@dataclass(frozen=True, slots=True)
class TenantFile:
    """What a file says of a tenant. None, or a column that is missing: it does not say."""

    path: str
    slug: str
    chat: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: tuple[str, ...] | None = None
    # With `names_gateway` and without one: the shared default upstream serves.
    gateway: Gateway | None = None
    names_gateway: bool = False
    # Those of budget_files.NAMED that it speaks of (None: no such budget), and all others.
    budgets: Mapping[Scope, Allowance | None] = field(default_factory=dict)
    other_budgets: Mapping[Scope, Allowance] | None = None
    allow_list: bool | None = None
    allowed: tuple[str, ...] | None = None
    # With the path of each.
    hosts: Mapping[str, str] | None = None
    teams: tuple[TeamFile, ...] = ()
    keys: tuple[KeyFile, ...] = ()

    def below(self, path: str) -> str:
        """Where the file has it."""
        return f"{self.path}.{path}" if self.path else path


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's tenants, of which there are none when there are problems; and what was found."""

    tenants: tuple[TenantFile, ...]
    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def parse(data: bytes) -> Parsed:
    """The tenants of a file: one object, or a list of them. All of it is used, or nothing."""
    findings = Findings()
    value = load(data, findings)
    places = [("", value)]
    if isinstance(value, list):
        places = [(f"[{position}]", item) for position, item in enumerate(value)]
    readers = [Reader(item, path, findings, NAMES) for path, item in places if item is not NOTHING]
    tenants = [read_tenant(reader) for reader in readers if reader.is_object]
    refuse_repetitions(tenants, findings)
    return Parsed(
        () if findings.problems else tuple(tenants),
        tuple(findings.problems),
        tuple(findings.warnings),
    )


def allow_list_problem(chat: str | None, *, is_on: object, allowed: Iterable[str]) -> str | None:
    """What is wrong with an allow-list that does not have the tenant's own model."""
    if not is_on or chat is None or chat in allowed:
        return None
    return "lacks aiModels.chat: add it here, or set featureFlags.modelAllowList to false"


def read_tenant(reader: Reader) -> TenantFile:
    """One tenant as an object tells it; what is wrong goes to the reader's findings."""
    models = reader.inner("aiModels", ("chat", "fallback"))
    flags = reader.inner("featureFlags", ("modelAllowList",))
    gateway = _gateway(reader)
    tenant = TenantFile(
        path=reader.path,
        slug=reader.require("tenantId", SLUG) or "",
        chat=models.require("chat", MODEL) or "",
        columns=_columns(reader),
        fallbacks=_fallbacks(models),
        gateway=gateway,
        names_gateway=any(name in reader for name in GATEWAY),
        budgets={**read_tokens(reader), **read_rate(reader)},
        other_budgets=read_budgets(reader, elsewhere=NAMED),
        allow_list=flags.take("modelAllowList", truth),
        allowed=_names(reader, "allowedModels"),
        hosts=reader.each("allowedHosts", _host),
        teams=read_teams(reader),
        keys=read_keys(reader),
    )
    if tenant.chat and tenant.allowed is not None:
        why = allow_list_problem(tenant.chat, is_on=tenant.allow_list, allowed=tenant.allowed)
        if why:
            reader.findings.problem(reader.below("allowedModels"), why)
    return tenant


def _columns(reader: Reader) -> dict[str, Any]:
    read = {column: reader.take(name, how) for name, (column, how) in COLUMNS.items()}
    return {column: value for column, value in read.items() if value is not None}


def _fallbacks(models: Reader) -> tuple[str, ...] | None:
    """One model, or a chain in its order."""
    if isinstance(models.value("fallback"), list):
        return _names(models, "fallback")
    if models.is_null("fallback"):
        return ()
    one = models.take("fallback", MODEL)
    return None if one is None else (one,)


def _names(reader: Reader, name: str) -> tuple[str, ...] | None:
    models = reader.each(name, MODEL)
    return None if models is None else tuple(models)


def _gateway(reader: Reader) -> Gateway | None:
    given = [name for name in GATEWAY if reader.value(name) is not None]
    ids = [reader.take(name, GATEWAY[name]) for name in given]
    if len(given) == 1:
        [missing] = GATEWAY.keys() - set(given)
        reader.findings.problem(
            reader.below(missing), f"is missing: {given[0]} alone names no gateway"
        )
    if len(given) < 2 or None in ids:
        return None
    return Gateway(str(ids[0]), str(ids[1]))


def refuse_repetitions(tenants: Iterable[TenantFile], findings: Findings) -> None:
    """Tenants, hosts and keys are there once in a file, whatever the database has."""
    seen: dict[tuple[str, object], str] = {}

    def note(kind: str, value: object, path: str) -> None:
        first = seen.setdefault((kind, value), path)
        if value and first != path:
            findings.problem(path, f"is the same {kind} as {first}")

    for tenant in tenants:
        note("tenant", tenant.slug, tenant.below("tenantId"))
        for host, path in (tenant.hosts or {}).items():
            note("host", host, path)
        for key in tenant.keys:
            note("key", key.secret or key.digest, key.path)
