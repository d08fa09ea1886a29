"""The base view: whatever is asked and whatever is raised, the answer has our shape."""

import asyncio
import io
from typing import Any, ClassVar

import orjson
import psycopg
import pytest
from django.core import exceptions as django_exceptions
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf_exceptions
from rest_framework.views import APIView

from tenants_app import api, keys
from tenants_app.api import AsyncAPIView
from tenants_app.errors import InvalidRequest, TollgateError
from tenants_app.models import Tenant
from tests.factories import make_key, make_tenant
from tests.loops import run

database = pytest.mark.django_db(transaction=True)


class Echo(AsyncAPIView):
    """Says who called and what was sent."""

    required_scope = "chat"

    async def get(self, request: HttpRequest) -> HttpResponse:
        return self.ok({"tenant": self.caller.tenant.slug})

    async def post(self, request: HttpRequest) -> HttpResponse:
        return self.ok(None)


class Failing(AsyncAPIView):
    """Raises what it is given."""

    public = True
    error: ClassVar[Exception] = RuntimeError("the secret reason")

    async def get(self, request: HttpRequest) -> HttpResponse:
        raise self.error


class Open(AsyncAPIView):
    """Tells more to whom it knows."""

    public = True

    async def get(self, request: HttpRequest) -> HttpResponse:
        caller = await self.authenticate_if_named(request)
        return self.ok(caller and caller.tenant.slug)

    async def post(self, request: HttpRequest) -> HttpResponse:
        return self.ok(self.json(request))


def make_request(method: str, headers: dict[str, str], body: bytes) -> ASGIRequest:
    scope = {
        "type": "http",
        "method": method,
        "path": "/echo",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    return ASGIRequest(scope, io.BytesIO(body))


def call(
    view: type[APIView], method: str = "GET", *, body: bytes = b"", **headers: str
) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = make_request(method, named, body)
    response: HttpResponse = run(view.as_view()(request))  # type: ignore[arg-type]
    return response


def told(response: HttpResponse) -> tuple[int, Any]:
    assert response.headers["content-type"] == "application/json"
    return response.status_code, orjson.loads(response.content)


def test_view_is_still_one_of_drf() -> None:
    assert issubclass(AsyncAPIView, APIView)
    assert Echo.as_view().cls is Echo
    assert Echo.as_view().csrf_exempt


@database
def test_success_is_enveloped_and_stamped() -> None:
    response = call(Echo, x_api_key=make_key(make_tenant()).secret)
    assert told(response) == (200, {"ok": True, "data": {"tenant": "acme"}})
    assert response.headers["x-trace-id"] == response.headers["x-request-id"]


@database
def test_trace_of_the_client_is_in_header_and_body() -> None:
    response = call(Echo, x_api_key=make_key(make_tenant()).secret, x_trace_id="t-1")
    assert told(response)[1]["traceId"] == "t-1"
    assert response.headers["x-trace-id"] == "t-1"
    assert response.headers["x-request-id"] != "t-1"


def test_missing_key_is_401_in_our_shape() -> None:
    response = call(Echo, cf_ray="c-1")
    assert told(response) == (
        401,
        {
            "ok": False,
            "error": {"code": "unauthorized", "message": "No valid API key was sent."},
            "traceId": "c-1",
        },
    )
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-trace-id"] == "c-1"


@database
def test_revoked_key_is_401_at_the_next_request() -> None:
    issued = make_key(make_tenant())
    assert call(Echo, x_api_key=issued.secret).status_code == 200
    assert call(Echo, x_api_key=issued.secret).status_code == 200
    keys.revoke(issued.key)
    assert call(Echo, x_api_key=issued.secret).status_code == 401


@database
def test_suspended_tenant_is_403_at_the_next_request() -> None:
    issued = make_key(make_tenant())
    assert call(Echo, x_api_key=issued.secret).status_code == 200
    Tenant.objects.update(status="suspended")
    status, body = told(call(Echo, x_api_key=issued.secret))
    assert (status, body["error"]["code"]) == (403, "tenant_suspended")


@database
def test_key_without_the_scope_is_403_and_told_which() -> None:
    issued = make_key(make_tenant(), scopes=["usage:read"])
    status, body = told(call(Echo, x_api_key=issued.secret))
    assert status == 403
    assert body["error"] == {
        "code": "insufficient_scope",
        "message": "The API key does not have the scope that this call needs.",
        "scope": "chat",
    }


@database
def test_public_view_tells_more_to_whom_it_knows() -> None:
    assert told(call(Open)) == (200, {"ok": True, "data": None})
    secret = make_key(make_tenant()).secret
    assert told(call(Open, x_api_key=secret)) == (200, {"ok": True, "data": "acme"})
    assert call(Open, x_api_key="tg_wrong").status_code == 401
    assert told(call(Open, x_tenant_id="acme"))[1]["data"] is None


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "BREW", "_DISPATCH"])
def test_other_method_is_405_with_those_allowed(method: str) -> None:
    response = call(Echo, method)
    assert told(response)[0] == 405
    assert response.headers["allow"] == "GET, POST, HEAD, OPTIONS"


