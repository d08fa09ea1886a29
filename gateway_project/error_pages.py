"""What staff see when a page is refused, is not there, or fails: what to do, and the way back, with
no details of the error. Nothing here asks the database, which may be what failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string


@dataclass(frozen=True, slots=True)
class Words:
    """A heading, what happened, and what to do now."""

    heading: str
    happened: str
    advice: str


WORDS = {
    400: Words(
        "This cannot be asked",
        "The address, or what was sent, holds something that no page here understands.",
        "Go back and choose again; an address that was shortened or typed by hand may be wrong.",
    ),
    403: Words(
        "Not yours to open",
        "Your account does not have the right to this page, or to what you tried on it.",
        "If you need it for your work, ask whoever looks after staff accounts here.",
    ),
    404: Words(
        "Nothing is here",
        "There is no page at this address, or what it showed is gone.",
        "Look for it from the front page, or ask Changes in the menu what became of it.",
    ),
    500: Words(
        "This went wrong here",
        "The server failed to make this page. What you had sent may not have been kept.",
        "Look whether it was, then try again; if it fails once more, tell whoever runs this"
        " server when it was: the log has the reason.",
    ),
}
STALE = Words(
    "This form is too old",
    "It was open so long, or so many tabs ago, that it can no longer be told from a forged one."
    " Nothing was changed.",
    "Go back, load the page again, and send it anew. If that does not help, allow cookies here.",
)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler400."""
    return page(request, 400)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler403."""
    return page(request, 403)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404."""
    return page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    return page(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    return page(request, 403, STALE)


def page(request: HttpRequest, status: int, words: Words | None = None) -> HttpResponse:
    """The page of a status."""
    context = {
        **_site(request),
        "words": words or WORDS[status],
        "status": status,
        "back": _came_from(request),
    }
    return HttpResponse(render_to_string("gateway_project/error.html", context), status=status)


class _Nobody(AnonymousUser):
    """Whose rights need not be looked up."""

    def has_perm(self, *_args: Any, **_options: Any) -> bool:
        return False

    def has_module_perms(self, module: str) -> bool:
        return False


def _site(request: HttpRequest) -> dict[str, Any]:
    """The look of the admin, as nobody in particular sees it: who it is would have to be asked."""
    nobody = HttpRequest()
    nobody.path = nobody.path_info = request.path
    nobody.META = {"SCRIPT_NAME": ""}
    nobody.user = _Nobody()
    return dict(admin.site.each_context(nobody))


def _came_from(request: HttpRequest) -> str:
    """The page of ours that led here, if it is another one."""
    came = urlsplit(request.headers.get("Referer", ""))
    if came.netloc != request.META.get("HTTP_HOST") or came.path in ("", request.path):
        return ""
    return f"{came.path}?{came.query}" if came.query else came.path
