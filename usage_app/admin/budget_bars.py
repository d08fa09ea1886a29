"""How full a tenant's budgets are, as bars and in words: what is used, held and left, and when it
is there again, in the tenant's time zone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse

from tenants_app.models import Tenant
from usage_app import selectors
from usage_app.fills import NOTHING, Counters, Fill, Owner
from usage_app.overview.look import money
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
    """One budget. `level` is ok, near or out; `used_width` and `held_width` are of WIDTH."""

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


@dataclass(frozen=True, slots=True)
class Period:
    """What a tenant used so far in its day or month, whether or not a budget limits it."""

    title: str
    requests: int
    tokens: int
    cost: str
    held_tokens: int


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


def read(tenant: Tenant, *, with_budgets: bool) -> Bars:
    """As of now, by the database's clock. Six queries; the counters alone without budgets."""
    now = selectors.clock()
    counters = selectors.counters(tenant, now)
    fills = selectors.fills(tenant, counters) if with_budgets else []
    teams, keys = [], []
    if with_budgets:
        teams = selectors.fullest("team", tenant, now, percent=0, most=TEAMS_SHOWN)
        keys = selectors.fullest("key", tenant, now, percent=NEAR_PERCENT, most=KEYS_SHOWN)
    return Bars(
        tenant=tenant,
        now=f"{now.astimezone(ZoneInfo(tenant.timezone)):%H:%M:%S}",
        currency=settings.LEDGER_CURRENCY,
        periods=[_period(title, counters, title_of) for title_of, title in _NOW.items()],
        bars=[bar(fill, counters) for _, fill in fills],
        teams=[bar(fill, counters, owner) for owner, _, fill in teams],
        keys=[bar(fill, counters, owner) for owner, _, fill in keys],
    )


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
    return money(to_decimal(value)) if fill.limit.metric == "cost" else f"{value:,}"


def _resets(fill: Fill, counters: Counters) -> str:
    """When all of it is there again."""
    if fill.limit.period == "concurrent":
        return "is free again as requests end"
    if fill.resets_at is None:
        return "is all there"
    here = fill.resets_at.astimezone(ZoneInfo(counters.timezone))
    wait = fill.resets_at - counters.now
    if fill.limit.period == "minute":
        return f"is full again in {max(round(wait.total_seconds()), 1)} s"
    return f"resets at {here:%H:%M} on {here:%a} {here.day} {here:%b}, in {in_words(wait)}"


def in_words(wait: timedelta) -> str:
    """A span as people say it, in its two largest units."""
    minutes = max(int(wait.total_seconds()) // 60, 1)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    told = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(told[:2])


def _period(title: str, counters: Counters, period: str) -> Period:
    requests, tokens, cost, _, held_tokens, _ = counters.windows.get((None, period), NOTHING)
    return Period(title, requests, tokens, money(cost), held_tokens)
