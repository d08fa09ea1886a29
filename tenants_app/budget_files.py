"""Budgets in tenant files: read with every problem by its path, and written. PURE.

Three of a tenant's budgets have names of their own, all others are in the list `budgets`; money is
decimal text, so that it stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from tenants_app.strict_json import Bad, Reader, matching, one_of, whole

Scope = tuple[str, str]  # metric and period

DAILY: Final[Scope] = ("tokens", "day")
MONTHLY: Final[Scope] = ("tokens", "month")
RATE: Final[Scope] = ("requests", "minute")
# Where a tenant's file has these three; a key has all of its budgets in its list.
NAMED: Final[Mapping[Scope, str]] = {
    DAILY: "tokenBudget.daily",
    MONTHLY: "tokenBudget.monthly",
    RATE: "rateLimit",
}
METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "concurrent": ("requests",),
    "minute": ("requests", "tokens"),
    "day": ("requests", "tokens", "cost"),
    "month": ("requests", "tokens", "cost"),
}
LIMIT_MAX: Final = 10**12
AMOUNT: Final = whole(1, LIMIT_MAX)
MONEY: Final = matching(
    r"[0-9]{1,13}(\.[0-9]{1,10})?",
    'must be decimal text with at most 10 places, like "12.50": a cost is exact',
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A limit, and for one per minute how much may come at once (None: the limit)."""

    limit: Decimal
    burst: int | None = None
    # The file does not say, so what the budget has stays.
    keeps_burst: bool = False


def read_tokens(reader: Reader) -> dict[Scope, Allowance | None]:
    """`tokenBudget`; null, for one of the two or for both, means no such budget."""
    if reader.is_null("tokenBudget"):
        return {DAILY: None, MONTHLY: None}
    tokens = reader.inner("tokenBudget", ("daily", "monthly"))
    budgets: dict[Scope, Allowance | None] = {}
    for name, scope in (("daily", DAILY), ("monthly", MONTHLY)):
        if tokens.is_null(name):
            budgets[scope] = None
        elif (limit := tokens.take(name, AMOUNT)) is not None:
            budgets[scope] = Allowance(Decimal(limit))
    return budgets


def read_rate(reader: Reader) -> dict[Scope, Allowance | None]:
    """`rateLimit`: requests per minute, and how many of them may come at once."""
    rate = reader.inner("rateLimit", ("perMinute", "burst"))
    if reader.is_null("rateLimit"):
        return {RATE: None}
    burst = None if rate.is_null("burst") else rate.take("burst", AMOUNT)
    if rate.is_null("perMinute"):
        if burst is not None:
            rate.findings.problem(rate.below("burst"), "needs a limit: perMinute is null")
        return {RATE: None}
    if "burst" in rate and "perMinute" not in rate:
        rate.findings.problem(rate.below("perMinute"), "is missing: a burst belongs to a limit")
    limit = rate.take("perMinute", AMOUNT)
    if limit is None:
        return {}
    return {RATE: Allowance(Decimal(limit), burst, keeps_burst="burst" not in rate)}


def read_budgets(
    reader: Reader, elsewhere: Mapping[Scope, str] = MappingProxyType({})
) -> dict[Scope, Allowance] | None:
    """The list `budgets`, but for those that belong `elsewhere`; None if it is not there."""
    items = reader.items("budgets")
    if items is None:
        return None
    found: dict[Scope, Allowance] = {}
    for path, item in items:
        one = Reader(item, path, reader.findings, ("metric", "period", "limit", "burst"))
        scope, allowance = read_budget(one)
        if scope is None:
            continue
        if scope in found:
            reader.findings.problem(path, f"is a second budget of {' per '.join(scope)}")
        elif scope in elsewhere:
            reader.findings.problem(path, f"has a place of its own: {elsewhere[scope]}")
        elif allowance is not None:
            found[scope] = allowance
    return found


def write_budgets(budgets: Mapping[Scope, Allowance]) -> list[dict[str, Any]]:
    """The list as `read_budgets` reads it."""
    return [
        {"metric": metric, "period": period, "limit": shown_limit(metric, one.limit)}
        | ({} if one.burst is None else {"burst": one.burst})
        for (metric, period), one in sorted(budgets.items())
    ]


def shown_limit(metric: str, limit: Decimal) -> int | str:
    """A limit as files have it: exact text for money, else a whole number."""
    return f"{limit.normalize():f}" if metric == "cost" else int(limit)


def read_budget(one: Reader) -> tuple[Scope | None, Allowance | None]:
    if not one.is_object:
        return None, None
    metric = one.require("metric", one_of("requests", "tokens", "cost"))
    period = one.require("period", one_of(*METRICS))
    limit = one.require("limit", _money if metric == "cost" else _amount)
    burst = None if one.is_null("burst") else one.take("burst", AMOUNT)
    if metric is None or period is None:
        return None, None
    if metric not in METRICS[period]:
        suits = " or ".join(METRICS[period])
        one.findings.problem(one.below("metric"), f"must be {suits} for the period {period}")
    if burst is not None and period != "minute":
        one.findings.problem(one.below("burst"), "belongs to the period minute only")
    return (metric, period), None if limit is None else Allowance(limit, burst)


def _amount(value: object) -> Decimal:
    return Decimal(AMOUNT(value))


def _money(value: object) -> Decimal:
    amount = Decimal(MONEY(value))
    if not 0 < amount <= LIMIT_MAX:
        raise Bad("must be greater than 0 and at most 1000000000000")
    return amount
