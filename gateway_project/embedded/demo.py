"""The demo data of `./dev run`: an admin, a tenant with a key, models, prices and budgets.

Seeding again changes nothing that exists, but for the upstream that the environment asks for
(real_upstream.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pghistory
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction

from chat_app.providers.demo import DEMO_MODELS
from gateway_project.embedded import local_model
from gateway_project.embedded.real_upstream import UPSTREAMS, RealUpstream
from tenants_app import keys, tenant_files, tenant_plan, tenant_writes
from tenants_app.models import ApiKey, Budget, Model, Route, Tenant, Upstream
from tenants_app.models.catalogue import validate_base_url
from tenants_app.tenant_files import TenantFile
from usage_app.models import Price

ADMIN = "admin"
TENANT = "demo"
DEFAULT_MODEL = "demo-echo"
PRICED_FROM = datetime(2026, 1, 1, tzinfo=UTC)
BUDGETS = (("tokens", "day", 1_000_000), ("tokens", "month", 20_000_000))

# Per 1 000 000 tokens, input and output; of the demo models and the local one invented.
PRICES = {
    local_model.MODEL_ID: ("0.02", "0.06"),
    "@cf/meta/llama-3.1-8b-instruct-fast": ("0.045", "0.384"),
    "@cf/meta/llama-3.1-8b-instruct": ("0.282", "0.827"),
}
DEMO_PRICE = ("0.5", "1.5")
SIZES = {
    local_model.MODEL_ID: {
        "default_output": 256,
        "max_output": 1024,
        "context_window": local_model.CONTEXT_TOKENS,
    },
}


@transaction.atomic
def seed(
    *,
    admin_password: str,
    demo_key: str,
    real: RealUpstream | None,
    examples: tuple[TenantFile, ...],
) -> None:
    """Make what is missing. Raises ValidationError for an upstream that cannot be as asked for."""
    with pghistory.context(command="run", reason="the demo's seed"):
        _seed(admin_password, demo_key, real, examples)


def _seed(
    admin_password: str, demo_key: str, real: RealUpstream | None, examples: tuple[TenantFile, ...]
) -> None:
    _admin(admin_password)
    upstream, _ = Upstream.objects.get_or_create(
        tenant=None,
        name="demo",
        defaults={"kind": "demo"},
    )
    for public_id, description in DEMO_MODELS.items():
        _model(public_id, upstream, name=description)
    tenant = _demo_tenant(demo_key)
    _example_tenants(examples, upstream)
    _serve_by_demo(tenant, but=real.name if real else "")
    if real:
        _serve_by_real(tenant, real)


def read_examples(folder: Path) -> tuple[TenantFile, ...]:
    """The tenant files of docs/examples."""
    paths = sorted(folder.glob("*.json"))
    return tuple(file for path in paths for file in tenant_files.parse(path.read_bytes()).tenants)


def _admin(password: str) -> None:
    users = get_user_model()._default_manager
    if not users.filter(username=ADMIN).exists():
        users.create_superuser(ADMIN, password=password)


def _model(public_id: str, upstream: Upstream, *, name: str = "") -> Model:
    """The model, and where it is new its route for all tenants and its price."""
    model, is_new = Model.objects.get_or_create(public_id=public_id, defaults={"name": name})
    if is_new:
        plays = public_id if public_id in DEMO_MODELS else DEFAULT_MODEL
        Route.objects.create(model=model, upstream=upstream, upstream_model=plays)
        _price(model, *PRICES.get(public_id, DEMO_PRICE))
    return model


def _price(model: Model, price_in: str, price_out: str) -> None:
    Price.objects.create(
        model=model, valid_from=PRICED_FROM, input=Decimal(price_in), output=Decimal(price_out)
    )


def _demo_tenant(demo_key: str) -> Tenant:
    tenant, is_new = Tenant.objects.get_or_create(
        slug=TENANT,
        defaults={"name": "Demo", "default_model": Model.objects.get(public_id=DEFAULT_MODEL)},
    )
    if is_new:
        for metric, period, limit in BUDGETS:
            Budget.objects.create(tenant=tenant, metric=metric, period=period, limit=limit)
    if not ApiKey.objects.filter(digest=keys.digest(demo_key)).exists():
        keys.issue(tenant, name="Demo key", secret=demo_key)
    return tenant


def _serve_by_real(tenant: Tenant, real: RealUpstream) -> None:
    """The tenant's default model, and every model without a route, is asked of this upstream."""
    upstream = _upstream(tenant, real)
    model, is_new = Model.objects.get_or_create(
        public_id=real.model, defaults=SIZES.get(real.model, {})
    )
    if is_new and real.model in PRICES:
        _price(model, *PRICES[real.model])
    Route.objects.get_or_create(model=model, upstream=upstream, tenant=tenant)
    if tenant.default_model is None or _is_ours(tenant.default_model, upstream):
        _change(tenant, default_model=model)
    _change(tenant, default_upstream=upstream)


def _upstream(tenant: Tenant, real: RealUpstream) -> Upstream:
    if real.address:
        _judge(real.address)
    upstream = Upstream.objects.for_tenant(tenant).filter(name=real.name).first()
    if upstream is None:
        upstream = Upstream(tenant=tenant, name=real.name)
    wanted = {**real.columns, "enabled": True}
    is_as_wanted = (
        upstream.pk is not None
        and all(getattr(upstream, name) == value for name, value in wanted.items())
        and upstream.open_token() == real.token
    )
    if not is_as_wanted:
        for name, value in wanted.items():
            setattr(upstream, name, value)
        upstream.seal_token(real.token)
        upstream.full_clean()
        upstream.save()
    return upstream


def _judge(address: str) -> None:
    try:
        validate_base_url(address)
    except ValidationError as error:
        raise ValidationError({"base_url": error.messages}) from None


def _serve_by_demo(tenant: Tenant, *, but: str = "") -> None:
    """Undo what earlier starts did with upstreams other than this one, and nothing else."""
    ours = Upstream.objects.for_tenant(tenant).filter(name__in=UPSTREAMS)
    for upstream in ours.exclude(name=but):
        if tenant.default_model and _is_ours(tenant.default_model, upstream):
            _change(tenant, default_model=Model.objects.get(public_id=DEFAULT_MODEL))
        if tenant.default_upstream_id == upstream.pk:
            _change(tenant, default_upstream=None)
        _change(upstream, enabled=False)


def _is_ours(model: Model, upstream: Upstream) -> bool:
    """True for a default model that seeding chose: no operator's choice is lost."""
    is_routed = Route.objects.filter(model=model, upstream=upstream).exists()
    return model.public_id == DEFAULT_MODEL or is_routed


def _change(row: Tenant | Upstream, **values: object) -> None:
    """Save these columns if they differ: an idle save would make every process reload."""
    if any(getattr(row, name) != value for name, value in values.items()):
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=[*values, "updated_at"])


def _example_tenants(examples: tuple[TenantFile, ...], demo: Upstream) -> None:
    """Import those that are not there, their models answered by the demo provider."""
    known = set(Tenant.objects.values_list("slug", flat=True))
    new = [example for example in examples if example.slug not in known]
    for example in new:
        for public_id in (example.chat, *(example.fallbacks or ()), *(example.allowed or ())):
            _model(public_id, demo)
    if new:
        tenant_writes.apply(tenant_plan.plan(new, kind=Upstream.Kind.DEMO))
        own = Route.objects.filter(tenant__slug__in=[example.slug for example in new])
        own.update(upstream_model=DEFAULT_MODEL)
