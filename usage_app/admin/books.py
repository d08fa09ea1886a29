"""Pages of the ledger, the windows and the holds. They only show: `usage_app.ledger` writes."""

import json
import uuid
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RangeDateFilter,
    RangeDateTimeFilter,
    TextFilter,
)
from unfold.utils import parse_date_str

from tenants_app.admin.pages import ReadOnlyAdmin, action, display
from usage_app.admin import corrections
from usage_app.models import GatewayProcess, LedgerEntry, RateBucket, Reservation, UsageWindow
from usage_app.reports.query import WITHOUT

# No local day begins more than this before the same day in UTC.
A_DAY = timedelta(days=1)


def money(amount: Decimal | None) -> str:
    """An amount without the zeros at its end; NULL is not 0."""
    return "unpriced" if amount is None else f"{amount.normalize():,f}"


def pretty(value: Any) -> SafeString:
    """JSON to read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="text-sm tollgate-code">{}</pre>', text)


class ScopeColumns:
    """Whose row it is."""

    @display(description="On")
    def scope(self, row: Any) -> str:
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

    @display(description="Metadata")
    def metadata_told(self, row: Any) -> SafeString:
        return pretty(row.metadata)


def as_uuid(term: str) -> uuid.UUID | None:
    """The UUID that a text spells, if it spells one."""
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


class LocalDayFilter(RangeDateFilter):  # type: ignore[misc]
    """Entries of some of the tenants' calendar days, as reports count them."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """Nothing is written before its day, so that older partitions need no look."""
        found: QuerySet[Any] | None = super().queryset(request, queryset)
        first = parse_date_str(self.used_parameters.get("local_day_from", ""))
        if found is None or first is None:
            return found
        return found.filter(created_at__gte=datetime.combine(first, time(), UTC) - A_DAY)


class WholeText(TextFilter):  # type: ignore[misc]
    """Entries whose column is exactly this text; `-` is the empty one."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = self.value()
        if not text:
            return queryset
        return queryset.filter(**{self.parameter_name: "" if text == WITHOUT else text})


class KeyFilter(AutocompleteSelectFilter):  # type: ignore[misc]
    """Entries of one key, or by `api_key__isnull=True` those without."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.lookup_val_isnull:
            return queryset.filter(api_key=None)
        found: QuerySet[Any] = super().queryset(request, queryset)
        return found


class ModelFilter(WholeText):
    title = "model"
    parameter_name = "model"


