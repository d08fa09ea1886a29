"""Reads the configuration into snapshots, each read at one moment of the database. No caching.

Only `directory` calls it. A missing version row counts as version 0.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from psycopg import AsyncCursor
from psycopg.rows import dict_row

from tenants_app.database import Connection
from tenants_app.raises import standing
from tenants_app.sealed import Sealed
from tenants_app.snapshots import (
    OWN_ROUTE,
    SHARED_ROUTE,
    Caller,
    KeySnapshot,
    Limit,
    ModelSnapshot,
    RouteSnapshot,
    TeamSnapshot,
    TenantSnapshot,
    UpstreamSnapshot,
    limit_of,
)

Record = dict[str, Any]
By = Literal["digest", "key", "slug", "host", "tenant"]

VERSION = "coalesce((SELECT version FROM tenants_app_configurationversion WHERE {}), 0)"
VERSIONS = (
    f"{VERSION.format('tenant_id = tenant.id')} AS version, "
    f"{VERSION.format('tenant_id IS NULL')} AS shared_version"
)
LIMITS = f"""
    (SELECT jsonb_agg(
        jsonb_build_array(metric, period, "limit"::text, burst, {standing()}) ORDER BY id)
     FROM tenants_app_budget budget WHERE {{}})"""
KEY = f"""
    SELECT tenant.id AS tenant_id, {VERSIONS}, key.id, key.name, key.prefix, key.scopes,
           {{expires_at}} AS expires_at, key.team_id,
           {LIMITS.format("api_key_id = key.id")} AS limits,
           {LIMITS.format("budget.team_id = key.team_id")} AS team_limits
    FROM tenants_app_apikey key JOIN tenants_app_tenant tenant ON tenant.id = key.tenant_id
    WHERE key.revoked_at IS NULL AND {{named}}"""
# By the secret before a rotation it is the same key, but only until the overlap ends.
BY_SECRET = KEY.format(
    expires_at="CASE key.digest WHEN %(value)s THEN key.expires_at"
    " ELSE least(key.expires_at, key.previous_until) END",
    named="key.kind = 'client' AND (key.digest = %(value)s OR key.previous_digest = %(value)s)",
)
TENANT = f"SELECT tenant.id AS tenant_id, {VERSIONS} FROM tenants_app_tenant tenant WHERE "

IDENTIFY: Mapping[By, str] = {
    "digest": BY_SECRET,
    "key": KEY.format(expires_at="key.expires_at", named="key.id = %(value)s"),
    "slug": TENANT + "slug = %(value)s",
    "host": TENANT + "id = (SELECT tenant_id FROM tenants_app_tenanthost WHERE host = %(value)s)",
    "tenant": TENANT + "id = %(value)s",
}

TENANTS_OWN = "tenant_id = tenant.id AND api_key_id IS NULL AND team_id IS NULL"
TENANT_ROW = f"""
    SELECT tenant.id, slug, tenant.name, status = 'active' AS active, timezone,
           (SELECT public_id FROM tenants_app_model WHERE id = default_model_id) AS default_model,
           default_upstream_id, session_memory, session_retention_days,
           max_messages_per_session, context_messages, context_tokens, cost_center,
           {VERSIONS},
           ARRAY(SELECT public_id FROM tenants_app_tenantfallback fallback
                 JOIN tenants_app_model model ON model.id = fallback.model_id
                 WHERE fallback.tenant_id = tenant.id ORDER BY position) AS fallback_models,
           CASE WHEN allow_list_enabled THEN
           ARRAY(SELECT public_id FROM tenants_app_tenant_allowed_models allowed
                 JOIN tenants_app_model model ON model.id = allowed.model_id
                 WHERE allowed.tenant_id = tenant.id) END AS allowed_models,
           ARRAY(SELECT host FROM tenants_app_tenanthost WHERE tenant_id = tenant.id) AS hosts,
           {LIMITS.format(TENANTS_OWN)} AS limits
    FROM tenants_app_tenant tenant WHERE id = %(tenant)s"""
UPSTREAMS = """
    SELECT id, uuid, name, kind, base_url, form, account_id, gateway_id, sealed_token,
           connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms,
           is_default, enabled
    FROM tenants_app_upstream WHERE tenant_id IS NOT DISTINCT FROM %(tenant)s"""
ROUTES = """
    SELECT model_id, upstream_id, upstream_model FROM tenants_app_route
    WHERE tenant_id IS NOT DISTINCT FROM %(tenant)s ORDER BY priority, id"""
MODELS = """
    SELECT id, public_id, default_output, max_output, context_window, hold_bytes_per_token,
           template_tokens, image_tokens, enabled
    FROM tenants_app_model"""
HOSTS = "SELECT host, tenant_id FROM tenants_app_tenanthost"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a credential or a name stands for, and the versions at that moment."""

    tenant_id: int
    version: int
    shared_version: int
    key: KeySnapshot | None

    def is_at(self, tenant: TenantSnapshot) -> bool:
        """Whether the snapshot is of this moment."""
        return (tenant.version, tenant.shared_version) == (self.version, self.shared_version)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What all tenants share, at one version."""

    version: int
    records: tuple[Record, ...] = ()
    upstreams: Mapping[int, UpstreamSnapshot | None] = field(default_factory=dict)
    default_upstream: UpstreamSnapshot | None = None
    routes: Mapping[int, tuple[RouteSnapshot, ...]] = field(default_factory=dict)
    models: Mapping[str, ModelSnapshot] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    host_owners: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What need not be read again while its version is still the same."""

    tenants: Mapping[int, TenantSnapshot]
    catalogue: Catalogue | None


