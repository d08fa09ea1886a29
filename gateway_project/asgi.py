"""Where every request arrives: the admin's side goes to Django's handler, all else to the API's.

A server must run it with its lifespan on: there the request path opens what it needs and, more
important, drains and closes it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup(set_prefix=False)

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope  # noqa: E402

from chat_app import gateway, playground, sessions  # noqa: E402
from gateway_project import handler  # noqa: E402
from gateway_project.site import Site  # noqa: E402
from tenants_app import database, key_uses  # noqa: E402
from usage_app import ledger  # noqa: E402

SITE_PREFIXES = ("/admin/", "/static/")
SITE_PATHS = frozenset({"/", "/admin"})


@asynccontextmanager
async def serving() -> AsyncIterator[None]:
    """What the request path holds while this process serves; leaving it settles what is open."""
    spare_the_collector()
    ledger.current().open()
    try:
        yield
    finally:
        await handler.drain()
        await playground.drain()
        await sessions.drain()
        await ledger.current().close()
        await key_uses.flush_uses()
        await gateway.close()
        await database.close()


def spare_the_collector() -> None:
    """Keep the garbage collector from walking through all of Django again and again.

    What was imported stays for good, and a request makes few cycles: together a fifth of a plain
    answer's CPU, as `./dev bench` measures it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


class Application:
    """Splits the paths, and answers the server's lifespan."""

    def __init__(self, *, site: Any, api: Any) -> None:
        self.site = site
        self.api = api

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http" and is_site(scope["path"]):
            await self.site(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def is_site(path: str) -> bool:
    """True for what Django's own handler serves, with sync views, sessions and middleware."""
    return path in SITE_PATHS or path.startswith(SITE_PREFIXES)


async def lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Enter `serving` at the server's start and leave it at its end, telling of failures."""
    await receive()
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serving())
        except Exception as error:  # noqa: BLE001 - the server must be told of whatever happened
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


application = Application(site=Site(), api=handler.handle)
