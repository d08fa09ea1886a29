"""Rows of the books for tests: entries, holds, processes and windows, written directly."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from tenants_app.models import Tenant
from usage_app.models import (
    GatewayProcess,
    LedgerEntry,
    Reservation,
    Statement,
    StatementDay,
    StatementLine,
    UsageWindow,
)
from usage_app.periods import day_period, local_day, month_period


def make_entry(tenant: Tenant, **fields: Any) -> LedgerEntry:
    """An entry of kind usage, 10 tokens in and 5 out, admitted and settled now, unless told."""
    created_at = fields.setdefault("created_at", datetime.now(UTC))
    tokens_in, tokens_out = (
        fields.setdefault("input_tokens", 10),
        fields.setdefault("output_tokens", 5),
    )
    given = {
        "id": uuid4(),
        "kind": "usage",
        "local_day": local_day(created_at, tenant.timezone),
        "trace_id": "trace",
        "model": "demo-echo",
        "model_reason": "tenant",
        "upstream": "demo",
        "stream": False,
        "held_tokens": 100,
        "attempts": [{"upstream": "demo"}],
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "total_tokens": tokens_in + tokens_out,
        "overrun_tokens": 0,
        "cost": None,
        "usage_source": "provider",
        "outcome": "ok",
        "latency_ms": 120,
        "settled_at": datetime.now(UTC),
        **fields,
    }
    return LedgerEntry.objects.create(tenant=tenant, **given)


def make_correction(entry: LedgerEntry, **fields: Any) -> LedgerEntry:
    """A correction of another entry, in the same tenant, key, model and day unless told."""
    given = {
        "kind": "correction",
        "corrects": entry.id,
        "reason": "wrong price",
        "author": "finance",
        "api_key": entry.api_key,
        "model": entry.model,
        "created_at": entry.created_at,
        "attempts": [],
        **fields,
    }
    return make_entry(entry.tenant, **given)


def make_credit(tenant: Tenant, **fields: Any) -> LedgerEntry:
    """Money alone: a credit of 1 in the tenant's favour, unless told."""
    nothing = {"input_tokens": 0, "output_tokens": 0, "held_tokens": 0, "cost": 0, "attempts": []}
    given = {"kind": "credit", "reason": "goodwill", "author": "finance", "model": ""}
    return make_entry(tenant, **{**nothing, **given, "credit": Decimal(-1), **fields})


def make_process(*, silent_for: timedelta = timedelta(0)) -> GatewayProcess:
    """A web process whose heart beat last `silent_for` ago."""
    beat = datetime.now(UTC) - silent_for
    return GatewayProcess.objects.create(
        id=uuid4(), host="test", pid=1, started_at=beat, heartbeat_at=beat
    )


def make_window(tenant: Tenant, period: str = "day", **fields: Any) -> UsageWindow:
    """Today's or this month's window of the tenant, or of one of its keys."""
    today = local_day(datetime.now(UTC), tenant.timezone)
    span = (day_period if period != "month" else month_period)(today, tenant.timezone)
    given = {"starts_at": span.starts_at, "ends_at": span.ends_at, **fields}
    return UsageWindow.objects.create(tenant=tenant, period=period, **given)


def make_hold(tenant: Tenant, windows: list[UsageWindow], **fields: Any) -> Reservation:
    """A hold of 40 tokens in and 60 out, counted in its windows as an admission would have."""
    created_at = fields.setdefault("created_at", datetime.now(UTC))
    given = {
        "id": uuid4(),
        "local_day": local_day(created_at, tenant.timezone),
        "trace_id": "trace",
        "model": "demo-echo",
        "model_reason": "tenant",
        "upstream": "demo",
        "stream": True,
        "held_tokens": 100,
        "window_ids": [window.id for window in windows],
        "bucket_ids": [],
        "held_input_tokens": 40,
        "held_cost": 0,
        "estimated_input_tokens": 12,
        **fields,
    }
    hold = Reservation.objects.create(tenant=tenant, **given)
    for window in windows:
        window.held_requests += 1
        window.held_tokens += hold.held_tokens
        window.held_cost += hold.held_cost
        window.save()
    return hold


def make_statement(tenant: Tenant, month: date, **fields: Any) -> Statement:
    """A closed month of the tenant with one line of nothing, after those it has."""
    last = Statement.objects.for_tenant(tenant).order_by("-month").first()
    given = {
        "tenant_slug": tenant.slug,
        "tenant_name": tenant.name,
        "timezone": tenant.timezone,
        "currency": "USD",
        "minor_unit": 2,
        "line_count": 1,
        "day_count": 1,
        "closed_at": datetime.now(UTC),
        "closed_by": "finance",
        "previous": last.checksum if last else "",
        "checksum": uuid4().hex * 2,
        **dict.fromkeys(("entries", "cost", "credit", "price", "total"), 0),
        **fields,
    }
    statement = Statement.objects.create(tenant=tenant, month=month, **given)
    make_statement_line(statement)
    StatementDay.objects.create(
        statement=statement, day=month, entries=0, percent=0, cost=0, credit=0, digest="0" * 64
    )
    return statement


def make_statement_line(statement: Statement, position: int = 1) -> StatementLine:
    """A line of nothing."""
    counts = dict.fromkeys(
        ("requests", "input_tokens", "cached_tokens", "output_tokens", "total_tokens"), 0
    )
    unknown = dict.fromkeys(("estimated_tokens", "unpriced_requests", "unpriced_tokens"), 0)
    money = dict.fromkeys(("cost", "credit", "price", "amount"), 0)
    return StatementLine.objects.create(
        statement=statement, position=position, model="demo-echo", **counts, **unknown, **money
    )


def charge(tenant: Tenant, **fields: Any) -> LedgerEntry:
    """An entry together with what its settlement moved: the windows of its tenant, team and key."""
    entry = make_entry(tenant, **fields)
    admitted = LedgerEntry.objects.get(id=entry.corrects) if entry.corrects else entry
    team_id = entry.api_key.team_id if entry.api_key else None
    for team, key_id in {(None, None), (team_id, None), (None, entry.api_key_id)}:
        for span in (day_period, month_period):
            period = span(admitted.local_day, tenant.timezone)
            window, _ = UsageWindow.objects.get_or_create(
                tenant=tenant, team_id=team, api_key_id=key_id, period=period.kind,
                starts_at=period.starts_at, defaults={"ends_at": period.ends_at},
            )  # fmt: skip
            window.requests += entry.kind == "usage"
            window.tokens += entry.total_tokens
            window.cost += entry.cost or 0
            window.save()
    return entry
