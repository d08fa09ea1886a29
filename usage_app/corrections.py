"""What staff may put right afterwards: a request's tokens and cost, and money alone. Each is a new
entry with a reason and an author; nothing that was written changes, and no window moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from tenants_app.models import Tenant
from tenants_app.tracing import uuid7
from usage_app import ledger_corrections, months
from usage_app.models import LedgerEntry, Price
from usage_app.periods import local_day
from usage_app.pricing import COST_PLACES, UsageFigures, rates_of, to_decimal

REASON_MAX: Final = 500
AUTHOR_MAX: Final = 150
TOKENS_MAX: Final = 10**12
MONEY_MAX: Final = Decimal(10**12)
COLUMNS: Final = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
GONE: Final = (
    "The request is no longer in the ledger: its month is closed and was taken out of it. What it"
    " was charged cannot be corrected any more; give its tenant a credit instead."
)
Row = dict[str, Any]
T = TypeVar("T")


class CorrectionRefused(ValueError):
    """Why a correction makes no sense, as a sentence."""


@dataclass(frozen=True, slots=True)
class Why:
    """Who writes a later fact, and what for."""

    reason: str
    author: str

    def checked(self) -> Why:
        """Without spaces around; raises CorrectionRefused."""
        reason, author = self.reason.strip(), self.author.strip()
        if not reason or not author:
            raise CorrectionRefused("A correction has a reason and an author.")
        if len(reason) > REASON_MAX or len(author) > AUTHOR_MAX:
            raise CorrectionRefused(f"A reason has at most {REASON_MAX} characters.")
        if "\0" in reason + author:
            raise CorrectionRefused("A reason has no NUL character.")
        return Why(reason, author)


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to a request: tokens of either sign, and cost. Without a cost it is that of the
    tokens, by the price the request stands at.
    """

    tokens: UsageFigures = field(default_factory=UsageFigures)
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a request comes to now: its own entry and all later ones about it.

    `cost` is None while nothing of it has a price; `unpriced` are the tokens without one. `price`
    is the one that the latest of the entries was charged at.
    """

    request: LedgerEntry
    model: str
    tokens: UsageFigures
    unpriced: UsageFigures
    cost: Decimal | None
    price: Price | None


def request_of(entry: LedgerEntry) -> LedgerEntry | None:
    """The request that an entry is, or is about; a credit is about none."""
    if entry.kind == LedgerEntry.Kind.USAGE:
        return entry
    requests = LedgerEntry.objects.for_tenant(entry.tenant_id).filter(kind=LedgerEntry.Kind.USAGE)
    return requests.filter(id=entry.corrects).first()


def standing(request: LedgerEntry) -> Standing:
    """What the request comes to. One query, and one for its price. Raises CorrectionRefused for one
    whose month was taken out of the ledger.
    """
    about = Q(id=request.id) | Q(corrects=request.id)
    facts = list(LedgerEntry.objects.for_tenant(request.tenant_id).filter(about))
    if all(fact.id != request.id for fact in facts):
        raise CorrectionRefused(GONE)
    facts.sort(key=lambda fact: (fact.settled_at, fact.id))
    costs = [fact.cost for fact in facts if fact.cost is not None]
    price_ids = [fact.price_id for fact in facts if fact.price_id is not None]
    settled = [fact for fact in facts if fact.kind != LedgerEntry.Kind.CORRECTION]
    return Standing(
        request=request,
        model=settled[-1].model,
        tokens=_sum(map(_tokens, facts)),
        unpriced=_sum(_tokens(fact) for fact in facts if fact.cost is None),
        cost=sum(costs, Decimal(0)) if costs else None,
        price=Price.objects.filter(pk=price_ids[-1]).first() if price_ids else None,
    )


def correct(
    request: LedgerEntry, change: Change, why: Why, *, correction_id: UUID | None = None
) -> bool:
    """Write the change as a correction of this request; whether it was new: the same
    `correction_id` is written once. Raises CorrectionRefused with a sentence.

    It counts on the request's day, or, once that day's month is closed, on the tenant's day of
    today. Tokens that had no price get one by a cost: they are taken back and written anew.
    """
    if request.kind != LedgerEntry.Kind.USAGE:
        raise CorrectionRefused("A correction names a request, not a later entry about one.")
    why, tenant, correction_id = why.checked(), request.tenant, correction_id or uuid7()
    _check_change(change)

    def write() -> bool:
        ledger_corrections.lock(tenant.pk)
        if ledger_corrections.is_written(correction_id):
            return False
        stands = standing(request)
        rows = list(_rows(stands, change, correction_id))
        _check_sums(stands, rows)
        day = day_for(tenant, request.local_day)
        about = {"corrects": request.id, "admitted_at": request.created_at, "local_day": day}
        shared = {**about, "model": stands.model, **asdict(why)}
        ledger_corrections.write_corrections({**row, **shared} for row in rows)
        return True

    return in_open_month(write)


def credit(
    tenant: Tenant,
    amount: Decimal,
    why: Why,
    *,
    cost_center: str | None = None,
    credit_id: UUID | None = None,
) -> bool:
    """Write money alone on the tenant's day of today, negative in its favour; whether it was new:
    the same `credit_id` is written once. Raises CorrectionRefused with a sentence.
    """
    why = why.checked()
    _check_money(amount)
    if not amount:
        raise CorrectionRefused("A credit of nothing says nothing.")
    credit_id = credit_id or uuid7()
    row = {
        "id": credit_id,
        "tenant_id": tenant.pk,
        "cost_center": tenant.cost_center if cost_center is None else cost_center,
        "credit": amount,
        **asdict(why),
    }

    def write() -> bool:
        ledger_corrections.lock(tenant.pk)
        if ledger_corrections.is_written(credit_id):
            return False
        ledger_corrections.write_credit({**row, "local_day": today(tenant)})
        return True

    return in_open_month(write)


def today(tenant: Tenant) -> date:
    """The tenant's calendar day at this moment."""
    return local_day(datetime.now(UTC), tenant.timezone)


