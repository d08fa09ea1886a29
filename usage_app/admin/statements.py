"""Pages of closed months: the list, each statement with its files, and the checklist that ends in
closing one more. `usage_app.statements.closing` closes.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from tenants_app.admin.pages import ReadOnlyAdmin, ReadOnlyInline, action, display
from tenants_app.models import Tenant
from usage_app.amounts import exact
from usage_app.models import Statement, StatementDay, StatementLine
from usage_app.statements import closing
from usage_app.statements import files as statement_files
from usage_app.statements import paper as statement_paper
from usage_app.usage_query import month_of
from usage_app.views_admin import awaited

PERMISSION: Final = "usage_app.close_month"
# Waiting months that the page offers; the form reaches all others.
MOST_WAITING: Final = 50

# Name of the file, its type, and what it is made of.
FILES: dict[str, tuple[str, Callable[[Statement], bytes | str]]] = {
    "statement.pdf": ("application/pdf", statement_paper.pdf),
    "statement.csv": ("text/csv; charset=utf-8", statement_files.lines_csv),
    "statement.json": ("application/json", statement_files.document),
}
ENTRIES: Final = "entries.csv"
TITLES: Final = {
    "statement.pdf": "PDF",
    "statement.csv": "lines as CSV",
    "statement.json": "document to verify (JSON)",
    ENTRIES: "its entries (CSV)",
}


class CloseForm(forms.Form):
    """Which month, and whose."""

    tenant = forms.ModelChoiceField(
        Tenant.objects.order_by("slug"), to_field_name="slug", widget=UnfoldAdminSelectWidget
    )
    month = forms.CharField(
        widget=UnfoldAdminTextInputWidget(attrs={"type": "month", "placeholder": "2026-03"})
    )

    def clean_month(self) -> date:
        """The month's first day."""
        month = month_of(self.cleaned_data["month"])
        if month is None:
            raise forms.ValidationError("This must be a month, as in 2026-03.")
        return month


class Part(ReadOnlyInline):
    """What belongs to a statement, for those who may see it."""

    show_change_link = False
    hide_title = True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("usage_app.view_statement")


class LineInline(Part):
    """What a statement's lines say."""

    model = StatementLine
    fields = (
        *("cost_center", "model", "requests_told", "tokens_told"),
        *("cost_told", "credit_told", "price_told", "amount_told"),
    )
    readonly_fields = fields
    per_page = 50
    verbose_name_plural = "Lines"

    @display(description="Requests")
    def requests_told(self, line: StatementLine) -> str:
        return f"{line.requests:,}"

    @display(description="Total tokens")
    def tokens_told(self, line: StatementLine) -> str:
        return f"{line.total_tokens:,}"

    @display(description="Cost")
    def cost_told(self, line: StatementLine) -> str:
        return exact(line.cost)

    @display(description="Credit")
    def credit_told(self, line: StatementLine) -> str:
        return exact(line.credit)

    @display(description="Price")
    def price_told(self, line: StatementLine) -> str:
        return exact(line.price)

    @display(description="Amount")
    def amount_told(self, line: StatementLine) -> str:
        return in_units(line.amount, line.statement)


class DayInline(Part):
    """The days that a statement counts."""

    model = StatementDay
    fields = ("day", "entries_told", "margin_told", "cost_told", "credit_told", "digest_told")
    readonly_fields = fields
    per_page = 31
    verbose_name_plural = "Days"

    @display(description="Entries")
    def entries_told(self, day: StatementDay) -> str:
        return f"{day.entries:,}"

    @display(description="Margin")
    def margin_told(self, day: StatementDay) -> str:
        return f"{exact(day.percent)} %"

    @display(description="Digest")
    def digest_told(self, day: StatementDay) -> SafeString:
        return format_html('<span class="break-all tollgate-value">{}</span>', day.digest)

    @display(description="Cost")
    def cost_told(self, day: StatementDay) -> str:
        return exact(day.cost)

    @display(description="Credit")
    def credit_told(self, day: StatementDay) -> str:
        return exact(day.credit)


