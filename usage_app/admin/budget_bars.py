"""How full a tenant's budgets are, as bars and in words: what is used, held and left, and when it
is there again, in the tenant's time zone.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse

from tenants_app.models import BudgetRaise, Tenant
from usage_app import selectors
from usage_app.amounts import readable
from usage_app.fills import NOTHING, Counters, Fill, Owner
from usage_app.overview.nearly_full import NEAR_PERCENT
from usage_app.pricing import to_decimal

TEAMS_SHOWN: Final = 10
KEYS_SHOWN: Final = 5
# A bar's length in its picture's units.
WIDTH: Final = 1000
PERIODS: Final = {
    "concurrent": "at once",
    "minute": "per minute",
    "day": "per day",
    "month": "per month",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One budget. `level` is ok, near or out; `used_width` and `held_width` are of WIDTH. `raises`
    are those that stand, in words, each with its page's address; `raise_href` leads to another.
    """

    title: str
    href: str
    used: str
    held: str
    left: str
    limit: str
    percent: int
    level: str
    used_width: int
    held_width: int
    resets: str
    raises: Sequence[tuple[str, str]] = ()
    raise_href: str = ""


@dataclass(frozen=True, slots=True)
class Period:
    """What a tenant used so far in its day or month, whether or not a budget limits it."""

    title: str
    requests: int
    tokens: int
    cost: str
    held_tokens: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What the user of a page may see of budgets, and do with them."""

    budgets: bool
    raises: bool
    may_raise: bool

    @classmethod
    def of(cls, user: Any) -> Self:
        return cls(
            user.has_perm("tenants_app.view_budget"),
            user.has_perm("tenants_app.view_budgetraise"),
            user.has_perm("tenants_app.add_budgetraise"),
        )


@dataclass(frozen=True, slots=True)
class Bars:
    """The budgets of a tenant as a whole, the fullest of its teams, and those of its keys that are
    nearly used up.
    """

    tenant: Tenant
    now: str
    currency: str
    periods: Sequence[Period]
    bars: Sequence[Bar]
    teams: Sequence[Bar]
    keys: Sequence[Bar]


def read(tenant: Tenant, sight: Sight) -> Bars:
    """As of now, by the database's clock. Seven queries; the counters alone without budgets."""
    now = selectors.clock()
    counters = selectors.counters(tenant, now)
    fills = selectors.fills(tenant, counters) if sight.budgets else []
    teams, keys = [], []
    if sight.budgets:
        teams = selectors.fullest("team", tenant, now, percent=0, most=TEAMS_SHOWN)
        keys = selectors.fullest("key", tenant, now, percent=NEAR_PERCENT, most=KEYS_SHOWN)
    shown = {pk for pk, _ in fills} | {pk for _, pk, _ in (*teams, *keys)}
    standing = _standing(tenant, shown, now) if shown and sight.raises else {}

    def raised(budget_id: int, fill: Fill, owner: Owner | None = None) -> Bar:
        told, href = standing.get(budget_id, ()), ""
        if sight.may_raise and fill.limit.period in ("day", "month"):
            href = f"{reverse('admin:tenants_app_budgetraise_add')}?budget={budget_id}"
        return replace(bar(fill, counters, owner), raises=told, raise_href=href)

    return Bars(
        tenant=tenant,
        now=f"{now.astimezone(ZoneInfo(tenant.timezone)):%H:%M:%S}",
        currency=settings.LEDGER_CURRENCY,
        periods=[_period(title, counters, title_of) for title_of, title in _NOW.items()],
        bars=[raised(pk, fill) for pk, fill in fills],
        teams=[raised(pk, fill, owner) for owner, pk, fill in teams],
        keys=[raised(pk, fill, owner) for owner, pk, fill in keys],
    )


def _standing(
    tenant: Tenant, budgets: Collection[int], now: datetime
) -> Mapping[int, Sequence[tuple[str, str]]]:
    """By budget, its raises that are not over. One query."""
    of_budgets = BudgetRaise.objects.for_tenant(tenant).filter(budget__in=budgets)
    rows = of_budgets.filter(cancelled_at=None, ends_at__gt=now)
    told: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for row in rows.select_related("budget").order_by("starts_at", "id"):
        is_cost = row.budget.metric == "cost"
        extra = readable(row.extra) if is_cost else f"{int(row.extra):,}"
        until = _moment(row.ends_at, tenant.timezone)
        verb = "Raised"
        if row.starts_at > now:
            verb = f"From {_moment(row.starts_at, tenant.timezone)} raised"
        href = reverse("admin:tenants_app_budgetraise_change", args=[row.pk])
        told[row.budget_id].append((f"{verb} by {extra} until {until}: {row.reason}", href))
    return told


_NOW: Final = {"day": "Today", "month": "This month"}
_PAGES: Final = {
    "team": "admin:tenants_app_team_change",
    "key": "admin:tenants_app_apikey_change",
}


def bar(fill: Fill, counters: Counters, owner: Owner | None = None) -> Bar:
    """A budget in words and as lengths; without an owner it is of the tenant as a whole."""
    limit, room = fill.limit, fill.room
    taken = fill.used + fill.held
    what = settings.LEDGER_CURRENCY if limit.metric == "cost" else limit.metric.capitalize()
    title = f"{what} {PERIODS[limit.period]}"
    used_width = min(fill.used * WIDTH // room, WIDTH)
    return Bar(
        title=f"{title}, {owner.scope} {owner.name}" if owner else title,
        href=reverse(_PAGES[owner.scope], args=[owner.id]) if owner else "",
        used=_amount(fill, fill.used),
        held=_amount(fill, fill.held),
        left=_amount(fill, fill.remaining),
        limit=_limit(fill),
        percent=taken * 100 // room,
        level="out" if taken >= room else "near" if taken * 100 >= NEAR_PERCENT * room else "ok",
        used_width=used_width,
        held_width=min(fill.held * WIDTH // room, WIDTH - used_width),
        resets=_resets(fill, counters),
    )


def _limit(fill: Fill) -> str:
    told = _amount(fill, fill.allowed)
    if fill.limit.burst:
        return f"{told}, {fill.limit.burst:,} in a burst"
    return f"{told} (raised from {_amount(fill, fill.limit.limit)})" if fill.raises else told


def _amount(fill: Fill, value: int) -> str:
    return readable(to_decimal(value)) if fill.limit.metric == "cost" else f"{value:,}"


def _resets(fill: Fill, counters: Counters) -> str:
    """When all of it is there again."""
    if fill.limit.period == "concurrent":
        return "is free again as requests end"
    if fill.resets_at is None:
        return "is all there"
    wait = fill.resets_at - counters.now
    if fill.limit.period == "minute":
        return f"is full again in {max(round(wait.total_seconds()), 1)} s"
    return f"resets at {_moment(fill.resets_at, counters.timezone)}, in {in_words(wait)}"


def _moment(moment: datetime, zone: str) -> str:
    """An instant by the clock where the tenant is, which is named."""
    here = moment.astimezone(ZoneInfo(zone))
    return f"{here:%H:%M} on {here:%a} {here.day} {here:%b} ({zone})"


def in_words(wait: timedelta) -> str:
    """A span as people say it, in its two largest units."""
    minutes = max(int(wait.total_seconds()) // 60, 1)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2])


def _period(title: str, counters: Counters, period: str) -> Period:
    requests, tokens, cost, _, held_tokens, _ = counters.windows.get(("tenant", period), NOTHING)
    return Period(title, requests, tokens, readable(cost), held_tokens)
