"""The ledger's list goes on along its index, and an entry tells what became of its request."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants_app import keys
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import make_tenant
from tests.usage_app.entries import make_correction, make_entry
from usage_app import story
from usage_app.models import LedgerEntry

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def client() -> Client:
    return logged_in(superuser=True)


def page_of(client: Client, url: str) -> Any:
    return client.get(url).context["cl"]


def test_pages_follow_each_other_without_a_gap_also_within_one_instant(client: Client) -> None:
    acme = make_tenant()
    made = [make_entry(acme, created_at=NOON + timedelta(seconds=n // 40)) for n in range(120)]
    url, seen = url_of(LedgerEntry, "changelist"), []
    pages = 0
    while url:
        page = page_of(client, url)
        seen += list(page.result_list)
        pages += 1
        # Rows that arrive meanwhile shift nothing.
        make_entry(acme, created_at=NOON + timedelta(days=pages))
        url = page.next_url and url_of(LedgerEntry, "changelist") + page.next_url
    assert pages == 3
    assert seen == sorted(made, key=lambda one: (-one.created_at.timestamp(), one.id))
    assert page_of(client, url_of(LedgerEntry, "changelist")).first_url is None


def test_later_pages_keep_the_filters_and_count_nothing(client: Client) -> None:
    acme, globex = make_tenant(), make_tenant("globex")
    for tenant in (acme, globex):
        for _ in range(60):
            make_entry(tenant)
    url = url_of(LedgerEntry, "changelist")
    first = page_of(client, f"{url}?tenant__id__exact={acme.pk}")
    with CaptureQueriesContext(
        connection,
    ) as asked:
        second = page_of(client, url + first.next_url)
    assert {entry.tenant for entry in second.result_list} == {acme}
    assert len(second.result_list) == 10
    assert not [one for one in asked if "COUNT(" in one["sql"] or "OFFSET" in one["sql"]]
    assert second.first_url == f"?tenant__id__exact={acme.pk}"
    assert "60 results" not in (page := text_of(client.get(url)))
    assert "Show all" not in page


@pytest.mark.parametrize(
    "after", ["x", "W10=", "WzEsMl0=", "é", "WyIyMDI2LTAxLTAxIiwgIngiXQ==", "W1tb" * 10_000]
)
def test_a_cursor_that_nobody_wrote_leads_back_to_the_list(client: Client, after: str) -> None:
    answer = client.get(url_of(LedgerEntry, "changelist"), {"after": after})
    assert (answer.status_code, answer["location"][-3:]) == (302, "e=1")


def test_entries_are_found_by_outcome_and_what_no_index_finds_in_the_last_month(
    client: Client,
) -> None:
    acme = make_tenant()
    key = keys.issue(acme, name="app").key
    old = make_entry(acme, created_at=timezone.now() - timedelta(days=90), outcome="expired")
    failed = make_entry(acme, outcome="error", api_key=key, model="m")
    make_entry(acme)
    url = url_of(LedgerEntry, "changelist")
    assert page_of(client, f"{url}?outcome__exact=expired").result_list == [old]
    assert page_of(client, f"{url}?outcome__exact=error").result_list == [failed]
    by_model = client.get(f"{url}?model=m")
    assert by_model.context["cl"].result_list == [failed]
    assert "of the last 31 days" in text_of(by_model)
    day = old.local_day
    everything = page_of(client, f"{url}?model={old.model}&local_day_from={day}&local_day_to={day}")
    assert everything.result_list == [old]


ATTEMPTS = [
    {"upstream": "east", "model": "big", "outcome": "timeout", "status": None,
     "latencyMs": 2000, "maybeBilled": True},
    {"upstream": "east", "model": "big", "outcome": "broken", "status": 503, "latencyMs": 40},
    {"upstream": "west", "model": "big", "outcome": "unreachable", "latencyMs": 0},
    {"upstream": "west", "model": "small", "outcome": "ok", "status": 200, "latencyMs": 310,
     "reference": "req-7", "cacheStatus": "MISS"},
]  # fmt: skip


CHARGED = (
    "Charged 10 tokens in and 5 out, as the provider counted; 85 held tokens were given back; cost"
    " 0.0125."
)


def test_story_tells_hold_attempts_fallback_and_settlement(client: Client) -> None:
    acme = make_tenant()
    entry = make_entry(
        acme, created_at=NOON, settled_at=NOON + timedelta(seconds=3), attempts=ATTEMPTS,
        model="small", model_reason="fallback", stream=True, ttft_ms=2400, latency_ms=3000,
        cost=Decimal("0.0125"),
    )  # fmt: skip
    correction = make_correction(entry, output_tokens=-2, total_tokens=-2, input_tokens=0,
                                 settled_at=NOON + timedelta(days=1), cost=None)  # fmt: skip
    steps = story.tell(entry, [correction])
    assert [(step.title, step.told, step.when) for step in steps] == [
        ("Admitted", "It asked for a stream; 100 tokens were held of every budget that applies.",
         "2026-03-01 12:00:00 UTC"),
        ("Model chosen", "small: it is a fallback, and those before it did not answer.", ""),
        ("Asked: big at east",
         "it did not answer in time. The provider may bill it all the same.", "2,000 ms"),
        ("Asked again: big at east",
         "it failed, or its answer could not be read to the end, HTTP 503.", "40 ms"),
        ("Next route: big at west", "it could not be reached, so nothing was sent.", ""),
        ("Fell back: small at west",
         "it answered, HTTP 200, cacheStatus MISS, reference req-7.", "310 ms"),
        ("First word", "The client got the beginning.", "after 2,400 ms"),
        ("Answered", "The client got all of it.", "after 3,000 ms"),
        ("Settled", CHARGED, "2026-03-01 12:00:03 UTC"),
        ("Later correction", "-2 tokens: wrong price (finance).", "2026-03-02 12:00:00 UTC"),
    ]  # fmt: skip
    page = text_of(client.get(url_of(LedgerEntry, "change", entry.pk)))
    assert "Fell back: small at west" in page
    assert "What became of it" not in text_of(
        client.get(url_of(LedgerEntry, "change", correction.pk))
    )


SWEPT = {"outcome": "expired", "usage_source": "expired"}
FULL = "its process fell silent; charged in full"
BEATEN = "its process fell silent; charged by its last heartbeat"
REFUSED = "the database refused its settlement; charged in full"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"outcome": "error", "error_code": "ai_error"}, "Failed ai_error: see the errors'"),
        ({"outcome": "aborted", "usage_source": "partial"}, "Broken off The client left"),
        (SWEPT | {"reason": FULL}, "Given up Its process fell silent"),
        (SWEPT | {"reason": FULL, "stream": True}, "in full, as held: no heartbeat had written"),
        (SWEPT | {"reason": FULL}, "in full, as held: of an answer in one piece nothing is"),
        (SWEPT | {"reason": BEATEN, "stream": True}, "what the last heartbeat had written down"),
        (SWEPT | {"reason": REFUSED}, "Given up The database refused its settlement"),
        # From before entries said why.
        (SWEPT | {"held_tokens": 15}, "in full, as held"),
        (SWEPT | {"held_tokens": 16}, "what the last heartbeat had written down"),
        ({"usage_source": "partial", "outcome": "error"}, "by what the provider had reported when"),
        ({"held_tokens": 5}, "10 more than held"),
        ({"cost": None}, "no price was known"),
        ({"attempts": []}, "Model chosen"),
    ],
)
def test_story_of_every_ending(fields: dict[str, Any], told: str) -> None:
    steps = story.tell(make_entry(make_tenant(), **fields))
    assert told in " ".join(f"{step.title} {step.told}" for step in steps)


def test_story_of_a_dead_process_says_when_it_was_found_and_claims_no_latency() -> None:
    found = NOON + timedelta(minutes=4)
    entry = make_entry(
        make_tenant(), created_at=NOON, settled_at=found, latency_ms=240_000, reason=FULL, **SWEPT
    )
    (given_up,) = (step for step in story.tell(entry) if step.title == "Given up")
    assert (given_up.when, given_up.tone) == ("found 2026-03-01 12:04:00 UTC", "bad")


def test_list_tells_seconds_kinds_and_no_latency_that_nobody_knows(client: Client) -> None:
    acme = make_tenant()
    entry = make_entry(acme, created_at=NOON + timedelta(seconds=7), usage_source="estimated")
    make_correction(entry, created_at=NOON)
    make_entry(acme, created_at=NOON - timedelta(days=1), latency_ms=255_998, **SWEPT)
    page = text_of(client.get(url_of(LedgerEntry, "changelist")))
    for told in ("Admitted, UTC", "2026-03-01 12:00:07", "10 / 5", "estimated", "correction"):
        assert told in page
    assert "120 ms" in page
    assert "255,998" not in page
    shown = text_of(client.get(url_of(LedgerEntry, "change", entry.pk)))
    assert "Admitted, UTC" in shown
    assert "Settled, UTC" in shown
    assert "2026-03-01 12:00:07" in shown
