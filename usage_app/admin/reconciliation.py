"""Pages of what comparing the books found, also when it was nothing. They only show."""

from decimal import Decimal

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RangeDateFilter,
)

from tenants_app.admin.pages import ReadOnlyAdmin, display
from usage_app.amounts import exact
from usage_app.models import Drift, Reconciliation


def signed(amount: Decimal) -> str:
    """A difference, with its sign."""
    return f"{'+' if amount > 0 else ''}{exact(amount)}"


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyAdmin):
    """The runs of `reconcile`."""

    tenant_path = "tenant"
    list_display = (
        "started_at",
        "outcome",
        "on",
        "days_told",
        "entries",
        "rollups",
        "pending",
        "windows",
        "holds",
        "author",
    )
    list_display_links = ("started_at", "outcome")
    list_select_related = ("tenant",)
    ordering = ("-id",)
    readonly_fields = ("result_told", "on", "drift_told")
    fieldsets = (
        (
            "Run",
            {
                "fields": (
                    ("result_told", "drift_told"),
                    ("started_at", "finished_at", "author"),
                    ("on", "first_day", "last_day"),
                )
            },
        ),
        (
            "Compared",
            {"fields": (("tenants", "entries"), ("rollups", "pending"), ("windows", "holds"))},
        ),
    )

    @display(
        description="Result",
        label={"no drift": "success", "drift": "danger", "not finished": "warning"},
    )
    def outcome(self, run: Reconciliation) -> tuple[str, str]:
        return ("drift" if run.drifts else run.result), run.result

    @display(description="Result")
    def result_told(self, run: Reconciliation) -> str:
        return run.result

    @display(description="On")
    def on(self, run: Reconciliation) -> str:
        return run.tenant.slug if run.tenant else "all tenants"

    @display(description="Days")
    def days_told(self, run: Reconciliation) -> str:
        if run.first_day is None and run.last_day is None:
            return "all"
        return f"{run.first_day or '…'} to {run.last_day or '…'}"

    @display(description="Drift")
    def drift_told(self, run: Reconciliation) -> SafeString | str:
        if not run.drifts:
            return "none"
        url = f"{self.admin_site.name}:usage_app_drift_changelist"
        return format_html(
            '<a href="{}?reconciliation={}">{}</a>', reverse(url), run.pk, run.result
        )


@admin.register(Drift)
class DriftAdmin(ReadOnlyAdmin):
    """Figures that differed, with the size of the difference."""

    tenant_path = "tenant"
    list_display = (
        "day",
        "tenant",
        "book",
        "period",
        "scope",
        "figure",
        "expected_told",
        "found_told",
        "size_told",
        "reconciliation",
    )
    list_display_links = ("day", "tenant")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("book", ChoicesDropdownFilter),
        ("day", RangeDateFilter),
    )
    linked_lookups = ("reconciliation", "reconciliation__id__exact")
    list_select_related = ("tenant", "team", "api_key", "reconciliation")
    ordering = ("-reconciliation_id", "id")
    readonly_fields = ("expected_told", "found_told", "size_told")
    exclude = ("expected", "found")

    @display(description="Of")
    def scope(self, row: Drift) -> str:
        whose = f"team {row.team}" if row.team else str(row.api_key or "")
        parts = (whose, row.cost_center, row.model)
        return ", ".join(filter(None, parts)) or "the whole tenant"

    @display(description="Expected")
    def expected_told(self, row: Drift) -> str:
        return exact(row.expected)

    @display(description="Found")
    def found_told(self, row: Drift) -> str:
        return exact(row.found)

    @display(description="Size")
    def size_told(self, row: Drift) -> str:
        return signed(row.size)
