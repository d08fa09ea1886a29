"""Many budgets as a table: a line for each. What a table would change, writing that, and the table
of what there is. A budget that the table does not name stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.db.models import QuerySet

from tenants_app import strict_csv
from tenants_app.budget_files import Allowance, Scope, read_budget, shown_limit
from tenants_app.models import ApiKey, Budget, Team, Tenant
from tenants_app.strict_csv import Columns, Row
from tenants_app.strict_json import Finding, Findings, Reader
from tenants_app.tenant_csv import NONE
from tenants_app.tenant_state import Change, shown_budget

COLUMNS: Final = Columns(
    ("tenant", "team", "key", "metric", "period", "limit", "burst"),
    frozenset({"team", "key", "burst"}),
)
_BUDGET: Final = ("metric", "period", "limit", "burst")

# Tenant, team and key (neither: the tenant's own), metric and period.
Place = tuple[int, int | None, int | None, str, str]


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """One budget: made, changed, or taken away."""

    whose: str
    told: Change
    row: Budget
    is_new: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """What a table changes. With problems there is nothing to apply."""

    changes: tuple[BudgetChange, ...] = ()
    unchanged: int = 0
    problems: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Known:
    """What the lines speak of, read at once."""

    tenants: dict[str, Tenant]
    teams: dict[tuple[int, str], Team] = field(default_factory=dict)
    keys: dict[tuple[int, str], list[ApiKey]] = field(default_factory=dict)
    budgets: dict[Place, Budget] = field(default_factory=dict)


def plan(content: bytes, tenants: QuerySet[Tenant]) -> BudgetPlan:
    """What the table changes of these tenants' budgets; all others do not exist for it.

    Must run in a transaction: it locks the tenants that the table names, in the order of their ids.
    """
    found = Findings()
    rows = list(strict_csv.read(content, COLUMNS, found))
    known = _known({cells["tenant"] for _, cells in rows}, tenants)
    changes: list[BudgetChange] = []
    seen: dict[Place, int] = {}
    for row in rows:
        change = _change(row, known, seen, found)
        if change is not None:
            changes.append(change)
    if found.problems:
        return BudgetPlan(problems=tuple(found.problems))
    return BudgetPlan(tuple(changes), len(rows) - len(changes))


def apply(plan: BudgetPlan) -> None:
    """Write a plan that has no problems, in the transaction that it was made in."""
    if plan.problems:
        raise ValueError("A plan with problems is not applied.")
    Budget.objects.filter(pk__in=[one.row.pk for one in plan.changes if one.gone]).delete()
    kept = [one for one in plan.changes if not one.gone]
    Budget.objects.bulk_create([one.row for one in kept if one.is_new])
    Budget.objects.bulk_update([one.row for one in kept if not one.is_new], ["limit", "burst"])


def write(budgets: Iterable[Budget]) -> str:
    """The table of these budgets, as `plan` reads it."""
    return strict_csv.write([COLUMNS.names, *map(_cells, budgets)])


def _known(slugs: Collection[str], tenants: QuerySet[Tenant]) -> _Known:
    chosen = tenants.filter(slug__in=slugs).order_by("pk").select_for_update(no_key=True)
    known = _Known({tenant.slug: tenant for tenant in chosen})
    ids = [tenant.pk for tenant in known.tenants.values()]
    for team in Team.objects.filter(tenant__in=ids):
        known.teams[team.tenant_id, team.slug] = team
    for key in ApiKey.objects.filter(tenant__in=ids, revoked_at=None):
        known.keys.setdefault((key.tenant_id, key.name), []).append(key)
    for budget in Budget.objects.filter(tenant__in=ids):
        known.budgets[_place(budget, (budget.metric, budget.period))] = budget
    return known


def _change(
    row: Row, known: _Known, seen: dict[Place, int], found: Findings
) -> BudgetChange | None:
    """What becomes of the line's budget; None if nothing does, or if the line is wrong."""
    line, cells = row
    place = f"line {line}"
    owner = _owner(place, cells, known, found)
    scope, wanted = _wanted(place, cells, found)
    if owner is None or scope is None:
        return None
    where = _place(owner, scope)
    if seen.setdefault(where, line) != line:
        found.problem(place, f"is about the same budget as line {seen[where]}")
        return None
    if wanted is None and cells["limit"] != NONE:
        return None
    return _difference(owner, known.budgets.get(where), wanted, scope)


def _owner(place: str, cells: dict[str, str], known: _Known, found: Findings) -> Budget | None:
    """A blank budget of the tenant, team or key that the line names."""
    tenant = known.tenants.get(cells["tenant"])
    if tenant is None:
        found.problem(f"{place}, tenant", "there is no such tenant")
        return None
    name, slug = cells.get("key", ""), cells.get("team", "")
    if slug and name:
        found.problem(f"{place}, team", "a budget is of a team or of a key, not of both")
        return None
    if slug and (tenant.pk, slug) not in known.teams:
        found.problem(f"{place}, team", "the tenant has no such team")
        return None
    if slug:
        return Budget(tenant=tenant, team=known.teams[tenant.pk, slug])
    keys = known.keys.get((tenant.pk, name), [])
    if not name or len(keys) == 1:
        return Budget(tenant=tenant, api_key=keys[0] if keys and name else None)
    many = "several keys have this name: set their budgets on their pages"
    found.problem(f"{place}, key", many if keys else "the tenant has no live key of this name")
    return None


def _wanted(
    place: str, cells: dict[str, str], found: Findings
) -> tuple[Scope | None, Allowance | None]:
    """What the line asks for; None as the allowance: it is to go, or it is wrong."""
    told = Findings()
    values: dict[str, Any] = {name: cells[name] for name in _BUDGET if cells.get(name)}
    goes = values.get("limit") == NONE
    if goes:
        values["limit"] = "1"
    for name in ("limit", "burst"):
        text = values.get(name, "")
        if text.isascii() and text.isdigit() and (name, cells["metric"]) != ("limit", "cost"):
            values[name] = int(text[:20])
    scope, wanted = read_budget(Reader(values, place, told, _BUDGET))
    for finding in told.problems:
        found.problem(finding.path.replace(f"{place}.", f"{place}, "), finding.text)
    if told.problems:
        return None, None
    return scope, None if goes else wanted


def _difference(
    owner: Budget, have: Budget | None, wanted: Allowance | None, scope: Scope
) -> BudgetChange | None:
    whose = owner.tenant.slug
    if owner.team is not None:
        whose += f", team {owner.team}"
    elif owner.api_key is not None:
        whose += f", key {owner.api_key.name}"
    old = shown_budget(scope, Allowance(have.limit, have.burst)) if have else ""
    new = shown_budget(scope, wanted) if wanted else ""
    if old == new:
        return None
    if wanted is None:
        return BudgetChange(whose, Change("-", "budget", old), have or Budget(), gone=True)
    row = have or owner
    row.metric, row.period = scope
    row.limit, row.burst = wanted.limit, wanted.burst
    sign: Literal["~", "+"] = "~" if have else "+"
    return BudgetChange(whose, Change(sign, "budget", old, new), row, is_new=have is None)


def _place(owner: Budget, scope: Scope) -> Place:
    return owner.tenant_id, owner.team_id, owner.api_key_id, *scope


def _cells(budget: Budget) -> list[str]:
    return [
        budget.tenant.slug,
        budget.team.slug if budget.team else "",
        budget.api_key.name if budget.api_key else "",
        budget.metric,
        budget.period,
        str(shown_limit(budget.metric, budget.limit)),
        "" if budget.burst is None else str(budget.burst),
    ]
