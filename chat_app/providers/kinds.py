"""Every kind of provider there is, over one wire: for the gateway client and for staff's trials."""

from __future__ import annotations

from django.conf import settings

from chat_app.providers.base import Provider
from chat_app.providers.cloudflare import CloudflareProvider
from chat_app.providers.demo import DemoProvider
from chat_app.providers.http import Transport
from chat_app.providers.openai import OpenAIProvider
from tenants_app.networks import parse_networks


def own_transport() -> Transport:
    """A wire to upstreams as the settings allow them; whoever made it closes it."""
    return Transport(allowed=parse_networks(settings.UPSTREAM_ALLOWED_NETWORKS))


def providers_over(transport: Transport) -> dict[str, Provider]:
    """Every provider there is, by the kind of its upstreams."""
    return {
        "openai": OpenAIProvider(transport),
        "cloudflare": CloudflareProvider(
            transport,
            base_url=settings.CLOUDFLARE_BASE_URL,
            token=settings.CLOUDFLARE_API_TOKEN,
        ),
        "demo": DemoProvider(),
    }
