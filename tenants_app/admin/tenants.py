"""The page of a tenant: its settings, models, budgets, alerts and hosts in one form.

What it must not change because the books depend on it is added by gateway_project/pages.
"""

from typing import Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from tenants_app.admin import key_batches
from tenants_app.admin.alerts import AlertTargetsInline
from tenants_app.admin.budgets import TenantBudgetInline
from tenants_app.admin.bulk import TenantTable
from tenants_app.admin.pages import (
    TabularInline,
    action,
    confirmation,
    display,
)
from tenants_app.admin.reasons import ReasonForm, because
from tenants_app.admin.tenant_forms import (
    TOKEN_BUDGETS,
    FallbackFormSet,
    HostForm,
    TenantForm,
    set_token_budget,
    token_budgets,
)
from tenants_app.models import ApiKey, Tenant, TenantFallback, TenantHost

SUSPENDING = (
    (
        "From the next request on, all its requests are refused with 403 tenant_suspended; streams"
        " that are open go on to their end."
    ),
    "Keys, budgets and books stay as they are, and it can be resumed at any time.",
)
DEFAULT_FALLS_BACK = (
    "“{model}” is the default model and one of its fallbacks: there it serves only requests that"
    " name another model. Where it has failed itself, it is not asked again."
)
RESUMING = ("From the next request on, its requests are answered again, within its budgets.",)


class FallbackInline(TabularInline):
    """Tried in this order when the chosen model's upstream fails before its first byte."""

    tenant_path = "tenant"
    model = TenantFallback
    formset = FallbackFormSet
    fields = ("model", "position")
    autocomplete_fields = ("model",)
    ordering_field = "position"
    hide_ordering_field = True
    extra = 0
    verbose_name = "fallback model"
    verbose_name_plural = "Fallback models, in order"

    class Media:
        js = ("tenants_app/ordering.js",)


class HostInline(TabularInline):
    """Host names by which a trusted edge reaches this tenant."""

    tenant_path = "tenant"
    model = TenantHost
    form = HostForm
    extra = 0
    verbose_name = "host"
    verbose_name_plural = "Hosts"


