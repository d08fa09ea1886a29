"""Pages of raises: a budget is raised here for a while, which is told first and then done, and a
raise is cancelled; `tenants_app.raises` writes. Instants are those of the tenant's time zone.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter

from tenants_app import raises
from tenants_app.admin.budgets import scope_of
from tenants_app.admin.pages import ConfigurationAdmin, action, confirmation, display
from tenants_app.admin.reasons import ReasonForm, because
from tenants_app.admin.refusals import REFUSALS, sentence
from tenants_app.admin.scope import visible
from tenants_app.models import Budget, BudgetRaise
from usage_app import selectors
from usage_app.admin.raise_form import RaiseForm, amount_of, at, would_be

STATES = {"in force": "success", "to come": "info", "over": "", "cancelled": "danger"}
NOT_THESE = (
    "Only budgets of a day or a month are raised for a while. One by the minute is full again in a"
    " minute, one at once as soon as a request ends: change its limit instead."
)
CANCELLING = (
    (
        "From the next request on the limit is without it. Requests under way are finished, but not"
        " sent to a fallback any more if they no longer fit."
    ),
    "What was used stays used. This cannot be undone; the budget can be raised again.",
)


def state_of(given: BudgetRaise, now: datetime) -> str:
    """What has become of a raise."""
    if given.cancelled_at is not None:
        return "cancelled"
    if given.ends_at <= now:
        return "over"
    return "in force" if given.starts_at <= now else "to come"


class StateFilter(DropdownFilter):  # type: ignore[misc]
    """In force, to come, over or cancelled."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        conditions = {
            "in force": Q(cancelled_at=None, starts_at__lte=Now(), ends_at__gt=Now()),
            "to come": Q(cancelled_at=None, starts_at__gt=Now()),
            "over": Q(cancelled_at=None, ends_at__lte=Now()),
            "cancelled": Q(cancelled_at__isnull=False),
        }
        chosen = conditions.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


