"""The chat API: POST /chat and GET /health. What a turn is and costs is `completion`'s."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chat_app import completion, routing, serializers
from chat_app.chat_stream import ChatStream
from chat_app.errors import ModelNotAllowed, ModelUnknown
from chat_app.schema import ChatCall, parse_chat
from tenants_app import directory, keys
from tenants_app.api import AsyncAPIView
from tenants_app.errors import ServiceUnavailable, TollgateError
from usage_app.errors import ConfigurationChanged, ModelUnpriced

BEGIN_ATTEMPTS = 3
# These come before the admission, which finds out whether the snapshot is current.
SNAPSHOT_REFUSES = (ModelNotAllowed, ModelUnknown, ModelUnpriced)


class ChatView(AsyncAPIView):
    """One turn: streamed unless the call says otherwise."""

    admitted = True
    required_scope = "chat"

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        call = parse_chat(self.json(request))
        stream = await self._begin(request, call)
        return serializers.streamed(stream) if call.stream else await serializers.whole(stream)

    async def _begin(self, request: HttpRequest, call: ChatCall) -> ChatStream:
        """Start the turn; with a new snapshot when the configuration changed under it."""
        for _ in range(BEGIN_ATTEMPTS):
            try:
                return await completion.start(self.caller, call, self.trace)
            except ConfigurationChanged:
                directory.discard(self.caller)
                await self.authenticate(request)
            except TollgateError as error:
                if isinstance(error, SNAPSHOT_REFUSES) and await self._is_out_of_date(request):
                    continue
                completion.note_refusal(self.caller, self.trace, error)
                raise
        raise ServiceUnavailable

    async def _is_out_of_date(self, request: HttpRequest) -> bool:
        """True if the configuration has changed; `caller` then is the new one, or none: raises."""
        if await keys.current(self.caller, request.META) is self.caller:
            return False
        await self.authenticate(request)
        return True


class HealthView(AsyncAPIView):
    """Alive, and what a caller that is known would get."""

    public = True

    async def get(self, request: HttpRequest) -> HttpResponseBase:
        data: dict[str, Any] = {"status": "ok"}
        caller = await self.authenticate_if_named(request)
        if caller is None:
            return self.ok(data | {"environment": settings.ENVIRONMENT})
        described = routing.describe(caller, completion.deployment())
        data |= {
            "tenantId": caller.tenant.slug,
            "environment": settings.ENVIRONMENT,
            "modelId": described.model_id,
            "fallbackModelId": described.fallback_model_id,
        }
        if described.notes:
            data["notes"] = described.notes
        return self.ok(data)
