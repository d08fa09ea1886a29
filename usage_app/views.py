"""`GET /usage` and `GET /budgets`: what a key's holder may know of the books."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from tenants_app.api import AsyncAPIView
from usage_app import own_usage, usage_query
from usage_app.amounts import amount, instant, money
from usage_app.figures import Figures, total
from usage_app.fills import Fill
from usage_app.periods import local_day


class UsageView(AsyncAPIView):
    """The caller's usage per day and model."""

    required_scope = "usage:read"

    async def get(self, request: HttpRequest) -> HttpResponse:
        tenant = self.caller.tenant
        query: Mapping[str, Sequence[str]] = dict(request.GET.lists())
        span = usage_query.parse(query, local_day(datetime.now(UTC), tenant.timezone))
        rows = await own_usage.usage(self.caller, span)
        return self.ok(
            {
                "tenantId": tenant.slug,
                "scope": "tenant" if self.caller.key is None else "key",
                "from": span.first,
                "to": span.last,
                "timezone": tenant.timezone,
                "currency": settings.LEDGER_CURRENCY,
                "totals": figures_json(total(figures for _, figures in rows)),
                "days": [
                    {"day": day, "modelId": model, **figures_json(figures)}
                    for (day, model), figures in rows
                ],
            }
        )


class BudgetsView(AsyncAPIView):
    """How full the budgets are that the caller's requests count against."""

    required_scope = "usage:read"

    async def get(self, request: HttpRequest) -> HttpResponse:
        fills = await own_usage.budgets(self.caller)
        return self.ok(
            {
                "tenantId": self.caller.tenant.slug,
                "timezone": self.caller.tenant.timezone,
                "currency": settings.LEDGER_CURRENCY,
                "budgets": [fill_json(fill) for fill in fills],
            }
        )


def figures_json(figures: Figures) -> dict[str, Any]:
    """Sums as clients see them; money is exact text, or null when no price was known."""
    cost = figures.known_cost
    return {
        "requests": figures.requests,
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
    }


def fill_json(fill: Fill) -> dict[str, Any]:
    """A budget as clients see it; money is exact text."""
    limit = fill.limit
    told: dict[str, Any] = {
        "scope": fill.scope,
        "metric": limit.metric,
        "period": limit.period,
        "limit": amount(limit.metric, fill.allowed),
        "used": amount(limit.metric, fill.used),
        "held": amount(limit.metric, fill.held),
        "remaining": amount(limit.metric, fill.remaining),
        "resetsAt": fill.resets_at and instant(fill.resets_at),
    }
    if limit.period == "minute":
        told["burst"] = limit.burst or limit.limit
    if limit.period in ("day", "month"):
        told["raises"] = [
            {"extra": amount(limit.metric, one.extra), "until": instant(one.ends_at)}
            for one in fill.raises
        ]
    return told
