"""All tenants' calls go through the gateway client: nothing else can reach an upstream, but for
staff's own trials.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.sources import parse, product_files, short

HTTP_CLIENTS = {"aiohttp", "httpx", "httpx_aiohttp", "requests", "urllib3"}
CONCRETE = {
    "chat_app.providers.cloudflare",
    "chat_app.providers.demo",
    "chat_app.providers.exchange",
    "chat_app.providers.http",
    "chat_app.providers.kinds",
    "chat_app.providers.openai",
    "chat_app.providers.outgoing",
}
# The seed names the demo models, which are the provider's own list of scenarios.
MAY_NAME_PROVIDERS = {
    "chat_app/gateway.py",
    "chat_app/upstream_trial.py",
    "gateway_project/embedded/demo.py",
}
# Staff's login asks the company's own provider of OIDC, which is no model.
MAY_SPEAK_HTTP = {"gateway_project/login/provider.py"}


def imported(path: Path) -> set[str]:
    """Every module that the file imports, with what it takes from it."""
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_providers_speak_http() -> None:
    assert [
        short(path)
        for path in product_files()
        if {name.split(".")[0] for name in imported(path)} & HTTP_CLIENTS
        and not short(path).startswith("chat_app/providers/")
        and short(path) not in MAY_SPEAK_HTTP
    ] == []


def test_only_the_gateway_client_and_trials_have_providers() -> None:
    assert [
        short(path)
        for path in product_files()
        if imported(path) & CONCRETE
        and not short(path).startswith("chat_app/providers/")
        and short(path) not in MAY_NAME_PROVIDERS
    ] == []


def test_only_a_turn_asks_the_gateway_client() -> None:
    assert [
        short(path)
        for path in product_files()
        if {"chat_app.gateway", "chat_app.gateway.client"} & imported(path)
    ] == ["gateway_project/asgi.py", "chat_app/chat_stream.py"]
