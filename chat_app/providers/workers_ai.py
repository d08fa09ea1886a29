"""The shapes of Workers AI and of Cloudflare's envelope, alone or mixed with OpenAI's. PURE.

What is OpenAI's is read by openai_wire.py, with the same distrust. The codes are those of
https://developers.cloudflare.com/workers-ai/platform/errors/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from chat_app.providers import openai_wire
from chat_app.providers.base import Delta, Event, UpstreamCall
from chat_app.providers.dialect import Refusal, Unreadable
from chat_app.providers.openai_wire import ChunkReader, decode, text_of

TEXT_FIELDS = ("response", "text", "content")
# {"result": {"result": …}} is as deep as answers have been seen, and one more.
MAX_LAYERS = 4
MAX_ERRORS = 10

USED_UP = Refusal(429, retryable=False)
OUT_OF_CAPACITY = Refusal(429, retryable=True)
GONE_IN_TIME = Refusal(408, timeout=True)
REFUSALS: Mapping[int, Refusal] = {
    **dict.fromkeys((3003, 3039, 5004, 5007), Refusal(400)),
    **dict.fromkeys((3023, 3041, 5016, 5018), Refusal(403)),
    3042: Refusal(404),
    **dict.fromkeys((5005, 5019), Refusal(405)),
    **dict.fromkeys((3007, 3008), GONE_IN_TIME),
    3006: Refusal(413),
    3036: USED_UP,
    3040: OUT_OF_CAPACITY,
}
_CODE = re.compile(r"\d{4,5}", re.ASCII)
# "AiError: 5007: No such model", where no field has the code.
_CODE_IN_TEXT = re.compile(r"(?:\w{1,40}: ?)?(\d{4}): ", re.ASCII)


def request_body(call: UpstreamCall) -> bytes:
    """The JSON that a model of Workers AI takes under its own address."""
    body: dict[str, Any] = {
        "messages": call.messages,
        "max_tokens": call.max_tokens,
        "stream": call.stream,
    }
    if call.temperature is not None:
        body["temperature"] = call.temperature
    return orjson.dumps(body)


class WorkersReader(ChunkReader):
    """Reads native frames, OpenAI's chunks, and streams that begin with one and end with the other.

    Padding (`p`) and tool calls are passed over.
    """

    __slots__ = ()

    def read_whole(self, body: bytes) -> list[Event]:
        """See Reader; the text may lie in any of its fields, within any of its envelopes."""
        whole = decode(body)
        if is_error(whole):
            self.error = body
            return []
        events: list[Event] = []
        usages: list[object] = [whole["usage"]] if whole.get("usage") else []
        self._read_layers(whole, "message", events, usages)
        if usages:
            self._read_usages(usages, events)
        return events

    def _read_other(self, chunk: dict[str, Any], events: list[Event], usages: list[object]) -> bool:
        if is_error(chunk):
            return True
        self._read_layers(chunk, "delta", events, usages)
        return False

    def _read_layers(
        self, layer: dict[str, Any], part: str, events: list[Event], usages: list[object]
    ) -> None:
        """What this layer says, and what lies below it in `result`."""
        for _ in range(MAX_LAYERS):
            if layer.get("choices"):
                self._read_choices(layer["choices"], part, events)
                self.begun = self.begun or bool(events)
            else:
                self._read_native(layer, events)
            below = layer.get("result")
            if not isinstance(below, dict):
                break
            layer = below
            if layer.get("usage"):
                usages.append(layer["usage"])

    def _read_native(self, layer: dict[str, Any], events: list[Event]) -> None:
        fields = [layer[name] for name in TEXT_FIELDS if name in layer]
        if isinstance(layer.get("result"), str | list):
            fields.append(layer["result"])
        if fields:
            self.begun = True
            if text := next(filter(None, map(said, fields)), ""):
                events.append(Delta(text))
        reason = layer.get("finish_reason") or (layer.get("tool_calls") and "tool_calls")
        if reason and not self.finished:
            self.begun = True
            self._finish(reason, events)


def said(value: object) -> str:
    """Text as it is and the text of parts; anything else as its JSON.

    In JSON mode an answer is an object; in a stream a token that is a number comes as a number.
    """
    if value is None:
        return ""
    is_parts = isinstance(value, list) and (
        not value or any(isinstance(part, dict) and "text" in part for part in value)
    )
    if isinstance(value, str) or is_parts:
        return text_of(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise Unreadable("nested too deeply") from None


def is_error(told: dict[str, Any]) -> bool:
    """Whether this comes in place of an answer, in any of Cloudflare's shapes."""
    if told.get("error"):
        return True
    if "success" in told:
        return told["success"] is not True
    return bool(told.get("errors")) or told.get("object") == "error" or "internalCode" in told


def judge(status: int, body: bytes) -> Refusal | None:
    """What Cloudflare's own code makes of a refusal, also within a 200; else as OpenAI's."""
    try:
        told = decode(body)
    except Unreadable:
        return None
    known = (REFUSALS[code] for code in _codes(told) if code in REFUSALS)
    return next(known, None) or openai_wire.judge(status, body)


def _codes(told: dict[str, Any]) -> Iterator[int]:
    errors = told.get("errors") or told.get("error")
    for error in [*(errors[:MAX_ERRORS] if isinstance(errors, list) else [errors]), told]:
        fields = error if isinstance(error, dict) else {"message": error}
        for code in (fields.get("internalCode"), fields.get("code")):
            if isinstance(code, int | str) and _CODE.fullmatch(str(code)):
                yield int(code)
        message = fields.get("message")
        if isinstance(message, str) and (named := _CODE_IN_TEXT.match(message)):
            yield int(named[1])
