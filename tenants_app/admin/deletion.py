"""Deleting what is configured: the page says what goes and whose it is, and asks why, which the
audit trail keeps. What is counted behind the scenes goes too, and is not told.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import NestedObjects, quote
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst

from tenants_app.admin import reasons

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin

    Pages = DjangoModelAdmin[Any]
else:
    Pages = object


class Deleting(Pages):
    """Pages whose rows are deleted for a reason."""

    delete_confirmation_template = "tenants_app/delete.html"
    delete_selected_confirmation_template = "tenants_app/delete.html"
    # What a row without a tenant is, as in "route a → b, of all tenants".
    nobodys: ClassVar[str] = "of all tenants"

    def told(self, row: Any) -> str:
        """A row, and whose it is."""
        return f"{row}, {self.whose(row)}" if hasattr(row, "tenant") else str(row)

    def whose(self, row: Any) -> str:
        """Whose it is, in words."""
        return f"of {row.tenant}" if row.tenant else self.nobodys

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Django's, in the words of each row's own page, without rows behind the scenes."""
        return what_goes(self.admin_site, objs, request)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's, once it is said why."""
        form = _asked(request)
        with reasons.because(form.cleaned_data["reason"] if form.is_valid() else ""):
            context = {"form": form, **(extra_context or {})}
            return super().delete_view(request, object_id, context)

    def get_actions(self, request: HttpRequest) -> Any:
        actions: Any = super().get_actions(request)
        if "delete_selected" in actions:
            _, name, description = actions["delete_selected"]
            actions["delete_selected"] = (_delete_selected, name, description)
        return actions


def _delete_selected(page: Any, request: HttpRequest, rows: QuerySet[Any]) -> Any:
    """Django's, once it is said why."""
    form = _asked(request, chosen=request.POST)
    with reasons.because(form.cleaned_data["reason"] if form.is_valid() else ""):
        response = delete_selected(page, request, rows)
    if isinstance(response, TemplateResponse):
        response.context_data = {**(response.context_data or {}), "form": form}
    return response


def _asked(request: HttpRequest, chosen: QueryDict | None = None) -> reasons.ReasonForm:
    """The question, with the answer if it was given. Without one, the request confirms nothing:
    it is as if the page had only been opened.
    """
    form = reasons.ReasonForm(request.POST if "post" in request.POST else None)
    if request.method == "POST" and not form.is_valid():
        left = chosen.copy() if chosen is not None else QueryDict(mutable=True)
        left.pop("post", None)
        request.POST = left  # type: ignore[assignment]
    return form


class Told(NestedObjects):
    """What goes with some rows, as far as it is told."""

    def related_objects(self, related_model: Any, related_fields: Any, objs: Any) -> Any:
        found = super().related_objects(related_model, related_fields, objs)
        return found.none() if getattr(related_model, "behind_the_scenes", False) else found


def what_goes(site: Any, rows: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
    """As Django's `get_deleted_objects`: nested lines, counts, rights that lack, what is in use."""
    if not rows:
        return [], {}, set(), []
    going = Told(using=router.db_for_write(type(rows[0])), origin=rows)
    going.collect(rows)
    lacking: set[str] = set()

    def line(row: Any) -> str:
        opts, page = row._meta, site._registry.get(type(row))
        words = page.told(row) if isinstance(page, Deleting) else str(row)
        if page is None:
            return f"{capfirst(opts.verbose_name)}: {words}"
        if not page.has_delete_permission(request, row):
            lacking.add(str(opts.verbose_name))
        url = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(row.pk)])
        return format_html('{}: <a href="{}">{}</a>', capfirst(opts.verbose_name), url, words)

    lines = going.nested(line)
    in_use = [line(row) for row in going.protected]
    # Their type says names; they are models.
    models: Any = going.model_objs
    counts = {_called(model._meta, len(of)): len(of) for model, of in models.items()}
    return lines, counts, lacking, in_use


def _called(opts: Any, count: int) -> str:
    return str(opts.verbose_name if count == 1 else opts.verbose_name_plural)
