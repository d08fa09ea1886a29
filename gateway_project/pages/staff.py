"""The pages of staff: users and groups, which offer the permissions that mean something."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from tenants_app.admin.choices import PossibleChoices
from tenants_app.admin.pages import ConfigurationAdmin, StackedInline, WordedForm
from tenants_app.models import StaffScope

if TYPE_CHECKING:
    StaffAdmin = DjangoUserAdmin[User]
else:

    class StaffAdmin(DjangoUserAdmin, ConfigurationAdmin):
        """Django's page of users, audited as the configuration is."""


admin.site.unregister([User, Group])


def grantable() -> QuerySet[Permission]:
    """The permissions that open a page; those of tables behind the scenes would only mislead."""
    pages = [model._meta for model in admin.site._registry]
    names = {(opts.app_label, opts.model_name) for opts in pages} | {
        ("tenants_app", "tenantfallback"),
        ("tenants_app", "tenanthost"),
        ("tenants_app", "staffscope"),
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


class ScopeForm(WordedForm):
    """Which tenants somebody is held to."""

    class Meta:
        model = StaffScope
        fields = ("tenants",)
        help_texts = {
            "tenants": "This user sees these and no others. None chosen: sees nothing. To show all"
            " again, delete this box."
        }


class ScopeInline(PossibleChoices, StackedInline):
    """The tenants that somebody is held to."""

    model = StaffScope
    form = ScopeForm
    autocomplete_fields = ("tenants",)
    extra = 0
    verbose_name = "limit to some tenants"


if TYPE_CHECKING:
    ChangeForm, CreationForm = WordedForm, WordedForm
else:

    class ChangeForm(WordedForm, UserChangeForm):
        """A user, whose errors are sentences."""

        Meta = UserChangeForm.Meta

    class CreationForm(WordedForm, UserCreationForm):
        """A new user, whose errors are sentences."""

        Meta = UserCreationForm.Meta


@admin.register(User)
class UserAdmin(Grants, StaffAdmin):
    """Staff who may log in here."""

    inlines = (ScopeInline,)
    form = ChangeForm
    add_form = CreationForm
    change_password_form = AdminPasswordChangeForm
    # Facts: a form would cut off their fractions of seconds, and the trail would tell so.
    readonly_fields = ("last_login", "date_joined")
    compressed_fields = True


if TYPE_CHECKING:
    GroupBase = DjangoGroupAdmin
else:

    class GroupBase(DjangoGroupAdmin, ConfigurationAdmin):
        """Django's page of groups, audited as the configuration is."""


@admin.register(Group)
class GroupAdmin(Grants, GroupBase):
    """Sets of permissions."""
