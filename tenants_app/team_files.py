"""Teams in tenant files: their names and budgets; keys name them by their slugs. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tenants_app.budget_files import Allowance, Scope, read_budgets
from tenants_app.strict_json import Reader, matching, text

NAMES: Final = ("slug", "name", "budgets")
SLUG: Final = matching(
    r"[a-z0-9][a-z0-9_-]{0,62}", "must be 1 to 63 small letters, digits, - and _, like research"
)


@dataclass(frozen=True, slots=True)
class TeamFile:
    """A team as a file has it. None: the file does not say."""

    path: str
    slug: str
    name: str | None = None
    budgets: Mapping[Scope, Allowance] | None = None


def read_teams(reader: Reader) -> tuple[TeamFile, ...]:
    """The list `teams`, each of them once."""
    found: dict[str, TeamFile] = {}
    for team in _teams(reader):
        if team.slug in found:
            reader.findings.problem(team.path, f"is the same team as {found[team.slug].path}")
        found.setdefault(team.slug, team)
    return tuple(found.values())


def _teams(reader: Reader) -> Iterator[TeamFile]:
    for path, item in reader.items("teams") or ():
        team = Reader(item, path, reader.findings, NAMES)
        if not team.is_object:
            continue
        slug = team.require("slug", SLUG)
        name, budgets = team.take("name", text(1, 200)), read_budgets(team)
        if slug is not None:
            yield TeamFile(path, slug, name, budgets)
