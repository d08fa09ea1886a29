"""Which model serves a call, through which routes, in which order, and why. PURE.

The request's model comes before the deployment's, and that before the tenant's; the allow-list
holds for all of them (docs/adrs/ADR-004-model-selection-precedence.md). Prices and budgets are
looked at elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chat_app.errors import ModelNotAllowed, ModelUnknown

if TYPE_CHECKING:
    from chat_app.schema import ChatCall
    from tenants_app.snapshots import Caller, ModelSnapshot, RouteSnapshot, TenantSnapshot

Reason = Literal["request", "env", "tenant", "fallback"]

# Every candidate may take its whole first-byte timeout while the client waits.
MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the environment says for all tenants: MODEL_ID and FALLBACK_MODEL_ID, "" if unset."""

    model_id: str = ""
    fallback_model_id: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the call. All routes of a model share the reason why it was chosen."""

    model: ModelSnapshot
    route: RouteSnapshot
    reason: Reason


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidates, best first and never empty, and a sentence for each model passed over."""

    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """What a request that names no model would get, for GET /health."""

    model_id: str | None
    fallback_model_id: str | None
    notes: tuple[str, ...] = ()


def choose(caller: Caller, call: ChatCall, deployment: Deployment) -> Choice:
    """The candidates for `call`, best first.

    Raises ModelNotAllowed or ModelUnknown for the chosen model. A model of the environment or of a
    fallback chain that the tenant cannot use is passed over with a note instead.
    """
    tenant = caller.tenant
    notes: list[str] = []
    model, reason = _primary(tenant, call.model_id, deployment, notes)
    candidates = [Candidate(model, route, reason) for route in model.routes]
    for fallback in _fallbacks(tenant, model.public_id, deployment, notes):
        candidates += [Candidate(fallback, route, "fallback") for route in fallback.routes]
    return Choice(tuple(candidates[:MAX_CANDIDATES]), tuple(notes))


def describe(caller: Caller, deployment: Deployment) -> Described:
    """The model and first fallback of a request that names none; None where there is none."""
    tenant = caller.tenant
    notes: list[str] = []
    try:
        model_id = _primary(tenant, None, deployment, notes)[0].public_id
    except (ModelNotAllowed, ModelUnknown) as exc:
        model_id = None
        notes.append(exc.message)
    fallback = next(_fallbacks(tenant, model_id, deployment, notes), None)
    return Described(model_id, fallback.public_id if fallback else None, tuple(notes))


def _primary(
    tenant: TenantSnapshot, requested: str | None, deployment: Deployment, notes: list[str]
) -> tuple[ModelSnapshot, Reason]:
    if requested:
        return _usable(tenant, requested), "request"
    if deployment.model_id:
        try:
            return _usable(tenant, deployment.model_id), "env"
        except (ModelNotAllowed, ModelUnknown) as exc:
            notes.append(f"MODEL_ID was passed over: {exc.message}")
    if tenant.default_model:
        return _usable(tenant, tenant.default_model), "tenant"
    raise ModelUnknown("The request names no model, and the tenant has no default model")


def _fallbacks(
    tenant: TenantSnapshot, primary: str | None, deployment: Deployment, notes: list[str]
) -> Iterator[ModelSnapshot]:
    seen = {primary, None, ""}
    for model_id in (deployment.fallback_model_id, *tenant.fallback_models):
        if model_id in seen:
            continue
        seen.add(model_id)
        try:
            yield _usable(tenant, model_id)
        except (ModelNotAllowed, ModelUnknown) as exc:
            notes.append(f"A fallback was passed over: {exc.message}")


def _usable(tenant: TenantSnapshot, model_id: str) -> ModelSnapshot:
    if tenant.allowed_models is not None and model_id not in tenant.allowed_models:
        raise ModelNotAllowed(f"The model {model_id} is not on the tenant's allow-list")
    model = tenant.model(model_id)
    if model is None or not model.routes:
        raise ModelUnknown(f"No upstream serves the model {model_id}")
    return model
