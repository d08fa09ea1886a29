"""What tests of sessions share: messages as turns leave them, and the order they are in."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from chat_app.models import ChatMessage
from tenants_app.models import Tenant
from tenants_app.tracing import uuid7

SESSION = UUID("11111111-1111-1111-1111-111111111111")


def remember(
    tenant: Tenant, *said: str, session: UUID = SESSION, at: datetime | None = None
) -> UUID:
    """A turn of these messages, the user's first; its id."""
    turn_id = uuid7()
    dated: dict[str, Any] = {"created_at": at} if at else {}
    for role, content in zip(("user", "assistant"), said, strict=False):
        ChatMessage.objects.create(
            tenant=tenant, session_id=session, turn_id=turn_id, role=role, content=content, **dated
        )
    return turn_id


def texts(tenant: Tenant, session: UUID = SESSION) -> list[str]:
    """What is stored of a session, oldest first."""
    rows = ChatMessage.objects.for_tenant(tenant).filter(session_id=session)
    return list(rows.order_by("turn_id", "id").values_list("content", flat=True))
