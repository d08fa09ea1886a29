"""One turn of a conversation: choose, reserve, open, relay, settle. It ends in exactly one ledger
entry.

Read `start` from top to bottom: what may refuse the request comes before the upstream is called,
and what may change the answer's status comes before there is an answer. The frames and bodies are
`serializers`'.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

import structlog
from django.conf import settings

from chat_app import gateway, routing, serializers, sessions, tokens
from chat_app.errors import AiError, AiTimeout
from chat_app.gateway import AllFailed, Attempt, Opened
from chat_app.providers.base import (
    Delta,
    Event,
    Finished,
    ProviderError,
    UpstreamCall,
    UpstreamTimeout,
    UsageReport,
)
from chat_app.routing import Candidate, Deployment
from chat_app.schema import ChatCall, Message
from tenants_app import keys
from tenants_app.directory import Caller
from tenants_app.errors import InternalError, ServiceUnavailable, TollgateError
from tenants_app.tracing import Trace
from usage_app import ledger, pricebook
from usage_app.admission import MINIMUM_OUTPUT_TOKENS, Demand
from usage_app.errors import ModelUnpriced
from usage_app.holds import BudgetState, Hold, Settlement, Wish
from usage_app.pricing import Rates, UsageFigures

End = Literal["ok", "error", "aborted"]
Quotes = dict[str, Rates | None]

log = structlog.get_logger("tollgate.chat")


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


async def start(caller: Caller, call: ChatCall, trace: Trace) -> "ChatStream":
    """Admit the turn and open its upstream.

    Raises ModelNotAllowed, ModelUnknown, ModelUnpriced, RateLimited, BudgetExceeded,
    ServiceUnavailable, and ConfigurationChanged when the caller's snapshot is out of date. An
    upstream that fails is no exception here: the stream's `error` says it.
    """
    began = monotonic()
    choice = routing.choose(caller, call, deployment())
    await pricebook.ensure(caller.tenant.shared_version)
    quotes = _quotes(choice.candidates)
    candidates = _affordable(caller, choice.candidates, quotes)
    history = await sessions.history(caller, call.session_id)
    messages = (*history, Message("user", call.message))
    turn = Turn(
        caller=caller,
        call=call,
        trace=trace,
        began=began,
        candidates=candidates,
        notes=choice.notes,
        quotes=quotes,
        messages=messages,
        estimated_input=tokens.estimate(messages),
    )
    stream = ChatStream(turn, await ledger.reserve(_wish(turn)))
    await stream.open()
    return stream


def deployment() -> Deployment:
    """What the environment says for every tenant."""
    return Deployment(settings.MODEL_ID, settings.FALLBACK_MODEL_ID)


class ChatStream:
    """An admitted turn, from its opened upstream to its settled end.

    Exactly one of `candidate` and `error` is set after `open`; `error` may come later too. It
    settles once, in every ending: use `frames`, or `collect`, and `aclose` whatever happened.
    """

    def __init__(self, turn: Turn, hold: Hold) -> None:
        self.turn = turn
        self.hold = hold
        self.candidate = turn.candidates[0]
        self.error: TollgateError | None = None
        self.text: list[str] = []
        self.finish_reason: str | None = None
        self.usage = UsageFigures()
        self.usage_source: Literal["provider", "estimated", "partial"] = "estimated"
        self.budget: BudgetState | None = hold.tightest
        self.ttft_ms: int | None = None
        self.latency_ms = 0
        self.attempts: list[Attempt] = []
        self._opened: Opened | None = None
        self._reported: UsageFigures | None = None
        self._relayed_characters = 0
        self._ended = False
        self._frames = self._relay()

    async def open(self) -> None:
        """Open the first candidate that answers. When all fail the turn is settled, and `error`
        set.
        """
        try:
            self._opened = await gateway.client().open(
                self.turn.candidates, self._upstream_call, attempts=self.attempts
            )
        except AllFailed as failed:
            self.candidate = self.turn.candidates[max(len(failed.attempts) - 1, 0)]
            self.error = failed.as_error()
            await self._settle("error")
        except BaseException:
            await self._settle("aborted")
            raise
        else:
            self.candidate = self._opened.candidate
            self._note_who_answers()

    async def collect(self) -> str:
        """The whole text, settled. Raises what `error` says if the upstream failed."""
        try:
            async for text in self._texts():
                self._relayed_characters += len(text)
            await self._settle("ok" if self.error is None else "error")
        finally:
            await self.aclose()
        if self.error is not None:
            raise self.error
        return "".join(self.text)

    def frames(self) -> AsyncIterator[bytes]:
        """The event stream: a frame for each piece of text, then the end, after the entry is
        durable.
        """
        return self._frames

    async def farewell(self) -> bytes:
        """The last frames of a stream that the server has to cut."""
        self.error = self.error or ServiceUnavailable("The gateway is restarting")
        await self._settle("aborted")
        return serializers.closing_frames(self)

    async def aclose(self) -> None:
        """Close the upstream, and settle as aborted what has not ended otherwise."""
        await self._frames.aclose()
        if self._opened is not None:
            await self._opened.answer.aclose()
        await self._settle("aborted")

    @property
    def relayed_tokens(self) -> int:
        """The estimate of what the client was sent."""
        return tokens.estimate_characters(self._relayed_characters)

    async def _relay(self) -> AsyncGenerator[bytes, None]:
        frame = serializers.text_frame(self)
        async for text in self._texts():
            yield frame(text)
            self._relayed_characters += len(text)
            self.hold.streamed_output_tokens = self.relayed_tokens
        await self._settle("ok" if self.error is None else "error")
        yield serializers.closing_frames(self)

    async def _texts(self) -> AsyncIterator[str]:
        """The answer's text as it comes. An upstream that fails midway ends it and sets `error`."""
        if self._opened is None:
            return
        try:
            async for events in self._opened.answer:
                text = self._take(events)
                if text:
                    if self.ttft_ms is None:
                        self.ttft_ms = self._elapsed_ms()
                    self.text.append(text)
                    yield text
        except ProviderError as failure:
            self.error = AiTimeout() if isinstance(failure, UpstreamTimeout) else AiError()
            gateway.client().note_break(self._opened, failure)
        except Exception:
            log.exception("stream_failed", requestId=str(self.turn.trace.request_id))
            self.error = InternalError()

    def _take(self, events: Sequence[Event]) -> str:
        text = ""
        for event in events:
            if isinstance(event, Delta):
                text += event.text
            elif isinstance(event, UsageReport):
                self._reported = event.usage
            elif isinstance(event, Finished):
                self.finish_reason = event.reason
        return text

    def _note_who_answers(self) -> None:
        """From here on a sweep would charge what was streamed, at the price of who answers."""
        model = self.candidate.model.public_id
        rates = self.turn.quotes[model]
        self.hold.model = model
        self.hold.upstream = self.candidate.route.upstream.name
        self.hold.price_id = rates.price_id if rates else None
        if self.turn.call.stream:
            self.hold.streamed_output_tokens = 0

    async def _settle(self, end: End) -> None:
        """Queue the settlement before the first await, once; return when it is durable."""
        if self._ended:
            return
        self._ended = True
        self.latency_ms = self._elapsed_ms()
        self._charge(end)
        said = [Message("user", self.turn.call.message)]
        if self.text:
            said.append(Message("assistant", "".join(self.text)))
        remembered = sessions.append(self.turn.caller, self.turn.call.session_id, said)
        try:
            self.budget = await ledger.settle(self.hold, self._settlement(end))
        except TollgateError as error:
            self.error = self.error or error
        if remembered is not None:
            await asyncio.wait([remembered])
        self._log(end)

    def _charge(self, end: End) -> None:
        """What the answer came to: the provider's word, or what was relayed, or nothing."""
        relayed = UsageFigures(input=self.turn.estimated_input, output=self.relayed_tokens)
        if end == "ok":
            self.usage = self._reported or relayed
            self.usage_source = "provider" if self._reported else "estimated"
        elif self._reported or self.relayed_tokens or (end == "aborted" and self._opened):
            self.usage = self._reported or relayed
            self.usage_source = "partial"

    def _settlement(self, end: End) -> Settlement:
        model = self.candidate.model.public_id
        rates = self.turn.quotes[model]
        cost = rates.cost(self.usage) if rates else None
        return Settlement(
            model=model,
            model_reason=self.candidate.reason,
            upstream=self.candidate.route.upstream.name,
            usage=self.usage,
            usage_source=self.usage_source,
            outcome=end,
            price_id=rates.price_id if rates else None,
            cost=cost if self.usage.total else 0,
            latency_ms=self.latency_ms,
            ttft_ms=self.ttft_ms,
            error_code=self.error.code if self.error else "",
            attempts=[attempt.as_json() for attempt in self.attempts],
            upstream_reference=(self._opened.answer.reference or "") if self._opened else "",
        )

    def _upstream_call(self, candidate: Candidate) -> UpstreamCall:
        turn = self.turn
        return UpstreamCall(
            messages=turn.messages,
            max_tokens=min(self.hold.output_tokens, candidate.model.max_output),
            temperature=turn.call.temperature,
            stream=turn.call.stream,
            user=self.hold.user_hash or None,
            metadata={
                "tenantId": turn.caller.tenant.slug,
                "traceId": turn.trace.id,
                "sessionId": str(turn.call.session_id),
                "route": candidate.model.public_id,
            },
        )

    def _elapsed_ms(self) -> int:
        return round((monotonic() - self.turn.began) * 1000)

    def _log(self, end: End) -> None:
        usage = self.usage
        log.info(
            "chat",
            tenantId=self.turn.caller.tenant.slug,
            traceId=self.turn.trace.id,
            requestId=str(self.turn.trace.request_id),
            outcome=end,
            error=self.error.code if self.error else None,
            model=self.candidate.model.public_id,
            modelReason=self.candidate.reason,
            notes=self.turn.notes or None,
            upstream=self.candidate.route.upstream.name,
            attempts=len(self.attempts),
            stream=self.turn.call.stream,
            tokensIn=usage.input,
            tokensOut=usage.output,
            usageSource=self.usage_source,
            latencyMs=self.latency_ms,
            ttftMs=self.ttft_ms,
        )


