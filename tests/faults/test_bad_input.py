"""Whatever is sent, the answer is one of the documented errors, and no hold is left behind."""

import asyncio
import json
import random
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from tests.factories import make_budget
from tests.faults.books import entries, settled
from tests.faults.conftest import World
from tests.faults.crowd import body, connected
from tests.live import Server

pytestmark = pytest.mark.xdist_group("faults")

LIMIT = 65_536
BODIES = 240
DEEP = 50_000
REFUSALS = {
    (400, "invalid_json"),
    (400, "invalid_request"),
    (413, "payload_too_large"),
    (415, "unsupported_media_type"),
    (429, "budget_exceeded"),
}
NASTY: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 10**12, -(10**12), 2**63, 10**400, 1.5, 1e308, 5e-324),
    *("", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e", "😀" * 200, "x" * 10_001),
    *("NaN", "null", "../../etc/passwd", "'; DROP TABLE x; --", "%s%s%n", "{{7*7}}", "\r\nx: y"),
    *([], {}, [[]], {"": ""}, {"a": {"b": []}}, [None] * 1000, {"k" * 65: 1}, {"k": "\x00"}),
    *({"k": 10**12}, {"k": 2**53 + 1}, {"k": "\ud800"}, {str(n): n for n in range(17)}),
)
FIELDS = (
    *("sessionId", "message", "modelId", "stream", "userId", "maxTokens", "temperature"),
    *("metadata", "unknown", "", "\x00", "n", "model", "__class__"),
)
Sent = tuple[bytes, dict[str, str]]
Told = tuple[int, str | None]


def post(server: Server, world: World, asked: Sequence[Sent]) -> list[Told]:
    """What each of these bodies and headers, sent all at once, is told."""

    async def one(session: aiohttp.ClientSession, content: bytes, more: dict[str, str]) -> Told:
        headers = {"authorization": f"Bearer {world.key.secret}"}
        headers |= {"content-type": "application/json"} | more
        async with session.post(
            f"{server.url}/chat", data=BytesIO(content), headers=headers
        ) as response:
            text = await response.text()
        assert response.headers["x-request-id"]
        if response.status == 200:
            return 200, None
        answer = json.loads(text)
        assert answer["ok"] is False
        assert answer["error"]["message"]
        return response.status, answer["error"]["code"]

    async def all_of_them() -> list[Told]:
        connector = aiohttp.TCPConnector(limit=40)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await asyncio.gather(*(one(session, *each) for each in asked))

    return asyncio.run(all_of_them())


def test_random_bodies_get_documented_errors_only(live: Server, acme: World) -> None:
    chance = random.Random(20)
    asked = [any_request(chance) for _ in range(BODIES)]

    told = post(live, acme, asked)

    assert set(told) <= REFUSALS | {(200, None)}
    assert len(set(told)) > 3
    assert not live.logs(level="error")
    written = settled(acme.tenant, told.count((200, None)))
    assert {entry.outcome for entry in written} == {"ok"}


def any_request(chance: random.Random) -> Sent:
    """A good request with up to three bad fields; now and then it is broken as a whole."""
    asked = body() | {
        chance.choice(FIELDS): chance.choice(NASTY) for _ in range(chance.randrange(4))
    }
    content = json.dumps(asked, ensure_ascii=chance.random() < 0.7).encode(errors="surrogatepass")
    kind = chance.randrange(12)
    if kind == 0:
        return content[: chance.randrange(len(content))], {}
    if kind == 1:
        place = chance.randrange(len(content))
        return content[:place] + chance.randbytes(3) + content[place + 3 :], {}
    if kind == 2:
        return chance.randbytes(chance.randrange(300)), {}
    if kind == 3:
        odd = chance.choice(["text/plain", "application/json; charset=utf-16", "x", ""])
        return content, {"content-type": odd}
    return content, {"x-trace-id": chance.choice(["ok", "a b", "x" * 300, "\xe9", "{}"])}


WHOLE_BODIES: Sequence[tuple[bytes, Told]] = (
    (b'{"a":' * DEEP, (413, "payload_too_large")),
    (b"[" * DEEP, (400, "invalid_json")),
    (b"[" * 900 + b"]" * 900, (400, "invalid_request")),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, (400, "invalid_json")),
    (b" " * (LIMIT + 1), (413, "payload_too_large")),
    (b" " * LIMIT, (400, "invalid_json")),
    (b" " * 5_000_000, (413, "payload_too_large")),
    (b'"' + b"\xff" * 100 + b'"', (400, "invalid_json")),
    (b"\xef\xbb\xbf{}", (400, "invalid_json")),
    (b"NaN", (400, "invalid_json")),
    (b"1" * 300, (400, "invalid_request")),
)


def test_bodies_as_a_whole(live: Server, acme: World) -> None:
    told = post(live, acme, [(content, {}) for content, _ in WHOLE_BODIES])
    assert told == [expected for _, expected in WHOLE_BODIES]
    assert not entries(acme.tenant)
    assert not live.logs(level="error")


def test_refusals_leave_the_budget_as_it_was(live: Server, acme: World) -> None:
    make_budget(acme.tenant, "requests", "day", 1)
    bad = [body(maxTokens=10**12), body(message="a\x00b"), body(modelId="no spaces"), {"n": 1}]
    told = post(live, acme, [(json.dumps(each).encode(), {}) for each in bad * 5])
    assert set(told) == {(400, "invalid_request")}
    assert live.chat(acme.key).status_code == 200
    assert live.chat(acme.key).status_code == 429
    settled(acme.tenant, 1)


def test_requests_that_are_not_http_are_refused_without_harm(live: Server, acme: World) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST /chat HTTP/9.9\r\n\r\n"):
        with connected(live) as connection:
            connection.sendall(nonsense)
            assert b"200" not in connection.recv(100)
    assert live.chat(acme.key).status_code == 200
    settled(acme.tenant, 1)
