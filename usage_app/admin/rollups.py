"""Pages of what is made from the ledger for reports, and of refusals. They only show."""

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    RangeDateFilter,
    RangeDateTimeFilter,
)

from tenants_app.admin.pages import ReadOnlyAdmin, display
from usage_app.admin.books import ScopeColumns, TeamFilter
from usage_app.amounts import exact
from usage_app.models import DailyUsage, HourlyUsage, MonthlyUsage, RefusalCount

COLUMNS = (
    "tenant",
    "api_key",
    "model",
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cost_told",
)
WHOSE = (("tenant", AutocompleteSelectFilter), ("api_key__team", TeamFilter))


class RollupAdmin(ReadOnlyAdmin):
    """One tenant, key and model in one period."""

    tenant_path = "tenant"
    list_select_related = ("tenant", "api_key")
    readonly_fields = ("cost_told",)
    exclude = ("cost",)

    @display(description="Cost")
    def cost_told(self, row: Any) -> str:
        if row.unpriced_tokens:
            return f"{exact(row.cost)} and unpriced"
        return exact(row.cost)


@admin.register(HourlyUsage)
class HourlyUsageAdmin(RollupAdmin):
    """By clock hour, UTC."""

    list_display = ("hour", *COLUMNS)
    list_filter = (*WHOSE, ("hour", RangeDateTimeFilter))
    ordering = ("-id",)


@admin.register(DailyUsage)
class DailyUsageAdmin(RollupAdmin):
    """By the tenant's day."""

    list_display = ("day", *COLUMNS)
    list_filter = (*WHOSE, ("day", RangeDateFilter))
    ordering = ("-id",)


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(RollupAdmin):
    """By the tenant's month."""

    list_display = ("month", *COLUMNS)
    list_filter = (*WHOSE, ("month", RangeDateFilter))
    ordering = ("-id",)


@admin.register(RefusalCount)
class RefusalCountAdmin(ScopeColumns, ReadOnlyAdmin):
    """Why an application is refused, hour by hour."""

    tenant_path = "tenant"
    list_display = ("hour", "tenant", "scope", "code", "refusals")
    list_display_links = ("hour", "tenant")
    list_filter = (*WHOSE, ("hour", RangeDateTimeFilter))
    list_select_related = ("tenant", "api_key")
    ordering = ("-id",)
