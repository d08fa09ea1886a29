"""A tenant's page: everything about it in sections that each app offers, around the form by which
it is changed. What the books have frozen is not, and its later facts have pages of their own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse

from gateway_project.login.sessions import asked_by_a_page
from gateway_project.pages import playground
from tenants_app.admin import sections as of_tenant
from tenants_app.admin.model_section import models
from tenants_app.admin.pages import action
from tenants_app.admin.sections import Section
from tenants_app.admin.teams import teams
from tenants_app.admin.tenants import TenantAdmin
from tenants_app.models import Tenant
from usage_app import selectors
from usage_app.admin import corrections, repricing
from usage_app.admin import sections as of_books

admin.site.unregister(Tenant)

Part = Callable[[HttpRequest, Tenant], Section | None]
# In the order of the page: what is going on, and what one acts on; then the form; then the rest.
ABOVE: Final[Sequence[Part]] = (
    of_books.budgets,
    of_books.refusals,
    of_books.usage,
    of_tenant.keys,
    teams,
)
BELOW: Final[Sequence[Part]] = (models, of_books.entries, of_tenant.changes)


@admin.register(Tenant)
class TenantPage(TenantAdmin):
    """Everything about a tenant on one page."""

    actions_detail = (
        *TenantAdmin.actions_detail,
        "try_it",
        {"title": "Money", "icon": "payments", "items": ["credit", "reprice"]},
    )
    tenant_permissions = (playground.PERMISSION,)
    change_form_outer_before_template = "gateway_project/tenant_above.html"
    change_form_outer_after_template = "gateway_project/tenant_below.html"

    class Media:
        js = ("gateway_project/live.js",)

    def get_urls(self) -> list[URLPattern]:
        live = asked_by_a_page(self.admin_site.admin_view(self.live))
        name = "tenants_app_tenant_live"
        return [path("<int:object_id>/live/", live, name=name), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The form among the sections. One that was sent back with errors comes first, alone."""
        tenant = context.get("original")
        if tenant is not None:
            whole = request.method == "GET"
            context |= {
                "live_url": reverse("admin:tenants_app_tenant_live", args=[tenant.pk]),
                "state": of_tenant.state(request, tenant),
                "above": _sections(request, tenant, ABOVE if whole else ()),
                "below": _sections(request, tenant, BELOW if whole else ()),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def live(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """How full the budgets are now, as a piece of the page that asks for it again and again."""
        tenant = self.get_object(request, str(object_id))
        if tenant is None:
            raise Http404
        section = of_books.budgets(request, tenant)
        if section is None or not self.has_view_or_change_permission(request, tenant):
            raise PermissionDenied
        return render(request, section.template, {"section": section})

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """To the new tenant's page, where its keys are issued."""
        if not self.has_view_or_change_permission(request):
            return super().response_post_save_add(request, obj)
        if self.has_issue_permission(request):
            messages.info(request, "Issue a key, and its first request can be made.")
        return redirect(self.url_of("change", obj.pk))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "timezone") if _on_the_books(request, obj) else fields

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A tenant on the books is suspended, never deleted."""
        return super().has_delete_permission(request, obj) and not _on_the_books(request, obj)

    def has_try_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the button of the playground is shown."""
        return request.user.has_perm(playground.PERMISSION)

    def has_credit_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the buttons that write to its ledger are shown."""
        return request.user.has_perm(corrections.PERMISSION)

    @action(description="Try it", icon="play_circle", url_path="try", permissions=["try"])
    def try_it(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """A message at the tenant's charge."""
        return playground.page(self, request, self.get_object(request, object_id))

    @action(description="Credit or charge", icon="payments", permissions=["credit"])
    def credit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Money alone, on the tenant's ledger."""
        return corrections.credit(self, request, self.get_object(request, object_id))

    @action(description="Re-price", icon="currency_exchange", permissions=["credit"])
    def reprice(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Correct what was charged at another price than the book has now."""
        return repricing.reprice(self, request, self.get_object(request, object_id))


def _sections(request: HttpRequest, tenant: Tenant, parts: Sequence[Part]) -> list[Section]:
    """Those that the user may see."""
    found = [part(request, tenant) for part in parts]
    return [section for section in found if section is not None]


def _on_the_books(request: HttpRequest, obj: Model | None) -> bool:
    """Whether a tenant has usage; asked of the database once a page."""
    if not isinstance(obj, Tenant):
        return False
    known: dict[int, bool] = request.__dict__.setdefault("tenants_on_the_books", {})
    if obj.pk not in known:
        known[obj.pk] = selectors.has_usage(obj)
    return known[obj.pk]