def _quotes(candidates: Sequence[Candidate]) -> Quotes:
    now = datetime.now(UTC)
    models = {candidate.model.public_id for candidate in candidates}
    return {model: pricebook.rates_at(model, now) for model in models}


def _affordable(
    caller: Caller, candidates: Sequence[Candidate], quotes: Quotes
) -> Sequence[Candidate]:
    """Under a money budget, the candidates with a price. Raises ModelUnpriced if the first has
    none.
    """
    limits = caller.tenant.limits + (caller.key.limits if caller.key else ())
    if not any(limit.metric == "cost" for limit in limits):
        return candidates
    if quotes[candidates[0].model.public_id] is None:
        raise ModelUnpriced
    return [c for c in candidates if quotes[c.model.public_id] is not None]


def _wish(turn: Turn) -> Wish:
    caller, call, first = turn.caller, turn.call, turn.candidates[0]
    rates = turn.quotes[first.model.public_id]
    user = keys.pseudonym(caller.tenant, call.user_id) if call.user_id else ""
    return Wish(
        request_id=turn.trace.request_id,
        caller=caller,
        trace_id=turn.trace.id,
        model=first.model.public_id,
        model_reason=first.reason,
        upstream=first.route.upstream.name,
        price_id=rates.price_id if rates else None,
        demand=_demand(turn),
        estimated_input_tokens=turn.estimated_input,
        stream=call.stream,
        user_hash=user,
        metadata=call.metadata,
    )


def _demand(turn: Turn) -> Demand:
    """The most the turn may come to with any of its candidates, so that a fallback needs no second
    hold.
    """
    model = turn.candidates[0].model
    wanted = min(turn.call.max_tokens or model.default_output, model.max_output)
    ratios = {c.model.hold_bytes_per_token: c.model for c in turn.candidates}
    quotes = [rates for rates in turn.quotes.values() if rates is not None]
    return Demand(
        input_tokens=max(tokens.ceiling_input(turn.messages, m) for m in ratios.values()),
        output_tokens=wanted,
        minimum_output_tokens=min(MINIMUM_OUTPUT_TOKENS, wanted),
        input_rate=max((rates.dearest_input for rates in quotes), default=0),
        output_rate=max((rates.output for rates in quotes), default=0),
    )
