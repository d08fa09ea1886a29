"""The place of one installation (TOLLGATE_HOME) and the environment that `./dev` runs in.

Owns the secrets file and the defaults of the demo. Settings read only what is put into the
environment here; production sets the same variables itself.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import environ

from gateway_project.embedded.account import Account, keyed_folder, place_for
from gateway_project.embedded.postgres import Postgres

CHECKOUT = Path(__file__).resolve().parents[2]

MAKERS: dict[str, Callable[[], str]] = {
    "secret_key": lambda: secrets.token_urlsafe(48),
    "key_pepper": lambda: secrets.token_urlsafe(32),
    "key_ring": lambda: "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
    "admin_password": lambda: secrets.token_urlsafe(12),
}

# The demo is bound to loopback: there the header may name the tenant, and loopback is an upstream.
DEMO_DEFAULTS = {
    "ENVIRONMENT": "dev",
    "GATEWAY_TRUST_TENANT_HEADER": "true",
    "UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    "LOG_FORMAT": "console",
    # A browser keeps no secure cookie of a site that speaks plain HTTP.
    "SECURE_COOKIES": "false",
    # Mail is printed among the worker's lines.
    "EMAIL_URL": "consolemail://",
}


def read_env_file() -> None:
    """Read `.env` of the checkout; what the environment already says wins."""
    path = Path(os.environ.get("TOLLGATE_ENV_FILE", CHECKOUT / ".env"))
    if path.is_file():
        environ.Env.read_env(path)


def home() -> Path:
    """TOLLGATE_HOME, by default `var/` in the checkout, or a folder keyed by the checkout."""
    chosen = os.environ.get("TOLLGATE_HOME")
    folder = Path(chosen).expanduser().absolute() if chosen else CHECKOUT / "var"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if usable or chosen:
        return folder
    elsewhere = keyed_folder(Path("/var/tmp"), folder)  # noqa: S108 - owner and mode are checked
    elsewhere.mkdir(mode=0o700, exist_ok=True)
    elsewhere.chmod(0o700)
    return elsewhere


def postgres(place: Path) -> Postgres:
    """This installation's Postgres, not yet started."""
    account = Account.current()
    return Postgres(place_for(place / "postgres", account), account=account)


def read_secrets(place: Path, **made_by: Callable[[], str]) -> dict[str, str]:
    """What this installation made up once and keeps in a file with mode 0600.

    Each missing one is made; `made_by` names makers of further ones.
    """
    place.mkdir(parents=True, exist_ok=True)
    path = place / "secrets.json"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        path.chmod(0o600)
        text = file.read()
        kept: dict[str, str] = json.loads(text) if text.strip() else {}
        missing = {name: make for name, make in (MAKERS | made_by).items() if name not in kept}
        if missing:
            kept |= {name: make() for name, make in missing.items()}
            file.seek(0)
            file.write(json.dumps(kept, indent=2) + "\n")
            file.truncate()
    return kept


def prepare_environment(place: Path) -> None:
    """Set what the settings need and nobody set: secrets, demo defaults and the home itself.

    DATABASE_URL is left to the caller, who has to start a server for it.
    """
    kept = read_secrets(place)
    defaults = {
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
        "TOLLGATE_HOME": str(place),
        "SECRET_KEY": kept["secret_key"],
        "TOLLGATE_KEY_PEPPER": kept["key_pepper"],
        "TOLLGATE_KEY_RING": kept["key_ring"],
        **DEMO_DEFAULTS,
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # The process's own choice of zones must be the lock's tzdata, not the machine's.
    os.environ.setdefault("PYTHONTZPATH", "")
