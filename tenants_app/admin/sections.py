"""Parts of a tenant's page that the ground floor offers: its state, keys and changes. Each is data
for a template, of rows that are bounded however many there are; gateway_project composes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.apps import apps
from django.conf import settings
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from tenants_app import staff
from tenants_app.admin import history
from tenants_app.admin.keys import STATES, state_of
from tenants_app.models import ApiKey, Tenant, TenantHost

HOSTS_SHOWN: Final = 3
KEYS_SHOWN: Final = 10
CHANGES_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: `id` is what links lead to, `more` what the link to all of it says, and its
    address. A live one is asked for again while somebody looks at it.
    """

    id: str
    title: str
    template: str
    data: Any
    more: tuple[str, str] | None = None
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class Suspension:
    """Since when a tenant is suspended, by whom, and why, as the audit trail has it."""

    since: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class State:
    """What heads a tenant's page. `now` is the time where the tenant is."""

    tenant: Tenant
    now: str
    currency: str
    hosts: Sequence[str]
    more_hosts: bool
    suspension: Suspension | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as a line of the page."""

    key: ApiKey
    state: str
    label: str
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Keys:
    """Some keys, those in use first, and how many there are of each state."""

    tenant: Tenant
    rows: Sequence[KeyRow]
    live: int
    others: int
    issue_url: str
    issue_many_url: str
    may_change: bool


def state(request: HttpRequest, tenant: Tenant) -> State:
    """The head of the page."""
    hosts: list[str] = []
    if request.user.has_perm("tenants_app.view_tenanthost"):
        found = TenantHost.objects.for_tenant(tenant).values_list("host", flat=True)
        hosts = list(found[: HOSTS_SHOWN + 1])
    suspended = tenant.status == Tenant.Status.SUSPENDED
    return State(
        tenant=tenant,
        now=f"{timezone.now().astimezone(ZoneInfo(tenant.timezone)):%Y-%m-%d %H:%M}",
        currency=settings.LEDGER_CURRENCY,
        hosts=hosts[:HOSTS_SHOWN],
        more_hosts=len(hosts) > HOSTS_SHOWN,
        suspension=_suspension(tenant) if suspended else None,
    )


def keys(request: HttpRequest, tenant: Tenant) -> Section | None:
    """The tenant's keys, with what can be done to them."""
    user = request.user
    if not user.has_perm("tenants_app.view_apikey"):
        return None
    of_tenant = ApiKey.objects.for_tenant(tenant)
    alive = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
    # As the list of tenants counts: the playground's key opens nothing.
    client = Q(kind=ApiKey.Kind.CLIENT)
    counts = of_tenant.aggregate(
        all=Count("id"), client=Count("id", filter=client), live=Count("id", filter=client & alive)
    )
    newest = of_tenant.select_related("use", "tenant").order_by(
        F("revoked_at").desc(nulls_first=True), F("use__last_used_at").desc(nulls_last=True), "-id"
    )
    add, many = "admin:tenants_app_apikey_add", "admin:tenants_app_tenant_issue_keys"
    may_issue = user.has_perm("tenants_app.add_apikey")
    data = Keys(
        tenant=tenant,
        rows=[_key_row(key) for key in newest[:KEYS_SHOWN]],
        live=counts["live"],
        others=counts["client"] - counts["live"],
        issue_url=f"{reverse(add)}?tenant={tenant.pk}" if may_issue else "",
        issue_many_url=reverse(many, args=[tenant.pk]) if may_issue else "",
        may_change=user.has_perm("tenants_app.change_apikey"),
    )
    number = f"{counts['all']:,} " if counts["all"] > KEYS_SHOWN else ""
    more = (f"All {number}keys", list_url("tenants_app.apikey", tenant))
    return Section("keys", "API keys", "tenants_app/sections/keys.html", data, more)


def changes(request: HttpRequest, tenant: Tenant) -> Section:
    """Who changed what of the tenant's configuration, when, and why."""
    newest = history.of(tenant, request.user, most=CHANGES_SHOWN)
    more = ("The whole history", reverse("admin:tenants_app_tenant_history", args=[tenant.pk]))
    return Section("changes", "Changes", "tenants_app/sections/changes.html", newest, more)


def newest_changes(request: HttpRequest, _look: Any) -> Section | None:
    """The newest changes of the configuration, for those who may view all of them."""
    user = request.user
    if staff.tenants_of(user) is not None or not user.has_perm("tenants_app.view_change"):
        return None
    more = ("The whole history", reverse("admin:tenants_app_change_changelist"))
    rows = history.newest(user, most=CHANGES_SHOWN)
    return Section("changes", "Changes", "tenants_app/sections/newest_changes.html", rows, more)


def list_url(label: str, tenant: Tenant) -> str:
    """The page of a model's rows, of this tenant."""
    name = label.replace(".", "_")
    return f"{reverse(f'admin:{name}_changelist')}?tenant__id__exact={tenant.pk}"


def _key_row(key: ApiKey) -> KeyRow:
    use = getattr(key, "use", None)
    worth = state_of(key)
    return KeyRow(key, worth, STATES[worth], use.last_used_at if use else None)


def _suspension(tenant: Tenant) -> Suspension | None:
    """From the first event since it was last active; none if the trail has lost it."""
    event_model: Any = apps.get_model("tenants_app.TenantEvent")
    events = event_model.objects.filter(pgh_obj_id=tenant.pk)
    other = events.exclude(status=tenant.status).aggregate(last=Max("pgh_id"))["last"] or 0
    since = events.filter(pgh_id__gt=other).select_related("pgh_context").order_by("pgh_id")
    event = since.first()
    if event is None:
        return None
    context = event.pgh_context.metadata if event.pgh_context else {}
    user = context.get("user")
    who = history.names_of([user]).get(user, "no user") if user else "no user"
    return Suspension(event.pgh_created_at, who, str(context.get("reason") or ""))
