"""Frozen configuration for tests without a database: what the directory would have read."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from tenants_app.snapshots import (
    Caller,
    ModelSnapshot,
    RouteSnapshot,
    TenantSnapshot,
    UpstreamSnapshot,
)


def upstream(name: str = "main", **fields: Any) -> UpstreamSnapshot:
    """A demo upstream; `fields` are UpstreamSnapshot's."""
    patience = {
        "connect_timeout_ms": 2_000,
        "first_byte_timeout_ms": 5_000,
        "idle_timeout_ms": 5_000,
        "total_timeout_ms": 10_000,
    }
    return UpstreamSnapshot(
        **{"id": 1, "uuid": UUID(int=1), "name": name, "kind": "demo", **patience, **fields}
    )


def route(upstream_model: str, via: UpstreamSnapshot | None = None) -> RouteSnapshot:
    return RouteSnapshot(upstream=via or upstream(), upstream_model=upstream_model)


def model(
    public_id: str, *, routes: Iterable[RouteSnapshot] | None = None, ratio: str = "1"
) -> ModelSnapshot:
    return ModelSnapshot(
        id=1,
        public_id=public_id,
        hold_bytes_per_token=Decimal(ratio),
        routes=tuple([route(public_id)] if routes is None else routes),
    )


def caller(
    *models: ModelSnapshot,
    default: str | None = None,
    fallbacks: Iterable[str] = (),
    allowed: Iterable[str] | None = None,
    default_upstream: UpstreamSnapshot | None = None,
) -> Caller:
    """A caller of the tenant acme with these models and nothing else of note."""
    tenant = TenantSnapshot(
        id=1,
        slug="acme",
        default_model=default,
        fallback_models=tuple(fallbacks),
        allowed_models=None if allowed is None else frozenset(allowed),
        models={model.public_id: model for model in models},
        default_upstream=default_upstream,
    )
    return Caller(tenant)
