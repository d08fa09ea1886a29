"""Any server that speaks OpenAI's Chat Completions: what it is sent, and how it refuses.

The shapes are in openai_wire.py, the exchange is exchange.py's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import httpx

from chat_app.providers import listing
from chat_app.providers.base import (
    Answer,
    Head,
    UpstreamBroken,
    UpstreamCall,
    UpstreamUnreachable,
)
from chat_app.providers.dialect import Dialect
from chat_app.providers.exchange import Asked, send
from chat_app.providers.http import Timeouts, Transport
from chat_app.providers.openai_wire import ChunkReader, judge, request_body
from chat_app.providers.outgoing import HEADER_TEXT, Headers, post, timeouts, token_of

if TYPE_CHECKING:
    from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot

# OpenAI's own newer models refuse max_tokens; most other servers know no other name, and one that
# ignores an unknown name would answer past the budget.
NEW_CAP_HOSTS = ("api.openai.com", ".openai.azure.com")
METADATA_HEADERS = {
    "tenantId": "x-tollgate-tenant-id",
    "traceId": "x-tollgate-trace-id",
    "sessionId": "x-tollgate-session-id",
    "route": "x-tollgate-route",
}
DIALECT = Dialect(reader=ChunkReader, judge=judge, notes=lambda _headers: {})


class OpenAIProvider:
    """Provider for upstreams of kind openai."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def open(self, route: RouteSnapshot, call: UpstreamCall, *, seconds: float) -> Answer:
        """See Provider.open."""
        token = token_of(route.upstream)
        request = _request(route, call, token, timeouts(route.upstream, seconds))
        return await send(self._transport, Asked(route, call, token, request, DIALECT))

    async def models(self, upstream: UpstreamSnapshot, *, seconds: float) -> tuple[str, ...]:
        """See Provider.models."""
        token = token_of(upstream)
        headers: Headers = [("authorization", f"Bearer {token}")] if token else []
        url = _url(upstream.base_url, "models")
        request = listing.get(url, headers, timeouts(upstream, seconds))
        told = await listing.fetch(self._transport, request, token=token)
        models = told.get("data") if isinstance(told, dict) else None
        if not isinstance(models, list):
            raise UpstreamBroken("its list of models has no data", head=Head(200))
        return listing.names(one.get("id") for one in models if isinstance(one, dict))


def _request(
    route: RouteSnapshot, call: UpstreamCall, token: str, patience: Timeouts
) -> httpx.Request:
    url, cap_field = _endpoint(route.upstream.base_url)
    headers: Headers = [("authorization", f"Bearer {token}")] if token else []
    for name, value in call.metadata.items():
        if name in METADATA_HEADERS and HEADER_TEXT.fullmatch(value):
            headers.append((METADATA_HEADERS[name], value))
    body = request_body(route.upstream_model, call, cap_field=cap_field)
    return post(url, headers, body, patience, stream=call.stream)


@lru_cache(maxsize=1024)
def _endpoint(base_url: str) -> tuple[httpx.URL, str]:
    """Where to send, and under which name the output cap is known there."""
    url = _url(base_url, "chat/completions")
    host = f".{url.host}"
    new = any(host.endswith(name if name.startswith(".") else f".{name}") for name in NEW_CAP_HOSTS)
    return url, "max_completion_tokens" if new else "max_tokens"


def _url(base_url: str, path: str) -> httpx.URL:
    try:
        return httpx.URL(f"{base_url.rstrip('/')}/{path}")
    except httpx.InvalidURL:
        raise UpstreamUnreachable("the upstream's base URL is not a URL") from None
