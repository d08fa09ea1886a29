"""The account that owns an embedded Postgres, and the folder in which it can hold one.

Postgres refuses to run as root, so root hands it to another account, which must reach its data and
its binaries. This module knows accounts and folders; `postgres.py` knows the server.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Accounts that root may hand Postgres to: the first that exists.
UNPRIVILEGED = ("postgres", "nobody")

# What an account must manage in a folder before a database may live there.
PROBE = """
cd "$0" && umask 077 && : > ".probe.$$" && rm ".probe.$$" && ls -ld . | grep -q "^drwx------"
"""


class NoPlace(RuntimeError):
    """No folder was found in which this account can hold a database."""


@dataclass(frozen=True)
class Account:
    """Whom Postgres runs as: `uid` and `gid` are None when it is ourselves."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def current(cls) -> Account:
        """Ourselves, or as root the first unprivileged account of this machine."""
        if os.geteuid() != 0:
            return cls()
        for name in UNPRIVILEGED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise NoPlace("Root needs an account named postgres or nobody to run Postgres as.")

    def popen_arguments(self) -> dict[str, object]:
        """For subprocess: run as this account, from a folder that it can surely enter."""
        identity: dict[str, object] = {}
        if self.uid is not None:
            identity = {"user": self.uid, "group": self.gid, "extra_groups": ()}
        return {"cwd": "/", "env": _clean_environment(), **identity}

    def can_run(self, *command: str | Path) -> bool:
        """True if the command ends well under this account."""
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                [str(part) for part in command],
                **self.popen_arguments(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError:
            return False
        return bool(done.returncode == 0)

    def own_folder(self, folder: Path) -> bool:
        """Make the folder private to this account; False where it could not hold a database."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0 and self.uid is not None and self.gid is not None:
                os.chown(folder, self.uid, self.gid)
            folder.chmod(0o700)
        except OSError:
            return False
        return self.can_run("/bin/sh", "-c", PROBE, folder)


def place_for(folder: Path, account: Account) -> Path:
    """The folder itself, or one outside of private homes that is keyed by its path.

    Raises NoPlace when the account can hold a database in neither.
    """
    if account.own_folder(folder):
        return folder
    elsewhere = keyed_folder(Path("/var/tmp"), folder)  # noqa: S108 - owner is checked
    if account.own_folder(elsewhere):
        return elsewhere
    raise NoPlace(f"Neither {folder} nor {elsewhere} can hold a database; set TOLLGATE_HOME.")


def keyed_folder(parent: Path, folder: Path) -> Path:
    """A short private folder below `parent` that belongs to this user and to `folder`."""
    key = hashlib.sha256(f"{os.geteuid()}:{folder}".encode()).hexdigest()[:16]
    return parent / f"tollgate-{key}"


def copy_aside(install: Path, target: Path) -> Path:
    """Copy a wheel's Postgres and the libraries beside it, keeping their places (RPATH)."""
    copied = target / install.parent.name / install.name
    if copied.exists():
        return copied
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        building = Path(temporary) / "copy"
        shutil.copytree(install, building / install.parent.name / install.name, symlinks=True)
        libraries = install.parent.with_name(f"{install.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, building / libraries.name, symlinks=True)
        for path in (building, *building.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        building.rename(target)
    return copied


def _clean_environment() -> dict[str, str]:
    """Nothing of the caller's locale, time zone or PG* variables reaches Postgres."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
