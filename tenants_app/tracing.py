"""Who a request is: its own id, and the trace that its client names. PURE."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

TRACE_HEADERS: Final = (
    "HTTP_X_TRACE_ID",
    "HTTP_X_REQUEST_ID",
    "HTTP_TRACEPARENT",
    "HTTP_CF_RAY",
)
_plain = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_traceparent = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch

_VERSION: Final = 7 << 76
_VARIANT: Final = 2 << 62
_RANDOM_BITS: Final = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Trace:
    """A request's trace id, and its own id, which is also the ledger's.

    Bodies carry the trace id only if the client sent a trace header (`from_client`).
    """

    id: str
    from_client: bool
    request_id: UUID

    @property
    def body_id(self) -> str | None:
        """What a body says as `traceId`."""
        return self.id if self.from_client else None


def trace_of(meta: Mapping[str, Any]) -> Trace:
    """The trace of a request, from its headers as in `request.META`.

    The first header of 1 to 128 characters of [A-Za-z0-9._-] is the trace id. If none is, it is the
    request's own id.
    """
    request_id = uuid7()
    sent = False
    for name in TRACE_HEADERS:
        value = meta.get(name)
        if value is None:
            continue
        sent = True
        if name == "HTTP_TRACEPARENT" and (match := _traceparent(value)):
            value = match[1]
        if _plain(value):
            return Trace(value, True, request_id)
    return Trace(str(request_id), sent, request_id)


def uuid7() -> UUID:
    """A random UUID that sorts by when it was made, to a quarter of a microsecond (RFC 9562,
    version 7; the fraction of the millisecond is method 3 of its section 6.2).
    """
    time_bits = (time.time_ns() << 12) // 1_000_000
    milliseconds, fraction = time_bits >> 12, time_bits & 0xFFF
    random = int.from_bytes(os.urandom(8)) & _RANDOM_BITS
    return UUID(int=milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | random)
