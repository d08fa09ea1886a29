"""An admitted turn under way: opens its upstream, relays the text, counts, and settles once.

However it ends (answered, failed, cut, the client gone, the server stopping), it ends in one
settlement, which is queued before anything is awaited. It knows no HTTP and no frames: those are
`serializers`'.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Literal

import structlog

from chat_app import gateway, sessions, tokens
from chat_app.attempts import Attempt
from chat_app.errors import AiError, AiTimeout
from chat_app.gateway import AllFailed, Opened
from chat_app.providers.base import (
    Delta,
    Event,
    Finished,
    ProviderError,
    UpstreamCall,
    UpstreamTimeout,
    UsageReport,
)
from chat_app.routing import Candidate
from chat_app.schema import Message
from chat_app.turn import Turn
from tenants_app import directory
from tenants_app.errors import InternalError, TollgateError
from usage_app import ledger, own_usage
from usage_app.holds import BudgetState, Hold, Settlement, money_text
from usage_app.pricing import UsageFigures

End = Literal["ok", "error", "aborted"]

log = structlog.get_logger("tollgate.chat")


class ChatStream:
    """An admitted turn, from its opened upstream to its settled end.

    It settles once, in every ending: use `texts`, or `collect`, and `aclose` whatever happened.
    `error` says what became of it; `usage`, `budget` and the latencies are final once it settled.
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
        self.is_settled = False
        self._ended = False
        self._texts = self._relay()

    async def open(self) -> None:
        """Open the first candidate that answers; when all fail, settle and set `error`."""
        try:
            self._opened = await gateway.client().open(
                self.turn.candidates,
                self._upstream_call,
                tenant_id=self.hold.tenant_id,
                attempts=self.attempts,
                recheck=self._recheck,
            )
        except AllFailed as failed:
            self.candidate = failed.candidate or self.candidate
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
            async for _ in self._texts:
                pass
        finally:
            await self.aclose()
        if self.error is not None:
            raise self.error
        return "".join(self.text)

    def texts(self) -> AsyncIterator[str]:
        """Each piece of text as it comes; ends, error or not, after the entry is durable."""
        return self._texts

    async def cut(self, error: TollgateError) -> None:
        """End it from our side in mid-stream; settled when this returns."""
        self.error = self.error or error
        await self._settle("aborted")

    async def aclose(self) -> None:
        """Close the upstream, and settle as aborted what has not ended otherwise: the turn of a
        client that left is charged here.
        """
        await self._texts.aclose()
        if self._opened is not None:
            await self._opened.answer.aclose()
        await self._settle("aborted")

    @property
    def max_tokens(self) -> int:
        """The output cap that the upstream was told."""
        return self._max_tokens(self.candidate)

    @property
    def relayed_tokens(self) -> int:
        """The estimate of what the client was sent."""
        return tokens.estimate_characters(self._relayed_characters)

    async def _relay(self) -> AsyncGenerator[str, None]:
        if self._opened is not None:
            try:
                async for events in self._opened.answer:
                    if text := self._take(events):
                        yield text
                        self._count(text)
            except ProviderError as failure:
                self.error = AiTimeout() if isinstance(failure, UpstreamTimeout) else AiError()
                gateway.client().note_break(self._opened, failure)
            except Exception:  # after the first byte nothing raises: it becomes a frame
                log.exception("stream_failed", requestId=str(self.turn.trace.request_id))
                self.error = InternalError()
        await self._settle("ok" if self.error is None else "error")

    def _count(self, text: str) -> None:
        """Only what was sent counts as relayed."""
        self._relayed_characters += len(text)
        if self.turn.call.stream:
            self.hold.streamed_output_tokens = self.relayed_tokens

    def _take(self, events: Sequence[Event]) -> str:
        text = ""
        for event in events:
            if isinstance(event, Delta):
                text += event.text
            elif isinstance(event, UsageReport):
                self._reported = event.usage
            elif isinstance(event, Finished):
                self.finish_reason = event.reason
        if text:
            self.text.append(text)
            if self.ttft_ms is None:
                self.ttft_ms = self._elapsed_ms()
        return text

    def _note_who_answers(self) -> None:
        """From here on a sweep would charge what was streamed, at the price of who answers."""
        model = self.candidate.model.public_id
        rates = self.turn.quotes[model]
        self.hold.model = model
        self.hold.model_reason = self.candidate.reason
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
        remembered = sessions.append(
            self.turn.caller, self.turn.call.session_id, self.turn.trace.request_id, said
        )
        try:
            self.budget = await ledger.settle(self.hold, self._settlement(end))
            self.is_settled = True
        except TollgateError as error:
            self.error = self.error or error
        finally:
            self._log(end)
        if remembered is not None:
            with suppress(Exception):  # it was logged, and costs context, not money
                await remembered

    def _charge(self, end: End) -> None:
        """What the answer came to: the provider's word, or what was relayed, or nothing."""
        relayed = UsageFigures(input=self.turn.estimated_input, output=self.relayed_tokens)
        if end == "ok":
            self.usage = self._reported or relayed
            self.usage_source = "provider" if self._reported else "estimated"
        elif self._reported or self.relayed_tokens or (end == "aborted" and self._opened):
            self.usage = self._reported or relayed
            self.usage_source = "partial"

    @property
    def cost(self) -> int | None:
        """Ledger units; None: tokens without a known price."""
        rates = self.turn.quotes[self.candidate.model.public_id]
        if not self.usage.total:
            return 0
        return rates.cost(self.usage) if rates else None

    def _settlement(self, end: End) -> Settlement:
        model = self.candidate.model.public_id
        rates = self.turn.quotes[model]
        return Settlement(
            model=model,
            model_reason=self.candidate.reason,
            upstream=self.candidate.route.upstream.name,
            usage=self.usage,
            usage_source=self.usage_source,
            outcome=end,
            price_id=rates.price_id if rates else None,
            cost=self.cost,
            latency_ms=self.latency_ms,
            ttft_ms=self.ttft_ms,
            error_code=self.error.code if self.error else "",
            attempts=[attempt.as_json() for attempt in self.attempts],
            upstream_reference=(self._opened.answer.reference or "") if self._opened else "",
        )

    async def _recheck(self, fallback: Candidate) -> Candidate | None:
        """The fallback as the configuration of this moment has it; None if the tenant may not use
        it any more, or nobody can tell.
        """
        try:
            caller = await directory.ensure_current(self.turn.caller)
            newest = self.turn.as_of(caller, fallback, self.hold)
            if caller is self.turn.caller:
                return newest
            if await own_usage.is_within_budgets(caller, self.hold.created_at):
                return newest
            why = "budget_exceeded"
        except TollgateError as refusal:
            why = refusal.code
        log.info("fallback_not_usable", model=fallback.model.public_id, error=why)
        return None

    def _upstream_call(self, candidate: Candidate) -> UpstreamCall:
        turn = self.turn
        return UpstreamCall(
            messages=turn.messages,
            max_tokens=self._max_tokens(candidate),
            temperature=turn.call.temperature,
            stream=turn.call.stream,
            user=turn.user_hash or None,
            metadata={
                "tenantId": turn.caller.tenant.slug,
                "traceId": turn.trace.id,
                "sessionId": str(turn.call.session_id),
                "route": candidate.model.public_id,
            },
        )

    def _max_tokens(self, candidate: Candidate) -> int:
        return min(self.hold.output_tokens, candidate.model.max_output)

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
            cost=None if self.cost is None else money_text(self.cost),
            latencyMs=self.latency_ms,
            ttftMs=self.ttft_ms,
        )
