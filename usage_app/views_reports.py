"""`GET /reports/usage`: the staff's usage report for finance's tools."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from tenants_app.api import AsyncAPIView
from tenants_app.errors import InvalidRequest
from usage_app.amounts import money
from usage_app.histograms import Between
from usage_app.models.tokens import REPORTS_READ
from usage_app.reports import query as report_query
from usage_app.reports import staff_reports, staff_tokens
from usage_app.reports.lines import Line
from usage_app.reports.query import ReportQuery

DEFAULT_LIMIT: Final = 200
MAX_LIMIT: Final = 1_000
MAX_PAGE: Final = 1_000_000
PAGING: Final = ("limit", "page")


class UsageReportView(AsyncAPIView):
    """What is on the usage page of the admin, for a staff token."""

    async def authenticate(self, request: HttpRequest) -> None:
        """A token of the staff, never a tenant's key."""
        self.asking = await staff_tokens.authenticate(request.META, scope=REPORTS_READ)
        structlog.contextvars.bind_contextvars(staffToken=self.asking.name)

    async def get(self, request: HttpRequest) -> HttpResponse:
        given: Mapping[str, Sequence[str]] = dict(request.GET.lists())
        limit = number_of(given, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)
        page = number_of(given, "page", default=1, most=MAX_PAGE)
        query = report_query.parse(given, datetime.now(UTC).date(), also=PAGING)
        query = replace(query, within=self.asking.tenants)
        report = await staff_reports.read(query, limit=limit, page=page)
        return self.ok(
            {
                "from": query.span.first,
                "to": query.span.last,
                "groupBy": query.group_by,
                "currency": settings.LEDGER_CURRENCY,
                "totals": figures_json(report.total),
                "lines": [line_json(query, line) for line in report.lines],
                "page": page,
                "pages": -(-report.count // limit),
            }
        )


def number_of(given: Mapping[str, Sequence[str]], name: str, *, default: int, most: int) -> int:
    """A whole number of the query from 1 to `most`. Raises InvalidRequest."""
    text = given[name][-1] if given.get(name) else str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise InvalidRequest.fields({name: f"This must be a whole number from 1 to {most}."})
    return int(text)


def line_json(query: ReportQuery, line: Line) -> dict[str, Any]:
    """A line with the names that the report is grouped by."""
    names: dict[str, Any] = {
        "day": line.day,
        "tenantId": line.tenant,
        "tenantName": line.tenant_name,
        "costCenter": line.cost_center,
        "teamId": line.team,
        "teamName": line.team_name,
        "keyId": line.key_id,
        "key": line.key,
        "modelId": line.model,
    }
    told = {name: value for name, value in names.items() if value is not None}
    return {**told, **figures_json(line)}


def figures_json(line: Line) -> dict[str, Any]:
    """A line's figures; money is exact text, or null when no price was known."""
    figures = line.figures
    cost, price = figures.known_cost, figures.known_price
    return {
        "requests": figures.requests,
        "attempts": figures.attempts,
        "refusals": line.refusals,
        "errors": figures.errors,
        "aborted": figures.aborted,
        "expired": figures.expired,
        "tokensIn": figures.input_tokens,
        "tokensCached": figures.cached_tokens,
        "tokensCacheWrite": figures.cache_write_tokens,
        "tokensOut": figures.output_tokens,
        "tokensReasoning": figures.reasoning_tokens,
        "totalTokens": figures.total_tokens,
        "estimatedTokens": figures.estimated_tokens,
        "unpricedTokens": figures.unpriced_tokens,
        "unpricedRequests": figures.unpriced_requests,
        "cost": None if cost is None else money(cost),
        "credit": money(figures.credit),
        "price": None if price is None else money(price),
        "latencyMs": {
            "p50": between_json(line.latency_at(50)),
            "p95": between_json(line.latency_at(95)),
        },
        "ttftMs": {"p50": between_json(line.ttft_at(50)), "p95": between_json(line.ttft_at(95))},
    }


def between_json(between: Between | None) -> dict[str, int | None] | None:
    """The bounds that a percentile lies between; null when there was nothing to count."""
    return None if between is None else {"from": between.from_ms, "below": between.below_ms}
