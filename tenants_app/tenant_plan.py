"""What importing tenant files would change, and what is in the way.

A plan's locks make it true until the caller's transaction ends; in it `tenant_writes` applies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from django.db import IntegrityError, connection, transaction

from tenants_app import keys, tenant_rows
from tenants_app.key_files import KeyFile
from tenants_app.models import ApiKey, Model, Tenant, TenantHost, Upstream
from tenants_app.strict_json import Finding, Findings
from tenants_app.tenant_files import TenantFile, allow_list_problem
from tenants_app.tenant_rows import ROW_COLUMNS, Rows
from tenants_app.tenant_state import Change, TenantState, after, changes

# One import at a time: two that make the same tenants would meet in the middle.
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('tollgate_import_tenants'))"


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """What becomes of one tenant; without changes nothing is written."""

    file: TenantFile
    rows: Rows | None
    have: TenantState
    want: TenantState
    changes: tuple[Change, ...]

    @property
    def is_new(self) -> bool:
        return self.rows is None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import changes. With problems there is nothing to apply."""

    tenants: tuple[TenantPlan, ...] = ()
    new_models: tuple[str, ...] = ()
    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    # What an own upstream is made as.
    kind: str = Upstream.Kind.CLOUDFLARE


@dataclass(slots=True)
class _Planning:
    """What is known while a plan is made."""

    rows: Mapping[str, Rows]
    digests: dict[str, dict[bytes, KeyFile]] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)


def plan(files: Iterable[TenantFile], *, kind: str = Upstream.Kind.CLOUDFLARE) -> Plan:
    """What importing the files changes; a tenant's own upstream is made as `kind`.

    Must run in a transaction. Waits for other imports, and locks the tenants in the order of their
    ids. The number of queries does not grow with the tenants.
    """
    files = tuple(files)
    with connection.cursor() as cursor:
        cursor.execute(LOCK)
    planning = _Planning(tenant_rows.read([file.slug for file in files], lock=True))
    planning.digests = {file.slug: _by_digest(file, planning.findings) for file in files}
    _look_for_others_hosts(files, planning)
    _look_for_others_keys(planning)
    tenants = [_plan_tenant(file, planning, kind) for file in files]
    _look_for_frozen_time_zones(tenants, planning.findings)
    return Plan(
        tenants=tuple(tenants),
        new_models=_new_models(tenants),
        problems=tuple(planning.findings.problems),
        warnings=tuple(planning.findings.warnings),
        kind=kind,
    )


def _plan_tenant(file: TenantFile, planning: _Planning, kind: str) -> TenantPlan:
    rows = planning.rows.get(file.slug)
    if rows is None:
        blank = Tenant(slug=file.slug, name=file.slug)
        defaults = {column: getattr(blank, column) for column in ROW_COLUMNS}
        have, base = TenantState(file.slug, {}), TenantState(file.slug, defaults)
    else:
        have = base = rows.state()
        _look_at_gateway(file, rows, kind, planning.findings)
    want = after(base, file, planning.digests[file.slug])
    _look_at_teams(have, want, planning.digests[file.slug], planning.findings)
    why = allow_list_problem(
        want.chat, is_on=want.columns["allow_list_enabled"], allowed=want.allowed
    )
    if why:
        planning.findings.problem(file.below("allowedModels"), why)
    elif want.columns["allow_list_enabled"]:
        for model in want.fallbacks:
            if model not in want.allowed:
                text = f"{model} is not on the allow-list, so it is passed over"
                planning.findings.warn(file.below("aiModels.fallback"), text)
    return TenantPlan(file, rows, have, want, tuple(changes(have, want)))


def _by_digest(file: TenantFile, findings: Findings) -> dict[bytes, KeyFile]:
    found: dict[bytes, KeyFile] = {}
    for key in file.keys:
        digest = key.digest or keys.digest(key.secret or "")
        if digest in found:
            findings.problem(key.path, f"is the same key as {found[digest].path}")
        found[digest] = key
    return found


