"""A provider in this process: offline and deterministic; the model's name picks a scenario.

For the first minutes with Tollgate and for tests. Its usage is the estimate of tokens.py, so that
every figure of a demo can be checked by hand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from chat_app import tokens
from chat_app.providers.base import (
    Answer,
    Delta,
    Event,
    Finished,
    Head,
    UpstreamBroken,
    UpstreamCall,
    UpstreamRejected,
    UpstreamTimeout,
    UsageReport,
    WholeAnswer,
)
from usage_app.pricing import UsageFigures

if TYPE_CHECKING:
    from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot

LONG_ANSWER_WORDS = 500
WORDS_BEFORE_DROP = 3
REFERENCE = "demo"


@dataclass(frozen=True, slots=True)
class Scenario:
    """How a demo model behaves. Pauses are in seconds and only between words of a stream."""

    description: str
    first_pause: float = 0.0
    pause: float = 0.02
    fails: bool = False
    drops: bool = False
    reports: bool = True
    long: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    "demo-echo": Scenario("Repeats what it is told."),
    "demo-slow": Scenario("Thinks for two seconds, then speaks slowly.", first_pause=2, pause=0.25),
    "demo-error": Scenario("Fails before its first word.", fails=True),
    "demo-drop": Scenario("Is cut off after three words.", drops=True),
    "demo-unreported": Scenario("Never says how many tokens it used.", reports=False),
    "demo-long": Scenario("Gives an answer of 500 words.", pause=0.005, long=True),
}
# For the seed: model name → what it shows.
DEMO_MODELS: Mapping[str, str] = {name: play.description for name, play in SCENARIOS.items()}


class DemoProvider:
    """Provider for upstreams of kind demo."""

    async def open(self, route: RouteSnapshot, call: UpstreamCall, *, seconds: float) -> Answer:
        """See Provider.open; honours the upstream's first-byte timeout as a real one would."""
        scenario = SCENARIOS.get(route.upstream_model)
        if scenario is None:
            raise UpstreamRejected("no such demo model", head=Head(404, REFERENCE))
        patience = min(route.upstream.first_byte_timeout_ms / 1000, seconds)
        await asyncio.sleep(min(scenario.first_pause, patience))
        if scenario.first_pause > patience:
            raise UpstreamTimeout("first byte timeout")
        if scenario.fails:
            head = Head(500, REFERENCE)
            raise UpstreamBroken("demo-error always fails", head=head, retryable=True)
        words, events = _script(scenario, call)
        if call.stream:
            return DemoAnswer(words, events, pause=scenario.pause, drops=scenario.drops)
        if scenario.drops:
            raise _dropped()
        return WholeAnswer(200, REFERENCE, [Delta("".join(words)), *events])

    async def models(self, upstream: UpstreamSnapshot, *, seconds: float) -> tuple[str, ...]:
        """See Provider.models."""
        return tuple(sorted(SCENARIOS))


class DemoAnswer:
    """An answer that comes word by word; see Answer."""

    def __init__(self, words: list[str], ending: list[Event], *, pause: float, drops: bool) -> None:
        self.status = 200
        self.reference: str | None = REFERENCE
        self.notes: Mapping[str, str] = {}
        self._batches: list[list[Event]] = [[Delta(word)] for word in words]
        self._pause = pause
        self._drops = drops
        if drops:
            del self._batches[WORDS_BEFORE_DROP:]
        else:
            self._batches.append(ending)
        self._given = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Event]:
        if self._given:
            await asyncio.sleep(self._pause)
        if self._given < len(self._batches):
            self._given += 1
            return self._batches[self._given - 1]
        if self._drops:
            raise _dropped()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """See Answer.aclose."""
        self._batches = []
        self._drops = False


def _dropped() -> UpstreamBroken:
    return UpstreamBroken("demo-drop always breaks off", head=Head(200, REFERENCE))


def _script(scenario: Scenario, call: UpstreamCall) -> tuple[list[str], list[Event]]:
    """The words to say, as far as max_tokens reaches, and the events after them."""
    text = _text(scenario, call)
    room = call.max_tokens * tokens.CHARACTERS_PER_TOKEN
    said = text[:room]
    ending: list[Event] = [Finished("stop" if len(said) == len(text) else "length")]
    if scenario.reports:
        output = tokens.estimate_characters(len(said))
        ending.append(UsageReport(UsageFigures(input=_input(call), output=output)))
    return re.findall(r"\s*\S+\s*$|\s*\S+", said) or [said], ending


def _text(scenario: Scenario, call: UpstreamCall) -> str:
    if scenario.long:
        return " ".join(f"word{n}" for n in range(1, LONG_ANSWER_WORDS + 1))
    asked = next((m.content for m in reversed(call.messages) if m.role == "user"), "")
    return f"You said: {asked}"


def _input(call: UpstreamCall) -> int:
    return max(1, tokens.estimate(call.messages))
