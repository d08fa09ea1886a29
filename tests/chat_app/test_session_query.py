"""The query of a session's history."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app.session_query import END, MAX_ID, PageCall, Place, parse_page
from tenants_app.errors import InvalidRequest

NEXT = Place(UUID(int=7), 8).as_text()


def test_page_without_a_query_is_the_newest_fifty() -> None:
    assert parse_page({}) == PageCall(limit=50, before=END)


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("200", 200), ("007", 7)])
def test_limit_is_read(text: str, limit: int) -> None:
    assert parse_page({"limit": [text]}).limit == limit


@given(st.uuids(), st.integers(0, MAX_ID))
def test_place_comes_back_as_it_went(turn_id: UUID, id_: int) -> None:
    place = Place(turn_id, id_)
    assert parse_page({"before": [place.as_text()]}).before == place
    assert len(place.as_text()) == 32


@pytest.mark.parametrize(
    "text",
    ["", "0", "201", "1000", "-1", "+1", "1.5", "1e2", " 5", "5\n", "x", "٣", "0x10", "9" * 99],
)
def test_bad_limit_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_page({"limit": [text]})
    assert refused.value.details == {"fields": {"limit": "must be a whole number from 1 to 200"}}


@pytest.mark.parametrize(
    "text",
    ["", "0", NEXT[:-1], NEXT + "A", NEXT + "\n", "*" * 32, "é" * 32, "_" * 32, "A" * 10_000],
)
def test_bad_place_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_page({"before": [text]})
    assert refused.value.details == {"fields": {"before": "must be the `next` of another page"}}


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_page({"limit": ["1", "2"], "before": ["x"], "page": ["2"]})
    assert refused.value.details["fields"] == {
        "limit": "must be given once",
        "before": "must be the `next` of another page",
        "page": "is not a known field",
    }


@given(st.text(max_size=40))
def test_no_text_is_an_error_of_ours(text: str) -> None:
    for name in ("limit", "before"):
        with suppress(InvalidRequest):
            parse_page({name: [text]})
