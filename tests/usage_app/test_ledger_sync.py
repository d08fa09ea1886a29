"""The sweep ends the holds of silent processes, once each, and nothing else; windows ahead."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from tenants_app import keys
from tenants_app.models import Tenant
from tests.factories import make_key, make_model, make_tenant
from tests.usage_app.entries import make_hold, make_process, make_window
from usage_app import ledger_sync
from usage_app.models import (
    GatewayProcess,
    LedgerEntry,
    Price,
    RateBucket,
    Reservation,
    UsageWindow,
)

# The cluster of a test run is younger than 30 s, and nothing is swept right after Postgres' start.
SILENCE = timedelta(milliseconds=200)
SILENT = timedelta(minutes=5)


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


def counters(window: UsageWindow) -> tuple[object, ...]:
    window.refresh_from_db()
    return (
        *(window.requests, window.tokens, window.cost),
        *(window.held_requests, window.held_tokens, window.held_cost),
    )


def make_price(**fields: str) -> Price:
    return Price.objects.create(
        model=make_model(),
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        **{name: Decimal(value) for name, value in fields.items()},
    )


def test_hold_that_had_not_begun_to_stream_is_charged_in_full(acme: Tenant) -> None:
    process, price = make_process(silent_for=SILENT), make_price(input="0.0001", output="2.5")
    windows = [
        make_window(acme),
        make_window(acme, "month"),
        make_window(acme, api_key=make_key(acme).key),
    ]
    hold = make_hold(
        acme,
        windows,
        process_id=process.id,
        price=price,
        held_cost=Decimal(7),
        api_key=windows[2].api_key,
        cost_center="R&D",
        metadata={"team": "x"},
        user_hash="ab",
        created_at=datetime.now(UTC) - timedelta(hours=1),
    )

    assert ledger_sync.expire(silence=SILENCE) == 1

    assert not Reservation.objects.exists()
    entry = LedgerEntry.objects.get()
    for name in ("id", "created_at", "local_day", "tenant_id", "api_key_id", "trace_id"):
        assert getattr(entry, name) == getattr(hold, name)
    for name in ("cost_center", "model", "model_reason", "upstream", "price_id", "stream"):
        assert getattr(entry, name) == getattr(hold, name)
    assert (entry.user_hash, entry.metadata, entry.held_tokens) == ("ab", {"team": "x"}, 100)
    assert (entry.kind, entry.usage_source, entry.outcome) == ("usage", "expired", "expired")
    assert (entry.input_tokens, entry.output_tokens, entry.total_tokens) == (40, 60, 100)
    assert (entry.overrun_tokens, entry.attempts, entry.ttft_ms) == (0, [], None)
    assert entry.reason == "its process fell silent; charged in full"
    assert entry.cost == Decimal("0.0001500040")
    assert 3_600_000 <= entry.latency_ms < 3_700_000
    for window in windows:
        assert counters(window) == (1, 100, Decimal("0.000150004"), 0, 0, 0)


def test_hold_that_was_streaming_is_charged_what_was_relayed(acme: Tenant) -> None:
    window = make_window(acme)
    make_hold(acme, [window], streamed_output_tokens=7, process_id=uuid4())
    assert ledger_sync.expire(silence=SILENCE) == 1
    entry = LedgerEntry.objects.get()
    assert (entry.input_tokens, entry.output_tokens, entry.cost) == (12, 7, None)
    assert entry.reason == "its process fell silent; charged by its last heartbeat"
    assert counters(window) == (1, 19, 0, 0, 0, 0)


def test_concurrency_falls_and_the_minute_gets_its_tokens_back(acme: Tenant) -> None:
    running = make_window(acme, "concurrent", ends_at=datetime(9999, 1, 1, tzinfo=UTC))
    bucket = RateBucket.objects.create(
        tenant=acme, metric="tokens", level_micro=0, refilled_at=datetime.now(UTC)
    )
    make_hold(acme, [running], bucket_ids=[bucket.id], streamed_output_tokens=8)
    ledger_sync.expire(silence=SILENCE)
    bucket.refresh_from_db()
    assert bucket.level_micro == 80_000_000
    assert counters(running) == (0, 0, 0, 0, 0, 0)


def test_holds_of_a_beating_heart_are_kept(acme: Tenant) -> None:
    process = make_process()
    hold = make_hold(acme, [make_window(acme)], process_id=process.id)
    assert ledger_sync.expire(silence=timedelta(seconds=5)) == 0
    GatewayProcess.objects.update(heartbeat_at=datetime.now(UTC) - SILENT)
    assert ledger_sync.expire(silence=SILENCE) == 1
    assert LedgerEntry.objects.get().id == hold.id


def test_nothing_is_swept_right_after_the_start_of_postgres(acme: Tenant) -> None:
    make_hold(acme, [make_window(acme)])
    assert ledger_sync.expire(silence=timedelta(days=1)) == 0
    assert Reservation.objects.exists()


def test_hold_left_for_months_is_swept_too(acme: Tenant) -> None:
    make_hold(acme, [make_window(acme)], created_at=datetime.now(UTC) - timedelta(days=90))
    assert ledger_sync.expire(silence=SILENCE) == 1
    assert LedgerEntry.objects.get().latency_ms == 2**31 - 1


def test_dear_expired_hold_is_charged_to_the_last_place(acme: Tenant) -> None:
    price = make_price(input="9999999999.9999", output="0.0001")
    windows = [make_window(acme)]
    make_hold(acme, windows, price=price, held_tokens=99_999_999, held_input_tokens=99_999_998)
    ledger_sync.expire(silence=SILENCE)
    exact = 99_999_998 * price.input / 10**6 + price.output / 10**6
    assert (LedgerEntry.objects.get().cost, counters(windows[0])[2]) == (exact, exact)


def test_sweep_goes_on_until_nothing_is_left(acme: Tenant) -> None:
    window = make_window(acme)
    for _ in range(7):
        make_hold(acme, [window], streamed_output_tokens=3)
    assert ledger_sync.expire(limit=3, silence=SILENCE) == 7
    assert ledger_sync.expire(limit=3, silence=SILENCE) == 0
    assert counters(window) == (7, 7 * 15, 0, 0, 0, 0)


def test_processes_are_forgotten_when_silent_and_without_holds(acme: Tenant) -> None:
    days = timedelta(days=2)
    make_process(silent_for=days)
    holding, young = make_process(silent_for=days), make_process(silent_for=timedelta(hours=2))
    make_hold(acme, [], process_id=holding.id)
    make_hold(acme, [], process_id=None)
    assert ledger_sync.forget_processes() == 1
    assert set(GatewayProcess.objects.values_list("id", flat=True)) == {holding.id, young.id}


# --- at once --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_end_each_hold_once() -> None:
    tenants = [make_tenant("acme"), make_tenant("globex")]
    windows = [make_window(tenant, period) for tenant in tenants for period in ("day", "month")]
    for number in range(40):
        mine = windows[:2] if number % 2 else windows[2:]
        make_hold(tenants[0] if number % 2 else tenants[1], mine)
    ended: list[int] = []

    def sweep() -> None:
        try:
            ended.append(ledger_sync.expire(limit=4, silence=SILENCE))
        finally:
            connection.close()

    threads = [Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended.append(ledger_sync.expire(silence=SILENCE))
    assert sum(ended) == 40 == LedgerEntry.objects.count()
    for window in windows:
        assert counters(window) == (20, 2000, 0, 0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_hold_that_is_being_settled_is_passed_over() -> None:
    window = make_window(make_tenant())
    other = make_tenant("globex")
    being_settled = make_hold(window.tenant, [window])
    make_hold(other, [make_window(other)])
    found: list[int] = []

    def sweep() -> None:
        try:
            found.append(ledger_sync.expire(silence=SILENCE))
        finally:
            connection.close()

    with transaction.atomic():
        Reservation.objects.select_for_update().get(pk=being_settled.id)
        thread = Thread(target=sweep)
        thread.start()
        thread.join(10)
    assert found == [1]
    assert Reservation.objects.get().id == being_settled.id


# --- windows ahead ------------------------------------------------------------------------------

EVENING = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)


def used_window(tenant: Tenant, **fields: Any) -> UsageWindow:
    day = datetime(2026, 3, 31, tzinfo=UTC)
    span = {"starts_at": day, "ends_at": day + timedelta(days=1)}
    return make_window(tenant, **{**span, "requests": 1, **fields})


def test_windows_of_tomorrow_are_made_for_who_was_active(acme: Tenant) -> None:
    key, revoked = make_key(acme).key, make_key(acme).key
    keys.revoke(revoked)
    used_window(acme)
    used_window(acme, api_key=key)
    used_window(acme, api_key=revoked)
    used_window(acme, api_key=make_key(acme).key, requests=0)
    used_window(make_tenant("globex", status="suspended"))

    assert ledger_sync.make_windows_ahead(EVENING) == 4
    assert ledger_sync.make_windows_ahead(EVENING) == 0

    april = datetime(2026, 4, 1, tzinfo=UTC)
    made = UsageWindow.objects.filter(starts_at=april).order_by("api_key_id", "period")
    assert {(row.tenant_id, row.api_key_id, row.period, row.ends_at) for row in made} == {
        (acme.id, key_id, period, ends_at)
        for key_id in (None, key.id)
        for period, ends_at in (
            ("day", april + timedelta(days=1)),
            ("month", datetime(2026, 5, 1, tzinfo=UTC)),
        )
    }


def test_windows_ahead_follow_the_tenants_clock(acme: Tenant) -> None:
    berlin = make_tenant("berlin", timezone="Europe/Berlin")
    used_window(berlin)
    assert ledger_sync.make_windows_ahead(EVENING) == 0
    assert ledger_sync.make_windows_ahead(EVENING - timedelta(hours=2)) == 2
    day = UsageWindow.objects.get(period="day", requests=0)
    assert day.starts_at == datetime(2026, 3, 31, 22, tzinfo=UTC)
