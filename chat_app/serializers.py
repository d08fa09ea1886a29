"""A turn in the words of HTTP: its headers, its JSON body and the frames of its stream, as
docs/reference/api.md and docs/streaming.md promise them.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from chat_app import sse
from chat_app.chat_stream import ChatStream
from chat_app.event_stream import RESTARTING, EventStreamResponse
from tenants_app.api import envelope, error_object, json_response
from tenants_app.errors import ServiceUnavailable, TollgateError
from usage_app.amounts import amount, instant
from usage_app.holds import BudgetState

Response = TypeVar("Response", bound=HttpResponseBase)


def streamed(stream: ChatStream) -> EventStreamResponse:
    """The event stream, with what is known at its start in the headers."""
    response = EventStreamResponse(ChatEvents(stream))
    return _with_headers(response, _known_headers(stream))


async def whole(stream: ChatStream) -> HttpResponse:
    """The answer as one JSON body. Raises what the upstream's failure is told as."""
    try:
        text = await stream.collect()
    except TollgateError as error:
        error.headers |= _known_headers(stream)
        raise
    data = {
        "sessionId": str(stream.turn.call.session_id),
        "message": text,
        "modelId": stream.candidate.model.public_id,
        "stream": False,
        "finishReason": stream.finish_reason,
        "usage": _usage(stream),
    }
    if stream.budget is not None:
        data["budget"] = budget_json(stream.budget)
    response = json_response(envelope(data, stream.turn.trace.body_id))
    return _with_headers(response, _known_headers(stream) | _settled_headers(stream))


class ChatEvents:
    """A turn as server-sent events; see EventSource. The figures in them are the stream's."""

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    async def frames(self) -> AsyncIterator[bytes]:
        """A frame for each piece of text, then the end, after the entry is durable."""
        # All but the text is made once.
        turn, dumps = self._stream.turn, orjson.dumps
        around = {"sessionId": str(turn.call.session_id), "role": "assistant"}
        before = b"data: " + dumps(around)[:-1] + b',"content":'
        after = b"," + dumps({"tenantId": turn.caller.tenant.slug})[1:] + b"\n\n"
        async for text in self._stream.texts():
            yield before + dumps(text) + after
        yield _closing_frames(self._stream)

    async def farewell(self) -> bytes:
        """The last frames of a stream that the stopping server has to cut."""
        await self._stream.cut(ServiceUnavailable(RESTARTING))
        return _closing_frames(self._stream)

    async def aclose(self) -> None:
        """Give back and settle what is still open."""
        await self._stream.aclose()


def _closing_frames(stream: ChatStream) -> bytes:
    """The end of a stream: the error, if there was one, and what the turn came to."""
    done: dict[str, Any] = {"done": True, "usage": _usage(stream)}
    if stream.budget is not None and stream.error is None:
        done["budget"] = budget_json(stream.budget)
    if (trace_id := stream.turn.trace.body_id) is not None:
        done["traceId"] = trace_id
    frames = sse.frame(orjson.dumps(done), "done")
    if stream.error is None:
        return frames
    return sse.frame(orjson.dumps(error_object(stream.error)), "error") + frames


def budget_json(budget: BudgetState) -> dict[str, Any]:
    """A budget as clients see it; money is exact text."""
    return {
        "scope": budget.scope,
        "metric": budget.metric,
        "period": budget.period,
        "limit": amount(budget.metric, budget.limit),
        "used": amount(budget.metric, budget.used),
        "held": amount(budget.metric, budget.held),
        "remaining": amount(budget.metric, budget.remaining),
        "resetsAt": instant(budget.resets_at),
    }


def _usage(stream: ChatStream) -> dict[str, Any]:
    usage, model = stream.usage, stream.candidate.model.public_id
    if stream.error is None:
        return {
            "modelId": model,
            "tokensIn": usage.input,
            "tokensOut": usage.output,
            "totalTokens": usage.total,
            "latencyMs": stream.latency_ms,
            **({"ttftMs": stream.ttft_ms} if stream.ttft_ms is not None else {}),
            "usageSource": stream.usage_source,
        }
    told: dict[str, Any] = {"modelId": model, "tokensIn": stream.turn.estimated_input}
    if stream.relayed_tokens:
        told["tokensOut"] = usage.output
        told["totalTokens"] = told["tokensIn"] + usage.output
    told["latencyMs"] = stream.latency_ms
    if usage.total and stream.is_settled:
        told["charged"] = usage.total
    return told


def _known_headers(stream: ChatStream) -> dict[str, str]:
    """What is known once a candidate has answered or all have failed."""
    headers = {
        "x-model-id": stream.candidate.model.public_id,
        "x-model-reason": stream.candidate.reason,
        "x-tokens-in": str(stream.turn.estimated_input),
    }
    if stream.max_tokens < stream.turn.wanted_output:
        headers["x-max-tokens-applied"] = str(stream.max_tokens)
    if (rate := stream.hold.rate) is not None:
        headers["x-ratelimit-limit"] = str(rate.limit)
        headers["x-ratelimit-remaining"] = str(rate.remaining)
        headers["x-ratelimit-reset"] = str(rate.reset_seconds)
    if (budget := stream.budget) is not None:
        headers["x-budget-limit"] = str(amount(budget.metric, budget.limit))
        headers["x-budget-remaining"] = str(amount(budget.metric, budget.remaining))
        headers["x-budget-resets-at"] = instant(budget.resets_at)
    return headers


def _settled_headers(stream: ChatStream) -> dict[str, str]:
    """What is known at the end."""
    return {
        "x-tokens-in": str(stream.usage.input),
        "x-tokens-out": str(stream.usage.output),
        "x-tokens-total": str(stream.usage.total),
        "x-ai-latency-ms": str(stream.latency_ms),
        "x-usage-source": stream.usage_source,
    }


def _with_headers(response: Response, headers: Mapping[str, str]) -> Response:
    for name, value in headers.items():
        response.headers[name] = value
    return response
