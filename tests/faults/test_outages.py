"""Postgres is killed, or its connections are cut, at any moment: nothing is lost or paid twice.

It is a cluster of these tests alone, with its commits on disk.
"""

import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from gateway_project.embedded.postgres import USER, Postgres
from tenants_app.models import Tenant
from tests.factories import make_key
from tests.faults.books import settled
from tests.faults.conftest import World, make_world
from tests.faults.crowd import Ending, crowd, outcomes
from tests.live import Server, Servers, eventually, frames
from tests.loopback import Loopback
from usage_app.models import LedgerEntry

pytestmark = pytest.mark.xdist_group("faults")

BACK_SECONDS = 10.0
UNAVAILABLE = (503, "service_unavailable")
_numbers = count(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="tollgate-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres")
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def migrated(
    cluster: Postgres, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Postgres:
    with django_db_blocker.unblock(), database_of(cluster):
        call_command("migrate", verbosity=0)
    return cluster


@pytest.fixture(scope="module")
def server(migrated: Postgres, running_servers: Servers) -> Server:
    return running_servers.start(environment={"DATABASE_URL": migrated.url()})[0]


@pytest.fixture
def acme(
    migrated: Postgres, loopback: Loopback, django_db_blocker: DjangoDbBlocker
) -> Iterator[World]:
    with django_db_blocker.unblock(), database_of(migrated):
        world = make_world(loopback, f"acme-{next(_numbers)}")
        world.tenant.session_memory = True
        world.tenant.save()
        yield world


@contextmanager
def database_of(cluster: Postgres) -> Iterator[None]:
    """Let this process's own connection lead to the cluster."""
    default = connections["default"]
    default.close()
    kept = default.settings_dict.copy()
    default.settings_dict |= {"HOST": str(cluster.sockets), "NAME": USER, "USER": USER}
    try:
        yield
    finally:
        default.close()
        default.settings_dict.update(kept)


@contextmanager
def outage(cluster: Postgres) -> Iterator[None]:
    """Without Postgres; it is up again when the block is left."""
    connections["default"].close()
    cluster.kill()
    assert eventually(lambda: cluster.pid is None)
    try:
        yield
    finally:
        cluster.start()


@contextmanager
def cutting(cluster: Postgres) -> Iterator[None]:
    """End all of the web processes' connections a few times, at no moment in particular."""
    chance = random.Random(2)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'cutter'"
    )
    cut += " AND datname = current_database() AND pid <> pg_backend_pid()"

    def work() -> None:
        with closing(psycopg.connect(cluster.url(), autocommit=True)) as connection:
            for _ in range(3):
                time.sleep(chance.uniform(0.0, 0.1))
                connection.execute(cut)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        connections["default"].close()


def test_outage_is_told_as_503_and_loses_nothing(
    server: Server, migrated: Postgres, acme: World
) -> None:
    stranger = make_key(acme.tenant)
    assert server.chat(acme.key, {"modelId": "good"}).status_code == 200
    with server.streaming(acme.key, {"modelId": "paced-20-50", "stream": True}) as stream:
        parts = stream.iter_text()
        text = next(parts)
        with outage(migrated):
            with ThreadPoolExecutor() as at_once:
                asked = [at_once.submit(server.chat, key) for key in (acme.key, stranger)]
                asked.append(at_once.submit(server.chat, acme.key, {"stream": True}))
                asked.append(at_once.submit(server.get, "/usage", acme.key))
            refused = [answer.result() for answer in asked]
            alive = server.get("/health")
        back = time.monotonic()
        assert eventually(lambda: server.chat(acme.key).status_code == 200, seconds=BACK_SECONDS)
        waited = time.monotonic() - back
        text += "".join(parts)
    assert {(r.status_code, r.json()["error"]["code"]) for r in refused} == {UNAVAILABLE}
    assert alive.status_code == 200
    assert waited < BACK_SECONDS
    assert frames(text)[-1][0] == "done"
    assert frames(text)[-1][1]["usage"]["tokensOut"] == 20
    written = settled(acme.tenant)
    assert sorted(entry.total_tokens for entry in written if entry.outcome == "ok") == [16, 16, 30]


def test_settlement_that_the_client_did_not_live_to_see_is_written_after_the_outage(
    server: Server, migrated: Postgres, acme: World
) -> None:
    with (
        server.streaming(acme.key, {"modelId": "paced-400-50", "stream": True}) as stream,
        outage(migrated),
    ):
        parts = stream.iter_text()  # httpx hangs up when nobody holds it any more
        next(parts)
        stream.close()
    (entry,) = settled(acme.tenant, 1)
    assert (entry.outcome, entry.usage_source) == ("aborted", "partial")


def test_postgres_killed_under_load_charges_each_answer_once(
    server: Server, migrated: Postgres, acme: World
) -> None:
    def strike() -> None:
        time.sleep(0.1)
        migrated.kill()
        migrated.start()

    striking = threading.Thread(target=strike)
    striking.start()
    endings = crowd([server], [acme.key], count=150)
    striking.join()
    connections["default"].close()
    assert set(outcomes(endings)) <= {(200, None), UNAVAILABLE}
    charged_once(acme.tenant, endings)


@pytest.mark.parametrize("streamed", [False, True])
def test_connections_cut_under_load_charge_each_answer_once(
    server: Server, migrated: Postgres, acme: World, streamed: bool
) -> None:
    endings: list[Ending] = []
    for _ in range(6):
        with cutting(migrated):
            endings += crowd([server], [acme.key], count=40, stream=streamed)
    assert set(outcomes(endings)) <= {(200, None), UNAVAILABLE}
    assert eventually(lambda: server.chat(acme.key).status_code == 200, seconds=BACK_SECONDS)
    charged_once(acme.tenant, endings)


def charged_once(tenant: Tenant, endings: Sequence[Ending]) -> None:
    """Every answer has its entry, and no refusal has cost anything."""
    written = {str(entry.id): entry for entry in settled(tenant)}
    for ending in endings:
        entry: Any = written.pop(ending.id, None)
        if ending.status == 200 and ending.code is None:
            assert (entry.outcome, entry.total_tokens) == ("ok", 16)
        elif entry is not None:
            assert (entry.outcome, entry.total_tokens) == ("aborted", 0)
    assert LedgerEntry.objects.for_tenant(tenant).exclude(kind="usage").count() == 0
