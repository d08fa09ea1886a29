"""Many tenants as a table: a line for each, read into what tenant files are read into, and written.
PURE.

An empty cell leaves things as they are; `none` takes a budget away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from tenants_app import strict_csv
from tenants_app.budget_files import DAILY, MONTHLY, RATE, Scope
from tenants_app.strict_csv import Columns, Row
from tenants_app.strict_json import Finding, Findings, Reader
from tenants_app.tenant_files import NAMES, Parsed, read_tenant, refuse_repetitions
from tenants_app.tenant_state import Change, TenantState

NONE: Final = "none"
# A column, and where a tenant's file has it.
PLACES: Final[Mapping[str, str]] = {
    "tenant": "tenantId",
    "name": "name",
    "status": "status",
    "timezone": "timezone",
    "cost_center": "costCenter",
    "default_model": "aiModels.chat",
    "daily_tokens": "tokenBudget.daily",
    "monthly_tokens": "tokenBudget.monthly",
    "requests_per_minute": "rateLimit.perMinute",
}
BUDGETS: Final[Mapping[str, Scope]] = {
    "daily_tokens": DAILY,
    "monthly_tokens": MONTHLY,
    "requests_per_minute": RATE,
}
COLUMNS: Final = Columns(tuple(PLACES), frozenset(PLACES) - {"tenant"})
_NAMES: Final = {place: name for name, place in PLACES.items()}


def parse(content: bytes, chats: Mapping[str, str]) -> Parsed:
    """The tenants of a table; all of it is used, or nothing.

    `chats` has the default model of each tenant that there is already: a line need not repeat it.
    """
    found = Findings()
    tenants = [
        read_tenant(Reader(_object(row, chats), f"line {row[0]}", found, NAMES))
        for row in strict_csv.read(content, COLUMNS, found)
    ]
    refuse_repetitions(tenants, found)
    problems, warnings = map(told, found.problems), map(told, found.warnings)
    return Parsed(() if found.problems else tuple(tenants), tuple(problems), tuple(warnings))


def change_told(change: Change) -> str:
    """A change by the column that a table has it in."""
    return str(replace(change, field=_NAMES.get(change.field, change.field)))


def told(finding: Finding) -> Finding:
    """A finding of a tenant file, by the line and column that a table has it in."""
    line, _, place = finding.path.partition(".")
    text = finding.text.replace("aiModels.chat", "default_model").replace(".tenantId", "")
    return Finding(f"{line}, {_NAMES.get(place, place)}" if place else line, text)


def write(tenants: Iterable[TenantState]) -> str:
    """The table of these tenants, as `parse` reads it."""
    return strict_csv.write([COLUMNS.names, *(_cells(tenant) for tenant in tenants)])


def _object(row: Row, chats: Mapping[str, str]) -> dict[str, Any]:
    """The line as the object that a tenant's file has."""
    made: dict[str, Any] = {}
    for name, text in row[1].items():
        if text:
            outer, _, inner = PLACES[name].partition(".")
            value = _value(text) if name in BUDGETS else text
            if inner:
                made.setdefault(outer, {})[inner] = value
            else:
                made[outer] = value
    if chat := chats.get(row[1]["tenant"]):
        made.setdefault("aiModels", {"chat": chat})
    return made


def _value(text: str) -> int | str | None:
    if text == NONE:
        return None
    return int(text[:20]) if text.isascii() and text.isdigit() else text


def _cells(tenant: TenantState) -> list[str]:
    columns = tenant.columns
    budgets = (tenant.budgets.get(scope) for scope in BUDGETS.values())
    return [
        tenant.slug,
        *(columns[name] for name in ("name", "status", "timezone", "cost_center")),
        tenant.chat or "",
        *(NONE if one is None else str(int(one.limit)) for one in budgets),
    ]