def day_for(tenant: Tenant, day: date) -> date:
    """The day on which a later fact about `day` counts: that day, while its month is open."""
    return today(tenant) if months.is_closed(tenant, day) else day


def in_open_month(write: Callable[[], T]) -> T:
    """Run a writer in a transaction of its own; again, if a month was closed under its hands."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError:
        with transaction.atomic():
            return write()


def _rows(stands: Standing, change: Change, correction_id: UUID) -> Iterator[Row]:
    """The entries that make the change, without what they share."""
    price, tokens = stands.price, change.tokens
    if change.cost is not None and any(astuple(stands.unpriced)):
        yield {"id": uuid7(), "price_id": None, "cost": None, **_columns(_minus(stands.unpriced))}
        tokens = _sum([stands.unpriced, tokens])
    cost, price_id = change.cost, None
    if cost is None and price is not None:
        cost, price_id = _cost(price, tokens), price.pk
    yield {"id": correction_id, "price_id": price_id, "cost": cost, **_columns(tokens)}


def _cost(price: Price, tokens: UsageFigures) -> Decimal:
    """What the tokens cost, with their signs."""
    rates = rates_of(
        price_id=price.pk,
        input=price.input,
        cached_input=price.cached_input,
        cache_write=price.cache_write,
        output=price.output,
    )
    return to_decimal(rates.cost(tokens))


def _check_change(change: Change) -> None:
    if not any(astuple(change.tokens)) and change.cost is None:
        raise CorrectionRefused("A correction of nothing says nothing: give tokens or a cost.")
    if any(abs(count) > TOKENS_MAX for count in astuple(change.tokens)):
        raise CorrectionRefused(f"A correction moves at most {TOKENS_MAX:,} tokens.")
    if change.cost is not None:
        _check_money(change.cost)


def _check_money(amount: Decimal) -> None:
    if not amount.is_finite() or abs(amount) > MONEY_MAX:
        raise CorrectionRefused(f"An amount is at most {MONEY_MAX:,}.")
    if amount != round(amount, COST_PLACES):
        raise CorrectionRefused(f"An amount has at most {COST_PLACES} decimals.")


def _check_sums(stands: Standing, rows: list[Row]) -> None:
    """What the request comes to afterwards must be something that a request can come to."""
    after = _sum([stands.tokens, *(UsageFigures(*(row[name] for name in COLUMNS)) for row in rows)])
    if min(astuple(after)) < 0:
        raise CorrectionRefused("The request would come to less than no tokens.")
    if after.cached + after.cache_write > after.input or after.reasoning > after.output:
        raise CorrectionRefused(
            "Cached tokens are part of the input and reasoning of the output: they would be more."
        )
    if sum((row["cost"] or Decimal(0) for row in rows), stands.cost or Decimal(0)) < 0:
        raise CorrectionRefused("The request would cost less than nothing: give a credit instead.")


def _tokens(entry: LedgerEntry) -> UsageFigures:
    return UsageFigures(*(getattr(entry, name) for name in COLUMNS))


def _columns(tokens: UsageFigures) -> Row:
    return dict(zip(COLUMNS, astuple(tokens), strict=True))


def _minus(tokens: UsageFigures) -> UsageFigures:
    return UsageFigures(*(-count for count in astuple(tokens)))


def _sum(many: Iterable[UsageFigures]) -> UsageFigures:
    return UsageFigures(*map(sum, zip(*map(astuple, [UsageFigures(), *many]), strict=True)))
