"""Cloudflare's AI Gateway in its three forms: where each is asked, with which words and headers.

The shapes are in workers_ai.py and openai_wire.py, the exchange is exchange.py's. Sources:
https://developers.cloudflare.com/ai-gateway/usage/rest-api/, …/usage/chat-completion/ (compat),
…/usage/providers/workersai/, …/configuration/authentication/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import orjson

from chat_app.providers import listing, openai_wire, workers_ai
from chat_app.providers.base import (
    Answer,
    Head,
    UpstreamBroken,
    UpstreamCall,
    UpstreamRejected,
    UpstreamUnreachable,
)
from chat_app.providers.dialect import Dialect
from chat_app.providers.exchange import Asked, send
from chat_app.providers.http import Timeouts, Transport
from chat_app.providers.outgoing import HEADER_TEXT, Headers, post, timeouts, token_of

if TYPE_CHECKING:
    from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot

REST_URL = "https://api.cloudflare.com/client/v4"
GATEWAY_URL = "https://gateway.ai.cloudflare.com/v1"
LIST_PAGE_SIZE = 100
LIST_PAGES = 20
# Cloudflare keeps five entries and drops further ones without a word.
METADATA = ("tenantId", "traceId", "sessionId", "route")
# Header of an answer → its name on the attempt, and what it may look like there.
NOTES = {
    "cf-aig-cache-status": ("cacheStatus", re.compile(r"[A-Za-z-]{1,20}")),
    "cf-aig-step": ("step", re.compile(r"[0-9]{1,4}")),
    "cf-aig-model": ("gatewayModel", re.compile(r"[A-Za-z0-9@._:/-]{1,100}")),
    "cf-aig-provider": ("gatewayProvider", re.compile(r"[A-Za-z0-9._-]{1,50}")),
}
# No segment begins with a dot, and no character means anything to a URL.
_WORKERS_MODEL = re.compile(r"@(?:cf|hf)(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){1,4}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


def notes_of(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What the gateway tells of an attempt: from its cache or not, and which step answered."""
    return {
        name: headers[header]
        for header, (name, shape) in NOTES.items()
        if header in headers and shape.fullmatch(headers[header])
    }


DIALECT = Dialect(reader=workers_ai.WorkersReader, judge=workers_ai.judge, notes=notes_of)


class CloudflareProvider:
    """Provider for upstreams of kind cloudflare."""

    def __init__(self, transport: Transport, *, base_url: str = "", token: str = "") -> None:
        """The deployment's own address and token, for upstreams that have none.

        The token is for upstreams without an address of their own only: it must not go to a host
        that an operator typed for something else.
        """
        self._transport = transport
        self._base_url = base_url
        self._token = token

    async def open(self, route: RouteSnapshot, call: UpstreamCall, *, seconds: float) -> Answer:
        """See Provider.open."""
        own_url = route.upstream.base_url
        token = token_of(route.upstream, otherwise="" if own_url else self._token)
        patience = timeouts(route.upstream, seconds)
        url = _endpoint(own_url or self._base_url, *_place(route))
        headers = _authorisation(route, token) + _control(call, patience)
        body = _body(route, call)
        request = post(url, headers, body, patience, stream=call.stream)
        return await send(self._transport, Asked(route, call, token, request, DIALECT))

    async def models(self, upstream: UpstreamSnapshot, *, seconds: float) -> tuple[str, ...]:
        """See Provider.models: those of Workers AI that make text.

        GET /accounts/{id}/ai/models/search of the REST API, which wants a token that may read
        Workers AI: https://developers.cloudflare.com/api/resources/ai/subresources/models/
        """
        own_url = upstream.base_url
        if own_url and upstream.form != "rest":
            raise UpstreamRejected("only the REST API at that address has a list", sent=False)
        base = own_url or (self._base_url if upstream.form == "rest" else "")
        token = token_of(upstream, otherwise="" if own_url else self._token)
        headers = [("authorization", f"Bearer {token}")] if token else []
        found: list[object] = []
        for page in range(1, LIST_PAGES + 1):
            request = listing.get(
                _list_url(base, upstream.account_id, page), headers, timeouts(upstream, seconds)
            )
            told = await listing.fetch(self._transport, request, token=token)
            models = told.get("result") if isinstance(told, dict) else None
            if not isinstance(models, list):
                raise UpstreamBroken("its list of models has no result", head=Head(200))
            found += [one.get("name") for one in models if isinstance(one, dict)]
            if len(models) < LIST_PAGE_SIZE:
                break
        return listing.names(found)


