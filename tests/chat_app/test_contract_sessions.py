"""The contract of sessions over the socket: what the model is sent, order, history, deletion."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest

from chat_app.models import ChatMessage
from tests.chat_app.contract import House, house, playing
from tests.chat_app.remembered import remember
from tests.factories import make_key, make_model, make_route
from tests.live import Server, Servers, eventually, frames
from tests.loopback import Loopback
from tests.loopback_plays import TEXT
from usage_app.models import Reservation

pytestmark = pytest.mark.xdist_group("live")

SESSION = "11111111-1111-1111-1111-111111111111"
HISTORY = f"/sessions/{SESSION}/history"
NOT_FOUND = {"ok": False, "error": {"code": "not_found", "message": "There is nothing here."}}


def say(live: Server, acme: House, message: str, **body: Any) -> httpx.Response:
    answer = live.chat(acme.key, {"sessionId": SESSION, "message": message, **body})
    assert answer.status_code == 200
    return answer


def sent(loopback: Loopback) -> list[str]:
    """What the model was sent last, before the new message."""
    return [message["content"] for message in loopback.last.body["messages"][:-1]]


def history(live: Server, acme: House, query: str = "") -> list[str]:
    """The texts of a page, newest first."""
    answer = live.get(f"{HISTORY}{query}", acme.key)
    assert answer.status_code == 200, answer.text
    return [message["content"] for message in answer.json()["data"]["messages"]]


# --- what the model is sent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"context_messages": 20}, ["one", TEXT, "two", TEXT, "three", TEXT]),
        ({"context_messages": 4}, ["two", TEXT, "three", TEXT]),
        ({"context_messages": 3}, ["three", TEXT]),
        ({"context_messages": 0}, []),
        ({"context_tokens": 11}, ["three", TEXT]),
        ({"context_tokens": 20}, ["three", TEXT]),
        ({"context_tokens": 21}, ["two", TEXT, "three", TEXT]),
        ({"context_tokens": 0}, []),
        ({"max_messages_per_session": 2}, ["three", TEXT]),
    ],
)
def test_model_is_sent_what_the_budget_allows(
    live: Server, loopback: Loopback, limits: dict[str, int], expected: list[str]
) -> None:
    # The words are 1, 1 and 2 tokens, each answer is 9.
    acme = house(loopback)
    for message in ("one", "two", "three"):
        say(live, acme, message)
    acme.change(**limits)
    say(live, acme, "four")
    assert sent(loopback) == expected


@pytest.mark.parametrize(("answer", "messages"), [(53, 4), (54, 2), (61, 2), (62, 0), (70, 0)])
def test_model_is_sent_what_fits_its_window(
    live: Server, loopback: Loopback, answer: int, messages: int
) -> None:
    playing(loopback, "good", context_window=70)
    acme = house(loopback)
    for _ in range(2):
        remember(acme.tenant, "x" * 4, "y" * 28)  # 1 and 7 tokens
    say(live, acme, "tell", maxTokens=answer)
    assert sent(loopback) == ["x" * 4, "y" * 28] * (messages // 2)


def test_smaller_window_of_a_fallback_counts(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    acme.fall_back_to(playing(loopback, "crlf", context_window=70))
    for _ in range(2):
        remember(acme.tenant, "x" * 4, "y" * 28)
    say(live, acme, "tell", maxTokens=54)
    assert sent(loopback) == ["x" * 4, "y" * 28]


# --- order --------------------------------------------------------------------------------------


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def begun(
    beside: ThreadPoolExecutor, live: Server, acme: House, message: str, **body: Any
) -> Future[httpx.Response]:
    """A turn that is admitted, and waits for its model."""
    turn = beside.submit(say, live, acme, message, **body)
    assert eventually(Reservation.objects.exists)
    return turn


def with_demo_models(acme: House) -> House:
    for name in ("demo-slow", "demo-echo"):
        make_route(make_model(name))
    return acme


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_turns_keep_the_order_of_their_arrival(
    live: Server, loopback: Loopback, beside: ThreadPoolExecutor, *, stream: bool
) -> None:
    acme = with_demo_models(house(loopback))
    slow = begun(beside, live, acme, "first", modelId="demo-slow", stream=stream)
    # It does not wait for the slow one.
    say(live, acme, "second", modelId="demo-echo")
    assert not slow.done()
    assert history(live, acme) == ["You said: second", "second"]
    slow.result()

    in_order = ["first", "You said: first", "second", "You said: second"]
    assert history(live, acme) == in_order[::-1]
    say(live, acme, "third")
    assert sent(loopback) == in_order


# --- history ------------------------------------------------------------------------------------


def test_history_is_told_newest_first(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    before = datetime.now(UTC)
    asked = say(live, acme, "hello")

    answer = live.get(HISTORY, acme.key, x_trace_id="trace-1")

    body = answer.json()
    messages = body["data"]["messages"]
    for message in messages:
        assert before < datetime.fromisoformat(message.pop("createdAt")) < datetime.now(UTC)
    second, first = (message.pop("id") for message in messages)
    assert second > first
    turn = asked.headers["x-request-id"]
    assert (answer.status_code, body) == (
        200,
        {
            "ok": True,
            "data": {
                "sessionId": SESSION,
                "messages": [
                    {"role": "assistant", "content": TEXT, "turnId": turn},
                    {"role": "user", "content": "hello", "turnId": turn},
                ],
                "next": None,
            },
            "traceId": "trace-1",
        },
    )
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7, 8])
def test_pages_lead_to_the_end(live: Server, loopback: Loopback, limit: int) -> None:
    acme = house(loopback)
    for n in range(3):
        remember(acme.tenant, f"{n}", f"{n}!")
    remember(acme.tenant, "3")
    told: list[str] = []
    query: str | None = f"?limit={limit}"
    while query is not None:
        data = live.get(HISTORY + query, acme.key).json()["data"]
        assert 0 < len(data["messages"]) <= limit
        told += [message["content"] for message in data["messages"]]
        query = f"?limit={limit}&before={data['next']}" if data["next"] else None
    assert told == ["3", "2!", "2", "1!", "1", "0!", "0"]


def test_fifty_messages_are_a_page_and_two_hundred_the_most(
    live: Server, loopback: Loopback
) -> None:
    acme = house(loopback)
    for n in range(120):
        remember(acme.tenant, f"{n}", f"{n}!")
    assert len(history(live, acme)) == 50
    assert len(history(live, acme, "?limit=200")) == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=", "limit"),
        ("before=", "before"),
        ("before=1", "before"),
        ("before=%00", "before"),
        (f"before={'_' * 32}", "before"),
        (f"before={'A' * 5000}", "before"),
        ("page=2", "page"),
        ("%ff=%fe", "\ufffd"),
    ],
)
def test_bad_query_is_named(live: Server, loopback: Loopback, query: str, field: str) -> None:
    answer = live.get(f"{HISTORY}?{query}", house(loopback).key)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    assert list(error["fields"]) == [field]


@pytest.mark.parametrize(
    "session", ["1", "x" * 5000, SESSION[:-1], "%00", "'; DROP TABLE", "\uff11" * 32, f"{SESSION}x"]
)
def test_bad_session_id_is_named(live: Server, loopback: Loopback, session: str) -> None:
    acme, path = house(loopback), f"/sessions/{quote(session, safe='%')}"
    for answer in (live.get(f"{path}/history", acme.key), live.delete(path, acme.key)):
        assert (answer.status_code, answer.json()["error"]["fields"]) == (
            400,
            {"sessionId": "must be a UUID"},
        )


def test_session_of_a_path_is_any_uuid_text(live: Server, loopback: Loopback) -> None:
    acme, whole = house(loopback), "abcdefab-cdef-abcd-efab-cdefabcdefab"
    remember(acme.tenant, "hello", session=UUID(whole))
    for written in (
        whole.upper(),
        "abcdefab-cdef-abcd-efab-cdefabcdefab",
        f"urn:uuid:{whole}",
    ):
        told = live.get(f"/sessions/{written}/history", acme.key).json()["data"]
        assert told["sessionId"] == whole


def test_who_may_not_chat_sees_and_deletes_nothing(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    say(live, acme, "hello")
    reader = make_key(acme.tenant, scopes=["usage:read"])
    for key, status in ((None, 401), (reader, 403)):
        assert live.get(HISTORY, key).status_code == status
        assert live.delete(f"/sessions/{SESSION}", key).status_code == status
    assert history(live, acme) == [TEXT, "hello"]


def test_methods_are_told(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    for path, allowed in (
        (HISTORY, "GET, HEAD, OPTIONS"),
        (f"/sessions/{SESSION}", "DELETE, OPTIONS"),
    ):
        answer = live.client.post(path, headers={"x-api-key": acme.key.secret})
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_trusted_edge_names_the_tenant(servers: Servers, loopback: Loopback) -> None:
    server = servers(GATEWAY_TRUST_TENANT_HEADER="true")
    acme = house(loopback)
    say(server, acme, "hello")
    assert server.get(HISTORY, x_tenant_id="acme").status_code == 200
    assert server.delete(f"/sessions/{SESSION}", x_tenant_id="acme").json()["data"] == {
        "sessionId": SESSION,
        "deleted": 2,
    }


# --- deletion -----------------------------------------------------------------------------------


def test_session_is_deleted_and_begins_anew(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    say(live, acme, "something private")

    answer = live.delete(f"/sessions/{SESSION}", acme.key)

    assert answer.json() == {"ok": True, "data": {"sessionId": SESSION, "deleted": 2}}
    assert live.get(HISTORY, acme.key).json() == NOT_FOUND
    assert live.delete(f"/sessions/{SESSION}", acme.key).json() == NOT_FOUND
    say(live, acme, "again")
    assert sent(loopback) == []
    assert history(live, acme) == [TEXT, "again"]


def test_deletion_has_its_line_in_the_log(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    say(live, acme, "something private")
    answer = live.delete(f"/sessions/{SESSION}", acme.key, x_trace_id="trace-1")
    (line,) = live.logs("session_deleted")
    told = {
        "tenantId": "acme",
        "traceId": "trace-1",
        "requestId": answer.headers["x-request-id"],
        "sessionId": SESSION,
        "key": acme.key.key.prefix,
        "deleted": 2,
    }
    assert line | told == line
    assert "something private" not in live.log_text()


@pytest.mark.parametrize("said_before", [True, False])
def test_stream_that_ends_after_the_deletion_leaves_nothing(
    live: Server, loopback: Loopback, *, said_before: bool
) -> None:
    acme = house(loopback)
    if said_before:
        say(live, acme, "before")
    asked = {"sessionId": SESSION, "message": "hello", "stream": True, "modelId": "paced-20-30"}
    make_route(make_model("paced-20-30"), playing(loopback, "good").routes.get().upstream)
    with live.streaming(acme.key, asked) as stream:
        parts = stream.iter_text()
        first = next(parts)
        answer = live.delete(f"/sessions/{SESSION}", acme.key)
        rest = "".join(parts)

    assert answer.status_code == (200 if said_before else 404)
    assert frames(first + rest)[-1][1]["usage"]["tokensOut"] == 20
    assert not ChatMessage.objects.exists()
    assert live.get(HISTORY, acme.key).json() == NOT_FOUND
    say(live, acme, "new")
    assert history(live, acme) == [TEXT, "new"]


def test_two_tenants_may_have_the_same_session(live: Server, loopback: Loopback) -> None:
    acme, globex = house(loopback), house(loopback, slug="globex")
    for one in (acme, globex):
        say(live, one, f"of {one.tenant}")
    assert history(live, acme) == [TEXT, "of acme"]
    live.delete(f"/sessions/{SESSION}", acme.key)
    assert live.get(HISTORY, acme.key).json() == NOT_FOUND
    assert history(live, globex) == [TEXT, "of globex"]
    say(live, globex, "more")
    assert sent(loopback) == ["of globex", TEXT]


# --- without memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("play", ["good", "cut", "error"])
def test_without_memory_no_text_is_stored(live: Server, loopback: Loopback, play: str) -> None:
    acme = house(loopback, play, session_memory=False)
    for stream in (False, True):
        live.chat(acme.key, {"sessionId": SESSION, "message": "private", "stream": stream})
    assert not ChatMessage.objects.exists()
    for answer in (live.get(HISTORY, acme.key), live.delete(f"/sessions/{SESSION}", acme.key)):
        assert answer.json() == NOT_FOUND


def test_memory_that_is_switched_off_is_not_shown_any_more(
    live: Server, loopback: Loopback
) -> None:
    acme = house(loopback)
    say(live, acme, "private")
    acme.change(session_memory=False)
    assert live.get(HISTORY, acme.key).json() == NOT_FOUND
    say(live, acme, "again")
    assert sent(loopback) == []
    # What is left of before can still be deleted.
    assert live.delete(f"/sessions/{SESSION}", acme.key).json()["data"]["deleted"] == 2


def test_session_that_never_was_is_not_found(live: Server, loopback: Loopback) -> None:
    acme, never = house(loopback), f"/sessions/{uuid4()}"
    for answer in (live.get(f"{never}/history", acme.key), live.delete(never, acme.key)):
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