@admin.register(BudgetRaise)
class BudgetRaiseAdmin(ConfigurationAdmin):
    """A raise is given and cancelled, never changed or deleted: it says what was allowed."""

    tenant_path = "tenant"
    list_display = (*("told", "tenant", "scope", "state", "begins", "ends", "reason", "given_by"),)
    list_filter = (("tenant", AutocompleteSelectFilter), StateFilter)
    list_select_related = ("tenant", "budget__team", "budget__api_key")
    search_fields = ("tenant__slug", "tenant__name", "reason", "created_by")
    search_help_text = "Tenant, reason or who gave it"
    actions = ()
    actions_detail = ("cancel",)
    fields = (
        *("told", "tenant", "budget", "scope", "state", "begins", "ends", "reason"),
        *("given_by", "given_at", "ended"),
    )
    readonly_fields = fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_cancel_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the button that cancels it is shown."""
        return request.user.has_perm("tenants_app.change_budgetraise")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Cancelling only what stands."""
        actions = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        given = self.get_object(request, str(object_id))
        return actions if given is not None and self.stands(given) else []

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form that raises the budget which `?budget=` names."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        budget = self._budget(request)
        if budget is None:
            messages.info(request, "Choose a budget of a day or a month, and Raise beside it.")
            return redirect(reverse("admin:tenants_app_budget_changelist"))
        if budget.period not in (Budget.Period.DAY, Budget.Period.MONTH):
            messages.error(request, NOT_THESE)
            return redirect(reverse("admin:tenants_app_budget_change", args=[budget.pk]))
        # What is typed and shown is of the tenant's time zone.
        with timezone.override(ZoneInfo(budget.tenant.timezone)):
            response = self._raise_or_ask(request, budget)
            return getattr(response, "render", lambda: response)()

    def _budget(self, request: HttpRequest) -> Budget | None:
        number = request.GET.get("budget", "")
        rows = visible(request, Budget).select_related("tenant", "team", "api_key")
        is_one = number.isascii() and number.isdigit() and len(number) < 19
        return rows.filter(pk=int(number)).first() if is_one else None

    def _raise_or_ask(self, request: HttpRequest, budget: Budget) -> HttpResponse:
        """Say what it comes to, until that was seen; then do it."""
        now = selectors.clock()
        form = RaiseForm(request.POST or None, budget=budget, now=now)
        seen = ""
        if form.is_valid():
            seen = form.fingerprint
            if request.POST.get("confirmed") == seen and self._give(request, budget, form):
                return redirect(self._back(request, budget))
        fill = selectors.fill_of(budget, now)
        return confirmation(
            self,
            request,
            title=f"Raise {_limit(budget)} of {_whose(budget)}",
            button="Raise" if seen else "Go on",
            sentences=would_be(budget, fill, now, form.terms() if seen else None),
            confirmed=seen,
            form=form,
        )

    def _give(self, request: HttpRequest, budget: Budget, form: RaiseForm) -> bool:
        """Give it; False if the database refused, which the form then says."""
        terms, who = form.terms(), request.user.get_username()
        try:
            with because(terms.reason), transaction.atomic():
                given = raises.give(budget, terms, by=who)
        except REFUSALS as error:
            form.add_error(None, sentence(error))
            return False
        self.log_addition(request, given, "Given.")
        until = f"{at(given.ends_at)}, {budget.tenant.timezone}"
        messages.success(
            request,
            f"Raised by {amount_of(budget, Decimal(given.extra))} until {until}. It then falls"
            " back by itself.",
        )
        return True

    def _back(self, request: HttpRequest, budget: Budget) -> str:
        """To the tenant's page, where its bar is."""
        if request.user.has_perm("tenants_app.view_tenant"):
            return f"{reverse('admin:tenants_app_tenant_change', args=[budget.tenant_id])}#budgets"
        return self.url_of("changelist")

    @action(description="Cancel this raise", icon="block", permissions=["cancel"])
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The end of a raise, now."""
        given: BudgetRaise | None = self.get_object(request, object_id)
        if given is None:
            messages.error(request, "There is no such raise.")
            return redirect(self.url_of("changelist"))
        if not self.stands(given):
            messages.error(request, f"It is {state_of(given, selectors.clock())} already.")
            return redirect(self.url_of("change", given.pk))
        form = ReasonForm(request.POST if request.POST.get("confirmed") == "yes" else None)
        if not form.is_valid():
            title = f"Cancel the raise by {self.told(given)} of {given.tenant}"
            options = {"sentences": CANCELLING, "confirmed": "yes", "form": form}
            return confirmation(self, request, title=title, button="End the raise", **options)
        with because(form.cleaned_data["reason"]):
            cancelled = raises.cancel(given, by=request.user.get_username())
        if cancelled:
            self.log_change(request, given, "Cancelled.")
            messages.success(request, f"Cancelled: {self.told(given)}, {_whose(given.budget)}.")
        else:
            messages.error(request, "It was over or cancelled a moment before.")
        return redirect(self.url_of("change", given.pk))

    def stands(self, given: BudgetRaise) -> bool:
        """Whether there is anything to cancel."""
        return state_of(given, selectors.clock()) in ("in force", "to come")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.list_select_related)

    @display(description="Extra", ordering="extra")
    def told(self, given: BudgetRaise) -> str:
        return f"{amount_of(given.budget, given.extra)} per {given.budget.period}"

    @display(description="On")
    def scope(self, given: BudgetRaise) -> str:
        return scope_of(given.budget)

    @display(description="State", label=STATES)
    def state(self, given: BudgetRaise) -> str:
        return state_of(given, timezone.now())

    @display(description="From", ordering="starts_at")
    def begins(self, given: BudgetRaise) -> str:
        return _there(given, given.starts_at)

    @display(description="Until", ordering="ends_at")
    def ends(self, given: BudgetRaise) -> str:
        return _there(given, given.ends_at)

    @display(description="Given by")
    def given_by(self, given: BudgetRaise) -> str:
        return given.created_by

    @display(description="Given at")
    def given_at(self, given: BudgetRaise) -> str:
        return _there(given, given.created_at)

    @display(description="Cancelled")
    def ended(self, given: BudgetRaise) -> str:
        if given.cancelled_at is None:
            return "no"
        return f"{_there(given, given.cancelled_at)}, by {given.cancelled_by}"


def _there(given: BudgetRaise, moment: datetime) -> str:
    """An instant where the tenant is."""
    zone = given.tenant.timezone
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone}"


def _limit(budget: Budget) -> str:
    return f"{amount_of(budget, budget.limit)} per {budget.period}"


def _whose(budget: Budget) -> str:
    whole = budget.team is None and budget.api_key is None
    return str(budget.tenant) if whole else f"{scope_of(budget)} of {budget.tenant}"
