"""Rows for tests: each function makes one, saved, with what a test does not name filled in."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from tenants_app import keys
from tenants_app.keys import IssuedKey
from tenants_app.models import Budget, BudgetRaise, Model, Route, Team, Tenant, Upstream
from usage_app.models import Price

_numbers = count(1)


def make_tenant(slug: str = "acme", **fields: Any) -> Tenant:
    """A tenant; `acme` and `globex` are the two of every test."""
    return Tenant.objects.create(slug=slug, **{"name": slug.capitalize(), **fields})


def make_team(tenant: Tenant, slug: str = "research", **fields: Any) -> Team:
    """A team of the tenant; `make_key(team=)` issues a key into it."""
    return Team.objects.create(tenant=tenant, slug=slug, **{"name": slug.capitalize(), **fields})


def make_key(tenant: Tenant, name: str = "key", **fields: Any) -> IssuedKey:
    """A key and its secret: `.key` is the row, `.secret` what a client sends. `team=` is its
    team.
    """
    return keys.issue(fields.pop("team", None) or tenant, name=name, **fields)


def make_upstream(name: str = "", **fields: Any) -> Upstream:
    """A shared demo upstream; with `tenant=` the tenant's own, with `token=` a sealed token."""
    token = fields.pop("token", "")
    upstream = Upstream(name=name or f"upstream-{next(_numbers)}", **{"kind": "demo", **fields})
    upstream.seal_token(token)
    upstream.save()
    return upstream


def make_model(public_id: str = "demo-echo", **fields: Any) -> Model:
    """A model without routes."""
    return Model.objects.create(public_id=public_id, **fields)


def make_route(model: Model, upstream: Upstream | None = None, **fields: Any) -> Route:
    """A shared route, to a new demo upstream unless one is given."""
    return Route.objects.create(model=model, upstream=upstream or make_upstream(), **fields)


def make_budget(tenant: Tenant, metric: str, period: str, limit: Any, **fields: Any) -> Budget:
    """A limit on the tenant, or with `team=` or `api_key=` on one of its teams or keys."""
    return Budget.objects.create(tenant=tenant, metric=metric, period=period, limit=limit, **fields)


def make_raise(budget: Budget, **fields: Any) -> BudgetRaise:
    """More of a budget: 500, since a minute ago and for the next hour, unless told."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "tenant": budget.tenant, "extra": 500, "reason": "A launch", "created_by": "ann",
        "starts_at": now - timedelta(minutes=1), "ends_at": now + timedelta(hours=1),
    }  # fmt: skip
    return BudgetRaise.objects.create(budget=budget, **values | fields)


def make_price(model: Model, **fields: str) -> Price:
    """What a million of the model's tokens cost since the beginning of 2026, as decimal text."""
    amounts = {name: Decimal(value) for name, value in fields.items()}
    return Price.objects.create(model=model, valid_from=datetime(2026, 1, 1, tzinfo=UTC), **amounts)
