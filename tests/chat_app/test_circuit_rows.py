"""Circuits as operators see them: written down by each process, gone with it."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat_app import tasks
from chat_app.models import OpenCircuit
from chat_app.selectors import open_circuits
from tenants_app.models import Model, Upstream
from tests.admin_site import logged_in, text_of
from tests.chat_app.contract import entry_of
from tests.factories import make_key, make_model, make_route, make_tenant, make_upstream
from tests.live import Server, eventually
from usage_app.models import GatewayProcess

# Ten attempts of three a request.
REQUESTS_TO_OPEN = 4


def outcomes(answer: Any) -> list[str]:
    return [attempt["outcome"] for attempt in entry_of(answer).attempts]


@pytest.fixture
def failing(transactional_db: None) -> Upstream:
    """The tenants acme and globex have one model, and its upstream always fails."""
    upstream = make_upstream("failing", kind="demo")
    model = make_model("m")
    make_route(model, upstream, upstream_model="demo-error")
    return upstream


def key_of(slug: str) -> Any:
    return make_key(make_tenant(slug, default_model=Model.objects.get()))


def test_circuit_opens_can_be_seen_and_closes_when_the_upstream_is_changed(
    live: Server, failing: Upstream
) -> None:
    acme, globex = key_of("acme"), key_of("globex")
    asked = [outcomes(live.chat(acme)) for _ in range(REQUESTS_TO_OPEN)]
    assert asked == [["broken"] * 3] * 3 + [["broken"]]
    assert outcomes(live.chat(acme)) == ["circuit_open"]
    # Who can connect fails for reasons of its own requests, perhaps: others go on asking.
    assert outcomes(live.chat(globex)) == ["broken"] * 3

    circuit = eventually(lambda: open_circuits().first())
    assert (circuit.upstream, circuit.tenant.slug, circuit.failures) == (failing, "acme", 10)
    assert (circuit.outcome, circuit.state) == ("broken", "open")
    assert circuit.retry_at - circuit.opened_at == timedelta(seconds=5)
    assert circuit_in_the_list(logged_in(superuser=True)) == "open"
    assert [line["upstream"] for line in live.logs("circuit_opened")] == ["failing"]

    failing.routes.update(upstream_model="demo-echo")
    failing.connect_timeout_ms += 1
    failing.save()
    assert outcomes(live.chat(acme)) == ["ok"]
    assert eventually(lambda: not open_circuits().exists())
    assert circuit_in_the_list(logged_in(superuser=True)) == "closed"
    assert len(live.logs("circuit_closed")) == 1


def circuit_in_the_list(client: Client) -> str:
    page = text_of(client.get(reverse("admin:tenants_app_upstream_changelist")))
    states = [state for state in ("open", "closed") if f">{state}<" in page.replace("\n", "")]
    return states[0] if states else page


def make_circuit(upstream: Upstream, heartbeat: timedelta, opened: timedelta) -> OpenCircuit:
    now = timezone.now()
    process = GatewayProcess.objects.create(
        id=uuid4(), host="web", pid=1, started_at=now, heartbeat_at=now - heartbeat
    )
    return OpenCircuit.objects.create(
        process_id=process.id,
        upstream=upstream,
        failures=10,
        outcome="timeout",
        opened_at=now - opened,
        retry_at=now - opened + timedelta(seconds=5),
    )


@pytest.mark.django_db
def test_circuit_of_a_dead_process_is_not_shown_and_forgotten_later() -> None:
    upstream = make_upstream("up")
    old = timedelta(hours=2)
    living = make_circuit(upstream, timedelta(0), old)
    dead = make_circuit(upstream, timedelta(minutes=1), timedelta(minutes=2))
    make_circuit(upstream, old, old)
    assert list(open_circuits()) == [living]
    assert living.state == "half-open"
    tasks.forget_circuits()
    assert set(OpenCircuit.objects.all()) == {living, dead}
