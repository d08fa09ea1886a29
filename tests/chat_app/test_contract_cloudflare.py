"""Cloudflare upstreams behind a real server: what is charged and kept, and whose is whose."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tenants_app.models import Model, Upstream
from tests.chat_app.contract import House, entry_of
from tests.factories import make_key, make_model, make_route, make_tenant, make_upstream
from tests.live import Server, Servers, frames
from tests.loopback import Loopback, Received
from tests.loopback_cloudflare import AUTHOR
from tests.loopback_plays import TEXT
from usage_app.models import LedgerEntry

pytestmark = pytest.mark.xdist_group("live")

FORMS = ["rest", "compat", "workers-ai"]


def gateway_of(loopback: Loopback, slug: str, form: str, **fields: Any) -> House:
    """A tenant with a gateway of its own, to which all of its models go."""
    tenant = make_tenant(slug)
    own = {"base_url": loopback.url, "token": f"cf-token-of-{slug}", **fields}
    upstream = make_upstream(
        f"gateway of {slug}",
        tenant=tenant,
        kind="cloudflare",
        form=form,
        account_id=f"account-{slug}",
        gateway_id=f"gateway_{slug}",
        **own,
    )
    tenant.default_upstream = upstream
    tenant.save()
    return House(tenant, make_key(tenant))


def played(play: str) -> Model:
    found = Model.objects.filter(public_id=AUTHOR + play).first()
    return found or make_model(AUTHOR + play)


def charged(entry: LedgerEntry) -> tuple[str, int, int, str]:
    return entry.outcome, entry.input_tokens, entry.output_tokens, entry.usage_source


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("play", ["cf-native", "cf-mixed", "cf-cumulative"])
def test_entry_has_the_providers_tokens_and_what_the_gateway_told(
    live: Server, loopback: Loopback, form: str, play: str, *, stream: bool
) -> None:
    acme = gateway_of(loopback, "acme", form)
    make_route(played(play), Upstream.objects.get(tenant=acme.tenant), tenant=acme.tenant)

    answer = live.chat(acme.key, {"modelId": AUTHOR + play, "stream": stream})

    assert answer.status_code == 200
    if stream:
        *told, done = frames(answer.text)
        assert "".join(data["content"] for _, data in told) == TEXT
        usage = done[1]["usage"]
    else:
        assert answer.json()["data"]["message"] == TEXT
        usage = answer.json()["data"]["usage"]
    assert (usage["tokensIn"], usage["tokensOut"], usage["usageSource"]) == (10, 6, "provider")
    entry = entry_of(answer)
    assert charged(entry) == ("ok", 10, 6, "provider")
    assert entry.upstream_reference == "log-1"
    [attempt] = entry.attempts
    assert attempt | {"latencyMs": 0} == {
        "upstream": "gateway of acme",
        "model": AUTHOR + play,
        "outcome": "ok",
        "status": 200,
        "latencyMs": 0,
        "reference": "log-1",
        "maybeBilled": False,
        "cacheStatus": "MISS",
        "step": "0",
    }


def test_refused_attempt_keeps_what_the_gateway_told_and_the_fallback_answers(
    live: Server, loopback: Loopback
) -> None:
    acme = gateway_of(loopback, "acme", "rest")
    acme.fall_back_to(played("cf-native"))

    answer = live.chat(acme.key, {"modelId": f"{AUTHOR}cf-used-up"})

    assert (answer.status_code, answer.headers["x-model-reason"]) == (200, "fallback")
    refused, answered = entry_of(answer).attempts
    assert (refused["outcome"], refused["status"], refused["reference"], refused["step"]) == (
        "rate_limited",
        429,
        "log-1",
        "0",
    )
    assert (answered["outcome"], len(loopback.requests)) == ("ok", 2)


@pytest.mark.parametrize("model", ["@cf/../../../client/v4/user", "@cf/a?b=c", "@cf/a/%2e%2e/b"])
def test_client_cannot_lead_a_request_elsewhere_by_a_models_name(
    live: Server, loopback: Loopback, model: str
) -> None:
    acme = gateway_of(loopback, "acme", "workers-ai")

    answer = live.chat(acme.key, {"modelId": model})

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "ai_error")
    assert loopback.requests == []
    [attempt] = entry_of(answer).attempts
    assert (attempt["outcome"], attempt["maybeBilled"]) == ("rejected", False)


def test_deployments_address_and_token_serve_a_gateway_without_its_own(
    servers: Servers, loopback: Loopback
) -> None:
    server = servers(
        CLOUDFLARE_BASE_URL=f"{loopback.url}/stand-in", CLOUDFLARE_API_TOKEN="cf-token-of-all"
    )
    acme = gateway_of(loopback, "acme", "rest", base_url="", token="")
    globex = gateway_of(loopback, "globex", "rest", token="")

    answers = [server.chat(house.key, {"modelId": "@cf/a/b"}) for house in (acme, globex)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [(asked.path, asked.headers.get("authorization")) for asked in loopback.requests] == [
        ("/v1/stand-in/accounts/account-acme/ai/v1/chat/completions", "Bearer cf-token-of-all"),
        ("/v1/accounts/account-globex/ai/v1/chat/completions", None),
    ]
    assert "cf-token-of-all" not in server.log_text()


def test_two_tenants_never_see_each_others_credentials_cookies_or_metadata(
    live: Server, loopback: Loopback
) -> None:
    houses = {
        "acme": gateway_of(loopback, "acme", "compat"),
        "globex": gateway_of(loopback, "globex", "workers-ai"),
    }
    asked = [
        (slug, {"modelId": f"{AUTHOR}{play}", "stream": stream})
        for play in ("cf-cookie", "cf-native", "cf-used-up")
        for stream in (True, False)
        for slug in houses
        for _ in range(5)
    ]

    def ask(wish: tuple[str, dict[str, Any]]) -> str:
        slug, body = wish
        return live.chat(houses[slug].key, body).text

    with ThreadPoolExecutor(20) as threads:
        texts = list(threads.map(ask, asked))

    assert len(loopback.requests) == len(asked)
    seen = [owner(request) for request in loopback.requests]
    assert sorted(seen) == sorted(slug for slug, _ in asked)
    for (slug, _), text in zip(asked, texts, strict=True):
        other = "globex" if slug == "acme" else "acme"
        assert other not in text
        assert "cf-token" not in text
    for slug, house in houses.items():
        entries = LedgerEntry.objects.filter(tenant_id=house.tenant.pk)
        assert {entry.upstream for entry in entries} == {f"gateway of {slug}"}


def owner(request: Received) -> str:
    """Whose request it is; everything in it says the same."""
    headers = request.headers
    slug: str = json.loads(headers["cf-aig-metadata"])["tenantId"]
    assert request.path.startswith(f"/v1/account-{slug}/gateway_{slug}/")
    assert headers["cf-aig-authorization"] == f"Bearer cf-token-of-{slug}"
    assert headers["authorization"] == f"Bearer cf-token-of-{slug}"
    assert "cookie" not in headers
    other = "globex" if slug == "acme" else "acme"
    assert other not in request.path + repr(headers) + request.raw.decode()
    return slug
