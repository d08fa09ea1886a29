"""Which days a usage report's query asks for, and what is wrong with one that does not say."""

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants_app.errors import InvalidRequest
from usage_app.figures import Span
from usage_app.usage_query import parse

TODAY = date(2026, 3, 14)
MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
A_MONTH = "This must be a month, as in 2026-03."
A_DAY = "This must be a day, as in 2026-03-14."


def parsed(query: str) -> Span:
    pairs = [pair.split("=") for pair in query.split("&") if pair]
    names = {name for name, _ in pairs}
    return parse({name: [value for key, value in pairs if key == name] for name in names}, TODAY)


@pytest.mark.parametrize(
    ("query", "span"),
    [
        ("", MARCH),
        ("month=2026-03", MARCH),
        ("month=2024-02", Span(date(2024, 2, 1), date(2024, 2, 29))),
        ("month=2026-12", Span(date(2026, 12, 1), date(2026, 12, 31))),
        ("from=2026-03-10&to=2026-03-10", Span(date(2026, 3, 10), date(2026, 3, 10))),
        ("from=2026-03-10", Span(date(2026, 3, 10), TODAY)),
        ("from=2025-03-14&to=2026-03-14", Span(date(2025, 3, 14), TODAY)),
    ],
)
def test_query_names_days(query: str, span: Span) -> None:
    assert parsed(query) == span


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("month=2026-13", {"month": A_MONTH}),
        ("month=", {"month": A_MONTH}),
        ("month=0000-01", {"month": A_MONTH}),
        ("month=2026-3", {"month": A_MONTH}),
        ("from=2026-02-29&to=now", {"from": A_DAY, "to": A_DAY}),
        ("from=20260310", {"from": A_DAY}),
        ("to=2026-03-10", {"from": "This field is needed beside to."}),
        ("from=2026-03-15", {"from": "This must not be after to."}),
        ("from=2025-03-13", {"from": "At most 366 days can be asked for."}),
        ("month=2026-03&to=x", {
            "month": "Use either month, or from and to.",
            "from": "This field is needed beside to.",
            "to": A_DAY,
        }),
        ("moth=2026-03&x=1", {
            "moth": "This field is not known.",
            "x": "This field is not known.",
        }),
        ("month=2026-03&month=2026-04", {"month": "Give this field once."}),
    ],
)  # fmt: skip
def test_every_bad_field_is_named(query: str, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parsed(query)
    assert raised.value.details == {"fields": fields}


@given(st.dictionaries(st.sampled_from(["month", "from", "to"]), st.lists(st.text(), min_size=1)))
def test_any_text_is_a_span_or_refused(query: dict[str, list[str]]) -> None:
    with suppress(InvalidRequest):
        assert 1 <= parse(query, TODAY).days <= 366
