"""Names and other texts of one line: the database refuses what is not shown, a form says so."""

from importlib import import_module
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from tenants_app import keys
from tenants_app.models import ApiKey, Model, Route, Team, Tenant, Upstream
from tests.admin_site import form_of, logged_in, text_of, url_of
from tests.factories import make_model, make_route, make_team, make_tenant, make_upstream

pytestmark = pytest.mark.django_db

UNSHOWN = ("\t", "\n", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066")


@pytest.mark.parametrize("mark", UNSHOWN, ids=ascii)
def test_the_database_refuses_what_is_not_shown(mark: str) -> None:
    acme, model, upstream = make_tenant(), make_model(), make_upstream("up", kind="demo")
    make_team(acme)
    make_route(model, upstream)
    keys.issue(acme, name="app")
    texts: list[tuple[Any, str]] = [
        (Tenant, "name"), (Tenant, "cost_center"), (Team, "name"), (ApiKey, "name"),
        (Upstream, "name"), (Model, "public_id"), (Model, "name"), (Route, "upstream_model"),
    ]  # fmt: skip
    for table, field in texts:
        with pytest.raises(IntegrityError, match="_is_one_line"), transaction.atomic():
            table.objects.update(**{field: f"a{mark}b"})
        table.objects.update(**{field: 'Zürich, a "b" 日本 😀'})


def test_rows_of_before_get_a_space_there() -> None:
    acme = make_tenant()
    migration = import_module("tenants_app.migrations.0018_names_are_one_line")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE tenants_app_tenant DROP CONSTRAINT tenant_name_is_one_line")
        Tenant.objects.update(name="a\tb\u202ec \U0001f600")
        cursor.execute(migration.mend("tenant", "name"))
    assert Tenant.objects.get(pk=acme.pk).name == "a b c \U0001f600"


def test_a_form_says_so_in_words() -> None:
    client, acme = logged_in(superuser=True), make_tenant()
    url = url_of(Tenant, "change", acme.pk)
    for field, words in (("name", "A name"), ("cost_center", "A cost centre")):
        sent = form_of(client.get(url)) | {field: "a\u202eb"}
        assert f"{words} must be one line" in text_of(client.post(url, sent))
    assert Tenant.objects.get().name == acme.name
