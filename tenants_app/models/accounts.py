"""Who has which rights: Django's own tables of accounts and groups, named so that they can be
audited. Triggers are declared on a model, and these models are not ours: hence proxies.
"""

from django.contrib.auth.models import Group, User

# Their permissions are those of Django's models.
_NONE: tuple[str, ...] = ()


class Account(User):
    """A user, as the audit trail knows it: without password and last login."""

    class Meta:
        proxy = True
        default_permissions = _NONE
        verbose_name = "user"


class AccountGroup(User.groups.through):  # type: ignore[name-defined, misc]
    """A group that a user is in."""

    class Meta:
        proxy = True
        default_permissions = _NONE
        verbose_name = "group of user"


class AccountPermission(User.user_permissions.through):  # type: ignore[name-defined, misc]
    """A permission that a user has beside those of its groups."""

    class Meta:
        proxy = True
        default_permissions = _NONE
        verbose_name = "permission of user"


class PermissionGroup(Group):
    """A group, as the audit trail knows it."""

    class Meta:
        proxy = True
        default_permissions = _NONE
        verbose_name = "group"


class GroupPermission(Group.permissions.through):  # type: ignore[name-defined, misc]
    """A permission that all of a group have."""

    class Meta:
        proxy = True
        default_permissions = _NONE
        verbose_name = "permission of group"
