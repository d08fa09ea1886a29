"""The page of the audit trail: every change of every audited table, newest first."""

import json
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter, TextFilter

from tenants_app import staff
from tenants_app.admin import change_files, history
from tenants_app.admin.lists import Facts
from tenants_app.admin.pages import ReadOnlyAdmin, display
from tenants_app.admin.scope import visible
from tenants_app.models import Change, Tenant

LONGEST = 120
EXPORT = "tenants_app_change_export"


class KindFilter(DropdownFilter):  # type: ignore[misc]
    """Changes of one table."""

    title = "what"
    parameter_name = "what"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        labels = history.labels(request.user)
        return sorted((label, history.kind(label)) for label in labels)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pgh_obj_model=self.value()) if self.value() else queryset


class VerbFilter(DropdownFilter):  # type: ignore[misc]
    """Additions, changes or deletions."""

    title = "change"
    parameter_name = "change"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        return list(history.VERBS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(pgh_label=self.value()) if self.value() else queryset


class NameFilter(TextFilter):  # type: ignore[misc]
    """Changes that a user made, by the whole name."""

    title = "user name"
    parameter_name = "who"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(user__username=self.value()) if self.value() else queryset


class WhenFilter(RangeDateTimeFilter):  # type: ignore[misc]
    """Changes of a span of time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "when"


class TenantFilter(TextFilter):  # type: ignore[misc]
    """Changes of a tenant and of what is its own, by the whole slug."""

    title = "tenant (slug)"
    parameter_name = "tenant"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        named = visible(request, Tenant).filter(slug=self.value())
        return of_tenants(queryset, named.values_list("pk", flat=True))


class Newest(Facts):
    """A page of changes, chosen without their rows and differences, which cost a look back each."""

    def get_results(self, request: HttpRequest) -> None:
        """Django's, then what was changed, for this page alone."""
        super().get_results(request)
        chosen = [(event.pgh_slug, event.pgh_id, event.pgh_model) for event in self.result_list]
        whole = whole_events({model for _, _, model in chosen}, [pgh_id for _, pgh_id, _ in chosen])
        self.result_list = [whole[slug] for slug, _, _ in chosen]
        called = history.called_in(self.result_list, history.labels(request.user))
        for event in self.result_list:
            event.called = called


def whole_events(models: set[str], ids: list[int]) -> dict[str, Change]:
    """Events with all they tell, by slug; some that merely share an id may be among them."""
    if not models:
        return {}
    events = Change.objects.across(*models).filter(pgh_id__in=ids).select_related("user")
    return {event.pgh_slug: event for event in events}


def of_tenants(rows: QuerySet[Any], tenants: Iterable[int]) -> QuerySet[Any]:
    """What an event kept of its row tells whose it was; a tenant's own events are its own."""
    pks = [*tenants]
    own = Q(pgh_obj_model=Tenant._meta.label, pgh_obj_id__in=[str(pk) for pk in pks])
    return rows.filter(own | Q(pgh_data__tenant_id__in=pks))


@admin.register(Change)
class ChangesAdmin(ReadOnlyAdmin):
    """Who changed what, and when; written by triggers, so SQL is no way around it."""

    tenant_path = "tenant"

    list_display = ("at", "who", "what", "verb", "told", "why")
    list_before_template = "tenants_app/changes_export.html"
    list_filter = (
        KindFilter,
        VerbFilter,
        TenantFilter,
        NameFilter,
        ("pgh_created_at", WhenFilter),
    )
    search_fields = ("pgh_obj_id",)
    search_help_text = "Number of the changed row, or user name"
    ordering = ("-pgh_created_at", "-pgh_id", "-pgh_slug")
    list_select_related = False
    fields = ("at", "who", "url", "what", "number", "verb", "reason", "told_in_full", "row")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        models = history.visible(request.user)
        if not models:
            return Change.no_objects.all()
        events: QuerySet[Any] = Change.objects.across(*models)
        if request.resolver_match and request.resolver_match.kwargs:
            events = events.select_related("user")
        else:
            events = events.defer("pgh_data", "pgh_diff", "pgh_context")
        tenants = staff.tenants_of(request.user)
        return events if tenants is None else self.within(events, tenants)

    def within(self, rows: QuerySet[Any], tenants: frozenset[int]) -> QuerySet[Any]:
        """What an event kept of its row tells whose it was; a tenant's own events are its own."""
        return of_tenants(rows, tenants)

    def get_urls(self) -> list[Any]:
        export = path("export/", self.admin_site.admin_view(self.export), name=EXPORT)
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows with the same filters, as CSV; the newest, if there are too many."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            page = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return redirect(self.url_of("changelist"))
        chosen = list(page.queryset[: change_files.CHANGES_MAX])
        whole = whole_events({one.pgh_model for one in chosen}, [one.pgh_id for one in chosen])
        content = change_files.write(whole[one.pgh_slug] for one in chosen)
        headers = {"Content-Disposition": 'attachment; filename="changes.csv"'}
        return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return Newest

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Exactly a row's number or a user's name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if term.isdecimal():
            return queryset.filter(pgh_obj_id=term), False
        return queryset.filter(user__username=term), False

    @display(description="When")
    def at(self, event: Any) -> SafeString:
        moment = f"{timezone.localtime(event.pgh_created_at):%Y-%m-%d %H:%M}"
        return format_html('<time class="whitespace-nowrap">{}</time>', moment)

    @display(description="Who")
    def who(self, event: Any) -> str:
        return change_files.who(event)

    @display(description="Why")
    def why(self, event: Any) -> str:
        return event.reason or ""

    @display(description="What")
    def what(self, event: Any) -> str:
        return history.named(event, _called(event))

    @display(description="Its number")
    def number(self, event: Any) -> str:
        return str(event.pgh_obj_id)

    @display(
        description="Change",
        label={
            "added": "success",
            "changed": "info",
            "password changed": "warning",
            "deleted": "danger",
        },
    )
    def verb(self, event: Any) -> str:
        return history.VERBS.get(str(event.pgh_label), str(event.pgh_label))

    @display(description="Fields")
    def told(self, event: Any) -> SafeString:
        """What changed, field by field; of a row that came or went its first values in a line."""
        fields = history.field_changes(event, _called(event))
        if event.pgh_label not in ("insert", "delete"):
            return _lines(fields)
        line = ", ".join(f"{field.name} {field.after or field.before}" for field in fields)
        return format_html('<span class="tollgate-value">{}</span>', _short(line))

    @display(description="Fields")
    def told_in_full(self, event: Any) -> SafeString:
        """What changed; a row that came or went is shown whole below."""
        if event.pgh_label != "update":
            return _lines(())
        return _lines(history.field_changes(event, _called(event)))

    @display(description="The whole row")
    def row(self, event: Any) -> SafeString:
        text = json.dumps(event.pgh_data, indent=2, ensure_ascii=False)
        return format_html('<pre class="tollgate-code">{}</pre>', text)


def _called(event: Any) -> history.Names:
    """What rows are called that an event refers to; a list has asked for all of its page."""
    if not hasattr(event, "called"):
        event.called = history.called_in([event], [event.pgh_obj_model])
    called: history.Names = event.called
    return called


def _lines(fields: Iterable[history.FieldChange]) -> SafeString:
    """A line for each field."""
    return format_html_join(
        "",
        '<div class="tollgate-value"><span class="font-medium">{}</span> {}</div>',
        ((field.name, _arrow(field.before, field.after)) for field in fields),
    )


def _arrow(before: str | None, after: str | None) -> str:
    return f"{_short(before or 'none')} → {_short(after or 'none')}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
