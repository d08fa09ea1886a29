"""Composes the admin from what each app offers: the front page, the staff's accounts, what a
tenant's page must know of the books, and what an upstream's of the calls to it.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from chat_app.selectors import open_circuits
from tenants_app.admin.catalogue import UpstreamAdmin
from tenants_app.admin.pages import ModelAdmin, action, display
from tenants_app.admin.tenants import TenantAdmin
from tenants_app.models import Tenant, Upstream
from usage_app import overview, selectors
from usage_app.admin import corrections, repricing

if TYPE_CHECKING:
    StaffAdmin = DjangoUserAdmin[User]
else:

    class StaffAdmin(DjangoUserAdmin, ModelAdmin):
        """Django's page of users with unfold's templates."""


admin.site.index_title = "Overview"
admin.site.index_template = "gateway_project/front_page.html"
admin.site.unregister([User, Group, Tenant, Upstream])


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the front page shows: to those who may view windows, what goes on."""
    if request.user.has_perm("usage_app.view_usagewindow"):
        from django.conf import settings

        context["overview"] = overview.now()
        context["currency"] = settings.LEDGER_CURRENCY
    return context


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


@admin.register(Upstream)
class UpstreamPage(UpstreamAdmin):
    """The upstreams, with which of them are left alone at the moment."""

    list_display = (*UpstreamAdmin.list_display, "circuit")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        circuits = open_circuits().filter(upstream=OuterRef("pk"))
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(retry_at=Subquery(circuits.order_by("-retry_at").values("retry_at")[:1]))
        )
        return rows

    @display(
        description="Circuit",
        label={"open": "danger", "half-open": "warning", "closed": "success"},
    )
    def circuit(self, upstream: Any) -> str:
        if upstream.retry_at is None:
            return "closed"
        return "open" if timezone.now() < upstream.retry_at else "half-open"


def _on_the_books(request: HttpRequest, obj: Model | None) -> bool:
    """Whether a tenant has usage; asked of the database once a page."""
    if not isinstance(obj, Tenant):
        return False
    known: dict[int, bool] = request.__dict__.setdefault("tenants_on_the_books", {})
    if obj.pk not in known:
        known[obj.pk] = selectors.has_usage(obj)
    return known[obj.pk]


def grantable() -> QuerySet[Permission]:
    """The permissions that open a page; those of tables behind the scenes would only mislead."""
    pages = [model._meta for model in admin.site._registry]
    names = {(opts.app_label, opts.model_name) for opts in pages} | {
        ("tenants_app", "tenantfallback"),
        ("tenants_app", "tenanthost"),
    }
    ids = [
        permission.pk
        for permission in Permission.objects.select_related("content_type")
        if (permission.content_type.app_label, permission.content_type.model) in names
    ]
    return Permission.objects.filter(pk__in=ids)


class Grants:
    """Pages that grant permissions offer those that mean something."""

    filter_horizontal: tuple[str, ...] | list[str] = ()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]
        if field:
            if db_field.remote_field.model is Permission:
                field.queryset = grantable().select_related("content_type")
            # Set afterwards: unfold puts the classes of a plain list over those of this one.
            field.widget = UnfoldAdminSelect2MultipleWidget(choices=field.choices)
        return field


@admin.register(User)
class UserAdmin(Grants, StaffAdmin):
    """Staff who may log in here."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    compressed_fields = True


if TYPE_CHECKING:
    GroupBase = DjangoGroupAdmin
else:

    class GroupBase(DjangoGroupAdmin, ModelAdmin):
        """Django's page of groups with unfold's templates."""


@admin.register(Group)
class GroupAdmin(Grants, GroupBase):
    """Sets of permissions."""
