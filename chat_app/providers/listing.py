"""What an upstream says that it offers: a GET whose answer is small and not trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

import httpx
import orjson

from chat_app.providers import failures
from chat_app.providers.base import Head, UpstreamBroken
from chat_app.providers.dialect import Refusal
from chat_app.providers.excerpts import MAX_BODY_BYTES, excerpt
from chat_app.providers.http import Body, Timeouts, Transport
from chat_app.providers.outgoing import Headers

MAX_LIST_BYTES: Final = 8 * 1024 * 1024
NAMES_MAX: Final = 2_000
_NAME: Final = re.compile(r"[\x21-\x7e]{1,200}")


def get(url: httpx.URL, headers: Headers, timeouts: Timeouts) -> httpx.Request:
    """A GET of JSON."""
    return httpx.Request(
        "GET",
        url,
        headers=[("accept", "application/json"), *headers],
        extensions={"timeout": timeouts},
    )


async def fetch(transport: Transport, request: httpx.Request, *, token: str) -> Any:
    """The JSON of the answer. Raises ProviderError, its text free of the `token`."""
    try:
        response = await transport.handle_async_request(request)
        body = await _read(cast(Body, response.stream))
    except httpx.TransportError as exc:
        failure = failures.of_wire(exc)
    else:
        return _understood(response, body, token)
    # Raised out here, it keeps no reference to the wire's own exception.
    raise failure


def names(values: Iterable[object]) -> tuple[str, ...]:
    """Those that can be a model's name, each once, sorted; at most NAMES_MAX."""
    found = {value for value in values if isinstance(value, str) and _NAME.fullmatch(value)}
    return tuple(sorted(found)[:NAMES_MAX])


async def _read(body: Body) -> bytes:
    parts, size = [], 0
    try:
        async for part in body:
            parts.append(part)
            size += len(part)
            if size > MAX_LIST_BYTES:
                break
    finally:
        await body.aclose()
    return b"".join(parts)


def _understood(response: httpx.Response, body: bytes, token: str) -> Any:
    status, head = response.status_code, Head(response.status_code)
    if status != 200:
        told = excerpt(body[:MAX_BODY_BYTES], secret=token, prompts=())
        raise failures.of_refusal(Refusal(status), head, {}, told)
    if len(body) > MAX_LIST_BYTES:
        raise UpstreamBroken(f"the list has more than {MAX_LIST_BYTES} bytes", head=head)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("the list is not JSON", head=head) from None
