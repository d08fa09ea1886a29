"""The settings' own rules: sockets in DATABASE_URL, and no start without secrets."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from gateway_project import settings


def test_database_accepts_a_socket_folder_as_libpq_does() -> None:
    parsed = settings.database("postgres://tollgate@/tollgate?host=/some/Place")
    assert (parsed["HOST"], parsed["NAME"], parsed["USER"]) == (
        "/some/Place",
        "tollgate",
        "tollgate",
    )


def test_required_says_plainly_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLLGATE_KEY_PEPPER")
    with pytest.raises(ImproperlyConfigured, match=r"^Set TOLLGATE_KEY_PEPPER "):
        settings.required("TOLLGATE_KEY_PEPPER", "a long random text")


@pytest.mark.django_db
def test_database_is_postgres_in_utc() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int, now()::text")
        version, now = cursor.fetchone()
    assert version >= 150000
    assert now.endswith("+00")
