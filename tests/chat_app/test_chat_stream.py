"""Answers that the books cannot take in, or not in time: told, logged, and nothing claimed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from structlog.typing import EventDict

from chat_app import completion, gateway, serializers, sessions
from chat_app.schema import ChatCall
from tenants_app import directory
from tenants_app.errors import ServiceUnavailable
from tenants_app.tracing import trace_of
from tests.factories import make_model, make_route, make_tenant
from tests.live import frames
from tests.loops import run
from usage_app import ledger

pytestmark = pytest.mark.django_db(transaction=True)


async def answer_to_hello() -> str:
    caller = await directory.by_slug("acme")
    assert caller is not None
    stream = await completion.start(caller, ChatCall(uuid4(), "hello"), trace_of({}))
    source = serializers.ChatEvents(stream)
    text = b"".join([frame async for frame in source.frames()]).decode()
    await source.aclose()
    await sessions.drain()
    await gateway.close()
    return text


def test_answer_that_cannot_be_settled_ends_in_an_error_without_a_charge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_arguments: Any) -> Any:
        raise ServiceUnavailable("The books can't be written at the moment.")

    monkeypatch.setattr(ledger, "settle", refuse)
    model = make_model("demo-echo")
    make_route(model)
    make_tenant("acme", default_model=model)

    *texts, (error_event, error), (done_event, done) = frames(run(answer_to_hello()))

    assert "".join(data["content"] for _, data in texts) == "You said: hello"
    assert (error_event, done_event) == ("error", "done")
    assert error == {
        "code": "service_unavailable",
        "message": "The books can't be written at the moment.",
    }
    assert set(done) == {"done", "usage"}
    assert set(done["usage"]) == {"modelId", "tokensIn", "tokensOut", "totalTokens", "latencyMs"}


def test_client_that_leaves_while_the_entry_is_written_has_its_line_in_the_log(
    logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    settling = asyncio.Event()

    async def wait_for_ever(*_arguments: Any) -> Any:
        settling.set()
        await asyncio.Event().wait()

    async def leave() -> None:
        answering = asyncio.create_task(answer_to_hello())
        await settling.wait()
        answering.cancel()
        await asyncio.wait([answering])

    monkeypatch.setattr(ledger, "settle", wait_for_ever)
    model = make_model("demo-echo")
    make_route(model)
    make_tenant("acme", default_model=model)

    run(leave())

    (line,) = [line for line in logs if line["event"] == "chat"]
    assert (line["tenantId"], line["outcome"]) == ("acme", "ok")