@admin.register(Tenant)
class TenantAdmin(TenantTable):
    """Who is charged, and for what may be asked."""

    tenant_path = "pk"
    form = TenantForm
    list_display = (
        "slug",
        "name",
        "state",
        "default_model",
        "live_keys",
        "models_told",
        "timezone",
        "created_at",
    )
    list_filter = (
        ("status", ChoicesDropdownFilter),
        "allow_list_enabled",
        "session_memory",
        ("default_model", AutocompleteSelectFilter),
        ("default_upstream", AutocompleteSelectFilter),
    )
    list_select_related = ("default_model",)
    ordering = ("slug",)
    search_fields = ("slug", "name", "cost_center", "hosts__host")
    search_help_text = "Slug, name, cost centre or host"
    autocomplete_fields = ("default_model", "default_upstream", "allowed_models")
    inlines = (TenantBudgetInline, FallbackInline, AlertTargetsInline, HostInline)
    actions = ("suspend_selected", "resume_selected")
    actions_detail: tuple[Any, ...] = ("issue_key", "suspend", "resume")
    fieldsets = (
        (None, {"fields": (("slug", "name"), ("timezone", "cost_center"))}),
        (
            "Token budgets",
            {
                "description": "A request that no longer fits is refused with 429 budget_exceeded"
                " until the day or month is over. A change counts from the next request on.",
                "fields": (("daily_tokens", "monthly_tokens"),),
            },
        ),
        (
            "Models",
            {
                "fields": (
                    ("default_model", "default_upstream"),
                    "allow_list_enabled",
                    "allowed_models",
                )
            },
        ),
        (
            "Sessions",
            {
                "fields": (
                    "session_memory",
                    ("session_retention_days", "max_messages_per_session"),
                    ("context_messages", "context_tokens"),
                )
            },
        ),
    )

    @method_decorator(sensitive_post_parameters("alert_targets-0-secret"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """An error's report must not carry the signing secret."""
        return super().changeform_view(request, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        view, name = self.admin_site.admin_view(self.issue_keys), "tenants_app_tenant_issue_keys"
        return [path("<int:object_id>/issue-keys/", view, name=name), *super().get_urls()]

    def issue_keys(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Many keys at once, from a table."""
        tenant = self.get_object(request, str(object_id))
        if tenant is None:
            messages.error(request, "There is no such tenant.")
            return redirect(self.url_of("changelist"))
        return key_batches.page(self, request, tenant)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        live = Q(keys__kind=ApiKey.Kind.CLIENT, keys__revoked_at=None) & (
            Q(keys__expires_at=None) | Q(keys__expires_at__gt=Now())
        )
        rows: QuerySet[Any] = (
            super().get_queryset(request).annotate(keys_live=Count("keys", filter=live))
        )
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        verbs = ("add", "change", "delete")
        may = request.user.has_perms([f"tenants_app.{verb}_budget" for verb in verbs])
        return fields if may else (*fields, *TOKEN_BUDGETS)

    def get_actions(self, request: HttpRequest) -> Any:
        """Without deletion in bulk: each tenant takes its keys, routes and budgets with it."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_issue_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the button that issues a key is shown. (unfold's check of a permission given by
        name reads the database, which is not there yet when `migrate` begins.)
        """
        return request.user.has_perm("tenants_app.add_apikey")

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        """Django's, if a column changed: the trail tells of no change that was none."""
        columns = {column.name for column in Tenant._meta.fields}
        if not change or columns & {*form.changed_data}:
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        for name, period in TOKEN_BUDGETS.items():
            if name in form.changed_data:
                set_token_budget(form.instance, period, form.cleaned_data[name])
        model = form.instance.default_model
        if model and form.instance.fallbacks.filter(model=model).exists():
            messages.warning(request, DEFAULT_FALLS_BACK.format(model=model))

    @display(description="State", label={"active": "success", "suspended": "danger"})
    def state(self, tenant: Tenant) -> str:
        return tenant.status

    @display(description="May use", ordering="allow_list_enabled")
    def models_told(self, tenant: Tenant) -> str:
        return "its allow-list" if tenant.allow_list_enabled else "all models"

    @display(description="Live keys", ordering="keys_live")
    def live_keys(self, tenant: Any) -> int:
        return int(tenant.keys_live)

    @display(description="Tokens per day")
    def daily_tokens(self, tenant: Tenant) -> str:
        return _limit(tenant, "daily_tokens")

    @display(description="Tokens per month")
    def monthly_tokens(self, tenant: Tenant) -> str:
        return _limit(tenant, "monthly_tokens")

    @action(description="Issue key", icon="key", permissions=["issue"])
    def issue_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the form that issues a key, with this tenant chosen."""
        return redirect(f"{reverse('admin:tenants_app_apikey_add')}?tenant={quote(object_id)}")

    @action(description="Suspend", icon="pause", permissions=["change"])
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Refuse its requests from now on."""
        return self._one(request, object_id, Tenant.Status.SUSPENDED)

    @action(description="Resume", icon="play_arrow", permissions=["change"])
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer its requests again."""
        return self._one(request, object_id, Tenant.Status.ACTIVE)

    @admin.action(description="Suspend selected tenants", permissions=["change"])
    def suspend_selected(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> Any:
        """Refuse their requests from now on."""
        return self._several(request, queryset, Tenant.Status.SUSPENDED)

    @admin.action(description="Resume selected tenants", permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> Any:
        """Answer their requests again."""
        return self._several(request, queryset, Tenant.Status.ACTIVE)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Suspend or resume, whichever is possible."""
        actions = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        tenant = self.get_object(request, str(object_id))
        active = tenant is not None and tenant.status == Tenant.Status.ACTIVE
        return [one for one in actions if one.path != ("resume" if active else "suspend")]

    def _one(self, request: HttpRequest, object_id: str, status: Tenant.Status) -> HttpResponse:
        tenant = self.get_object(request, object_id)
        if tenant is None:
            messages.error(request, "There is no such tenant.")
            return redirect(self.url_of("changelist"))
        return self._set_or_ask(request, [tenant], status) or redirect(
            self.url_of("change", tenant.pk)
        )

    def _several(
        self, request: HttpRequest, queryset: QuerySet[Tenant], status: Tenant.Status
    ) -> HttpResponse | None:
        name = "suspend" if status == Tenant.Status.SUSPENDED else "resume"
        return self._set_or_ask(request, list(queryset), status, action=f"{name}_selected")

    def _set_or_ask(
        self, request: HttpRequest, chosen: list[Tenant], status: Tenant.Status, **context: Any
    ) -> HttpResponse | None:
        """Ask why, until it is said; then do it."""
        form = ReasonForm(request.POST if request.POST.get("confirmed") == "yes" else None)
        if not form.is_valid():
            return self._ask(request, chosen, status, form=form, **context)
        with because(form.cleaned_data["reason"]):
            self._set(request, chosen, status)
        return None

    def _ask(
        self, request: HttpRequest, chosen: list[Tenant], status: Tenant.Status, **context: Any
    ) -> HttpResponse:
        suspend = status == Tenant.Status.SUSPENDED
        verb = "Suspend" if suspend else "Resume"
        return confirmation(
            self,
            request,
            title=f"{verb} {chosen[0] if len(chosen) == 1 else 'tenants'}",
            button=verb,
            sentences=SUSPENDING if suspend else RESUMING,
            confirmed="yes",
            objects=chosen,
            checkbox=ACTION_CHECKBOX_NAME,
            **context,
        )

    def _set(self, request: HttpRequest, chosen: list[Tenant], status: Tenant.Status) -> None:
        done = "Suspended" if status == Tenant.Status.SUSPENDED else "Resumed"
        ids = [tenant.pk for tenant in chosen]
        Tenant.objects.filter(pk__in=ids).update(status=status, updated_at=Now())
        for tenant in chosen:
            self.log_change(request, tenant, f"{done}.")
        messages.success(request, f"{done}: {', '.join(map(str, chosen))}.")


def _limit(tenant: Tenant, name: str) -> str:
    limit = token_budgets(tenant).get(name)
    return "unlimited" if limit is None else f"{limit:,}"
