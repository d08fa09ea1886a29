"""The staff's usage report as a page of the admin, and what is on it as a file."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from tenants_app.models import Tenant
from usage_app.figures import Span
from usage_app.periods import next_month
from usage_app.reports import files as report_files
from usage_app.reports import focus_files
from usage_app.reports import page as report_page
from usage_app.reports import xlsx as report_xlsx
from usage_app.reports.form import ReportForm
from usage_app.reports.query import ReportQuery

LAST_PAGE = 100_000
FILES: Mapping[str, tuple[str, Callable[[ReportQuery, Tenant | None], Iterator[Any]]]] = {
    "csv": ("text/csv; charset=utf-8", report_files.csv_chunks),
    "focus": ("text/csv; charset=utf-8", focus_files.focus_chunks),
    "xlsx": (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        report_xlsx.xlsx_chunks,
    ),
}


@admin.site.admin_view
def usage_report(request: HttpRequest) -> HttpResponseBase:
    """The page, or with `?format=` what is on it as a file. For staff who may view the ledger."""
    if not request.user.has_perm("usage_app.view_ledgerentry"):
        raise PermissionDenied
    # Postgres would raise at a NUL, where a form should say what is wrong.
    query = {name: str(text).replace("\0", "?") for name, text in request.GET.items()}
    if query.get("from"):
        query["month"] = ""
    elif not query.get("to"):
        query["month"] = query.get("month") or f"{datetime.now(UTC):%Y-%m}"
    form = ReportForm(query, datetime.now(UTC).date(), request.user)
    if not form.is_valid() or form.asked is None:
        context = {**admin.site.each_context(request), "title": "Usage", "form": form}
        return render(request, "admin/usage_report.html", context, status=400)
    if (kind := query.get("format", "")) in FILES:
        return _file(request, kind, form.asked, form.tenant)
    return _page(request, form, form.asked)


def _page(request: HttpRequest, form: ReportForm, query: ReportQuery) -> HttpResponse:
    number = request.GET.get("page", "")
    is_one = number.isascii() and number.isdigit() and len(number) < 9
    page = min(max(int(number), 1), LAST_PAGE) if is_one else 1
    report = report_page.read(query, form.tenant, page=page)
    before, after = _spans_beside(query.span)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Usage",
        "form": form,
        "report": report,
        "tenant": form.tenant,
        "figures": report_page.figures(report),
        "page": page,
        "first": (page - 1) * report_page.ROWS_A_PAGE + 1,
        "last": (page - 1) * report_page.ROWS_A_PAGE + len(report.rows),
        "currency": settings.LEDGER_CURRENCY,
        "is_month": query.span == Span.month(query.span.first),
        "sentences": report_page.sentences(report),
        "files": [(kind.upper(), "?" + query.as_query(format=kind)) for kind in FILES],
        "all_url": "?" + query.as_query(tenant=None, team=None, key=None, groupBy="tenant"),
        "page_url": "?" + query.as_query() + "&page=",
        "before_url": "?" + _over(query, before),
        "after_url": "?" + _over(query, after),
    }
    return render(request, "admin/usage_report.html", context)


def _file(
    request: HttpRequest, kind: str, query: ReportQuery, tenant: Tenant | None
) -> StreamingHttpResponse:
    content_type, chunks_of = FILES[kind]
    chunks = chunks_of(query, tenant)
    response = StreamingHttpResponse(
        awaited(chunks) if isinstance(request, ASGIRequest) else chunks, content_type=content_type
    )
    response["Content-Disposition"] = f'attachment; filename="{_name(query, kind)}"'
    return response


async def awaited(chunks: Iterator[Any]) -> AsyncIterator[Any]:
    """The same pieces for an async server, which would gather a plain iterator first."""

    def piece() -> Any:
        return next(chunks, None)

    while (chunk := await sync_to_async(piece)()) is not None:
        yield chunk


def _name(query: ReportQuery, kind: str) -> str:
    ending = "focus.csv" if kind == "focus" else kind
    span = query.span
    month = span == Span.month(span.first)
    days = f"{span.first:%Y-%m}" if month else f"{span.first}-to-{span.last}"
    return "-".join(["usage", days, *([query.tenant] if query.tenant else [])]) + f".{ending}"


def _spans_beside(span: Span) -> tuple[Span, Span]:
    if span == Span.month(span.first):
        return span.before, Span.month(next_month(span.first))
    days = timedelta(days=span.days)
    return span.before, Span(span.first + days, span.last + days)


def _over(query: ReportQuery, span: Span) -> str:
    return replace(query, span=span).as_query()
