"""The plays of Cloudflare's AI Gateway: each shape of Workers AI, its envelope and its refusals.

Models are called `@cf/loopback/PLAY`; in the form workers-ai the name is in the path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.loopback_plays import (
    DONE,
    ROLE,
    STOP,
    TEXT,
    USAGE,
    WORDS,
    Abort,
    Play,
    Recipe,
    Step,
    chunk,
    completion,
    data,
    growing_usage,
    plain,
    split,
    stream,
    words,
)

AUTHOR = "@cf/loopback/"
NATIVE = "/workers-ai/"
TOLD = (("cf-aig-log-id", "log-1"), ("cf-aig-cache-status", "MISS"), ("cf-aig-step", "0"))
ZERO = dict.fromkeys(USAGE, 0)
NEURONS = {**USAGE, "neurons": 10.47}


def asked_of_cloudflare(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body as a play sees it: `model` is the play's name, `native` the form of the path."""
    native = NATIVE in path
    name = path.partition(NATIVE)[2] if native else str(body.get("model"))
    name = name.removeprefix("workers-ai/").removeprefix(AUTHOR)
    return body | {"model": "cf-good" if name.startswith("@") else name, "native": native}


# Bodies


def native(response: object, **more: object) -> bytes:
    return data({"response": response, "p": "abcdefgh", **more})


def envelope(result: object, **more: object) -> bytes:
    whole = {"result": result, "success": True, "errors": [], "messages": [], **more}
    return json.dumps(whole).encode()


def refusal(code: int, message: str = "no") -> dict[str, Any]:
    return {"result": None, "success": False, "errors": [{"code": code, "message": message}]}


def told(play: Play, *headers: tuple[str, str]) -> Play:
    """The same with the gateway's own headers."""
    return Play(play.body, play.status, (*play.headers, *TOLD, *headers), play.framing)


def streamed(*body: Step) -> Play:
    return told(Play(body))


def refused(status: int, code: int, **headers: str) -> Play:
    return told(plain(json.dumps(refusal(code)).encode(), status, **headers))


# The plays

NATIVE_STREAM = (*(native(word) for word in WORDS), native("", usage=USAGE), DONE)
STREAMS: Mapping[str, tuple[bytes, ...]] = {
    "cf-native": NATIVE_STREAM,
    "cf-openai": (ROLE, *words(), STOP, data({"choices": [], "usage": USAGE}), DONE),
    "cf-cumulative": (ROLE, *growing_usage(), data({"choices": [], "usage": USAGE}), DONE),
    "cf-mixed": (
        *(ROLE, *words(), STOP),
        *(data({"choices": [], "usage": ZERO}), native("", usage=NEURONS), DONE),
    ),
    "cf-crlf": tuple(part.replace(b"\n", b"\r\n") for part in NATIVE_STREAM),
    "cf-no-done": NATIVE_STREAM[:-1],
    "cf-null": (native(None), *NATIVE_STREAM),
    "cf-no-tools": tuple(native(word, tool_calls=[]) for word in WORDS) + NATIVE_STREAM[-2:],
    "cf-enveloped": (
        *(b"data: " + envelope({"response": word}) + b"\n\n" for word in WORDS),
        *(b"data: " + envelope({"response": "", "usage": USAGE}) + b"\n\n", DONE),
    ),
    "cf-reasoning": (
        data(chunk({"reasoning_content": "hm"})),
        *(data(chunk({"reasoning": "hm"})), *words(), STOP),
        *(native("", usage=USAGE), DONE),
    ),
}
WHOLES: Mapping[str, bytes] = {
    "cf-native": envelope({"response": TEXT, "tool_calls": [], "usage": USAGE}),
    "cf-openai": completion(),
    "cf-flat": json.dumps({"response": TEXT, "usage": USAGE}).encode(),
    "cf-text": envelope({"text": TEXT, "usage": USAGE}),
    "cf-content": envelope({"content": [{"type": "text", "text": TEXT}], "usage": USAGE}),
    "cf-result": envelope(TEXT, usage=USAGE),
    "cf-result-parts": envelope([{"type": "text", "text": TEXT}], usage=USAGE),
    "cf-nested": envelope({"result": {"response": TEXT}, "usage": USAGE}),
    "cf-choices": envelope(json.loads(completion())),
    "cf-completion": envelope({"choices": [{"text": TEXT}], "usage": USAGE}),
    "cf-null-response": envelope({"response": None, "text": TEXT, "usage": USAGE}),
}
ERROR_FRAME = data(refusal(3040, "AiError: 3040: Capacity temporarily exceeded"))


def good(body: dict[str, Any]) -> Play:
    """As Cloudflare answers: in its own shape under a model's address, else in OpenAI's."""
    name = "cf-native" if body["native"] else "cf-openai"
    return streamed(*STREAMS[name]) if body.get("stream") else told(plain(WHOLES[name]))


def either(name: str) -> Recipe:
    """The stream or the whole answer of this name, whichever is asked for and there is."""
    streams, whole = STREAMS.get(name, NATIVE_STREAM), WHOLES.get(name, WHOLES["cf-native"])
    return lambda body: streamed(*streams) if body.get("stream") else told(plain(whole))


def cookie(body: dict[str, Any]) -> Play:
    """A good answer that sets a cookie."""
    return told(plain(WHOLES["cf-openai"]), ("set-cookie", "session=of-another-tenant"))


OF_CLOUDFLARE: dict[str, Play | Recipe] = {
    **{name: either(name) for name in {*STREAMS, *WHOLES}},
    "cf-good": good,
    "cf-cookie": cookie,
    "cf-split": lambda body: streamed(*split(*STREAMS["cf-mixed"])),
    "cf-cut": stream(*NATIVE_STREAM[:3], 0.02, Abort()),
    "cf-error-first": streamed(ERROR_FRAME),
    "cf-error-in-stream": streamed(*NATIVE_STREAM[:3], ERROR_FRAME, DONE),
    "cf-error-in-200": told(plain(json.dumps(refusal(5007)).encode())),
    "cf-used-up": refused(429, 3036, retry_after="7"),
    "cf-out-of-capacity": refused(429, 3040, retry_after="2"),
    "cf-timeout": refused(408, 3007),
    "cf-no-model": refused(400, 5007),
    "cf-no-gateway": told(
        plain(b'{"success":false,"result":[],"error":[{"code":2001,"message":"no gateway"}]}', 400)
    ),
}
