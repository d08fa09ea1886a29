"""Reads the query of the staff's usage report: which days, whose usage, and by what it is added up.
PURE; brings no clock.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from urllib.parse import urlencode

from tenants_app.errors import InvalidRequest
from usage_app import usage_query
from usage_app.figures import Span

# By what a report is added up, and the columns that tell its lines apart.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "tenant": ("tenant_id",),
    "costCenter": ("cost_center",),
    "model": ("model",),
    "team": ("tenant_id", "team_id"),
    "key": ("tenant_id", "api_key_id"),
    "day": ("day",),
    "detail": ("tenant_id", "cost_center", "api_key_id", "model"),
}
# Asks for what has no cost centre or no model (money alone has none), for calls without a key, or
# for what is of no team.
WITHOUT: Final = "-"
LONGEST_NAME = 200
NO_TEAM: Final = "The tenant has no such team."

_DAYS = ("month", "from", "to")
_FILTERS = ("tenant", "costCenter", "model", "team", "key", "groupBy")
_NUMBER = re.compile(r"[1-9]\d{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What a report is about. A filter that is None lets everything through; "" as cost centre or
    model or team, and 0 as key, are what has none. A team is named by its slug, and its `team_id`
    is looked up by whoever reads; `within` are the ids of the only tenants that whoever asks may
    see. Neither is asked for, nor in any address.
    """

    span: Span
    tenant: str | None = None
    cost_center: str | None = None
    model: str | None = None
    team: str | None = None
    key: int | None = None
    group_by: str = "tenant"
    team_id: int | None = None
    within: frozenset[int] | None = None

    @property
    def knows_refusals(self) -> bool:
        """Refusals are counted per tenant and key: a refused call has no model yet."""
        return self.cost_center is None and self.model is None

    def as_query(self, **more: object) -> str:
        """The same question as a query string, with some of its parts others."""
        span = self.span
        days: dict[str, object] = {"from": span.first, "to": span.last}
        if span == Span.month(span.first):
            days = {"month": f"{span.first:%Y-%m}"}
        own = {
            "tenant": self.tenant,
            "costCenter": _told(self.cost_center),
            "model": _told(self.model),
            "team": _told(self.team),
            "key": _told(self.key),
        }
        asked = {**days, **own, "groupBy": self.group_by, **more}
        return urlencode({name: value for name, value in asked.items() if value is not None})


def parse(
    query: Mapping[str, Sequence[str]], today: date, *, also: Sequence[str] = ()
) -> ReportQuery:
    """The report of `?month=` or `?from=&to=`, `tenant=` (its slug), `costCenter=`, `model=`,
    `team=` (its slug, beside its tenant's), `key=` (its id) and `groupBy=`; what is empty counts as
    left out. Names in `also` are somebody else's.

    Raises InvalidRequest that names every bad field.
    """
    given = {name: values for name, values in query.items() if any(values) and name not in also}
    filters = {name: given[name][-1] for name in _FILTERS if name in given}
    found = {name: _problem_of(name, given[name]) for name in filters}
    problems = {name: problem for name, problem in found.items() if problem}
    if "tenant" not in filters and filters.get("team", WITHOUT) != WITHOUT:
        problems.setdefault("team", "Name its tenant, too: other tenants may have such a team.")
    span = Span(today, today)
    try:
        days = {name: values for name, values in given.items() if name not in _FILTERS}
        span = usage_query.parse(days, today)
    except InvalidRequest as error:
        problems = dict(error.details["fields"]) | problems
    if problems:
        raise InvalidRequest.fields(problems)
    return _query_of(span, filters)


def _query_of(span: Span, filters: Mapping[str, str]) -> ReportQuery:
    names = ("costCenter", "model", "team", "key")
    center, model, team, key = (filters.get(name) for name in names)
    return ReportQuery(
        span,
        tenant=filters.get("tenant"),
        cost_center="" if center == WITHOUT else center,
        model="" if model == WITHOUT else model,
        team="" if team == WITHOUT else team,
        key=None if key is None else 0 if key == WITHOUT else int(key),
        group_by=filters.get("groupBy", "model" if "tenant" in filters else "tenant"),
    )


def _told(value: str | int | None) -> str | int | None:
    return WITHOUT if value in ("", 0) else value


def _problem_of(name: str, values: Sequence[str]) -> str:
    text = values[-1]
    if len(values) > 1:
        return "Give this field once."
    if name == "groupBy" and text not in GROUPS:
        return f"This must be one of {', '.join(GROUPS)}."
    if name == "key" and text != WITHOUT and not _NUMBER.fullmatch(text):
        return f"This must be the number of a key, or {WITHOUT} for calls without one."
    if len(text) > LONGEST_NAME or "\0" in text:
        return f"This must be text of at most {LONGEST_NAME} characters."
    return ""
