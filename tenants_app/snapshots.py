"""What a request may do, frozen at one version of the configuration. Values only, no I/O.

`directory` makes them; nothing here outlives a change, because whoever spends compares `version`
and `shared_version` with the database's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, Self
from uuid import UUID

from django.conf import settings

from tenants_app.models.catalogue import Upstream, open_token
from tenants_app.sealed import Sealed

Metric = Literal["requests", "tokens", "cost"]
Period = Literal["concurrent", "minute", "day", "month"]

COST_PLACES: Final = 10

# Whose choice an upstream is.
OWN_ROUTE: Final = "own route"
SHARED_ROUTE: Final = "route of all tenants"
OWN_DEFAULT: Final = "the tenant's default"
SHARED_DEFAULT: Final = "the default of all tenants"


@dataclass(frozen=True, slots=True)
class Raise:
    """What a limit has more within `[starts_at, ends_at)`, in the limit's own unit."""

    starts_at: datetime
    ends_at: datetime
    extra: int

    def is_in_force(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget as integers: requests, tokens, or cost in 10^-10 of the ledger's currency. Its
    raises may be in force, over, or yet to come.
    """

    metric: Metric
    period: Period
    limit: int
    burst: int | None = None
    raises: tuple[Raise, ...] = ()

    def at(self, now: datetime) -> int:
        """What it is at a moment of the database's clock."""
        if not self.raises:
            return self.limit
        return self.limit + sum(one.extra for one in self.raises if one.is_in_force(now))

    def most(self, since: datetime, now: datetime) -> int:
        """The most that it was from one moment to another."""
        if not self.raises:
            return self.limit
        begins = (one.starts_at for one in self.raises if since < one.starts_at <= now)
        return max(map(self.at, (since, *begins)))


def limit_of(
    metric: Metric,
    period: Period,
    amount: Decimal,
    burst: int | None,
    raises: Iterable[Sequence[str]] = (),
) -> Limit:
    """A limit from a budget's columns and `raises.standing`; exact, since both have at most ten
    places.
    """
    places = COST_PLACES if metric == "cost" else 0
    standing = tuple(
        Raise(
            datetime.fromisoformat(starts),
            datetime.fromisoformat(ends),
            int(Decimal(extra).scaleb(places)),
        )
        for starts, ends, extra in raises
    )
    return Limit(metric, period, int(amount.scaleb(places)), burst, standing)


@dataclass(frozen=True, slots=True)
class UpstreamSnapshot:
    """A server that answers; its token stays sealed until a request needs it."""

    id: int
    uuid: UUID
    name: str
    kind: str
    base_url: str = ""
    form: str = ""
    account_id: str = ""
    gateway_id: str = ""
    sealed_token: Sealed | None = None
    connect_timeout_ms: int = 5_000
    first_byte_timeout_ms: int = 60_000
    idle_timeout_ms: int = 60_000
    total_timeout_ms: int = 900_000

    @classmethod
    def of(cls, upstream: Upstream) -> Self:
        """The upstream as its row is now."""
        return cls(**{field.name: getattr(upstream, field.name) for field in fields(cls)})

    def open_token(self) -> str:
        """The token in plain text, "" without one. Raises sealed.CannotOpen."""
        return open_token(self.sealed_token, self.uuid)


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """An upstream, the model's name there, and whose choice it is."""

    upstream: UpstreamSnapshot
    upstream_model: str
    whose: str = field(default=SHARED_ROUTE, compare=False)


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """A model with the routes that this tenant may take, best first; id None: passed through."""

    id: int | None
    public_id: str
    default_output: int = 1024
    max_output: int = 8192
    context_window: int | None = None
    hold_bytes_per_token: Decimal = Decimal(1)
    template_tokens: int = 0
    image_tokens: int = 0
    routes: tuple[RouteSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class TenantSnapshot:
    """A tenant's whole configuration at `version` and `shared_version`."""

    id: int
    slug: str
    name: str = ""
    active: bool = True
    timezone: str = "UTC"
    default_model: str | None = None
    fallback_models: tuple[str, ...] = ()
    # None: the allow-list is switched off.
    allowed_models: frozenset[str] | None = None
    session_memory: bool = True
    session_retention_days: int = 30
    max_messages_per_session: int = 200
    context_messages: int = 20
    context_tokens: int = 8_000
    cost_center: str = ""
    hosts: frozenset[str] = frozenset()
    limits: tuple[Limit, ...] = ()
    version: int = 0
    shared_version: int = 0
    models: Mapping[str, ModelSnapshot] = field(default_factory=dict, repr=False)
    default_upstream: UpstreamSnapshot | None = None
    has_own_default: bool = False
    # Switched off, or all of whose upstreams are: these are not passed through either.
    closed_models: frozenset[str] = frozenset()
    # The hosts of all tenants: a request to another tenant's host is refused.
    host_owners: Mapping[str, int] = field(default_factory=dict, repr=False)

    def model(self, public_id: str) -> ModelSnapshot | None:
        """The model with its routes, or None if this tenant has no way to it.

        A model without a route is passed through to the default upstream, unless it is closed.
        Whether the allow-list contains the model is the router's question.
        """
        model = self.models.get(public_id)
        if model is not None and model.routes:
            return model
        upstream = self.default_upstream
        if upstream is None or public_id in self.closed_models:
            return None
        whose = OWN_DEFAULT if self.has_own_default else SHARED_DEFAULT
        return passed_through(model or unknown_model(public_id), upstream, whose)


def unknown_model(public_id: str) -> ModelSnapshot:
    """A model that is in no catalogue, with the settings' output limits."""
    return ModelSnapshot(
        id=None,
        public_id=public_id,
        default_output=settings.DEFAULT_MODEL_OUTPUT_TOKENS,
        max_output=settings.DEFAULT_MODEL_MAX_OUTPUT_TOKENS,
    )


def passed_through(model: ModelSnapshot, upstream: UpstreamSnapshot, whose: str) -> ModelSnapshot:
    """The model with one route, under its own name."""
    return ModelSnapshot(
        id=model.id,
        public_id=model.public_id,
        default_output=model.default_output,
        max_output=model.max_output,
        context_window=model.context_window,
        hold_bytes_per_token=model.hold_bytes_per_token,
        template_tokens=model.template_tokens,
        image_tokens=model.image_tokens,
        routes=(RouteSnapshot(upstream, model.public_id, whose),),
    )


@dataclass(frozen=True, slots=True)
class TeamSnapshot:
    """A key's team, as far as a request needs it."""

    id: int
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """An API key without its secret."""

    id: int
    name: str
    prefix: str = ""
    scopes: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    limits: tuple[Limit, ...] = ()
    team: TeamSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a tenant, by one of its keys, or by a trusted edge's word (key None)."""

    tenant: TenantSnapshot
    key: KeySnapshot | None = None

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Everything that its requests count against: the tenant's, its team's, the key's."""
        key = self.key
        if key is None:
            return self.tenant.limits
        return self.tenant.limits + (key.team.limits if key.team else ()) + key.limits
