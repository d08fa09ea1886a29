"""Pages of teams, and a tenant's teams as a section of its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from tenants_app.admin.budgets import TeamBudgetInline
from tenants_app.admin.keys import KeyColumns
from tenants_app.admin.pages import ConfigurationAdmin, ReadOnlyInline, WordedForm, display
from tenants_app.admin.sections import Section, list_url
from tenants_app.models import ApiKey, Team, Tenant

TEAMS_SHOWN: Final = 10
LIVE = Q(keys__revoked_at=None) & (Q(keys__expires_at=None) | Q(keys__expires_at__gt=Now()))


class TeamForm(WordedForm):
    """A team; its keys are issued into it."""

    class Meta:
        model = Team
        fields = ("tenant", "slug", "name")
        help_texts = {
            "slug": "Its name in files and reports: small letters, digits, - and _. It stays.",
            "name": "For people.",
        }


class TeamColumns:
    """What a list of teams says of each."""

    @display(description="Live keys", ordering="keys_live")
    def live_keys(self, team: Any) -> int:
        return int(team.keys_live)

    @display(description="Budgets")
    def budgets_told(self, team: Team) -> str:
        return ", ".join(map(str, team.budgets.all())) or "none of its own"


def with_columns(teams: QuerySet[Team]) -> QuerySet[Team]:
    """With what `TeamColumns` shows, in a fixed number of queries."""
    counted = teams.annotate(keys_live=Count("keys", filter=LIVE))
    return counted.order_by("tenant__slug", "slug").prefetch_related("budgets")


class TeamKeyInline(KeyColumns, ReadOnlyInline):
    """A team's keys on its page."""

    model = ApiKey
    tenant_path = "tenant"
    fields = ("name", "shown", "state", "scope_list", "expires_at", "last_used")
    readonly_fields = fields
    verbose_name_plural = "API keys of this team"
    hide_title = True
    per_page = 20

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("use", "tenant")


@dataclass(frozen=True, slots=True)
class Teams:
    """Some teams of a tenant, each with `keys_live` and its budgets."""

    rows: Sequence[Team]
    make_url: str


def teams(request: HttpRequest, tenant: Tenant) -> Section | None:
    """The tenant's teams, on its page; nothing where there is none and none can be made."""
    user = request.user
    if not user.has_perm("tenants_app.view_team"):
        return None
    rows = list(with_columns(Team.objects.for_tenant(tenant))[: TEAMS_SHOWN + 1])
    add = reverse("admin:tenants_app_team_add")
    make_url = f"{add}?tenant={tenant.pk}" if user.has_perm("tenants_app.add_team") else ""
    if not rows and not make_url:
        return None
    more = ("All teams", list_url("tenants_app.team", tenant)) if rows[TEAMS_SHOWN:] else None
    data = Teams(rows[:TEAMS_SHOWN], make_url)
    return Section("teams", "Teams", "tenants_app/sections/teams.html", data, more)


@admin.register(Team)
class TeamAdmin(TeamColumns, ConfigurationAdmin):
    """Groups of keys that budgets limit and reports add up together."""

    form = TeamForm
    tenant_path = "tenant"
    list_display = ("slug", "tenant", "name", "live_keys", "budgets_told")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant",)
    search_fields = ("slug", "name", "tenant__slug", "tenant__name")
    search_help_text = "Slug, name or tenant"
    autocomplete_fields = ("tenant",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_columns(super().get_queryset(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else ("tenant", "slug")

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return () if obj is None else (TeamBudgetInline, TeamKeyInline)
