"""What a turn is before its upstream is called, and what it asks of the books. PURE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat_app import routing, tokens
from chat_app.routing import Candidate, Deployment
from chat_app.schema import ChatCall, Message
from tenants_app.snapshots import Caller
from tenants_app.tracing import Trace
from usage_app.admission import MINIMUM_OUTPUT_TOKENS, Demand
from usage_app.errors import ModelUnpriced
from usage_app.holds import Hold, Wish
from usage_app.pricing import Rates

Quotes = Mapping[str, Rates | None]


@dataclass(frozen=True, slots=True)
class Turn:
    """All that is known of a turn before its upstream is called."""

    caller: Caller
    call: ChatCall
    trace: Trace
    began: float
    deployment: Deployment
    candidates: Sequence[Candidate]
    notes: Sequence[str]
    quotes: Quotes
    messages: tuple[Message, ...]
    estimated_input: int
    user_hash: str

    def wish(self) -> Wish:
        """What the books are asked for, with the first candidate as the one that will answer."""
        first = self.candidates[0]
        rates = self.quotes[first.model.public_id]
        return Wish(
            request_id=self.trace.request_id,
            caller=self.caller,
            trace_id=self.trace.id,
            model=first.model.public_id,
            model_reason=first.reason,
            upstream=first.route.upstream.name,
            price_id=rates.price_id if rates else None,
            demand=self.demand(),
            estimated_input_tokens=self.estimated_input,
            stream=self.call.stream,
            user_hash=self.user_hash,
            metadata=self.call.metadata,
        )

    @property
    def wanted_output(self) -> int:
        """The answer's longest length in tokens, before any cap is put on it."""
        return tokens.wanted_output(self.call, self.candidates[0].model)

    def demand(self) -> Demand:
        """The most it may come to with any of its candidates: a fallback needs no second hold."""
        wanted = min(self.wanted_output, self.candidates[0].model.max_output)
        # One look at the prompt for all candidates that count it alike.
        countings = {
            (c.model.hold_bytes_per_token, c.model.template_tokens): c.model
            for c in self.candidates
        }
        quotes = [rates for rates in self.quotes.values() if rates is not None]
        return Demand(
            input_tokens=max(tokens.ceiling_input(self.messages, m) for m in countings.values()),
            output_tokens=wanted,
            minimum_output_tokens=min(MINIMUM_OUTPUT_TOKENS, wanted),
            input_rate=max((rates.dearest_input for rates in quotes), default=0),
            output_rate=max((rates.output for rates in quotes), default=0),
        )

    def as_of(self, caller: Caller, fallback: Candidate, hold: Hold) -> Candidate | None:
        """The fallback as `caller`, perhaps a newer snapshot, has it; None if it may not be used.

        It must still be a candidate, under a money budget have a price, and fit in the hold, which
        was taken for the dearest of them. Raises ModelNotAllowed or ModelUnknown.
        """
        if caller is self.caller:
            return fallback
        choice = routing.choose(caller, self.call, self.deployment)
        newest = next((c for c in choice.candidates if _are_the_same(c, fallback)), None)
        if newest is None:
            return None
        if _has_money_budget(caller) and self.quotes.get(newest.model.public_id) is None:
            return None
        most = tokens.ceiling_input(self.messages, newest.model) + hold.output_tokens
        return newest if most <= hold.tokens else None


def affordable(
    caller: Caller, candidates: Sequence[Candidate], quotes: Quotes
) -> Sequence[Candidate]:
    """Under a money budget only the candidates with a price. Raises ModelUnpriced for the first."""
    if not _has_money_budget(caller):
        return candidates
    if quotes[candidates[0].model.public_id] is None:
        raise ModelUnpriced
    return [c for c in candidates if quotes[c.model.public_id] is not None]


def _has_money_budget(caller: Caller) -> bool:
    return any(limit.metric == "cost" for limit in caller.limits)


def _are_the_same(one: Candidate, other: Candidate) -> bool:
    """Whether both ask the same upstream for the same model."""
    return (
        one.model.public_id == other.model.public_id
        and one.route.upstream.id == other.route.upstream.id
        and one.route.upstream_model == other.route.upstream_model
    )
