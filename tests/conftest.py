"""The database of a test run: one throw-away Postgres, shared by all workers, gone at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import pytest_django

from gateway_project.embedded.account import Account, place_for
from gateway_project.embedded.postgres import Postgres
from tests import settings
from tests.live import Server, Servers, eventually
from tests.loopback import Loopback

# A busy machine is no defect of the code.
hypothesis.settings.register_profile(
    "tollgate", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tollgate")

OURS = "TEST_DATABASE_URL" not in os.environ
LOG_SHOWN = 8000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed on a server's answer says what the server logged."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Server):
                report.sections.append(("the server's log", value.log_text()[-LOG_SHOWN:]))
    return report


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django's hook before it makes the test database: the first worker starts Postgres."""
    if OURS:
        settings.CLUSTER.start()


@pytest.fixture(autouse=True)
def _no_caches() -> None:
    """What one test's process remembers of its database is nothing to the next one's."""
    from tenants_app import directory
    from usage_app import pricebook

    directory.forget(0, shared=True)
    pricebook.forget()


@pytest.fixture(scope="session")
def running_loopback() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


@pytest.fixture
def loopback(running_loopback: Loopback) -> Loopback:
    """The loopback upstream, started once and its records cleared for each test."""
    running_loopback.plays.clear()
    running_loopback.requests.clear()
    return running_loopback


@pytest.fixture(scope="module")
def running_servers(
    django_db_setup: None,
    django_db_blocker: pytest_django.DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    from chat_app.models import UpstreamMinute
    from usage_app.models import GatewayProcess

    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.close()
    # Their last heartbeats came after the last test had emptied the tables.
    with django_db_blocker.unblock():
        GatewayProcess.objects.all().delete()
        UpstreamMinute.objects.all().delete()


@pytest.fixture
def servers(transactional_db: None, running_servers: Servers) -> Iterator[Servers]:
    """`servers(**environment)` is a web process, shared by the module's tests; `servers.start(n)`
    are new ones. No test may leave a hold.
    """
    from usage_app.models import Reservation

    yield running_servers
    assert eventually(lambda: not Reservation.objects.exists()), "holds are left"


@pytest.fixture
def live(servers: Servers) -> Server:
    """A web process with the tests' own environment."""
    return servers()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any account can reach, unlike pytest's own: for clusters, where root hands one
    to another account.
    """
    with tempfile.TemporaryDirectory(prefix="tollgate-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def pytest_configure(config: pytest.Config) -> None:
    """Clear away what a killed run left."""
    if hasattr(config, "workerinput"):
        return
    for folder in settings.RUN_FOLDER.parent.iterdir():
        if folder.name.isdigit() and not _alive(int(folder.name)):
            _remove(folder, Postgres(place_for(folder / "postgres", Account.current())))


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last to leave is pytest itself: its workers have ended by now."""
    if OURS and not hasattr(config, "workerinput"):
        _remove(settings.RUN_FOLDER, settings.CLUSTER)


def _remove(folder: Path, cluster: Postgres) -> None:
    cluster.stop()
    shutil.rmtree(cluster.folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
