"""Applies a plan of `tenant_plan`: writes all of its tenants in the same number of statements.

Rows that go are deleted before any is made, so that a host may move from one tenant to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from tenants_app.budget_files import Allowance, Scope
from tenants_app.models import (
    ApiKey,
    Budget,
    Model,
    Route,
    Team,
    Tenant,
    TenantFallback,
    TenantHost,
    Upstream,
)
from tenants_app.tenant_plan import Plan, TenantPlan
from tenants_app.tenant_rows import ALLOWED, ROW_COLUMNS, Rows

BATCH: Final = 500


@dataclass(slots=True)
class _Writes:
    """Rows to delete, to make and to change, by table."""

    gone: dict[Any, list[int]] = field(default_factory=dict)
    made: dict[Any, list[Any]] = field(default_factory=dict)
    changed: dict[Any, tuple[dict[int, Any], set[str]]] = field(default_factory=dict)

    def delete(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self.gone.setdefault(type(row), []).append(row.pk)

    def make(self, row: Any) -> None:
        self.made.setdefault(type(row), []).append(row)

    def change(self, row: Any, **values: Any) -> None:
        """Only what differs: an idle change would tell every process that something has."""
        names = [name for name, value in values.items() if getattr(row, name) != value]
        for name in names:
            setattr(row, name, values[name])
        if names:
            rows, columns = self.changed.setdefault(type(row), ({}, set()))
            rows[row.pk] = row
            columns.update(names)

    def execute(self) -> None:
        for table, pks in self.gone.items():
            table.objects.filter(pk__in=pks).delete()
        for table, new in self.made.items():
            table.objects.bulk_create(new, batch_size=BATCH)
        for table, (rows, columns) in self.changed.items():
            if hasattr(table, "updated_at"):
                columns.add("updated_at")
                for row in rows.values():
                    row.updated_at = timezone.now()
            table.objects.bulk_update(rows.values(), columns, batch_size=BATCH)
        for done in (self.gone, self.made, self.changed):
            done.clear()


def apply(plan: Plan) -> None:
    """Write a plan that has no problems, in the transaction that it was made in."""
    if plan.problems:
        raise ValueError("A plan with problems is not applied.")
    changing = [one for one in plan.tenants if one.changes]
    models = _models(plan, changing)
    writes = _Writes()
    rows = _tenants(changing, models, writes)
    upstreams = _upstreams(changing, rows, plan.kind, writes)
    for one in changing:
        own = rows[one.want.slug]
        _route(one, own, models, upstreams, writes)
        _list_models(one, own, models, writes)
        _map_hosts(one, own, writes)
        _limit(Budget(tenant=own.tenant), own.budgets, one.want.budgets, writes)
        _name_teams(one, own, writes)
    writes.execute()
    for one in changing:
        _admit_keys(one, rows[one.want.slug], writes)
    writes.execute()
    for one in changing:
        _limit_teams_and_keys(one, rows[one.want.slug], writes)
    writes.execute()


def _models(plan: Plan, changing: Iterable[TenantPlan]) -> dict[str, Model]:
    Model.objects.bulk_create(
        Model(
            public_id=public_id,
            default_output=settings.DEFAULT_MODEL_OUTPUT_TOKENS,
            max_output=settings.DEFAULT_MODEL_MAX_OUTPUT_TOKENS,
        )
        for public_id in plan.new_models
    )
    named = {
        model
        for one in changing
        for model in (
            one.want.chat,
            *one.want.fallbacks,
            *one.want.allowed,
            *(m for m, _ in one.want.routes),
        )
    }
    return {model.public_id: model for model in Model.objects.filter(public_id__in=named)}


def _tenants(
    changing: Iterable[TenantPlan], models: Mapping[str, Model], writes: _Writes
) -> dict[str, Rows]:
    """The rows of all, with those that are new made at once: the others point to them."""
    found: dict[str, Rows] = {}
    for one in changing:
        rows = one.rows or Rows(Tenant(slug=one.want.slug))
        columns = {column: one.want.columns[column] for column in ROW_COLUMNS}
        columns["default_model"] = models[one.want.chat] if one.want.chat else None
        if one.rows is None:
            for name, value in columns.items():
                setattr(rows.tenant, name, value)
            writes.make(rows.tenant)
        else:
            writes.change(rows.tenant, **columns)
        found[one.want.slug] = rows
    writes.execute()
    return found


def _upstreams(
    changing: Iterable[TenantPlan], found: Mapping[str, Rows], kind: str, writes: _Writes
) -> dict[str, Upstream]:
    """Their own gateways, by tenant, made and made the default."""
    gateways: dict[str, Upstream] = {}
    for one in changing:
        rows, wanted = found[one.want.slug], one.want.gateway
        if wanted is None:
            continue
        upstream = rows.gateway(wanted.gateway_id)
        if upstream is None:
            form = Upstream.Form.REST if kind == Upstream.Kind.CLOUDFLARE else ""
            upstream = Upstream(
                tenant=rows.tenant,
                name=wanted.gateway_id,
                kind=kind,
                form=form,
                account_id=wanted.account_id,
                gateway_id=wanted.gateway_id,
            )
            writes.make(upstream)
        else:
            writes.change(upstream, account_id=wanted.account_id)
        gateways[one.want.slug] = upstream
    writes.execute()
    for one in changing:
        if one.want.other_upstream is None:
            default = gateways.get(one.want.slug)
            writes.change(
                found[one.want.slug].tenant, default_upstream_id=default.pk if default else None
            )
    return gateways


def _route(
    one: TenantPlan,
    rows: Rows,
    models: Mapping[str, Model],
    upstreams: Mapping[str, Upstream],
    writes: _Writes,
) -> None:
    writes.delete(row for route, row in rows.routes.items() if route not in one.want.routes)
    for model, _ in one.want.routes - rows.routes.keys():
        upstream = upstreams[one.want.slug]
        writes.make(Route(model=models[model], upstream=upstream, tenant=rows.tenant))


def _list_models(one: TenantPlan, rows: Rows, models: Mapping[str, Model], writes: _Writes) -> None:
    want = one.want
    writes.delete(row for model, row in rows.allowed.items() if model not in want.allowed)
    for model in want.allowed - rows.allowed.keys():
        writes.make(ALLOWED(tenant=rows.tenant, model=models[model]))
    if want.fallbacks != tuple(step.model.public_id for step in rows.fallbacks):
        writes.delete(rows.fallbacks)
        for position, model in enumerate(want.fallbacks, start=1):
            writes.make(TenantFallback(tenant=rows.tenant, model=models[model], position=position))


def _map_hosts(one: TenantPlan, rows: Rows, writes: _Writes) -> None:
    writes.delete(row for host, row in rows.hosts.items() if host not in one.want.hosts)
    for host in one.want.hosts - rows.hosts.keys():
        writes.make(TenantHost(tenant=rows.tenant, host=host))


def _limit(
    place: Budget, have: Mapping[Scope, Budget], want: Mapping[Scope, Allowance], writes: _Writes
) -> None:
    """What is wanted where `place` is: of a tenant, a team or a key."""
    writes.delete(row for scope, row in have.items() if scope not in want)
    for scope, one in want.items():
        metric, period = scope
        budget = have.get(scope)
        if budget is not None:
            writes.change(budget, limit=one.limit, burst=one.burst)
        else:
            writes.make(
                Budget(
                    tenant=place.tenant,
                    team=place.team,
                    api_key=place.api_key,
                    metric=metric,
                    period=period,
                    limit=one.limit,
                    burst=one.burst,
                )
            )


def _name_teams(one: TenantPlan, rows: Rows, writes: _Writes) -> None:
    """Teams are made or renamed, never taken away."""
    for slug, want in one.want.teams.items():
        team = rows.teams.get(slug)
        if team is None:
            rows.teams[slug] = team = Team(tenant=rows.tenant, slug=slug, name=want.name)
            writes.make(team)
        else:
            writes.change(team, name=want.name)


def _admit_keys(one: TenantPlan, rows: Rows, writes: _Writes) -> None:
    """Keys are made or changed, never taken away."""
    for digest, want in one.want.keys.items():
        columns = {
            "name": want.name,
            "prefix": want.prefix,
            "scopes": list(want.scopes),
            "expires_at": want.expires_at,
        }
        key = rows.keys.get(digest)
        if key is None:
            team = rows.teams[want.team] if want.team else None
            key = ApiKey(tenant=rows.tenant, team=team, digest=digest, **columns)
            rows.keys[digest] = key
            writes.make(key)
        elif one.have.keys[digest] != want:
            writes.change(key, **columns)


def _limit_teams_and_keys(one: TenantPlan, rows: Rows, writes: _Writes) -> None:
    for slug, team in one.want.teams.items():
        place = Budget(tenant=rows.tenant, team=rows.teams[slug])
        _limit(place, rows.team_budgets.get(slug, {}), team.budgets, writes)
    for digest, key in one.want.keys.items():
        place = Budget(tenant=rows.tenant, api_key=rows.keys[digest])
        _limit(place, rows.key_budgets.get(digest, {}), key.budgets, writes)
