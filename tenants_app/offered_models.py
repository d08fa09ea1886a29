"""Makes models and routes of what an upstream says it offers. It asks no upstream itself."""

from collections.abc import Collection
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction

from tenants_app.models import Model, Route, Upstream

IMPORT_MAX = 500


@dataclass(frozen=True, slots=True)
class Offer:
    """One model that the upstream offers, and how much of it is here already."""

    name: str
    is_model: bool
    is_routed: bool


@dataclass(frozen=True, slots=True)
class Added:
    """What an import made, by public id."""

    models: tuple[str, ...]
    routes: tuple[str, ...]


def compare(upstream: Upstream, names: Collection[str]) -> list[Offer]:
    """Each of these names beside the models and the upstream's routes that there are."""
    models = set(Model.objects.filter(public_id__in=names).values_list("public_id", flat=True))
    routed = {
        called or public_id
        for called, public_id in upstream.routes.values_list("upstream_model", "model__public_id")
    }
    return [Offer(name, name in models, name in routed) for name in names]


@transaction.atomic
def add(upstream: Upstream, names: Collection[str]) -> Added:
    """A model for each of these names that has none, and a route where there is none; the routes
    of a tenant's own upstream are the tenant's. Twice is once. Raises ValidationError.
    """
    if len(names) > IMPORT_MAX:
        raise ValidationError(f"At most {IMPORT_MAX} models are imported at once.")
    missing = [offer for offer in compare(upstream, sorted(set(names))) if not offer.is_routed]
    new = [Model(public_id=offer.name) for offer in missing if not offer.is_model]
    for model in new:
        model.full_clean()
        model.save()
    models = Model.objects.in_bulk([offer.name for offer in missing], field_name="public_id")
    for offer in missing:
        route = Route(model=models[offer.name], upstream=upstream, tenant=upstream.tenant)
        route.full_clean()
        route.save()
    return Added(tuple(model.public_id for model in new), tuple(offer.name for offer in missing))
