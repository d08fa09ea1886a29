"""The base of every API view: authentication, JSON in and out, and one shape for all errors.

It is DRF's APIView with a dispatch that awaits and without what costs and gives nothing here:
negotiation, renderers, throttles and the request wrapper. Views get Django's own request.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import orjson
import psycopg
import structlog
from django.core import exceptions as django_exceptions
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions as drf_exceptions
from rest_framework.views import APIView

from tenants_app import keys
from tenants_app.errors import (
    Forbidden,
    InsufficientScope,
    InternalError,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    TollgateError,
    Unauthorized,
    UnsupportedMediaType,
)
from tenants_app.key_uses import note_use
from tenants_app.snapshots import Caller
from tenants_app.tracing import Trace, trace_of

JSON: Final = "application/json"
TRANSLATED: Final[Iterable[tuple[tuple[type[Exception], ...], type[TollgateError]]]] = (
    ((Http404,), NotFound),
    ((django_exceptions.PermissionDenied,), Forbidden),
    ((django_exceptions.RequestDataTooBig,), PayloadTooLarge),
    ((django_exceptions.BadRequest, django_exceptions.SuspiciousOperation), InvalidRequest),
    ((psycopg.OperationalError, OperationalError, InterfaceError), ServiceUnavailable),
)
DRF_ERRORS: Final[Mapping[int, type[TollgateError]]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}
log = structlog.get_logger(__name__)


class AsyncAPIView(APIView):
    """An API view whose handlers are coroutines and get Django's request.

    Before a handler runs, `trace` and, unless the view is `public`, `caller` are set; whatever it
    raises becomes our error. `caller` is current when the handler begins, unless the view is
    `admitted`: then the ledger finds out within the admission.
    """

    public: ClassVar[bool] = False
    admitted: ClassVar[bool] = False
    required_scope: ClassVar[str | None] = None

    # Without `trace`, which is the request's trace here.
    http_method_names = [name for name in APIView.http_method_names if name != "trace"]
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = ()

    trace: Trace
    caller: Caller

    # DRF's dispatch is sync; this one is awaited by Django because every handler is a coroutine.
    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        self.trace = trace = trace_of(request.META)
        structlog.contextvars.bind_contextvars(traceId=trace.id)
        try:
            handler = self.handler_for(request.method or "")
            if not self.public and request.method != "OPTIONS":
                await self.authenticate(request)
            response: HttpResponseBase = await handler(request, *args, **kwargs)
        # The last resort: whatever was raised must leave as our error.
        except Exception as error:  # noqa: BLE001
            response = self.handle_exception(error)
        return stamp(response, trace)

    def handler_for(self, method: str) -> Any:
        """The coroutine function for a method. Raises MethodNotAllowed."""
        name = method.lower()
        handler = getattr(self, name, None) if name in self.http_method_names else None
        if handler is None:
            raise MethodNotAllowed(headers={"Allow": self.allow})
        return handler

    async def authenticate(self, request: HttpRequest) -> None:
        """Set `caller`, current and with the required scope."""
        meta = request.META
        caller = keys.authenticate_cached(meta) or await keys.authenticate(meta)
        if not self.admitted or self._lacks_scope(caller):
            caller = await keys.current(caller, meta)
        structlog.contextvars.bind_contextvars(tenantId=caller.tenant.slug)
        if caller.key is not None:
            note_use(caller.key.id)
        if self._lacks_scope(caller):
            raise InsufficientScope(details={"scope": self.required_scope})
        self.caller = caller

    def _lacks_scope(self, caller: Caller) -> bool:
        scope, key = self.required_scope, caller.key
        return scope is not None and key is not None and scope not in key.scopes

    async def authenticate_if_named(self, request: HttpRequest) -> Caller | None:
        """For public views that tell more to whom they know: the caller, if one is named."""
        if await keys.names_someone(request.META):
            await self.authenticate(request)
            return self.caller
        return None

    def json(self, request: HttpRequest) -> Any:
        """The body's JSON. Raises UnsupportedMediaType, InvalidJson or PayloadTooLarge."""
        content_type = request.content_type
        if content_type and content_type != JSON and not content_type.endswith("+json"):
            raise UnsupportedMediaType
        try:
            return orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise InvalidJson(details={"line": error.lineno, "column": error.colno}) from error

    def ok(self, data: Any) -> HttpResponse:
        """A successful answer in our envelope."""
        return json_response(envelope(data, self.trace.body_id))

    async def options(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        response = self.ok({"methods": self.allow.split(", ")})
        response.headers["Allow"] = self.allow
        return response

    @property
    def allow(self) -> str:
        """The methods of this view, as in the Allow header."""
        return ", ".join(self.allowed_methods)

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        """DRF's hook: the answer to whatever was raised."""
        return render_error(exc, self.trace.body_id)


def envelope(data: Any, trace_id: str | None = None) -> dict[str, Any]:
    """Our body for a success; `trace_id` only if the client sent one."""
    body: dict[str, Any] = {"ok": True, "data": data}
    if trace_id is not None:
        body["traceId"] = trace_id
    return body


def json_response(data: Any, status: int = 200) -> HttpResponse:
    """A response of any JSON."""
    return HttpResponse(orjson.dumps(data), content_type=JSON, status=status)


def render_error(exc: Exception, trace_id: str | None = None) -> HttpResponse:
    """The one way from an exception to a response of ours. What nobody expected is logged."""
    error = tollgate_error(exc)
    body: dict[str, Any] = {"ok": False, "error": error_object(error)}
    if trace_id is not None:
        body["traceId"] = trace_id
    response = json_response(body, error.status_code)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response


def error_object(error: TollgateError) -> dict[str, Any]:
    """What a body or a stream's frame says about an error."""
    return {"code": error.code, "message": error.message, **error.details}


def stamp(response: HttpResponseBase, trace: Trace) -> HttpResponseBase:
    """Put the ids of the request on its response."""
    response.headers["x-trace-id"] = trace.id
    response.headers["x-request-id"] = str(trace.request_id)
    return response


def tollgate_error(exc: Exception) -> TollgateError:
    """The error of ours that an exception stands for; logs the ones that are our fault."""
    if isinstance(exc, TollgateError):
        return exc
    if isinstance(exc, drf_exceptions.APIException):
        return _from_drf(exc)
    for kinds, error in TRANSLATED:
        if isinstance(exc, kinds):
            if issubclass(error, ServiceUnavailable):
                log.warning("database_unavailable", error=type(exc).__name__)
                return ServiceUnavailable()
            return error()
    log.error("request_failed", exc_info=exc)
    return InternalError()


def _from_drf(exc: drf_exceptions.APIException) -> TollgateError:
    if isinstance(exc, drf_exceptions.ParseError):
        return InvalidJson()
    if isinstance(exc, drf_exceptions.ValidationError) and isinstance(exc.detail, Mapping):
        return InvalidRequest.fields({name: str(problem) for name, problem in exc.detail.items()})
    kind = DRF_ERRORS.get(
        exc.status_code, InvalidRequest if exc.status_code < 500 else InternalError
    )
    return kind()
