"""What the openai provider sends: this body, these headers, and no more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat_app.providers.base import UpstreamUnreachable
from chat_app.providers.openai import _endpoint
from chat_app.schema import Message
from tests.chat_app.providers import PROMPT, Heard, call, hear, openai, via, with_token
from tests.chat_app.snapshots import route, upstream
from tests.loopback import Loopback


def sent(loopback: Loopback, token: str = "", **changes: Any) -> tuple[dict[str, str], Any]:
    """Headers and body that reach the upstream."""
    target = with_token(via(loopback, "some/model"), token)

    async def ask() -> Heard:
        async with openai() as provider:
            return await hear(provider, target, call(**changes))

    assert asyncio.run(ask()).error is None
    request = loopback.last
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    return request.headers, request.body


def test_streamed_call_sends_exactly_this_body(loopback: Loopback) -> None:
    _headers, body = sent(
        loopback,
        messages=(Message("system", "Be brief."), Message("user", "größe")),
        temperature=0.5,
        user="u-1",
    )
    assert body == {
        "model": "some/model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "größe"},
        ],
        "max_tokens": 64,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u-1",
    }


def test_plain_call_sends_no_more_than_it_must(loopback: Loopback) -> None:
    _headers, body = sent(loopback, stream=False)
    assert body == {
        "model": "some/model",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 64,
        "stream": False,
    }


def test_headers_are_these_and_no_others(loopback: Loopback) -> None:
    headers, _body = sent(
        loopback,
        token="sk-secret",
        metadata={
            "tenantId": "acme",
            "traceId": "trace-1",
            "sessionId": "11111111-1111-1111-1111-111111111111",
            "route": "@cf/meta/llama",
            "other": "not sent",
        },
    )
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers.pop("content-length").isdigit()
    assert headers == {
        "authorization": "Bearer sk-secret",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "tollgate",
        "x-tollgate-tenant-id": "acme",
        "x-tollgate-trace-id": "trace-1",
        "x-tollgate-session-id": "11111111-1111-1111-1111-111111111111",
        "x-tollgate-route": "@cf/meta/llama",
    }


def test_no_token_sends_no_authorization(loopback: Loopback) -> None:
    headers, _body = sent(loopback)
    assert "authorization" not in headers


def test_metadata_that_no_header_can_carry_is_left_out(loopback: Loopback) -> None:
    headers, _body = sent(loopback, metadata={"tenantId": "a\r\nx-evil: 1", "traceId": "größe"})
    assert not [name for name in headers if name.startswith(("x-tollgate", "x-evil"))]


@pytest.mark.parametrize(
    ("base_url", "url", "field"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "max_completion_tokens"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1", "max_completion_tokens"),
        ("https://x.openai.azure.com/v1", "https://x.openai.azure.com/v1", "max_completion_tokens"),
        (
            "https://notapi.openai.com.example/v1",
            "https://notapi.openai.com.example/v1",
            "max_tokens",
        ),
        ("https://evilapi.openai.com/v1", "https://evilapi.openai.com/v1", "max_tokens"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1", "max_tokens"),
    ],
)
def test_output_cap_has_the_name_the_host_knows(base_url: str, url: str, field: str) -> None:
    target, cap_field = _endpoint(base_url)
    assert (str(target), cap_field) == (f"{url}/chat/completions", field)


@pytest.mark.parametrize("token", ["line\nbreak", "größe", "two words"])
def test_token_that_no_header_can_carry_is_not_sent_nor_told(
    loopback: Loopback, token: str
) -> None:
    target = with_token(via(loopback, "any"), token)

    async def ask() -> Heard:
        async with openai() as provider:
            return await hear(provider, target, call())

    error = asyncio.run(ask()).error
    assert isinstance(error, UpstreamUnreachable)
    assert token not in repr(error)
    assert loopback.requests == []


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "nonsense",
        "ftp://example.com",
        "http://[::1",
        "http://",
        "http://" + "a" * 64 + ".example",
    ],
)
def test_bad_base_url_is_unreachable(base_url: str) -> None:
    target = route("m", upstream(kind="openai", base_url=base_url))

    async def ask() -> Heard:
        async with openai() as provider:
            return await hear(provider, target, call())

    assert isinstance(asyncio.run(ask()).error, UpstreamUnreachable)
