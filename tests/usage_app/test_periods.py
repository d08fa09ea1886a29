"""Days and months of any time zone tile time without gap or overlap."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_app.periods import day_period, local_day, month_period

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
)
zones = st.sampled_from(ZONES)
days = st.dates(date(2000, 1, 1), date(2037, 12, 31))


@given(day=days, zone=zones)
def test_days_follow_each_other(day: date, zone: str) -> None:
    assert day_period(day, zone).ends_at == day_period(day + timedelta(days=1), zone).starts_at


@given(
    instant=st.datetimes(datetime(2000, 1, 2), datetime(2037, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=zones,
)
def test_instant_lies_in_its_local_day_and_month(instant: datetime, zone: str) -> None:
    today = local_day(instant, zone)
    assert day_period(today, zone).contains(instant)
    assert month_period(today, zone).contains(instant)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 6, 1), 24),
        # Midnight itself is jumped over, or comes twice.
        ("Asia/Beirut", date(2022, 3, 27), 23),
        ("Asia/Beirut", date(2021, 10, 30), 25),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        # Samoa had no 30 December in 2011.
        ("Pacific/Apia", date(2011, 12, 30), 0),
        ("Pacific/Apia", date(2011, 12, 31), 24),
    ],
)
def test_day_is_as_long_as_the_clocks_make_it(zone: str, day: date, hours: float) -> None:
    period = day_period(day, zone)
    assert period.ends_at - period.starts_at == timedelta(hours=hours)


def test_month_begins_at_local_midnight() -> None:
    period = month_period(date(2026, 12, 15), "Europe/Berlin")
    assert period.first_day == date(2026, 12, 1)
    assert period.starts_at == datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert period.ends_at == datetime(2026, 12, 31, 23, tzinfo=UTC)
