"""Refusals of the books.

TollgateError
├── RateLimited            429  rate_limited       minute and concurrent budgets
├── BudgetExceeded         429  budget_exceeded    day and month budgets
├── ModelUnpriced          403  model_unpriced
└── ConfigurationChanged   503  (never told: the caller begins again)
"""

from typing import Any

from tenants_app.errors import TollgateError
from usage_app.admission import Refusal
from usage_app.amounts import amount, instant


class RateLimited(TollgateError):
    """Too many requests or tokens at once; try again shortly."""

    status_code = 429
    default_code = "rate_limited"


class BudgetExceeded(TollgateError):
    """This budget has no room for the request."""

    status_code = 429
    default_code = "budget_exceeded"


class ModelUnpriced(TollgateError):
    """This model has no price, and a money budget applies."""

    status_code = 403
    default_code = "model_unpriced"


class ConfigurationChanged(TollgateError):
    """The configuration changed while the request was under way."""

    status_code = 503
    default_code = "service_unavailable"


def refused(refusal: Refusal) -> TollgateError:
    """The error that tells a client which budget refused it, why, and whether waiting helps."""
    check = refusal.check
    details: dict[str, Any] = {
        "reason": refusal.reason,
        "scope": check.scope,
        "metric": check.metric,
        "period": getattr(check.counter, "period", "minute"),
        "limit": amount(check.metric, check.limit),
        "used": amount(check.metric, refusal.used),
        "held": amount(check.metric, refusal.held),
    }
    if refusal.resets_at is not None:
        details["resetsAt"] = instant(refusal.resets_at)
    briefly = refusal.reason == "in_flight" or (refusal.by_rate and refusal.reason == "exhausted")
    headers = {"x-should-retry": "true" if briefly else "false"}
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    kind = RateLimited if refusal.by_rate else BudgetExceeded
    return kind(_sentence(details), details=details, headers=headers)


def _sentence(details: dict[str, Any]) -> str:
    budget = f"The {details['scope']}'s budget of {details['limit']} {details['metric']}"
    period = details["period"]
    per = "at once" if period == "concurrent" else f"per {period}"
    reason = {
        "exhausted": "has too little left for this request",
        "too_large": "is smaller than this request",
        "in_flight": "is held by requests under way",
    }[details["reason"]]
    return f"{budget} {per} {reason}."
