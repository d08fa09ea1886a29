"""The hand-off, replayed to the letter: a trusted edge names the tenant, and its upstream is down.

Both tenants come from docs/examples; only the latency may differ.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from gateway_project.embedded import demo
from tenants_app import keys
from tenants_app.models import Upstream
from tests.live import Server, Servers
from usage_app.models import LedgerEntry, UsageWindow

pytestmark = pytest.mark.xdist_group("live-trusting")

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TENANTS = {"mrrainbowsmoke": "ai-gate", "rainbowsmokeofficial": "ai_gateway"}
SESSION = "11111111-1111-1111-1111-111111111111"
HEALTH = (
    '{"ok":true,"data":{"status":"ok","tenantId":"%s","environment":"dev",'
    '"modelId":"@cf/meta/llama-3.1-8b-instruct-fast",'
    '"fallbackModelId":"@cf/meta/llama-3.1-8b-instruct"}}'
)
FAILED = '{"ok":false,"error":{"code":"ai_error","message":"AI provider unavailable"}}'
FAILED_STREAM = (
    "event: error\n"
    'data: {"code":"ai_error","message":"AI provider unavailable"}\n'
    "\n"
    "event: done\n"
    'data: {"done":true,"usage":{"modelId":"@cf/meta/llama-3.1-8b-instruct",'
    '"tokensIn":4,"latencyMs":…}}\n'
    "\n"
)


@pytest.fixture
def trusting(servers: Servers) -> Server:
    return servers(GATEWAY_TRUST_TENANT_HEADER="true")


@pytest.fixture
def _tenants_whose_upstream_is_down(transactional_db: None) -> None:
    demo.seed(
        admin_password="unused",
        demo_key=keys.new_secret(),
        real=None,
        examples=demo.read_examples(EXAMPLES),
    )
    down = f"http://127.0.0.1:{closed_port()}/v1"
    for slug, gateway_id in TENANTS.items():
        own = Upstream.objects.filter(tenant__slug=slug, gateway_id=gateway_id)
        assert own.update(kind="openai", base_url=down) == 1


def closed_port() -> int:
    """One that was just free: a connection to it is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.usefixtures("_tenants_whose_upstream_is_down")
@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_is_told_that_its_upstream_is_down(trusting: Server, tenant: str) -> None:
    health = trusting.get("/health", x_tenant_id=tenant)
    assert (health.status_code, health.text) == (200, HEALTH % tenant)

    hello = {"sessionId": SESSION, "message": "hello", "stream": False}
    whole = trusting.chat(None, hello, x_tenant_id=tenant)
    assert (whole.status_code, whole.text) == (502, FAILED)

    streamed = trusting.chat(None, hello | {"stream": True}, x_tenant_id=tenant)
    frames = re.sub(r'(?<="latencyMs":)\d+', "…", streamed.text)
    assert (streamed.status_code, frames) == (200, FAILED_STREAM)
    assert streamed.headers["content-type"].startswith("text/event-stream")

    entries = LedgerEntry.objects.filter(tenant__slug=tenant).order_by("created_at")
    assert [(e.outcome, e.total_tokens) for e in entries] == [("error", 0)] * 2
    # Each of the two models three times; the tenth failure opened the circuit.
    tried = [[attempt["outcome"] for attempt in e.attempts] for e in entries]
    assert tried == [["unreachable"] * 6, ["unreachable"] * 4]
    assert {str(e.id) for e in entries} == {
        answer.headers["x-request-id"] for answer in (whole, streamed)
    }
    counted = UsageWindow.objects.filter(tenant__slug=tenant, period="day").get()
    assert (counted.requests, counted.tokens, counted.held_tokens) == (2, 0, 0)
