"""Lists of facts, whose tables grow: they are narrowed by what they offer and by nothing else, and
no look at one goes on for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList

LOOK = timedelta(seconds=15)


class TooLong(Exception):
    """A statement of a list was stopped."""


class Facts(ChangeList):
    """A list whose address may ask for its filters and its page's `linked_lookups`. Django runs
    any lookup on a column, such as one for a piece of its text, which no index serves.
    """

    model_admin: Any

    def get_filters(self, request: HttpRequest) -> Any:
        """Django's. Raises IncorrectLookupParameters for what no filter took."""
        try:
            found = super().get_filters(request)
        except DisallowedModelAdminLookup as error:
            raise IncorrectLookupParameters from error
        left: dict[str, Any] = found[2]
        if left.keys() - {*self.model_admin.linked_lookups}:
            raise IncorrectLookupParameters
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Django's, which would sort by any column if asked to, also where none is offered."""
        if not self.sortable_by:
            self.params.pop(ORDER_VAR, None)
        return super().get_ordering(request, queryset)


@contextmanager
def bounded(time: timedelta) -> Iterator[None]:
    """Stop each statement in the block after so long. Raises TooLong.

    The block is a transaction, whose end takes the bound away; whatever else uses the connection
    has as long as it needs.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {time // timedelta(milliseconds=1)}")
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise TooLong from error
        raise
