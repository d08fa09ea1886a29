"""Every change of configuration leaves an event with who and why, and without secrets."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pghistory
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, models, transaction

from tenants_app import keys, sealed
from tenants_app.models import AUDITED, ApiKey, Tenant, Upstream
from tests.factories import make_budget, make_key, make_model, make_tenant, make_upstream

pytestmark = pytest.mark.django_db


def _of(model: type[models.Model]) -> Any:
    event: Any = pghistory.core.event_models(tracks_model=model)[0]
    return event.objects.order_by("pgh_id")


def test_every_configured_table_is_audited() -> None:
    tables = {model._meta.db_table for model in AUDITED}
    unaudited = {
        "auth_permission",  # made by Django from the models
        "tenants_app_apikeyuse",
        "tenants_app_configurationversion",
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables"
            " WHERE (tablename LIKE 'tenants_app_%%' OR tablename LIKE 'auth_%%')"
            " AND tablename NOT LIKE '%%event'"
        )
        assert {name for (name,) in cursor.fetchall()} == tables | unaudited


def test_events_hold_no_secret_column() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT table_name FROM information_schema.columns"
            " WHERE column_name IN ('digest', 'previous_digest', 'sealed_token', 'sealed_secret',"
            " 'password')"
            " AND table_name LIKE 'tenants_app_%%'"
            " ORDER BY 1"
        )
        assert cursor.fetchall() == [
            (f"tenants_app_{table}",) for table in ("alerttargets", "apikey", "upstream")
        ]


def test_change_is_recorded_with_who_and_why() -> None:
    with pghistory.context(user="olivia", reason="the new contract"):
        acme = make_tenant()
        Tenant.objects.filter(pk=acme.pk).update(cost_center="R&D")
        acme.delete()
    recorded = [(e.pgh_label, e.pgh_context.metadata) for e in _of(Tenant)]
    who = {"user": "olivia", "reason": "the new contract"}
    assert recorded == [("insert", who), ("update", who), ("delete", who)]


def test_form_of_an_upstream_is_recorded() -> None:
    upstream = make_upstream(kind="cloudflare", form="rest", account_id="acc1", gateway_id="gate_1")
    Upstream.objects.filter(pk=upstream.pk).update(form="compat")
    assert [(e.pgh_label, e.form) for e in _of(Upstream)] == [
        ("insert", "rest"),
        ("update", "compat"),
    ]


def test_raw_sql_and_the_allow_list_are_recorded_too() -> None:
    acme, model = make_tenant(), make_model()
    budget = make_budget(acme, "tokens", "day", 5)
    with connection.cursor() as cursor:
        cursor.execute('UPDATE tenants_app_budget SET "limit" = 6')
    acme.allowed_models.add(model)
    acme.allowed_models.clear()
    assert [event.limit for event in _of(type(budget))] == [5, 6]
    allowed = next(model for model in AUDITED if model.__name__ == "AllowedModel")
    assert [event.pgh_label for event in _of(allowed)] == ["insert", "delete"]


def test_change_of_token_is_noted_and_not_shown() -> None:
    upstream = make_upstream(token="sk-one")
    upstream.seal_token("sk-two")
    upstream.save()
    Upstream.objects.update(name="renamed")
    Upstream.objects.update(sealed_token=sealed.seal("sk-three", context="wherever"))
    Upstream.objects.update(sealed_token=None)
    dates = [event.token_changed_at for event in _of(Upstream)]
    assert len(dates) == 5
    assert None not in dates
    assert dates == sorted(dates)
    assert dates[1] == dates[2]
    assert len(set(dates)) == 4


def test_rotation_of_a_key_is_noted() -> None:
    issued = make_key(make_tenant())
    rotated = keys.rotate(issued.key)
    assert [event.prefix for event in _of(ApiKey)] == [issued.secret[:7], rotated.secret[:7]]


def test_events_are_never_changed() -> None:
    make_tenant()
    changes: list[Callable[[], Any]] = [
        lambda: _of(Tenant).update(name="never"),
        lambda: _of(Tenant).all().delete(),
    ]
    for change in changes:
        with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
            change()


def test_create_key_prints_the_secret_once_and_is_audited() -> None:
    make_tenant("acme")
    out = StringIO()
    call_command("create_key", "acme", "--name", "laptop", "--reason", "a new laptop", stdout=out)
    secret = out.getvalue().strip()
    assert keys.well_formed(secret)
    key = ApiKey.objects.get(digest=keys.digest(secret))
    assert (key.name, key.scopes) == ("laptop", ["chat", "usage:read"])
    assert _of(ApiKey).get().pgh_context.metadata == {
        "command": "create_key",
        "reason": "a new laptop",
    }


def test_create_key_for_nobody_says_so() -> None:
    with pytest.raises(CommandError, match="no tenant 'nobody'"):
        call_command("create_key", "nobody")
