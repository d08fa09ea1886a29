"""What an alert says, as a mail and as JSON. It sends nothing; an alert always says the same."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import orjson
from django.conf import settings

from usage_app.models import Alert

EVENT: Final = "budget.threshold_crossed"
WHEN: Final = "%Y-%m-%d %H:%M"


def subject(alert: Alert) -> str:
    """One line."""
    return (
        f"[Tollgate] {alert.tenant.slug}: {alert.percent} % of {amount(alert, alert.limit)}"
        f" per {alert.period} used"
    )


def text(alert: Alert) -> str:
    """The mail, in plain words."""
    zone = ZoneInfo(alert.tenant.timezone)
    begins, ends = alert.starts_at.astimezone(zone), alert.ends_at.astimezone(zone)
    noted = alert.created_at.astimezone(zone)
    name = " ".join(alert.tenant.name.split())
    return "\n".join(
        (
            f"{name} ({alert.tenant.slug}) has used {alert.percent} % of a budget.",
            "",
            f"  Budget     {amount(alert, alert.limit)} per {alert.period}, of {scope(alert)}",
            f"  Used       {amount(alert, alert.used)} ({share(alert)} %) at {noted:{WHEN}}",
            f"  Window     {begins:{WHEN}} to {ends:{WHEN}}, {alert.tenant.timezone}",
            f"  Resets at  {ends:{WHEN}} {alert.tenant.timezone} (UTC{_offset(ends)})",
            "",
            "It is used up: further requests are refused until it resets or is raised."
            if alert.percent >= 100
            else "Requests that do not fit into the rest are refused until it resets or is raised.",
            "This is told once per window.",
            "",
        )
    )


def payload(alert: Alert) -> bytes:
    """The webhook's body: https://www.standardwebhooks.com, with our names."""
    key = alert.api_key
    return orjson.dumps(
        {
            "type": EVENT,
            "timestamp": _utc(alert.created_at),
            "data": {
                "tenantId": alert.tenant.slug,
                "scope": "key" if key else "team" if alert.team else "tenant",
                "team": alert.team.slug if alert.team else None,
                "key": {"name": key.name, "prefix": key.prefix} if key else None,
                "metric": alert.metric,
                "period": alert.period,
                "percent": alert.percent,
                "used": _figure(alert, alert.used),
                "limit": _figure(alert, alert.limit),
                "currency": settings.LEDGER_CURRENCY if alert.metric == "cost" else None,
                "startsAt": _utc(alert.starts_at),
                "resetsAt": _utc(alert.ends_at),
                "timezone": alert.tenant.timezone,
            },
        }
    )


def scope(alert: Alert) -> str:
    """Whose budget it is."""
    if alert.team is not None:
        return f"the team {alert.team}"
    return f"the key {alert.api_key}" if alert.api_key else "the whole tenant"


def amount(alert: Alert, value: Decimal) -> str:
    """A figure with its unit."""
    unit = settings.LEDGER_CURRENCY if alert.metric == "cost" else alert.metric
    return f"{value.normalize():,f} {unit}"


def share(alert: Alert) -> str:
    """How much of the limit was used, in per cent and never rounded up."""
    tenths = alert.used * 1000 // alert.limit
    return f"{tenths / 10:.1f}"


def _figure(alert: Alert, value: Decimal) -> int | str:
    """Money as exact text, as the API has it."""
    return f"{value.normalize():f}" if alert.metric == "cost" else int(value)


def _offset(moment: datetime) -> str:
    digits = f"{moment:%z}"
    return f"{digits[:3]}:{digits[3:5]}"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