def _look_for_others_hosts(files: Iterable[TenantFile], planning: _Planning) -> None:
    """A host may come from another tenant only if the same file takes it away there."""
    wanted = {host: (file, path) for file in files for host, path in (file.hosts or {}).items()}
    given_up = {
        host
        for file in files
        if file.hosts is not None and file.slug in planning.rows
        for host in planning.rows[file.slug].hosts
        if host not in file.hosts
    }
    for row in TenantHost.objects.filter(host__in=wanted).select_related("tenant"):
        file, path = wanted[row.host]
        if row.tenant.slug != file.slug and row.host not in given_up:
            planning.findings.problem(path, f"belongs to the tenant {row.tenant.slug} already")


def _look_for_others_keys(planning: _Planning) -> None:
    wanted: dict[bytes, tuple[str, KeyFile]] = {}
    for slug, own in planning.digests.items():
        for digest, key in own.items():
            if digest in wanted:
                planning.findings.problem(key.path, f"is the same key as {wanted[digest][1].path}")
            wanted[digest] = slug, key
    for row in ApiKey.objects.filter(digest__in=wanted).select_related("tenant"):
        digest = bytes(row.digest)
        slug, key = wanted[digest]
        if row.tenant.slug != slug:
            planning.findings.problem(key.path, f"is a key of the tenant {row.tenant.slug} already")
        elif row.revoked_at is not None:
            del planning.digests[slug][digest]
            planning.findings.warn(key.path, "was revoked here, and stays so")
    for former in ApiKey.objects.filter(previous_digest__in=wanted).values_list(
        "previous_digest", flat=True
    ):
        _, key = wanted[bytes(former)]
        text = "is the secret that a rotated key had before: leave it out, or use its new one"
        planning.findings.problem(key.path, text)


def _look_at_teams(
    have: TenantState, want: TenantState, files: Mapping[bytes, KeyFile], findings: Findings
) -> None:
    """A key is of a team from its issue on and for ever, and of one that there is."""
    for digest, file in files.items():
        team, before = want.keys[digest].team, have.keys.get(digest)
        if before is not None and before.team != team:
            was = f"of the team {before.team}" if before.team else "of no team"
            findings.problem(f"{file.path}.team", f"cannot change: the key is {was} here")
        elif team is not None and team not in want.teams:
            findings.problem(f"{file.path}.team", "is not among the tenant's teams")


def _look_at_gateway(file: TenantFile, rows: Rows, kind: str, findings: Findings) -> None:
    if file.gateway is None:
        return
    path, wanted = file.below("aiGatewayId"), file.gateway.gateway_id
    upstream = rows.gateway(wanted)
    if upstream is None:
        if any(own.name == wanted for own in rows.upstreams):
            findings.problem(path, "is the name of another upstream of this tenant: rename that")
        return
    if upstream.sealed_token is not None and upstream.account_id != file.gateway.account_id:
        text = f"cannot change: the token of the upstream {upstream.name} was given for"
        findings.problem(
            file.below("accountId"),
            f"{text} {upstream.destination}; enter it again there, with the new account",
        )
    if upstream.kind != kind:
        findings.warn(path, f"is an upstream of the kind {upstream.kind} here, and stays so")


def _look_for_frozen_time_zones(tenants: Iterable[TenantPlan], findings: Findings) -> None:
    """Which time zones are frozen the database alone knows, so it is asked, and nothing is kept."""
    moved = [
        one
        for one in tenants
        if one.rows is not None and one.want.columns["timezone"] != one.have.columns["timezone"]
    ]
    if not moved or not _refuses(moved):
        return
    for one in moved:
        if _refuses([one]):
            findings.problem(
                one.file.below("timezone"),
                f"cannot change from {one.have.columns['timezone']}: the tenant's days are counted"
                " since its first request",
            )


def _refuses(moved: list[TenantPlan]) -> bool:
    rows = [
        Tenant(pk=one.rows.tenant.pk, timezone=one.want.columns["timezone"])
        for one in moved
        if one.rows is not None
    ]
    try:
        with transaction.atomic():
            Tenant.objects.bulk_update(rows, ["timezone"])
            transaction.set_rollback(True)
    except IntegrityError:
        return True
    return False


def _new_models(tenants: Iterable[TenantPlan]) -> tuple[str, ...]:
    named = {
        model
        for one in tenants
        for model in (one.want.chat, *one.want.fallbacks, *one.want.allowed)
        if model is not None
    }
    known = Model.objects.filter(public_id__in=named).values_list("public_id", flat=True)
    return tuple(sorted(named.difference(known)))
