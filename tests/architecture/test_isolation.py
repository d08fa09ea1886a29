"""Two tenants, every route: with globex's key nobody sees or changes what is acme's.

A route that the table does not know fails here: whoever adds one says what it keeps apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from django.apps import apps
from django.urls import URLResolver, get_resolver

from tenants_app.keys import IssuedKey
from tests.chat_app.contract import House, house
from tests.factories import make_budget, make_key, make_model, make_route, make_upstream
from tests.live import Server, frames
from tests.loopback import Loopback

pytestmark = pytest.mark.xdist_group("live")

SESSION = str(uuid4())
SECRET = "what acme told its model"
TOKEN = "provider-token-of-acme-alone"
OWN_MODEL = "model-of-acme-alone"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """acme, which has chatted with one of its keys, and globex, whose key knocks at every door."""

    server: Server
    loopback: Loopback
    acme: House
    globex: House
    acmes_other_key: IssuedKey


@pytest.fixture
def neighbours(live: Server, loopback: Loopback) -> Neighbours:
    acme, globex = (house(loopback, slug=slug) for slug in ("acme", "globex"))
    own = make_upstream(
        "own", tenant=acme.tenant, kind="openai", base_url=loopback.url, token=TOKEN
    )
    make_route(make_model(OWN_MODEL), own, tenant=acme.tenant, upstream_model="good")
    for tenant, limit in ((acme.tenant, 77_777), (globex.tenant, 5_000)):
        make_budget(tenant, "tokens", "day", limit)
    asked = {"sessionId": SESSION, "message": SECRET, "modelId": OWN_MODEL}
    assert live.chat(acme.key, asked).status_code == 200
    loopback.requests.clear()
    return Neighbours(live, loopback, acme, globex, make_key(acme.tenant))


# --- what each route keeps apart ----------------------------------------------------------------


def chat(they: Neighbours) -> None:
    """No history, no model, no upstream and no budget of acme's; charged to globex alone."""
    asked = {"sessionId": SESSION, "message": "what did I say?"}
    for stream in (False, True):
        answer = they.server.chat(they.globex.key, {**asked, "stream": stream})
        assert answer.status_code == 200
        text = answer.text
        budget = frames(text)[-1][1]["budget"] if stream else answer.json()["data"]["budget"]
        assert budget["limit"] == 5_000
        assert SECRET not in they.loopback.requests[-1].raw.decode()
        assert they.loopback.last.headers["x-tollgate-tenant-id"] == "globex"
    told = [
        they.server.chat(they.globex.key, {"modelId": model}).json()["error"]["code"]
        for model in (OWN_MODEL, "model-of-nobody")
    ]
    assert told == ["model_unknown"] * 2
    assert all(TOKEN not in str(asked.headers) for asked in they.loopback.requests)


def history(they: Neighbours) -> None:
    """acme's session is as one that never was; under the same id globex has its own."""
    path = f"/sessions/{SESSION}/history"
    assert they.server.get(path, they.globex.key).status_code == 404
    they.server.chat(they.globex.key, {"sessionId": SESSION, "message": "of globex"})
    told = they.server.get(path, they.globex.key).json()["data"]["messages"]
    assert [message["content"] for message in told][-1:] == ["of globex"]
    told = they.server.get(path, they.acmes_other_key).json()["data"]["messages"]
    assert [message["content"] for message in told][-1:] == [SECRET]


def session(they: Neighbours) -> None:
    """Deleting it deletes one's own; `rows_of` sees that acme's is still there."""
    for asked, status in ((False, 404), (True, 200), (False, 404)):
        if asked:
            they.server.chat(they.globex.key, {"sessionId": SESSION})
        answer = they.server.delete(f"/sessions/{SESSION}", they.globex.key)
        assert answer.status_code == status


def usage(they: Neighbours) -> None:
    data = they.server.get("/usage", they.globex.key).json()["data"]
    assert (data["tenantId"], data["totals"]["requests"], data["days"]) == ("globex", 0, [])


def usage_of_a_neighbour_key(they: Neighbours) -> None:
    """Within one tenant too, a key sees its own."""
    data = they.server.get("/usage", they.acmes_other_key).json()["data"]
    assert (data["tenantId"], data["totals"]["requests"]) == ("acme", 0)


