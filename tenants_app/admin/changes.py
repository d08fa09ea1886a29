"""The page of the audit trail: every change of every audited table, newest first."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from pghistory.models import MiddlewareEvents
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from tenants_app.admin import history
from tenants_app.admin.pages import ReadOnlyAdmin, display


class KindFilter(DropdownFilter):  # type: ignore[misc]
    """Changes of one table."""

    title = "what"
    parameter_name = "what"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        labels = {model.pgh_tracked_model._meta.label for model in history.visible(request.user)}  # type: ignore[attr-defined]
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


@admin.register(MiddlewareEvents)
class ChangesAdmin(ReadOnlyAdmin):
    """Who changed what, and when; written by triggers, so SQL is no way around it."""

    list_display = ("at", "who", "what", "verb", "told")
    list_filter = (KindFilter, VerbFilter, ("pgh_created_at", RangeDateTimeFilter))
    search_fields = ("pgh_obj_id",)
    search_help_text = "Number of the changed row, or user name"
    ordering = ("-pgh_created_at", "-pgh_slug")
    list_select_related = ("user",)
    fields = ("at", "who", "url", "what", "verb", "reason", "told", "row")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[MiddlewareEvents]:
        models = history.visible(request.user)
        if not models:
            return MiddlewareEvents.no_objects.all()
        return MiddlewareEvents.objects.across(*models).select_related("user")  # type: ignore[no-any-return]

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
    def at(self, event: Any) -> Any:
        return event.pgh_created_at

    @display(description="Who")
    def who(self, event: Any) -> str:
        return str(event.user.get_username()) if event.user else "no user"

    @display(description="What")
    def what(self, event: Any) -> str:
        return f"{history.kind(event.pgh_obj_model)} #{event.pgh_obj_id}"

    @display(
        description="Change", label={"added": "success", "changed": "info", "deleted": "danger"}
    )
    def verb(self, event: Any) -> str:
        return history.VERBS.get(str(event.pgh_label), str(event.pgh_label))

    @display(description="Why")
    def reason(self, event: Any) -> str:
        return str((event.pgh_context or {}).get("reason") or "-")

    @display(description="Fields")
    def told(self, event: Any) -> SafeString:
        return format_html_join(
            "",
            '<div><span class="font-medium">{}</span> {}</div>',
            (
                (field.name, _arrow(field.before, field.after))
                for field in history.field_changes(event)
            ),
        )

    @display(description="The whole row")
    def row(self, event: Any) -> SafeString:
        text = json.dumps(event.pgh_data, indent=2, ensure_ascii=False)
        return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)


def _arrow(before: str | None, after: str | None) -> str:
    """A field's values, shortened for a list."""
    told = [text if len(text) <= 60 else f"{text[:60]}…" for text in (before, after) if text]
    return " → ".join(told) if told else "emptied"