async def read_identity(connection: Connection, by: By, value: Any) -> Identity | None:
    """One statement, hence one moment; None if nothing live answers to it."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(IDENTIFY[by], {"value": value})
    row = await cursor.fetchone()
    if row is None:
        return None
    return Identity(
        tenant_id=row["tenant_id"],
        version=row["version"],
        shared_version=row["shared_version"],
        key=_key(row) if "prefix" in row else None,
    )


async def read_caller(
    connection: Connection, by: By, value: Any, known: Known
) -> tuple[Caller, Catalogue] | None:
    """Identity, tenant and shared catalogue at one moment, read only as far as not `known`."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        identity = await read_identity(connection, by, value)
        if identity is None:
            return None
        catalogue = known.catalogue
        if catalogue is None or catalogue.version != identity.shared_version:
            shared = await _read(connection, (MODELS, UPSTREAMS, ROUTES, HOSTS), None)
            catalogue = _catalogue(identity.shared_version, *shared)
        tenant = known.tenants.get(identity.tenant_id)
        if tenant is None or not identity.is_at(tenant):
            queries = (TENANT_ROW, UPSTREAMS, ROUTES)
            rows, upstreams, routes = await _read(connection, queries, identity.tenant_id)
            tenant = _tenant(rows[0], upstreams, routes, catalogue)
    finally:
        await connection.rollback()
    return Caller(tenant, identity.key), catalogue


async def read_versions(connection: Connection, tenant_ids: Iterable[int]) -> dict[int | None, int]:
    """The versions of these tenants and, under None, the shared one."""
    cursor = await connection.execute(
        "SELECT tenant_id, version FROM tenants_app_configurationversion"
        " WHERE tenant_id = ANY(%s) OR tenant_id IS NULL",
        (list(tenant_ids),),
    )
    return dict(await cursor.fetchall())


async def _read(
    connection: Connection, queries: Sequence[str], tenant_id: int | None
) -> list[list[Record]]:
    """Several reads of the open transaction in one round trip."""
    cursors: list[AsyncCursor[Record]] = []
    async with connection.pipeline():
        for query in queries:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(query, {"tenant": tenant_id})
            cursors.append(cursor)
    return [await cursor.fetchall() for cursor in cursors]


def _key(row: Record) -> KeySnapshot:
    return KeySnapshot(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        limits=_limits(row["limits"]),
        team=_team(row),
    )


def _team(row: Record) -> TeamSnapshot | None:
    if row["team_id"] is None:
        return None
    return TeamSnapshot(row["team_id"], _limits(row["team_limits"]))


