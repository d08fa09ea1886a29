"""What a turn is before its upstream is called, and what it asks of the books. PURE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat_app import tokens
from chat_app.routing import Candidate
from chat_app.schema import ChatCall, Message
from tenants_app.snapshots import Caller
from tenants_app.tracing import Trace
from usage_app.admission import MINIMUM_OUTPUT_TOKENS, Demand
from usage_app.errors import ModelUnpriced
from usage_app.holds import Wish
from usage_app.pricing import Rates

Quotes = Mapping[str, Rates | None]


@dataclass(frozen=True, slots=True)
class Turn:
    """All that is known of a turn before its upstream is called."""

    caller: Caller
    call: ChatCall
    trace: Trace
    began: float
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
        return self.call.max_tokens or self.candidates[0].model.default_output

    def demand(self) -> Demand:
        """The most it may come to with any of its candidates: a fallback needs no second hold."""
        wanted = min(self.wanted_output, self.candidates[0].model.max_output)
        ratios = {c.model.hold_bytes_per_token: c.model for c in self.candidates}
        quotes = [rates for rates in self.quotes.values() if rates is not None]
        return Demand(
            input_tokens=max(tokens.ceiling_input(self.messages, m) for m in ratios.values()),
            output_tokens=wanted,
            minimum_output_tokens=min(MINIMUM_OUTPUT_TOKENS, wanted),
            input_rate=max((rates.dearest_input for rates in quotes), default=0),
            output_rate=max((rates.output for rates in quotes), default=0),
        )


def affordable(
    caller: Caller, candidates: Sequence[Candidate], quotes: Quotes
) -> Sequence[Candidate]:
    """Under a money budget only the candidates with a price. Raises ModelUnpriced for the first."""
    limits = caller.tenant.limits + (caller.key.limits if caller.key else ())
    if not any(limit.metric == "cost" for limit in limits):
        return candidates
    if quotes[candidates[0].model.public_id] is None:
        raise ModelUnpriced
    return [c for c in candidates if quotes[c.model.public_id] is not None]
