"""The split of the paths, static files, the lifespan, and readiness."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from gateway_project import asgi, handler, readiness
from gateway_project.site import Site, static_files


async def call(application: Any, path: str) -> list[dict[str, Any]]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0 if not sent else 3600)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("path", "is_site"),
    [
        ("/", True),
        ("/admin", True),
        ("/admin/login/", True),
        ("/static/unfold/css/styles.css", True),
        ("/chat", False),
        ("/health", False),
        ("/administrator", False),
        ("/sessions/1/history", False),
    ],
)
def test_paths_are_split(path: str, is_site: bool) -> None:
    assert asgi.is_site(path) is is_site


def test_static_file_is_served_without_collecting() -> None:
    url = next(url for url, _ in static_files() if url.endswith("/unfold/css/styles.css"))
    sent = asyncio.run(call(Site(), url))
    assert sent[0]["status"] == 200
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"text/css")


def test_lifespan_tells_of_start_and_end() -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(asgi.lifespan(receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.django_db
def test_front_page_leads_on(client: Client) -> None:
    page = client.get("/").content.decode()
    assert 'href="/admin/"' in page
    assert "curl -N http://testserver/chat" in page


@pytest.mark.django_db(transaction=True)
def test_nothing_is_missing_when_all_is_there() -> None:
    assert readiness.missing() == []


def test_missing_names_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_database() -> bool:
        raise OperationalError("gone")

    monkeypatch.setattr(readiness, "unapplied_migrations", no_database)
    monkeypatch.setattr(readiness, "broker_answers", lambda: False)
    assert readiness.missing() == ["database", "broker"]


def test_drain_waits_for_requests_that_the_server_has_cancelled() -> None:
    goodbyes: list[str] = []

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            goodbyes.append("said")
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    async def stop_while_serving() -> None:
        scope = {"type": "http", "method": "POST", "path": "/chat", "headers": []}
        serving = asyncio.ensure_future(handler.handle(scope, receive, send))
        await asyncio.sleep(0)
        serving.cancel()
        await handler.drain()

    asyncio.run(stop_while_serving())
    assert goodbyes == ["said"]
