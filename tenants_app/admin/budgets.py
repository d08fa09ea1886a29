"""Pages of budgets and of the configuration's versions, and the rows of budgets on other pages."""

from typing import Any, Final
from urllib.parse import quote

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from tenants_app.admin.alerts import PercentsField
from tenants_app.admin.bulk import BudgetTable
from tenants_app.admin.pages import (
    PlainDecimalField,
    ReadOnlyAdmin,
    TabularInline,
    WordedForm,
    WordedFormSet,
    action,
    display,
)
from tenants_app.models import LIMIT_MAX, Budget, ConfigurationVersion

# These two are plain fields of the tenant's form.
PLAIN: Final = Q(
    api_key=None,
    team=None,
    metric=Budget.Metric.TOKENS,
    period__in=[Budget.Period.DAY, Budget.Period.MONTH],
)


class BudgetForm(WordedForm):
    """A budget; its limit is shown as it was typed."""

    limit = PlainDecimalField(
        max_digits=24, decimal_places=10, max_value=LIMIT_MAX, widget=UnfoldAdminDecimalFieldWidget
    )

    alert_percents = PercentsField()

    class Meta:
        model = Budget
        fields = (
            *("tenant", "team", "api_key", "metric", "period", "limit", "burst", "alert_percents"),
        )
        labels = {"api_key": "API key"}
        help_texts = {
            "team": "All keys of a team share its limit.",
            "api_key": "Neither team nor key: the limit is on the tenant as a whole.",
            "period": "Days and months are those of the tenant's time zone.",
            "limit": "Requests, tokens, or an amount in the ledger's currency.",
            "burst": "Per minute only: how much may come at once. Empty: the limit.",
        }


class BudgetRowForm(BudgetForm):
    """A budget as a row on the page of its tenant, team or key."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not cleaned.get("DELETE") and self._is_plain(cleaned):
            raise ValidationError(
                "The tenant's tokens per day and per month have fields of their own, above."
            )
        return cleaned

    def _is_plain(self, cleaned: dict[str, Any]) -> bool:
        return (
            cleaned.get("metric") == Budget.Metric.TOKENS
            and cleaned.get("period") in (Budget.Period.DAY, Budget.Period.MONTH)
            and cleaned.get("api_key", self.instance.api_key) is None
            and cleaned.get("team", self.instance.team) is None
        )


class OwnersBudgetFormSet(WordedFormSet):
    """Budgets of a team or a key; their tenant is its tenant."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]
        form.instance.tenant_id = self.instance.tenant_id
        return form


class TenantBudgetInline(TabularInline):
    """The budgets of a tenant as a whole, but the two that are plain fields: a few at most. Those
    of its keys are on the keys' pages.
    """

    model = Budget
    form = BudgetRowForm
    fields = ("metric", "period", "limit", "burst", "alert_percents")
    extra = 0
    verbose_name_plural = "Other budgets of the whole tenant"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        own = super().get_queryset(request).filter(team=None, api_key=None)
        return own.exclude(PLAIN)


class TeamBudgetInline(TabularInline):
    """What all keys of a team share."""

    model = Budget
    form = BudgetRowForm
    formset = OwnersBudgetFormSet
    fk_name = "team"
    fields = ("metric", "period", "limit", "burst", "alert_percents")
    extra = 0
    verbose_name_plural = "Budgets of this team"


class KeyBudgetInline(TabularInline):
    """A key's own budgets."""

    model = Budget
    form = BudgetRowForm
    formset = OwnersBudgetFormSet
    fk_name = "api_key"
    fields = ("metric", "period", "limit", "burst", "alert_percents")
    extra = 0
    verbose_name_plural = "Budgets of this key alone"


def scope_of(budget: Budget) -> str:
    """On whom it is, in words."""
    if budget.team is not None:
        return f"team {budget.team}"
    return str(budget.api_key) if budget.api_key else "the whole tenant"


@admin.register(Budget)
class BudgetAdmin(BudgetTable):
    """Every budget of every tenant."""

    tenant_path = "tenant"
    form = BudgetForm
    list_display = ("tenant", "scope", "metric", "period", "plain_limit", "burst", "alerts")
    list_display_links = ("tenant", "scope")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("team", AutocompleteSelectFilter),
        ("metric", ChoicesDropdownFilter),
        ("period", ChoicesDropdownFilter),
    )
    list_select_related = ("tenant", "team", "api_key")
    search_fields = (
        *("tenant__slug", "tenant__name", "team__slug", "team__name"),
        *("api_key__name", "api_key__prefix"),
    )
    search_help_text = "Tenant, team or key"
    autocomplete_fields = ("tenant", "team", "api_key")
    actions_detail = ("raise_limit",)
    actions_row = ("raise_limit",)

    def has_raise_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the button that raises a budget for a while is shown."""
        return request.user.has_perm("tenants_app.add_budgetraise")

    @action(description="Raise", icon="trending_up", permissions=["raise"])
    def raise_limit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the form that raises it for a while."""
        return redirect(f"{reverse('admin:tenants_app_budgetraise_add')}?budget={quote(object_id)}")

    def told(self, budget: Budget) -> str:
        """Which limit of whom: the same limit may be on many."""
        period = "at once" if budget.period == "concurrent" else f"per {budget.period}"
        limit = f"{self.plain_limit(budget)} {budget.metric} {period}"
        return f"{limit} on {scope_of(budget)}, of {budget.tenant}"

    @display(description="On")
    def scope(self, budget: Budget) -> str:
        return scope_of(budget)

    @display(description="Limit", ordering="limit")
    def plain_limit(self, budget: Budget) -> str:
        return f"{budget.limit.normalize():,f}"

    @display(description="Alerts at %")
    def alerts(self, budget: Budget) -> str:
        if budget.period not in (Budget.Period.DAY, Budget.Period.MONTH):
            return ""
        return ", ".join(map(str, budget.alert_percents)) or "none"


@admin.register(ConfigurationVersion)
class ConfigurationVersionAdmin(ReadOnlyAdmin):
    """By these numbers a process knows that what it remembers is current."""

    list_display = ("scope", "version")
    list_select_related = ("tenant",)
    fields = ("scope", "version")
    ordering = ("id",)

    @display(description="Configuration of")
    def scope(self, row: ConfigurationVersion) -> str:
        if row.tenant_id is None:
            return "models, prices, shared upstreams and routes"
        return str(row.tenant)
