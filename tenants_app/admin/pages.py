"""What all pages of the admin share: refusals become form errors, facts are read-only, History is
the audit trail, and what cannot be undone is confirmed. It registers nothing.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.messages.storage import default_storage
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from tenants_app.admin import history, lists, reasons
from tenants_app.admin.deletion import Deleting
from tenants_app.admin.refusals import REFUSALS, in_words, sentence
from tenants_app.admin.scope import HeldFields, HeldPages

TOOK_TOO_LONG = (
    f"It was stopped after {lists.LOOK.seconds} seconds: choose fewer days, or a tenant."
)

F = TypeVar("F", bound=Callable[..., Any])

# unfold has no types; its classes are Django's with other templates.
if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin
    from django.contrib.admin import StackedInline as DjangoStackedInline
    from django.contrib.admin import TabularInline as DjangoTabularInline
    from django.contrib.admin.views.main import ChangeList

    ModelAdmin = DjangoModelAdmin[Any]
    StackedInline = DjangoStackedInline[Any, Any]
    UnfoldTabularInline = DjangoTabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
    InfinitePaginator: Any

    def display(**options: Any) -> Callable[[F], F]: ...
    def action(**options: Any) -> Callable[[F], F]: ...

else:
    from unfold.admin import ModelAdmin, StackedInline
    from unfold.admin import TabularInline as UnfoldTabularInline
    from unfold.decorators import action, display
    from unfold.forms import PaginationInlineFormSet as InlineFormSet
    from unfold.paginator import InfinitePaginator
    from unfold.views import ChangeList

    ModelForm = forms.ModelForm

__all__ = [
    "ChangeList",
    "ConfigurationAdmin",
    "InfinitePaginator",
    "ModelAdmin",
    "ModelForm",
    "PlainDecimalField",
    "ReadOnlyAdmin",
    "ReadOnlyInline",
    "StackedInline",
    "TabularInline",
    "WordedForm",
    "WordedFormSet",
    "action",
    "confirmation",
    "display",
]


class WordedForm(ModelForm):
    """A form whose errors are sentences, also those of the database."""

    refusal: ClassVar[str] = ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.refusal:
            self.add_error(None, self.refusal)
        return cleaned

    def _update_errors(self, errors: ValidationError) -> None:
        """Django's, in words."""
        super()._update_errors(in_words(errors))  # type: ignore[misc]


class WordedFormSet(InlineFormSet):
    """Rows; two that are alike are told so."""

    def get_unique_error_message(self, unique_check: Sequence[str]) -> str:
        names = [name.replace("_", " ") for name in unique_check]
        return f"Two rows have the same {' and '.join(names)}: change or remove one of them."

    def get_form_error(self) -> str:
        return "Another row says the same: change or remove one of them."


class PlainDecimalField(forms.DecimalField):
    """A number shown without its trailing zeros."""

    def prepare_value(self, value: Any) -> Any:
        return f"{value.normalize():f}" if hasattr(value, "normalize") else value


class Page(HeldPages, ModelAdmin):
    """A model's pages, which know their addresses. Staff who are held to some tenants find them
    closed until `tenant_path` says whose a row is.
    """

    def url_of(self, page: str, *args: Any) -> str:
        """The address of one of them."""
        opts = self.opts
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{page}", args=args)


class Rows(ChangeList):
    """A page of a list, whose head speaks of results only if something was looked for."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class ConfigurationAdmin(Deleting, Page):
    """A page of what operators configure."""

    form = WordedForm
    list_per_page = 50
    list_filter_submit = True
    warn_unsaved_form = True
    show_full_result_count = False
    object_history_template = "tenants_app/history.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Rows

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        refusal = getattr(request, "refusal", "")
        return type(form.__name__, (form,), {"refusal": refusal}) if refusal else form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Django's; what the database refuses, even at COMMIT, becomes an error of the form. Why
        it is saved goes into the audit trail.
        """
        try:
            with reasons.because(reasons.beside_save(request)):
                return super().changeform_view(request, object_id, form_url, extra_context)
        except REFUSALS as error:
            request.refusal = sentence(error)  # type: ignore[attr-defined]
            # The message of a change that COMMIT then refused must not be told.
            request._messages = default_storage(request)  # type: ignore[attr-defined]
        return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's; what the database refuses becomes a message on the object's page."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except REFUSALS as error:
            messages.error(request, sentence(error))
        return redirect(self.url_of("change", object_id))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's; an action that the database refuses becomes a message."""
        try:
            return super().changelist_view(request, extra_context)
        except REFUSALS as error:
            messages.error(request, sentence(error))
        return redirect(self.url_of("changelist"))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The audit trail of this object and of what belongs to it."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, object_id)
        if obj is None:
            messages.error(request, "It is gone, or never was.")
            return redirect(self.url_of("changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change history: {obj}",
            "opts": self.opts,
            "object": obj,
            "changes": history.of(obj, request.user),
            "most": history.MOST,
        }
        return TemplateResponse(request, self.object_history_template, context)


class ReadOnlyAdmin(Page):
    """A page of facts, which nobody adds, changes or deletes by hand."""

    list_per_page = 50
    list_filter_submit = True
    # Neither counts nor sorts by what has no index: these tables grow.
    show_full_result_count = False
    paginator = InfinitePaginator
    actions = None
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    # What other pages' links ask its list for, besides its filters.
    linked_lookups: ClassVar[tuple[str, ...]] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return lists.Facts

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's; a look that takes too long is stopped, and told."""
        if request.method != "GET":
            return super().changelist_view(request, extra_context)
        try:
            with lists.bounded(lists.LOOK):
                response = super().changelist_view(request, extra_context)
                # Its rows are asked for when it is rendered.
                return response.render() if isinstance(response, TemplateResponse) else response
        except lists.TooLong:
            if not request.GET:
                raise
        messages.error(request, TOOK_TOO_LONG)
        return redirect(self.url_of("changelist"))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Django's, without a way to a history: facts have none."""
        context = {"show_history": False} | (extra_context or {})
        return super().changeform_view(request, object_id, form_url, context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Facts have no history."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect(self.url_of("change", object_id))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class TabularInline(HeldFields, UnfoldTabularInline):
    """Rows on another object's page, which is all that keeps them to a tenant; `tenant_path` opens
    those whose model has no pages of its own.
    """

    formset = WordedFormSet


class ReadOnlyInline(TabularInline):
    """Rows that are shown on another object's page, and changed on their own."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def confirmation(
    page: ModelAdmin, request: HttpRequest, *, title: str, button: str, **context: Any
) -> TemplateResponse:
    """The question before something that cannot be undone; its form posts `confirmed=yes` here.

    `sentences` say what will happen, `objects` to what; with `action` it is an action on a list.
    A `form` asks for more, such as why.
    """
    objects: QuerySet[Any] | Sequence[Model] = context.pop("objects", ())
    return TemplateResponse(
        request,
        "tenants_app/confirmation.html",
        {
            **page.admin_site.each_context(request),
            "title": title,
            "button": button,
            "opts": page.opts,
            "objects": objects,
            **context,
        },
    )
