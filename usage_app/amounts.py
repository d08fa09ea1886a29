"""Amounts and instants as JSON tells them to clients, and amounts as pages tell them to people.
PURE.
"""

from datetime import UTC, datetime
from decimal import Decimal

from usage_app.admission import Metric
from usage_app.pricing import to_decimal


def amount(metric: Metric, value: int) -> int | str:
    """An amount of a budget: whole requests or tokens, or, from ledger units, currency as text."""
    return money(to_decimal(value)) if metric == "cost" else value


def money(cost: Decimal) -> str:
    """An amount of currency without needless zeros, exactly."""
    return f"{cost.normalize():f}"


def exact(cost: Decimal | None) -> str:
    """The same for people, in groups of three digits; None is unpriced, not 0."""
    return "unpriced" if cost is None else f"{cost.normalize():,f}"


def readable(cost: Decimal | None) -> str:
    """At a glance: in hundredths, and below one unit exactly; None is unpriced, not 0."""
    return exact(cost) if cost is None or abs(cost) < 1 else f"{cost:,.2f}"


def instant(moment: datetime) -> str:
    """A point in time, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
