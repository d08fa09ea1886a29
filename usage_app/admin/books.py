"""Pages of the windows and the holds, and what they share with others of the books. They only show:
`usage_app.ledger` writes.
"""

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
)

from tenants_app.admin.pages import ReadOnlyAdmin, display
from tenants_app.models import ApiKey
from usage_app.amounts import exact
from usage_app.models import GatewayProcess, RateBucket, Reservation, UsageWindow


def instant(at: datetime) -> str:
    """A moment in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def pretty(value: Any) -> SafeString:
    """JSON to read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="text-sm tollgate-code">{}</pre>', text)


class TeamFilter(AutocompleteSelectFilter):  # type: ignore[misc]
    """Rows of the keys of one team, or by `api_key__team__isnull=True` of none, as calls without
    a key are.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The keys are looked up before, so that a list goes along its tenant's index."""
        if self.lookup_val_isnull:
            return queryset.filter(api_key__team=None)
        if not self.value():
            return queryset
        try:
            found = ApiKey.objects.filter(team=self.value()).values_list("tenant", "pk")
        except ValueError as error:
            raise IncorrectLookupParameters from error
        keys = list(found)
        own = queryset.filter(tenant__in={tenant for tenant, _ in keys})
        return own.filter(api_key__in=[key for _, key in keys])


class ScopeColumns:
    """Whose row it is."""

    @display(description="On")
    def scope(self, row: Any) -> str:
        if team := getattr(row, "team", None):
            return f"team {team}"
        return str(row.api_key) if row.api_key else "the whole tenant"


class ChargeAdmin(ReadOnlyAdmin):
    """What pages of holds and of entries share."""

    tenant_path = "tenant"
    list_select_related = ("tenant", "api_key")
    search_fields = ("id",)
    search_help_text = "A request id or a trace id, whole"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By whole ids only, which have an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(self.named(term)), False

    def named(self, term: str) -> Q:
        """The rows that an id names."""
        found = Q(trace_id=term)
        request_id = as_uuid(term)
        return found if request_id is None else found | Q(id=request_id)

    @display(description="Admitted, UTC")
    def admitted(self, row: Any) -> str:
        return instant(row.created_at)

    @display(description="Metadata")
    def metadata_told(self, row: Any) -> SafeString:
        return pretty(row.metadata)


def as_uuid(term: str) -> uuid.UUID | None:
    """The UUID that a text spells, if it spells one."""
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


@admin.register(Reservation)
class ReservationAdmin(ChargeAdmin):
    """Requests that are under way; the sweep settles those whose process is gone."""

    list_display = (
        "admitted",
        "tenant",
        "api_key",
        "model",
        "upstream",
        "held_tokens",
        "held_cost_told",
        "streamed_output_tokens",
        "stream",
    )
    ordering = ("-created_at", "id")
    readonly_fields = ("held_cost_told", "metadata_told")
    exclude = ("held_cost", "metadata")

    @display(description="Held cost")
    def held_cost_told(self, hold: Reservation) -> str:
        return exact(hold.held_cost)


@admin.register(UsageWindow)
class UsageWindowAdmin(ScopeColumns, ReadOnlyAdmin):
    """What each tenant, team and key used and holds, by day, by month, and at this moment."""

    tenant_path = "tenant"
    list_display = (
        "starts_at",
        "tenant",
        "scope",
        "period",
        "requests",
        "tokens",
        "cost_told",
        "held_requests",
        "held_tokens",
        "held_cost_told",
    )
    list_display_links = ("starts_at", "tenant")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("team", AutocompleteSelectFilter),
        ("api_key", AutocompleteSelectFilter),
        ("period", ChoicesDropdownFilter),
    )
    list_select_related = ("tenant", "team", "api_key")
    ordering = ("-id",)
    readonly_fields = ("cost_told", "held_cost_told")
    exclude = ("cost", "held_cost")

    @display(description="Cost")
    def cost_told(self, window: UsageWindow) -> str:
        return exact(window.cost)

    @display(description="Held cost")
    def held_cost_told(self, window: UsageWindow) -> str:
        return exact(window.held_cost)


@admin.register(RateBucket)
class RateBucketAdmin(ScopeColumns, ReadOnlyAdmin):
    """What was left of the limits per minute when a request last asked."""

    tenant_path = "tenant"
    list_display = ("tenant", "scope", "metric", "level", "refilled_at")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant", "team", "api_key")
    ordering = ("-id",)
    fields = ("tenant", "team", "api_key", "metric", "level", "refilled_at")
    readonly_fields = ("level",)

    @display(description="Level")
    def level(self, bucket: RateBucket) -> str:
        return f"{Decimal(bucket.level_micro).scaleb(-6).normalize():,f} {bucket.metric}"


@admin.register(GatewayProcess)
class GatewayProcessAdmin(ReadOnlyAdmin):
    """The web processes, and when their hearts last beat."""

    list_display = ("host", "pid", "started_at", "heartbeat_at")
    ordering = ("-heartbeat_at", "id")
