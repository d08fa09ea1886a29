"""The shapes of OpenAI's Chat Completions, as sent and as hostile servers answer them. PURE.

Nothing that an upstream says is trusted here: not its types, its numbers, or its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from chat_app.providers.base import Delta, Event, Finished, UpstreamCall, UsageReport
from chat_app.providers.dialect import Refusal, Unreadable
from chat_app.sse import Frame
from usage_app.pricing import UsageFigures

MAX_USAGE_TOKENS = 10**9
# Refused for want of money or credit: it will not be otherwise in a moment.
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_REASON = re.compile(r"[a-z_]{1,32}")


def request_body(model: str, call: UpstreamCall, *, cap_field: str) -> bytes:
    """The JSON to send. `cap_field` is max_tokens or max_completion_tokens."""
    body: dict[str, Any] = {
        "model": model,
        "messages": call.messages,
        cap_field: call.max_tokens,
        "stream": call.stream,
    }
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.stream:
        body["stream_options"] = {"include_usage": True}
    if call.user:
        body["user"] = call.user
    return orjson.dumps(body)


class ChunkReader:
    """Makes events of a stream's frames and remembers what has been seen of it."""

    __slots__ = ("begun", "closing", "done", "error", "finished", "reported", "usage_problem")

    def __init__(self) -> None:
        self.begun = False  # a chunk of an answer was seen
        self.done = False  # [DONE]: whatever follows is not read
        self.error: bytes | None = None  # the error object that came in place of more
        self.finished = False  # a finish_reason was seen
        self.reported = False  # usage was seen
        self.closing = False  # its chunk said nothing else; beside words it is a count so far
        self.usage_problem: str | None = None  # why usage was ignored

    @property
    def complete(self) -> bool:
        """Whether the answer said in some way that it is whole."""
        return self.done or self.finished or (self.reported and self.closing)

    def read(self, frames: Iterable[Frame], events: list[Event]) -> None:
        """Append the events of these frames; stops at [DONE] and at an error. Raises Unreadable."""
        usages: list[object] = []
        try:
            for frame in frames:
                if frame.data == b"[DONE]":
                    self.done = True
                    break
                chunk = decode(frame.data)
                given = len(events)
                if chunk.get("error"):
                    self.error = frame.data
                    break
                if "choices" in chunk:
                    self.begun = True
                    self._read_choices(chunk["choices"], "delta", events)
                elif self._read_other(chunk, events, usages):
                    self.error = frame.data
                    break
                if chunk.get("usage"):
                    usages.append(chunk["usage"])
                    self.closing = len(events) == given
        finally:
            if usages:
                self._read_usages(usages, events)

    def read_whole(self, body: bytes) -> list[Event]:
        """The events of an answer that was not streamed. Raises Unreadable."""
        whole = decode(body)
        if whole.get("error"):
            self.error = body
            return []
        events: list[Event] = []
        self._read_choices(whole.get("choices"), "message", events)
        self.begun = bool(events)
        if whole.get("usage"):
            self._read_usages([whole["usage"]], events)
        return events

    def _read_other(self, chunk: dict[str, Any], events: list[Event], usages: list[object]) -> bool:
        """A chunk without choices, where a dialect knows such; True if it is an error."""
        return False

    def _read_choices(self, choices: object, part: str, events: list[Event]) -> None:
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or choice.get("index"):
            return
        said = choice.get(part)
        if not isinstance(said, dict):
            said = {"content": choice.get("text")}  # as completions had it before they were chats
        if text := text_of(said.get("content") or said.get("refusal")):
            events.append(Delta(text))
        reason = choice.get("finish_reason")
        if reason and not self.finished:
            self._finish(reason, events)

    def _finish(self, reason: object, events: list[Event]) -> None:
        self.finished = True
        known = isinstance(reason, str) and _REASON.fullmatch(reason)
        events.append(Finished(str(reason) if known else "other"))

    def _read_usages(self, usages: list[object], events: list[Event]) -> None:
        # They are cumulative: the last good one says it all.
        for raw in reversed(usages):
            usage, problem = usage_figures(raw)
            self.usage_problem = problem or self.usage_problem
            if usage is not None:
                self.reported = True
                events.append(UsageReport(usage))
                return


def judge(status: int, body: bytes) -> Refusal | None:
    """Whether a refusal is for want of quota; an error within a 200 means no status of its own."""
    if status == 200:
        return None
    try:
        error = decode(body).get("error")
    except Unreadable:
        return None
    if not isinstance(error, dict):
        return None
    spent = QUOTA_CODES & {str(error.get("code")), str(error.get("type"))}
    return Refusal(status, retryable=False) if spent else None


def decode(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, with broken UTF-8 and half surrogate pairs replaced."""
    try:
        decoded = orjson.loads(data)
    except orjson.JSONDecodeError:
        decoded = _decode_broken(data)
    if not isinstance(decoded, dict):
        raise Unreadable("not a JSON object")
    return decoded


def _decode_broken(data: bytes) -> object:
    try:
        lenient = json.loads(data.decode(errors="replace"))
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None


def text_of(content: object) -> str:
    """Text from a string or from a list of parts, without NUL, which no database of ours takes."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return ""
    return content.replace("\x00", "\ufffd") if "\x00" in content else content


def usage_figures(raw: object) -> tuple[UsageFigures | None, str | None]:
    """OpenAI's usage as ours, and what of it was ignored; None if it is absurd or counts nothing.

    prompt_tokens includes cached ones and completion_tokens reasoning, as ours do.
    """
    try:
        whole = _fields(raw, "usage")
        given = _count(whole, "prompt_tokens", required=True)
        made = _count(whole, "completion_tokens", required=True)
    except Unreadable as exc:
        return None, str(exc)
    if not given and not made:
        return None, None
    try:
        return _with_parts(whole, given, made), None
    except Unreadable as exc:
        return UsageFigures(input=given, output=made), str(exc)


def _with_parts(whole: dict[str, Any], given: int, made: int) -> UsageFigures:
    given_parts = _fields(whole.get("prompt_tokens_details"), "prompt_tokens_details")
    made_parts = _fields(whole.get("completion_tokens_details"), "completion_tokens_details")
    cached = _count(given_parts, "cached_tokens")
    cache_write = _count(given_parts, "cache_write_tokens")
    reasoning = _count(made_parts, "reasoning_tokens")
    if cached + cache_write > given or reasoning > made:
        raise Unreadable("a part of usage is larger than its whole")
    return UsageFigures(given, cached, cache_write, made, reasoning)


def _fields(value: object, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is {type(value).__name__}, not an object")
    return value


def _count(fields: dict[str, Any], name: str, *, required: bool = False) -> int:
    value = fields.get(name)
    if value is None and not required:
        return 0
    if type(value) is not int:
        raise Unreadable(f"{name} is {type(value).__name__}, not a whole number")
    if not 0 <= value <= MAX_USAGE_TOKENS:
        raise Unreadable(f"{name} is out of bounds")
    return value
