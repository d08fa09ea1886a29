"""The part of a tenant's page that tells by which models its requests are answered, through which
upstreams, and what keeps one from answering. It follows `tenants_app.configuration`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from tenants_app.admin.sections import Section, list_url
from tenants_app.models import Model, Route, Tenant, Upstream
from tenants_app.snapshots import OWN_DEFAULT, OWN_ROUTE, SHARED_DEFAULT, SHARED_ROUTE

MODELS_SHOWN: Final = 10
MODELS_OFFERED: Final = 500


@dataclass(frozen=True, slots=True)
class Way:
    """An upstream that answers for a model, what the model is called there, and whose way it is."""

    upstream: Upstream
    called: str
    whose: str


@dataclass(frozen=True, slots=True)
class Served:
    """A model that the tenant may ask for: when it is used, in which order upstreams are asked, and
    what is wrong.
    """

    model: Model
    roles: Sequence[str]
    ways: Sequence[Way]
    problem: str


@dataclass(frozen=True, slots=True)
class Models:
    """Some models, those first that requests get without naming one."""

    tenant: Tenant
    rows: Sequence[Served]
    count: int
    own_routes: int
    routes_url: str
    add_route_url: str


def models(request: HttpRequest, tenant: Tenant) -> Section | None:
    """The models and routes of the tenant."""
    user = request.user
    if not user.has_perms(["tenants_app.view_model", "tenants_app.view_route"]):
        return None
    usable = _usable(tenant)
    roles = _roles(tenant)
    named = list(Model.objects.filter(pk__in=roles))
    named.sort(key=lambda model: list(roles).index(model.pk))
    shown = named + list(usable.exclude(pk__in=roles)[: max(MODELS_SHOWN - len(named), 0)])
    allowed = set(usable.filter(pk__in=roles).values_list("pk", flat=True))
    ways = _ways(tenant, shown)
    rows = [
        Served(
            model,
            roles.get(model.pk, ()),
            ways[model.pk],
            _problem(model, ways[model.pk], model.pk not in roles or model.pk in allowed),
        )
        for model in shown
    ]
    add = reverse("admin:tenants_app_route_add")
    data = Models(
        tenant=tenant,
        rows=rows,
        count=usable.count(),
        own_routes=Route.objects.for_tenant(tenant).count(),
        routes_url=list_url("tenants_app.route", tenant),
        add_route_url=f"{add}?tenant={tenant.pk}" if user.has_perm("tenants_app.add_route") else "",
    )
    more = ("All models", reverse("admin:tenants_app_model_changelist"))
    return Section("models", "Models and routes", "tenants_app/sections/models.html", data, more)


def choices(tenant: Tenant) -> Sequence[str]:
    """The models that would answer the tenant if asked for, by public id; bounded."""
    usable = list(_usable(tenant).filter(enabled=True)[:MODELS_OFFERED])
    ways = _ways(tenant, usable)
    return [model.public_id for model in usable if ways[model.pk]]


def _usable(tenant: Tenant) -> QuerySet[Model]:
    """What the allow-list lets through, or everything that is on."""
    if tenant.allow_list_enabled:
        return tenant.allowed_models.order_by("public_id")
    return Model.objects.filter(enabled=True).order_by("public_id")


def _roles(tenant: Tenant) -> Mapping[int, Sequence[str]]:
    """When a model is used without being named, in the order in which it would be."""
    roles: dict[int, list[str]] = defaultdict(list)
    if tenant.default_model_id is not None:
        roles[tenant.default_model_id].append("default")
    chain = tenant.fallbacks.order_by("position").values_list("model_id", flat=True)
    for place, model_id in enumerate(chain[:MODELS_SHOWN], start=1):
        roles[model_id].append(f"fallback {place}")
    return roles


def _ways(tenant: Tenant, shown: Iterable[Model]) -> Mapping[int, Sequence[Way]]:
    """The tenant's own routes, else those of all, else the default upstream; of upstreams that are
    on.
    """
    shown = list(shown)
    routes = Route.objects.filter(Q(tenant=tenant) | Q(tenant=None), model__in=shown)
    found: dict[tuple[int, bool], list[Route]] = defaultdict(list)
    for route in routes.select_related("upstream").order_by("priority", "id"):
        found[route.model_id, route.tenant_id is not None].append(route)
    fallback = _default_way(tenant)
    ways: dict[int, Sequence[Way]] = {}
    for model in shown:
        own, shared = found.get((model.pk, True)), found.get((model.pk, False))
        whose = OWN_ROUTE if own else SHARED_ROUTE
        told = [
            Way(route.upstream, route.upstream_model or model.public_id, whose)
            for route in own or shared or ()
            if route.upstream.enabled
        ]
        if fallback and not own and not shared:
            told = [Way(fallback[0], model.public_id, fallback[1])]
        ways[model.pk] = told
    return ways


def _default_way(tenant: Tenant) -> tuple[Upstream, str] | None:
    """The upstream of models without a route, and whose choice it is."""
    own = tenant.default_upstream_id is not None
    chosen = Q(pk=tenant.default_upstream_id) if own else Q(is_default=True, tenant=None)
    upstream = Upstream.objects.filter(chosen, enabled=True).first()
    if upstream is None:
        return None
    return upstream, OWN_DEFAULT if own else SHARED_DEFAULT


def _problem(model: Model, ways: Sequence[Way], is_allowed: bool) -> str:
    if not is_allowed:
        return "Not on the allow-list: requests for it get 403, and as a fallback it is passed over"
    if not model.enabled:
        return "Switched off: requests for it get 404"
    return "" if ways else "No upstream answers for it: requests get 404. Add a route"
