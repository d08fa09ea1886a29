"""How upstreams fared: counted by every process, written down together, forgotten in time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from chat_app import selectors, tasks, upstream_minutes
from chat_app.attempts import Attempt
from chat_app.models import UpstreamMinute
from chat_app.upstream_minutes import UpstreamMinutes
from tenants_app.models import Upstream
from tests.factories import make_key, make_model, make_route, make_tenant, make_upstream
from tests.live import Server, eventually
from tests.loops import run


def attempt(outcome: str, *, latency_ms: int = 10, status: int | None = None) -> Attempt:
    return Attempt("up", "m", outcome, status=status, latency_ms=latency_ms)


def health(upstream: Upstream) -> selectors.Health:
    return selectors.health([upstream])[upstream.pk]


@pytest.mark.django_db(transaction=True)
def test_processes_add_up_and_the_last_failure_is_told() -> None:
    upstream, other = make_upstream("up"), make_upstream("other")

    async def one_process() -> None:
        minutes = UpstreamMinutes()
        for latency_ms in (10, 20):
            minutes.note(upstream.pk, attempt("ok", latency_ms=latency_ms, status=200))
        minutes.note(upstream.pk, attempt("broken", status=500), "it fell over")
        minutes.note_cut(upstream.pk, attempt("broken", status=200), "gone")
        minutes.note(upstream.pk, attempt("circuit_open", latency_ms=0))
        await minutes.aclose()

    run(one_process())
    run(one_process())
    found = health(upstream)
    assert [(one.name, one.calls, one.latency_ms) for one in found.outcomes] == [
        ("broken", 2, 10),
        ("cut_off", 2, 10),
        ("ok", 2, 15),
    ]
    # What was cut off had been counted as ok; what was not asked is no call.
    assert (found.calls, found.failures, found.failed_percent) == (6, 4, "67 %")
    assert found.not_asked == 2
    assert [(row.message, row.status) for row in selectors.recent_failures(9)] == [
        ("it fell over", 500),
        ("gone", 200),
    ]
    assert health(other) == selectors.Health()


@pytest.mark.django_db(transaction=True)
def test_counts_are_written_while_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_minutes, "WRITE_EVERY_SECONDS", 0.01)
    upstream = make_upstream("up")

    async def twice() -> None:
        minutes = UpstreamMinutes()
        for _ in range(2):
            minutes.note(upstream.pk, attempt("ok"))
            await asyncio.sleep(0.1)

    run(twice())
    assert health(upstream).calls == 2


@pytest.mark.django_db(transaction=True)
def test_requests_are_counted(live: Server) -> None:
    upstream = make_upstream("up", kind="demo")
    for name in ("demo-echo", "demo-error"):
        make_route(make_model(name), upstream)
    key = make_key(make_tenant("acme"))
    for name in ("demo-echo", "demo-error"):
        live.chat(key, {"modelId": name})
    eventually(lambda: health(upstream).calls == 4, seconds=15)
    assert {one.name: one.calls for one in health(upstream).outcomes} == {"ok": 1, "broken": 3}


@pytest.mark.django_db
def test_old_minutes_are_not_counted_and_later_forgotten() -> None:
    upstream = make_upstream("up")
    now = timezone.now()
    for age in (timedelta(minutes=59), timedelta(hours=2), timedelta(days=3)):
        UpstreamMinute.objects.create(
            upstream=upstream, minute=now - age, outcome="broken", calls=1, latency_ms=1
        )
    assert health(upstream).calls == 1
    tasks.forget_upstream_minutes()
    assert UpstreamMinute.objects.filter(upstream=upstream).count() == 2


@pytest.mark.parametrize(
    ("ok", "failed", "told"),
    [
        (16, 8, "33 %"), (1, 1, "50 %"), (199, 1, "1 %"), (201, 1, "under 1 %"), (0, 3, "100 %"),
        (1, 999, "over 99 %"), (5, 0, "0 %"), (0, 0, "0 %"),
    ],
)  # fmt: skip
def test_share_of_failures_is_rounded_to_the_nearest_and_never_to_none_or_all(
    ok: int, failed: int, told: str
) -> None:
    now = datetime.now(UTC)
    outcomes = (selectors.Outcome("ok", ok, 1, now), selectors.Outcome("broken", failed, 1, now))
    assert selectors.Health(outcomes).failed_percent == told
