"""How full budgets are, from rows as they are."""

from datetime import UTC, datetime
from decimal import Decimal

from tenants_app.snapshots import limit_of
from usage_app.fills import Counters, fills_of

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def test_budget_that_nobody_used_yet_is_empty() -> None:
    counters = Counters(NOW, "Europe/Berlin", windows={}, buckets={})
    limits = [
        limit_of("cost", "month", Decimal("12.5"), None),
        limit_of("tokens", "day", Decimal(1000), None),
        limit_of("requests", "minute", Decimal(60), 10),
        limit_of("requests", "concurrent", Decimal(5), None),
    ]
    told = [
        (fill.limit.period, fill.used, fill.held, fill.remaining, fill.resets_at)
        for fill in fills_of("tenant", limits, counters)
    ]
    assert told == [
        ("concurrent", 0, 0, 5, None),
        ("minute", 0, 0, 10, None),
        ("day", 0, 0, 1000, datetime(2026, 11, 22, 23, 0, tzinfo=UTC)),
        ("month", 0, 0, 125_000_000_000, datetime(2026, 11, 30, 23, 0, tzinfo=UTC)),
    ]
