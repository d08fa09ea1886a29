"""The errors of the ground floor, and the base of every error that a client may see.

TollgateError
├── InvalidRequest            400 invalid_request (names the fields)
│   └── InvalidJson           400 invalid_json
├── Unauthorized              401 unauthorized
├── Forbidden                 403 forbidden
│   ├── InsufficientScope     403 insufficient_scope
│   ├── TenantMismatch        403 tenant_mismatch
│   └── TenantSuspended       403 tenant_suspended
├── NotFound                  404 not_found
├── MethodNotAllowed          405 method_not_allowed
├── PayloadTooLarge           413 payload_too_large
├── UnsupportedMediaType      415 unsupported_media_type
├── InternalError             500 internal_error
└── ServiceUnavailable        503 service_unavailable
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class TollgateError(Exception):
    """Something went wrong."""

    status_code: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The message, the details and the headers go to the client as they are: no secrets."""
        self.message = message or default_message(type(self))
        self.code = code or self.default_code
        self.details: dict[str, Any] = dict(details or {})
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.message)


def default_message(error: type[TollgateError]) -> str:
    """The first line of the class's docstring, which a subclass without one inherits."""
    for cls in error.__mro__:
        if cls.__doc__:
            return cls.__doc__.strip().splitlines()[0]
    return "Something went wrong."


class InvalidRequest(TollgateError):
    """The request is not valid."""

    status_code = 400
    default_code = "invalid_request"

    @classmethod
    def fields(cls, fields: Mapping[str, str]) -> "InvalidRequest":
        """An error that names each bad field and what is wrong with it."""
        return cls(details={"fields": dict(fields)})


class InvalidJson(InvalidRequest):
    """The body is not valid JSON."""

    default_code = "invalid_json"


class Unauthorized(TollgateError):
    """No valid API key was sent."""

    status_code = 401
    default_code = "unauthorized"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(TollgateError):
    """This is not allowed."""

    status_code = 403
    default_code = "forbidden"


class InsufficientScope(Forbidden):
    """The API key does not have the scope that this call needs."""

    default_code = "insufficient_scope"


class TenantMismatch(Forbidden):
    """The tenant named by the request is not the tenant of the API key."""

    default_code = "tenant_mismatch"


class TenantSuspended(Forbidden):
    """The tenant is suspended."""

    default_code = "tenant_suspended"


class NotFound(TollgateError):
    """There is nothing here."""

    status_code = 404
    default_code = "not_found"


class MethodNotAllowed(TollgateError):
    """This method is not allowed here."""

    status_code = 405
    default_code = "method_not_allowed"


class PayloadTooLarge(TollgateError):
    """The body is too large."""

    status_code = 413
    default_code = "payload_too_large"


class UnsupportedMediaType(TollgateError):
    """The body must be application/json."""

    status_code = 415
    default_code = "unsupported_media_type"


class InternalError(TollgateError):
    """An unexpected error happened; it has been logged."""


class ServiceUnavailable(TollgateError):
    """The service is briefly unavailable; please try again."""

    status_code = 503
    default_code = "service_unavailable"

    def __init__(
        self, message: str | None = None, *, details: Mapping[str, Any] | None = None
    ) -> None:
        """Always says that a second later may be better."""
        super().__init__(message, details=details, headers={"Retry-After": "1"})
