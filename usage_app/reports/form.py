"""The form above the usage report: which days, whose usage, by what. It owns no query."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from tenants_app import staff
from tenants_app.errors import InvalidRequest
from tenants_app.models import ApiKey, Model, Team, Tenant
from usage_app.reports import query as report_query
from usage_app.reports.query import ReportQuery

GROUP_CHOICES = (
    ("", "Automatic"),
    ("tenant", "Tenant"),
    ("costCenter", "Cost centre"),
    ("model", "Model"),
    ("team", "Team"),
    ("key", "Key"),
    ("day", "Day"),
    ("detail", "All of these but day"),
)
# Longer lists than this are no help; what is not in them can be typed.
SUGGESTIONS = 200
NOT_FILTERS = ("format", "page")


class ReportForm(forms.Form):
    """Its fields are named as `report_query` reads them; `tenant` and `team` are found by their
    slugs.
    """

    tenant: Tenant | None = None
    asked: ReportQuery | None = None

    def __init__(self, data: Mapping[str, str], today: date, user: Any) -> None:
        super().__init__(data)
        self.today, self.user = today, user
        self.within = staff.tenants_of(user)
        tenants = Tenant.objects.all()
        self.tenants = tenants if self.within is None else tenants.filter(pk__in=self.within)
        self.fields |= {
            "month": _text("Month", kind="month", placeholder="2026-03"),
            "from": _text("or from", kind="date", placeholder="2026-03-14"),
            "to": _text("to", kind="date", placeholder="2026-03-14"),
            "tenant": _choice("Tenant", [("", "All tenants"), *_names(self.tenants)]),
            "costCenter": _text("Cost centre", list="cost-centers", placeholder="All"),
            "model": _text("Model", list="models", placeholder="All"),
            "team": _text("Team", list="teams", placeholder="All"),
            "key": _text("Key", list="keys", placeholder="All"),
            "groupBy": _choice("By", GROUP_CHOICES),
        }

    def clean(self) -> dict[str, Any]:
        """Set `asked` and `tenant`, or say what is wrong with each field."""
        given = {name: [str(text)] for name, text in self.data.items()}
        try:
            asked = report_query.parse(given, self.today, also=NOT_FILTERS)
            self.asked = replace(asked, within=self.within)
        except InvalidRequest as error:
            for name, problem in error.details["fields"].items():
                self.add_error(name if name in self.fields else None, problem)
        if self.asked is not None and self.asked.tenant is not None:
            self.tenant = self.tenants.filter(slug=self.asked.tenant).first()
            if self.tenant is None:
                self.add_error("tenant", "There is no such tenant.")
            elif self.asked.team:
                self._find_team(self.asked, self.tenant)
        return self.cleaned_data

    def _find_team(self, asked: ReportQuery, tenant: Tenant) -> None:
        team = Team.objects.for_tenant(tenant).filter(slug=asked.team).first()
        if team is None:
            self.add_error("team", report_query.NO_TEAM)
        else:
            self.asked = replace(asked, team_id=team.pk)

    def suggestions(self) -> SafeString:
        """What the text fields offer: cost centres, models and, of a tenant, teams and keys; models
        to those who may view them.
        """
        centers = self.tenants.exclude(cost_center="").values_list("cost_center", flat=True)
        keys = ApiKey.objects.for_tenant(self.tenant) if self.tenant else ApiKey.objects.none()
        teams = Team.objects.for_tenant(self.tenant) if self.tenant else Team.objects.none()
        models = Model.objects.all()
        if not self.user.has_perm("tenants_app.view_model"):
            models = models.none()
        return _datalists(
            {
                "cost-centers": [("-", "without a cost centre"), *_pairs(centers.distinct())],
                "models": _pairs(models.values_list("public_id", flat=True)),
                "teams": [
                    ("-", "no team"),
                    *teams.order_by("slug").values_list("slug", "name")[:SUGGESTIONS],
                ],
                "keys": [
                    ("-", "without a key"),
                    *((str(key.pk), str(key)) for key in keys.order_by("name")[:SUGGESTIONS]),
                ],
            }
        )


def _names(tenants: QuerySet[Tenant]) -> list[tuple[str, str]]:
    rows = tenants.order_by("slug").values_list("slug", "name")
    return [(slug, f"{name} ({slug})") for slug, name in rows]


def _text(label: str, *, kind: str = "text", **attrs: str) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"type": kind, **attrs})
    return forms.CharField(label=label, required=False, widget=widget)


def _choice(label: str, choices: Iterable[tuple[str, str]]) -> forms.CharField:
    widget = UnfoldAdminSelectWidget(choices=choices)
    return forms.CharField(label=label, required=False, widget=widget)


def _pairs(names: Any) -> list[tuple[str, str]]:
    return [(name, "") for name in names.order_by(names.query.values_select[0])[:SUGGESTIONS]]


def _datalists(lists: Mapping[str, Iterable[tuple[str, str]]]) -> SafeString:
    options = (
        (name, format_html_join("", '<option value="{}">{}</option>', pairs))
        for name, pairs in lists.items()
    )
    return format_html_join("", '<datalist id="{}">{}</datalist>', options)
