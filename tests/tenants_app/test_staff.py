"""Whom a member of staff sees: everybody, or the tenants given, and nobody when none is left."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User

from tenants_app import staff
from tenants_app.models import StaffScope
from tests.admin_site import make_staff
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db


def seen_by(user: User) -> frozenset[int] | None:
    """As the next request would find it."""
    return staff.tenants_of(User.objects.get(pk=user.pk))


def test_staff_sees_all_tenants_or_those_given() -> None:
    user, acme = make_staff("tenants_app.view_tenant"), make_tenant("acme")
    make_tenant("globex")
    assert seen_by(user) is None
    staff.hold_to(user, [acme])
    assert seen_by(user) == staff.tenants_of(user) == frozenset({acme.pk})
    staff.release(user)
    assert seen_by(user) is staff.tenants_of(user) is None


def test_whose_last_tenant_is_gone_sees_nothing() -> None:
    user, acme, globex = make_staff(), make_tenant("acme"), make_tenant("globex")
    staff.hold_to(user, [acme, globex])
    acme.delete()
    assert seen_by(user) == frozenset({globex.pk})
    globex.delete()
    assert seen_by(user) == frozenset()
    staff.hold_to(user, [make_tenant("initech")])
    StaffScope.objects.get(user=user).tenants.clear()
    assert seen_by(user) == frozenset()


def test_role_holds_before_any_tenant_is_given_whatever_it_is_called() -> None:
    mark = Permission.objects.get(codename="within_tenants")
    group = Group.objects.create(name="whatever")
    group.permissions.add(mark)
    by_group, by_itself = make_staff("tenants_app.view_tenant"), make_staff()
    by_group.groups.add(group)
    by_itself.user_permissions.add(mark)
    assert seen_by(by_group) == seen_by(by_itself) == frozenset()
    staff.release(by_group)
    assert seen_by(by_group) == frozenset()


def test_superusers_are_never_held_and_nobody_sees_nothing() -> None:
    boss = make_staff(superuser=True)
    staff.hold_to(boss, [make_tenant("acme")])
    assert seen_by(boss) is None
    assert staff.tenants_of(AnonymousUser()) == frozenset()
