"""Frozen configuration for tests without a database: what tenants_app.directory would have read."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from tenants_app.snapshots import (
    Caller,
    ModelSnapshot,
    RouteSnapshot,
    TenantSnapshot,
    UpstreamSnapshot,
)


def upstream(
    name: str = "main", *, kind: str = "demo", base_url: str = "", **timeouts: int
) -> UpstreamSnapshot:
    return UpstreamSnapshot(
        id=1,
        uuid=UUID(int=1),
        name=name,
        kind=kind,
        base_url=base_url,
        account_id="",
        gateway_id="",
        sealed_token=None,
        **{
            "connect_timeout_ms": 2_000,
            "first_byte_timeout_ms": 5_000,
            "idle_timeout_ms": 5_000,
            "total_timeout_ms": 10_000,
            **timeouts,
        },
    )


def route(upstream_model: str, via: UpstreamSnapshot | None = None) -> RouteSnapshot:
    return RouteSnapshot(upstream=via or upstream(), upstream_model=upstream_model)


def model(
    public_id: str, *, routes: Iterable[RouteSnapshot] | None = None, ratio: str = "1"
) -> ModelSnapshot:
    return ModelSnapshot(
        id=1,
        public_id=public_id,
        default_output=1024,
        max_output=8192,
        context_window=None,
        hold_bytes_per_token=Decimal(ratio),
        image_tokens=0,
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
