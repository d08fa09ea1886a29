"""Tenants whose models are the plays of the loopback upstream: a model's id names the play."""

from dataclasses import dataclass

import pytest

from tenants_app.keys import IssuedKey
from tenants_app.models import Tenant, Upstream
from tests.factories import make_key, make_model, make_route, make_tenant, make_upstream
from tests.loopback import Loopback

# A hello is 5 bytes and 8 more for its message; the exact model answers with all it may.
EXACT_INPUT, EXACT_OUTPUT = 13, 16


@dataclass(frozen=True, slots=True)
class World:
    """A tenant, its key, and the upstream that serves every model it asks for."""

    tenant: Tenant
    key: IssuedKey
    upstream: Upstream


def make_world(loopback: Loopback, slug: str = "acme") -> World:
    """A tenant without session memory, whose every model goes to the loopback by its own name."""
    upstream = make_upstream(f"{slug}-upstream", kind="openai", base_url=loopback.url)
    model = make_model(f"{slug}-good")
    make_route(model, upstream, upstream_model="good")
    tenant = make_tenant(slug, default_model=model, default_upstream=upstream, session_memory=False)
    return World(tenant, make_key(tenant), upstream)


@pytest.fixture
def acme(transactional_db: None, loopback: Loopback) -> World:
    return make_world(loopback)


@pytest.fixture
def globex(transactional_db: None, loopback: Loopback) -> World:
    return make_world(loopback, "globex")
