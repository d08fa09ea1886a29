"""How long a login lasts: a while without somebody's request, and never more than a day's work.

Also gives answers what the throttle of logins has for them: the cookie that makes a browser known,
and the status of a try too many. Only the admin's side has
sessions; no path of the API comes through here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse

from gateway_project.login import throttle

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

SINCE, SEEN = "logged_in_since", "last_seen"
# Of the idle time: a session is written at most so often, and ends at most so much early.
GRAIN = 0.05

log = structlog.get_logger(__name__)
now: Callable[[], float] = time.time


class StaffSessionMiddleware:
    """Between Django's sessions and its authentication: an expired session is empty by then."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if _is_staff(request.session) and (reason := expired(request.session, now())):
            log.info("staff_session_ended", reason=reason)
            request.session.flush()
        response = self.get_response(request)
        cookie = getattr(request, "known_browser", None)
        if _is_staff(request.session) and not getattr(request, "asked_by_a_page", False):
            _remember(request.session, now(), fresh=cookie is not None)
        if cookie:
            response.set_cookie(
                throttle.COOKIE,
                cookie,
                max_age=throttle.COOKIE_SECONDS,
                path="/admin/login/",
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        if wait_seconds := getattr(request, "login_wait_seconds", 0):
            response.status_code = HTTPStatus.TOO_MANY_REQUESTS
            response["Retry-After"] = str(wait_seconds)
        return response


def asked_by_a_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view that an open page asks again and again by itself: that prolongs no login."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        request.asked_by_a_page = True  # type: ignore[attr-defined]
        return view(request, *args, **kwargs)

    return answer


def expired(session: SessionBase, at: float) -> str:
    """Why this session has ended by now, or nothing."""
    if at - session.get(SINCE, at) >= settings.SESSION_COOKIE_AGE:
        return "lifetime"
    if at - session.get(SEEN, at) >= settings.SESSION_IDLE_SECONDS:
        return "idle"
    return ""


def _is_staff(session: SessionBase) -> bool:
    # Looks at a session's rows only if the request carried a cookie.
    return SESSION_KEY in session


def _remember(session: SessionBase, at: float, *, fresh: bool) -> None:
    if fresh:
        # A login by OIDC that is under way is kept for minutes only.
        session.set_expiry(None)
    if fresh or SINCE not in session:
        session[SINCE] = at
    if at - session.get(SEEN, 0) >= settings.SESSION_IDLE_SECONDS * GRAIN:
        session[SEEN] = at
