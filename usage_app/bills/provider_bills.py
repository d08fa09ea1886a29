"""Providers' bills: imported whole or not at all, matched with the books, and what those of a month
come to. It reads the ledger and never writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from hashlib import sha256
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from tenants_app.models import Tenant, Upstream
from tenants_app.strict_json import Finding
from usage_app.bills import files as bill_files
from usage_app.bills import sql
from usage_app.bills.files import BillFile, BillLine, Layout
from usage_app.figures import MONEY_DIGITS, Span
from usage_app.models import ProviderBill, ProviderBillMatch

BYTES_MAX: Final = 100_000_000
# A provider writes down when it answered, which may be the day after we were asked.
LATEST_ANSWER: Final = timedelta(days=1)

Outcome = ProviderBillMatch.Outcome


@dataclass(frozen=True, slots=True)
class Upload:
    """A file, how it is to be read, and what it is said to be about."""

    name: str
    content: bytes
    layout: Layout
    span: Span
    upstreams: Sequence[Upstream]
    author: str

    @property
    def digest(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def scope(self) -> list[dict[str, Any]]:
        """Its upstreams as entries name them."""
        named = {(upstream.name, upstream.tenant_id) for upstream in self.upstreams}
        ordered = sorted(named, key=lambda one: (one[0], one[1] or 0))
        return [{"name": name, "tenant": tenant_id} for name, tenant_id in ordered]


@dataclass(frozen=True, slots=True)
class ClassSums:
    """What the matches of one outcome come to; `differing` is how many differ in tokens."""

    outcome: str
    matches: int = 0
    lines: int = 0
    requests: int = 0
    attempts: int = 0
    differing: int = 0
    billed_input_tokens: int = 0
    billed_output_tokens: int = 0
    billed_amount: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    @property
    def difference(self) -> Decimal:
        """What the provider takes beyond the books."""
        return _exact_sum((self.billed_amount, -self.cost))


@dataclass(frozen=True, slots=True)
class State:
    """How the books of a month (UTC) stand beside the providers' bills."""

    bills: tuple[ProviderBill, ...]
    without: tuple[str, ...]  # upstreams that were used on days of which no bill tells

    @property
    def agrees(self) -> bool:
        """Whether every upstream is billed, and nothing is missing on either side."""
        return not self.without and not any(
            bill.missing_here or bill.missing_there for bill in self.bills
        )

    @property
    def told(self) -> list[str]:
        """A sentence for each bill, and for each upstream that has none."""
        nothing = [f"No bill tells of every day on which {name} was used." for name in self.without]
        return [_told(bill) for bill in self.bills] + nothing


def read(upload: Upload) -> BillFile:
    """Its lines, or everything that keeps it from being imported."""
    problems = [*_problems(upload)]
    if problems:
        return BillFile(problems=tuple(problems))
    return bill_files.parse(
        upload.content, upload.layout, span=upload.span, currency=settings.LEDGER_CURRENCY
    )


def record(upload: Upload, lines: Sequence[BillLine]) -> ProviderBill:
    """Keep a bill that `read` found nothing wrong with, and match it; one transaction.

    Raises IntegrityError or InternalError if another import was faster.
    """
    amounts = [line.amount for line in lines if line.amount is not None]
    with transaction.atomic():
        bill = ProviderBill.objects.create(
            name=upload.name[:200],
            digest=upload.digest,
            kind=upload.upstreams[0].kind,
            first_day=upload.span.first,
            last_day=upload.span.last,
            upstreams=upload.scope,
            layout=asdict(upload.layout),
            currency=settings.LEDGER_CURRENCY,
            lines=len(lines),
            amount=_exact_sum(amounts) if amounts else None,
            imported_by=upload.author,
        )
        _copy(bill, lines)
        match(bill)
    bill.refresh_from_db()
    return bill


def match(bill: ProviderBill) -> None:
    """Make the matches of a bill anew, from the books as they are now; one transaction, under the
    bill's row lock. The same books give the same matches.
    """
    first = datetime.combine(bill.first_day, time.min, UTC)
    params: dict[str, Any] = {
        "bill": bill.pk,
        "first": first,
        "since": first - LATEST_ANSWER,
        "until": datetime.combine(bill.last_day, time.min, UTC) + timedelta(days=1),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.LOCK, params)
        for statement in sql.MATCH:
            cursor.execute(statement, params)


