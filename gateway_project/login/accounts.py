"""Who somebody is here whom the provider has named, and what they may do: the accounts of OIDC.

An account is found by issuer and subject, never by a name or an e-mail address. Its roles and
tenants are the provider's at each login: what was taken away there is gone here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pghistory
import structlog
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction

from gateway_project.login.models import OidcIdentity
from tenants_app import staff
from tenants_app.models import Tenant

ALL_TENANTS = "*"
LONGEST_NAME = 150

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider has named, and what it says of them."""

    issuer: str
    subject: str
    name: str = ""
    email: str = ""
    given_name: str = ""
    family_name: str = ""
    groups: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Rights:
    """What the groups of somebody come to; `tenants` is None where the provider maps none."""

    roles: frozenset[str]
    tenants: frozenset[str] | None

    def __bool__(self) -> bool:
        return bool(self.roles) and (self.tenants is None or bool(self.tenants))


class NotAdmitted(Exception):
    """The provider knows them, and they may not come in. The text is for them."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def admit(person: Person) -> User:
    """The account of a person, with the rights of this moment; made if there is none yet.

    Raises NotAdmitted, and takes from an account that it knows what the provider took from it.
    """
    rights = rights_of(person.groups)
    # What a login leaves as it is, it does not write, and so there is nothing to tell of it.
    reason = f"groups at {settings.OIDC_NAME}"
    with pghistory.context(command="login", reason=reason), transaction.atomic():
        user = _known(person)
        if user is not None and user.is_superuser:
            raise NotAdmitted("superuser", "Superusers log in with their password.")
        if user is not None and not user.is_active:
            raise NotAdmitted("closed", "Your account here is closed.")
        if user is None and rights:
            user = _made(person)
        if user is not None:
            _grant(user, rights)
    if user is None or not user.is_staff:
        raise NotAdmitted("no_role", "None of your groups has a role here.")
    return user


def rights_of(groups: Iterable[str]) -> Rights:
    """By the settings' maps. Where tenants are mapped, nobody sees all of them for want of one."""
    groups = frozenset(groups)
    roles = _mapped(settings.OIDC_ROLES, groups)
    tenants = _mapped(settings.OIDC_TENANTS, groups) if settings.OIDC_TENANTS else None
    return Rights(roles, tenants)


def _mapped(table: Mapping[str, Iterable[str]], groups: frozenset[str]) -> frozenset[str]:
    return frozenset(name for group in groups for name in table.get(group, ()))


def _known(person: Person) -> User | None:
    """The account, locked until its rights are written."""
    identity = (
        OidcIdentity.objects.select_for_update()
        .select_related("user")
        .filter(issuer=person.issuer, subject=person.subject)
        .first()
    )
    return identity.user if identity else None


def _made(person: Person) -> User:
    """A new account, without a password. A name that somebody has is not taken from them."""
    user = User(
        username=_free_name(person),
        email=person.email[:254],
        first_name=person.given_name[:150],
        last_name=person.family_name[:150],
    )
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save()
            OidcIdentity.objects.create(user=user, issuer=person.issuer, subject=person.subject)
    except IntegrityError:
        # The same person, at the same moment, in another window.
        known = _known(person)
        if known is None:
            raise
        return known
    log.info("staff_account_made", user=user.username, issuer=person.issuer)
    return user


def _free_name(person: Person) -> str:
    name = User.normalize_username(re.sub(r"[^\w.@+-]", "", person.name))[:LONGEST_NAME]
    if name and not User.objects.filter(username__iexact=name).exists():
        return name
    return f"{name[: LONGEST_NAME - 13] or 'staff'}-{secrets.token_hex(6)}"


def _grant(user: User, rights: Rights) -> None:
    """Exactly these: groups that somebody gave it by hand go, too."""
    before = frozenset(user.groups.values_list("name", flat=True))
    given = Group.objects.filter(name__in=rights.roles if rights else ())
    after = frozenset(group.name for group in given)
    tenants_before = staff.tenants_of(user)
    user.groups.set(given)
    if user.is_staff != bool(after):
        user.is_staff = bool(after)
        user.save(update_fields=["is_staff"])
    _hold(user, rights)
    # Permissions and tenants are remembered with the object.
    fresh = User.objects.get(pk=user.pk)
    if before != after or tenants_before != staff.tenants_of(fresh):
        _tell(user, before, after)
    if missing := rights.roles - after if rights else ():
        log.error("staff_role_unknown", roles=sorted(missing))


def _hold(user: User, rights: Rights) -> None:
    if rights.tenants is None:
        return
    if rights and ALL_TENANTS in rights.tenants:
        staff.release(user)
    else:
        staff.hold_to(user, Tenant.objects.filter(slug__in=rights.tenants))


def _tell(user: User, before: frozenset[str], after: frozenset[str]) -> None:
    """In the log; the audit trail has it already."""
    held = staff.tenants_of(User.objects.get(pk=user.pk))
    tenants = Tenant.objects.filter(pk__in=held or ()).order_by("slug")
    slugs = list(tenants.values_list("slug", flat=True))
    log.info(
        "staff_rights_changed",
        user=user.username,
        given=sorted(after - before),
        taken=sorted(before - after),
        tenants=None if held is None else slugs,
    )
