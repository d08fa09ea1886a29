"""Values that cannot be, typed into addresses of the admin's side: they are found nowhere, and are
no error of ours.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import DataError
from django.http import HttpRequest, HttpResponse, QueryDict

from gateway_project import error_pages

# What stands in the place of a NUL, which Postgres keeps in no text: no row has it either.
NUL, NOTHING = "\0", "\N{REPLACEMENT CHARACTER}"


class GarbageMiddleware:
    """Before all that looks at an address or a cookie; forms refuse what is sent in words."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", ""):
            request.GET = _without_nul(request.GET)  # type: ignore[assignment]
        for name, value in request.COOKIES.items():
            request.COOKIES[name] = value.replace(NUL, NOTHING)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A value that the database cannot even compare: too large a number, half a character."""
        return error_pages.page(request, 400) if isinstance(error, DataError) else None


def _without_nul(given: QueryDict) -> QueryDict:
    clean = QueryDict(mutable=True, encoding=given.encoding)
    for name, values in given.lists():
        clean.setlist(name.replace(NUL, NOTHING), [one.replace(NUL, NOTHING) for one in values])
    clean._mutable = False
    return clean
