"""A provider's usage file as CSV, read strictly by columns that the user names: everything wrong is
told at once, each by its line. PURE: it knows neither the books nor which upstreams there are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from tenants_app.strict_json import Finding, Findings
from usage_app.figures import Span

LINES_MAX: Final = 500_000
COLUMNS_MAX: Final = 500
COLUMNS_TOLD: Final = 30
TEXT_MAX: Final = 200
AMOUNT_DIGITS: Final = 14
AMOUNT_DECIMALS: Final = 20
# In the order of the form.
COLUMNS: Final = (
    *("reference", "day", "model", "input_tokens", "output_tokens", "amount", "currency"),
)
SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
DECIMAL_MARKS: Final = {".": "point, as in 0.25", ",": "comma, as in 0,25"}

_tokens = re.compile(r"[0-9]{1,15}").fullmatch
_amount = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?").fullmatch
_day = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}([T ][0-9:.,]+(Z|[+-][0-9:]{4,6})?)?").fullmatch
_epoch = re.compile(r"[1-9][0-9]{9}").fullmatch


@dataclass(frozen=True, slots=True)
class Layout:
    """How a provider writes its file: which column tells what, "" where none does.

    Tokens may be in several columns, joined by +.
    """

    day: str
    reference: str = ""
    model: str = ""
    input_tokens: str = ""
    output_tokens: str = ""
    amount: str = ""
    currency: str = ""
    separator: str = ","
    decimal_mark: str = "."

    def problems(self) -> dict[str, str]:
        """Why nothing could be matched by it, by field."""
        found = {}
        if not self.day:
            found["day"] = "Say which column tells the day or the time."
        if not (self.reference or self.model):
            found["reference"] = "Say which column tells the reference, or which one the model."
        if not (self.input_tokens or self.output_tokens or self.amount):
            found["amount"] = "Say which column tells tokens, or which one the amount."
        if self.currency and not self.amount:
            found["currency"] = "A currency without an amount tells nothing."
        return found


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line as the file tells it; what it does not tell is None, or an empty text."""

    line: int
    day: date
    reference: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class BillFile:
    """What a file says; with problems it has no lines."""

    lines: tuple[BillLine, ...] = ()
    problems: tuple[Finding, ...] = ()


def parse(content: bytes, layout: Layout, *, span: Span, currency: str) -> BillFile:
    """Read a file whose lines lie within the span, in UTC, and whose amounts are in `currency`."""
    found = Findings()
    lines = list(_Reader(layout, span, currency, found).lines(content))
    if not lines and not found.problems:
        found.problem("", "The file has no lines below its columns.")
    if found.problems:
        return BillFile(problems=tuple(found.problems))
    return BillFile(lines=tuple(lines))


