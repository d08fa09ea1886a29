"""What became of one request, step by step, as its ledger entry tells it. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from usage_app import swept
from usage_app.amounts import money

if TYPE_CHECKING:
    from usage_app.models import LedgerEntry

# Why a model was chosen; see chat_app/routing.py.
REASONS: Final[Mapping[str, str]] = {
    "request": "the client named it",
    "env": "the deployment's MODEL_ID names it",
    "tenant": "the client named none, and it is the tenant's default",
    "fallback": "it is a fallback, and those before it did not answer",
}
# What an attempt ended in; see chat_app/attempts.py.
OUTCOMES: Final[Mapping[str, str]] = {
    "ok": "it answered",
    "cancelled": "the client left while it was asked",
    "not_usable": "passed over: the tenant may not use it any more",
    "unreachable": "it could not be reached, so nothing was sent",
    "timeout": "it did not answer in time",
    "rejected": "it refused the request",
    "rate_limited": "its rate limit was reached",
    "broken": "it failed, or its answer could not be read to the end",
    "circuit_open": "not asked: it had failed too often of late",
    "error": "it failed",
}
ENDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "ok": ("Answered", "good"),
    "error": ("Failed", "bad"),
    "aborted": ("Broken off", "warn"),
}
SOURCES: Final[Mapping[str, str]] = {
    "provider": "as the provider counted",
    "estimated": "by estimate, since the provider reported no usage",
    "partial": "by what the provider had reported when it ended, or else what had been relayed",
}
# How the sweep charged a request; see usage_app/ledger_sql.py.
BY_HEARTBEAT: Final = (
    "by the estimate of the message and what the last heartbeat had written down as relayed"
)
STREAM_IN_FULL: Final = (
    "in full, as held: no heartbeat had written down yet that it streams, and the provider may have"
    " answered"
)
WHOLE_IN_FULL: Final = (
    "in full, as held: of an answer in one piece nothing is written down before its end, and the"
    " provider may have answered"
)
SETTLEMENT_REFUSED: Final = (
    "The database refused its settlement, so the sweep settled it; the log has why, as"
    " settle_failed."
)
FELL_SILENT: Final = (
    "Its process fell silent, by its death or without a way to the database, and the sweep settled"
    " it. When it broke off, nobody knows."
)
# Besides what is told in words.
_NOTES: Final = ("cacheStatus", "step", "gatewayModel", "gatewayProvider", "reference")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened; `tone` is good, warn, bad or empty."""

    title: str
    told: str
    when: str = ""
    tone: str = ""


def tell(entry: LedgerEntry, later: Sequence[LedgerEntry] = ()) -> list[Step]:
    """The steps of a request, in their order; `later` are the entries about it."""
    return [
        _admitted(entry),
        Step("Model chosen", f"{entry.model}: {_reason(entry)}."),
        *_attempts(entry.attempts),
        *_first_word(entry),
        _ended(entry),
        _settled(entry),
        *map(_later, later),
    ]


def _admitted(entry: LedgerEntry) -> Step:
    whole = "a stream" if entry.stream else "an answer in one piece"
    held = f"{entry.held_tokens:,} tokens were held of every budget that applies"
    return Step("Admitted", f"It asked for {whole}; {held}.", _instant(entry.created_at))


def _reason(entry: LedgerEntry) -> str:
    return REASONS.get(entry.model_reason, entry.model_reason)


def _attempts(attempts: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    before: Mapping[str, Any] = {}
    for attempt in attempts:
        yield Step(
            f"{_way(attempt, before)}: {attempt.get('model', '?')} at {attempt.get('upstream')}",
            _told(attempt),
            f"{attempt['latencyMs']:,} ms" if attempt.get("latencyMs") else "",
            "good" if attempt.get("outcome") == "ok" else "warn",
        )
        before = attempt


def _way(attempt: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Whether this was the first try, another one, or a way around."""
    if not before:
        return "Asked"
    if attempt.get("model") != before.get("model"):
        return "Fell back"
    return "Asked again" if attempt.get("upstream") == before.get("upstream") else "Next route"


def _told(attempt: Mapping[str, Any]) -> str:
    outcome = str(attempt.get("outcome", ""))
    parts = [OUTCOMES.get(outcome, outcome)]
    if attempt.get("status"):
        parts.append(f"HTTP {attempt['status']}")
    parts += [f"{name} {attempt[name]}" for name in _NOTES if attempt.get(name)]
    told = f"{', '.join(parts)}."
    return f"{told} The provider may bill it all the same." if attempt.get("maybeBilled") else told


def _first_word(entry: LedgerEntry) -> Iterator[Step]:
    if entry.ttft_ms is not None:
        yield Step("First word", "The client got the beginning.", f"after {entry.ttft_ms:,} ms")


def _ended(entry: LedgerEntry) -> Step:
    if entry.outcome == "expired":
        return _found(entry)
    title, tone = ENDINGS.get(entry.outcome, (entry.outcome, ""))
    why = f"{entry.error_code}: see the errors' reference." if entry.error_code else ""
    if not why:
        why = {
            "ok": "The client got all of it.",
            "aborted": "The client left, or the server stopped.",
        }.get(entry.outcome, "")
    return Step(title, why, f"after {entry.latency_ms:,} ms", tone)


def _found(entry: LedgerEntry) -> Step:
    """The sweep's entry knows no end, only when its hold was found."""
    why = SETTLEMENT_REFUSED if swept.was_refused(entry) else FELL_SILENT
    return Step("Given up", why, f"found {_instant(entry.settled_at)}", "bad")


def _settled(entry: LedgerEntry) -> Step:
    tokens = f"{entry.input_tokens:,} tokens in and {entry.output_tokens:,} out"
    how = _counted(entry)
    back = entry.held_tokens - entry.total_tokens
    rest = f"{back:,} held tokens were given back" if back >= 0 else f"{-back:,} more than held"
    cost = "no price was known" if entry.cost is None else f"cost {money(entry.cost)}"
    told = f"Charged {tokens}, {how}; {rest}; {cost}."
    return Step("Settled", told, _instant(entry.settled_at))


def _counted(entry: LedgerEntry) -> str:
    """By whose count it was charged."""
    if entry.usage_source != "expired":
        return SOURCES.get(entry.usage_source, entry.usage_source)
    if not swept.is_in_full(entry):
        return BY_HEARTBEAT
    return STREAM_IN_FULL if entry.stream else WHOLE_IN_FULL


def _later(entry: LedgerEntry) -> Step:
    change = f"{entry.total_tokens:+,} tokens"
    cost = "" if entry.cost is None else f", cost {money(entry.cost)}"
    why = f": {entry.reason}" if entry.reason else ""
    by = f" ({entry.author})" if entry.author else ""
    title = f"Later {entry.kind}"
    return Step(title, f"{change}{cost}{why}{by}.", _instant(entry.settled_at))


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
