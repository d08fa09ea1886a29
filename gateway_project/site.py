"""The admin's side of the server: Django's handler on threads that are kept, and static files.

No path of the API comes through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.handlers.asgi import ASGIHandler
from servestatic import ServeStaticASGI

# Each request holds a thread and, once it asked the database, a connection.
REQUESTS_AT_ONCE = 16


class SiteHandler(ASGIHandler):
    """Django's handler, without the two new threads that each request would start."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[ThreadPoolExecutor] = []
        self._room = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self._room:
            # The last one used: its thread's database connection is the freshest.
            executor = self._idle.pop() if self._idle else ThreadPoolExecutor(max_workers=1)
            try:
                async with ThreadSensitiveContext(executor=executor):
                    await self.handle(scope, receive, send)
            finally:
                self._idle.append(executor)


class Site(ServeStaticASGI):  # type: ignore[misc]
    """Static files of all apps, found once, in front of the handler: no `collectstatic` needed."""

    def __init__(self) -> None:
        super().__init__(
            SiteHandler(), allow_all_origins=False, max_age=3600, add_headers_function=_headers
        )
        self._listed = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._listed and scope["path"].startswith(settings.STATIC_URL):
            await asyncio.to_thread(self._list_files)
        await super().__call__(scope, receive, send)

    def _list_files(self) -> None:
        for url, path in static_files():
            self.add_file_to_dictionary(url, path)
        self._listed = True


def _headers(headers: Any, _path: str, _url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"


def static_files() -> Iterator[tuple[str, str]]:
    """Every static file's URL and path; the first finder that has one decides."""
    found: dict[str, str] = {}
    for finder in get_finders():
        for name, storage in finder.list(None):
            prefix = getattr(storage, "prefix", None)
            url = settings.STATIC_URL + (f"{prefix}/{name}" if prefix else name)
            found.setdefault(url, storage.path(name))
    yield from found.items()
