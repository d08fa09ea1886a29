"""What a price list makes of the price book: a plan that tells the difference, and its writing. A
used price is never edited: a later one supersedes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from django.conf import settings

from tenants_app.models import Model
from tenants_app.strict_json import Finding, Findings
from usage_app import selectors
from usage_app.amounts import money
from usage_app.models import Price
from usage_app.prices.files import FIGURES, PriceRow, shown

BATCH: Final = 500
PriceFigures = Mapping[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class PriceChange:
    """One line of a diff: `+` is a new price, `~` another figure in one that was never used.

    `before` is what it replaces, or, of a new price, what it supersedes.
    """

    sign: Literal["+", "~"]
    row: PriceRow
    before: PriceFigures | None

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {told}" for name in FIGURES if (told := self._told(name)))
        return f"{self.sign} {self.row.model} from {shown(self.row.valid_from)}: {figures}"

    def _told(self, name: str) -> str:
        """One figure, with what it was; nothing of a cache that costs as input costs."""
        new = self.row.figures[name]
        old = self.before[name] if self.before else new
        if old == new:
            return "" if new is None else money(new)
        return f"{_told(old)} → {_told(new)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import will do; with problems it does nothing."""

    changes: tuple[PriceChange, ...]
    unchanged: int
    new_models: tuple[str, ...]
    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def plan(rows: Iterable[PriceRow], *, make_models: bool = False, now: datetime) -> Plan:
    """The difference between the price book and these rows, in a few queries. A model that does not
    exist is a problem, or with `make_models` made.
    """
    found = Findings()
    rows = sorted(rows, key=lambda row: (row.model, row.valid_from))
    names = {row.model for row in rows}
    known = set(Model.objects.filter(public_id__in=names).values_list("public_id", flat=True))
    if not make_models:
        _refuse_unknown(rows, known, found)
    book = _Book(names)
    changes = [change for row in rows if (change := book.compare(row, found)) is not None]
    late = sum(change.row.valid_from < now for change in changes)
    if late:
        text = "begins in the past" if late == 1 else "begin in the past"
        found.warn("", f"{late} of these {text}: what was charged meanwhile keeps its cost.")
    return Plan(
        changes=tuple(changes),
        unchanged=len(rows) - len(changes),
        new_models=tuple(sorted(names - known)) if make_models else (),
        problems=tuple(found.problems),
        warnings=tuple(found.warnings),
    )


def apply(plan: Plan) -> None:
    """Write a plan that has no problems, in the transaction that it was made in."""
    if plan.problems:
        raise ValueError("A plan with problems is not applied.")
    Model.objects.bulk_create(_new_model(public_id) for public_id in plan.new_models)
    names = {change.row.model for change in plan.changes}
    ids = dict(Model.objects.filter(public_id__in=names).values_list("public_id", "id"))
    new = [
        Price(model_id=ids[row.model], valid_from=row.valid_from, **row.figures)
        for row in (change.row for change in plan.changes if change.sign == "+")
    ]
    Price.objects.bulk_create(new, batch_size=BATCH)
    for row in (change.row for change in plan.changes if change.sign == "~"):
        price = Price.objects.filter(model_id=ids[row.model], valid_from=row.valid_from)
        price.update(**row.figures)


class _Book:
    """The prices of some models, and those that the rows of a file add to them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.prices: dict[str, dict[datetime, Price]] = {}
        self.figures: dict[str, dict[datetime, PriceFigures]] = {}
        for price in Price.objects.filter(model__public_id__in=names).select_related("model"):
            name, start = price.model.public_id, price.valid_from.astimezone(UTC)
            self.prices.setdefault(name, {})[start] = price
            figures = {column: getattr(price, column) for column in FIGURES}
            self.figures.setdefault(name, {})[start] = figures

    def compare(self, row: PriceRow, found: Findings) -> PriceChange | None:
        """What the row changes; rows come in the order of their instants."""
        figures = self.figures.setdefault(row.model, {})
        there = figures.get(row.valid_from)
        if there == row.figures:
            return None
        earlier = [start for start in figures if start < row.valid_from]
        superseded = figures[max(earlier)] if earlier else None
        figures[row.valid_from] = row.figures
        if there is None:
            return PriceChange("+", row, superseded)
        if selectors.is_used(self.prices[row.model][row.valid_from]):
            text = (
                f"the price of {row.model} from {shown(row.valid_from)} on was used and stays as it"
                " is: let the new one begin later"
            )
            found.problem(f"line {row.line}", text)
        return PriceChange("~", row, there)


def _refuse_unknown(rows: Iterable[PriceRow], known: set[str], found: Findings) -> None:
    for row in rows:
        if row.model not in known:
            text = f"{row.model} is no model here: make it first, or import with --make-models"
            found.problem(f"line {row.line}, model", text)


def _new_model(public_id: str) -> Model:
    return Model(
        public_id=public_id,
        default_output=settings.DEFAULT_MODEL_OUTPUT_TOKENS,
        max_output=settings.DEFAULT_MODEL_MAX_OUTPUT_TOKENS,
    )


def _told(figure: Decimal | None) -> str:
    return "as input" if figure is None else money(figure)
