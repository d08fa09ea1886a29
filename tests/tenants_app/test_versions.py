"""How versions are bumped: once per transaction and tenant, and without deadlocks."""

import threading
from collections.abc import Callable

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from tenants_app.database import connection_params
from tenants_app.models import Budget, ConfigurationVersion, Route, Tenant, Upstream
from tests.factories import (
    make_budget,
    make_key,
    make_model,
    make_route,
    make_tenant,
    make_upstream,
)

pytestmark = pytest.mark.django_db(transaction=True)


def version(tenant: Tenant | None) -> int:
    return ConfigurationVersion.objects.get(tenant=tenant).version


def test_tenant_has_a_version_from_its_creation() -> None:
    assert version(make_tenant()) > 0


def test_import_of_a_thousand_rows_bumps_once() -> None:
    acme = make_tenant()
    make_model("first")
    before, shared_before = version(acme), version(None)
    with transaction.atomic():
        for number in range(500):
            make_route(make_model(f"model-{number}"), make_upstream(tenant=acme), tenant=acme)
    assert version(acme) == before + 1
    assert version(None) == shared_before + 1


def test_row_that_moves_bumps_both_tenants() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    budget = make_budget(acme, "tokens", "day", 10)
    before = version(acme), version(globex)
    Budget.objects.filter(pk=budget.pk).update(tenant=globex)
    assert (version(acme), version(globex)) == (before[0] + 1, before[1] + 1)


def test_row_that_becomes_shared_bumps_its_tenant_and_the_shared_version() -> None:
    acme = make_tenant()
    upstream = make_upstream(tenant=acme)
    make_model()
    before = version(acme), version(None)
    Upstream.objects.filter(pk=upstream.pk).update(tenant=None)
    assert (version(acme), version(None)) == (before[0] + 1, before[1] + 1)


def test_update_that_changes_nothing_bumps_nothing() -> None:
    acme = make_tenant()
    before = version(acme)
    Tenant.objects.update(name=acme.name)
    assert version(acme) == before


def test_deleted_tenant_leaves_no_version_behind() -> None:
    acme = make_tenant()
    make_key(acme)
    pk = acme.pk
    acme.delete()
    assert not ConfigurationVersion.objects.filter(tenant_id=pk).exists()


def test_bump_within_a_rolled_back_savepoint_is_made_again() -> None:
    acme = make_tenant()
    before = version(acme)
    with transaction.atomic():
        with transaction.atomic():
            Tenant.objects.update(name="one")
            connection.check_constraints()  # the deferred triggers fire here
            assert version(acme) == before + 1
            transaction.set_rollback(True)
        assert version(acme) == before
        Tenant.objects.update(name="two")
    assert version(acme) == before + 1


def test_rows_made_again_after_a_flush_do_not_repeat_a_version() -> None:
    make_model("one")
    before = version(None)
    ConfigurationVersion.objects.all().delete()
    make_model("two")
    assert version(None) > before


def race(*works: Callable[[psycopg.Connection], None]) -> list[BaseException]:
    """Each on its own connection, in step: all write, then all commit."""
    written = threading.Barrier(len(works), timeout=10)
    errors: list[BaseException] = []

    def work_and_commit(work: Callable[[psycopg.Connection], None]) -> None:
        try:
            with psycopg.connect(**connection_params()) as own:
                work(own)
                written.wait()
        except psycopg.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=work_and_commit, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    return errors


def test_imports_in_opposite_order_do_not_deadlock() -> None:
    tenants = [make_tenant(f"tenant-{number}") for number in range(6)]
    rows = [
        (
            make_budget(tenant, "tokens", "day", 1).pk,
            make_budget(tenant, "tokens", "month", 1).pk,
        )
        for tenant in tenants
    ]
    before = [version(tenant) for tenant in tenants]

    def importing(pks: list[int]) -> Callable[[psycopg.Connection], None]:
        def work(own: psycopg.Connection) -> None:
            for pk in pks:
                own.execute('UPDATE tenants_app_budget SET "limit" = 2 WHERE id = %s', (pk,))

        return work

    forwards = importing([day for day, _ in rows])
    backwards = importing([month for _, month in reversed(rows)])
    for _ in range(5):
        assert race(forwards, backwards) == []
        Budget.objects.update(limit=1)
    assert [version(tenant) for tenant in tenants] == [number + 15 for number in before]


def test_open_transaction_holds_up_nobody() -> None:
    acme = make_tenant()
    make_budget(acme, "tokens", "day", 1)
    month = make_budget(acme, "tokens", "month", 1)
    with psycopg.connect(**connection_params()) as own:
        own.execute("UPDATE tenants_app_budget SET \"limit\" = 2 WHERE period = 'day'")
        Budget.objects.filter(pk=month.pk).update(limit=2)
        own.rollback()


def test_no_tenant_uses_anothers_upstream() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    upstream = make_upstream(tenant=globex)
    own = make_upstream(tenant=acme)
    route = make_route(make_model(), own, tenant=acme)
    changes: list[Callable[[], int]] = [
        lambda: Route.objects.filter(pk=route.pk).update(upstream=upstream),
        lambda: Tenant.objects.filter(pk=acme.pk).update(default_upstream=upstream),
        lambda: Upstream.objects.filter(pk=own.pk).update(tenant=globex),
    ]
    for change in changes:
        with pytest.raises(IntegrityError, match="upstream_belongs_to_another_tenant"):
            change()
