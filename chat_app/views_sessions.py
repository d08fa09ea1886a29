"""`GET /sessions/{id}/history` and `DELETE /sessions/{id}`: what a session remembers, for whoever
may chat in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

from chat_app import session_pages
from chat_app.schema import parse_session_id
from chat_app.session_pages import Stored
from chat_app.session_query import parse_page
from tenants_app.api import AsyncAPIView
from tenants_app.errors import NotFound
from usage_app.amounts import instant

log = structlog.get_logger("tollgate.chat")


class HistoryView(AsyncAPIView):
    """A session's messages, the newest first."""

    required_scope = "chat"

    async def get(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session = parse_session_id(session_id)
        query: Mapping[str, Sequence[str]] = dict(request.GET.lists())
        page = await session_pages.page(self.caller, session, parse_page(query))
        if page is None:
            raise NotFound
        return self.ok(
            {
                "sessionId": str(session),
                "messages": [message_json(message) for message in page.messages],
                "next": page.messages[-1].place.as_text() if page.more else None,
            }
        )


class SessionView(AsyncAPIView):
    """A session as a whole."""

    required_scope = "chat"

    async def delete(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session, caller = parse_session_id(session_id), self.caller
        deleted = await session_pages.forget(caller, session, self.trace.request_id)
        log.info(
            "session_deleted",
            tenantId=caller.tenant.slug,
            traceId=self.trace.id,
            requestId=str(self.trace.request_id),
            sessionId=str(session),
            key=caller.key.prefix if caller.key else None,
            deleted=deleted,
        )
        if not deleted:
            raise NotFound
        return self.ok({"sessionId": str(session), "deleted": deleted})


def message_json(message: Stored) -> dict[str, Any]:
    """A message as clients see it."""
    return {
        "id": message.place.id,
        "role": message.role,
        "content": message.content,
        "createdAt": instant(message.created_at),
        "turnId": str(message.place.turn_id),
    }
