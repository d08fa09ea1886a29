"""The response whose body is an event stream: what a view promises the handler that sends it."""

from collections.abc import AsyncIterator
from typing import Protocol

from django.http.response import HttpResponseBase

# What a request is told that the stopping server cuts, before its answer began or in the middle.
RESTARTING = "The gateway is restarting"


class EventSource(Protocol):
    """Where the frames come from. It never raises once the response exists: errors are frames."""

    def frames(self) -> AsyncIterator[bytes]:
        """The body, piece by piece; each piece is whole frames."""
        ...

    async def farewell(self) -> bytes:
        """The last frames when the server stops in mid-stream; settles."""
        ...

    async def aclose(self) -> None:
        """Give everything back and settle what was not settled. May be called more than once."""
        ...


class EventStreamResponse(HttpResponseBase):
    """A 200 whose frames the API's handler sends as they come."""

    streaming = True

    def __init__(self, source: EventSource) -> None:
        super().__init__(content_type="text/event-stream; charset=utf-8")
        self.source = source
        self["cache-control"] = "no-cache, no-transform"
        self["x-accel-buffering"] = "no"
