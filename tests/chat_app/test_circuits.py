"""When an upstream is left alone, for whom, and how it comes back."""

from dataclasses import replace

import pytest

from chat_app.circuits import FAILURES_TO_OPEN, Circuit, Circuits
from chat_app.providers.base import (
    Head,
    ProviderError,
    UpstreamBroken,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tests.chat_app.snapshots import upstream

ACME, GLOBEX = 1, 2
UP = upstream("up", kind="openai", base_url="http://127.0.0.1:1/v1")
UNSENT = UpstreamRejected("the model's name will not do", sent=False)
REFUSED = UpstreamUnreachable("refused", retryable=True)


class World:
    """Circuits with a clock to turn, and what was heard of them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.heard: list[tuple[int | None, float]] = []
        self.circuits = Circuits(lambda: self.now, self.hear)

    def hear(self, circuit: Circuit) -> None:
        assert circuit.upstream is UP
        self.heard.append((circuit.tenant_id, circuit.pause_seconds))

    def admits(self, tenant: int = ACME) -> bool:
        return self.circuits.admit(UP, tenant)

    def fail(self, error: ProviderError, times: int = 1, *, tenant: int = ACME) -> None:
        for _ in range(times):
            assert self.admits(tenant)
            self.circuits.failed(UP, tenant, error)


@pytest.mark.parametrize(
    "error", [REFUSED, UpstreamTimeout("slow"), UpstreamBroken("oops", head=Head(500))]
)
def test_circuit_opens_after_so_many_failures_one_after_the_other(error: ProviderError) -> None:
    world = World()
    world.fail(error, FAILURES_TO_OPEN - 1)
    world.circuits.answered(UP, ACME)
    world.fail(error, FAILURES_TO_OPEN)
    assert not world.admits()
    assert [pause for _, pause in world.heard] == [5.0]


def test_upstream_that_cannot_be_reached_is_left_alone_by_all() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    assert not world.admits(GLOBEX)
    assert world.heard == [(None, 5.0)]


def test_tenant_whose_requests_fail_closes_the_way_for_itself_only() -> None:
    world = World()
    world.fail(UpstreamBroken("oops", head=Head(500)), FAILURES_TO_OPEN)
    assert not world.admits(ACME)
    assert world.admits(GLOBEX)
    assert world.heard == [(ACME, 5.0)]


@pytest.mark.parametrize(
    "error", [UpstreamRejected("no", head=Head(400)), UpstreamRateLimited("slow")]
)
def test_refusals_are_answers(error: ProviderError) -> None:
    world = World()
    world.fail(UpstreamTimeout("slow"), FAILURES_TO_OPEN - 1)
    world.fail(error)
    world.fail(UpstreamTimeout("slow"), FAILURES_TO_OPEN - 1)
    assert world.admits()


def test_what_was_never_asked_says_nothing() -> None:
    world = World()
    world.fail(UpstreamUnreachable("the address is not allowed"), FAILURES_TO_OPEN * 2)
    assert world.admits()


def test_what_was_refused_before_it_was_sent_is_no_answer() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN - 1)
    world.fail(UNSENT)
    world.fail(REFUSED)
    assert not world.admits()
    world.now += 5
    world.fail(UNSENT)
    assert world.heard == [(None, 5.0)]
    assert world.admits()


def test_one_tries_when_the_pause_is_over_and_closes_it() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    world.now += 4.9
    assert not world.admits()
    world.now += 0.1
    assert world.admits()
    assert not world.admits(GLOBEX)
    world.circuits.answered(UP, ACME)
    assert world.admits(ACME)
    assert world.admits(GLOBEX)
    assert world.heard == [(None, 5.0), (None, 0.0)]


def test_each_failed_try_doubles_the_pause_up_to_a_minute() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    for _ in range(5):
        world.now += 60
        world.fail(REFUSED)
        assert not world.admits()
    assert [pause for _, pause in world.heard] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_try_whose_client_leaves_is_given_to_another() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    world.now += 5
    assert world.admits()
    world.circuits.left(UP, ACME)
    assert world.admits(GLOBEX)


def test_failures_of_calls_that_were_under_way_do_not_lengthen_the_pause() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    for _ in range(5):
        world.circuits.failed(UP, GLOBEX, REFUSED)
    assert world.heard == [(None, 5.0)]
    world.now += 5
    assert world.admits()


def test_answer_of_a_call_that_was_under_way_closes_it() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    world.circuits.answered(UP, GLOBEX)
    assert world.admits()


def test_upstream_that_was_changed_begins_anew() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    assert world.circuits.admit(replace(UP, base_url="http://127.0.0.1:2/v1"), ACME)
    assert world.heard == [(None, 5.0), (None, 0.0)]


def test_upstream_that_can_be_reached_again_but_fails_is_open_for_the_one_only() -> None:
    world = World()
    world.fail(REFUSED, FAILURES_TO_OPEN)
    world.now += 5
    world.fail(UpstreamTimeout("slow"))
    assert world.admits(ACME)
    assert world.admits(GLOBEX)
