"""A tenant with a budget, its window and addresses for alerts, for the tests of these."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from tenants_app.models import AlertTargets, Budget, Tenant
from tests.factories import make_budget, make_tenant
from usage_app.alerts import delivery, watch
from usage_app.models import Alert, AlertDelivery, UsageWindow

SECRET = "whsec_dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk="


def make_window(tenant: Tenant, tokens: int = 0, **fields: Any) -> UsageWindow:
    """The tenant's day, begun an hour ago."""
    starts_at = fields.pop("starts_at", timezone.now() - timedelta(hours=1))
    values = {
        "period": "day", "starts_at": starts_at, "ends_at": starts_at + timedelta(days=1),
    } | fields  # fmt: skip
    return UsageWindow.objects.create(tenant=tenant, tokens=tokens, **values)


def make_watched(slug: str = "acme", tokens: int = 0, **targets: Any) -> tuple[Budget, UsageWindow]:
    """A budget of 1000 tokens per day, of which so many are used, and its tenant's addresses."""
    tenant = make_tenant(slug, timezone="Europe/Vienna")
    if targets:
        row = AlertTargets(tenant=tenant, **targets)
        row.seal_secret(SECRET)
        row.save()
    return make_budget(tenant, "tokens", "day", Decimal(1000)), make_window(tenant, tokens)


def use(window: UsageWindow, tokens: int) -> None:
    """From now on so many are used."""
    UsageWindow.objects.filter(pk=window.pk).update(tokens=tokens)


def told() -> list[tuple[str, int, int]]:
    """Every alert: whose, at how much, and with which it was told."""
    rows = Alert.objects.order_by("tenant__slug", "starts_at", "percent")
    return list(rows.values_list("tenant__slug", "percent", "told_percent"))


def run() -> None:
    """What the tasks do in a minute, without waiting for the next attempt of what failed."""
    watch.note_crossed()
    hurry()
    for pk in delivery.due():
        delivery.deliver(pk)


def hurry() -> None:
    """As if the time of every next attempt had come."""
    AlertDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
