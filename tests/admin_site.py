"""What the tests of the admin share: a world with a row in every table, and a look at its pages."""

import re
import uuid
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model as DjangoModel
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat_app.models import ChatMessage, OpenCircuit
from gateway_project.login.models import LoginThrottle
from tenants_app import keys
from tenants_app.models import AlertTargets, ApiKeyUse, Tenant, TenantFallback, TenantHost, Upstream
from tests.factories import (
    make_budget,
    make_model,
    make_raise,
    make_route,
    make_team,
    make_tenant,
    make_upstream,
)
from tests.usage_app.entries import make_statement
from usage_app.bills import provider_bills
from usage_app.bills.files import Layout
from usage_app.bills.provider_bills import Upload
from usage_app.figures import Span
from usage_app.models import (
    Alert,
    AlertDelivery,
    DailyUsage,
    Drift,
    GatewayProcess,
    HourlyUsage,
    LedgerEntry,
    Margin,
    MonthlyUsage,
    Price,
    ProviderBill,
    RateBucket,
    Reconciliation,
    RefusalCount,
    Reservation,
    UsageWindow,
)
from usage_app.reports import staff_tokens

SIGNING_SECRET = "whsec_" + "bm9ib2R5LW1heS1zZWUtdGhpcy1zZWNyZXQtZXZlcg=="
TOKEN = "sk-provider-token-nobody-may-see"


def make_staff(*permissions: str, superuser: bool = False) -> User:
    """A member of staff with these permissions, given as `tenants_app.view_tenant`."""
    name = f"staff-{uuid.uuid4().hex[:8]}"
    user = User.objects.create_user(name, password="x", is_staff=True, is_superuser=superuser)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return user


def logged_in(*permissions: str, superuser: bool = False) -> Client:
    """A browser of such a member of staff."""
    client = Client()
    client.force_login(make_staff(*permissions, superuser=superuser))
    return client


def make_world(slug: str = "acme") -> Tenant:
    """A tenant with a row in every table that has a page; call it again for more rows."""
    model = make_model(f"{slug}-model")
    upstream = make_upstream(f"{slug}-upstream", token=TOKEN, kind="demo")
    own = make_upstream(f"{slug}-own", kind="demo")
    make_route(model, upstream)
    tenant = make_tenant(slug, default_model=model, default_upstream=own)
    tenant.allowed_models.add(model)
    TenantFallback.objects.create(tenant=tenant, model=model, position=1)
    TenantHost.objects.create(tenant=tenant, host=f"{slug}.example")
    team = make_team(tenant, "research")
    make_budget(tenant, "tokens", "month", 5000, team=team)
    key = keys.issue(team, name="app").key
    ApiKeyUse.objects.create(key=key, last_used_at=timezone.now())
    make_raise(make_budget(tenant, "tokens", "day", 1000), reason=f"a launch of {slug}")
    make_budget(tenant, "requests", "minute", 60, api_key=key, burst=5)
    price = Price.objects.create(
        model=model, valid_from=timezone.now() - timedelta(days=1), input="0.25", output="1.5"
    )
    Margin.objects.create(tenant=tenant, valid_from=timezone.now().date(), percent="12.5")
    make_statement(tenant, date(2025, 1, 1))
    make_alert(tenant)
    entry = make_books(tenant, key, price)
    make_bill(upstream, entry)
    OpenCircuit.objects.create(
        process_id=GatewayProcess.objects.values_list("id", flat=True).latest("started_at"),
        upstream=upstream, failures=10, outcome="timeout",
        opened_at=entry.created_at, retry_at=entry.created_at + timedelta(seconds=5),
    )  # fmt: skip
    Group.objects.create(name=f"group-{slug}")
    LoginThrottle.objects.create(
        kind="account", subject=slug, full_again_at=timezone.now() + timedelta(hours=1)
    )
    ChatMessage.objects.create(
        tenant=tenant,
        session_id=uuid.uuid4(),
        turn_id=uuid.uuid4(),
        role="user",
        content="a private sentence",
    )
    return tenant


def make_day(**scope: Any) -> None:
    """A window of a team or a key that nothing was counted in."""
    now = timezone.now()
    UsageWindow.objects.create(
        **scope, period="day", starts_at=now, ends_at=now + timedelta(days=1)
    )


def make_alert(tenant: Tenant) -> Alert:
    """Where alerts go, and one that was crossed and is being told."""
    targets = AlertTargets(tenant=tenant, emails=[f"ops@{tenant.slug}.example"])
    targets.seal_secret(SIGNING_SECRET)
    targets.save()
    now = timezone.now()
    alert = Alert.objects.create(
        tenant=tenant, budget=tenant.budgets.first(), metric="tokens", period="day", percent=80,
        told_percent=80, used=812, limit=1000, starts_at=now, ends_at=now + timedelta(days=1),
    )  # fmt: skip
    AlertDelivery.objects.create(alert=alert, channel="email", target=targets.emails[0])
    return alert


