"""What tests of the contract share: a tenant that is served by the loopback upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from tenants_app.keys import IssuedKey
from tenants_app.models import Model, Route, Tenant, TenantFallback, Upstream
from tests.factories import make_key, make_model, make_route, make_tenant, make_upstream
from tests.loopback import Loopback
from usage_app.models import LedgerEntry

PROVIDER_TOKEN = "provider-token-of-the-loopback"
# Of the loopback's good answer, and of `hello` by the quarter of its characters.
USAGE = {"tokensIn": 10, "tokensOut": 6, "totalTokens": 16}
HELLO_TOKENS = 2


@dataclass(frozen=True, slots=True)
class House:
    """A tenant and its key."""

    tenant: Tenant
    key: IssuedKey

    def change(self, **fields: Any) -> None:
        """As an operator would, while the server runs."""
        assert Tenant.objects.filter(pk=self.tenant.pk).update(**fields) == 1

    def fall_back_to(self, *models: Model) -> None:
        for position, model in enumerate(models):
            TenantFallback.objects.create(tenant=self.tenant, model=model, position=position)


def upstream_at(loopback: Loopback, name: str = "loopback", **fields: Any) -> Upstream:
    """The shared upstream of this name, made at its first use."""
    found = Upstream.objects.filter(name=name, tenant=None).first()
    return found or make_upstream(
        name, **{"kind": "openai", "base_url": loopback.url, "token": PROVIDER_TOKEN, **fields}
    )


def playing(loopback: Loopback, play: str, **fields: Any) -> Model:
    """The model with a play of the loopback for its name, made at its first use."""
    model = Model.objects.filter(public_id=play).first() or make_model(play, **fields)
    if not Route.objects.filter(model=model).exists():
        make_route(model, upstream_at(loopback))
    return model


def house(loopback: Loopback, play: str = "good", slug: str = "acme", **fields: Any) -> House:
    """A tenant whose default model is this play."""
    tenant = make_tenant(slug, default_model=playing(loopback, play), **fields)
    return House(tenant, make_key(tenant))


def entry_of(answer: httpx.Response) -> LedgerEntry:
    """The one ledger entry of a request."""
    return LedgerEntry.objects.get(id=answer.headers["x-request-id"])


def without(told: dict[str, Any], *names: str) -> dict[str, Any]:
    """`told` without what no test can know; each must be a whole number of milliseconds."""
    for name in names:
        assert isinstance(told[name], int), f"{name} is {told[name]!r}"
        assert told[name] >= 0
    return {name: value for name, value in told.items() if name not in names}
