"""Long lists page by page along an index: a page begins after the last row of the one before, so
that the hundredth page costs as much as the first. Nothing is counted.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import Page
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from tenants_app.admin.lists import Facts
from tenants_app.admin.pages import InfinitePaginator

AFTER = "after"
# A cursor has about a hundred characters.
LONGEST = 200


class KeysetPaginator(InfinitePaginator):  # type: ignore[misc]
    """Nothing to turn but the way on; unfold asks it which template shows that."""

    template_name = "tenants_app/keyset_paging.html"


class NewestFirst(Facts):
    """Rows by (`-created_at`, `id`), as their index has them; `?after=` says where to go on."""

    next_url: str | None = None
    first_url: str | None = None
    # What else is to be said of the rows.
    note: str = ""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self._after = _read(request.GET.get(AFTER, ""))
        super().__init__(request, *args, **kwargs)

    def get_filters_params(self, params: Any = None) -> Any:
        """Django's, without ours."""
        found = super().get_filters_params(params)
        found.pop(AFTER, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """The index's, whatever the address asks for."""
        return ["-created_at", "id"]

    def get_results(self, request: HttpRequest) -> None:
        """One page, and one row more, which tells whether there is another."""
        rows = self.queryset if self._after is None else self.queryset.filter(_below(*self._after))
        found = list(rows[: self.list_per_page + 1])
        self.result_list = found[: self.list_per_page]
        # The same, or the page's head would call what it has the results of a search.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = KeysetPaginator(self.result_list, self.list_per_page)
        self.page = Page(self.result_list, 1, self.paginator)
        if self._after is not None:
            self.first_url = self.get_query_string(remove=[AFTER])
        if len(found) > self.list_per_page:
            last = self.result_list[-1]
            self.next_url = self.get_query_string({AFTER: _written(last.created_at, last.pk)})


def _below(created_at: datetime, row_id: UUID) -> Q:
    """What comes after this row; its first half is what the index goes by."""
    return Q(created_at__lte=created_at) & (Q(created_at__lt=created_at) | Q(id__gt=row_id))


def _written(created_at: datetime, row_id: UUID) -> str:
    text = json.dumps([created_at.isoformat(), str(row_id)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read(text: str) -> tuple[datetime, UUID] | None:
    """Raises IncorrectLookupParameters of what `_written` did not write."""
    if not text:
        return None
    if len(text) > LONGEST:
        raise IncorrectLookupParameters
    try:
        created_at, row_id = json.loads(base64.urlsafe_b64decode(text))
        instant = datetime.fromisoformat(created_at)
        if instant.tzinfo is None:
            raise ValueError("no instant")
        return instant, UUID(row_id)
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise IncorrectLookupParameters from error
