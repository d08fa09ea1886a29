"""The shapes of Workers AI, without a socket: whole, cut anywhere, odd, or refusals instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat_app import sse
from chat_app.providers.base import Delta, Event, Finished, UsageReport
from chat_app.providers.dialect import Refusal, Unreadable
from chat_app.providers.workers_ai import WorkersReader, judge
from tests.loopback_cloudflare import STREAMS, WHOLES, envelope, native, refusal
from tests.loopback_plays import DONE, TEXT, USAGE, chunk, data, split
from usage_app.pricing import UsageFigures

REPORT = UsageReport(UsageFigures(input=10, output=6))


def read(*parts: bytes) -> tuple[WorkersReader, list[Event]]:
    """What a stream in these reads gives."""
    parser, reader = sse.Parser(), WorkersReader()
    events: list[Event] = []
    for part in parts:
        reader.read(parser.feed(part), events)
    reader.read(parser.finish(), events)
    return reader, events


def whole(answer: Any) -> tuple[WorkersReader, list[Event]]:
    reader = WorkersReader()
    return reader, reader.read_whole(answer if isinstance(answer, bytes) else _json(answer))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def usage_of(events: list[Event]) -> UsageReport:
    return [event for event in events if isinstance(event, UsageReport)][-1]


# Streams


@pytest.mark.parametrize("name", STREAMS)
def test_stream_cut_at_every_byte_gives_the_same_answer(name: str) -> None:
    stream = b"".join(STREAMS[name])
    bytewise = [part for part in split(stream) if isinstance(part, bytes)]
    cuts = [(stream[:at], stream[at:]) for at in range(len(stream) + 1)]
    for parts in [(stream,), tuple(bytewise), *cuts]:
        reader, events = read(*parts)
        assert (reader.begun, reader.complete, reader.error) == (True, True, None)
        assert (text_of(events), usage_of(events)) == (TEXT, REPORT)
        assert len([event for event in events if isinstance(event, Finished)]) <= 1


def test_stream_has_its_text_in_the_pieces_that_came() -> None:
    _, events = read(*STREAMS["cf-native"])
    assert [event.text for event in events if isinstance(event, Delta)] == [
        "Hello",
        " from",
        " the",
        " loopback",
        " upstream",
        ".",
    ]


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ((native(4), native(2)), "42"),
        ((native(1.5),), "1.5"),
        ((native("a\x00b"),), "a\ufffdb"),
        ((native(None), native("")), ""),
        ((native([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]),), "Hello"),
        ((data({"text": "Hel"}), data({"content": "lo"})), "Hello"),
        ((data({"p": "abc"}), data({"id": 1}), native("x")), "x"),
        ((data(chunk({"content": "a"})), native("b")), "ab"),
    ],
)
def test_token_comes_as_text_whatever_it_was(frames: tuple[bytes, ...], text: str) -> None:
    reader, events = read(*frames, DONE)
    assert (reader.begun, reader.error, text_of(events)) == (True, None, text)


def test_frame_that_says_nothing_is_not_an_answer() -> None:
    reader, events = read(data({"p": "abc"}), data({"id": 1}))
    assert (reader.begun, reader.complete, events) == (False, False, [])


def test_tool_call_is_passed_over_and_ends_the_answer() -> None:
    call = [{"name": "weather", "arguments": {}}]
    _, events = read(native("", tool_calls=call), native("", usage=USAGE), DONE)
    assert events == [Finished("tool_calls"), REPORT]


def test_usage_grows_and_the_last_one_that_counts_wins() -> None:
    zero = dict.fromkeys(USAGE, 0)
    growing = [native("a", usage={**USAGE, "completion_tokens": n}) for n in range(1, 6)]
    _, events = read(*growing, native("", usage=USAGE), data({"choices": [], "usage": zero}), DONE)
    assert usage_of(events) == REPORT
    _, events = read(b"".join([*growing, native("", usage=USAGE), native("", usage=zero)]))
    assert [event for event in events if isinstance(event, UsageReport)] == [REPORT]


def test_usage_beside_words_is_not_the_end() -> None:
    growing = [native(word, usage={**USAGE, "completion_tokens": 1}) for word in "ab"]
    reader, _ = read(*growing)
    assert not reader.complete
    reader, _ = read(*growing, native("", usage=USAGE))
    assert reader.complete


def test_cached_tokens_of_a_native_answer_are_read() -> None:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    _, events = read(native("x", usage=usage), DONE)
    assert usage_of(events) == UsageReport(UsageFigures(input=10, cached=4, output=6))


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -1, "completion_tokens": 1}, [1, 2], "16", {"total_tokens": 16}]
)
def test_absurd_usage_is_absent(usage: object) -> None:
    reader, events = read(native("x", usage=usage), DONE)
    assert events == [Delta("x")]
    assert reader.usage_problem


@pytest.mark.parametrize(
    "frame",
    [
        refusal(3040),
        {"success": False, "errors": []},
        {"success": "false", "response": "hidden"},
        {"errors": [{"code": 3040}]},
        {"error": "AiError: 3040: no"},
        {"error": [{"code": 2001, "message": "no gateway"}]},
        {"object": "error", "message": "bad", "code": 400},
        {"internalCode": 3040, "message": "Capacity"},
    ],
    ids=str,
)
def test_error_in_a_stream_is_known_in_every_shape(frame: dict[str, Any]) -> None:
    reader, events = read(native("Hi") + data(frame) + native("never") + DONE)
    assert reader.error == _json(frame)
    assert events == [Delta("Hi")]


# Whole answers


@pytest.mark.parametrize("name", WHOLES)
def test_whole_answer_in_any_field_gives_the_same(name: str) -> None:
    reader, events = whole(WHOLES[name])
    assert (reader.begun, reader.error) == (True, None)
    assert (text_of(events), usage_of(events)) == (TEXT, REPORT)


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"a": [1, "ü"]}, '{"a":[1,"ü"]}'),
        ([1, 2], "[1,2]"),
        (["a"], '["a"]'),
        ([], ""),
        (7, "7"),
        (True, "true"),
        (0, "0"),
        ("", ""),
    ],
)
def test_json_mode_gives_its_json(response: object, text: str) -> None:
    reader, events = whole({"result": {"response": response, "usage": USAGE}, "success": True})
    assert (reader.begun, text_of(events), usage_of(events)) == (True, text, REPORT)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"result": {}, "success": True},
        {"result": None, "success": True},
        {"result": {"status": "queued", "request_id": "r"}, "success": True},
        {"choices": []},
        {"result": {"result": {"result": {"result": {"result": {"response": "deep"}}}}}},
    ],
    ids=str,
)
def test_answer_that_says_nothing_has_not_begun(answer: object) -> None:
    reader, events = whole(answer)
    assert (reader.begun, events) == (False, [])


def test_answer_too_deep_to_be_written_again_is_unreadable() -> None:
    deep = b'{"response":' + b"[" * 500 + b"]" * 500 + b"}"
    with pytest.raises(Unreadable, match="deep"):
        whole(deep)


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"null", b"<html>", b"\xff"])
def test_body_that_is_no_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        whole(body)


def test_refusal_in_place_of_an_answer_is_kept() -> None:
    body = _json(refusal(5007))
    reader, events = whole(body)
    assert (reader.error, events) == (body, [])


def test_envelope_that_succeeded_with_a_message_is_an_answer() -> None:
    reader, events = whole(envelope({"response": "x"}, messages=["slow today"]))
    assert (reader.error, events) == (None, [Delta("x")])


# Refusals


@pytest.mark.parametrize(
    ("code", "status", "timeout", "retryable"),
    [
        (3036, 429, False, False),
        (3040, 429, False, True),
        (3007, 408, True, None),
        (3008, 408, True, None),
        (5007, 400, False, None),
        (5004, 400, False, None),
        (3003, 400, False, None),
        (3039, 400, False, None),
        (5016, 403, False, None),
        (5018, 403, False, None),
        (3023, 403, False, None),
        (3041, 403, False, None),
        (3042, 404, False, None),
        (5005, 405, False, None),
        (5019, 405, False, None),
        (3006, 413, False, None),
    ],
)
def test_code_says_what_happened_wherever_it_stands(
    code: int, status: int, timeout: bool, retryable: bool | None
) -> None:
    bodies: list[Any] = [
        refusal(code),
        {"errors": [{"code": 10000}, {"code": str(code)}]},
        {"errors": [{"message": f"AiError: {code}: whatever"}]},
        {"error": f"InferenceUpstreamError: {code}: whatever"},
        {"error": {"message": "no", "code": code}},
        {"internalCode": code, "message": "no"},
    ]
    for body in bodies:
        for http_status in (200, 400, 500):
            assert judge(http_status, _json(body)) == Refusal(status, timeout, retryable)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        _json(refusal(10000)),
        _json({"errors": [{"code": "³040"}]}),
        _json({"errors": [{"code": "9" * 5000}]}),
        _json({"errors": [[3036]], "error": 5}),
        _json({"errors": [{"code": True, "message": "see 3036: for more"}]}),
    ],
)
def test_other_codes_leave_it_to_the_status(body: bytes) -> None:
    assert judge(429, body) is None


def test_quota_of_a_provider_behind_the_gateway_is_known_too() -> None:
    body = _json({"error": {"message": "no", "code": "insufficient_quota"}})
    assert judge(429, body) == Refusal(429, retryable=False)