@admin.register(Statement)
class StatementAdmin(ReadOnlyAdmin):
    """Closed months."""

    tenant_path = "tenant"
    list_display = ("month_told", "tenant", "total_told", "entries_told", "closed_at", "closed_by")
    list_filter = (("tenant", AutocompleteSelectFilter), ("month", RangeDateFilter))
    list_select_related = ("tenant",)
    ordering = ("-month", "tenant_id")
    actions_list = ("to_close",)
    inlines = (LineInline, DayInline)
    readonly_fields = ("month_told", "total_told", "price_told", "entries_told", "files", "known")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("tenant", "month_told", "timezone"),
                    ("total_told", "price_told", "entries_told"),
                    ("closed_at", "closed_by"),
                    "known",
                    "files",
                    "checksum",
                    "previous",
                )
            },
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        ours = [
            path(
                "close/", self.admin_site.admin_view(self.close), name="usage_app_statement_close"
            ),
            path(
                "<int:pk>/files/<str:name>",
                self.admin_site.admin_view(self.file),
                name="usage_app_statement_file",
            ),
        ]
        return [*ours, *super().get_urls()]

    @display(description="Month", ordering="month")
    def month_told(self, statement: Statement) -> str:
        return f"{statement.month:%Y-%m}"

    @display(description="Total")
    def total_told(self, statement: Statement) -> str:
        return f"{in_units(statement.total, statement)} {statement.currency}"

    @display(description="Entries", ordering="entries")
    def entries_told(self, statement: Statement) -> str:
        return f"{statement.entries:,}"

    @display(description="Exact price")
    def price_told(self, statement: Statement) -> str:
        return exact(statement.price)

    @display(description="Known at the closing")
    def known(self, statement: Statement) -> SafeString | str:
        return format_html_join("", "<div>{}</div>", ((one,) for one in statement.remarks)) or "-"

    @display(description="Files")
    def files(self, statement: Statement) -> SafeString:
        url = f"{self.admin_site.name}:usage_app_statement_file"
        link = '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>'
        links = ((reverse(url, args=[statement.pk, name]), TITLES[name]) for name in TITLES)
        return format_html_join(" · ", link, links)

    def has_to_close_permission(self, request: HttpRequest) -> bool:
        """Whether the button above the list is shown."""
        return request.user.has_perm(PERMISSION)

    @action(description="Close a month", icon="lock", permissions=["to_close"])
    def to_close(self, request: HttpRequest) -> HttpResponse:
        """To the checklist."""
        return redirect(self.url_of("close"))

    def file(self, request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
        """A statement's file; the entries only while the ledger has them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        statement = get_object_or_404(self.get_queryset(request), pk=pk)
        stem = f"{statement.tenant_slug}-{statement.month:%Y-%m}"
        kind, _, ending = name.rpartition(".")
        disposition = {"Content-Disposition": f'attachment; filename="{kind}-{stem}.{ending}"'}
        if name == ENTRIES:
            return self._entries(request, statement, disposition)
        if name not in FILES:
            raise Http404
        content_type, made = FILES[name]
        return HttpResponse(made(statement), content_type=content_type, headers=disposition)

    def _entries(
        self, request: HttpRequest, statement: Statement, headers: dict[str, str]
    ) -> HttpResponseBase:
        if statement_files.entries_left(statement) != statement.entries:
            told = "The ledger has not all of its entries any more: they were detached."
            messages.error(request, told)
            return redirect(self.url_of("change", statement.pk))
        chunks = statement_files.entries_csv(statement)
        return StreamingHttpResponse(
            awaited(chunks) if isinstance(request, ASGIRequest) else chunks,
            content_type="text/csv; charset=utf-8",
            headers=headers,
        )

    def close(self, request: HttpRequest) -> HttpResponse:
        """The checklist of `?tenant=` and `?month=`; a POST of it closes the month."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        # Postgres would raise at a NUL, where a form should say what is wrong.
        query = {name: str(text).replace("\0", "?") for name, text in request.GET.items()}
        form = CloseForm(query or None, initial={"month": _last_month()})
        checklist = None
        if form.is_bound and form.is_valid():
            tenant, month = form.cleaned_data["tenant"], form.cleaned_data["month"]
            if request.method == "POST":
                return self._close(request, tenant, month)
            checklist = closing.check(tenant, month)
        context = {
            **self.admin_site.each_context(request),
            "title": "Close a month",
            "opts": self.opts,
            "form": form,
            "checklist": checklist,
            "waiting": closing.waiting(most=MOST_WAITING),
        }
        status = 400 if form.errors else 200
        return TemplateResponse(request, "admin/close_month.html", context, status=status)

    def _close(self, request: HttpRequest, tenant: Tenant, month: date) -> HttpResponse:
        try:
            statement = closing.close(tenant, month, by=request.user.get_username())
        except closing.CannotClose as error:
            messages.error(request, f"The month stays open. {error}")
            return redirect(request.get_full_path())
        messages.success(request, f"{statement} is closed.")
        if self.has_view_permission(request):
            return redirect(self.url_of("change", statement.pk))
        return redirect(self.url_of("close"))


def in_units(amount: Decimal, statement: Statement) -> str:
    """A rounded amount with its currency's decimals."""
    return f"{amount:,.{statement.minor_unit}f}"


def _last_month() -> str:
    first = datetime.now(UTC).date().replace(day=1)
    return f"{first - timedelta(days=1):%Y-%m}"
