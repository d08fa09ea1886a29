"""Every setting of Tollgate, read from the environment; docs/reference/settings.md describes them.

Without its secrets it refuses to start; `./dev run` makes them and puts them into the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from gateway_project import admin_menu
from gateway_project.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
_env_file = Path(os.environ.get("TOLLGATE_ENV_FILE", BASE_DIR / ".env"))
if _env_file.is_file():
    env.read_env(_env_file)


def required(name: str, why: str) -> str:
    """The variable's text, or one plain sentence about what is missing."""
    value = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"Set {name} ({why}); `./dev run` makes one by itself.")
    return str(value)


def database(url: str) -> dict[str, Any]:
    """Django's form of a DATABASE_URL; `?host=/folder` names a Unix socket, as in libpq."""
    parsed: dict[str, Any] = env.db_url_config(url)
    options = parsed.setdefault("OPTIONS", {})
    if "host" in options:
        parsed["HOST"] = options.pop("host")
    # Async views raise inside of ATOMIC_REQUESTS, and every write names its own transaction.
    return parsed | {"ATOMIC_REQUESTS": False, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def group_map(given: Any) -> dict[str, tuple[str, ...]]:
    """What each group of the provider comes to; one name may stand without its list."""
    if not isinstance(given, dict):
        raise ImproperlyConfigured('Groups are mapped as in {"group": ["name"]}.')
    listed = {group: [to] if isinstance(to, str) else to for group, to in given.items()}
    return {group: tuple(map(str, names)) for group, names in listed.items()}


# Where it runs
DEBUG = env.bool("DEBUG", default=False)
TOLLGATE_HOME = Path(env.str("TOLLGATE_HOME", default=str(BASE_DIR / "var"))).absolute()
PORT = env.int("PORT", default=8787)
ENVIRONMENT = env.str("ENVIRONMENT", default="dev")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
DATABASES = {
    "default": database(required("DATABASE_URL", "postgres://user:password@host:5432/name"))
}

# Secrets
SECRET_KEY = required("SECRET_KEY", "a long random text that signs the admin's sessions")
TOLLGATE_KEY_PEPPER = required("TOLLGATE_KEY_PEPPER", "a long random text, keyed into API keys")
TOLLGATE_KEY_RING = required("TOLLGATE_KEY_RING", "id:base64 of 32 bytes, comma-separated")

# The gateway
MODEL_ID = env.str("MODEL_ID", default="")
FALLBACK_MODEL_ID = env.str("FALLBACK_MODEL_ID", default="")
GATEWAY_TRUST_TENANT_HEADER = env.bool("GATEWAY_TRUST_TENANT_HEADER", default=False)
UPSTREAM_ALLOWED_NETWORKS = env.list("UPSTREAM_ALLOWED_NETWORKS", default=[])
UPSTREAM_RETRIES = env.int("UPSTREAM_RETRIES", default=2)
UPSTREAM_TOTAL_TIMEOUT_SECONDS = env.int("UPSTREAM_TOTAL_TIMEOUT_SECONDS", default=900)
# For upstreams of kind cloudflare that have no address, or no token, of their own.
CLOUDFLARE_BASE_URL = env.str("CLOUDFLARE_BASE_URL", default="")
CLOUDFLARE_API_TOKEN = env.str("CLOUDFLARE_API_TOKEN", default="")
CHAT_BODY_LIMIT_BYTES = env.int("CHAT_BODY_LIMIT_BYTES", default=65_536)
DEFAULT_MODEL_OUTPUT_TOKENS = env.int("DEFAULT_MODEL_OUTPUT_TOKENS", default=1024)
DEFAULT_MODEL_MAX_OUTPUT_TOKENS = env.int("DEFAULT_MODEL_MAX_OUTPUT_TOKENS", default=8192)
LEDGER_CURRENCY = env.str("LEDGER_CURRENCY", default="USD")
AUTO_CLOSE_AFTER_DAYS = env.int("AUTO_CLOSE_AFTER_DAYS", default=0)

# Mail, for alerts. Without EMAIL_URL none can be sent, and their deliveries say so.
EMAIL_URL = env.str("EMAIL_URL", default="")
vars().update(env.email_url_config(EMAIL_URL) if EMAIL_URL else {})
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("EMAIL_FROM", default="tollgate@localhost")

# Celery, read by gateway_project/celery.py under the namespace CELERY
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://localhost")
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "data_folder_in": str(TOLLGATE_HOME / "broker" / "messages"),
        "data_folder_out": str(TOLLGATE_HOME / "broker" / "messages"),
        "processed_folder": str(TOLLGATE_HOME / "broker" / "processed"),
        "control_folder": str(TOLLGATE_HOME / "broker" / "control"),
        # The default of one second would be the delay of every task.
        "polling_interval": 0.1,
    }
    if CELERY_BROKER_URL.startswith("filesystem:")
    else {}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(TOLLGATE_HOME / "broker" / "beat")
CELERY_WORKER_REDIRECT_STDOUTS = False

# Logs
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="console" if DEBUG else "json")
LOGGING_CONFIG = "gateway_project.logging.configure"
LOGGING = logging_config(LOG_FORMAT, LOG_LEVEL)

# Django
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "pgtrigger",
    "pghistory",
    "tenants_app",
    "usage_app",
    "chat_app",
    "gateway_project",
]
# The API's paths do not come through here: gateway_project/asgi.py sends them to a lean handler.
MIDDLEWARE = [
    "gateway_project.headers.SecurityHeadersMiddleware",
    "gateway_project.garbage.GarbageMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "gateway_project.login.sessions.StaffSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "pghistory.middleware.HistoryMiddleware",
]
ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before those of the apps: few templates of unfold that say something else here.
        "DIRS": [BASE_DIR / "gateway_project" / "unfold_templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
# The first one takes away what is not for staff who are held to some tenants; add others after it.
AUTHENTICATION_BACKENDS = ["tenants_app.admin.scope.StaffBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "gateway_project.formats"
STATIC_URL = "/static/"
STATIC_ROOT = TOLLGATE_HOME / "static"
CSRF_FAILURE_VIEW = "gateway_project.error_pages.csrf_failure"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = admin_menu.UNFOLD

# Who comes in, and for how long
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_ONLY = env.bool("OIDC_ONLY", default=False)
OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")
OIDC_SCOPES = env.str("OIDC_SCOPES", default="openid profile email")
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", default="groups")
OIDC_ROLES = group_map(env.json("OIDC_ROLES", default={}))
OIDC_TENANTS = group_map(env.json("OIDC_TENANTS", default={}))
SESSION_IDLE_SECONDS = 60 * env.int("SESSION_IDLE_MINUTES", default=120)
# The absolute lifetime, which gateway_project/login/sessions.py keeps to as well.
SESSION_COOKIE_AGE = 3600 * env.int("SESSION_HOURS", default=12)

# The browser's side. HTTPS is what a production edge speaks; on `./dev run`'s loopback plain HTTP
# must still log in.
SECURE_COOKIES = env.bool("SECURE_COOKIES", default=True)
# A cookie of this name is believed only if it was set over HTTPS, by this very host.
_prefix = "__Host-" if SECURE_COOKIES else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_prefix}sessionid", f"{_prefix}csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Strict would forget the session on the way back from the provider of OIDC.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = env.bool("HTTPS_REDIRECT", default=SECURE_COOKIES)
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000 if SECURE_COOKIES else 0)
# Hosts below this one, and lists of hosts in browsers, are not ours to promise anything for.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
