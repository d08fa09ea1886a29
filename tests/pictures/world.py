"""What the pictures of the docs show: two tenants with everything a busy gateway has after some
weeks, its names and figures invented.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pghistory
from django.contrib.auth.models import Group, User
from django.utils import timezone

from chat_app.models import OpenCircuit, UpstreamMinute
from tenants_app import keys
from tenants_app.keys import IssuedKey
from tenants_app.models import (
    AlertTargets,
    ApiKey,
    Model,
    Team,
    Tenant,
    TenantFallback,
    TenantHost,
    Upstream,
)
from tests.factories import (
    make_budget,
    make_model,
    make_raise,
    make_route,
    make_team,
    make_tenant,
    make_upstream,
)
from tests.pictures import books
from usage_app import corrections, reconciliation
from usage_app.alerts import watch
from usage_app.bills import provider_bills
from usage_app.bills.files import Layout
from usage_app.corrections import Why
from usage_app.figures import Span
from usage_app.models import (
    AlertDelivery,
    GatewayProcess,
    LedgerEntry,
    Margin,
    Price,
    RefusalCount,
)
from usage_app.statements import closing

MODELS = {
    "gpt-5-mini": ("GPT-5 mini", "0.25", "0.025", "2"),
    "llama-3.3-70b": ("Llama 3.3 70B, fast", "0.29", None, "2.25"),
    "gemma-3-12b": ("Gemma 3 12B", "0.35", None, "0.56"),
    "demo-echo": ("Echo, for trying things out", "0.5", None, "1.5"),
}
ACME_KEYS = {"Support bot": "support", "Search": "shop", "Nightly summaries": None}
ACME_TEAMS = {"shop": ("The web shop", 180_000), "support": ("Customer support", 400_000)}


@dataclass(frozen=True, slots=True)
class World:
    """The rows that pages are opened by."""

    ann: User
    acme: Tenant
    globex: Tenant
    key: IssuedKey
    upstream: Upstream
    entry: LedgerEntry


def make() -> World:
    """Fill an empty database."""
    ann = User.objects.create_superuser("ann", password="pictures", first_name="Ann")
    bob = User.objects.create_user("bob", password="pictures", is_staff=True, first_name="Bob")
    bob.groups.add(Group.objects.get(name="Finance"))
    with pghistory.context(user=ann.pk):
        upstream = make_catalogue()
        acme, key = make_acme()
        globex = make_globex()
    fill_books(acme, globex, upstream)
    make_engine(upstream, acme, globex)
    make_finance(acme, globex, upstream)
    make_alerts(globex)
    entry = LedgerEntry.objects.filter(tenant=acme, outcome="ok").latest("created_at")
    return World(ann, acme, globex, key, upstream, entry)


def make_catalogue() -> Upstream:
    """Upstreams that are never called, the demo one that is, models with prices and routes."""
    gateway = make_upstream(
        "edge-gateway", kind="openai", base_url="https://gateway.example/v1", token="sk-picture"
    )
    spare = make_upstream("spare-gpus", kind="openai", base_url="https://gpus.example/v1")
    demo = make_upstream("demo")
    for public_id, (name, price, cached, out) in MODELS.items():
        model = make_model(public_id, name=name)
        make_route(model, demo if public_id.startswith("demo") else gateway)
        amounts = {"input": price, "output": out} | ({"cached_input": cached} if cached else {})
        Price.objects.create(
            model=model,
            valid_from=timezone.now() - timedelta(days=120),
            **{name: Decimal(amount) for name, amount in amounts.items()},
        )
    make_route(Model.objects.get(public_id="llama-3.3-70b"), spare, priority=200)
    return gateway


def make_acme() -> tuple[Tenant, IssuedKey]:
    """A tenant with everything."""
    demo = Model.objects.get(public_id="demo-echo")
    acme = make_tenant(
        "acme", name="Acme Outfitters", default_model=demo, cost_center="retail",
        timezone=books.zone(),
    )  # fmt: skip
    TenantFallback.objects.create(tenant=acme, model=Model.objects.get(public_id="gemma-3-12b"))
    TenantHost.objects.create(tenant=acme, host="ai.acme.example")
    teams = {slug: make_acmes_team(acme, slug) for slug in ACME_TEAMS}
    issued = [
        keys.issue(teams[team] if team else acme, name=name) for name, team in ACME_KEYS.items()
    ]
    keys.revoke(keys.issue(acme, name="Prototype").key)
    make_raise(
        make_budget(acme, "tokens", "day", 500_000),
        extra=100_000,
        reason="A week of sales, agreed with Dora",
        ends_at=timezone.now() + timedelta(days=3),
    )
    make_budget(acme, "tokens", "month", 9_000_000)
    make_budget(acme, "cost", "month", 25)
    make_budget(acme, "requests", "minute", 300, api_key=issued[0].key, burst=60)
    Margin.objects.create(tenant=acme, valid_from=books.first_day(), percent=Decimal("12.5"))
    acme.context_messages = 12
    acme.save()
    return acme, issued[0]


def make_acmes_team(acme: Tenant, slug: str) -> Team:
    """A team with a budget of its own."""
    name, tokens = ACME_TEAMS[slug]
    team = make_team(acme, slug, name=name)
    make_budget(acme, "tokens", "day", tokens, team=team)
    return team


def make_globex() -> Tenant:
    """A tenant that spends more than it may."""
    globex = make_tenant(
        "globex", name="Globex", cost_center="research", timezone=books.zone(),
        default_model=Model.objects.get(public_id="llama-3.3-70b"),
    )  # fmt: skip
    keys.issue(globex, name="Analysts")
    make_budget(globex, "tokens", "day", 100_000)
    return globex


def fill_books(acme: Tenant, globex: Tenant, upstream: Upstream) -> None:
    """Requests of both, and what moved with them."""
    books.make_ahead()
    names = [name for name in MODELS if not name.startswith("demo")]
    live = [key for key in ApiKey.objects.for_tenant(acme).order_by("pk") if key.revoked_at is None]
    books.fill(acme, live, names, upstream=upstream.name, most=420)
    books.fill(
        globex, list(ApiKey.objects.for_tenant(globex)), names[1:], upstream=upstream.name, most=160
    )
    books.add_up()


def make_engine(upstream: Upstream, acme: Tenant, globex: Tenant) -> None:
    """Refusals, calls of the last hour, and an upstream that is left alone."""
    now = timezone.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    key = ApiKey.objects.for_tenant(globex).get()
    for back, refusals in enumerate((41, 63, 12)):
        RefusalCount.objects.create(
            tenant=globex, api_key=key, hour=hour - timedelta(hours=back),
            code="budget_exceeded", refusals=refusals,
        )  # fmt: skip
    RefusalCount.objects.create(
        tenant=acme,
        api_key=ApiKey.objects.for_tenant(acme).earliest("pk"),
        hour=hour,
        code="rate_limited",
        refusals=7,
    )
    for minute in range(60):
        at = now.replace(second=0, microsecond=0) - timedelta(minutes=minute)
        calls = 3 + (minute * 7) % 5
        UpstreamMinute.objects.create(
            upstream=upstream,
            minute=at,
            outcome="ok",
            calls=calls,
            latency_ms=calls * 840,
            status=200,
        )
        if minute % 17 == 3:
            UpstreamMinute.objects.create(
                upstream=upstream, minute=at, outcome="rate_limited", calls=2, latency_ms=90,
                status=429, message="Rate limit reached for requests; try again in 2 s.",
            )  # fmt: skip
    process = GatewayProcess.objects.create(
        id=uuid.uuid4(), host="web-1", pid=41, started_at=now - timedelta(days=3), heartbeat_at=now
    )
    spare = Upstream.objects.get(name="spare-gpus")
    UpstreamMinute.objects.create(
        upstream=spare, minute=now.replace(second=0, microsecond=0), outcome="unreachable",
        calls=10, latency_ms=20_000, message="Connection refused.",
    )  # fmt: skip
    OpenCircuit.objects.create(
        process_id=process.id, upstream=spare, failures=10, outcome="unreachable",
        opened_at=now, retry_at=now + timedelta(minutes=30),
    )  # fmt: skip


def make_alerts(globex: Tenant) -> None:
    """What was crossed of the budgets, told to one of the two."""
    AlertTargets.objects.create(tenant=globex, emails=["ops@globex.example"])
    watch.note_crossed()
    AlertDelivery.objects.update(state="sent", attempts=1, sent_at=timezone.now())


def make_finance(acme: Tenant, globex: Tenant, upstream: Upstream) -> None:
    """A bill, a reconciliation, a credit, and a month that is closed for one of the two."""
    month = Span.month(books.first_day())
    reconciliation.run(author="task")
    provider_bills.record(*bill(upstream, month))
    closing.close(globex, month.first, by="ann")
    why = Why(reason="Goodwill for the outage of the 3rd", author="bob")
    corrections.credit(acme, Decimal("-0.35"), why)


def bill(upstream: Upstream, span: Span) -> Any:
    """What the provider says of a month: what the books say, but for two days."""
    lines = ["day,model,input,output,amount"]
    sums: dict[tuple[Any, str], list[Any]] = {}
    for entry in LedgerEntry.objects.filter(
        created_at__date__gte=span.first, created_at__date__lte=span.last
    ):
        told = sums.setdefault((entry.created_at.date(), entry.model), [0, 0, Decimal(0)])
        told[0] += entry.input_tokens
        told[1] += entry.output_tokens
        told[2] += entry.cost or 0
    for number, ((day, model), (tokens_in, tokens_out, amount)) in enumerate(sorted(sums.items())):
        more = Decimal("0.0125") if number in (5, 40) else Decimal(0)
        lines.append(f"{day},{model},{tokens_in},{tokens_out},{amount + more}")
    layout = Layout(
        day="day", model="model", input_tokens="input", output_tokens="output", amount="amount"
    )
    content = "\n".join(lines).encode()
    upload = provider_bills.Upload("gateway-usage.csv", content, layout, span, [upstream], "bob")
    return upload, provider_bills.read(upload).lines
