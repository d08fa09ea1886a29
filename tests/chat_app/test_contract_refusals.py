"""The contract of what is refused before any upstream is called: JSON with its status, always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tenants_app import keys
from tenants_app.keys import IssuedKey
from tenants_app.models import ApiKey, TenantHost
from tests.chat_app.contract import house, playing
from tests.factories import make_budget, make_key, make_model, make_route, make_upstream
from tests.live import Server
from tests.loopback import Loopback

pytestmark = pytest.mark.xdist_group("live")

SESSION = "11111111-1111-1111-1111-111111111111"
SENTENCE = {
    "unauthorized": "No valid API key was sent.",
    "not_found": "There is nothing here.",
    "method_not_allowed": "This method is not allowed here.",
    "payload_too_large": "The body is too large.",
    "unsupported_media_type": "The body must be application/json.",
    "tenant_mismatch": "The tenant named by the request is not the tenant of the API key.",
    "tenant_suspended": "The tenant is suspended.",
}


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": SENTENCE[code], **more}}


@pytest.fixture(autouse=True)
def _no_upstream_is_called(live: Server, loopback: Loopback) -> Iterator[None]:
    yield
    assert loopback.requests == []


# --- bodies -------------------------------------------------------------------------------------

BAD_BODIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"sessionId": None}, ["sessionId"]),
    ({"sessionId": "not a uuid"}, ["sessionId"]),
    ({"sessionId": 1}, ["sessionId"]),
    ({"message": ""}, ["message"]),
    ({"message": "x" * 10_001}, ["message"]),
    ({"message": ["hello"]}, ["message"]),
    ({"message": "nul \0"}, ["message"]),
    ({"stream": "yes"}, ["stream"]),
    ({"maxTokens": 0}, ["maxTokens"]),
    ({"maxTokens": 1.5}, ["maxTokens"]),
    ({"temperature": 3}, ["temperature"]),
    ({"temperature": True}, ["temperature"]),
    ({"modelId": "with space"}, ["modelId"]),
    ({"userId": 7}, ["userId"]),
    ({"metadata": []}, ["metadata"]),
    ({"metadata": {"deep": {}}}, ["metadata"]),
    ({"max_tokens": 5, "messages": []}, ["max_tokens", "messages"]),
    ({"sessionId": "x", "message": 1, "odd": 2}, ["message", "odd", "sessionId"]),
]


@pytest.mark.parametrize(("changes", "fields"), BAD_BODIES)
def test_a_bad_body_names_its_fields(
    live: Server, loopback: Loopback, changes: dict[str, Any], fields: list[str]
) -> None:
    acme = house(loopback)
    for stream in (False, True):
        answer = live.chat(acme.key, {"stream": stream, **changes})
        told = answer.json()["error"]
        assert (answer.status_code, told["code"]) == (400, "invalid_request")
        assert sorted(told["fields"]) == fields
        assert all(told["fields"].values())
        assert "x-trace-id" in answer.headers


@pytest.mark.parametrize(
    "content", [b"", b"hello", b'{"sessionId":', b"\xff\xfe", b'{"a":NaN}', b"[" * 5000]
)
def test_what_is_not_json_is_told_where(live: Server, loopback: Loopback, content: bytes) -> None:
    acme = house(loopback)
    headers = {"x-api-key": acme.key.secret, "content-type": "application/json"}
    answer = live.client.post("/chat", content=content, headers=headers)
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (400, "invalid_json")
    assert told["line"] >= 1


@pytest.mark.parametrize("content", [b"[]", b'"hello"', b"null", b"7"])
def test_a_body_is_an_object(live: Server, loopback: Loopback, content: bytes) -> None:
    acme = house(loopback)
    answer = live.client.post("/chat", content=content, headers={"x-api-key": acme.key.secret})
    assert answer.status_code == 400
    assert answer.json()["error"]["fields"] == {"body": "must be a JSON object"}


@pytest.mark.parametrize("size", [65_537, 200_000, 3_000_000])
def test_a_body_over_the_limit(live: Server, loopback: Loopback, size: int) -> None:
    acme = house(loopback)
    headers = {"x-api-key": acme.key.secret, "x-trace-id": "big"}
    answer = live.client.post("/chat", content=b" " * size, headers=headers)
    assert answer.status_code == 413
    assert answer.json() == error("payload_too_large", limitBytes=65_536) | {"traceId": "big"}
    assert answer.headers["x-trace-id"] == "big"
    # The connection is not left in the middle of that body.
    assert live.get("/health").status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml"]
)
def test_another_media_type(live: Server, loopback: Loopback, kind: str) -> None:
    acme = house(loopback)
    headers = {"x-api-key": acme.key.secret, "content-type": kind}
    answer = live.client.post("/chat", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()) == (415, error("unsupported_media_type"))


# --- paths and methods --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nothing", "/chat/", "/chat/x", "/v1", "/%00", "/chat%20"])
def test_an_unknown_path(live: Server, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = live.client.request(method, path, headers={"x-trace-id": "t-1"})
        assert answer.status_code == 404
        assert answer.json() == error("not_found") | {"traceId": "t-1"}
        assert answer.headers["x-trace-id"] == "t-1"
        assert UUID(answer.headers["x-request-id"]).version == 7


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/chat", "GET", "POST, OPTIONS"),
        ("/chat", "HEAD", "POST, OPTIONS"),
        ("/chat", "DELETE", "POST, OPTIONS"),
        ("/chat", "TRACE", "POST, OPTIONS"),
        ("/chat", "PATCH", "POST, OPTIONS"),
        ("/health", "POST", "GET, HEAD, OPTIONS"),
        ("/ready", "PUT", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method(live: Server, path: str, method: str, allowed: str) -> None:
    answer = live.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert "x-trace-id" in answer.headers
    if method != "HEAD":
        assert answer.json() == error("method_not_allowed")


def test_options_and_head(live: Server) -> None:
    options = live.client.options("/chat")
    assert options.status_code == 200
    assert options.headers["allow"] == "POST, OPTIONS"
    assert options.json() == {"ok": True, "data": {"methods": ["POST", "OPTIONS"]}}

    head = live.client.head("/health")
    assert (head.status_code, head.content) == (200, b"")
    assert {"x-trace-id", "x-request-id"} <= set(head.headers)
    assert head.headers["content-length"] == live.get("/health").headers["content-length"]


# --- who is calling -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer tg_" + "0" * 38},
        {"authorization": "Bearer nobody-s-imported-key"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer"},
        {"x-api-key": ""},
        {"x-api-key": "short"},
        {"x-tenant-id": "acme"},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_valid_key(
    live: Server, loopback: Loopback, headers: dict[str, str], *, stream: bool
) -> None:
    house(loopback)
    answer = live.chat(None, {"stream": stream}, **headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/json"


def test_two_credentials_must_be_the_same(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    other = make_key(acme.tenant)
    answer = live.chat(acme.key, {"message": 1}, x_api_key=other.secret)
    assert answer.status_code == 401
    assert "different keys" in answer.json()["error"]["message"]
    # The same twice is one; what is wrong then is the body.
    assert live.chat(acme.key, {"message": 1}, x_api_key=acme.key.secret).status_code == 400


def test_a_named_tenant_must_agree(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    house(loopback, slug="globex")
    answer = live.chat(acme.key, None, x_tenant_id="globex")
    assert (answer.status_code, answer.json()) == (403, error("tenant_mismatch"))
    assert live.chat(acme.key, {"message": 1}, x_tenant_id="acme").status_code == 400


def test_a_mapped_host_must_agree(live: Server, loopback: Loopback) -> None:
    acme, globex = house(loopback), house(loopback, slug="globex")
    TenantHost.objects.create(tenant=globex.tenant, host="globex.example")
    answer = live.chat(acme.key, None, host="Globex.Example:8787")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "tenant_mismatch"
    for key, host in ((globex.key, "globex.example"), (acme.key, "other.example")):
        assert live.chat(key, {"message": 1}, host=host).status_code == 400


def test_a_key_without_the_scope(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    reader = make_key(acme.tenant, scopes=["usage:read"])
    answer = live.chat(reader)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "insufficient_scope"
    assert answer.json()["error"]["scope"] == "chat"


def test_an_expired_key(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    old = make_key(acme.tenant, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    answer = live.chat(old)
    assert answer.status_code == 401
    assert answer.json()["error"] == {
        "code": "unauthorized",
        "message": "The API key has expired.",
    }


# --- what changed a moment ago -------------------------------------------------------------------


def chat_status(server: Server, key: IssuedKey) -> int:
    """404 when the caller is admitted: nobody serves that model."""
    return server.chat(key, {"modelId": "nobody-s"}).status_code


def usage_status(server: Server, key: IssuedKey) -> int:
    return server.get("/usage", key).status_code


def health_status(server: Server, key: IssuedKey) -> int:
    return server.get("/health", key).status_code


every_call = pytest.mark.parametrize(
    ("status", "good"), [(chat_status, 404), (usage_status, 200), (health_status, 200)]
)
Status = Callable[[Server, IssuedKey], int]


@every_call
def test_a_revoked_key_is_dead_at_the_next_request(
    live: Server, loopback: Loopback, status: Status, good: int
) -> None:
    acme = house(loopback)
    assert status(live, acme.key) == good
    keys.revoke(acme.key.key)
    assert status(live, acme.key) == 401


@every_call
def test_a_rotated_key_is_dead_and_its_heir_lives(
    live: Server, loopback: Loopback, status: Status, good: int
) -> None:
    acme = house(loopback)
    assert status(live, acme.key) == good
    heir = keys.rotate(acme.key.key)
    assert status(live, acme.key) == 401
    assert status(live, heir) == good


@every_call
def test_a_suspended_tenant_is_refused_and_comes_back(
    live: Server, loopback: Loopback, status: Status, good: int
) -> None:
    acme = house(loopback)
    assert status(live, acme.key) == good
    acme.change(status="suspended")
    assert status(live, acme.key) == 403
    assert live.chat(acme.key).json() == error("tenant_suspended")
    acme.change(status="active")
    assert status(live, acme.key) == good


@every_call
def test_a_key_s_end_may_be_moved(
    live: Server, loopback: Loopback, status: Status, good: int
) -> None:
    acme = house(loopback)
    now, hour = datetime.now(UTC), timedelta(hours=1)
    key = make_key(acme.tenant, expires_at=now + hour)
    row = ApiKey.objects.filter(pk=key.key.pk)
    assert status(live, key) == good
    row.update(expires_at=now - hour)
    assert status(live, key) == 401
    row.update(expires_at=now + hour)
    assert status(live, key) == good


def test_a_scope_that_was_added_or_taken_counts(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    key = make_key(acme.tenant, scopes=["usage:read"])
    row = ApiKey.objects.filter(pk=key.key.pk)
    assert (chat_status(live, key), usage_status(live, key)) == (403, 200)
    row.update(scopes=["chat"])
    assert chat_status(live, key) == 404
    row.update(scopes=["usage:read"])
    assert chat_status(live, key) == 403
    row.update(scopes=["chat"])
    assert usage_status(live, key) == 403


def test_a_model_that_was_allowed_or_made_counts(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    acme.tenant.allowed_models.set([playing(loopback, "good")])
    acme.change(allow_list_enabled=True)
    asked = {"modelId": "new"}
    assert live.chat(acme.key, asked).json()["error"]["code"] == "model_not_allowed"
    acme.change(allow_list_enabled=False)
    assert live.chat(acme.key, asked).json()["error"]["code"] == "model_unknown"
    make_route(make_model("new"), make_upstream())
    make_budget(acme.tenant, "cost", "day", 1)
    assert live.chat(acme.key, asked).json()["error"]["code"] == "model_unpriced"


# --- models and budgets -------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_may_not_be_asked(live: Server, loopback: Loopback, *, stream: bool) -> None:
    acme = house(loopback, allow_list_enabled=True)
    acme.tenant.allowed_models.set([playing(loopback, "good")])
    playing(loopback, "crlf")
    for model, status, code in (
        ("crlf", 403, "model_not_allowed"),
        ("nobody-s", 403, "model_not_allowed"),
    ):
        answer = live.chat(acme.key, {"modelId": model, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    acme.change(allow_list_enabled=False)
    answer = live.chat(acme.key, {"modelId": "nobody-s", "stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_unknown")


def midnight() -> str:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_that_is_too_small(live: Server, loopback: Loopback, *, stream: bool) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "tokens", "day", 20)

    answer = live.chat(acme.key, {"stream": stream})

    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json() == {
        "ok": False,
        "error": {
            "code": "budget_exceeded",
            "message": "The tenant's budget of 20 tokens per day is smaller than this request.",
            "reason": "too_large",
            "scope": "tenant",
            "metric": "tokens",
            "period": "day",
            "limit": 20,
            "used": 0,
            "held": 0,
            "resetsAt": midnight(),
        },
    }


def test_a_budget_that_is_used_up(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "requests", "day", 1)
    assert live.chat(acme.key).status_code == 200
    loopback.requests.clear()

    refused = live.chat(acme.key, {"stream": True})

    assert refused.status_code == 429
    told = refused.json()["error"]
    assert (told["code"], told["reason"]) == ("budget_exceeded", "exhausted")
    assert (told["metric"], told["used"], told["held"]) == ("requests", 1, 0)
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert refused.headers["x-should-retry"] == "false"


def test_a_rate_that_is_used_up(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "requests", "minute", 1, api_key=acme.key.key)
    assert live.chat(acme.key).status_code == 200
    loopback.requests.clear()

    refused = live.chat(acme.key)

    assert refused.status_code == 429
    told = refused.json()["error"]
    assert (told["code"], told["reason"]) == ("rate_limited", "exhausted")
    assert (told["scope"], told["period"], told["limit"]) == ("key", "minute", 1)
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-should-retry"] == "true"