class CostCenterFilter(WholeText):
    title = "cost centre"
    parameter_name = "cost_center"


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ChargeAdmin):
    """What every request was charged."""

    list_display = (
        "created_at",
        "tenant",
        "api_key",
        "model",
        "result",
        "input_tokens",
        "output_tokens",
        "cost_told",
        "source",
        "latency_ms",
        "kind",
    )
    list_filter = (
        ("local_day", LocalDayFilter),
        ("tenant", AutocompleteSelectFilter),
        ("api_key", KeyFilter),
        ModelFilter,
        CostCenterFilter,
        ("created_at", RangeDateTimeFilter),
    )
    ordering = ("-created_at", "id")
    list_fullwidth = True
    actions_detail = ("correct",)
    readonly_fields = (
        "cost_told",
        "credit_told",
        "attempts_told",
        "metadata_told",
        "result",
        "source",
        "later_told",
    )
    fieldsets = (
        (
            "Request",
            {
                "fields": (
                    ("id", "trace_id"),
                    ("created_at", "local_day", "settled_at"),
                    ("tenant", "api_key", "cost_center"),
                    ("user_hash", "metadata_told"),
                )
            },
        ),
        (
            "Answer",
            {
                "fields": (
                    ("model", "model_reason", "upstream"),
                    ("result", "error_code", "stream"),
                    ("ttft_ms", "latency_ms", "upstream_reference"),
                    "attempts_told",
                )
            },
        ),
        (
            "Charge",
            {
                "fields": (
                    ("input_tokens", "cached_tokens", "cache_write_tokens"),
                    ("output_tokens", "reasoning_tokens", "total_tokens"),
                    ("held_tokens", "overrun_tokens"),
                    ("source", "price", "cost_told", "credit_told"),
                )
            },
        ),
        ("Entry", {"fields": (("kind", "corrects"), ("reason", "author"), "later_told")}),
    )

    def named(self, term: str) -> Q:
        """Also the later entries about a request."""
        request_id = as_uuid(term)
        found = super().named(term)
        return found if request_id is None else found | Q(corrects=request_id)

    @display(
        description="Outcome",
        label={"ok": "success", "error": "danger", "aborted": "warning", "expired": "warning"},
    )
    def result(self, entry: LedgerEntry) -> str:
        return entry.outcome

    @display(description="Usage by")
    def source(self, entry: LedgerEntry) -> str:
        return entry.usage_source

    @display(description="Cost")
    def cost_told(self, entry: LedgerEntry) -> str:
        return money(entry.cost)

    @display(description="Credit")
    def credit_told(self, entry: LedgerEntry) -> str:
        return "none" if entry.credit is None else money(entry.credit)

    @display(description="Later entries about it")
    def later_told(self, entry: LedgerEntry) -> SafeString | str:
        later = LedgerEntry.objects.for_tenant(entry.tenant_id).filter(corrects=entry.id)
        rows = [
            (self.url_of("change", one.pk), f"{one.kind} of {one.created_at:%Y-%m-%d}",
             f"{one.total_tokens:+,} tokens, cost {money(one.cost)}", one.reason)
            for one in later.order_by("settled_at", "id")
        ]  # fmt: skip
        line = (
            '<div><a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>: {} ({})</div>'
        )
        return format_html_join("", line, rows) or "none"

    def has_correct_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the button that corrects is shown; see TenantAdmin.has_issue_permission."""
        return request.user.has_perm(corrections.PERMISSION)

    @action(description="Correct", icon="edit_note", permissions=["correct"])
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Add a correction of the request that this entry is about."""
        return corrections.correct(self, request, self.get_object(request, object_id))

    @display(description="Attempts")
    def attempts_told(self, entry: LedgerEntry) -> SafeString:
        return pretty(entry.attempts)


@admin.register(Reservation)
class ReservationAdmin(ChargeAdmin):
    """Requests that are under way; the sweep settles those whose process is gone."""

    list_display = (
        "created_at",
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
        return money(hold.held_cost)


@admin.register(UsageWindow)
class UsageWindowAdmin(ScopeColumns, ReadOnlyAdmin):
    """What each tenant and key used and holds, by day, by month, and at this moment."""

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
        ("api_key", AutocompleteSelectFilter),
        ("period", ChoicesDropdownFilter),
    )
    list_select_related = ("tenant", "api_key")
    ordering = ("-id",)
    readonly_fields = ("cost_told", "held_cost_told")
    exclude = ("cost", "held_cost")

    @display(description="Cost")
    def cost_told(self, window: UsageWindow) -> str:
        return money(window.cost)

    @display(description="Held cost")
    def held_cost_told(self, window: UsageWindow) -> str:
        return money(window.held_cost)


@admin.register(RateBucket)
class RateBucketAdmin(ScopeColumns, ReadOnlyAdmin):
    """What was left of the limits per minute when a request last asked."""

    tenant_path = "tenant"
    list_display = ("tenant", "scope", "metric", "level", "refilled_at")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant", "api_key")
    ordering = ("-id",)
    fields = ("tenant", "api_key", "metric", "level", "refilled_at")
    readonly_fields = ("level",)

    @display(description="Level")
    def level(self, bucket: RateBucket) -> str:
        return f"{Decimal(bucket.level_micro).scaleb(-6).normalize():,f} {bucket.metric}"


@admin.register(GatewayProcess)
class GatewayProcessAdmin(ReadOnlyAdmin):
    """The web processes, and when their hearts last beat."""

    list_display = ("host", "pid", "started_at", "heartbeat_at")
    ordering = ("-heartbeat_at", "id")
