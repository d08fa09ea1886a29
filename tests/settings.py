"""The project's settings with the tests' own secrets and a Postgres of this run only.

tests/conftest.py starts that Postgres; its address is known before it runs, from the process id of
pytest itself, which xdist's workers inherit.
"""

import os
from pathlib import Path

from gateway_project.embedded import home
from gateway_project.embedded.account import Account, place_for
from gateway_project.embedded.postgres import Postgres

# A developer's .env and exported variables must not change what the tests see.
os.environ["TOLLGATE_ENV_FILE"] = os.devnull
for _name in list(os.environ):
    if _name.startswith(("OPENAI_", "CLOUDFLARE_", "OIDC_")) or _name in (
        "MODEL_ID",
        "FALLBACK_MODEL_ID",
    ):
        del os.environ[_name]

RUN_FOLDER = Path(
    os.environ.setdefault("TOLLGATE_TEST_RUN", str(home.home() / "test" / str(os.getpid())))
)
CLUSTER = Postgres(place_for(RUN_FOLDER / "postgres", Account.current()), throw_away=True)

os.environ |= {
    "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", CLUSTER.url()),
    "SECRET_KEY": "tests-only-secret-key-tests-only-secret-key",
    "TOLLGATE_KEY_PEPPER": "tests-only-pepper",
    "TOLLGATE_KEY_RING": "test:" + "A" * 43 + "=",
    "TOLLGATE_HOME": str(RUN_FOLDER / "home"),
    "ENVIRONMENT": "dev",
    "UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
    "GATEWAY_TRUST_TENANT_HEADER": "false",
    "LOG_FORMAT": "json",
    "SECURE_COOKIES": "false",
    "EMAIL_URL": "memorymail://",
    "PYTHONTZPATH": "",
}

from gateway_project.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]

# Between tests that commit, tables are emptied by TRUNCATE, which the ledger refuses to all others.
DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c tollgate.allow_truncate=yes"  # noqa: F405
