"""What a query of the usage report asks for, and what is wrong with one that does not say."""

from datetime import date
from urllib.parse import parse_qs

import pytest

from tenants_app.errors import InvalidRequest
from usage_app.figures import Span
from usage_app.reports.query import GROUPS, ReportQuery, parse

TODAY = date(2026, 3, 14)
MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
LONG = "x" * 201


def parsed(query: str) -> ReportQuery:
    return parse(parse_qs(query, keep_blank_values=True), TODAY, also=("page",))


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", ReportQuery(MARCH)),
        ("month=&tenant=&key=&page=2&groupBy=", ReportQuery(MARCH)),
        ("tenant=acme", ReportQuery(MARCH, tenant="acme", group_by="model")),
        ("costCenter=-&key=-", ReportQuery(MARCH, cost_center="", key=0)),
        ("costCenter=R%26D&model=a/b&key=7&groupBy=day", ReportQuery(
            MARCH, cost_center="R&D", model="a/b", key=7, group_by="day")),
        ("team=-&groupBy=team", ReportQuery(MARCH, team="", group_by="team")),
        ("tenant=acme&team=shop", ReportQuery(
            MARCH, tenant="acme", team="shop", group_by="model")),
        ("from=2026-03-02&to=2026-03-02", ReportQuery(Span(date(2026, 3, 2), date(2026, 3, 2)))),
    ],
)  # fmt: skip
def test_query_names_days_filters_and_groups(query: str, asked: ReportQuery) -> None:
    assert parsed(query) == asked
    assert parsed(asked.as_query()) == asked


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("month=x&groupBy=colour&key=0&tenant=a&tenant=b", {
            "month": "This must be a month, as in 2026-03.",
            "groupBy": f"This must be one of {', '.join(GROUPS)}.",
            "key": "This must be the number of a key, or - for calls without one.",
            "tenant": "Give this field once.",
        }),
        (f"model={LONG}&costCenter=%00", {
            "model": "This must be text of at most 200 characters.",
            "costCenter": "This must be text of at most 200 characters.",
        }),
        ("team=shop", {"team": "Name its tenant, too: other tenants may have such a team."}),
        (f"tenant=acme&team={LONG}", {"team": "This must be text of at most 200 characters."}),
        ("modle=x", {"modle": "This field is not known."}),
        ("key=9999999999999999999", {
            "key": "This must be the number of a key, or - for calls without one.",
        }),
    ],
)  # fmt: skip
def test_every_bad_field_is_named(query: str, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parsed(query)
    assert refusal.value.details["fields"] == fields


@pytest.mark.parametrize(
    ("span", "before"),
    [
        (MARCH, Span(date(2026, 2, 1), date(2026, 2, 28))),
        (Span(date(2026, 1, 1), date(2026, 1, 31)), Span(date(2025, 12, 1), date(2025, 12, 31))),
        (Span(TODAY, TODAY), Span(date(2026, 3, 13), date(2026, 3, 13))),
        (Span(date(2026, 3, 8), TODAY), Span(date(2026, 3, 1), date(2026, 3, 7))),
    ],
)
def test_period_before_touches_the_period(span: Span, before: Span) -> None:
    assert span.before == before
