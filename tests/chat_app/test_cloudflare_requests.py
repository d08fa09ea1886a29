"""What the cloudflare provider sends in each form: this path, this body, these headers, no more."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from chat_app.providers.base import UpstreamRejected, UpstreamUnreachable
from chat_app.providers.cloudflare import _endpoint
from tenants_app.snapshots import RouteSnapshot
from tests.chat_app.providers import PROMPT, Heard, call, cloudflare, gateway_via, hear, with_token
from tests.loopback import Loopback, Received

FORMS = ["rest", "compat", "workers-ai"]
TOKEN = "cf-token-of-acme"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fast"
MESSAGES = [{"role": "user", "content": PROMPT}]
METADATA = {
    "tenantId": "acme",
    "traceId": "trace-1",
    "sessionId": "11111111-1111-1111-1111-111111111111",
    "route": LLAMA,
    "other": "not sent",
}


def target(
    loopback: Loopback, form: str, *, model: str = LLAMA, token: str = TOKEN, **fields: Any
) -> RouteSnapshot:
    route = replace(gateway_via(loopback, "x", form, **fields), upstream_model=model)
    return with_token(route, token)


def asked(
    route: RouteSnapshot, *, deployment: dict[str, str] | None = None, **changes: Any
) -> Heard:
    seconds = changes.pop("seconds", 900)

    async def ask() -> Heard:
        async with cloudflare(**deployment or {}) as provider:
            return await hear(provider, route, call(**changes), seconds=seconds)

    return asyncio.run(ask())


def sent(loopback: Loopback, route: RouteSnapshot, **changes: Any) -> Received:
    """The request that reached the upstream."""
    assert asked(route, **changes).error is None
    return loopback.last


# Paths and bodies


@pytest.mark.parametrize(
    ("form", "path", "model"),
    [
        ("rest", "/v1/accounts/acc-1/ai/v1/chat/completions", LLAMA),
        ("compat", "/v1/acc-1/gate_1/compat/chat/completions", f"workers-ai/{LLAMA}"),
        ("workers-ai", f"/v1/acc-1/gate_1/workers-ai/{LLAMA}", None),
    ],
)
@pytest.mark.parametrize("named", [LLAMA, f"workers-ai/{LLAMA}"])
def test_each_form_has_its_path_and_its_name_for_the_model(
    loopback: Loopback, form: str, path: str, model: str | None, named: str
) -> None:
    request = sent(loopback, target(loopback, form, model=named))
    assert (request.method, request.path, request.body.get("model")) == ("POST", path, model)


@pytest.mark.parametrize("form", ["rest", "compat"])
def test_unified_forms_send_openais_body(loopback: Loopback, form: str) -> None:
    body = sent(loopback, target(loopback, form), temperature=0.5, user="u-1").body
    assert body.pop("model").endswith(LLAMA)
    assert body == {
        "messages": MESSAGES,
        "max_tokens": 64,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u-1",
    }


@pytest.mark.parametrize("form", ["rest", "compat"])
def test_models_of_openai_are_told_the_cap_by_its_new_name(loopback: Loopback, form: str) -> None:
    body = sent(loopback, target(loopback, form, model="openai/gpt-5-mini"), stream=False).body
    assert body == {
        "model": "openai/gpt-5-mini",
        "messages": MESSAGES,
        "max_completion_tokens": 64,
        "stream": False,
    }


def test_workers_ai_is_sent_its_own_body(loopback: Loopback) -> None:
    route = target(loopback, "workers-ai")
    plain = {"messages": MESSAGES, "max_tokens": 64, "stream": False}
    assert sent(loopback, route, stream=False).body == plain
    request = sent(loopback, route, temperature=0.5, user="u-1")
    assert request.body == plain | {"stream": True, "temperature": 0.5}


# Headers


@pytest.mark.parametrize(
    ("form", "model", "own"),
    [
        ("rest", LLAMA, {"authorization": f"Bearer {TOKEN}", "cf-aig-gateway-id": "gate_1"}),
        (
            "rest",
            "openai/gpt-5-mini",
            {"authorization": f"Bearer {TOKEN}", "cf-aig-gateway-id": "gate_1"},
        ),
        (
            "compat",
            LLAMA,
            {"authorization": f"Bearer {TOKEN}", "cf-aig-authorization": f"Bearer {TOKEN}"},
        ),
        ("compat", "openai/gpt-5-mini", {"cf-aig-authorization": f"Bearer {TOKEN}"}),
        (
            "workers-ai",
            LLAMA,
            {"authorization": f"Bearer {TOKEN}", "cf-aig-authorization": f"Bearer {TOKEN}"},
        ),
    ],
)
def test_headers_are_these_and_no_others(
    loopback: Loopback, form: str, model: str, own: dict[str, str]
) -> None:
    headers = sent(loopback, target(loopback, form, model=model), metadata=METADATA).headers
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers.pop("content-length").isdigit()
    metadata = headers.pop("cf-aig-metadata")
    assert json.loads(metadata) == {k: v for k, v in METADATA.items() if k != "other"}
    assert headers == own | {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "tollgate",
        "cf-aig-max-attempts": "1",
        "cf-aig-request-timeout": "5000",
    }


@pytest.mark.parametrize("form", FORMS)
def test_without_a_token_nothing_authorises(loopback: Loopback, form: str) -> None:
    headers = sent(loopback, target(loopback, form, token="")).headers
    assert not [name for name in headers if "authorization" in name]
    assert headers.get("cf-aig-gateway-id") == ("gate_1" if form == "rest" else None)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(900, "5000"), (2.5, "2500"), (0.9999, "999"), (5, "5000")]
)
def test_gateway_is_told_how_long_we_wait(
    loopback: Loopback, seconds: float, milliseconds: str
) -> None:
    request = sent(loopback, target(loopback, "rest"), seconds=seconds)
    assert request.headers["cf-aig-request-timeout"] == milliseconds


@pytest.mark.parametrize(
    "value", ["a\r\nx-evil: 1", "größe", "two words", "", "x" * 513, "a\x00b", "\ud800"]
)
def test_metadata_that_no_header_can_carry_is_left_out(loopback: Loopback, value: str) -> None:
    headers = sent(loopback, target(loopback, "rest"), metadata={"traceId": value}).headers
    assert not [name for name in headers if name in ("cf-aig-metadata", "x-evil")]


def test_metadata_cannot_leave_its_quotes(loopback: Loopback) -> None:
    odd = {"tenantId": '","cf.user_id":"root', "route": "a\\"}
    headers = sent(loopback, target(loopback, "rest"), metadata=odd).headers
    assert headers["cf-aig-metadata"].isascii()
    assert json.loads(headers["cf-aig-metadata"]) == odd


# The model in a URL


@pytest.mark.parametrize(
    "model",
    [
        "@cf/../../../accounts",
        "@cf/meta/..",
        "@cf/meta/../x",
        "@cf/./x",
        "@cf/meta/.hidden",
        "@cf//x",
        "@cf/",
        "@cf",
        "@cf/meta/x/",
        "@cf/meta/x?a=b",
        "@cf/meta/x#a",
        "@cf/meta/%2e%2e/x",
        "@cf/meta/x%2fy",
        "@cf/meta/x\\..",
        "@cf/meta/x y",
        "@cf/meta/x\n",
        "@cf/meta/größe",
        "@cf/meta/x;y",
        "@cf/meta/" + "x" * 101,
        "@cf" + "/x" * 5,
        "@evil/meta/x",
        "openai/gpt-5",
        "/etc/passwd",
        "http://evil.example/",
        "",
        "workers-ai/workers-ai/@cf/meta/x",
    ],
)
def test_model_never_leaves_its_place_in_the_path(loopback: Loopback, model: str) -> None:
    error = asked(target(loopback, "workers-ai", model=model)).error
    assert isinstance(error, UpstreamRejected)
    assert (error.sent, error.retryable, error.maybe_billed) == (False, False, False)
    assert loopback.requests == []


@pytest.mark.parametrize(
    "model", [LLAMA, "@hf/thebloke/llama-2-13b-chat-awq", "@cf/a/b/c/d", "@cf/x", "@cf/a/b..c"]
)
def test_every_name_of_workers_ai_fits(loopback: Loopback, model: str) -> None:
    request = sent(loopback, target(loopback, "workers-ai", model=model))
    assert request.path == f"/v1/acc-1/gate_1/workers-ai/{model}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["account_id", "gateway_id"])
@pytest.mark.parametrize("bad", ["", "..", "a/b", "a%2e", "a?b", "a#b", "a b", "größe", "a\n"])
def test_ids_never_leave_their_place_either(
    loopback: Loopback, form: str, name: str, bad: str
) -> None:
    error = asked(target(loopback, form, **{name: bad})).error
    assert isinstance(error, UpstreamUnreachable)
    assert loopback.requests == []


# Addresses and the deployment's own token


@pytest.mark.parametrize(
    ("form", "url"),
    [
        ("rest", "https://api.cloudflare.com/client/v4/accounts/a/ai/v1/chat/completions"),
        ("compat", "https://gateway.ai.cloudflare.com/v1/a/g/compat/chat/completions"),
        ("workers-ai", "https://gateway.ai.cloudflare.com/v1/a/g/workers-ai/@cf/meta/x"),
    ],
)
def test_without_an_address_it_is_cloudflares_own(form: str, url: str) -> None:
    model = "@cf/meta/x" if form == "workers-ai" else ""
    assert str(_endpoint("", form, "a", "g", model)) == url


def test_deployment_has_an_address_and_a_token_for_those_without(loopback: Loopback) -> None:
    deployment = {"base_url": f"{loopback.url}/deployment/", "token": "token-of-the-deployment"}
    request = sent(loopback, target(loopback, "rest", token="", base_url=""), deployment=deployment)
    assert request.path == "/v1/deployment/accounts/acc-1/ai/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer token-of-the-deployment"
    request = sent(loopback, target(loopback, "rest", base_url=""), deployment=deployment)
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_token_of_the_deployment_goes_to_no_address_of_an_upstreams_own(
    loopback: Loopback,
) -> None:
    for form in FORMS:
        request = sent(
            loopback, target(loopback, form, token=""), deployment={"token": "deployments"}
        )
        assert "deployments" not in repr(request)


@pytest.mark.parametrize("token", ["line\nbreak", "größe", "two words"])
def test_token_that_no_header_can_carry_is_not_sent_nor_told(
    loopback: Loopback, token: str
) -> None:
    deployment = {"base_url": loopback.url, "token": token}
    for route in (
        target(loopback, "compat", token=token),
        target(loopback, "compat", token="", base_url=""),
    ):
        error = asked(route, deployment=deployment).error
        assert isinstance(error, UpstreamUnreachable)
        assert token not in repr(error)
    assert loopback.requests == []


@pytest.mark.parametrize("base_url", ["nonsense", "ftp://example.com", "http://[::1", "http://"])
def test_bad_address_is_unreachable(loopback: Loopback, base_url: str) -> None:
    error = asked(target(loopback, "rest", base_url=base_url)).error
    assert isinstance(error, UpstreamUnreachable)