def budgets(they: Neighbours) -> None:
    data = they.server.get("/budgets", they.globex.key).json()["data"]
    assert data["tenantId"] == "globex"
    assert [(b["limit"], b["used"]) for b in data["budgets"]] == [(5_000, 0)]


def reports(they: Neighbours) -> None:
    """All tenants' usage is for staff tokens; a key is no credential here."""
    for path in ("/reports/usage", "/reports/usage?tenant=globex"):
        assert they.server.get(path, they.globex.key).status_code == 401


def health(they: Neighbours) -> None:
    data = they.server.get("/health", they.globex.key).json()["data"]
    assert (data["tenantId"], data["modelId"]) == ("globex", "good")


def tells_nothing_of_tenants(_they: Neighbours) -> None:
    """What every knock below proves is all there is to it."""


def admin(they: Neighbours) -> None:
    """A key opens no door of the operators': each leads to the login."""
    for path in admin_paths(they.acme.tenant.pk):
        answer = they.server.get(path, they.globex.key)
        assert answer.status_code in (301, 302, 404), path
        if answer.status_code == 302:
            assert answer.headers["location"].startswith("/admin/login/"), path


# These need no key, and are the same for everybody.
OPEN = ("", "admin/", "ready", "health")
# Here keys are no credentials.
STAFF = ("reports/usage",)
Check = Callable[[Neighbours], None]
TABLE: dict[str, tuple[Check, ...]] = {
    "": (tells_nothing_of_tenants,),
    "admin/": (admin,),
    "ready": (tells_nothing_of_tenants,),
    "chat": (chat,),
    "health": (health,),
    "sessions/<str:session_id>": (session,),
    "sessions/<str:session_id>/history": (history,),
    "usage": (usage, usage_of_a_neighbour_key),
    "budgets": (budgets,),
    "reports/usage": (reports,),
}


def test_every_route_is_in_the_table() -> None:
    assert {"admin/" if r.startswith("admin/") else r for r in routes()} == TABLE.keys()


@pytest.mark.parametrize("route", TABLE)
def test_no_key_reaches_another_tenant(neighbours: Neighbours, route: str) -> None:
    before = rows_of(neighbours.acme)
    for check in TABLE[route]:
        check(neighbours)
    for answer in knocks(neighbours, route.replace("<str:session_id>", SESSION)):
        for mark in (SECRET, TOKEN, OWN_MODEL, "77777", neighbours.acme.key.key.prefix):
            assert mark not in answer.text, answer.request.method
        if "x-tenant-id" in answer.request.headers and route not in OPEN + STAFF:
            assert answer.status_code in (200, 403, 405), answer.text
    assert rows_of(neighbours.acme) == before


def knocks(they: Neighbours, route: str) -> Iterator[httpx.Response]:
    """Every method with globex's key, as itself and under acme's name."""
    body = {"sessionId": SESSION, "message": "hello", "tenantId": "acme"}
    key = {"authorization": f"Bearer {they.globex.key.secret}"}
    for method in METHODS:
        for headers in (key, key | {"x-tenant-id": "acme"}):
            content = None if method in ("GET", "HEAD", "OPTIONS") else json.dumps(body)
            typed = headers | {"content-type": "application/json"}
            query = {"tenant": "acme", "tenantId": str(they.acme.tenant.pk)}
            yield they.server.client.request(
                method, f"/{route}", content=content, headers=typed, params=query
            )


def rows_of(house_: House) -> dict[str, list[object]]:
    """Everything that is a tenant's, in every table that names a tenant."""
    found: dict[str, list[object]] = {}
    for model in apps.get_models():
        if any(field.name == "tenant" for field in model._meta.get_fields()):
            own = model._default_manager.filter(tenant=house_.tenant.pk)
            found[model._meta.label] = list(own.order_by("pk").values_list())
    assert found["usage_app.LedgerEntry"], "acme has chatted"
    assert found["chat_app.ChatMessage"], "and said something"
    return found


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[str]:
    """Every route of the URL conf."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        else:
            yield route


def admin_paths(pk: int) -> list[str]:
    """Every path of the admin but the login, with acme's number where one is wanted."""
    paths = {f"/{re.sub(r'<[^>]+>', str(pk), route)}" for route in routes()}
    plain = {path for path in paths if path.startswith("/admin/") and not set(path) & set("^$?(")}
    assert len(plain) > 50
    return sorted(plain - {"/admin/login/", "/admin/logout/"})
