"""The admin's usage page: a month of all tenants, or of one by model and key; also as CSV."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from tenants_app.models import Tenant
from usage_app import usage_report as report
from usage_app.figures import Span
from usage_app.periods import next_month
from usage_app.usage_query import month_of


class UsageForm(forms.Form):
    """Which month, and whose."""

    month = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "month", "placeholder": "2026-03"}),
    )
    tenant = forms.ModelChoiceField(
        Tenant.objects.all(),
        to_field_name="slug",
        required=False,
        empty_label="All tenants",
        widget=UnfoldAdminSelectWidget,
    )

    def clean_month(self) -> date:
        """The month's first day; without one, the current month's."""
        text = self.cleaned_data["month"]
        month = month_of(text) if text else datetime.now(UTC).date().replace(day=1)
        if month is None:
            raise forms.ValidationError("This must be a month, as in 2026-03.")
        return month


@admin.site.admin_view
def usage_report(request: HttpRequest) -> HttpResponseBase:
    """The page, or with `?format=csv` the file. For staff who may view the ledger."""
    if not request.user.has_perm("usage_app.view_ledgerentry"):
        raise PermissionDenied
    # Postgres would raise at a NUL, where a form should say what is wrong.
    query = {name: str(text).replace("\0", "?") for name, text in request.GET.items()}
    form = UsageForm({"month": _this_month(), **query})
    if not form.is_valid():
        context = {**admin.site.each_context(request), "title": "Usage", "form": form}
        return render(request, "admin/usage_report.html", context, status=400)
    month, tenant = form.cleaned_data["month"], form.cleaned_data["tenant"]
    if request.GET.get("format") == "csv":
        return _csv(request, month, tenant)
    return _page(request, form, month, tenant)


def _page(
    request: HttpRequest, form: UsageForm, month: date, tenant: Tenant | None
) -> HttpResponse:
    span = Span.month(month)
    tables = [report.by_tenant(span)] if tenant is None else report.of_tenant(tenant, span)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Usage",
        "form": form,
        "month": month,
        "tenant": tenant,
        "tables": tables,
        "currency": settings.LEDGER_CURRENCY,
        "query": f"{month:%Y-%m}",
        "csv_url": "?" + _query(month, tenant, format="csv"),
        "before_url": "?" + _query(month - timedelta(days=1), tenant),
        "after_url": "?" + _query(next_month(month), tenant),
    }
    return render(request, "admin/usage_report.html", context)


def _csv(request: HttpRequest, month: date, tenant: Tenant | None) -> StreamingHttpResponse:
    chunks = report.csv_chunks(Span.month(month), tenant)
    response = StreamingHttpResponse(
        _awaited(chunks) if isinstance(request, ASGIRequest) else chunks,
        content_type="text/csv; charset=utf-8",
    )
    name = "-".join(["usage", f"{month:%Y-%m}", *([tenant.slug] if tenant else [])])
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


async def _awaited(chunks: Iterator[str]) -> AsyncIterator[str]:
    """The same pieces for an async server, which would gather a plain iterator first."""

    def piece() -> str | None:
        return next(chunks, None)

    while (chunk := await sync_to_async(piece)()) is not None:
        yield chunk


def _query(month: date, tenant: Tenant | None, **more: str) -> str:
    whose = {"tenant": tenant.slug} if tenant else {}
    return urlencode({"month": f"{month:%Y-%m}", **whose, **more})


def _this_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"
