"""What a turn knows before its upstream is called: above all whether a fallback still is one."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from chat_app.errors import ModelNotAllowed
from chat_app.routing import Candidate, Deployment, choose
from chat_app.schema import ChatCall, Message
from chat_app.turn import Turn
from tenants_app.snapshots import Caller, Limit
from tenants_app.tracing import trace_of
from tests.chat_app.snapshots import caller, model, route, upstream
from usage_app.holds import Hold
from usage_app.pricing import Rates

CALL = ChatCall(uuid4(), "hello")
MODELS = [model("first"), model("second")]
RATES = Rates(1, 0, 0, 0, 0)


def before(**changes: Any) -> Caller:
    return caller(*MODELS, default="first", fallbacks=["second"], **changes)


def turn(of: Caller) -> Turn:
    choice = choose(of, CALL, Deployment())
    return Turn(
        caller=of,
        call=CALL,
        trace=trace_of({}),
        began=0.0,
        deployment=Deployment(),
        candidates=choice.candidates,
        notes=(),
        quotes={"first": RATES, "second": None},
        messages=(Message("user", "hello"),),
        estimated_input=2,
        user_hash="",
    )


def hold(tokens: int = 13 + 64) -> Hold:
    return Hold(
        request_id=uuid4(),
        tenant_id=1,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        local_day=date(2026, 11, 1),
        tokens=tokens,
        cost=0,
        output_tokens=64,
        window_ids=[],
        bucket_ids=[],
        budgets=[],
        rate=None,
        model="first",
        upstream="main",
        price_id=None,
    )


def as_of(now: Caller, held: Hold | None = None) -> Candidate | None:
    asked = turn(before())
    return asked.as_of(now, asked.candidates[1], held or hold())


def test_fallback_of_an_unchanged_snapshot_is_taken_as_it_is() -> None:
    asked = turn(before())
    assert asked.as_of(asked.caller, asked.candidates[1], hold(0)) is asked.candidates[1]


def test_fallback_is_taken_as_the_newest_snapshot_has_it() -> None:
    changed = model("second", routes=[route("second", upstream("renamed"))])
    now = caller(MODELS[0], changed, default="first", fallbacks=["second"])
    found = as_of(now)
    assert found is not None
    assert found.route.upstream.name == "renamed"


@pytest.mark.parametrize(
    "now",
    [
        caller(*MODELS, default="first"),
        before(allowed=["first"]),
        caller(MODELS[0], model("second", routes=[]), default="first", fallbacks=["second"]),
        caller(
            MODELS[0],
            model("second", routes=[route("second", upstream("other", id=2))]),
            default="first",
            fallbacks=["second"],
        ),
    ],
    ids=["not-a-fallback", "not-allowed", "no-route", "other-upstream"],
)
def test_fallback_that_is_none_any_more_is_not_taken(now: Caller) -> None:
    assert as_of(now) is None


def test_nothing_is_taken_when_the_chosen_model_itself_may_not_be_used() -> None:
    with pytest.raises(ModelNotAllowed):
        as_of(before(allowed=["second"]))


def test_fallback_without_a_price_is_not_taken_under_a_new_money_budget() -> None:
    plain = before()
    limited = replace(plain, tenant=replace(plain.tenant, limits=(Limit("cost", "day", 10),)))
    assert as_of(limited) is None


def test_demand_is_the_most_of_any_candidate() -> None:
    plain, wordy = model("first"), replace(model("second"), template_tokens=21)
    asked = turn(caller(plain, wordy, default="first", fallbacks=["second"]))
    assert asked.demand().input_tokens == 13 + 21


def test_fallback_that_would_not_fit_into_the_hold_is_not_taken() -> None:
    dearer = caller(MODELS[0], model("second", ratio="0.5"), default="first", fallbacks=["second"])
    assert as_of(dearer) is None
    assert as_of(dearer, hold(18 + 64)) is not None
