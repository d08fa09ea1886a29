"""Pages for staff who are held to some tenants: what is not said to be a tenant's is closed to
them, and of what is they see, choose and write their own tenants' rows. `tenants_app.staff` knows
whose these are.
"""

from functools import cache
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin.mixins import AutocompleteMixin
from unfold.contrib.filters.forms import AutocompleteDropdownForm

from tenants_app import staff
from tenants_app.admin.choices import PossibleChoices, PossibleLookups

VERBS = ("view", "add", "change", "delete")


class StaffBackend(ModelBackend):
    """Django's permissions, of which staff who are held to some tenants have those alone that
    concern a tenant's rows. It comes first, so that no other backend gives what it refuses.
    """

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if perm not in open_permissions() and staff.tenants_of(user_obj) is not None:
            raise PermissionDenied
        return super().has_perm(user_obj, perm, obj)

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        if staff.tenants_of(user_obj) is None:
            return super().has_module_perms(user_obj, app_label)
        held = self.get_all_permissions(user_obj) & open_permissions()
        return any(perm.startswith(f"{app_label}.") for perm in held)


@cache
def open_permissions() -> frozenset[str]:
    """The permissions that mean something for staff who are held to some tenants: on models whose
    pages, or rows on another's page, have a `tenant_path`, and `tenant_permissions` of these pages.
    """
    found: set[str] = set()
    for page in admin.site._registry.values():
        if getattr(page, "tenant_path", None) is None:
            continue
        found |= {*getattr(page, "tenant_permissions", ())}
        inlines = [one for one in page.inlines if getattr(one, "tenant_path", None)]
        for opts in (page.opts, *(one.model._meta for one in inlines)):
            found |= {f"{opts.app_label}.{verb}_{opts.model_name}" for verb in VERBS}
    return frozenset(found)


def visible(request: HttpRequest, model: type[Model]) -> QuerySet[Any]:
    """The rows of a model that the user of a request may see, choose and name."""
    rows: QuerySet[Any] = model._default_manager.all()
    tenants = staff.tenants_of(request.user)
    if tenants is None:
        return rows
    page: Any = admin.site._registry.get(model)
    return page.within(rows, tenants) if is_open(model) else rows.none()


def is_open(model: Any) -> bool:
    """Whether staff who are held to some tenants have a page of this model."""
    return getattr(admin.site._registry.get(model), "tenant_path", None) is not None


class HeldFields(PossibleChoices):
    """Fields of a form offer, and take, what the user may see."""

    # The lookup that leads from a row to its tenant; None: not for staff held to some tenants.
    tenant_path: ClassVar[str | None] = None

    def within(self, rows: QuerySet[Any], tenants: frozenset[int]) -> QuerySet[Any]:
        """The rows that are these tenants'."""
        if self.tenant_path is None:
            return rows.none()
        return rows.filter(**{f"{self.tenant_path}__in": tenants})

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return super().formfield_for_foreignkey(
            db_field, request, **_choices(db_field, request, kwargs)
        )

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(
            db_field, request, **_choices(db_field, request, kwargs)
        )


class HeldPages(HeldFields, PossibleLookups):
    """A model's pages show and write the rows of the tenants that the user is held to."""

    # Permissions besides Django's four that are safe for them: their pages ask for every row here.
    tenant_permissions: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        tenants = staff.tenants_of(request.user)
        return rows if tenants is None else self.within(rows, tenants)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not self._is_tenants(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not self._is_tenants(request)

    def _is_tenants(self, request: HttpRequest) -> bool:
        """Whether these are the tenants that somebody is held to: no more and no fewer of them."""
        return self.tenant_path == "pk" and staff.tenants_of(request.user) is not None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """With those that name what the user has no page of, and so cannot choose."""
        fields = super().get_readonly_fields(request, obj)
        if staff.tenants_of(request.user) is None:
            return fields
        related = (*self.opts.fields, *self.opts.many_to_many)
        closed = [
            one.name
            for one in related
            if one.is_relation and one.editable and not is_open(one.related_model)
        ]
        return (*fields, *(name for name in closed if name not in fields))

    def get_list_filter(self, request: HttpRequest) -> Any:
        filters = super().get_list_filter(request)
        if staff.tenants_of(request.user) is None:
            return filters
        held = (_held_filter(self.model, one) for one in filters)
        return [one for one in held if one is not None]

    def save_form(self, request: HttpRequest, form: Any, change: Any) -> Any:
        """Django's; a row of another tenant gets no further, whatever the form let through."""
        obj = super().save_form(request, form, change)
        tenants = staff.tenants_of(request.user)
        if tenants is not None and _tenant_of(obj, self.tenant_path) not in tenants:
            raise PermissionDenied
        return obj


def _choices(db_field: Any, request: HttpRequest, kwargs: dict[str, Any]) -> dict[str, Any]:
    if staff.tenants_of(request.user) is None:
        return kwargs
    return {**kwargs, "queryset": visible(request, db_field.remote_field.model)}


def _tenant_of(obj: Any, path: str | None) -> Any:
    """The id of the tenant whose row it is."""
    if path is None:
        return None
    *steps, last = path.split("__")
    for step in steps:
        obj = getattr(obj, step, None)
    return getattr(obj, "pk" if last == "pk" else f"{last}_id", None)


class HeldDropdownForm(AutocompleteDropdownForm):  # type: ignore[misc]
    """The form of a filter, which names what is chosen only to whom may see it."""

    def __init__(self, request: HttpRequest, name: str, **kwargs: Any) -> None:
        super().__init__(request=request, name=name, **kwargs)
        model = kwargs["field"].remote_field.model
        self.fields[name].queryset = visible(request, model)


def _held_filter(model: type[Model], one: Any) -> Any:
    """A list's filter for staff who are held to some tenants, or None if it is not for them."""
    path, kind = one if isinstance(one, list | tuple) else (one, None)
    if not isinstance(path, str):
        return one
    steps: list[Any] = get_fields_from_path(model, path)
    related = [field.related_model for field in steps if field.is_relation]
    if not related:
        return one
    if kind is None or not all(map(is_open, related)):
        return None
    return (path, _held_kind(kind)) if issubclass(kind, AutocompleteMixin) else None


@cache
def _held_kind(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (kind,), {"form_class": HeldDropdownForm})