def _list_url(base_url: str, account: str, page: int) -> httpx.URL:
    if not _ID.fullmatch(account):
        raise UpstreamUnreachable("the account id does not fit into a URL")
    query = f"task=Text+Generation&per_page={LIST_PAGE_SIZE}&page={page}"
    try:
        return httpx.URL(
            f"{(base_url or REST_URL).rstrip('/')}/accounts/{account}/ai/models/search?{query}"
        )
    except httpx.InvalidURL:
        raise UpstreamUnreachable("the upstream's base URL is not a URL") from None


def _place(route: RouteSnapshot) -> tuple[str, str, str, str]:
    upstream = route.upstream
    # Only there the model is a part of the URL.
    model = _model(route) if upstream.form == "workers-ai" else ""
    return upstream.form, upstream.account_id, upstream.gateway_id, model


@lru_cache(maxsize=1024)
def _endpoint(base_url: str, form: str, account: str, gateway: str, model: str) -> httpx.URL:
    """Where to send. A model is a client's word: it never leaves its place in the path."""
    if not (_ID.fullmatch(account) and _ID.fullmatch(gateway)):
        raise UpstreamUnreachable("the account or gateway id does not fit into a URL")
    if form == "workers-ai" and not _WORKERS_MODEL.fullmatch(model):
        raise UpstreamRejected("the model's name is not one of Workers AI", sent=False)
    default = REST_URL if form == "rest" else GATEWAY_URL
    path = {
        "rest": f"accounts/{quote(account)}/ai/v1/chat/completions",
        "compat": f"{quote(account)}/{quote(gateway)}/compat/chat/completions",
        "workers-ai": f"{quote(account)}/{quote(gateway)}/workers-ai/{quote(model, safe='@/')}",
    }
    if form not in path:
        raise UpstreamUnreachable("the upstream has no form that is known")
    try:
        return httpx.URL(f"{(base_url or default).rstrip('/')}/{path[form]}")
    except httpx.InvalidURL:
        raise UpstreamUnreachable("the upstream's base URL is not a URL") from None


def _model(route: RouteSnapshot) -> str:
    """The model by the name that this form knows it by: compat wants the provider before it."""
    bare = route.upstream_model.removeprefix("workers-ai/")
    if not bare.startswith(("@cf/", "@hf/")):
        return route.upstream_model
    return f"workers-ai/{bare}" if route.upstream.form == "compat" else bare


def _authorisation(route: RouteSnapshot, token: str) -> Headers:
    bearer = f"Bearer {token}"
    if route.upstream.form == "rest":
        headers = [("cf-aig-gateway-id", route.upstream.gateway_id)]
        return [*headers, ("authorization", bearer)] if token else headers
    if not token:
        return []
    headers = [("cf-aig-authorization", bearer)]
    # `Authorization` is the provider's; behind Workers AI that is Cloudflare itself. For any other
    # provider the gateway adds the key that is stored with it.
    is_workers = route.upstream.form == "workers-ai" or _model(route).startswith("workers-ai/")
    return [*headers, ("authorization", bearer)] if is_workers else headers


def _control(call: UpstreamCall, patience: Timeouts) -> Headers:
    """How the gateway shall treat the request, and for whom it is."""
    headers = [
        # We try again ourselves: attempts that the ledger cannot see would be billed all the same.
        ("cf-aig-max-attempts", "1"),
        ("cf-aig-request-timeout", str(max(1, int(patience["first_byte"] * 1000)))),
    ]
    metadata = {
        name: value
        for name in METADATA
        if (value := call.metadata.get(name)) and HEADER_TEXT.fullmatch(value)
    }
    if metadata:
        headers.append(("cf-aig-metadata", orjson.dumps(metadata).decode()))
    return headers


def _body(route: RouteSnapshot, call: UpstreamCall) -> bytes:
    if route.upstream.form == "workers-ai":
        return workers_ai.request_body(call)
    model = _model(route)
    # OpenAI's newer models refuse max_tokens, behind a gateway too.
    cap_field = "max_completion_tokens" if model.startswith("openai/") else "max_tokens"
    return openai_wire.request_body(model, call, cap_field=cap_field)
