"""Which tenants a member of staff sees: all, or those given. Every page and report of the staff
asks here; who may do what there is Django's permissions.
"""

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection, transaction

from tenants_app.models import StaffScope, Tenant

# The ids of these tenants for a row `u` of auth_user: an array, or NULL for all. Who has the
# permission is held to the tenants given also before any is, and who has a scope also when none is
# left in it.
TENANTS_OF_U: Final = """
CASE WHEN NOT u.is_superuser AND (
    EXISTS (SELECT FROM tenants_app_staffscope s WHERE s.user_id = u.id)
    OR EXISTS (
        SELECT FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
        WHERE c.app_label = 'tenants_app' AND p.codename = 'within_tenants' AND p.id IN (
            SELECT x.permission_id FROM auth_user_user_permissions x WHERE x.user_id = u.id
            UNION ALL
            SELECT x.permission_id FROM auth_group_permissions x
            JOIN auth_user_groups g ON g.group_id = x.group_id WHERE g.user_id = u.id
        )
    )
) THEN ARRAY(
    SELECT t.tenant_id FROM tenants_app_staffscope s
    JOIN tenants_app_staffscope_tenants t ON t.staffscope_id = s.id WHERE s.user_id = u.id
) END
"""
_KNOWN: Final = "_tollgate_tenants"


def tenants_of(user: Any) -> frozenset[int] | None:
    """The ids of the tenants that a user is held to, or None for all of them. Superusers are never
    held. One query, remembered with the user as Django does with permissions.
    """
    if user.is_superuser:
        return None
    if not hasattr(user, _KNOWN):
        setattr(user, _KNOWN, _read(user))
    known: frozenset[int] | None = getattr(user, _KNOWN)
    return known


def hold_to(user: Any, tenants: Iterable[Tenant]) -> None:
    """From now on the user sees these tenants and no others; with none of them, nothing."""
    with transaction.atomic():
        scope, _ = StaffScope.objects.get_or_create(user=user)
        scope.tenants.set(tenants)
    user.__dict__.pop(_KNOWN, None)


def release(user: Any) -> None:
    """Take the limits away: the user sees all tenants, unless a role holds them still."""
    StaffScope.objects.filter(user=user).delete()
    user.__dict__.pop(_KNOWN, None)


def _read(user: Any) -> frozenset[int] | None:
    """Of nobody's account no row is found: then it is no tenant at all."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {TENANTS_OF_U} FROM auth_user u WHERE u.id = %s", [user.pk])
        row = cursor.fetchone()
    found = [] if row is None else row[0]
    return None if found is None else frozenset(found)
