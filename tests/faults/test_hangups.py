"""A client that leaves, at whatever stage, closes its upstream and is charged what it was sent."""

import asyncio
import json
import time
from typing import Any

import pytest

from gateway_project import handler
from tests.factories import make_budget
from tests.faults.books import entries, holds, settled, wait_for_holds
from tests.faults.conftest import World
from tests.faults.crowd import body, connected, raw_request
from tests.live import Server, Servers, eventually
from tests.loopback import Loopback
from tests.loops import run

pytestmark = pytest.mark.xdist_group("faults")

# On a quiet machine it is a few milliseconds.
CLOSED_SECONDS = 3.0


def content(**fields: Any) -> bytes:
    return json.dumps(body(**fields)).encode()


@pytest.mark.parametrize("sent", [b"", b"POST /chat HTT", b'{"sessionId"'])
def test_client_that_leaves_within_its_request_is_nobody(
    live: Server, acme: World, sent: bytes
) -> None:
    whole = raw_request(acme.key, sent, length=500) if sent[:1] == b"{" else sent
    with connected(live) as connection:
        connection.sendall(whole)
        time.sleep(0.05)
    assert live.chat(acme.key).status_code == 200
    settled(acme.tenant, 1)
    assert not live.logs(level="error")


@pytest.mark.parametrize("streamed", [False, True])
def test_client_that_leaves_while_the_model_thinks_is_charged_nothing(
    live: Server, acme: World, loopback: Loopback, streamed: bool
) -> None:
    make_budget(acme.tenant, "requests", "concurrent", 1)
    left = loopback.left
    with connected(live) as connection:
        connection.sendall(raw_request(acme.key, content(modelId="slow-head", stream=streamed)))
        assert eventually(lambda: loopback.requests)
        wait_for_holds(acme.tenant, 1)

    assert eventually(lambda: loopback.left > left, seconds=CLOSED_SECONDS)
    (entry,) = settled(acme.tenant, 1)
    assert (entry.outcome, entry.total_tokens, entry.stream) == ("aborted", 0, streamed)
    (attempt,) = entry.attempts
    assert (attempt["outcome"], attempt["maybeBilled"]) == ("cancelled", True)
    # Its place is free again.
    assert live.chat(acme.key).status_code == 200


def test_client_that_leaves_a_stream_is_charged_what_it_was_sent(
    live: Server, acme: World, loopback: Loopback
) -> None:
    make_budget(acme.tenant, "tokens", "minute", 5_000)
    left = loopback.left
    with live.streaming(acme.key, {"modelId": "paced-400-50", "stream": True}) as stream:
        parts = stream.iter_text()
        read = "".join(next(parts) for _ in range(3))

    assert eventually(lambda: loopback.left > left, seconds=CLOSED_SECONDS)
    (entry,) = settled(acme.tenant, 1)
    assert (entry.outcome, entry.usage_source, entry.input_tokens) == ("aborted", "partial", 2)
    relayed = read.count("data: ") * len(" word") // 4
    assert relayed <= entry.output_tokens < 100


def test_clients_that_leave_right_after_their_request_leave_no_hold(
    live: Server, acme: World, loopback: Loopback
) -> None:
    asked = [content(modelId="drip", stream=number % 2 == 0) for number in range(40)]
    for number, each in enumerate(asked):
        with connected(live) as connection:
            connection.sendall(raw_request(acme.key, each))
            time.sleep(number * 0.0007)

    assert live.chat(acme.key, {"modelId": "good"}).status_code == 200
    written = settled(acme.tenant)
    assert {entry.outcome for entry in written if entry.model == "drip"} <= {"aborted", "error"}
    assert not live.logs(level="error")


def test_client_that_reads_nothing_is_given_up(
    acme: World, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(handler, "KEEP_ALIVE_SECONDS", 0.1)
    left = loopback.left
    sent: list[dict[str, Any]] = []

    async def main() -> None:
        await asyncio.wait_for(handler.handle(scope(acme), receiving(acme), send), 20)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if len(sent) > 4:
            await asyncio.Event().wait()

    run(main())

    assert eventually(lambda: loopback.left > left, seconds=CLOSED_SECONDS)
    assert not holds(acme.tenant)
    (entry,) = settled(acme.tenant, 1)
    assert (entry.outcome, entry.usage_source) == ("aborted", "partial")
    # What stuck in the socket does not count as sent.
    assert entry.output_tokens == 3 * len(" word") // 4 + 1


def scope(world: World) -> dict[str, Any]:
    headers = [(b"authorization", f"Bearer {world.key.secret}".encode())]
    return {
        "type": "http",
        "method": "POST",
        "path": "/chat",
        "headers": [*headers, (b"content-type", b"application/json")],
    }


def receiving(world: World) -> Any:
    """A client that sends its request, and then stays and says no more."""
    asked = content(modelId="paced-400-20", stream=True)
    messages = [{"type": "http.request", "body": asked, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive


def test_crowd_that_leaves_is_settled_after_its_server_has_stopped(
    servers: Servers, acme: World
) -> None:
    (server,) = servers.start(graceful_seconds=1)
    with connected(server) as one, connected(server) as other:
        one.sendall(raw_request(acme.key, content(modelId="slow-head")))
        other.sendall(raw_request(acme.key, content(modelId="paced-400-50", stream=True)))
        wait_for_holds(acme.tenant, 2)
    server.terminate()
    settled(acme.tenant, 2)
    assert len(entries(acme.tenant, outcome="aborted")) == 2
