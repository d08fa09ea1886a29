"""The contract of /health, of /ready, and of what is logged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.db.migrations.recorder import MigrationRecorder

from tenants_app.models import TenantHost
from tests.chat_app.contract import PROVIDER_TOKEN, house, playing, without
from tests.factories import make_key, make_tenant
from tests.journeys.test_handoff import closed_port
from tests.live import Server, Servers
from tests.loopback import Loopback
from tests.loopback_plays import WORDS, failure

pytestmark = pytest.mark.xdist_group("live")

TRUSTING = {"GATEWAY_TRUST_TENANT_HEADER": "true", "ENVIRONMENT": "staging"}
STATUS = {"status": "ok", "environment": "dev"}


# --- /health and /ready -------------------------------------------------------------------------


def test_health_without_a_credential(live: Server) -> None:
    answer = live.get("/health")
    assert answer.json() == {"ok": True, "data": STATUS}
    # Nobody trusts that header here.
    assert live.get("/health", x_tenant_id="acme").json() == {"ok": True, "data": STATUS}


def test_health_tells_a_caller_its_models(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    acme.fall_back_to(playing(loopback, "crlf"), playing(loopback, "split"))
    acme_sees = {"tenantId": "acme", "modelId": "good", "fallbackModelId": "crlf"}
    assert live.get("/health", acme.key).json() == {"ok": True, "data": STATUS | acme_sees}

    empty = make_key(make_tenant("globex"), scopes=[])
    assert live.get("/health", empty).json()["data"] == STATUS | {
        "tenantId": "globex",
        "modelId": None,
        "fallbackModelId": None,
        "notes": ["The request names no model, and the tenant has no default model"],
    }


def test_health_refuses_a_bad_credential(live: Server) -> None:
    answer = live.get("/health", authorization="Bearer nobody-s-imported-key")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_health_knows_whom_a_trusted_edge_names(servers: Servers, loopback: Loopback) -> None:
    trusting = servers(**TRUSTING)
    acme = house(loopback)
    TenantHost.objects.create(tenant=acme.tenant, host="acme.example")
    told = trusting.get("/health", x_tenant_id="acme").json()["data"]
    assert (told["tenantId"], told["environment"]) == ("acme", "staging")
    assert trusting.get("/health", x_tenant_id="nobody").status_code == 401
    assert "tenantId" not in trusting.get("/health").json()["data"]
    assert trusting.get("/health", host="Acme.Example:443").json()["data"] == told
    assert "tenantId" not in trusting.get("/health", host="unmapped.example").json()["data"]
    forwarded = trusting.get("/health", x_forwarded_host="acme.example")
    assert "tenantId" not in forwarded.json()["data"]
    acme.change(status="suspended")
    suspended = trusting.get("/health", host="acme.example")
    assert (suspended.status_code, suspended.json()["error"]["code"]) == (403, "tenant_suspended")


def test_a_mapped_host_need_not_be_among_the_allowed_hosts(
    servers: Servers, loopback: Loopback
) -> None:
    server = servers(ALLOWED_HOSTS="admin.example")
    acme, globex = house(loopback), house(loopback, slug="globex")
    TenantHost.objects.create(tenant=acme.tenant, host="acme.example")
    assert server.chat(acme.key, host="acme.example").status_code == 200
    refused = server.chat(globex.key, host="acme.example")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "tenant_mismatch")
    # The admin's side is Django's own, and known by its names alone.
    assert server.get("/admin/login/", host="acme.example").status_code == 400
    assert server.get("/admin/login/", host="admin.example").status_code == 200


def test_a_trusted_edge_names_the_tenant(servers: Servers, loopback: Loopback) -> None:
    trusting = servers(**TRUSTING)
    acme = house(loopback)
    house(loopback, slug="globex")
    TenantHost.objects.create(tenant=acme.tenant, host="acme.example")
    bad = {"message": 1}
    assert trusting.chat(None, bad, x_tenant_id="acme").status_code == 400
    assert trusting.chat(None, bad, host="acme.example").status_code == 400
    assert trusting.chat(None, bad, x_tenant_id="nobody").status_code == 401
    assert trusting.chat(None, bad).status_code == 401
    mismatch = trusting.chat(None, bad, x_tenant_id="globex", host="acme.example")
    assert (mismatch.status_code, mismatch.json()["error"]["code"]) == (403, "tenant_mismatch")
    # A key still is the one that counts.
    assert trusting.chat(acme.key, bad, x_tenant_id="globex").status_code == 403


def missing(server: Server) -> Any:
    answer = server.get("/ready", x_trace_id="t-1")
    body = answer.json()
    if answer.status_code == 200:
        assert body == {"ok": True, "data": {"status": "ready"}, "traceId": "t-1"}
        return []
    assert answer.status_code == 503
    assert body["error"]["code"] == "service_unavailable"
    assert body["error"]["message"] == f"Not ready: {', '.join(body['error']['missing'])}"
    return body["error"]["missing"]


def test_ready_says_what_is_missing(live: Server) -> None:
    broker = Path(os.environ["TOLLGATE_HOME"]) / "broker" / "messages"
    broker.mkdir(parents=True, exist_ok=True)
    assert missing(live) == []

    newest = MigrationRecorder.Migration.objects.order_by("-id")[0]
    newest.delete()
    try:
        assert missing(live) == ["migrations"]
    finally:
        newest.save(force_insert=True)
    assert missing(live) == []

    broker.rmdir()
    try:
        assert missing(live) == ["broker"]
    finally:
        broker.mkdir()


def test_a_database_that_is_away_is_503_and_never_401(servers: Servers, loopback: Loopback) -> None:
    acme = house(loopback)
    server = servers(
        DATABASE_URL=f"postgres://nobody@127.0.0.1:{closed_port()}/none",
        CELERY_BROKER_URL=f"redis://127.0.0.1:{closed_port()}/0",
    )
    assert missing(server) == ["database", "broker"]
    assert server.get("/health").status_code == 200
    answer = server.chat(acme.key, {"stream": True})
    assert answer.status_code == 503
    assert answer.json() == {
        "ok": False,
        "error": {
            "code": "service_unavailable",
            "message": "The service is briefly unavailable; please try again.",
        },
    }
    assert loopback.requests == []


# --- the log ------------------------------------------------------------------------------------

PROMPT = "the prompt that nobody may read in a log"


def test_every_line_of_a_request_names_its_tenant_and_trace(
    live: Server, loopback: Loopback
) -> None:
    acme, globex = house(loopback, "error"), house(loopback, "cut", slug="globex")
    acme.fall_back_to(playing(loopback, "good"))
    live.chat(make_key(make_tenant("first")))  # whose context nothing else may keep
    live.mark()

    live.chat(acme.key, {"stream": True}, x_trace_id="trace-of-acme")
    live.chat(globex.key, {"stream": True}, x_trace_id="trace-of-globex")
    live.chat(acme.key, {"modelId": "nobody-s"}, x_trace_id="refused")

    told = [(line["event"], line["tenantId"], line["traceId"]) for line in live.logs()]
    assert told == [
        *[("upstream_failed", "acme", "trace-of-acme")] * 3,
        ("chat", "acme", "trace-of-acme"),
        ("upstream_failed", "globex", "trace-of-globex"),
        ("chat", "globex", "trace-of-globex"),
        ("chat_refused", "acme", "refused"),
    ]


def test_the_line_of_a_chat(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    answer = live.chat(acme.key, {"stream": True})
    (line,) = live.logs("chat")
    assert without(line, "latencyMs", "ttftMs") | {"timestamp": None} == {
        "event": "chat",
        "level": "info",
        "timestamp": None,
        "tenantId": "acme",
        "traceId": answer.headers["x-trace-id"],
        "requestId": answer.headers["x-request-id"],
        "outcome": "ok",
        "error": None,
        "model": "good",
        "modelReason": "tenant",
        "notes": None,
        "upstream": "loopback",
        "attempts": 1,
        "stream": True,
        "tokensIn": 10,
        "tokensOut": 6,
        "usageSource": "provider",
        "cost": None,
    }


def test_no_prompt_key_or_token_is_logged(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    echo = f"Incorrect API key {PROVIDER_TOKEN}; you said: {PROMPT}"
    loopback.plays["echoing"] = failure(401, echo)
    for play in ("echoing", "error", "cut", "huge-line", "not-json", "broken-utf8"):
        playing(loopback, play)
        for stream in (False, True):
            live.chat(acme.key, {"modelId": play, "message": PROMPT, "stream": stream})
    live.chat(acme.key, {"message": PROMPT, "unknown": PROMPT})
    live.chat(None, {"message": PROMPT}, x_api_key=acme.key.secret[:-1] + "!")
    live.chat(None, {"message": PROMPT}, authorization=f"Basic {acme.key.secret}")
    headers = {"x-api-key": acme.key.secret}
    live.client.post(f"/chat?key={acme.key.secret}", content=PROMPT, headers=headers)
    live.client.get(f"/nothing/{acme.key.secret}", headers=headers)

    log = live.log_text()

    assert len(live.logs("upstream_failed")) >= 8
    for secret in (PROMPT, PROMPT[:12], PROVIDER_TOKEN, acme.key.secret[:20], WORDS[3]):
        assert secret not in log