def make_books(tenant: Tenant, key: Any, price: Price | None = None) -> LedgerEntry:
    """Windows, a hold, an entry, roll-ups and a refusal."""
    now = timezone.now()
    scope = {"tenant": tenant, "api_key": key}
    UsageWindow.objects.create(
        tenant=tenant, period="day", starts_at=now - timedelta(hours=1),
        ends_at=now + timedelta(hours=23), requests=1, tokens=30, cost=Decimal("0.0001"),
    )  # fmt: skip
    scopes = [scope, {"tenant": tenant, "team": key.team}] if key and key.team else [scope]
    for one in scopes:
        make_day(**one)
    RateBucket.objects.create(**scope, metric="requests", level_micro=1_500_000, refilled_at=now)
    process = GatewayProcess.objects.create(
        id=uuid.uuid4(), host="web", pid=7, started_at=now, heartbeat_at=now
    )
    charge: dict[str, Any] = {
        **scope, "created_at": now, "local_day": now.date(), "trace_id": f"trace-{tenant.slug}",
        "model": "demo-echo", "model_reason": "tenant", "upstream": "demo", "price": price,
        "stream": True, "held_tokens": 50,
    }  # fmt: skip
    Reservation.objects.create(
        **charge, id=uuid.uuid4(), process_id=process.id, window_ids=[], bucket_ids=[],
        held_input_tokens=10, held_cost=0, estimated_input_tokens=5,
    )  # fmt: skip
    entry = LedgerEntry.objects.create(
        **charge, id=uuid.uuid4(), kind="usage", input_tokens=10, cached_tokens=0,
        cache_write_tokens=0, output_tokens=20, reasoning_tokens=0, total_tokens=30,
        overrun_tokens=0, cost=Decimal("0.0001"), usage_source="provider", outcome="ok",
        latency_ms=12, attempts=[{"upstream": "demo", "outcome": "ok"}],
    )  # fmt: skip
    RefusalCount.objects.create(**scope, hour=now, code="rate_limited", refusals=3)
    sums = {
        field.name: 0
        for field in DailyUsage._meta.fields
        if field.get_internal_type() == "BigIntegerField"
    }
    rollup = {**sums, **scope, "model": "demo-echo", "cost": Decimal("0.5"),
              "latency_histogram": [0], "ttft_histogram": [0]}  # fmt: skip
    HourlyUsage.objects.create(**rollup, hour=now)
    DailyUsage.objects.create(**rollup, day=now.date())
    MonthlyUsage.objects.create(**rollup, month=now.date().replace(day=1))
    owner = User.objects.get_or_create(username="finance", is_staff=True)[0]
    staff_tokens.issue(owner, name=f"tool of {tenant.slug}")
    run = Reconciliation.objects.create(author="task", tenants=1, drifts=1, finished_at=now)
    Drift.objects.create(
        **scope, reconciliation=run, day=now.date(), book="days", period="today",
        figure="requests", expected=1, found=2,
    )  # fmt: skip
    return entry


def make_bill(upstream: Upstream, entry: LedgerEntry) -> ProviderBill:
    """A bill of one line, that nothing here explains."""
    day = entry.created_at.date()
    text = f"day,model,reference,tokens\n{day},{upstream.name},unknown,7"
    layout = Layout(day="day", model="model", reference="reference", input_tokens="tokens")
    span = Span(day, day)
    upload = Upload(f"{upstream.name}.csv", text.encode(), layout, span, [upstream], "finance")
    return provider_bills.record(upload, provider_bills.read(upload).lines)


def url_of(model: type[DjangoModel], page: str, *args: Any) -> str:
    """The address of a model's page in the admin."""
    opts = model._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{page}", args=args)


def registered() -> list[type[DjangoModel]]:
    """Every model that has pages."""
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


def text_of(response: Any) -> str:
    """The page."""
    return str(response.content.decode())


def form_of(response: Any) -> dict[str, Any]:
    """What a browser would send back of an admin form as it was rendered."""
    data: dict[str, Any] = {}
    context = response.context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for bound in form:
            value = bound.value()
            if value is None or value is False or value in ("", []):
                continue
            data |= _sent(bound, value)
    return data


def _sent(bound: Any, value: Any) -> dict[str, Any]:
    if hasattr(bound.field.widget, "decompress"):
        parts = bound.field.widget.decompress(value)
        return {f"{bound.html_name}_{at}": str(part) for at, part in enumerate(parts) if part}
    if isinstance(value, list):
        return {bound.html_name: [getattr(item, "pk", item) for item in value]}
    return {bound.html_name: "on" if value is True else value}


def external_urls(page: str) -> list[str]:
    """What a page would load from, link to, or post to another machine."""
    pattern = r"""(?:src|href|action|srcset|hx-get)=["']?\s*((?:https?:)?//[^\s"'>]+)"""
    return re.findall(pattern, page) + re.findall(r"url\(['\"]?((?:https?:)?//[^)]+)", page)
