"""A tenant's page: how it is set, what the books know of it and have frozen, and the way to its
later facts.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from tenants_app.admin.pages import action
from tenants_app.admin.tenants import TenantAdmin
from tenants_app.models import Tenant
from usage_app import selectors
from usage_app.admin import corrections, repricing

admin.site.unregister(Tenant)


@admin.register(Tenant)
class TenantPage(TenantAdmin):
    """A tenant's page that knows what the books have frozen, and leads to its later facts."""

    actions_detail = (*TenantAdmin.actions_detail, "credit", "reprice")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "timezone") if _on_the_books(request, obj) else fields

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A tenant on the books is suspended, never deleted."""
        return super().has_delete_permission(request, obj) and not _on_the_books(request, obj)

    def has_credit_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the buttons that write to its ledger are shown."""
        return request.user.has_perm(corrections.PERMISSION)

    @action(description="Credit or charge", icon="payments", permissions=["credit"])
    def credit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Money alone, on the tenant's ledger."""
        return corrections.credit(self, request, self.get_object(request, object_id))

    @action(description="Re-price", icon="currency_exchange", permissions=["credit"])
    def reprice(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Correct what was charged at another price than the book has now."""
        return repricing.reprice(self, request, self.get_object(request, object_id))


def _on_the_books(request: HttpRequest, obj: Model | None) -> bool:
    """Whether a tenant has usage; asked of the database once a page."""
    if not isinstance(obj, Tenant):
        return False
    known: dict[int, bool] = request.__dict__.setdefault("tenants_on_the_books", {})
    if obj.pk not in known:
        known[obj.pk] = selectors.has_usage(obj)
    return known[obj.pk]