def test_options_need_no_key() -> None:
    response = call(Echo, "OPTIONS")
    assert told(response) == (
        200,
        {"ok": True, "data": {"methods": ["GET", "POST", "HEAD", "OPTIONS"]}},
    )


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"a": 1}', "application/json", 200, None),
        (b'{"a": 1}', "application/json; charset=utf-8", 200, None),
        (b'{"a": 1}', "", 200, None),
        (b"", "application/json", 400, "invalid_json"),
        (b"{", "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b"NaN", "application/json", 400, "invalid_json"),
        (b'"\\ud800"', "application/json", 400, "invalid_json"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_body_is_json_or_refused(
    body: bytes, content_type: str, status: int, code: str | None
) -> None:
    response = call(Open, "POST", body=body, content_type=content_type)
    assert told(response)[0] == status
    assert told(response)[1].get("error", {}).get("code") == code


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest.fields({"message": "is missing"}), 400, "invalid_request"),
        (Http404(), 404, "not_found"),
        (django_exceptions.PermissionDenied(), 403, "forbidden"),
        (django_exceptions.SuspiciousOperation(), 400, "invalid_request"),
        (django_exceptions.RequestDataTooBig(), 413, "payload_too_large"),
        (drf_exceptions.ParseError(), 400, "invalid_json"),
        (drf_exceptions.ValidationError({"a": ["bad"]}), 400, "invalid_request"),
        (drf_exceptions.NotAuthenticated(), 401, "unauthorized"),
        (drf_exceptions.PermissionDenied(), 403, "forbidden"),
        (drf_exceptions.NotFound(), 404, "not_found"),
        (drf_exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (drf_exceptions.UnsupportedMediaType("a/b"), 415, "unsupported_media_type"),
        (drf_exceptions.APIException(), 500, "internal_error"),
        (psycopg.OperationalError("host=secret"), 503, "service_unavailable"),
        (OperationalError("host=secret"), 503, "service_unavailable"),
        (RuntimeError("the secret reason"), 500, "internal_error"),
    ],
)
def test_everything_raised_comes_out_as_our_error(
    error: Exception, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    response = call(Failing)
    assert told(response)[0] == status
    assert told(response)[1]["error"]["code"] == code
    assert b"secret" not in response.content
    assert "x-request-id" in response.headers


def test_fields_of_a_bad_request_are_named() -> None:
    error = InvalidRequest.fields({"message": "is missing"})
    assert orjson.loads(api.render_error(error, "t").content) == {
        "ok": False,
        "error": {
            "code": "invalid_request",
            "message": "The request is not valid.",
            "fields": {"message": "is missing"},
        },
        "traceId": "t",
    }


def test_cancelled_request_is_not_answered() -> None:
    class Cancelled(Failing):
        async def get(self, request: HttpRequest) -> HttpResponse:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        call(Cancelled)


def all_errors(base: type[TollgateError]) -> list[type[TollgateError]]:
    return [base, *(each for sub in base.__subclasses__() for each in all_errors(sub))]


def test_every_error_has_a_status_a_code_and_a_sentence() -> None:
    for error in all_errors(TollgateError):
        raised = error()
        assert 400 <= raised.status_code < 600
        assert raised.code.replace("_", "").isalpha()
        assert raised.message
        assert str(raised) == raised.message
