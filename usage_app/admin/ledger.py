"""Pages of the ledger: its list, which pages along an index, and what became of a request. They
only show; corrections are added by `corrections`.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RangeDateFilter,
    RangeDateTimeFilter,
    TextFilter,
)
from unfold.utils import parse_date_str, parse_datetime_str

from tenants_app.admin.keyset import NewestFirst
from tenants_app.admin.pages import action, display
from usage_app import story
from usage_app.admin import corrections
from usage_app.admin.books import ChargeAdmin, TeamFilter, as_uuid, instant, pretty
from usage_app.amounts import exact
from usage_app.models import LedgerEntry
from usage_app.reports.query import WITHOUT

# The ledger's filters that no index serves.
BY_KEY = frozenset({"api_key__id__exact", "api_key__isnull"})
BY_TEAM = frozenset({"api_key__team__id__exact", "api_key__team__isnull"})
BY_NO_INDEX = BY_KEY | BY_TEAM | {"model", "cost_center", "kind__exact"}
RECENT = timedelta(days=31)
# Kinds of entries about what was before.
LATER = ("adjustment", "correction", "credit")
# No local day begins more than this before the same day in UTC.
A_DAY = timedelta(days=1)


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


class Entries(NewestFirst):
    """The ledger's list. What no index finds is looked for in the last month, unless a first day is
    chosen: a rare value could be anywhere in it.
    """

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Django's, within the month where nothing else bounds it."""
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        asked = {name for name, value in request.GET.items() if value}
        if not asked & BY_NO_INDEX or self.query.strip() or has_first_day(request):
            return found
        self.note = f"of the last {RECENT.days} days; choose a first day to see others"
        return found.filter(created_at__gte=timezone.now() - RECENT)


def has_first_day(request: HttpRequest) -> bool:
    """Whether a filter bounds the entries from below, by what is a day or an instant indeed."""
    day, time_of_day = (request.GET.get(f"created_at_from_{part}", "") for part in (0, 1))
    chosen = parse_date_str(request.GET.get("local_day_from", ""))
    return bool(chosen or parse_datetime_str(f"{day} {time_of_day}"))


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ChargeAdmin):
    """What every request was charged."""

    list_display = ("admitted", "tenant", "key", "model", "ended", "tokens", "cost_told", "took")
    list_filter = (
        ("local_day", LocalDayFilter),
        ("tenant", AutocompleteSelectFilter),
        ("api_key__team", TeamFilter),
        ("api_key", KeyFilter),
        ModelFilter,
        CostCenterFilter,
        ("outcome", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    )
    ordering = ("-created_at", "id")
    change_form_outer_before_template = "admin/request_story.html"
    list_fullwidth = True
    actions_detail = ("correct",)
    readonly_fields = (
        "admitted",
        "settled",
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
                    ("admitted", "local_day", "settled"),
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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return Entries

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Django's, with what became of the request."""
        entry = self.get_object(request, object_id)
        told = {}
        if entry is not None and entry.kind == LedgerEntry.Kind.USAGE:
            told = {"story": story.tell(entry, list(_later(entry)))}
        return super().change_view(request, object_id, form_url, told | (extra_context or {}))

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

    @display(
        description="Outcome",
        label={
            "ok": "success",
            "error": "danger",
            "aborted": "warning",
            "expired": "warning",
            **dict.fromkeys(LATER, "info"),
        },
    )
    def ended(self, entry: LedgerEntry) -> str:
        """How the request ended; of a later fact, which one it is."""
        return entry.kind if entry.kind in LATER else entry.outcome

    @display(description="Settled, UTC")
    def settled(self, entry: LedgerEntry) -> str:
        return instant(entry.settled_at)

    @display(description="Key")
    def key(self, entry: LedgerEntry) -> str:
        return entry.api_key.name if entry.api_key else "none"

    @display(description="Tokens in / out")
    def tokens(self, entry: LedgerEntry) -> SafeString | str:
        told = f"{entry.input_tokens:,} / {entry.output_tokens:,}"
        if entry.usage_source == LedgerEntry.UsageSource.PROVIDER:
            return told
        line = '<span class="whitespace-nowrap">{}</span> <span class="text-xs">{}</span>'
        return format_html(line, told, entry.usage_source)

    @display(description="Took")
    def took(self, entry: LedgerEntry) -> str:
        """Nobody knows it of a request whose process died."""
        if entry.kind in LATER or entry.outcome == LedgerEntry.Outcome.EXPIRED:
            return ""
        return f"{entry.latency_ms:,} ms"

    @display(description="Usage by")
    def source(self, entry: LedgerEntry) -> str:
        return entry.usage_source

    @display(description="Cost")
    def cost_told(self, entry: LedgerEntry) -> str:
        return exact(entry.cost)

    @display(description="Credit")
    def credit_told(self, entry: LedgerEntry) -> str:
        return "none" if entry.credit is None else exact(entry.credit)

    @display(description="Later entries about it")
    def later_told(self, entry: LedgerEntry) -> SafeString | str:
        rows = [
            (self.url_of("change", one.pk), f"{one.kind} of {one.created_at:%Y-%m-%d}",
             f"{one.total_tokens:+,} tokens, cost {exact(one.cost)}", one.reason)
            for one in _later(entry)
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


def _later(entry: LedgerEntry) -> QuerySet[LedgerEntry]:
    """The entries about the same request, the oldest first."""
    own = LedgerEntry.objects.for_tenant(entry.tenant_id)
    return own.filter(corrects=entry.id).order_by("settled_at", "id")