def _limits(rows: list[Any] | None) -> tuple[Limit, ...]:
    return tuple(
        limit_of(metric, period, Decimal(amount), burst, raises or ())
        for metric, period, amount, burst, raises in rows or ()
    )


def _catalogue(
    version: int,
    models: list[Record],
    upstreams: list[Record],
    routes: list[Record],
    hosts: list[Record],
) -> Catalogue:
    usable = {row["id"]: _upstream(row) for row in upstreams}
    defaults = [usable[row["id"]] for row in upstreams if row["is_default"]]
    by_model = _routes(routes, usable, SHARED_ROUTE)
    records = tuple(models)
    snapshots, closed = _models(records, by_model)
    return Catalogue(
        version=version,
        records=records,
        upstreams=usable,
        default_upstream=defaults[0] if defaults else None,
        routes=by_model,
        models=snapshots,
        closed=closed,
        host_owners={row["host"]: row["tenant_id"] for row in hosts},
    )


def _tenant(
    row: Record, upstreams: list[Record], routes: list[Record], shared: Catalogue
) -> TenantSnapshot:
    # Another tenant's upstream is in neither map: whatever the rows say, it is not reached.
    usable = {**shared.upstreams, **{own["id"]: _upstream(own) for own in upstreams}}
    models, closed = shared.models, shared.closed
    if routes:
        models, closed = _models(
            shared.records, {**shared.routes, **_routes(routes, usable, OWN_ROUTE)}
        )
    default_upstream = shared.default_upstream
    if row["default_upstream_id"] is not None:
        default_upstream = usable.get(row["default_upstream_id"])
    allowed = row["allowed_models"]
    converted: Record = {
        "fallback_models": tuple(row["fallback_models"]),
        "allowed_models": None if allowed is None else frozenset(allowed),
        "hosts": frozenset(row["hosts"]),
        "limits": _limits(row["limits"]),
        "models": models,
        "closed_models": closed,
        "default_upstream": default_upstream,
        "has_own_default": row["default_upstream_id"] is not None,
        "host_owners": shared.host_owners,
    }
    plain = {name: row[name] for name in row if name != "default_upstream_id"}
    return TenantSnapshot(**plain | converted)


def _upstream(row: Record) -> UpstreamSnapshot | None:
    """None for one that is switched off."""
    token = row["sealed_token"]
    fields = {name: row[name] for name in row if name not in ("is_default", "enabled")}
    fields["sealed_token"] = None if token is None else Sealed(token)
    return UpstreamSnapshot(**fields) if row["enabled"] else None


def _routes(
    rows: list[Record], upstreams: Mapping[int, UpstreamSnapshot | None], whose: str
) -> dict[int, tuple[RouteSnapshot, ...]]:
    """Routes by model, without those to upstreams that are off; such a model keeps an entry."""
    routes: dict[int, tuple[RouteSnapshot, ...]] = defaultdict(tuple)
    for row in rows:
        upstream = upstreams.get(row["upstream_id"])
        routes[row["model_id"]] += (
            (RouteSnapshot(upstream, row["upstream_model"], whose),) if upstream is not None else ()
        )
    return dict(routes)


def _models(
    records: Iterable[Record], routes: Mapping[int, tuple[RouteSnapshot, ...]]
) -> tuple[dict[str, ModelSnapshot], frozenset[str]]:
    """The models that are on, by public id; and those that are closed, whatever leads to them."""
    models: dict[str, ModelSnapshot] = {}
    closed: set[str] = set()
    for record in records:
        public_id, own = record["public_id"], routes.get(record["id"])
        if not record["enabled"] or own == ():
            closed.add(public_id)
            continue
        fields = {name: value for name, value in record.items() if name != "enabled"}
        models[public_id] = ModelSnapshot(**fields, routes=_named(own or (), public_id))
    return models, frozenset(closed)


def _named(routes: Iterable[RouteSnapshot], public_id: str) -> tuple[RouteSnapshot, ...]:
    """An empty upstream model means the public id."""
    return tuple(
        route if route.upstream_model else replace(route, upstream_model=public_id)
        for route in routes
    )