class _Reader:
    """Reads the lines of one file; what is wrong goes to `found`."""

    def __init__(self, layout: Layout, span: Span, currency: str, found: Findings) -> None:
        self.layout, self.span, self.currency, self.found = layout, span, currency, found

    def lines(self, content: bytes) -> Iterator[BillLine]:
        records = self._records(content)
        _, header = next(records, (0, []))
        places = {} if self.found.problems else self._places(header)
        if self.found.problems:
            return
        for line, cells in records:
            if len(cells) != len(header):
                text = f"has {len(cells)} cells, and the first line names {len(header)} columns"
                self.found.problem(f"line {line}", text)
                continue
            told = {
                name: [cells[place] for place in taken if cells[place]]
                for name, taken in places.items()
            }
            if (row := self._line(line, told)) is not None:
                yield row

    def _records(self, content: bytes) -> Iterator[tuple[int, list[str]]]:
        """The cells of each record that has any, with the number of its first line."""
        # UTF-16 can be read as UTF-8, with a NUL beside each letter.
        text = None if b"\0" in content else _decoded(content)
        if text is None:
            self.found.problem("", "The file is not UTF-8: save it as CSV UTF-8.")
            return
        reader = csv.reader(text, delimiter=self.layout.separator, strict=True)
        line = 1
        try:
            for cells in reader:
                if line > LINES_MAX:
                    text_max = f"The file has more than {LINES_MAX:,} lines: split it by days."
                    self.found.problem("", text_max)
                    return
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    yield line, stripped
                line = reader.line_num + 1
        except csv.Error as error:
            self.found.problem(f"line {line}", f"is no CSV: {error}")

    def _places(self, header: Sequence[str]) -> dict[str, list[int]]:
        """Where the columns of the layout are."""
        if len(header) > COLUMNS_MAX:
            words = f"The first line names {len(header):,} columns: is this the right separator?"
            self.found.problem("", words)
            return {}
        places: dict[str, list[int]] = {}
        for name in COLUMNS:
            wanted = getattr(self.layout, name)
            joined = wanted.split("+") if name.endswith("_tokens") else [wanted]
            for column in [wanted] if wanted in header else [one.strip() for one in joined]:
                if column:
                    places.setdefault(name, []).append(self._place(name, column, header))
        return places

    def _place(self, name: str, column: str, header: Sequence[str]) -> int:
        if header.count(column) == 1:
            return header.index(column)
        if column in header:
            self.found.problem(told(name), f"the file has two columns {column}")
            return 0
        close = get_close_matches(column, header, 1)
        there = [*header[:COLUMNS_TOLD], *(["…"] if len(header) > COLUMNS_TOLD else [])]
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(there) or 'none'}"
        self.found.problem(told(name), f"the file has no column {column}; {hint}")
        return 0

    def _line(self, line: int, cells: Mapping[str, list[str]]) -> BillLine | None:
        before = len(self.found.problems)
        day = self._day(line, _only(cells, "day"))
        row: dict[str, Any] = {
            "reference": self._text(line, "reference", cells),
            "model": self._text(line, "model", cells),
            "input_tokens": self._tokens(line, "input_tokens", cells),
            "output_tokens": self._tokens(line, "output_tokens", cells),
            "amount": self._amount(line, _only(cells, "amount")),
        }
        currency = _only(cells, "currency")
        if currency and currency.upper() != self.currency:
            text = (
                f"the books are kept in {self.currency}; without the amount tokens can be matched"
            )
            self.found.problem(f"line {line}, currency", text)
        nothing = row["input_tokens"] is row["output_tokens"] is row["amount"] is None
        if nothing and len(self.found.problems) == before:
            self.found.problem(f"line {line}", "tells neither tokens nor an amount")
        if day is None or len(self.found.problems) > before:
            return None
        return BillLine(line=line, day=day, **row)

    def _day(self, line: int, text: str) -> date | None:
        day = _day_of(text)
        if day is None:
            self.found.problem(
                f"line {line}, day",
                "must be a day like 2026-03-01, a time like 2026-03-01T08:00:00Z, or seconds since"
                " 1970; without an offset it is UTC",
            )
        elif not self.span.first <= day <= self.span.last:
            text = f"{day} is not within {self.span.first} to {self.span.last}"
            self.found.problem(f"line {line}, day", text)
        return day

    def _text(self, line: int, name: str, cells: Mapping[str, list[str]]) -> str:
        text = _only(cells, name)
        if text and (len(text) > TEXT_MAX or not text.isprintable()):
            words = f"must be at most {TEXT_MAX} characters that can be printed"
            self.found.problem(f"line {line}, {told(name)}", words)
        return text

    def _tokens(self, line: int, name: str, cells: Mapping[str, list[str]]) -> int | None:
        texts = cells.get(name, [])
        if not all(_tokens(text) for text in texts):
            words = "must be a whole number in digits alone, like 1200"
            self.found.problem(f"line {line}, {told(name)}", words)
            return 0
        return sum(map(int, texts)) if texts else None

    def _amount(self, line: int, text: str) -> Decimal | None:
        if not text:
            return None
        mark = self.layout.decimal_mark
        other = "," if mark == "." else "."
        plain = text if mark == "." else text.replace(",", ".")
        amount = Decimal(plain) if other not in text and _amount(plain) else None
        if amount is None or not _fits(amount):
            words = (
                f"must be an amount like 0{mark}25, without a currency sign and without separators"
                f" of thousands, of at most {AMOUNT_DECIMALS} decimals"
            )
            self.found.problem(f"line {line}, amount", words)
            return Decimal(0)
        return amount


def told(name: str) -> str:
    """A field of a layout, in words."""
    words = {"input_tokens": "tokens in", "output_tokens": "tokens out"}
    return words.get(name, name)


def _decoded(content: bytes) -> io.StringIO | None:
    try:
        return io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError:
        return None


def _only(cells: Mapping[str, list[str]], name: str) -> str:
    return cells[name][0] if cells.get(name) else ""


def _fits(amount: Decimal) -> bool:
    """Whether the database can keep it as it is."""
    if not amount:
        return True
    exponent = amount.normalize().as_tuple().exponent
    return int(exponent) >= -AMOUNT_DECIMALS and amount.adjusted() < AMOUNT_DIGITS


def _day_of(text: str) -> date | None:
    """The day in UTC that a day, an instant or seconds since 1970 lie in."""
    if _epoch(text):
        return datetime.fromtimestamp(int(text), UTC).date()
    text = text.removesuffix(" UTC")
    if not _day(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.date() if moment.tzinfo is None else moment.astimezone(UTC).date()