def remove(bill: ProviderBill) -> None:
    """Forget a bill, so that another can take its place; the books do not change."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in ("providerbillmatch", "providerbillline"):
            cursor.execute(f"DELETE FROM usage_app_{table} WHERE bill_id = %s", [bill.pk])
        bill.delete()


def sums(bill: ProviderBill) -> list[ClassSums]:
    """What each class of matches comes to, all of them in the order of their names' declaration.

    Their billed sides add up to the bill, the others to the books of its upstreams and days.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql.SUMS, [bill.pk])
        found = {row[0]: ClassSums(*row) for row in cursor.fetchall()}
    return [found.get(outcome, ClassSums(outcome)) for outcome in Outcome.values]


def total(classes: Iterable[ClassSums]) -> ClassSums:
    """The sum of all."""
    columns: dict[str, list[Any]] = {}
    for one in classes:
        for name, figure in asdict(one).items():
            columns.setdefault(name, []).append(figure)
    columns["outcome"] = []
    sums_of: dict[str, Any] = {
        name: _exact_sum(column) if isinstance(column[0], Decimal) else sum(column)
        for name, column in columns.items()
        if column
    }
    return ClassSums("total", **sums_of)


def state(month: date, *, tenant: Tenant | None = None) -> State:
    """How the books of a calendar month (UTC) stand beside the bills; with a tenant, those of the
    upstreams that it used.
    """
    span = Span.month(month)
    params: dict[str, Any] = {
        "first": span.first,
        "last": span.last,
        "since": datetime.combine(span.first, time.min, UTC),
        "until": datetime.combine(span.last, time.min, UTC) + timedelta(days=1),
        "tenant_id": tenant.pk if tenant else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql.USED, params)
        used = cursor.fetchall()
    bill_ids = {bill_id for _, bill_id in used if bill_id is not None}
    bills = ProviderBill.objects.filter(first_day__lte=span.last, last_day__gte=span.first)
    if tenant is not None:
        bills = bills.filter(pk__in=bill_ids)
    return State(
        bills=tuple(bills.order_by("first_day", "id")),
        without=tuple(sorted({name for name, bill_id in used if bill_id is None})),
    )


def _exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Python would round a sum to 28 digits."""
    with localcontext(prec=MONEY_DIGITS):
        return sum(amounts, Decimal(0))


def _problems(upload: Upload) -> Iterable[Finding]:
    if len(upload.content) > BYTES_MAX:
        yield Finding("", f"The file has more than {BYTES_MAX:,} bytes: split it by days.")
    if len({upstream.kind for upstream in upload.upstreams}) != 1:
        yield Finding("upstreams", "must be at least one, and all of one kind of provider")
    if upload.span.days < 1:
        yield Finding("last day", "must not be before the first day")
    for name, text in upload.layout.problems().items():
        yield Finding(bill_files.told(name), text)
    same = ProviderBill.objects.filter(digest=upload.digest).first()
    if same is not None:
        yield Finding("", f"This file was imported already, on {_when(same)} as {same.name}.")
    for other in _overlapping(upload):
        yield Finding(
            "",
            f"The bill {other.name} is about {other.names} from {other.first_day} to"
            f" {other.last_day} already: choose other days, or delete it first.",
        )


def _overlapping(upload: Upload) -> list[ProviderBill]:
    near = ProviderBill.objects.filter(
        first_day__lte=upload.span.last, last_day__gte=upload.span.first
    )
    return [bill for bill in near if any(one in upload.scope for one in bill.upstreams)]


def _copy(bill: ProviderBill, lines: Sequence[BillLine]) -> None:
    with connection.cursor() as cursor, cursor.copy(sql.COPY_LINES) as copy:
        for line in lines:
            copy.write_row(
                (
                    *(bill.pk, line.line, line.day, line.reference, line.model),
                    *(line.input_tokens, line.output_tokens, line.amount),
                )
            )


def _told(bill: ProviderBill) -> str:
    whose = f"The bill {bill.name} ({bill.names}, {bill.first_day} to {bill.last_day})"
    found = [
        f"{count:,} {what}"
        for count, what in (
            (bill.missing_here, "of its lines missing here"),
            (bill.missing_there, "of our requests missing in it"),
        )
        if count
    ]
    if bill.difference:
        more = "more" if bill.difference > 0 else "less"
        amount = f"{abs(bill.difference).normalize():f}"
        found.append(f"{amount} {bill.currency} {more} than the books' cost")
    return f"{whose}: {', '.join(found) if found else 'agrees with the books'}."


def _when(bill: ProviderBill) -> str:
    return f"{bill.imported_at.astimezone(UTC):%Y-%m-%d}"
