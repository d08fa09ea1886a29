"""The pages of stored messages and open circuits. A message's text is shown on its own page only,
never in a list.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from chat_app import selectors
from chat_app.models import ChatMessage, OpenCircuit
from tenants_app.admin.pages import ReadOnlyAdmin, display
from tenants_app.models import Tenant
from usage_app.admin.books import as_uuid


@admin.register(ChatMessage)
class ChatMessageAdmin(ReadOnlyAdmin):
    """What sessions remember."""

    tenant_path = "tenant"
    list_display = ("created_at", "tenant", "session_id", "role", "characters")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant",)
    ordering = ("-id",)
    fields = ("tenant", "session_id", "role", "created_at", "content")
    search_fields = ("session_id",)
    search_help_text = "A session id, whole"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = (
            super().get_queryset(request).annotate(size=Length("content")).defer("content")
        )
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By a whole session id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        session_id = as_uuid(term)
        if session_id is None:
            return queryset.none(), False
        # The index begins with the tenant.
        return queryset.filter(tenant__in=Tenant.objects.all(), session_id=session_id), False

    @display(description="Characters")
    def characters(self, message: Any) -> int:
        return int(message.size)


@admin.register(OpenCircuit)
class OpenCircuitAdmin(ReadOnlyAdmin):
    """Upstreams that are left alone at the moment, and by which process."""

    list_display = ("upstream", "owner", "state", "outcome", "failures", "opened", "retry")
    list_filter = (("upstream", AutocompleteSelectFilter),)
    list_select_related = ("upstream", "tenant")
    ordering = ("-opened_at",)
    fields = (
        "upstream",
        "owner",
        "state",
        "outcome",
        "failures",
        "opened",
        "retry",
        "process_id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request) & selectors.open_circuits()

    # To the second: the shortest pause is five of them.
    @display(description="Opened at", ordering="opened_at")
    def opened(self, circuit: OpenCircuit) -> str:
        return f"{circuit.opened_at:%Y-%m-%d %H:%M:%S}"

    @display(description="Retry at", ordering="retry_at")
    def retry(self, circuit: OpenCircuit) -> str:
        return f"{circuit.retry_at:%Y-%m-%d %H:%M:%S}"

    @display(description="For")
    def owner(self, circuit: OpenCircuit) -> str:
        return str(circuit.tenant) if circuit.tenant else "all tenants"
