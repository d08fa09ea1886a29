"""A key is of its team from its issue on; a team stays within its tenant."""

from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import RestrictedError
from django.test import Client

from tenants_app import directory, keys
from tenants_app.models import ApiKey, Budget, Team
from tenants_app.snapshots import Limit, TeamSnapshot
from tests.admin_site import form_of, logged_in, text_of, url_of
from tests.factories import make_budget, make_key, make_team, make_tenant
from tests.loops import run
from tests.tenants_app.files import run_export, run_import, tenant_file
from tests.tenants_app.test_admin import errors_of

DATABASE = pytest.mark.django_db


def refused(change: Any) -> str:
    """What the database says, at COMMIT at the latest."""

    @transaction.atomic
    def changed() -> None:
        change()
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError) as caught:
        changed()
    return str(caught.value)


@DATABASE
def test_team_of_a_key_never_changes_and_rotation_keeps_it() -> None:
    acme = make_tenant()
    research, support = make_team(acme), make_team(acme, "support")
    key = make_key(acme, team=research).key
    lone = make_key(acme, "lone").key
    for row, team in ((key, support), (key, None), (lone, support)):
        assert "the team of a key never changes" in refused(
            lambda row=row, team=team: ApiKey.objects.filter(pk=row.pk).update(team=team)
        )
    assert keys.rotate(key).key.team == research
    with pytest.raises(RestrictedError):
        research.delete()
    support.delete()


@DATABASE
def test_team_stays_within_its_tenant() -> None:
    acme, globex = make_tenant(), make_tenant("globex")
    theirs = make_team(globex)
    assert "key_team_belongs_to_its_tenant" in refused(
        lambda: ApiKey.objects.create(tenant=acme, team=theirs, name="app", digest=bytes(32))
    )
    assert "budget_team_belongs_to_its_tenant" in refused(
        lambda: make_budget(acme, "tokens", "day", 5, team=theirs)
    )
    assert "team_slug_once_per_tenant" in refused(lambda: make_team(globex))
    assert "team_slug_is_plain" in refused(lambda: make_team(acme, "R&D"))


@DATABASE
def test_budget_is_of_a_team_or_of_a_key_and_once() -> None:
    acme = make_tenant()
    team = make_team(acme)
    key = make_key(acme, team=team).key
    assert "budget_is_of_a_team_or_of_a_key" in refused(
        lambda: make_budget(acme, "tokens", "day", 5, team=team, api_key=key)
    )
    for place in ({}, {"team": team}, {"api_key": key}):
        make_budget(acme, "tokens", "day", 5, **place)
    assert "budget_once_per_scope_metric_and_period" in refused(
        lambda: make_budget(acme, "tokens", "day", 6, team=team)
    )


@pytest.mark.django_db(transaction=True)
def test_snapshot_has_the_limits_of_its_team_and_learns_of_changes() -> None:
    acme = make_tenant()
    team = make_team(acme)
    other = make_team(acme, "support")
    key = make_key(acme, team=team)
    make_budget(acme, "tokens", "day", 100)
    make_budget(acme, "tokens", "day", 10, team=team)
    make_budget(acme, "tokens", "day", 7, team=other)

    async def main() -> tuple[Any, ...]:
        caller = await directory.by_digest(keys.digest(key.secret))
        assert caller is not None
        return caller, caller.limits

    caller, limits = run(main())
    assert caller.key.team == TeamSnapshot(team.pk, (Limit("tokens", "day", 10),))
    assert caller.tenant.limits == (Limit("tokens", "day", 100),)
    assert [limit.limit for limit in limits] == [100, 10]

    make_budget(acme, "requests", "day", 3, team=team)

    newest = run(directory.ensure_current(caller))
    assert [limit.limit for limit in newest.limits] == [100, 10, 3]


@DATABASE
def test_teams_of_a_file_are_made_and_kept(tmp_path: Path) -> None:
    secret = "sk-imported-from-elsewhere-0123456789"
    budget = {"metric": "tokens", "period": "day", "limit": 10}
    team = {"slug": "research", "name": "Research", "budgets": [budget]}
    key = {"secret": secret, "team": "research"}
    file = tenant_file(teams=[team], apiKeys=[key])

    told = run_import(tmp_path, file)
    assert "+ teams: research (Research), 10 tokens per day" in told.out
    assert "imported (sk-impo…), chat usage:read, team research" in told.out
    assert "1 unchanged" in run_import(tmp_path, file).out
    assert Budget.objects.get().team == ApiKey.objects.get().team == Team.objects.get()
    # What a file does not name stays, and a list of budgets is exact.
    run_import(tmp_path, tenant_file(teams=[{"slug": "research", "budgets": []}]))
    assert (Team.objects.get().name, Budget.objects.count()) == ("Research", 0)
    [exported] = run_export("acme")
    assert exported["teams"] == [{"slug": "research", "name": "Research", "budgets": []}]
    assert "1 unchanged" in run_import(tmp_path, exported).out


@DATABASE
def test_team_that_is_wrong_in_a_file_is_told_by_its_path(tmp_path: Path) -> None:
    secret = "sk-imported-from-elsewhere-0123456789"
    run_import(tmp_path, tenant_file(teams=[{"slug": "research"}], apiKeys=[secret]))
    moved = {"secret": secret, "team": "research"}
    lost = {"secret": f"{secret}-2", "team": "sales"}
    assert run_import(tmp_path, tenant_file(apiKeys=[moved, lost])).problems == [
        "apiKeys[0].team: cannot change: the key is of no team here",
        "apiKeys[1].team: is not among the tenant's teams",
    ]
    twice = [{"slug": "a"}, {"slug": "a"}, {"slug": "R&D"}]
    assert run_import(tmp_path, tenant_file(teams=twice)).problems == [
        "teams[1]: is the same team as teams[0]",
        "teams[2].slug: must be 1 to 63 small letters, digits, - and _, like research",
    ]


def sent(client: Client, url: str, **values: Any) -> Any:
    return client.post(url, form_of(client.get(url)) | values)


@DATABASE
def test_team_is_made_and_a_key_issued_into_it() -> None:
    client = logged_in(superuser=True)
    acme, globex = make_tenant(), make_tenant("globex")
    theirs = make_team(globex)
    made = sent(client, url_of(Team, "add"), tenant=acme.pk, slug="research", name="Research")
    assert made.status_code == 302
    team = acme.teams.get()

    issue = f"{url_of(ApiKey, 'add')}?tenant={acme.pk}"
    response = sent(client, issue, name="app", team=theirs.pk)
    assert errors_of(response) == {"team": ["This team is another tenant's."]}
    assert sent(client, issue, name="app", team=team.pk).status_code == 200
    assert ApiKey.objects.get().team == team

    page = url_of(Team, "change", team.pk)
    sent(client, page, slug="other", name="Renamed")
    team.refresh_from_db()
    assert (team.slug, team.name) == ("research", "Renamed")
    assert "app" in text_of(client.get(page))
    client.post(url_of(Team, "delete", team.pk), {"post": "yes"})
    assert Team.objects.filter(pk=team.pk).exists()
