"""One line of a usage report and the sum of many: figures, latencies and refusals. PURE."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

from usage_app.figures import Figures, total
from usage_app.histograms import BUCKETS, Between, added, percentile

WITHOUT_KEY = "without a key"
WITHOUT_TEAM = "no team"
WITHOUT_CENTER = "without a cost centre"
WITHOUT_MODEL = "money alone"

_NAMES = 12
_COUNTS = (0,) * BUCKETS
NOTHING = Figures()


@dataclass(frozen=True, slots=True)
class Line:
    """What a group of entries came to. A name is None where the report is not by it; a team is told
    where the report is by keys, too, and is "" where there is none.
    """

    day: date | None = None
    tenant_id: int | None = None
    tenant: str | None = None
    tenant_name: str | None = None
    cost_center: str | None = None
    team_id: int | None = None
    team: str | None = None
    team_name: str | None = None
    key_id: int | None = None
    key: str | None = None
    model: str | None = None
    figures: Figures = NOTHING
    latency: Sequence[int] = _COUNTS
    ttft: Sequence[int] = _COUNTS
    refusals: int | None = None

    @classmethod
    def of(cls, row: Sequence[Any], groups: Sequence[str]) -> Self:
        """A row of `report_sql.lines` by these groups."""
        day, tenant_id, slug, name, center, *others = row[:_NAMES]
        team_id, team, team_name, key_id, key_name, prefix, model = others
        key = None
        if "api_key_id" in groups:
            key = f"{key_name} ({prefix}…)" if prefix else key_name or f"key {key_id}"
            key = WITHOUT_KEY if key_id is None else key
        if team_id is None and {"api_key_id", "team_id"} & set(groups):
            team = team_name = ""
        figures = Figures(*row[_NAMES:-4])
        latency, ttft, refusals, _ = row[-4:]
        whose = (day, tenant_id, slug, name, center, team_id, team, team_name)
        names = (*whose, key_id, key, model)
        return cls(*names, figures, latency or _COUNTS, ttft or _COUNTS, refusals)

    def latency_at(self, percent: float) -> Between | None:
        """How long whole answers took: not more, for that many of a hundred."""
        return percentile(self.latency, percent)

    def ttft_at(self, percent: float) -> Between | None:
        """The same of the first token."""
        return percentile(self.ttft, percent)


def sum_of(lines: Iterable[Line]) -> Line:
    """All in one, without names. Refusals are known if those of every line are."""
    lines = list(lines)
    refusals = [line.refusals for line in lines if line.refusals is not None]
    return Line(
        figures=total(line.figures for line in lines),
        latency=added(line.latency for line in lines),
        ttft=added(line.ttft for line in lines),
        refusals=sum(refusals) if len(refusals) == len(lines) else None,
    )
