"""What every request to an upstream is made of: its token, its timeouts, and values fit for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from chat_app.providers.base import UpstreamUnreachable
from chat_app.providers.http import Timeouts
from tenants_app.sealed import CannotOpen

if TYPE_CHECKING:
    from tenants_app.snapshots import UpstreamSnapshot

# A value that no reader of headers can take for more than one.
HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,512}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,8000}")

Headers = list[tuple[str, str]]


def post(
    url: httpx.URL, headers: Headers, body: bytes, timeouts: Timeouts, *, stream: bool
) -> httpx.Request:
    """A POST of JSON that asks for a stream or for one piece."""
    accept = "text/event-stream" if stream else "application/json"
    # Given a stream, httpx leaves Host and Content-Length to the session, which sets them anyway.
    return httpx.Request(
        "POST",
        url,
        headers=[("content-type", "application/json"), ("accept", accept), *headers],
        stream=httpx.ByteStream(body),
        extensions={"timeout": timeouts},
    )


def timeouts(upstream: UpstreamSnapshot, seconds: float) -> Timeouts:
    """The upstream's own, within the `seconds` that the call has left."""
    total = min(upstream.total_timeout_ms / 1000, seconds)
    return Timeouts(
        connect=min(upstream.connect_timeout_ms / 1000, total),
        first_byte=min(upstream.first_byte_timeout_ms / 1000, total),
        idle=upstream.idle_timeout_ms / 1000,
        total=total,
    )


def token_of(upstream: UpstreamSnapshot, *, otherwise: str = "") -> str:
    """The plain token, `otherwise` without one; nothing is sent with one that cannot be used."""
    try:
        token = upstream.open_token() or otherwise
    except CannotOpen:
        raise UpstreamUnreachable("the upstream's token cannot be opened") from None
    if token and not _TOKEN.fullmatch(token):
        raise UpstreamUnreachable("the upstream's token has characters no header can carry")
    return token
